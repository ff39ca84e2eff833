use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::catch_unwind;

use bgp_rs::{
    ASPath, Capabilities, Message, NLRIEncoding, OpenCapability, OpenParameter, Origin, PathAttribute,
    Reader, Segment,
};
use ferrolb_core::bgp::wire::{AfiSafi, Capability, ExtendedNextHop, Open};
use ipnet::IpNet;

use super::Meaning;

/// What it makes of a message; `None` if it panics.
pub fn message(octets: &[u8]) -> Option<io::Result<Message>> {
    let octets = octets.to_vec();
    catch_unwind(move || {
        let mut stream = octets.as_slice();
        let capabilities = Capabilities { FOUR_OCTET_ASN_SUPPORT: true, ..Capabilities::default() };
        Reader { stream: &mut stream, capabilities }.read().map(|(_, message)| message)
    })
    .ok()
}

fn read(octets: &[u8]) -> Message {
    message(octets).expect("no panic").unwrap()
}

pub fn open(octets: &[u8]) -> Open {
    let Message::Open(open) = read(octets) else { panic!("no OPEN") };
    assert_eq!(open.version, 4);
    let mut capabilities = Vec::new();
    for parameter in open.parameters {
        let OpenParameter::Capabilities(list) = parameter else { panic!("{parameter:?}") };
        for capability in list {
            capabilities.push(match capability {
                OpenCapability::MultiProtocol((afi, safi)) => {
                    Capability::MultiProtocol(AfiSafi { afi: afi as u16, safi: safi as u8 })
                }
                OpenCapability::RouteRefresh => Capability::RouteRefresh,
                OpenCapability::FourByteASN(number) => Capability::FourOctetAs(number),
                // Unknown to it, but read whole.
                OpenCapability::Unknown { cap_code: 5, value, .. } => {
                    assert_eq!(value, [0, 1, 0, 1, 0, 2]);
                    Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6])
                }
                OpenCapability::Unknown { cap_code: 6, cap_length: 0, .. } => Capability::ExtendedMessage,
                OpenCapability::Unknown { cap_code: 70, cap_length: 0, .. } => {
                    Capability::EnhancedRouteRefresh
                }
                other => panic!("{other:?}"),
            });
        }
    }
    Open {
        my_as: open.peer_asn,
        hold_time: open.hold_timer,
        identifier: Ipv4Addr::from(open.identifier),
        capabilities,
    }
}

pub fn notification(octets: &[u8]) -> (u8, u8, Vec<u8>) {
    let Message::Notification(notification) = read(octets) else { panic!("no NOTIFICATION") };
    (notification.major_err_code, notification.minor_err_code, notification.data)
}

/// AFI, subtype, SAFI.
pub fn refresh(octets: &[u8]) -> (u16, u8, u8) {
    let Message::RouteRefresh(refresh) = read(octets) else { panic!("no ROUTE-REFRESH") };
    (refresh.afi as u16, refresh.subtype, refresh.safi as u8)
}

pub fn is_keepalive(octets: &[u8]) -> bool {
    matches!(read(octets), Message::KeepAlive)
}

pub fn update(octets: &[u8]) -> Meaning {
    let Message::Update(update) = read(octets) else { panic!("no UPDATE") };
    let mut meaning = Meaning {
        announced: update.announced_routes.iter().map(prefix).collect(),
        withdrawn: update.withdrawn_routes.iter().map(prefix).collect(),
        ..Meaning::default()
    };
    for attribute in update.attributes {
        match attribute {
            PathAttribute::ORIGIN(origin) => {
                meaning.origin = Some(match origin {
                    Origin::IGP => 0,
                    Origin::EGP => 1,
                    Origin::INCOMPLETE => 2,
                });
            }
            PathAttribute::AS_PATH(path) => meaning.as_path = Some(segments(path)),
            PathAttribute::NEXT_HOP(address) => meaning.next_hop = Some(address),
            PathAttribute::MULTI_EXIT_DISC(med) => meaning.med = Some(med),
            PathAttribute::LOCAL_PREF(preference) => meaning.local_pref = Some(preference),
            PathAttribute::COMMUNITY(list) => meaning.communities = list,
            other => panic!("{other:?}"),
        }
    }
    meaning
}

fn prefix(route: &NLRIEncoding) -> IpNet {
    let NLRIEncoding::IP(prefix) = route else { panic!("{route:?}") };
    let (address, length): (IpAddr, u8) = prefix.into();
    IpNet::new(address, length).unwrap()
}

fn segments(path: ASPath) -> Vec<(u8, Vec<u32>)> {
    path.segments
        .into_iter()
        .map(|segment| match segment {
            Segment::AS_SET(numbers) => (1, numbers),
            Segment::AS_SEQUENCE(numbers) => (2, numbers),
        })
        .collect()
}
