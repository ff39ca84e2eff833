use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::BytesMut;
use ferrolb_core::bgp::wire::{AfiSafi, Capability, ExtendedNextHop, Open};
use ferrolb_core::types::Family;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::capabilities::BgpCapability;
use netgauze_bgp_pkt::codec::{BgpCodec, BgpCodecDecoderError};
use netgauze_bgp_pkt::community::{Community, LargeCommunity};
use netgauze_bgp_pkt::iana::RouteRefreshSubcode;
use netgauze_bgp_pkt::nlri::{Ipv4Unicast, Ipv4UnicastAddress, Ipv6Unicast, Ipv6UnicastAddress};
use netgauze_bgp_pkt::path_attribute::{
    Aggregator, As4Aggregator, As4PathSegment, AsPath, AsPathSegmentType, AtomicAggregate, Communities,
    LargeCommunities, LocalPreference, MpReach, MpUnreach, MultiExitDiscriminator, NextHop, Origin,
    PathAttribute, PathAttributeValue, UnknownAttribute,
};
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

use super::Meaning;

pub fn message(octets: &[u8], four_octet_as: bool) -> Result<BgpMessage, BgpCodecDecoderError> {
    // Strict: anything that it would rather ignore is an error.
    let context =
        BgpParsingContext::new(four_octet_as, HashMap::new(), HashMap::new(), true, true, true, true);
    let mut codec = BgpCodec::new_from_ctx(four_octet_as, context);
    let mut input = BytesMut::from(octets);
    let (message, _) = codec.decode(&mut input)?.expect("a whole message");
    assert!(input.is_empty());
    Ok(message)
}

/// What it writes after it has read these octets.
pub fn rewritten(octets: &[u8], four_octet_as: bool) -> Vec<u8> {
    encode(message(octets, four_octet_as).unwrap())
}

pub fn encode(message: BgpMessage) -> Vec<u8> {
    let mut out = BytesMut::new();
    BgpCodec::new(true).encode(message, &mut out).unwrap();
    out.to_vec()
}

pub fn open(octets: &[u8]) -> Open {
    let BgpMessage::Open(open) = message(octets, false).unwrap() else { panic!("no OPEN") };
    let capability = |capability: &BgpCapability| match capability {
        BgpCapability::MultiProtocolExtensions(mp) => {
            Capability::MultiProtocol(unicast(&format!("{:?}", mp.address_type())))
        }
        BgpCapability::RouteRefresh => Capability::RouteRefresh,
        BgpCapability::EnhancedRouteRefresh => Capability::EnhancedRouteRefresh,
        BgpCapability::ExtendedMessage => Capability::ExtendedMessage,
        BgpCapability::FourOctetAs(number) => Capability::FourOctetAs(number.asn4()),
        BgpCapability::ExtendedNextHopEncoding(list) => {
            let entry = |e: &netgauze_bgp_pkt::capabilities::ExtendedNextHopEncoding| {
                let AfiSafi { afi, safi } = unicast(&format!("{:?}", e.address_type()));
                ExtendedNextHop { afi, safi: safi.into(), next_hop_afi: e.next_hop_afi() as u16 }
            };
            Capability::ExtendedNextHop(list.encodings().iter().map(entry).collect())
        }
        other => panic!("{other:?}"),
    };
    Open {
        my_as: open.my_as(),
        hold_time: open.hold_time(),
        identifier: open.bgp_id(),
        capabilities: open.capabilities().into_iter().map(capability).collect(),
    }
}

/// The type that names families is in a crate of its own, which we don't depend on: by its name, then.
fn unicast(name: &str) -> AfiSafi {
    match name {
        "Ipv4Unicast" => AfiSafi::IPV4_UNICAST,
        "Ipv6Unicast" => AfiSafi::IPV6_UNICAST,
        other => panic!("{other}"),
    }
}

pub fn is_refresh(octets: &[u8], family: Family) -> bool {
    let BgpMessage::RouteRefresh(refresh) = message(octets, true).unwrap() else { return false };
    let is_request = matches!(refresh.operation_type(), RouteRefreshSubcode::NormalRequest);
    is_request && unicast(&format!("{:?}", refresh.address_type())) == AfiSafi::unicast(family)
}

pub fn is_end_of_rib(octets: &[u8], family: Family) -> bool {
    let BgpMessage::Update(update) = message(octets, true).unwrap() else { return false };
    update.end_of_rib().is_some_and(|kind| unicast(&format!("{kind:?}")) == AfiSafi::unicast(family))
}

pub fn update(octets: &[u8], four_octet_as: bool) -> Meaning {
    let BgpMessage::Update(update) = message(octets, four_octet_as).unwrap() else { panic!("no UPDATE") };
    let mut meaning = Meaning {
        announced: v4(update.nlri()),
        withdrawn: v4(update.withdraw_routes()),
        ..Meaning::default()
    };
    for attribute in update.path_attributes() {
        read(attribute.value(), &mut meaning);
    }
    meaning
}

fn read(value: &PathAttributeValue, meaning: &mut Meaning) {
    match value {
        PathAttributeValue::Origin(origin) => meaning.origin = Some(u8::from(*origin)),
        PathAttributeValue::AsPath(AsPath::As2PathSegments(segments)) => {
            let of = |s: &netgauze_bgp_pkt::path_attribute::As2PathSegment| {
                (u8::from(s.segment_type()), s.as_numbers().iter().map(|n| u32::from(*n)).collect())
            };
            meaning.as_path = Some(segments.iter().map(of).collect());
        }
        PathAttributeValue::AsPath(AsPath::As4PathSegments(segments)) => {
            meaning.as_path = Some(segments.iter().map(segment).collect());
        }
        PathAttributeValue::As4Path(path) => {
            meaning.as4_path = Some(path.segments().iter().map(segment).collect());
        }
        PathAttributeValue::NextHop(next_hop) => meaning.next_hop = Some(IpAddr::V4(next_hop.next_hop())),
        PathAttributeValue::MultiExitDiscriminator(med) => meaning.med = Some(med.metric()),
        PathAttributeValue::LocalPreference(preference) => meaning.local_pref = Some(preference.metric()),
        PathAttributeValue::Communities(list) => {
            meaning.communities = list.communities().iter().map(Community::value).collect();
        }
        PathAttributeValue::LargeCommunities(list) => {
            let fields = |l: &LargeCommunity| [l.global_admin(), l.local_data1(), l.local_data2()];
            meaning.large_communities = list.communities().iter().map(fields).collect();
        }
        PathAttributeValue::MpReach(MpReach::Ipv4Unicast { next_hop, next_hop_local, nlri }) => {
            meaning.next_hop = Some(*next_hop);
            meaning.link_local = *next_hop_local;
            meaning.announced.extend(v4(nlri));
        }
        PathAttributeValue::MpReach(MpReach::Ipv6Unicast { next_hop_global, next_hop_local, nlri }) => {
            meaning.next_hop = Some(IpAddr::V6(*next_hop_global));
            meaning.link_local = *next_hop_local;
            meaning.announced.extend(v6(nlri));
        }
        PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
            meaning.end_of_rib = nlri.is_empty().then_some(Family::V6);
            meaning.withdrawn.extend(v6(nlri));
        }
        // Known, but not ours to send: that they are read is enough.
        PathAttributeValue::AtomicAggregate(_)
        | PathAttributeValue::Aggregator(_)
        | PathAttributeValue::UnknownAttribute(_) => {}
        other => panic!("{other:?}"),
    }
}

fn segment(segment: &As4PathSegment) -> (u8, Vec<u32>) {
    (u8::from(segment.segment_type()), segment.as_numbers().to_vec())
}

fn v4(prefixes: &[Ipv4UnicastAddress]) -> Vec<IpNet> {
    prefixes.iter().map(|prefix| IpNet::V4(prefix.network().address())).collect()
}

fn v6(prefixes: &[Ipv6UnicastAddress]) -> Vec<IpNet> {
    prefixes.iter().map(|prefix| IpNet::V6(prefix.network().address())).collect()
}

/// UPDATEs that we would never send: sets, other origins, aggregators, IPv4 and IPv6 in one message, attributes of unknown
/// types, attributes with an extended length that don't need it.
pub fn any_update() -> impl Strategy<Value = BgpMessage> {
    let v4_prefixes = || {
        vec((0..0x8000_0000_u32, 0..=32_u8), 0..20).prop_map(|all| {
            let of = |(address, length)| {
                let network = Ipv4Net::new(Ipv4Addr::from(address), length).unwrap().trunc();
                Ipv4UnicastAddress::new_no_path_id(Ipv4Unicast::from_net(network).unwrap())
            };
            all.into_iter().map(of).collect::<Vec<_>>()
        })
    };
    let v6_prefixes = || {
        vec((0..u128::MAX >> 1, 0..=128_u8), 1..20).prop_map(|all| {
            let of = |(address, length)| {
                let network = Ipv6Net::new(Ipv6Addr::from(address), length).unwrap().trunc();
                Ipv6UnicastAddress::new(None, Ipv6Unicast::from_net(network).unwrap())
            };
            all.into_iter().map(of).collect::<Vec<_>>()
        })
    };
    let segments = vec((any::<bool>(), vec(1..=u32::MAX, 1..6)), 0..4).prop_map(|all| {
        let of = |(set, numbers)| {
            let kind = if set { AsPathSegmentType::AsSet } else { AsPathSegmentType::AsSequence };
            As4PathSegment::new(kind, numbers)
        };
        all.into_iter().map(of).collect::<Vec<_>>()
    });
    let values = (
        segments,
        0..3_u8,
        any::<[u32; 4]>(),
        vec(any::<u32>().prop_map(Community::new), 1..8),
        vec(any::<u8>(), 0..12),
        any::<bool>(),
    );
    (v4_prefixes(), v4_prefixes(), v6_prefixes(), v6_prefixes(), values).prop_map(
        |(withdrawn, nlri, reach, unreach, (segments, origin, numbers, communities, unknown, extended))| {
            let [med, preference, asn, address] = numbers;
            let large = vec![LargeCommunity::new(med, preference, asn)];
            let global = Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(address));
            let reach =
                MpReach::Ipv6Unicast { next_hop_global: global, next_hop_local: None, nlri: reach.into() };
            let aggregator = Aggregator::As4Aggregator(As4Aggregator::new(asn, Ipv4Addr::from(address)));
            let well_known = |value| PathAttribute::from(false, true, false, extended, value).unwrap();
            let optional = |value| PathAttribute::from(true, false, false, extended, value).unwrap();
            let transitive =
                |partial, value| PathAttribute::from(true, true, partial, extended, value).unwrap();
            let next_hop = NextHop::new(Ipv4Addr::new(192, 0, 2, address as u8));
            let mut attributes = vec![
                well_known(PathAttributeValue::LocalPreference(LocalPreference::new(preference))),
                transitive(false, PathAttributeValue::Communities(Communities::new(communities))),
                well_known(PathAttributeValue::Origin(Origin::try_from(origin).unwrap())),
                transitive(true, PathAttributeValue::Aggregator(aggregator)),
                well_known(PathAttributeValue::AsPath(AsPath::as4_path_segments(segments))),
                optional(PathAttributeValue::MultiExitDiscriminator(MultiExitDiscriminator::new(med))),
                transitive(true, PathAttributeValue::LargeCommunities(LargeCommunities::new(large))),
                well_known(PathAttributeValue::AtomicAggregate(AtomicAggregate)),
                transitive(true, PathAttributeValue::UnknownAttribute(UnknownAttribute::new(200, unknown))),
            ];
            // One next hop at a time, since `Meaning` has room for one.
            if nlri.is_empty() {
                attributes.push(
                    PathAttribute::from(true, false, false, true, PathAttributeValue::MpReach(reach))
                        .unwrap(),
                );
            } else {
                attributes.push(well_known(PathAttributeValue::NextHop(next_hop)));
            }
            let unreach = PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri: unreach.into() });
            attributes.push(PathAttribute::from(true, false, false, true, unreach).unwrap());
            BgpMessage::Update(BgpUpdateMessage::new(withdrawn, attributes, nlri))
        },
    )
}
