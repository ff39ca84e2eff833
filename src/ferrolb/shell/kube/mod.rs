//! Kubernetes as a source of objects, and as a place that is written to.
//!
//! [`Source`] runs one task for each [`Watch`]. A task lists, then follows; [`fold::Folder`] turns what it sees into
//! changes, read by the same code that reads manifests, and keeps nothing but names. The source gives nothing until every
//! watch has its first list: then all of that at once, and from then on what changes, as much at a time as there is.
//!
//! While the API server is away nothing is given, so what stands stays. [`Watches`] says how each watch is doing.

mod client;
pub mod facts;
#[cfg(test)]
pub mod fake;
pub mod fold;
pub mod kinds;
mod listing;
mod raw;
mod source;
mod standing;
#[cfg(test)]
mod tests;
mod watching;
mod write;

pub use client::{connect, files, own_namespace};
pub use fold::Seen;
pub use kinds::Watch;
pub use listing::{Unlisted, list};
pub use source::{Batch, ObjectProblem, Side, Source, WatchId};
pub use standing::{DELAYS, Delays, WatchStatus, Watches};
pub use write::{Act, Answer, Write};
