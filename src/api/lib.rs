//! The `metallb.io` API: one Rust type for each kind and version that FerroLB reads or writes.
//!
//! This crate owns the shape of the objects: field names, types, defaults, ranges, CEL rules, printer columns, and the
//! CustomResourceDefinitions generated from them. It decides nothing: what a field *means*, and which combinations are
//! refused, is `ferrolb-core`'s `config`.
//!
//! `BGPPeer` exists as `v1beta1` and `v1beta2` with one shape, so that the CRD needs no conversion webhook.
#![forbid(unsafe_code)]

pub mod bfd_profile;
pub mod bgp_advertisement;
pub mod bgp_peer;
pub mod community;
pub mod ip_address_pool;
pub mod l2_advertisement;
pub mod selector;

/// The API group of every kind in this crate.
pub const GROUP: &str = "metallb.io";
