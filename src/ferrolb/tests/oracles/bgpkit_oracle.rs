use std::net::IpAddr;

use bgpkit_parser::ParserError;
use bgpkit_parser::models::capabilities::BgpCapabilityType;
use bgpkit_parser::models::{
    AsPath, AsPathSegment, AsnLength, AttributeValue, BgpMessage, BgpUpdateMessage, CapabilityValue,
    Community, NetworkPrefix, NextHopAddress, ParamValue,
};
use bgpkit_parser::parser::bgp::parse_bgp_message;
use bytes::Bytes;
use ferrolb_core::bgp::wire::{AfiSafi, Capability, ExtendedNextHop, Open};
use ferrolb_core::types::Family;
use ipnet::IpNet;

use super::Meaning;

pub fn message(octets: &[u8], four_octet_as: bool) -> Result<BgpMessage, ParserError> {
    let width = if four_octet_as { AsnLength::Bits32 } else { AsnLength::Bits16 };
    parse_bgp_message(&mut Bytes::copy_from_slice(octets), false, &width)
}

fn read(octets: &[u8], four_octet_as: bool) -> BgpMessage {
    message(octets, four_octet_as).unwrap()
}

pub fn open(octets: &[u8]) -> Open {
    let BgpMessage::Open(open) = read(octets, false) else { panic!("no OPEN") };
    let mut capabilities = Vec::new();
    for parameter in open.opt_params {
        let ParamValue::Capacities(list) = parameter.param_value else { panic!("{parameter:?}") };
        for capability in list {
            capabilities.push(match capability.value {
                CapabilityValue::MultiprotocolExtensions(mp) => {
                    Capability::MultiProtocol(AfiSafi { afi: mp.afi as u16, safi: mp.safi as u8 })
                }
                CapabilityValue::RouteRefresh(_) => Capability::RouteRefresh,
                CapabilityValue::BgpExtendedMessage(_) => Capability::ExtendedMessage,
                CapabilityValue::FourOctetAs(number) => Capability::FourOctetAs(number.asn),
                CapabilityValue::ExtendedNextHop(list) => {
                    let entry =
                        |e: bgpkit_parser::models::capabilities::ExtendedNextHopEntry| ExtendedNextHop {
                            afi: e.nlri_afi as u16,
                            safi: e.nlri_safi as u16,
                            next_hop_afi: e.nexthop_afi as u16,
                        };
                    Capability::ExtendedNextHop(list.entries.into_iter().map(entry).collect())
                }
                CapabilityValue::Raw(value)
                    if value.is_empty()
                        && capability.ty == BgpCapabilityType::ENHANCED_ROUTE_REFRESH_CAPABILITY =>
                {
                    Capability::EnhancedRouteRefresh
                }
                other => panic!("{other:?}"),
            });
        }
    }
    Open {
        my_as: u16::try_from(u32::from(open.asn)).unwrap(),
        hold_time: open.hold_time,
        identifier: open.bgp_identifier,
        capabilities,
    }
}

pub fn notification(octets: &[u8]) -> (u8, u8, Vec<u8>) {
    let BgpMessage::Notification(notification) = read(octets, true) else { panic!("no NOTIFICATION") };
    let (code, subcode) = notification.error.get_codes();
    (code, subcode, notification.data)
}

/// AFI, subtype, SAFI.
pub fn refresh(octets: &[u8]) -> (u16, u8, u8) {
    let BgpMessage::RouteRefresh(refresh) = read(octets, true) else { panic!("no ROUTE-REFRESH") };
    assert!(refresh.data.is_empty());
    (refresh.afi, refresh.subtype, refresh.safi)
}

pub fn is_keepalive(octets: &[u8]) -> bool {
    matches!(read(octets, true), BgpMessage::KeepAlive)
}

pub fn is_end_of_rib(octets: &[u8]) -> bool {
    updated(octets, true).is_end_of_rib()
}

fn updated(octets: &[u8], four_octet_as: bool) -> BgpUpdateMessage {
    let BgpMessage::Update(update) = read(octets, four_octet_as) else { panic!("no UPDATE") };
    let warnings = update.attributes.validation_warnings();
    assert!(warnings.is_empty(), "{warnings:?}");
    update
}

pub fn update(octets: &[u8], four_octet_as: bool) -> Meaning {
    let update = updated(octets, four_octet_as);
    let mut meaning = Meaning {
        announced: prefixes(&update.announced_prefixes),
        withdrawn: prefixes(&update.withdrawn_prefixes),
        ..Meaning::default()
    };
    for value in &update.attributes {
        match value {
            AttributeValue::Origin(origin) => meaning.origin = Some(*origin as u8),
            AttributeValue::AsPath(path) => meaning.as_path = Some(segments(path)),
            AttributeValue::As4Path(path) => meaning.as4_path = Some(segments(path)),
            AttributeValue::NextHop(address) => meaning.next_hop = Some(*address),
            AttributeValue::MultiExitDiscriminator(med) => meaning.med = Some(*med),
            AttributeValue::LocalPreference(preference) => meaning.local_pref = Some(*preference),
            AttributeValue::Communities(list) => meaning.communities = list.iter().map(community).collect(),
            AttributeValue::LargeCommunities(list) => {
                meaning.large_communities =
                    list.iter().map(|l| [l.global_admin, l.local_data[0], l.local_data[1]]).collect();
            }
            AttributeValue::MpReachNlri(reach) => {
                meaning.next_hop = Some(match reach.next_hop.unwrap() {
                    NextHopAddress::Ipv4(address) => IpAddr::V4(address),
                    NextHopAddress::Ipv6(address) => IpAddr::V6(address),
                    NextHopAddress::Ipv6LinkLocal(global, link_local) => {
                        meaning.link_local = Some(link_local);
                        IpAddr::V6(global)
                    }
                    other => panic!("{other:?}"),
                });
                meaning.announced.extend(prefixes(&reach.prefixes));
            }
            AttributeValue::MpUnreachNlri(unreach) => {
                if unreach.prefixes.is_empty() {
                    meaning.end_of_rib = Some(if unreach.afi as u16 == 1 { Family::V4 } else { Family::V6 });
                }
                meaning.withdrawn.extend(prefixes(&unreach.prefixes));
            }
            other => panic!("{other:?}"),
        }
    }
    meaning
}

fn prefixes(prefixes: &[NetworkPrefix]) -> Vec<IpNet> {
    prefixes
        .iter()
        .map(|prefix| {
            assert_eq!(prefix.path_id, None);
            prefix.prefix
        })
        .collect()
}

fn segments(path: &AsPath) -> Vec<(u8, Vec<u32>)> {
    path.iter_segments()
        .map(|segment| {
            let (kind, numbers) = match segment {
                AsPathSegment::AsSet(numbers) => (1, numbers),
                AsPathSegment::AsSequence(numbers) => (2, numbers),
                AsPathSegment::ConfedSequence(numbers) => (3, numbers),
                AsPathSegment::ConfedSet(numbers) => (4, numbers),
            };
            (kind, numbers.iter().map(|asn| u32::from(*asn)).collect())
        })
        .collect()
}

fn community(community: &Community) -> u32 {
    match community {
        Community::NoExport => 0xffff_ff01,
        Community::NoAdvertise => 0xffff_ff02,
        Community::NoExportSubConfed => 0xffff_ff03,
        Community::Custom(asn, value) => u32::from(*asn) << 16 | u32::from(*value),
    }
}
