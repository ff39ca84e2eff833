//! The only place with `unsafe`: system calls that no crate offers safely. Each block says why it is sound, and sizes that
//! the kernel relies on are asserted at compile time.

mod md5;
#[cfg(test)]
mod syn;

pub use md5::set_md5_key;
#[cfg(test)]
pub use syn::{save_syn, saved_syn};
