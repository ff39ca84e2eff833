//! The document of `ferrolb plan`, and what `ferrolb explain` says.
//!
//! Nothing is decided here: the document says what [`decide`](crate::decide), [`alloc`](crate::alloc) and
//! [`config`](crate::config) say, in the order and with the keys of the contract.

mod build;
mod compare;
mod document;
mod explain;

pub use build::build;
pub use compare::{Difference, Running, compare};
pub use document::{Document, Layer2Plan, NodePlan, NotAnnounced, PeerPlan, RoutePlan, ServicePlan};
pub use explain::{
    Context, Edit, EditError, Explanation, Layer2Explanation, NodeExplanation, Only, Path, PeerExplanation,
    Remedy, RouteExplanation, Segment, Target, WhyNot, explain,
};
