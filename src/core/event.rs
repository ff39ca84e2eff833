//! Events about Services (`v1` Event), for people: `kubectl describe service` shows them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::types::{ServiceKey, Uid};

/// The API server refuses longer ones.
const MESSAGE_CHARACTERS: usize = 1000;

/// What is told of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// MetalLB's word for it, where it has one.
    pub reason: &'static str,
    /// Whether its type is `Warning`, otherwise `Normal`.
    pub warning: bool,
    /// One sentence. Thousands of services may be told the same one.
    pub message: Arc<str>,
}

impl Event {
    /// Of type `Normal`.
    pub fn normal(reason: &'static str, message: impl Into<Arc<str>>) -> Event {
        Event { reason, warning: false, message: message.into() }
    }

    /// Of type `Warning`.
    pub fn warning(reason: &'static str, message: impl Into<Arc<str>>) -> Event {
        Event { reason, warning: true, message: message.into() }
    }
}

/// How often the same words are told of one Service, for as long as the API server keeps Events: an hour, where nobody has set
/// another time.
pub const SAME_WORDS: u8 = 10;

/// On which occasion something is told, which is part of the Event's name: there is one Event of those with equal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// One of its own, whatever was told before.
    Own,
    /// It was found to be so, and an earlier process, or who led before, may have told it: the same words are no news.
    Found,
    /// It was seen to happen, and is told even if the same words were told before, so many times.
    Seen(u8),
}

impl Occasion {
    /// An Event of this name is there already: the next name, if it is to be told all the same.
    pub fn next(self) -> Option<Occasion> {
        match self {
            Occasion::Own | Occasion::Found => None,
            Occasion::Seen(number) => {
                Some(number.saturating_add(1)).filter(|next| *next < SAME_WORDS).map(Occasion::Seen)
            }
        }
    }
}

/// Who tells it.
#[derive(Clone, Copy, Debug)]
pub struct Reporter<'a> {
    /// The component's name; MetalLB's, by which people look for them.
    pub component: &'static str,
    /// Its node, of a component that has one on each.
    pub node: Option<&'a str>,
}

/// An Event that is to be made. Thousands may wait, so it is what differs from one to the next, a sixth of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvent {
    /// Whom it is about.
    pub service: ServiceKey,
    /// Its UID, as far as it is known.
    pub uid: Option<Uid>,
    /// Its resourceVersion, likewise.
    pub version: Option<Arc<str>>,
    /// What is told.
    pub event: Event,
    /// On which occasion.
    pub occasion: Occasion,
    /// When it happened.
    pub at: Timestamp,
}

impl ServiceEvent {
    /// The Event's name: the same in another process too, but for one of its own.
    fn name(&self, reporter: Reporter<'_>) -> String {
        let ServiceEvent { service, uid, event, occasion, at, .. } = self;
        let mut hasher = DefaultHasher::new();
        (uid, event.reason, &*event.message).hash(&mut hasher);
        match occasion {
            // Fifty nodes may tell of one Service at the same time.
            Occasion::Own => (reporter.node, at).hash(&mut hasher),
            Occasion::Found => 0_u8.hash(&mut hasher),
            Occasion::Seen(number) => number.hash(&mut hasher),
        }
        format!("{}.{:016x}", service.name, hasher.finish())
    }

    /// The object.
    pub fn object(&self, reporter: Reporter<'_>) -> Value {
        let ServiceEvent { service, uid, version, event, at, .. } = self;
        let time = format!("{at:.0}");
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "namespace": &*service.namespace, "name": self.name(reporter) },
            "involvedObject": {
                "apiVersion": "v1", "kind": "Service", "namespace": &*service.namespace, "name": &*service.name,
                "uid": uid.as_ref().map(Uid::to_string), "resourceVersion": version.as_deref(),
            },
            "type": if event.warning { "Warning" } else { "Normal" },
            "reason": event.reason,
            "message": event.message.chars().take(MESSAGE_CHARACTERS).collect::<String>(),
            "count": 1, "firstTimestamp": time, "lastTimestamp": time,
            "source": { "component": reporter.component, "host": reporter.node },
            "reportingComponent": reporter.component, "reportingInstance": reporter.node.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> ServiceEvent {
        ServiceEvent {
            service: ServiceKey::new("shop", "web"),
            uid: Some("7d".into()),
            version: None,
            event: Event::normal("nodeAssigned", message),
            occasion: Occasion::Own,
            at: Timestamp::constant(1_700_000_000, 500_000_000),
        }
    }

    #[test]
    fn the_object_is_a_whole_event() {
        let speaker = Reporter { component: "metallb-speaker", node: Some("n1") };
        let name = event("announcing").name(speaker);
        assert!(name.strip_prefix("web.").is_some_and(|hash| hash.len() == 16), "{name}");
        let expected = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "namespace": "shop", "name": name },
            "involvedObject": {
                "apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web",
                "uid": "7d", "resourceVersion": null,
            },
            "type": "Normal", "reason": "nodeAssigned", "message": "announcing", "count": 1,
            "firstTimestamp": "2023-11-14T22:13:20Z", "lastTimestamp": "2023-11-14T22:13:20Z",
            "source": { "component": "metallb-speaker", "host": "n1" },
            "reportingComponent": "metallb-speaker", "reportingInstance": "n1",
        });
        assert_eq!(event("announcing").object(speaker), expected);
        let seen = ServiceEvent { version: Some("5".into()), ..event("announcing") };
        let object = seen.object(Reporter { component: "metallb-controller", node: None });
        assert_eq!(object["involvedObject"]["resourceVersion"], "5");
        assert_eq!(object["source"], json!({ "component": "metallb-controller", "host": null }));
        assert_eq!(object["reportingInstance"], "");
    }

    #[test]
    fn names_are_equal_where_there_is_to_be_one_event() {
        let on = |node, occasion, message| {
            let reporter = Reporter { component: "metallb-speaker", node: Some(node) };
            ServiceEvent { occasion, ..event(message) }.name(reporter)
        };
        let found = on("n1", Occasion::Found, "dark");
        assert_eq!(on("n2", Occasion::Found, "dark"), found);
        assert_eq!(on("n2", Occasion::Seen(0), "dark"), found);
        assert_ne!(on("n1", Occasion::Found, "light"), found);
        assert_ne!(on("n1", Occasion::Own, "dark"), on("n2", Occasion::Own, "dark"));
        let mut names = std::collections::BTreeSet::new();
        let mut occasion = Some(Occasion::Seen(0));
        while let Some(seen) = occasion {
            names.insert(on("n1", seen, "dark"));
            occasion = seen.next();
        }
        assert_eq!(names.len(), usize::from(SAME_WORDS));
        assert_eq!((Occasion::Own.next(), Occasion::Found.next()), (None, None));
    }

    #[test]
    fn a_message_is_cut_between_characters_where_the_api_server_would_refuse_it() {
        let object = event(&"ä".repeat(3000)).object(Reporter { component: "x", node: None });
        assert_eq!(object["message"], "ä".repeat(MESSAGE_CHARACTERS));
    }

    #[test]
    fn one_that_waits_is_small() {
        assert!(size_of::<ServiceEvent>() <= 112, "{}", size_of::<ServiceEvent>());
    }
}
