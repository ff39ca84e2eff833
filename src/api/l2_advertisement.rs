//! `L2Advertisement`: which addresses are answered for with ARP and NDP, from where.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::null_is_default;
use crate::selector::LabelSelector;

/// The desired state of a layer-2 advertisement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct L2AdvertisementSpec {
    /// Pools by name.
    #[serde(
        rename = "ipAddressPools",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub ip_address_pools: Vec<String>,
    /// Pools by label; with both lists empty, all pools.
    #[serde(
        rename = "ipAddressPoolSelectors",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// The nodes that may answer; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub node_selectors: Vec<LabelSelector>,
    /// The interfaces that answer; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub interfaces: Vec<String>,
    /// The services that are announced; empty means all of the pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes that are preferred in the election, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub preferred_node_selectors: Vec<PreferredNodeSelector>,
}

/// A weighted preference for nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreferredNodeSelector {
    /// 1 to 100; the weights of all that match a node are added up.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,
    /// The nodes that get the weight.
    pub preference: LabelSelector,
}
