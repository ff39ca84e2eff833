//! Who announces what: for a service and a node, the routes and the addresses answered for, or the reason why not.
//!
//! [`Decisions`] is the pure function: it reads world, configuration and allocation, and can be asked about *any* node, so
//! that `plan`, `explain` and the layer-2 election know what other nodes do without being told. [`NodeRoutes`] keeps what
//! one node announces, incrementally: a changed service costs that service's work, and yields only the prefixes that differ.
//! [`NodeAddresses`] does so for what it answers for on layer 2.
//!
//! The order of the checks is the order of the reasons in [`Reason`]'s two tables; it is what a user sees as "the first
//! reason why not".

mod addresses;
mod bgp;
mod layer2;
mod merge;
mod nowhere;
mod reason;
mod routes;
mod scope;

pub use addresses::{AddressChange, AddressChanges, NodeAddresses};
pub use bgp::{BgpDecision, conflicts};
pub use layer2::{Candidate, Election, Layer2Decision};
pub use merge::{Disagreement, merge};
pub use reason::{Protocol, Reason};
pub use routes::{NodeRoutes, Route, RouteChange};
pub use scope::{Coverage, Decisions, Options};

#[cfg(test)]
mod tests;
