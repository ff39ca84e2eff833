//! Everything that touches the world: sockets, files, clocks, logs.

pub mod source;
