//! The document of `ferrolb plan`, and what `ferrolb explain` says.
//!
//! Nothing is decided here: the document says what [`decide`](crate::decide), [`alloc`](crate::alloc) and
//! [`config`](crate::config) say, in the order and with the keys of the contract.

mod build;
mod document;

pub use build::build;
pub use document::{Document, Layer2Plan, NodePlan, NotAnnounced, PeerPlan, RoutePlan, ServicePlan};
