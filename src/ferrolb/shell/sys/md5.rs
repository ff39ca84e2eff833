use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use ferrolb_core::types::Password;

/// Signs all segments to and from `peer` with TCP MD5 (RFC 2385). On a socket that dials, before it connects; on one
/// that listens, once for each peer.
///
/// # Errors
/// The key isn't 1 to 80 octets long, the kernel has no TCP MD5, or the socket is of another family than `peer`.
#[expect(unsafe_code, reason = "no crate offers TCP_MD5SIG")]
pub fn set_md5_key(socket: &impl AsFd, peer: IpAddr, key: &Password) -> io::Result<()> {
    let option = TcpMd5Sig::new(peer, key.octets()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "a TCP MD5 password has 1 to 80 octets")
    })?;
    let size = libc::socklen_t::try_from(size_of::<TcpMd5Sig>()).unwrap_or(0);
    // SAFETY: the descriptor is open while `socket` is borrowed. The kernel reads `size` octets from the pointer, just
    // those of `option`, which lives until the call is over; it keeps no pointer to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG,
            (&raw const option).cast(),
            size,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::ENOPROTOOPT) => io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel was built without TCP MD5 (CONFIG_TCP_MD5SIG)",
        ),
        _ => error,
    })
}

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    address: SockaddrStorage,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    interface: i32,
    key: [u8; libc::TCP_MD5SIG_MAXKEYLEN],
}

/// `struct __kernel_sockaddr_storage` of linux/socket.h, as octets.
#[repr(C, align(8))]
struct SockaddrStorage([u8; 128]);

const _: () = assert!(size_of::<TcpMd5Sig>() == 216 && align_of::<TcpMd5Sig>() == 8);
const _: () = assert!(std::mem::offset_of!(TcpMd5Sig, key) == 136);

impl TcpMd5Sig {
    /// `None` if the key's length is impossible.
    fn new(peer: IpAddr, key: &[u8]) -> Option<TcpMd5Sig> {
        let mut padded = [0; libc::TCP_MD5SIG_MAXKEYLEN];
        padded.get_mut(..key.len()).filter(|slot| !slot.is_empty())?.copy_from_slice(key);
        let key_len = u16::try_from(key.len()).ok()?;
        let address = SockaddrStorage::new(peer);
        Some(TcpMd5Sig { address, flags: 0, prefix_len: 0, key_len, interface: 0, key: padded })
    }
}

impl SockaddrStorage {
    /// ```text
    /// sockaddr_in:  | family: 2, the host's order | port: 2 | address: 4 |
    /// sockaddr_in6: | family: 2, the host's order | port: 2 | flow: 4 | address: 16 | scope: 4 |
    /// ```
    /// The port doesn't count: the kernel matches addresses only.
    fn new(address: IpAddr) -> SockaddrStorage {
        let mut octets = [0; 128];
        let (family, at, address): (_, _, &[u8]) = match &address {
            IpAddr::V4(v4) => (libc::AF_INET, 4, &v4.octets()),
            IpAddr::V6(v6) => (libc::AF_INET6, 8, &v6.octets()),
        };
        let family = u16::try_from(family).unwrap_or(0).to_ne_bytes();
        for (slot, octet) in octets.iter_mut().zip(family) {
            *slot = octet;
        }
        for (slot, octet) in octets.iter_mut().skip(at).zip(address) {
            *slot = *octet;
        }
        SockaddrStorage(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_1_to_80_octets() {
        let accepted =
            |length: usize| TcpMd5Sig::new(IpAddr::from([192, 0, 2, 1]), &vec![b'k'; length]).is_some();
        assert_eq!([0, 1, 80, 81].map(accepted), [false, true, true, false]);
    }

    #[test]
    fn addresses_are_laid_out_as_the_kernel_reads_them() {
        let v4 = SockaddrStorage::new(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(v4.0[..2], 2_u16.to_ne_bytes());
        assert_eq!(v4.0[2..9], [0, 0, 192, 0, 2, 1, 0]);
        let v6 = SockaddrStorage::new("2001:db8::1".parse().unwrap());
        assert_eq!(v6.0[..2], 10_u16.to_ne_bytes());
        assert_eq!(v6.0[2..10], [0; 6].into_iter().chain([0x20, 0x01]).collect::<Vec<u8>>());
        assert_eq!(v6.0[23], 1);
    }
}
