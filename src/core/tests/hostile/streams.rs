//! Octet streams of peers, as they should be and as they shouldn't, from a seed. Also included by the tests of the process.

use std::net::{IpAddr, Ipv4Addr};

use ferrolb_core::bgp::wire::{
    self, AfiSafi, AttributeBlock, Capability, CeaseSubcode, HEADER_LEN, NextHop, Notification, Open,
    PathAttributes, RefreshSubtype, RouteRefresh, Session,
};
use ferrolb_core::types::{Asn, Family, FamilySet, LargeCommunity, StandardCommunity};
use ipnet::IpNet;

/// The hold time that the peer offers, in seconds.
pub const HOLD: u16 = 9;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    /// Less than `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % end.max(1) as u64) as usize
    }

    /// Once in so many times.
    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// Any octets.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

/// What a good peer might send, a message each.
pub fn valid(random: &mut Random) -> Vec<Vec<u8>> {
    let mut open = their_open();
    if random.one_in(2) {
        open.capabilities.push(Capability::ExtendedMessage);
    }
    if random.one_in(4) {
        open.capabilities.push(Capability::Unknown { code: 240, value: random.octets(200) });
    }
    let session = Session { four_octet_as: true, families: FamilySet::BOTH, ..Session::BEFORE_OPEN };
    let mut messages = vec![encoded(|out| open.encode(out).unwrap()), encoded(wire::keepalive)];
    for _ in 0..2 + random.below(12) {
        let prefixes = 1 + random.below(30) as u32;
        let v4 = |n: u32| IpNet::from(IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)));
        let v6 = |n: u32| IpNet::from(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n as u16]));
        messages.push(match random.below(7) {
            0 => encoded(|out| announce(&session, Family::V4, prefixes, v4, out)),
            1 => encoded(|out| announce(&session, Family::V6, prefixes, v6, out)),
            2 => encoded(|out| {
                wire::withdraw(&session, Family::V4, &mut (0..prefixes).map(v4).peekable(), out);
            }),
            3 => encoded(|out| {
                wire::withdraw(&session, Family::V6, &mut (0..prefixes).map(v6).peekable(), out);
            }),
            4 => encoded(|out| wire::end_of_rib(Family::V6, out)),
            5 => {
                let subtype =
                    [RefreshSubtype::Request, RefreshSubtype::Begin, RefreshSubtype::End][random.below(3)];
                encoded(|out| RouteRefresh { subtype, ..RouteRefresh::request(Family::V4) }.encode(out))
            }
            _ => encoded(wire::keepalive),
        });
    }
    if random.one_in(4) {
        let cease = Notification::cease(CeaseSubcode::AdministrativeShutdown, "maintenance");
        messages.push(encoded(|out| cease.encode(out)));
    }
    messages
}

/// The peer's OPEN, as it is meant.
pub fn their_open() -> Open {
    Open {
        my_as: 64513,
        hold_time: HOLD,
        identifier: Ipv4Addr::new(10, 0, 0, 2),
        capabilities: vec![
            Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
            Capability::MultiProtocol(AfiSafi::IPV6_UNICAST),
            Capability::RouteRefresh,
            Capability::FourOctetAs(64513),
            Capability::EnhancedRouteRefresh,
        ],
    }
}

fn announce(session: &Session, family: Family, count: u32, prefix: fn(u32) -> IpNet, out: &mut Vec<u8>) {
    let path = PathAttributes {
        as_path: &[Asn::new(64513).unwrap(), Asn::new(4_200_000_001).unwrap()],
        med: Some(5),
        local_pref: None,
        communities: &[StandardCommunity(0xfc00_0001)],
        large_communities: &[LargeCommunity { global: 64513, local1: 1, local2: 2 }],
    };
    let next_hop = match family {
        Family::V4 => NextHop::V4(Ipv4Addr::new(10, 0, 0, 2)),
        Family::V6 => NextHop::V6 { global: "2001:db8::2".parse().unwrap(), link_local: None },
    };
    let block = AttributeBlock::new(session, family, next_hop, &path).unwrap();
    block.announce(&mut (0..count).map(prefix).peekable(), out);
}

/// What an encoder writes.
pub fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut octets = Vec::new();
    encode(&mut octets);
    octets
}

/// The octets of a session after a few of: bits flipped, messages cut, moved, doubled, left out, lengths changed, octets that
/// are nothing.
pub fn mutated(random: &mut Random) -> Vec<u8> {
    let mut messages = valid(random);
    for _ in 0..=random.below(3) {
        let at = random.below(messages.len());
        let other = random.below(messages.len());
        let noise = 1 + random.below(60);
        match random.below(8) {
            0 => {
                let bit = random.below(messages[at].len() * 8);
                messages[at][bit / 8] ^= 1 << (bit % 8);
            }
            1 => {
                let left = random.below(messages[at].len());
                messages[at].truncate(left.max(1));
            }
            2 if messages[at].len() >= HEADER_LEN => {
                let length = [0, 18, 19, 20, 4096, 4097, 65535, random.below(65536)][random.below(8)] as u16;
                messages[at][16..18].copy_from_slice(&length.to_be_bytes());
            }
            3 => messages.swap(at, other),
            4 => messages.insert(at, messages[other].clone()),
            5 if messages.len() > 1 => drop(messages.remove(at)),
            6 => messages.insert(at, random.octets(noise)),
            // Within a message, where its lengths and flags are.
            _ => {
                let position = random.below(messages[at].len());
                messages[at][position] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)];
            }
        }
    }
    messages.concat()
}
