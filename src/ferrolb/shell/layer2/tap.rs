//! Packet sockets: one for ARP and one for Neighbor Discovery on each interface that answers.

use std::io;
use std::net::IpAddr;

use ferrolb_core::layer2::Socket;
use ferrolb_core::layer2::filter::{self, Instruction, MAX_RANGES};
use socket2::SockFilter;

use crate::shell::sys::PacketSocket;

/// What the kernel passes, of each kind of socket.
pub(super) struct Filters {
    addresses: Vec<IpAddr>,
    arp: Vec<SockFilter>,
    ndp: Vec<SockFilter>,
}

/// How many ranges are tried, one after the other, on a kernel with too little room for options
/// (`net.core.optmem_max`) to take [`MAX_RANGES`].
const COARSER: [usize; 3] = [128, 16, 1];

impl Filters {
    /// For these addresses.
    pub(super) fn new(addresses: Vec<IpAddr>) -> Filters {
        let program = |kind| program(kind, &addresses, MAX_RANGES);
        Filters { arp: program(Socket::Arp), ndp: program(Socket::Ndp), addresses }
    }

    fn attach(&self, kind: Socket, socket: &PacketSocket) -> io::Result<()> {
        let finest = match kind {
            Socket::Arp => &self.arp,
            Socket::Ndp => &self.ndp,
        };
        let mut result = socket.set_filter(finest);
        for ranges in COARSER {
            match &result {
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {}
                _ => break,
            }
            result = socket.set_filter(&program(kind, &self.addresses, ranges));
        }
        result
    }
}

fn program(kind: Socket, addresses: &[IpAddr], ranges: usize) -> Vec<SockFilter> {
    let addresses = addresses.iter().copied();
    let program = match kind {
        Socket::Arp => filter::arp(addresses, ranges),
        Socket::Ndp => filter::ndp(addresses, ranges),
    };
    let to_kernel = |i: Instruction| SockFilter::new(i.code, i.jump_true, i.jump_false, i.operand);
    program.into_iter().map(to_kernel).collect()
}

/// A packet socket on one interface.
pub(super) struct Tap {
    socket: PacketSocket,
    kind: Socket,
}

impl Tap {
    /// Opens it, with its filter in place before the first frame can come.
    pub(super) fn open(interface: u32, kind: Socket, filters: &Filters) -> io::Result<Tap> {
        let ether_type = match kind {
            Socket::Arp => libc::ETH_P_ARP,
            Socket::Ndp => libc::ETH_P_IPV6,
        };
        let ether_type = u16::try_from(ether_type).map_err(io::Error::other)?;
        let tap = Tap { socket: PacketSocket::open()?, kind };
        tap.set_filter(filters)?;
        tap.socket.bind(interface, ether_type)?;
        Ok(tap)
    }

    /// Replaces the filter; no frame falls between the two.
    pub(super) fn set_filter(&self, filters: &Filters) -> io::Result<()> {
        filters.attach(self.kind, &self.socket)
    }

    /// Sends a frame, or loses it where the interface's queue is full.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame)
    }

    /// Waits for a frame; how long it is, in `buffer`. Longer ones are cut.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.receive(buffer).await
    }
}
