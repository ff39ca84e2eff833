//! The only place with `unsafe`: system calls that no crate offers safely. Each block says why it is sound, and sizes that
//! the kernel relies on are asserted at compile time.

mod md5;
mod memory;
mod packet;
#[cfg(test)]
mod syn;

pub use md5::set_md5_key;
pub use memory::{Tidying, frugal_allocator, return_free_memory};
pub use packet::PacketSocket;
#[cfg(test)]
pub(in crate::shell) use packet::link_address;
#[cfg(test)]
pub use syn::{save_syn, saved_syn};
