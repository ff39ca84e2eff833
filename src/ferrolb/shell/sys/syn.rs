use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Makes a listening socket keep the SYN of each connection, for [`saved_syn`].
pub fn save_syn(listener: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the descriptor is open while `listener` is borrowed, and the kernel reads `size` octets, those of `on`.
    #[expect(unsafe_code, reason = "no crate offers TCP_SAVE_SYN")]
    let result = unsafe {
        libc::setsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVE_SYN,
            (&raw const on).cast(),
            size,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The SYN that an accepted connection began with, from its IP header on; it can be asked for once.
pub fn saved_syn(accepted: &impl AsFd) -> io::Result<Vec<u8>> {
    let mut octets = vec![0_u8; 256];
    let mut size = libc::socklen_t::try_from(octets.len()).unwrap_or(0);
    // SAFETY: the descriptor is open while `accepted` is borrowed, and the kernel writes at most `size` octets, the room
    // that `octets` has, and then how many it has written to `size`.
    #[expect(unsafe_code, reason = "no crate offers TCP_SAVED_SYN")]
    let result = unsafe {
        libc::getsockopt(
            accepted.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            octets.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    octets.truncate(usize::try_from(size).unwrap_or(0));
    if result == 0 { Ok(octets) } else { Err(io::Error::last_os_error()) }
}
