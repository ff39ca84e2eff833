//! `BGPPeer`: a router that the speakers peer with.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::selector::LabelSelector;
use crate::{null_is_default, schema};

/// The desired state of a BGP peer.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = crate::rules::of_peers()))]
pub struct BGPPeerSpec {
    /// The AS number of our end of the session.
    #[serde(rename = "myASN")]
    #[schemars(range(min = 0, max = 4294967295_u32))]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": crate::rules::AN_AS_NUMBER, "message": "write an AS number of 1 to 4294967295"}]))]
    pub my_asn: u32,
    /// The AS number that the peer must have. Exactly one of `peerASN` and `dynamicASN` is set.
    #[serde(rename = "peerASN", default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4294967295_u32))]
    pub peer_asn: Option<u32>,
    /// The AS number shown to this peer in place of `myASN`.
    #[serde(rename = "localASN", default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4294967295_u32))]
    pub local_asn: Option<u32>,
    /// Accept whatever AS number the peer has, as long as it is ours (`internal`) or isn't (`external`).
    #[serde(rename = "dynamicASN", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("enum" = ["internal", "external"]))]
    pub dynamic_asn: Option<DynamicAsn>,
    /// The peer's address. Exactly one of `peerAddress` and `interface` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = crate::rules::an_address()))]
    pub peer_address: Option<String>,
    /// The interface of an unnumbered session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The local address of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = crate::rules::an_address()))]
    pub source_address: Option<String>,
    /// The peer's TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384), extend("default" = 179))]
    pub peer_port: Option<u16>,
    /// The hold time to propose (RFC 4271 4.2), as a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": crate::rules::A_HOLD_TIME, "message": "must be 0s, or 3s and more"}]))]
    pub hold_time: Option<String>,
    /// The keepalive interval, as a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": crate::rules::A_KEEPALIVE_TIME, "message": "must be 0s or more"}]))]
    pub keepalive_time: Option<String>,
    /// The longest wait between two connection attempts, as a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": crate::rules::CONNECT_TIME_RANGE, "message": "must be 1s to 65535s"},
        {"rule": crate::rules::CONNECT_TIME_WHOLE_SECONDS, "message": "must be whole seconds"},
    ]))]
    pub connect_time: Option<String>,
    /// The BGP identifier (RFC 6286) to use.
    #[serde(rename = "routerID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = crate::rules::an_address()))]
    pub router_id: Option<String>,
    /// The nodes that peer: those that match any of these; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub node_selectors: Vec<LabelSelector>,
    /// The TCP MD5 password (RFC 2385).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The `kubernetes.io/basic-auth` Secret, in the system namespace, that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// The name of the BFDProfile to run beside the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Whether to offer graceful restart (RFC 4724).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": crate::rules::IMMUTABLE, "message": "cannot be changed; delete the peer and create it anew"},
    ]))]
    pub enable_graceful_restart: Option<bool>,
    /// Whether an eBGP peer may be more than one hop away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// The VRF that the session runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Deprecated, does nothing.
    #[serde(rename = "disableMP", default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub disable_mp: Option<bool>,
    /// Whether the session carries both address families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub dual_stack_address_family: Option<bool>,
}

impl fmt::Debug for BGPPeerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the password.
        f.debug_struct("BGPPeerSpec")
            .field("my_asn", &self.my_asn)
            .field("peer_asn", &self.peer_asn)
            .field("peer_address", &self.peer_address)
            .field("interface", &self.interface)
            .finish_non_exhaustive()
    }
}

/// Which AS numbers a peer without a fixed one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// Any but ours.
    External,
    /// Ours only.
    Internal,
}

/// A reference to a Secret; `namespace` is ignored, the Secret is looked up in the system namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretReference {
    /// The Secret's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ignored, as in MetalLB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// The fields that MetalLB's `v1beta1` doesn't have.
pub const SINCE_V1BETA2: [&str; 9] = [
    "connectTime",
    "disableMP",
    "dualStackAddressFamily",
    "dynamicASN",
    "enableGracefulRestart",
    "interface",
    "localASN",
    "passwordSecret",
    "vrf",
];

/// The schema of `v1beta1`: the fields of `v1beta2`, so that nothing is lost between the two, under the older rules.
#[expect(clippy::indexing_slicing, reason = "assigns to a key of a JSON object made here")]
pub(crate) fn v1beta1_schema() -> Value {
    let mut schema = schema::of::<BGPPeerSpec>();
    schema["required"] = json!(["myASN", "peerASN", "peerAddress"]);
    if let Some(port) = schema.pointer_mut("/properties/peerPort").and_then(Value::as_object_mut) {
        port.remove("default");
        port.insert("minimum".into(), json!(0));
    }
    let requirement = "/properties/nodeSelectors/items/properties/matchExpressions/items";
    if let Some(requirement) = schema.pointer_mut(requirement) {
        requirement["required"] = json!(["key", "operator", "values"]);
        requirement["properties"]["values"]["minItems"] = json!(1);
    }
    schema
}
