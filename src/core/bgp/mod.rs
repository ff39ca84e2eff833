//! BGP: wire codec, session machine, outgoing RIB; sans-IO.

pub mod wire;
