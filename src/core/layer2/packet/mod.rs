//! ARP and Neighbor Discovery on Ethernet, from octets and to octets.
//!
//! [`decode`] takes a whole frame. What it returns is valid by the rules of its RFC; everything else is a [`Discard`] with
//! the first rule that is broken.

mod arp;
mod ndp;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::Ipv6Addr;

pub use arp::{Arp, Operation};
pub use ndp::{Advertisement, Solicitation, solicited_node_group};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// Where an IPv6 multicast packet goes (RFC 2464 7).
    pub const fn of_group(group: Ipv6Addr) -> Mac {
        let [.., a, b, c, d] = group.octets();
        Mac([0x33, 0x33, a, b, c, d])
    }

    /// Whether it stands for several stations, the broadcast address included.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A frame that concerns us, or might.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The station, or the group, that it is for.
    pub destination: Mac,
    /// The station that sent it.
    pub source: Mac,
    /// What is in it.
    pub packet: Packet,
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Neighbor Advertisement (RFC 4861 4.4).
    Advertisement(Advertisement),
    /// A request or a reply (RFC 826).
    Arp(Arp),
    /// Neighbor Solicitation (RFC 4861 4.3).
    Solicitation(Solicitation),
}

/// Why a frame isn't looked at any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It ends too early.
    #[error("the frame is cut off")]
    Truncated,
    /// It is neither ARP nor Neighbor Solicitation or Advertisement.
    #[error("neither ARP nor Neighbor Discovery")]
    OtherProtocol,
    /// ARP for something else than IPv4 on Ethernet, or neither request nor reply.
    #[error("ARP for something else than IPv4 on Ethernet")]
    OtherHardware,
    /// The source, or the address that an answer would go to, is no single station.
    #[error("the sender is no single station")]
    Sender,
    /// RFC 4861 7.1.1, 7.1.2: it has passed a router.
    #[error("hop limit isn't 255")]
    HopLimit,
    /// RFC 4861 7.1.1, 7.1.2.
    #[error("the checksum is wrong")]
    Checksum,
    /// RFC 4861 7.1.1, 7.1.2: code isn't 0, an option has length 0 or passes the end.
    #[error("malformed Neighbor Discovery")]
    Malformed,
    /// RFC 4861 7.1.1, 7.1.2: the target is a multicast address.
    #[error("the target is a multicast address")]
    Target,
    /// RFC 4861 7.1.1: a probe that goes elsewhere than to the solicited-node group, or has a source link-layer address;
    /// 7.1.2: a solicited advertisement to a group.
    #[error("source, destination and options don't fit together")]
    Inconsistent,
}

const ETHER_ARP: u16 = 0x0806;
const ETHER_IPV6: u16 = 0x86dd;

/// Reads a frame that begins with its Ethernet header.
///
/// # Errors
/// It is nothing that has to be looked at.
pub fn decode(octets: &[u8]) -> Result<Frame, Discard> {
    let (destination, rest) = octets.split_first_chunk().ok_or(Discard::Truncated)?;
    let (source, rest) = rest.split_first_chunk().ok_or(Discard::Truncated)?;
    let (ether_type, payload) = rest.split_first_chunk().ok_or(Discard::Truncated)?;
    let (destination, source) = (Mac(*destination), Mac(*source));
    if source.is_multicast() {
        return Err(Discard::Sender);
    }
    let packet = match u16::from_be_bytes(*ether_type) {
        ETHER_ARP => Packet::Arp(Arp::decode(payload)?),
        ETHER_IPV6 => ndp::decode(payload)?,
        _ => return Err(Discard::OtherProtocol),
    };
    Ok(Frame { destination, source, packet })
}

/// ```text
/// | destination: 6 | source: 6 | type: 2 |
/// ```
fn ethernet(destination: Mac, source: Mac, ether_type: u16, capacity: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14_usize.saturating_add(capacity));
    frame.extend_from_slice(&destination.0);
    frame.extend_from_slice(&source.0);
    frame.extend_from_slice(&ether_type.to_be_bytes());
    frame
}
