//! Path attributes: one table of what is known of each, and the walk over the attributes of an UPDATE.
//!
//! ```text
//! | flags: 1 | type: 1 | length: 1, or 2 with the extended length flag | value |
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    AfiSafi, Aggregator, AsPath, Fault, MpNextHop, MpReach, MpUnreach, Origin, Segment, SegmentKind, Session,
    UnknownAttribute, Update, UpdateSubcode, Verdict, WireError, nlri::decode_family, octets::Reader,
};
use crate::types::{Family, LargeCommunity, StandardCommunity};

pub(super) const ORIGIN: u8 = 1;
pub(super) const AS_PATH: u8 = 2;
pub(super) const NEXT_HOP: u8 = 3;
pub(super) const MULTI_EXIT_DISC: u8 = 4;
pub(super) const LOCAL_PREF: u8 = 5;
pub(super) const COMMUNITIES: u8 = 8;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;
pub(super) const MP_REACH_NLRI: u8 = 14;
pub(super) const MP_UNREACH_NLRI: u8 = 15;
pub(super) const AS4_PATH: u8 = 17;
pub(super) const LARGE_COMMUNITIES: u8 = 32;

pub(super) const EXTENDED_LENGTH: u8 = 0x10;
const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const WELL_KNOWN: u8 = TRANSITIVE;
const OPTIONAL_TRANSITIVE: u8 = OPTIONAL | TRANSITIVE;

/// What is known of an attribute.
struct Known {
    code: u8,
    name: &'static str,
    /// The optional and the transitive bit as they have to be.
    flags: u8,
    /// What becomes of an UPDATE whose attribute has a wrong length or value (RFC 7606 section 7).
    malformed: Verdict,
    decode: fn(Reader<'_>, &Session, &mut Update) -> Result<(), Bad>,
}

use Verdict::{DiscardAttribute, Reset, TreatAsWithdraw};

#[rustfmt::skip]
const KNOWN: [Known; 17] = [
    Known { code: ORIGIN, name: "ORIGIN", flags: WELL_KNOWN, malformed: TreatAsWithdraw, decode: origin },
    Known { code: AS_PATH, name: "AS_PATH", flags: WELL_KNOWN, malformed: TreatAsWithdraw, decode: as_path },
    Known { code: NEXT_HOP, name: "NEXT_HOP", flags: WELL_KNOWN, malformed: TreatAsWithdraw, decode: next_hop },
    Known { code: MULTI_EXIT_DISC, name: "MULTI_EXIT_DISC", flags: OPTIONAL, malformed: TreatAsWithdraw, decode: med },
    Known { code: LOCAL_PREF, name: "LOCAL_PREF", flags: WELL_KNOWN, malformed: TreatAsWithdraw, decode: local_pref },
    Known { code: 6, name: "ATOMIC_AGGREGATE", flags: WELL_KNOWN, malformed: DiscardAttribute, decode: atomic_aggregate },
    Known { code: 7, name: "AGGREGATOR", flags: OPTIONAL_TRANSITIVE, malformed: DiscardAttribute, decode: aggregator },
    Known { code: COMMUNITIES, name: "COMMUNITIES", flags: OPTIONAL_TRANSITIVE, malformed: TreatAsWithdraw, decode: communities },
    Known { code: ORIGINATOR_ID, name: "ORIGINATOR_ID", flags: OPTIONAL, malformed: TreatAsWithdraw, decode: originator_id },
    Known { code: CLUSTER_LIST, name: "CLUSTER_LIST", flags: OPTIONAL, malformed: TreatAsWithdraw, decode: cluster_list },
    Known { code: MP_REACH_NLRI, name: "MP_REACH_NLRI", flags: OPTIONAL, malformed: Reset, decode: mp_reach },
    Known { code: MP_UNREACH_NLRI, name: "MP_UNREACH_NLRI", flags: OPTIONAL, malformed: Reset, decode: mp_unreach },
    Known { code: 16, name: "EXTENDED COMMUNITIES", flags: OPTIONAL_TRANSITIVE, malformed: TreatAsWithdraw, decode: extended_communities },
    Known { code: AS4_PATH, name: "AS4_PATH", flags: OPTIONAL_TRANSITIVE, malformed: DiscardAttribute, decode: as4_path },
    Known { code: 18, name: "AS4_AGGREGATOR", flags: OPTIONAL_TRANSITIVE, malformed: DiscardAttribute, decode: as4_aggregator },
    Known { code: 25, name: "IPv6 EXTENDED COMMUNITIES", flags: OPTIONAL_TRANSITIVE, malformed: TreatAsWithdraw, decode: ipv6_extended_communities },
    Known { code: LARGE_COMMUNITIES, name: "LARGE_COMMUNITY", flags: OPTIONAL_TRANSITIVE, malformed: TreatAsWithdraw, decode: large_communities },
];

/// Attributes that mean something from an internal peer only: from an external one they are discarded, malformed or not
/// (RFC 7606 sections 7.5, 7.9, 7.10).
pub(super) const INTERNAL_ONLY: [u8; 3] = [LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST];

pub(super) const MISSING_ORIGIN: WireError =
    WireError::MissingWellKnownAttribute { code: ORIGIN, name: "ORIGIN" };
pub(super) const MISSING_AS_PATH: WireError =
    WireError::MissingWellKnownAttribute { code: AS_PATH, name: "AS_PATH" };
pub(super) const MISSING_NEXT_HOP: WireError =
    WireError::MissingWellKnownAttribute { code: NEXT_HOP, name: "NEXT_HOP" };
pub(super) const MISSING_LOCAL_PREF: WireError =
    WireError::MissingWellKnownAttribute { code: LOCAL_PREF, name: "LOCAL_PREF" };

/// The flags that an attribute of ours carries.
pub(super) fn flags(code: u8) -> u8 {
    known(code).map_or(OPTIONAL_TRANSITIVE, |known| known.flags)
}

/// Reads all attributes of an UPDATE into `update`, and notes what is wrong with which.
pub(super) fn decode(octets: &[u8], session: &Session, update: &mut Update) {
    let mut reader = Reader::new(octets);
    let mut seen = [0_u128; 2];
    while !reader.is_empty() {
        let Some(attribute) = Attribute::read(&mut reader) else {
            // Where the next attribute begins is unknown from here on; the NLRI field is found all the same, so the
            // routes can be withdrawn (RFC 7606 section 4).
            let error = WireError::MalformedAttributeList("an attribute is longer than the attributes");
            update.faults.push(Fault { code: 0, verdict: TreatAsWithdraw, error });
            return;
        };
        attribute.decode(session, &mut seen, update);
    }
}

/// What is wrong with a value.
enum Bad {
    /// Its length.
    Length(&'static str),
    /// Anything else.
    Value(UpdateSubcode, &'static str),
}

/// An attribute whose value isn't read yet.
struct Attribute<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
    /// Flags, type, length and value.
    whole: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Attribute<'a>> {
        let from = *reader;
        let (flags, code) = (reader.u8()?, reader.u8()?);
        let value = if flags & EXTENDED_LENGTH == 0 { reader.block8()? } else { reader.block16()? };
        let mut whole = from;
        let whole = whole.take(from.len().saturating_sub(reader.len()))?;
        Some(Attribute { flags, code, value, whole })
    }

    fn decode(&self, session: &Session, seen: &mut [u128; 2], update: &mut Update) {
        let fault = |update: &mut Update, verdict, error| {
            update.faults.push(Fault { code: self.code, verdict, error });
        };
        if self.is_repeated(seen) {
            // RFC 7606 section 3 (g): the first of an attribute counts, but which MP attribute was meant nobody knows.
            let twice = WireError::MalformedAttributeList("an attribute is there twice");
            let mp = matches!(self.code, MP_REACH_NLRI | MP_UNREACH_NLRI);
            return fault(update, if mp { Reset } else { DiscardAttribute }, twice);
        }
        let Some(known) = known(self.code) else {
            if self.flags & OPTIONAL == 0 {
                let subcode = UpdateSubcode::UnrecognizedWellKnownAttribute;
                return fault(update, Reset, self.error(subcode, "unknown", "it claims to be well-known"));
            }
            let value = self.value.to_vec();
            let unknown = UnknownAttribute { flags: self.flags, code: self.code, value };
            return update.attributes.unknown.push(unknown);
        };
        if self.flags & (OPTIONAL | TRANSITIVE) != known.flags {
            // RFC 7606 section 3 (c).
            let error = self.error(UpdateSubcode::AttributeFlagsError, known.name, "wrong flags");
            fault(update, TreatAsWithdraw, error);
            // Which routes to withdraw has to be known all the same.
            if known.malformed != Reset {
                return;
            }
        }
        if let Err(bad) = (known.decode)(Reader::new(self.value), session, update) {
            let (subcode, what) = match bad {
                Bad::Length(what) => (UpdateSubcode::AttributeLengthError, what),
                Bad::Value(subcode, what) => (subcode, what),
            };
            fault(update, known.malformed, self.error(subcode, known.name, what));
        }
    }

    /// Whether `seen` has it; it has it from now on.
    fn is_repeated(&self, seen: &mut [u128; 2]) -> bool {
        let bit = 1 << (self.code & 0x7f);
        let half = seen.get_mut(usize::from(self.code >> 7));
        half.is_some_and(|half| std::mem::replace(half, *half | bit) & bit != 0)
    }

    fn error(&self, subcode: UpdateSubcode, name: &'static str, what: &'static str) -> WireError {
        WireError::Attribute { subcode, code: self.code, name, what, attribute: self.whole.to_vec() }
    }
}

fn known(code: u8) -> Option<&'static Known> {
    const { &KNOWN }.iter().find(|known| known.code == code)
}

fn origin(mut value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    let [origin] = exactly(&mut value, "not 1 octet")?;
    update.attributes.origin = Some(match origin {
        0 => Origin::Igp,
        1 => Origin::Egp,
        2 => Origin::Incomplete,
        _ => return Err(Bad::Value(UpdateSubcode::InvalidOriginAttribute, "unknown origin")),
    });
    Ok(())
}

fn as_path(value: Reader<'_>, session: &Session, update: &mut Update) -> Result<(), Bad> {
    const fn malformed(what: &'static str) -> Bad {
        Bad::Value(UpdateSubcode::MalformedAsPath, what)
    }
    let path = if session.four_octet_as {
        segments(value, |reader| reader.u32())
    } else {
        segments(value, |reader| reader.u16().map(u32::from))
    };
    let path = path.ok_or(malformed("segments don't add up"))?;
    if path.has_as_0() {
        return Err(malformed("AS 0 is in it (RFC 7607)"));
    }
    if path.segments.iter().any(|segment| segment.kind.is_confederation()) {
        return Err(malformed("a confederation's segment, but we are in none (RFC 5065)"));
    }
    update.attributes.as_path = Some(path);
    Ok(())
}

/// RFC 6793 sections 4.1 and 6: from a peer that has 4-octet numbers anyway it doesn't count, and neither do a
/// confederation's segments.
fn as4_path(value: Reader<'_>, session: &Session, update: &mut Update) -> Result<(), Bad> {
    if session.four_octet_as {
        return Ok(());
    }
    let mut path = segments(value, |reader| reader.u32()).ok_or(optional_error("segments don't add up"))?;
    path.segments.retain(|segment| !segment.kind.is_confederation());
    if path.has_as_0() {
        return Err(optional_error("AS 0 is in it (RFC 7607)"));
    }
    update.attributes.as4_path = Some(path);
    Ok(())
}

fn segments(mut value: Reader<'_>, number: fn(&mut Reader<'_>) -> Option<u32>) -> Option<AsPath> {
    let mut path = AsPath::default();
    while !value.is_empty() {
        let kind = match value.u8()? {
            1 => SegmentKind::Set,
            2 => SegmentKind::Sequence,
            3 => SegmentKind::ConfedSequence,
            4 => SegmentKind::ConfedSet,
            _ => return None,
        };
        let count = value.u8().filter(|count| *count != 0)?;
        let numbers = (0..count).map(|_| number(&mut value)).collect::<Option<Vec<u32>>>()?;
        path.segments.push(Segment { kind, numbers });
    }
    Some(path)
}

fn next_hop(mut value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    let address = Ipv4Addr::from(exactly::<4>(&mut value, "not 4 octets")?);
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        return Err(Bad::Value(UpdateSubcode::InvalidNextHopAttribute, "no host's address"));
    }
    update.attributes.next_hop = Some(address);
    Ok(())
}

fn med(mut value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    update.attributes.med = Some(u32::from_be_bytes(exactly(&mut value, "not 4 octets")?));
    Ok(())
}

fn local_pref(mut value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    update.attributes.local_pref = Some(u32::from_be_bytes(exactly(&mut value, "not 4 octets")?));
    Ok(())
}

fn atomic_aggregate(mut value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    exactly::<0>(&mut value, "not empty")?;
    update.attributes.atomic_aggregate = true;
    Ok(())
}

fn aggregator(mut value: Reader<'_>, session: &Session, update: &mut Update) -> Result<(), Bad> {
    const LENGTH: Bad = Bad::Length("not 6 octets, or 8 with 4-octet AS numbers");
    let asn = if session.four_octet_as { value.u32() } else { value.u16().map(u32::from) };
    let (Some(asn), Some(identifier), true) = (asn, value.u32(), value.is_empty()) else {
        return Err(LENGTH);
    };
    if asn == 0 {
        return Err(optional_error("AS 0 (RFC 7607)"));
    }
    update.attributes.aggregator = Some(Aggregator { asn, identifier: Ipv4Addr::from(identifier) });
    Ok(())
}

/// As for AS4_PATH (RFC 6793 sections 4.1 and 6).
fn as4_aggregator(mut value: Reader<'_>, session: &Session, update: &mut Update) -> Result<(), Bad> {
    if session.four_octet_as {
        return Ok(());
    }
    let (Some(asn), Some(identifier), true) = (value.u32(), value.u32(), value.is_empty()) else {
        return Err(Bad::Length("not 8 octets"));
    };
    if asn == 0 {
        return Err(optional_error("AS 0 (RFC 7607)"));
    }
    update.attributes.as4_aggregator = Some(Aggregator { asn, identifier: Ipv4Addr::from(identifier) });
    Ok(())
}

fn originator_id(mut value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    update.attributes.originator_id = Some(Ipv4Addr::from(exactly::<4>(&mut value, "not 4 octets")?));
    Ok(())
}

fn cluster_list(value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    let each = |reader: &mut Reader<'_>| reader.array::<4>().map(Ipv4Addr::from);
    update.attributes.cluster_list = several(value, each, "not a multiple of 4 octets, or empty")?;
    Ok(())
}

fn extended_communities(value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    let each = |reader: &mut Reader<'_>| reader.array();
    update.attributes.extended_communities = several(value, each, "not a multiple of 8 octets, or empty")?;
    Ok(())
}

fn ipv6_extended_communities(value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    let each = |reader: &mut Reader<'_>| reader.array();
    update.attributes.ipv6_extended_communities =
        several(value, each, "not a multiple of 20 octets, or empty")?;
    Ok(())
}

fn communities(value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    let each = |reader: &mut Reader<'_>| reader.u32().map(StandardCommunity);
    update.attributes.communities = several(value, each, "not a multiple of 4 octets, or empty")?;
    Ok(())
}

fn large_communities(value: Reader<'_>, _: &Session, update: &mut Update) -> Result<(), Bad> {
    let each = |reader: &mut Reader<'_>| {
        let (global, local1, local2) = (reader.u32()?, reader.u32()?, reader.u32()?);
        Some(LargeCommunity { global, local1, local2 })
    };
    update.attributes.large_communities = several(value, each, "not a multiple of 12 octets, or empty")?;
    Ok(())
}

fn mp_reach(mut value: Reader<'_>, session: &Session, update: &mut Update) -> Result<(), Bad> {
    const SHORT: Bad = optional_error("it ends early");
    let (Some(afi), Some(safi), Some(next_hop), Some(_reserved)) =
        (value.u16(), value.u8(), value.block8(), value.u8())
    else {
        return Err(SHORT);
    };
    let family = AfiSafi { afi, safi };
    let Some(unicast) = negotiated(family, session) else {
        let skipped = value.len();
        update.mp_reach = Some(MpReach { family, next_hop: None, prefixes: Vec::new(), skipped });
        return Ok(());
    };
    let next_hop = mp_next_hop(unicast, next_hop, session)
        .ok_or(optional_error("the next hop's length doesn't suit the family"))?;
    let prefixes = decode_family(unicast, value.rest()).ok_or(optional_error("malformed prefix"))?;
    update.mp_reach = Some(MpReach { family, next_hop: Some(next_hop), prefixes, skipped: 0 });
    Ok(())
}

fn mp_next_hop(family: Family, octets: &[u8], session: &Session) -> Option<MpNextHop> {
    let mut reader = Reader::new(octets);
    match (family, octets.len()) {
        (Family::V4, 4) => Some(MpNextHop::V4(Ipv4Addr::from(reader.array::<4>()?))),
        (Family::V4, _) if !session.extended_next_hop => None,
        (_, 16) => Some(MpNextHop::V6(Ipv6Addr::from(reader.array::<16>()?))),
        (_, 32) => {
            let global = Ipv6Addr::from(reader.array::<16>()?);
            let link_local = Ipv6Addr::from(reader.array::<16>()?);
            Some(MpNextHop::V6LinkLocal { global, link_local })
        }
        _ => None,
    }
}

fn mp_unreach(mut value: Reader<'_>, session: &Session, update: &mut Update) -> Result<(), Bad> {
    let (Some(afi), Some(safi)) = (value.u16(), value.u8()) else {
        return Err(optional_error("it ends early"));
    };
    let family = AfiSafi { afi, safi };
    let Some(unicast) = negotiated(family, session) else {
        update.mp_unreach = Some(MpUnreach { family, prefixes: Vec::new(), skipped: value.len() });
        return Ok(());
    };
    let prefixes = decode_family(unicast, value.rest()).ok_or(optional_error("malformed prefix"))?;
    update.mp_unreach = Some(MpUnreach { family, prefixes, skipped: 0 });
    Ok(())
}

fn negotiated(family: AfiSafi, session: &Session) -> Option<Family> {
    family.family().filter(|family| session.families.contains(*family))
}

/// RFC 4760 section 7.
const fn optional_error(what: &'static str) -> Bad {
    Bad::Value(UpdateSubcode::OptionalAttributeError, what)
}

/// The whole value, if it has just this length.
fn exactly<const N: usize>(value: &mut Reader<'_>, what: &'static str) -> Result<[u8; N], Bad> {
    value.array::<N>().filter(|_| value.is_empty()).ok_or(Bad::Length(what))
}

/// The whole value as items, at least one.
fn several<T>(
    mut value: Reader<'_>,
    each: impl Fn(&mut Reader<'_>) -> Option<T>,
    what: &'static str,
) -> Result<Vec<T>, Bad> {
    let mut items = Vec::new();
    loop {
        items.push(each(&mut value).ok_or(Bad::Length(what))?);
        if value.is_empty() {
            return Ok(items);
        }
    }
}
