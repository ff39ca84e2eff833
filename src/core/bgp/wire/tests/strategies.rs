//! What the properties draw from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::types::{Asn, Family, LargeCommunity, StandardCommunity};

/// Everything that an announcement is made of, and the session that it goes out on.
#[derive(Clone, Debug)]
pub(super) struct Announcement {
    pub(super) session: Session,
    pub(super) family: Family,
    pub(super) next_hop: NextHop,
    pub(super) as_path: Vec<Asn>,
    pub(super) med: Option<u32>,
    pub(super) local_pref: Option<u32>,
    pub(super) communities: Vec<StandardCommunity>,
    pub(super) large_communities: Vec<LargeCommunity>,
    pub(super) prefixes: Vec<IpNet>,
}

impl Announcement {
    pub(super) fn block(&self) -> AttributeBlock {
        let path = PathAttributes {
            as_path: &self.as_path,
            med: self.med,
            local_pref: self.local_pref,
            communities: &self.communities,
            large_communities: &self.large_communities,
        };
        AttributeBlock::new(&self.session, self.family, self.next_hop, &path).unwrap()
    }
}

pub(super) fn announcement() -> impl Strategy<Value = Announcement> {
    family().prop_flat_map(|family| {
        let attributes = (
            vec(any::<u32>().prop_filter_map("AS 0", Asn::new), 0..12),
            any::<Option<u32>>(),
            any::<Option<u32>>(),
            vec(any::<u32>().prop_map(StandardCommunity), 0..70),
            vec(large_community(), 0..30),
        );
        (session(), next_hop(family), attributes, vec(prefix(family), 1..1500)).prop_map(
            move |(
                session,
                next_hop,
                (as_path, med, local_pref, communities, large_communities),
                prefixes,
            )| {
                Announcement {
                    session,
                    family,
                    next_hop,
                    as_path,
                    med,
                    local_pref,
                    communities,
                    large_communities,
                    prefixes,
                }
            },
        )
    })
}

pub(super) fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

pub(super) fn session() -> impl Strategy<Value = Session> {
    (any::<bool>(), prop::sample::select(vec![MAX_MESSAGE, MAX_EXTENDED_MESSAGE]))
        .prop_map(|(four_octet_as, max)| Session { four_octet_as, max_send: max, max_receive: max, ..FULL })
}

pub(super) fn prefix(family: Family) -> impl Strategy<Value = IpNet> {
    (any::<u128>(), 0..=family.max_prefix_len()).prop_map(move |(address, length)| {
        let address = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(address as u32)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(address)),
        };
        IpNet::new(address, length).unwrap().trunc()
    })
}

fn next_hop(family: Family) -> impl Strategy<Value = NextHop> {
    (any::<[u8; 16]>(), any::<Option<[u8; 16]>>(), any::<bool>()).prop_map(
        move |(octets, link_local, classic)| {
            if family == Family::V4 && classic {
                return NextHop::V4(Ipv4Addr::new(1 + octets[0] % 223, octets[1], octets[2], octets[3]));
            }
            NextHop::V6 { global: Ipv6Addr::from(octets), link_local: link_local.map(Ipv6Addr::from) }
        },
    )
}

fn large_community() -> impl Strategy<Value = LargeCommunity> {
    any::<(u32, u32, u32)>().prop_map(|(global, local1, local2)| LargeCommunity { global, local1, local2 })
}

pub(super) fn open() -> impl Strategy<Value = Open> {
    (any::<u16>(), any::<u16>(), any::<u32>(), vec(capability(), 0..12)).prop_map(
        |(my_as, hold_time, identifier, capabilities)| Open {
            my_as,
            hold_time,
            identifier: Ipv4Addr::from(identifier),
            capabilities,
        },
    )
}

fn capability() -> impl Strategy<Value = Capability> {
    let family = || any::<(u16, u8)>().prop_map(|(afi, safi)| AfiSafi { afi, safi });
    let extended = any::<(u16, u16, u16)>().prop_map(|(afi, safi, next_hop_afi)| ExtendedNextHop {
        afi,
        safi,
        next_hop_afi,
    });
    let restart =
        (family(), any::<bool>()).prop_map(|(family, forwarding)| RestartFamily { family, forwarding });
    let known = [1, 2, 5, 6, 64, 65, 70];
    prop_oneof![
        family().prop_map(Capability::MultiProtocol),
        Just(Capability::RouteRefresh),
        vec(extended, 0..5).prop_map(Capability::ExtendedNextHop),
        Just(Capability::ExtendedMessage),
        (any::<(bool, bool)>(), 0..4096_u16, vec(restart, 0..5)).prop_map(
            |((restarting, notification), restart_time, families)| Capability::GracefulRestart {
                restarting,
                notification,
                restart_time,
                families,
            }
        ),
        any::<u32>().prop_map(Capability::FourOctetAs),
        Just(Capability::EnhancedRouteRefresh),
        (any::<u8>().prop_filter("known", move |code| !known.contains(code)), vec(any::<u8>(), 0..200))
            .prop_map(|(code, value)| Capability::Unknown { code, value }),
    ]
}

pub(super) fn notification() -> impl Strategy<Value = Notification> {
    (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..300))
        .prop_map(|(code, subcode, data)| Notification { error: ErrorCode::from_octets(code, subcode), data })
}

pub(super) fn refresh() -> impl Strategy<Value = RouteRefresh> {
    let subtype = prop_oneof![
        Just(RefreshSubtype::Request),
        Just(RefreshSubtype::Begin),
        Just(RefreshSubtype::End),
        (3..=255_u8).prop_map(RefreshSubtype::Unknown),
    ];
    (any::<(u16, u8)>(), subtype)
        .prop_map(|((afi, safi), subtype)| RouteRefresh { family: AfiSafi { afi, safi }, subtype })
}
