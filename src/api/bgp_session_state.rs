//! `BGPSessionState` of `frrk8s.metallb.io`: how one session of one node stands, written by the speakers.
//!
//! The kind belongs to frr-k8s. Its definition is made only where there is none, so that frr-k8s' own is never touched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::schema;

/// The API group.
pub const GROUP: &str = "frrk8s.metallb.io";

/// How a session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BGPSessionStateStatus {
    /// The BGP state, such as Established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bgp_status: Option<String>,
    /// The state of the BFD session beside it; N/A where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_status: Option<String>,
    /// The node whose session it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = crate::rules::immutable()))]
    pub node: Option<String>,
    /// The router, by its address or by the interface that it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = crate::rules::immutable()))]
    pub peer: Option<String>,
    /// The VRF; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = crate::rules::immutable()))]
    pub vrf: Option<String>,
}

/// The CustomResourceDefinition.
pub fn crd() -> Value {
    let column = |name: &str, field: &str| json!({"name": name, "type": "string", "jsonPath": format!(".status.{field}")});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("bgpsessionstates.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": "BGPSessionState",
                "listKind": "BGPSessionStateList",
                "plural": "bgpsessionstates",
                "singular": "bgpsessionstate",
            },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1beta1",
                "served": true,
                "storage": true,
                "additionalPrinterColumns": [
                    column("Node", "node"),
                    column("Peer", "peer"),
                    column("VRF", "vrf"),
                    column("BGP", "bgpStatus"),
                    column("BFD", "bfdStatus"),
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "How one BGP session of one node stands; speakers write it.",
                    "properties": {
                        "apiVersion": {"type": "string", "description": "The group and version of the object."},
                        "kind": {"type": "string", "description": "The kind of the object."},
                        "metadata": {"type": "object"},
                        "spec": schema::empty("Has no fields."),
                        "status": schema::of::<BGPSessionStateStatus>(),
                    },
                }},
                "subresources": {"status": {}},
            }],
        },
    })
}
