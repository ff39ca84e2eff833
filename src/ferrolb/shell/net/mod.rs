//! Sockets and the kernel's view of the network: TCP connections with all that BGP asks of them, and the addresses of this
//! node's interfaces. Nothing here decides: what to dial, and which address serves as a next hop, is the core's affair.

mod addresses;
mod dial;

pub use addresses::follow_addresses;
pub use dial::{Dial, dial};
