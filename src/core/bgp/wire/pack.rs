use std::iter::Peekable;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{
    AfiSafi, EncodeError, MessageType, Session,
    attributes::{
        AS_PATH, AS4_PATH, COMMUNITIES, EXTENDED_LENGTH, LARGE_COMMUNITIES, LOCAL_PREF, MP_REACH_NLRI,
        MP_UNREACH_NLRI, MULTI_EXIT_DISC, NEXT_HOP, ORIGIN, flags,
    },
    header::{begin, finish},
    nlri,
    octets::{patch_u16, written},
};
use crate::types::{Asn, Family, LargeCommunity, StandardCommunity};

/// What is announced with routes on one session; ORIGIN is always IGP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathAttributes<'a> {
    /// One AS_SEQUENCE, nearest first; empty to iBGP.
    pub as_path: &'a [Asn],
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF; only to iBGP.
    pub local_pref: Option<u32>,
    /// In the order in which they go out: ascending.
    pub communities: &'a [StandardCommunity],
    /// In the order in which they go out: ascending.
    pub large_communities: &'a [LargeCommunity],
}

/// The next hop of our routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// For IPv4 routes.
    V4(Ipv4Addr),
    /// For IPv6 routes, and for IPv4 routes where RFC 8950 was negotiated.
    V6 {
        /// The global address.
        global: Ipv6Addr,
        /// A link-local one besides, where the peer is on the same link (RFC 2545 section 3).
        link_local: Option<Ipv6Addr>,
    },
}

/// The attributes of one set of routes, encoded for one session: made once, used for every UPDATE that carries them.
///
/// IPv4 routes with an IPv4 next hop go into the NLRI field, all others into MP_REACH_NLRI. That comes first among the
/// attributes (RFC 7606 5.1), the others follow in ascending order (RFC 4271 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeBlock {
    family: Family,
    max_message: usize,
    /// MP_REACH_NLRI from AFI to the reserved octet; `None` where the NLRI field serves.
    mp_reach: Option<Vec<u8>>,
    /// All other attributes.
    attributes: Vec<u8>,
}

impl AttributeBlock {
    /// Encodes the attributes of routes of `family`.
    ///
    /// # Errors
    /// The next hop doesn't suit the family on this session, or no prefix would fit beside the attributes.
    pub fn new(
        session: &Session,
        family: Family,
        next_hop: NextHop,
        path: &PathAttributes<'_>,
    ) -> Result<AttributeBlock, EncodeError> {
        let mp_reach = match (family, next_hop) {
            (Family::V4, NextHop::V4(_)) => None,
            (Family::V4, NextHop::V6 { .. }) if !session.extended_next_hop => {
                return Err(EncodeError::NextHopFamily);
            }
            (_, NextHop::V6 { global, link_local }) => Some(mp_reach_head(family, global, link_local)),
            (Family::V6, NextHop::V4(_)) => return Err(EncodeError::NextHopFamily),
        };
        let mut attributes = Vec::new();
        attribute(&mut attributes, ORIGIN, &[[super::Origin::Igp as u8]]);
        as_path(&mut attributes, path.as_path, session.four_octet_as);
        if let NextHop::V4(address) = next_hop {
            attribute(&mut attributes, NEXT_HOP, &[address.octets()]);
        }
        if let Some(med) = path.med {
            attribute(&mut attributes, MULTI_EXIT_DISC, &[med.to_be_bytes()]);
        }
        if let Some(local_pref) = path.local_pref {
            attribute(&mut attributes, LOCAL_PREF, &[local_pref.to_be_bytes()]);
        }
        if !path.communities.is_empty() {
            let values: Vec<_> = path.communities.iter().map(|community| community.0.to_be_bytes()).collect();
            attribute(&mut attributes, COMMUNITIES, &values);
        }
        // RFC 6793 4.2.2: a peer with 2-octet numbers gets the real path besides, if AS_TRANS hides any of it.
        if !session.four_octet_as && path.as_path.iter().any(|asn| u16::try_from(asn.get()).is_err()) {
            sequences(&mut attributes, AS4_PATH, path.as_path, |asn, value| {
                value.extend_from_slice(&asn.get().to_be_bytes());
            });
        }
        if !path.large_communities.is_empty() {
            let fields = |large: &LargeCommunity| [large.global, large.local1, large.local2];
            let values: Vec<_> =
                path.large_communities.iter().flat_map(fields).map(u32::to_be_bytes).collect();
            attribute(&mut attributes, LARGE_COMMUNITIES, &values);
        }
        let block = AttributeBlock { family, max_message: session.max_send, mp_reach, attributes };
        if block.room() < nlri::max_octets(family) { Err(EncodeError::TooLong) } else { Ok(block) }
    }

    /// Appends one UPDATE that announces as many of the next prefixes as fit; gives how many, 0 only where there was
    /// none. It stops before a prefix of another family. To send all, call it until it gives 0.
    pub fn announce<I: Iterator<Item = IpNet>>(
        &self,
        prefixes: &mut Peekable<I>,
        out: &mut Vec<u8>,
    ) -> usize {
        let mut fill = |out: &mut Vec<u8>| fill(self.family, self.room(), prefixes, out);
        let start = out.len();
        begin(out, MessageType::Update);
        out.extend_from_slice(&[0, 0]);
        let attributes = out.len();
        out.extend_from_slice(&[0, 0]);
        let count = if let Some(head) = &self.mp_reach {
            let count = mp_attribute(MP_REACH_NLRI, head, out, fill);
            out.extend_from_slice(&self.attributes);
            patch_length(out, attributes);
            count
        } else {
            out.extend_from_slice(&self.attributes);
            patch_length(out, attributes);
            fill(out)
        };
        end(out, start, count)
    }

    /// The octets that are left for prefixes in an UPDATE.
    fn room(&self) -> usize {
        let mp_reach = self.mp_reach.as_ref().map_or(0, |head| head.len().saturating_add(MP_HEADER));
        self.max_message
            .saturating_sub(UPDATE_FIXED)
            .saturating_sub(self.attributes.len())
            .saturating_sub(mp_reach)
    }
}

/// Appends one UPDATE that withdraws as many of the next prefixes of `family` as fit; gives how many, 0 only where
/// there was none. IPv4 goes into the withdrawn routes field, whatever its next hop was.
pub fn withdraw<I: Iterator<Item = IpNet>>(
    session: &Session,
    family: Family,
    prefixes: &mut Peekable<I>,
    out: &mut Vec<u8>,
) -> usize {
    let start = begin(out, MessageType::Update);
    let room = session.max_send.saturating_sub(UPDATE_FIXED);
    let first = out.len();
    out.extend_from_slice(&[0, 0]);
    let count = match family {
        Family::V4 => {
            let count = fill(family, room, prefixes, out);
            patch_length(out, first);
            out.extend_from_slice(&[0, 0]);
            count
        }
        Family::V6 => {
            let attributes = out.len();
            out.extend_from_slice(&[0, 0]);
            let head = family_octets(family);
            let room = room.saturating_sub(MP_HEADER).saturating_sub(head.len());
            let count = mp_attribute(MP_UNREACH_NLRI, &head, out, |out| fill(family, room, prefixes, out));
            patch_length(out, attributes);
            count
        }
    };
    end(out, start, count)
}

/// Appends the mark that all initial routes of a family are sent (RFC 4724 section 2).
pub fn end_of_rib(family: Family, out: &mut Vec<u8>) {
    let start = begin(out, MessageType::Update);
    match family {
        Family::V4 => out.extend_from_slice(&[0, 0, 0, 0]),
        Family::V6 => {
            out.extend_from_slice(&[0, 0, 0, 6]);
            attribute(out, MP_UNREACH_NLRI, &[family_octets(family)]);
        }
    }
    finish(out, start);
}

/// Header and both length fields of an UPDATE.
const UPDATE_FIXED: usize = 23;
/// Flags, type and length of an attribute that may be longer than 255 octets.
const MP_HEADER: usize = 4;

/// Closes an UPDATE, or takes it away again if nothing came into it.
fn end(out: &mut Vec<u8>, start: usize, count: usize) -> usize {
    if count == 0 {
        out.truncate(start);
    } else {
        finish(out, start);
    }
    count
}

/// Appends prefixes of `family` while they last and fit into `room` octets; gives how many.
fn fill<I: Iterator<Item = IpNet>>(
    family: Family,
    room: usize,
    prefixes: &mut Peekable<I>,
    out: &mut Vec<u8>,
) -> usize {
    let limit = out.len().saturating_add(room);
    let mut count: usize = 0;
    let next_that_fits = |out: &Vec<u8>, prefix: &IpNet| {
        Family::of(prefix.addr()) == family && out.len().saturating_add(nlri::octets(prefix)) <= limit
    };
    while let Some(prefix) = prefixes.next_if(|prefix| next_that_fits(out, prefix)) {
        nlri::encode(&prefix, out);
        count = count.saturating_add(1);
    }
    count
}

/// Appends MP_REACH_NLRI or MP_UNREACH_NLRI, whose prefixes `fill` appends. The length gets two octets, and one is
/// taken back where it wasn't needed.
fn mp_attribute(kind: u8, head: &[u8], out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>) -> usize) -> usize {
    let start = out.len();
    out.extend_from_slice(&[flags(kind) | EXTENDED_LENGTH, kind, 0, 0]);
    out.extend_from_slice(head);
    let count = fill(out);
    let length = written(out, start).saturating_sub(MP_HEADER);
    if let Ok(short) = u8::try_from(length) {
        out.splice(start..start.saturating_add(MP_HEADER), [flags(kind), kind, short]);
    } else {
        patch_u16(out, start.saturating_add(2), u16::try_from(length).unwrap_or(u16::MAX));
    }
    count
}

/// Writes how many octets follow the two at `at` into these.
fn patch_length(out: &mut [u8], at: usize) {
    let length = written(out, at).saturating_sub(2);
    patch_u16(out, at, u16::try_from(length).unwrap_or(u16::MAX));
}

fn family_octets(family: Family) -> [u8; 3] {
    let AfiSafi { afi, safi } = AfiSafi::unicast(family);
    let [high, low] = afi.to_be_bytes();
    [high, low, safi]
}

/// MP_REACH_NLRI from AFI to the reserved octet.
fn mp_reach_head(family: Family, global: Ipv6Addr, link_local: Option<Ipv6Addr>) -> Vec<u8> {
    let mut head = family_octets(family).to_vec();
    head.push(if link_local.is_some() { 32 } else { 16 });
    head.extend_from_slice(&global.octets());
    head.extend(link_local.iter().flat_map(|address| address.octets()));
    head.push(0);
    head
}

/// Appends an attribute whose value is these pieces.
fn attribute<const N: usize>(out: &mut Vec<u8>, kind: u8, pieces: &[[u8; N]]) {
    raw_attribute(out, kind, pieces.as_flattened());
}

fn raw_attribute(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let flags = flags(kind);
    if let Ok(length) = u8::try_from(value.len()) {
        out.extend_from_slice(&[flags, kind, length]);
    } else {
        // Longer than 65535 it can't be sent at all: `AttributeBlock::new` sees that it leaves no room.
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&[flags | EXTENDED_LENGTH, kind]);
        out.extend_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(value);
}

fn as_path(out: &mut Vec<u8>, path: &[Asn], four_octet_as: bool) {
    sequences(out, AS_PATH, path, |asn, value| {
        if four_octet_as {
            value.extend_from_slice(&asn.get().to_be_bytes());
        } else {
            value.extend_from_slice(&asn.two_octets().to_be_bytes());
        }
    });
}

/// Appends a path as AS_SEQUENCEs of at most 255 numbers.
fn sequences(out: &mut Vec<u8>, kind: u8, path: &[Asn], number: impl Fn(&Asn, &mut Vec<u8>)) {
    let mut value = Vec::new();
    for segment in path.chunks(255) {
        value.extend_from_slice(&[
            super::SegmentKind::Sequence as u8,
            u8::try_from(segment.len()).unwrap_or(u8::MAX),
        ]);
        for asn in segment {
            number(asn, &mut value);
        }
    }
    raw_attribute(out, kind, &value);
}
