//! BGP, as a speaker needs it that dials and announces: sans-IO.
//!
//! `wire` turns octets into messages and back. `fsm` is the session machine: messages and time in, messages and
//! changes of state out; `negotiate` is what two OPENs settle. `rib_out` is what peers are to have, and writes the UPDATEs.
//! `refusal` recognises a router that has no place for us. `local` chooses router ID and next hops. The driver in the binary crate owns sockets, clock and the thread, and
//! joins these; none of them knows another's insides.
//!
//! What this doesn't do: listen, keep routes that it receives (they are validated, counted and dropped), graceful restart.
//!
//! RFCs: 4271, 4486, 4724 (End-of-RIB), 4760, 5492, 6286, 6608, 6793, 1997, 8092, 2918, 7313, 7606, 7607, 8654, 8950,
//! 9003, 9072, 9687; `docs/conformance-bgp.md` goes through their rules one by one.

pub mod fsm;
pub mod local;
pub mod negotiate;
pub mod refusal;
pub mod rib_out;
pub mod wire;

#[cfg(test)]
mod sim;
