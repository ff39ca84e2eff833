//! The only place with `unsafe`: system calls that no crate offers safely. Each block says why it is sound, and sizes that
//! the kernel relies on are asserted at compile time.

mod md5;

pub use md5::set_md5_key;
