//! `BGPAdvertisement`: how the addresses of some pools are announced over BGP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::null_is_default;
use crate::selector::LabelSelector;

/// The desired state of a BGP advertisement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": crate::rules::WHOLE_ADDRESSES_WITH_SERVICE_SELECTORS,
    "message": "serviceSelectors needs aggregationLength 32 and aggregationLengthV6 128, or neither of them",
}]))]
pub struct BGPAdvertisementSpec {
    /// The IPv4 prefix length to announce, 1 to 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("default" = 32))]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": crate::rules::WITHIN_IPV4, "message": "must be 1 to 32"}]))]
    pub aggregation_length: Option<i32>,
    /// The IPv6 prefix length to announce, 0 to 128.
    #[serde(rename = "aggregationLengthV6", default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 128))]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": crate::rules::WITHIN_IPV6, "message": "must be 0 to 128"}]))]
    pub aggregation_length_v6: Option<i32>,
    /// LOCAL_PREF towards iBGP peers; 0 counts as unset. Wider than 32 bits so that parsing can refuse what doesn't fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<i64>,
    /// How many more copies of our AS the path to eBGP peers has, 1 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10), extend("format" = "int32"))]
    pub as_path_prepend: Option<u32>,
    /// Communities: `A:B`, `large:A:B:C`, or an alias that a Community object defines.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub communities: Vec<String>,
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
    /// The nodes that announce; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub node_selectors: Vec<LabelSelector>,
    /// The BGPPeers to announce to, by name; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub peers: Vec<String>,
    /// The services that are announced; empty means all of the pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub service_selectors: Vec<LabelSelector>,
}
