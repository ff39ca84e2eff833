//! Prefixes as they are on the wire (RFC 4271 4.3): a length in bits, then as few octets as hold them.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::octets::Reader;
use crate::types::Family;

/// The most octets that a prefix of this family takes.
pub(super) const fn max_octets(family: Family) -> usize {
    match family {
        Family::V4 => 5,
        Family::V6 => 17,
    }
}

/// How many octets a prefix takes.
pub(super) fn octets(prefix: &IpNet) -> usize {
    usize::from(prefix.prefix_len().div_ceil(8)).saturating_add(1)
}

/// Appends a prefix.
pub(super) fn encode(prefix: &IpNet, out: &mut Vec<u8>) {
    let significant = octets(prefix).saturating_sub(1);
    out.push(prefix.prefix_len());
    match prefix.network() {
        std::net::IpAddr::V4(address) => {
            out.extend_from_slice(address.octets().get(..significant).unwrap_or_default());
        }
        std::net::IpAddr::V6(address) => {
            out.extend_from_slice(address.octets().get(..significant).unwrap_or_default());
        }
    }
}

/// A prefix that can be read from its length and its octets, padded with zeros.
pub(super) trait Prefix: Sized {
    /// `None` if it is longer than its family allows. Bits beyond the length don't count (RFC 4271 4.3).
    fn read(reader: &mut Reader<'_>) -> Option<Self>;
}

impl Prefix for Ipv4Net {
    fn read(reader: &mut Reader<'_>) -> Option<Ipv4Net> {
        let (length, octets) = padded::<4>(reader)?;
        Some(Ipv4Net::new(Ipv4Addr::from(octets), length).ok()?.trunc())
    }
}

impl Prefix for Ipv6Net {
    fn read(reader: &mut Reader<'_>) -> Option<Ipv6Net> {
        let (length, octets) = padded::<16>(reader)?;
        Some(Ipv6Net::new(Ipv6Addr::from(octets), length).ok()?.trunc())
    }
}

/// All prefixes up to the end; `None` if one is malformed.
pub(super) fn decode_prefixes<P: Prefix>(octets: &[u8]) -> Option<Vec<P>> {
    let mut reader = Reader::new(octets);
    let mut prefixes = Vec::new();
    while !reader.is_empty() {
        prefixes.push(P::read(&mut reader)?);
    }
    Some(prefixes)
}

/// All prefixes of a family up to the end; `None` if one is malformed.
pub(super) fn decode_family(family: Family, octets: &[u8]) -> Option<Vec<IpNet>> {
    Some(match family {
        Family::V4 => decode_prefixes::<Ipv4Net>(octets)?.into_iter().map(IpNet::V4).collect(),
        Family::V6 => decode_prefixes::<Ipv6Net>(octets)?.into_iter().map(IpNet::V6).collect(),
    })
}

/// A length and the octets that it asks for, padded to `N`.
fn padded<const N: usize>(reader: &mut Reader<'_>) -> Option<(u8, [u8; N])> {
    let length = reader.u8()?;
    let significant = reader.take(usize::from(length.div_ceil(8)))?;
    let mut octets = [0; N];
    octets.get_mut(..significant.len())?.copy_from_slice(significant);
    Some((length, octets))
}
