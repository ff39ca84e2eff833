//! Everything in FerroLB that decides, as plain data and pure functions: no sockets, no clock, no files, no async.
//!
//! Data flows one way: `manifest` (bytes to objects) -> `world` (summaries) -> `config` (validated, cannot be wrong) ->
//! `alloc` (service to addresses) -> `decide` (service and node to routes, owners, or reasons) -> `plan` (the document)
//! and `bgp` (outgoing RIB, session machine, wire) and `layer2` (ARP, NDP). The binary crate performs the effects.
#![forbid(unsafe_code)]

pub mod admission;
pub mod alloc;
pub mod beside;
pub mod bgp;
pub mod check;
pub mod config;
pub mod decide;
pub mod engine;
pub mod event;
pub mod layer2;
pub mod lease;
pub mod manifest;
pub mod members;
pub mod outbox;
pub mod plan;
pub mod proxy;
pub mod report;
pub mod status;
pub mod types;
pub mod world;
