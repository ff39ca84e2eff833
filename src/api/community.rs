//! `Community`: names for BGP communities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::null_is_default;

/// The aliases that one Community object defines; they live in one namespace across all objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommunitySpec {
    /// The aliases.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub communities: Vec<CommunityAlias>,
}

/// One alias.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommunityAlias {
    /// The name that advertisements use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `A:B` (RFC 1997) or `large:A:B:C` (RFC 8092).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}
