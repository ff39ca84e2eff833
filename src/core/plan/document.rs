use serde::Serialize;

use crate::types::Issue;

/// What every node would announce, and what is wrong with the configuration. Keys and orders are a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Document {
    /// Every configuration error, sorted.
    pub errors: Vec<Issue>,
    /// Every warning, sorted.
    pub warnings: Vec<Issue>,
    /// Every Service that is managed, by namespace and name.
    pub services: Vec<ServicePlan>,
    /// Every live node, by name.
    pub nodes: Vec<NodePlan>,
}

impl Document {
    /// Whether there is an error, of the configuration or of a service.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty() || self.services.iter().any(|s| s.error.is_some())
    }
}

/// What a service holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePlan {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its addresses, IPv4 first.
    pub ips: Vec<String>,
    /// The pool that contains them.
    pub pool: Option<String>,
    /// Why it has none, or why what it asks for can't be given.
    pub error: Option<String>,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Its peers, by name.
    pub bgp: Vec<PeerPlan>,
    /// The addresses that it answers for on layer 2.
    pub layer2: Vec<Layer2Plan>,
    /// What it doesn't announce, and why.
    #[serde(rename = "notAnnounced")]
    pub not_announced: Vec<NotAnnounced>,
}

/// What a node announces to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerPlan {
    /// The BGPPeer's name.
    pub peer: String,
    /// Its address; null for an unnumbered peer.
    pub address: Option<String>,
    /// The interface of an unnumbered peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its TCP port.
    pub port: u16,
    /// `spec.myASN`.
    #[serde(rename = "myASN")]
    pub my_asn: u32,
    /// `spec.peerASN`; null with `dynamicASN`.
    #[serde(rename = "peerASN")]
    pub peer_asn: Option<u32>,
    /// `spec.localASN`, where set.
    #[serde(rename = "localASN", skip_serializing_if = "Option::is_none")]
    pub local_asn: Option<u32>,
    /// The routes, by prefix.
    pub routes: Vec<RoutePlan>,
}

/// One route to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoutePlan {
    /// The prefix, host bits zero.
    pub prefix: String,
    /// LOCAL_PREF where asked for; null for an eBGP peer.
    #[serde(rename = "localPref")]
    pub local_pref: Option<u32>,
    /// Standard communities, `a:b`, numerically.
    pub communities: Vec<String>,
    /// Large communities, `a:b:c`, numerically.
    #[serde(rename = "largeCommunities")]
    pub large_communities: Vec<String>,
    /// How many more copies of our AS, towards an eBGP peer, where set.
    #[serde(rename = "asPathPrepend", skip_serializing_if = "Option::is_none")]
    pub as_path_prepend: Option<u8>,
    /// The services whose announcement on this node makes it exist.
    pub services: Vec<String>,
}

/// An address that a node answers for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer2Plan {
    /// The address.
    pub ip: String,
    /// The interfaces that may answer; null: any.
    pub interfaces: Option<Vec<String>>,
    /// The first by name of the services that announce it here.
    pub service: String,
    /// All of them.
    pub services: Vec<String>,
}

/// Addresses of a service that a node doesn't announce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotAnnounced {
    /// `namespace/name`.
    pub service: String,
    /// The addresses.
    pub ips: Vec<String>,
    /// `bgp` or `layer2`.
    pub protocol: &'static str,
    /// The peer; null for layer 2, and for a node without peers.
    pub peer: Option<String>,
    /// The code of the first reason.
    pub reason: &'static str,
}
