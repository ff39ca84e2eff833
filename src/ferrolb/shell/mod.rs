//! Everything that touches the world: sockets, files, clocks, logs.

pub mod bgp;
pub mod net;
pub mod source;
pub mod sys;
pub mod telemetry;
