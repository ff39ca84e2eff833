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
    /// Part of the Event's name: there is one Event of those with equal names, whoever tells it.
    pub unique: u64,
    /// When it happened.
    pub at: Timestamp,
}

impl ServiceEvent {
    /// A [`unique`](ServiceEvent::unique) that is the same wherever `what` is, in another process too.
    pub fn unique_of(what: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        hasher.finish()
    }

    /// The object.
    pub fn object(&self, reporter: Reporter<'_>) -> Value {
        let ServiceEvent { service, uid, version, event, unique, at } = self;
        let time = format!("{at:.0}");
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "namespace": &*service.namespace, "name": format!("{}.{unique:016x}", service.name) },
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
            unique: 0xab,
            at: Timestamp::constant(1_700_000_000, 500_000_000),
        }
    }

    #[test]
    fn the_object_is_a_whole_event() {
        let speaker = Reporter { component: "metallb-speaker", node: Some("n1") };
        let expected = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "namespace": "shop", "name": "web.00000000000000ab" },
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
    fn a_message_is_cut_between_characters_where_the_api_server_would_refuse_it() {
        let object = event(&"ä".repeat(3000)).object(Reporter { component: "x", node: None });
        assert_eq!(object["message"], "ä".repeat(MESSAGE_CHARACTERS));
    }

    #[test]
    fn one_that_waits_is_small() {
        assert!(size_of::<ServiceEvent>() <= 112, "{}", size_of::<ServiceEvent>());
    }
}
