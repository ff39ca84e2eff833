//! Sockets and the kernel's view of the network: TCP connections with all that BGP asks of them, and this node's interfaces
//! and their addresses. Nothing here decides: what to dial, and which address serves as a next hop, is the core's affair.

mod addresses;
mod dial;
mod follow;
mod links;

pub use addresses::follow_addresses;
pub use dial::{Dial, dial};
pub use links::follow_links;
