use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::{
    AfiSafi, Session, WireError,
    attributes::{
        self, INTERNAL_ONLY, MISSING_AS_PATH, MISSING_LOCAL_PREF, MISSING_NEXT_HOP, MISSING_ORIGIN,
        MP_UNREACH_NLRI,
    },
    nlri::decode_prefixes,
    octets::Reader,
};
use crate::types::{Asn, LargeCommunity, StandardCommunity};

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
    /// Reads the body of a message. What is wrong within one of its parts is noted in `faults`.
    ///
    /// # Errors
    /// The parts' lengths don't add up.
    pub(super) fn decode(body: &[u8], session: &Session) -> Result<Update, WireError> {
        let mut reader = Reader::new(body);
        let withdrawn = reader
            .block16()
            .ok_or(WireError::MalformedAttributeList("the withdrawn routes are longer than the message"))?;
        let attributes = reader
            .block16()
            .ok_or(WireError::MalformedAttributeList("the attributes are longer than the message"))?;
        let mut update = Update::default();
        // RFC 4271 6.3 begins with the attributes.
        attributes::decode(attributes, session, &mut update);
        update.withdrawn = update.prefixes(withdrawn, "withdrawn routes");
        update.nlri = update.prefixes(reader.rest(), "NLRI");
        Ok(update)
    }

    /// Reads a field of prefixes. A malformed one ends the session: nobody can say which routes were meant (RFC 7606
    /// section 3 (j)).
    fn prefixes(&mut self, octets: &[u8], field: &'static str) -> Vec<Ipv4Net> {
        decode_prefixes(octets).unwrap_or_else(|| {
            let error = WireError::InvalidNetworkField(field);
            self.faults.push(Fault { code: 0, verdict: Verdict::Reset, error });
            Vec::new()
        })
    }

    /// What becomes of it, by RFC 7606: the strongest verdict that a fault of it calls for, and the first fault that does.
    /// `internal`: the peer is in our AS.
    pub fn judge(&self, internal: bool) -> Judgement {
        let reaches = self.announces();
        let of_fault = |fault: &Fault| {
            let verdict = match fault.verdict {
                Verdict::TreatAsWithdraw if !internal && INTERNAL_ONLY.contains(&fault.code) => {
                    Verdict::DiscardAttribute
                }
                // RFC 7606 section 5.2: attributes, yet no routes: these may have gone astray.
                Verdict::TreatAsWithdraw if !reaches && fault.code != MP_UNREACH_NLRI => Verdict::Reset,
                verdict => verdict,
            };
            Judgement { verdict, error: Some(fault.error.clone()) }
        };
        let missing = self.missing(internal).filter(|_| reaches);
        let missing =
            missing.map(|error| Judgement { verdict: Verdict::TreatAsWithdraw, error: Some(error) });
        let attributes = &self.attributes;
        let superfluous = !internal
            && (attributes.local_pref.is_some()
                || attributes.originator_id.is_some()
                || !attributes.cluster_list.is_empty());
        let least = if superfluous { Verdict::DiscardAttribute } else { Verdict::Accept };
        let all = self.faults.iter().map(of_fault).chain(missing);
        all.fold(Judgement { verdict: least, error: None }, |strongest, next| {
            let stronger = next.verdict > strongest.verdict
                || next.verdict == strongest.verdict && strongest.error.is_none();
            if stronger { next } else { strongest }
        })
    }

    /// Whether it announces routes, those of families that weren't negotiated included.
    fn announces(&self) -> bool {
        !self.nlri.is_empty() || self.mp_reach.as_ref().is_some_and(|reach| !reach.is_empty())
    }

    /// The first mandatory attribute that isn't there, provided that it isn't there in a malformed form.
    fn missing(&self, internal: bool) -> Option<WireError> {
        let attributes = &self.attributes;
        // RFC 4760 section 3: NEXT_HOP has no meaning for routes in MP_REACH_NLRI.
        let next_hop = !self.nlri.is_empty() && attributes.next_hop.is_none();
        let all = [
            (attributes.origin.is_none(), MISSING_ORIGIN),
            (attributes.as_path.is_none(), MISSING_AS_PATH),
            (next_hop, MISSING_NEXT_HOP),
            (internal && attributes.local_pref.is_none(), MISSING_LOCAL_PREF),
        ];
        all.into_iter().find_map(|(missing, error)| missing.then_some(error))
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

/// What becomes of an UPDATE (RFC 7606 section 2): the later the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It counts as it is.
    Accept,
    /// It counts without one attribute or several.
    DiscardAttribute,
    /// The routes that it announces count as withdrawn.
    TreatAsWithdraw,
    /// The session ends.
    Reset,
}

/// A verdict and what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What becomes of the UPDATE.
    pub verdict: Verdict,
    /// The first fault that called for it; `None` where there is none, or where an attribute just wasn't for us.
    pub error: Option<WireError>,
}

impl Judgement {
    /// There is nothing to be said against it.
    pub const ACCEPT: Judgement = Judgement { verdict: Verdict::Accept, error: None };
}

/// What was wrong with a part of an UPDATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The attribute's type code; 0: it is the list of attributes, or a field of prefixes.
    pub code: u8,
    /// What it calls for.
    pub verdict: Verdict,
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
    /// 9, RFC 4456.
    pub originator_id: Option<Ipv4Addr>,
    /// 10, RFC 4456.
    pub cluster_list: Vec<Ipv4Addr>,
    /// 16, RFC 4360.
    pub extended_communities: Vec<[u8; 8]>,
    /// 17, RFC 6793.
    pub as4_path: Option<AsPath>,
    /// 18, RFC 6793.
    pub as4_aggregator: Option<Aggregator>,
    /// 25, RFC 5701.
    pub ipv6_extended_communities: Vec<[u8; 20]>,
    /// 32, RFC 8092, in the order of the message.
    pub large_communities: Vec<LargeCommunity>,
    /// All optional ones that aren't known here.
    pub unknown: Vec<UnknownAttribute>,
}

impl Attributes {
    /// The path with 4-octet numbers as far as they can be had: that of a peer with 2-octet numbers is completed from its
    /// AS4_PATH (RFC 6793 section 4.2.3).
    pub fn merged_as_path(&self) -> Option<AsPath> {
        let path = self.as_path.as_ref()?;
        // A peer that has aggregated anew has made the old AS4_PATH wrong.
        let stale = self.aggregator.is_some_and(|aggregator| aggregator.asn != Asn::TRANS.get());
        let Some(four) = self.as4_path.as_ref().filter(|_| !stale) else { return Some(path.clone()) };
        let Some(mut lead) = path.length().checked_sub(four.length()) else { return Some(path.clone()) };
        let mut merged = AsPath::default();
        for segment in &path.segments {
            if lead == 0 {
                break;
            }
            let mut segment = segment.clone();
            if segment.kind == SegmentKind::Sequence {
                segment.numbers.truncate(lead);
            }
            lead = lead.saturating_sub(segment.length());
            merged.segments.push(segment);
        }
        merged.segments.extend(four.segments.iter().cloned());
        Some(merged)
    }
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

impl AsPath {
    /// How many ASes it counts (RFC 4271 9.1.2.2, RFC 5065 5.3).
    pub fn length(&self) -> usize {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.length()))
    }

    pub(super) fn has_as_0(&self) -> bool {
        self.segments.iter().any(|segment| segment.numbers.contains(&0))
    }
}

/// One segment of an AS path, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Ordered or not.
    pub kind: SegmentKind,
    /// Its AS numbers, as they came.
    pub numbers: Vec<u32>,
}

impl Segment {
    /// How many ASes it counts: a set is one, a confederation's segment none.
    fn length(&self) -> usize {
        match self.kind {
            SegmentKind::Set => 1,
            SegmentKind::Sequence => self.numbers.len(),
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        }
    }
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

impl SegmentKind {
    pub(super) fn is_confederation(self) -> bool {
        matches!(self, SegmentKind::ConfedSequence | SegmentKind::ConfedSet)
    }
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
