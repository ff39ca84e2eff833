//! What a session takes from its node: the router ID and the next hops, chosen from addresses given as plain data.
//!
//! A service address is never taken: it moves, and a router that has it as a next hop or an identifier loses both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

use crate::types::{AddressRange, Family, RouterId};

/// An address of one of the node's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress {
    /// The index of its interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Whether its scope is global: neither link nor host.
    pub global: bool,
    /// Whether duplicate address detection hasn't ended, or has failed (RFC 4862 section 5.4).
    pub tentative: bool,
    /// Whether its preferred lifetime is over (RFC 4862 section 5.5.4).
    pub deprecated: bool,
}

/// What a node knows of its own addresses.
#[derive(Clone, Copy, Debug)]
pub struct LocalAddresses<'a> {
    /// Those of its interfaces, in the kernel's order.
    pub interfaces: &'a [InterfaceAddress],
    /// Where services have their addresses.
    pub services: &'a [AddressRange],
}

impl LocalAddresses<'_> {
    fn is_service(&self, address: IpAddr) -> bool {
        self.services.iter().any(|range| range.contains(address))
    }

    /// The interfaces that hold `address`.
    fn holders(&self, address: IpAddr) -> impl Iterator<Item = u32> {
        self.interfaces.iter().filter(move |i| i.address == address).map(|i| i.interface)
    }

    /// The first address of `family` that can stand as a next hop, on an interface that holds `beside`.
    fn beside(&self, beside: IpAddr, family: Family) -> Option<IpAddr> {
        self.holders(beside).find_map(|interface| {
            self.interfaces
                .iter()
                .filter(|i| i.interface == interface && Family::of(i.address) == family)
                .filter(|i| i.global && !i.tentative && !i.deprecated)
                .map(|i| i.address)
                .find(|address| can_be_next_hop(*address) && !self.is_service(*address))
        })
    }
}

/// The router ID of a session without a configured one: the node's IPv4 InternalIP, else the session's local IPv4
/// address, else a hash of the node's name; never a service address, never 0 (RFC 6286 section 2.1).
pub fn router_id(
    internal: Option<Ipv4Addr>,
    session_local: IpAddr,
    node: &str,
    services: &[AddressRange],
) -> RouterId {
    let local = match session_local.to_canonical() {
        IpAddr::V4(v4) if !v4.is_loopback() => Some(v4),
        _ => None,
    };
    [internal, local]
        .into_iter()
        .flatten()
        .filter(|v4| !services.iter().any(|range| range.contains(IpAddr::V4(*v4))))
        .find_map(RouterId::new)
        .unwrap_or_else(|| hashed(node))
}

/// A router ID from a name: the same one for the same name.
fn hashed(node: &str) -> RouterId {
    let digest: [u8; 32] = Sha256::digest(node.as_bytes()).into();
    let [a, b, c, d, ..] = digest;
    RouterId::from_hash([a, b, c, d])
}

/// The next hop for routes of `family` over a session whose own address is `session_local`; `None`: that family's routes
/// can't be sent.
///
/// Its own family: the session's address. IPv6 over IPv4: the first global, non-tentative, non-deprecated address of the
/// interface that holds the session's address. IPv4 over IPv6: that interface's IPv4 address, else the session's
/// IPv6 address where extended next hops were negotiated (RFC 8950).
pub fn next_hop(
    family: Family,
    session_local: IpAddr,
    extended_next_hop: bool,
    addresses: LocalAddresses<'_>,
) -> Option<IpAddr> {
    let session_local = session_local.to_canonical();
    if Family::of(session_local) == family {
        return Some(session_local);
    }
    let beside = addresses.beside(session_local, family);
    match family {
        Family::V6 => beside,
        Family::V4 => beside.or_else(|| extended_next_hop.then_some(session_local)),
    }
}

/// Neither unspecified, loopback, multicast, link-local nor an IPv4 address in disguise.
fn can_be_next_hop(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !v4.is_unspecified() && !v4.is_loopback() && !v4.is_multicast() && !v4.is_link_local()
        }
        IpAddr::V6(v6) => {
            !v6.is_unspecified()
                && !v6.is_loopback()
                && !v6.is_multicast()
                && !v6.is_unicast_link_local()
                && v6.to_ipv4_mapped().is_none()
                && !is_ipv4_compatible(v6)
        }
    }
}

fn is_ipv4_compatible(v6: Ipv6Addr) -> bool {
    v6.octets().iter().take(12).all(|octet| *octet == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(interface: u32, address: &str) -> InterfaceAddress {
        let address: IpAddr = address.parse().unwrap();
        let global = !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        InterfaceAddress { interface, address, global, tentative: false, deprecated: false }
    }

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_router_id_is_the_nodes_then_the_sessions_then_a_hash() {
        let services = [range("192.0.2.0", "192.0.2.255")];
        let id = |internal: Option<&str>, local: &str| {
            let internal = internal.map(|text| text.parse().unwrap());
            router_id(internal, local.parse().unwrap(), "node-1", &services)
        };
        assert_eq!(id(Some("10.0.0.1"), "10.1.0.1").to_string(), "10.0.0.1");
        assert_eq!(id(None, "10.1.0.1").to_string(), "10.1.0.1");
        assert_eq!(id(Some("192.0.2.7"), "::ffff:10.1.0.1").to_string(), "10.1.0.1");
        let hash = id(None, "2001:db8::1");
        assert_eq!(hash, id(Some("192.0.2.7"), "192.0.2.8"));
        assert_ne!(hash, router_id(None, IpAddr::V6(Ipv6Addr::LOCALHOST), "node-2", &services));
        assert!(!hash.get().is_unspecified());
    }

    #[test]
    fn the_next_hop_of_the_other_family_is_on_the_sessions_interface() {
        let mut tentative = at(2, "2001:db8::2");
        tentative.tentative = true;
        let mut deprecated = at(2, "2001:db8::3");
        deprecated.deprecated = true;
        let interfaces = [
            at(1, "127.0.0.1"),
            at(1, "2001:db8:1::1"),
            at(2, "10.0.0.1"),
            at(2, "fe80::1"),
            at(2, "::ffff:10.0.0.9"),
            tentative,
            deprecated,
            at(2, "2001:db8:5::5"),
            at(2, "2001:db8::4"),
            at(3, "2001:db8:7::1"),
        ];
        let services = [range("2001:db8:5::", "2001:db8:5::ffff")];
        let addresses = LocalAddresses { interfaces: &interfaces, services: &services };
        let hop = |family, local: &str, extended| {
            next_hop(family, local.parse().unwrap(), extended, addresses).map(|a| a.to_string())
        };
        assert_eq!(hop(Family::V4, "10.0.0.1", false).as_deref(), Some("10.0.0.1"));
        assert_eq!(hop(Family::V6, "10.0.0.1", false).as_deref(), Some("2001:db8::4"));
        assert_eq!(hop(Family::V6, "10.9.9.9", false), None);
        assert_eq!(hop(Family::V4, "2001:db8::4", true).as_deref(), Some("10.0.0.1"));
        assert_eq!(hop(Family::V4, "2001:db8:7::1", false), None);
        assert_eq!(hop(Family::V4, "2001:db8:7::1", true).as_deref(), Some("2001:db8:7::1"));
    }
}
