//! The `metallb.io` API: one Rust type for each kind and version that FerroLB reads or writes.
//!
//! This crate owns the shape of the objects: field names, types, defaults, ranges, CEL rules, printer columns, and the
//! CustomResourceDefinitions generated from them. It decides nothing: what a field *means*, and which combinations are
//! refused, is `ferrolb-core`'s `config`.
//!
//! `BGPPeer` exists as `v1beta1` and `v1beta2` with one shape, so that the CRD needs no conversion webhook.
#![forbid(unsafe_code)]

use serde::{Deserialize, Deserializer};

pub mod bfd_profile;
pub mod bgp_advertisement;
pub mod bgp_peer;
pub mod bgp_session_state;
pub mod community;
pub mod configuration_state;
pub mod crd;
pub mod duration;
pub mod ip_address_pool;
pub mod l2_advertisement;
pub mod rules;
mod schema;
pub mod selector;
pub mod service_bgp_status;
pub mod service_l2_status;

/// The API group of every kind in this crate.
pub const GROUP: &str = "metallb.io";

/// Reads `null` as the default, since the API server drops a null where the schema doesn't allow one.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
