//! `ServiceBGPStatus`: which peers a node announces a service to, written by the speakers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::null_is_default;

/// To whom one node announces a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBGPStatusStatus {
    /// The node that announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = crate::rules::immutable()))]
    pub node: Option<String>,
    /// The service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = crate::rules::immutable()))]
    pub service_name: Option<String>,
    /// The service's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = crate::rules::immutable()))]
    pub service_namespace: Option<String>,
    /// The BGPPeers that it is announced to, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub peers: Vec<String>,
}
