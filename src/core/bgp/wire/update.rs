use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::{
    AfiSafi, Session, WireError,
    attributes::{self, MISSING_AS_PATH, MISSING_NEXT_HOP, MISSING_ORIGIN},
    nlri::decode_prefixes,
    octets::Reader,
};
use crate::types::{LargeCommunity, StandardCommunity};

/// An UPDATE message as received (RFC 4271 4.3).
///
/// ```text
/// | withdrawn routes' length: 2 | withdrawn routes | attributes' length: 2 | attributes | NLRI: the rest |
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// IPv4 routes that are withdrawn.
    pub withdrawn: Vec<Ipv4Net>,
    /// The path attributes that could be read.
    pub attributes: Attributes,
    /// IPv4 routes that are announced with an IPv4 next hop.
    pub nlri: Vec<Ipv4Net>,
    /// Routes of other families, or with other next hops, that are announced (RFC 4760).
    pub mp_reach: Option<MpReach>,
    /// Routes of other families that are withdrawn (RFC 4760).
    pub mp_unreach: Option<MpUnreach>,
    /// What was wrong with attributes, in the order of the message.
    pub faults: Vec<Fault>,
}

impl Update {
    /// Reads the body of a message. Attributes that are faulty one by one are noted in `faults`.
    ///
    /// # Errors
    /// The parts' lengths don't add up, or a prefix is malformed: then nobody can say which routes were meant.
    pub(super) fn decode(body: &[u8], session: &Session) -> Result<Update, WireError> {
        let mut reader = Reader::new(body);
        let withdrawn = reader
            .block16()
            .ok_or(WireError::MalformedAttributeList("the withdrawn routes are longer than the message"))?;
        let attributes = reader
            .block16()
            .ok_or(WireError::MalformedAttributeList("the attributes are longer than the message"))?;
        let mut update = Update {
            withdrawn: decode_prefixes(withdrawn)
                .ok_or(WireError::InvalidNetworkField("withdrawn routes"))?,
            ..Update::default()
        };
        attributes::decode(attributes, session, &mut update);
        update.nlri = decode_prefixes(reader.rest()).ok_or(WireError::InvalidNetworkField("NLRI"))?;
        Ok(update)
    }

    /// Judges it as RFC 4271 6.3 does, where any fault ends the session.
    ///
    /// # Errors
    /// The first fault, else the first mandatory attribute that is missing.
    pub fn validate(&self) -> Result<(), WireError> {
        if let Some(fault) = self.faults.first() {
            return Err(fault.error.clone());
        }
        let announces_mp = self.mp_reach.as_ref().is_some_and(|reach| !reach.is_empty());
        if self.nlri.is_empty() && !announces_mp {
            return Ok(());
        }
        if self.attributes.origin.is_none() {
            return Err(MISSING_ORIGIN);
        }
        if self.attributes.as_path.is_none() {
            return Err(MISSING_AS_PATH);
        }
        // RFC 4760 section 3: NEXT_HOP has no meaning for routes in MP_REACH_NLRI.
        if !self.nlri.is_empty() && self.attributes.next_hop.is_none() {
            return Err(MISSING_NEXT_HOP);
        }
        Ok(())
    }

    /// The family whose end of the initial routes it marks (RFC 4724 section 2), if it is such a mark.
    pub fn end_of_rib(&self) -> Option<AfiSafi> {
        let bare = Update { mp_unreach: self.mp_unreach.clone(), ..Update::default() };
        if *self != bare {
            return None;
        }
        match &self.mp_unreach {
            None => Some(AfiSafi::IPV4_UNICAST),
            Some(MpUnreach { family, prefixes, skipped: 0 }) if prefixes.is_empty() => Some(*family),
            Some(_) => None,
        }
    }
}

/// An attribute that was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The attribute's type code.
    pub code: u8,
    /// What is wrong, in the words of RFC 4271 6.3.
    pub error: WireError,
}

/// Path attributes, those of MP-BGP excepted; `None` or empty where absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// 1.
    pub origin: Option<Origin>,
    /// 2.
    pub as_path: Option<AsPath>,
    /// 3.
    pub next_hop: Option<Ipv4Addr>,
    /// 4.
    pub med: Option<u32>,
    /// 5.
    pub local_pref: Option<u32>,
    /// 6.
    pub atomic_aggregate: bool,
    /// 7.
    pub aggregator: Option<Aggregator>,
    /// 8, RFC 1997, in the order of the message.
    pub communities: Vec<StandardCommunity>,
    /// 17, RFC 6793.
    pub as4_path: Option<AsPath>,
    /// 18, RFC 6793.
    pub as4_aggregator: Option<Aggregator>,
    /// 32, RFC 8092, in the order of the message.
    pub large_communities: Vec<LargeCommunity>,
    /// All optional ones that aren't known here.
    pub unknown: Vec<UnknownAttribute>,
}

/// How the origin's AS learned of a route (RFC 4271 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Inside the AS.
    Igp = 0,
    /// By EGP.
    Egp = 1,
    /// Some other way.
    Incomplete = 2,
}

/// AS_PATH or AS4_PATH (RFC 4271 5.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AsPath {
    /// Nearest first.
    pub segments: Vec<Segment>,
}

/// One segment of an AS path, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Ordered or not.
    pub kind: SegmentKind,
    /// Its AS numbers, as they came.
    pub numbers: Vec<u32>,
}

/// The kind of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// AS_SET.
    Set = 1,
    /// AS_SEQUENCE.
    Sequence = 2,
    /// AS_CONFED_SEQUENCE (RFC 5065).
    ConfedSequence = 3,
    /// AS_CONFED_SET (RFC 5065).
    ConfedSet = 4,
}

/// Who aggregated a route (RFC 4271 5.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregator {
    /// Its AS.
    pub asn: u32,
    /// Its BGP identifier.
    pub identifier: Ipv4Addr,
}

/// An optional attribute that isn't known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAttribute {
    /// Flags, as they came.
    pub flags: u8,
    /// Type code.
    pub code: u8,
    /// Value.
    pub value: Vec<u8>,
}

/// MP_REACH_NLRI (RFC 4760 section 3).
///
/// ```text
/// | AFI: 2 | SAFI: 1 | next hop's length: 1 | next hop | reserved: 1 | NLRI: the rest |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpReach {
    /// The routes' family.
    pub family: AfiSafi,
    /// The routes' next hop; `None` if the family wasn't negotiated.
    pub next_hop: Option<MpNextHop>,
    /// The routes; empty if the family wasn't negotiated.
    pub prefixes: Vec<IpNet>,
    /// Octets of NLRI that weren't read, since the family wasn't negotiated.
    pub skipped: usize,
}

impl MpReach {
    /// Whether it announces nothing.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.skipped == 0
    }
}

/// A next hop in MP_REACH_NLRI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MpNextHop {
    /// 4 octets.
    V4(Ipv4Addr),
    /// 16 octets.
    V6(Ipv6Addr),
    /// 32 octets (RFC 2545 section 3).
    V6LinkLocal {
        /// The global address; some send `::` here.
        global: Ipv6Addr,
        /// The link-local one.
        link_local: Ipv6Addr,
    },
}

/// MP_UNREACH_NLRI (RFC 4760 section 4).
///
/// ```text
/// | AFI: 2 | SAFI: 1 | withdrawn routes: the rest |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpUnreach {
    /// The routes' family.
    pub family: AfiSafi,
    /// The routes; empty if the family wasn't negotiated.
    pub prefixes: Vec<IpNet>,
    /// Octets that weren't read, since the family wasn't negotiated.
    pub skipped: usize,
}
