//! How the objects look: names, labels, bodies; and what one that was seen says.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Content, Subject};
use crate::event::Reporter;
use crate::types::{Age, ServiceKey, Uid};

/// The kinds of status objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `BGPSessionState` of `frrk8s.metallb.io/v1beta1`.
    BgpSessionState,
    /// `ConfigurationState` of `metallb.io/v1beta1`.
    ConfigurationState,
    /// `ServiceBGPStatus` of `metallb.io/v1beta1`.
    ServiceBgpStatus,
    /// `ServiceL2Status` of `metallb.io/v1beta1`.
    ServiceL2Status,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] =
        [Kind::BgpSessionState, Kind::ConfigurationState, Kind::ServiceBgpStatus, Kind::ServiceL2Status];

    /// Its API group. The version is `v1beta1`.
    pub const fn group(self) -> &'static str {
        match self {
            Kind::BgpSessionState => "frrk8s.metallb.io",
            Kind::ConfigurationState | Kind::ServiceBgpStatus | Kind::ServiceL2Status => "metallb.io",
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::BgpSessionState => "BGPSessionState",
            Kind::ConfigurationState => "ConfigurationState",
            Kind::ServiceBgpStatus => "ServiceBGPStatus",
            Kind::ServiceL2Status => "ServiceL2Status",
        }
    }

    /// Its name in URLs.
    pub const fn plural(self) -> &'static str {
        match self {
            Kind::BgpSessionState => "bgpsessionstates",
            Kind::ConfigurationState => "configurationstates",
            Kind::ServiceBgpStatus => "servicebgpstatuses",
            Kind::ServiceL2Status => "servicel2statuses",
        }
    }

    /// The label that names the node of an object.
    pub const fn node_label(self) -> &'static str {
        match self {
            Kind::BgpSessionState => "frrk8s.metallb.io/node",
            Kind::ConfigurationState => "metallb.io/node-name",
            Kind::ServiceBgpStatus | Kind::ServiceL2Status => "metallb.io/node",
        }
    }
}

/// MetalLB's name for it.
const COMPONENT: &str = "metallb-speaker";
const SERVICE_NAME: &str = "metallb.io/service-name";
const SERVICE_NAMESPACE: &str = "metallb.io/service-namespace";
const PEER: &str = "frrk8s.metallb.io/peer";
const VRF: &str = "frrk8s.metallb.io/vrf";

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node's name.
    pub node: Arc<str>,
    /// The UID of the Node object, which owns the objects, so that they go with it; empty: nobody owns them.
    ///
    /// MetalLB: there the speaker's Pod owns them, so that a restart deletes and makes again every one.
    pub node_uid: Uid,
}

impl Identity {
    /// As whom events are told.
    pub(super) fn reporter(&self) -> Reporter<'_> {
        Reporter { component: COMPONENT, node: Some(&self.node) }
    }

    /// The object to be made for a subject, without a status: the API server drops that from a new object.
    pub(super) fn body(&self, subject: &Subject) -> Value {
        let kind = subject.kind();
        let node = &*self.node;
        let mut metadata = match subject {
            Subject::Configuration => json!({
                "name": format!("speaker-{node}"),
                "labels": {"metallb.io/component-type": "speaker", (kind.node_label()): node},
            }),
            Subject::Session(session) => json!({
                "generateName": format!("{node}-"),
                "labels": {(kind.node_label()): node, PEER: peer_label(session.0), VRF: &*session.1},
            }),
            Subject::ServiceBgp(service) => self.of_service("bgp-", service),
            Subject::ServiceL2(service) => self.of_service("l2-", service),
        };
        if let Some(metadata) = metadata.as_object_mut().filter(|_| !self.node_uid.is_empty()) {
            let owner =
                json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": self.node_uid.to_string()});
            metadata.insert("ownerReferences".to_owned(), json!([owner]));
        }
        json!({
            "apiVersion": format!("{}/v1beta1", kind.group()),
            "kind": kind.name(),
            "metadata": metadata,
        })
    }

    fn of_service(&self, prefix: &str, service: &ServiceKey) -> Value {
        json!({
            "generateName": prefix,
            "labels": {
                (Kind::ServiceBgpStatus.node_label()): &*self.node,
                SERVICE_NAME: &*service.name,
                SERVICE_NAMESPACE: &*service.namespace,
            },
        })
    }

    /// The merge patch that makes the status say `content`.
    pub(super) fn status(&self, subject: &Subject, content: &Content, now: Timestamp) -> Value {
        let of_service = |service: &ServiceKey, key: &str, value: Value| {
            json!({
                "node": &*self.node,
                "serviceName": &*service.name,
                "serviceNamespace": &*service.namespace,
                (key): value,
            })
        };
        let status = match (subject, content) {
            (Subject::ServiceBgp(service), Content::ServiceBgp(peers)) => {
                of_service(service, "peers", json!(texts(peers)))
            }
            (Subject::ServiceL2(service), Content::ServiceL2(interfaces)) => {
                let interfaces: Vec<Value> = interfaces.iter().map(|i| json!({"name": &**i})).collect();
                of_service(service, "interfaces", json!(interfaces))
            }
            (Subject::Session(session), Content::Session(established)) => json!({
                // Between attempts a session is Active most of the time; each step of them would be a write.
                "bgpStatus": if *established { "Established" } else { "Active" },
                "bfdStatus": "N/A",
                "node": &*self.node,
                "peer": session.0.to_string(),
                "vrf": &*session.1,
            }),
            (Subject::Configuration, Content::Configuration(errors)) => configuration(errors, now),
            _ => json!({}),
        };
        json!({"status": status})
    }
}

/// How `ConfigurationState` says that these are the errors.
fn configuration(errors: &[String], now: Timestamp) -> Value {
    let valid = errors.is_empty();
    let summary = errors.join("\n");
    // A condition's message has at most 32,768 characters.
    let message: String = summary.chars().take(32_000).collect();
    json!({
        "result": if valid { "Valid" } else { "Invalid" },
        "errorSummary": if valid { Value::Null } else { json!(summary) },
        "conditions": [{
            "type": "configReconcilerValid",
            "status": if valid { "True" } else { "False" },
            "reason": if valid { "Reconciled" } else { "ConfigurationError" },
            "message": message,
            "lastTransitionTime": now.round(jiff::Unit::Second).unwrap_or(now).to_string(),
        }],
    })
}

/// A status object that a watch has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Uid,
    /// Its resource version; 0 where that isn't a number.
    pub version: u64,
    /// When it was made.
    pub created: Age,
    /// The node that it is of, by its label.
    pub node: Arc<str>,
    /// What it is about, by its labels.
    pub subject: Subject,
    /// What it says.
    pub content: Content,
}

impl Object {
    /// From its JSON; `None` where it lacks a name or a label, and so is nobody's of whom this module knows. Of the states of
    /// sessions also `None` where it belongs to anything but a Node: frr-k8s, which the kind is of, may run beside.
    pub fn read(kind: Kind, raw: &Value) -> Option<Object> {
        let metadata = raw.get("metadata")?;
        let text = |name: &str| metadata.get(name).and_then(Value::as_str);
        let label = |name: &str| metadata.get("labels")?.get(name)?.as_str();
        let service = || Some(ServiceKey::new(label(SERVICE_NAMESPACE)?, label(SERVICE_NAME)?));
        let owners = metadata.get("ownerReferences").and_then(Value::as_array).into_iter().flatten();
        let mut others = owners.filter(|owner| owner.get("kind").and_then(Value::as_str) != Some("Node"));
        if kind == Kind::BgpSessionState && others.next().is_some() {
            return None;
        }
        let status = raw.get("status");
        let subject = match kind {
            Kind::ConfigurationState => Subject::Configuration,
            Kind::ServiceBgpStatus => Subject::ServiceBgp(service()?),
            Kind::ServiceL2Status => Subject::ServiceL2(service()?),
            Kind::BgpSessionState => {
                let peer = label(PEER)?;
                let peer = peer.parse().or_else(|_| peer.replace('-', ":").parse()).ok()?;
                Subject::session(peer, label(VRF).unwrap_or_default())
            }
        };
        Some(Object {
            name: text("name")?.into(),
            uid: text("uid").unwrap_or_default().into(),
            version: text("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0),
            created: text("creationTimestamp").and_then(|t| t.parse().ok()),
            node: label(kind.node_label())?.into(),
            content: status.and_then(|status| content(&subject, status)).unwrap_or(Content::Unset),
            subject,
        })
    }
}

/// What a status says; `None` where a field is missing or means something else.
fn content(subject: &Subject, status: &Value) -> Option<Content> {
    let text = |name: &str| status.get(name).and_then(Value::as_str);
    let list = |name: &str| status.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of = |service: &ServiceKey| {
        (text("serviceName")? == &*service.name && text("serviceNamespace")? == &*service.namespace)
            .then_some(())
    };
    match subject {
        Subject::ServiceBgp(service) => {
            of(service)?;
            list("peers")
                .iter()
                .map(|p| Some(p.as_str()?.into()))
                .collect::<Option<_>>()
                .map(|peers| Content::ServiceBgp(Arc::new(peers)))
        }
        Subject::ServiceL2(service) => {
            of(service)?;
            let names = list("interfaces").iter().map(|i| Some(i.get("name")?.as_str()?.into()));
            names.collect::<Option<_>>().map(|names| Content::ServiceL2(Arc::new(names)))
        }
        Subject::Session(..) => {
            text("peer")?;
            match (text("bgpStatus")?, text("bfdStatus")?) {
                ("Established", "N/A") => Some(Content::Session(true)),
                ("Active", "N/A") => Some(Content::Session(false)),
                _ => None,
            }
        }
        Subject::Configuration => {
            let [condition] = list("conditions") else { return None };
            let status = condition.get("status").and_then(Value::as_str)?;
            match (text("result")?, status, text("errorSummary")) {
                ("Valid", "True", None | Some("")) => Some(Content::Configuration(vec![])),
                ("Invalid", "False", Some(all)) if !all.is_empty() => {
                    Some(Content::Configuration(all.lines().map(str::to_owned).collect()))
                }
                _ => None,
            }
        }
    }
}

/// A router's address as a label's value: IPv6 in full, with dashes for colons.
fn peer_label(peer: IpAddr) -> String {
    match peer {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.segments().map(|s| format!("{s:04x}")).join("-"),
    }
}

fn texts(set: &BTreeSet<Arc<str>>) -> Vec<&str> {
    set.iter().map(|text| &**text).collect()
}
