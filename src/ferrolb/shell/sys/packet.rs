use std::io::{self, Read};

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

/// A packet socket: whole Ethernet frames of one kind on one interface.
pub struct PacketSocket(AsyncFd<Socket>);

impl PacketSocket {
    /// Opens one that nothing comes in at until it is bound.
    ///
    /// # Errors
    /// The process lacks `CAP_NET_RAW`, or the system has no descriptor.
    #[expect(unsafe_code, reason = "tokio asks for it: it can't see that the descriptor stays the same")]
    pub fn open() -> io::Result<PacketSocket> {
        let raw = Type::RAW.cloexec().nonblocking();
        let socket = Socket::new(Domain::PACKET, raw, Some(Protocol::from(0)))?;
        // SAFETY: `Socket` owns its descriptor, and `self.0` isn't handed out: here only `get_ref` is called on it, so the
        // socket is neither replaced nor closed before it is dropped together with its registration.
        let registered = unsafe { AsyncFd::register(socket) };
        registered.map(PacketSocket).map_err(io::Error::from)
    }

    /// Lets only such frames in as this program passes, from now on.
    ///
    /// # Errors
    /// The kernel has no room for it (`ENOMEM`), or finds it wrong.
    pub fn set_filter(&self, program: &[SockFilter]) -> io::Result<()> {
        self.0.get_ref().attach_filter(program)
    }

    /// Lets frames of a kind in, as they come on an interface.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn bind(&self, interface: u32, ether_type: u16) -> io::Result<()> {
        self.0.get_ref().bind(&link_address(interface, ether_type)?)
    }

    /// Sends a frame, without waiting.
    ///
    /// # Errors
    /// The interface is down or gone, or its queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.get_ref().send(frame).map(drop)
    }

    /// Waits for a frame; how long it is, in `buffer`. Longer ones are cut.
    ///
    /// # Errors
    /// The interface is down or gone.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(read) = ready.try_io(|socket| socket.get_ref().read(buffer)) {
                return read;
            }
        }
    }
}

/// Where a packet socket is bound to: one kind of frame on one interface.
///
/// # Errors
/// The interface's number isn't one.
#[expect(unsafe_code, reason = "no crate offers sockaddr_ll")]
pub(in crate::shell) fn link_address(interface: u32, ether_type: u16) -> io::Result<SockAddr> {
    let index = libc::c_int::try_from(interface)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no such interface"))?;
    let family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    // SAFETY: `sockaddr_ll` is plain data that fits into `sockaddr_storage` (asserted below), which is as aligned as any
    // socket address; the storage is ours and zeroed, and the length that is said to be valid is that of what was written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(libc::sockaddr_ll {
                sll_family: family,
                sll_protocol: ether_type.to_be(),
                sll_ifindex: index,
                sll_hatype: 0,
                sll_pkttype: 0,
                sll_halen: 0,
                sll_addr: [0; 8],
            });
            length.write(LENGTH);
            Ok(())
        })
    }?;
    Ok(address)
}

const LENGTH: libc::socklen_t = 20;
const _: () = assert!(size_of::<libc::sockaddr_ll>() == LENGTH as usize);
const _: () = assert!(size_of::<libc::sockaddr_ll>() <= size_of::<libc::sockaddr_storage>());
const _: () = assert!(align_of::<libc::sockaddr_ll>() <= align_of::<libc::sockaddr_storage>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_of_the_packet_family() {
        let address = link_address(7, 0x0806).unwrap();
        assert_eq!((address.family(), address.len()), (libc::AF_PACKET as u16, LENGTH));
        assert!(link_address(u32::MAX, 0x0806).is_err());
    }
}
