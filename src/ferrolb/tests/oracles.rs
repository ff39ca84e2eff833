//! Three decoders by other authors judge what our codec writes, and ours reads what one of them writes.
//!
//! `netgauze-bgp-pkt` and `bgpkit-parser` have to find the meaning that was put in. So has `bgp-rs`, but only where it
//! doesn't guess: no MP attributes, no large communities, AS numbers of 4 octets that don't look like anything else, host
//! routes whose octets don't look like path identifiers. Where one of the three is known to differ, `disagreements`
//! has the octets, what it makes of them, and the line of the RFC that we follow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test that panics is a test that fails"
)]

#[path = "oracles/bgp_rs_oracle.rs"]
mod bgp_rs_oracle;
#[path = "oracles/bgpkit_oracle.rs"]
mod bgpkit_oracle;
#[path = "oracles/disagreements.rs"]
mod disagreements;
#[path = "oracles/netgauze_oracle.rs"]
mod netgauze_oracle;
#[path = "oracles/ours.rs"]
mod ours;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferrolb_core::bgp::wire::{
    AfiSafi, AttributeBlock, Capability, ErrorCode, ExtendedNextHop, MAX_MESSAGE, NextHop, Notification,
    Open, PathAttributes, RouteRefresh, Session, end_of_rib, keepalive, withdraw,
};
use ferrolb_core::types::{Asn, Family, FamilySet, LargeCommunity, StandardCommunity};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;

/// What an UPDATE means, in no decoder's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Meaning {
    origin: Option<u8>,
    /// Kind and numbers of each segment.
    as_path: Option<Vec<(u8, Vec<u32>)>>,
    as4_path: Option<Vec<(u8, Vec<u32>)>>,
    next_hop: Option<IpAddr>,
    link_local: Option<Ipv6Addr>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<u32>,
    large_communities: Vec<[u32; 3]>,
    announced: Vec<IpNet>,
    withdrawn: Vec<IpNet>,
    /// The family of an empty MP_UNREACH_NLRI.
    end_of_rib: Option<Family>,
}

const SESSION: Session = Session {
    four_octet_as: true,
    families: FamilySet::BOTH,
    extended_next_hop: true,
    max_send: MAX_MESSAGE,
    max_receive: MAX_MESSAGE,
};

/// An announcement that fits into one UPDATE.
#[derive(Clone, Debug)]
struct Announcement {
    session: Session,
    family: Family,
    next_hop: NextHop,
    as_path: Vec<Asn>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<StandardCommunity>,
    large_communities: Vec<LargeCommunity>,
    prefixes: Vec<IpNet>,
}

impl Announcement {
    fn encode(&self) -> Vec<u8> {
        let path = PathAttributes {
            as_path: &self.as_path,
            med: self.med,
            local_pref: self.local_pref,
            communities: &self.communities,
            large_communities: &self.large_communities,
        };
        let block = AttributeBlock::new(&self.session, self.family, self.next_hop, &path).unwrap();
        let mut out = Vec::new();
        let count = block.announce(&mut self.prefixes.iter().copied().peekable(), &mut out);
        assert_eq!(count, self.prefixes.len());
        out
    }

    fn meaning(&self) -> Meaning {
        let segments = |numbers: Vec<u32>| if numbers.is_empty() { vec![] } else { vec![(2, numbers)] };
        let real: Vec<u32> = self.as_path.iter().map(|asn| asn.get()).collect();
        let two: Vec<u32> = self.as_path.iter().map(|asn| asn.two_octets().into()).collect();
        let hidden = !self.session.four_octet_as && two != real;
        let (next_hop, link_local) = match self.next_hop {
            NextHop::V4(address) => (IpAddr::V4(address), None),
            NextHop::V6 { global, link_local } => (IpAddr::V6(global), link_local),
        };
        Meaning {
            origin: Some(0),
            as_path: Some(segments(if self.session.four_octet_as { real.clone() } else { two })),
            as4_path: hidden.then(|| segments(real)),
            next_hop: Some(next_hop),
            link_local,
            med: self.med,
            local_pref: self.local_pref,
            communities: self.communities.iter().map(|community| community.0).collect(),
            large_communities: self
                .large_communities
                .iter()
                .map(|l| [l.global, l.local1, l.local2])
                .collect(),
            announced: self.prefixes.clone(),
            ..Meaning::default()
        }
    }
}

fn announcement() -> impl Strategy<Value = Announcement> {
    family().prop_flat_map(|family| {
        let attributes = (
            vec((1..=u32::MAX).prop_map(|n| Asn::new(n).unwrap()), 0..12),
            any::<Option<u32>>(),
            any::<Option<u32>>(),
            vec(any::<u32>().prop_map(StandardCommunity), 0..64),
            vec(
                any::<[u32; 3]>().prop_map(|[global, local1, local2]| LargeCommunity {
                    global,
                    local1,
                    local2,
                }),
                0..25,
            ),
        );
        (any::<bool>(), next_hop(family), attributes, vec(prefix(family), 1..60)).prop_map(
            move |(four_octet_as, next_hop, attributes, prefixes)| {
                let (as_path, med, local_pref, communities, large_communities) = attributes;
                let session = Session { four_octet_as, ..SESSION };
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

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

/// Of unicast only, since `netgauze` refuses others, and no default route, which `bgpkit` takes for a path identifier.
fn prefix(family: Family) -> impl Strategy<Value = IpNet> {
    (any::<u128>(), 1..=family.max_prefix_len()).prop_map(move |(address, length)| {
        let address = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(address as u32 & 0x7fff_ffff)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(address & (u128::MAX >> 1))),
        };
        IpNet::new(address, length).unwrap().trunc()
    })
}

fn next_hop(family: Family) -> impl Strategy<Value = NextHop> {
    (any::<[u8; 16]>(), any::<Option<[u8; 8]>>(), any::<bool>()).prop_map(
        move |(octets, link_local, classic)| {
            if family == Family::V4 && classic {
                return NextHop::V4(Ipv4Addr::new(1 + octets[0] % 223, octets[1], octets[2], octets[3]));
            }
            let link_local = link_local.map(|o| {
                let [a, b, c, d, e, f, g, h] = o;
                Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h])
            });
            let mut octets = octets;
            octets[0] = 0x20;
            NextHop::V6 { global: Ipv6Addr::from(octets), link_local }
        },
    )
}

/// An announcement that `bgp-rs` can read without a wrong guess.
fn plain_announcement() -> impl Strategy<Value = Announcement> {
    let host = || vec(33..=255_u8, 4).prop_map(|o| Ipv4Addr::new(o[0], o[1], o[2], o[3]));
    let attributes = (
        vec((4_200_000_000..4_200_000_256_u32).prop_map(|n| Asn::new(n).unwrap()), 0..12),
        any::<Option<u32>>(),
        any::<Option<u32>>(),
        vec(any::<u32>().prop_map(StandardCommunity), 0..64),
    );
    let prefixes = vec(host().prop_map(|address| IpNet::from(IpAddr::V4(address))), 1..60);
    (host(), attributes, prefixes).prop_map(
        |(next_hop, (as_path, med, local_pref, communities), prefixes)| Announcement {
            session: SESSION,
            family: Family::V4,
            next_hop: NextHop::V4(next_hop),
            as_path,
            med,
            local_pref,
            communities,
            large_communities: Vec::new(),
            prefixes,
        },
    )
}

/// An OPEN as a session of ours may send it.
fn open() -> impl Strategy<Value = Open> {
    // `netgauze` takes unicast addresses only for an identifier.
    let identifier = 0x0100_0000..0xe000_0000_u32;
    let possible = vec![
        Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
        Capability::MultiProtocol(AfiSafi::IPV6_UNICAST),
        Capability::RouteRefresh,
        Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]),
        Capability::ExtendedMessage,
        Capability::EnhancedRouteRefresh,
    ];
    (1..=u32::MAX, prop_oneof![Just(0), 3..=u16::MAX], identifier, prop::sample::subsequence(possible, 0..=6))
        .prop_map(|(number, hold_time, identifier, mut capabilities)| {
            capabilities.push(Capability::FourOctetAs(number));
            let my_as = Asn::new(number).unwrap().two_octets();
            Open { my_as, hold_time, identifier: Ipv4Addr::from(identifier), capabilities }
        })
}

proptest! {
    // A failing input is printed; a file of them would land beside the crate.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn announcements_mean_the_same_to_all(sent in announcement()) {
        let octets = sent.encode();
        let meaning = sent.meaning();
        let four = sent.session.four_octet_as;
        prop_assert_eq!(&netgauze_oracle::update(&octets, four), &meaning, "netgauze");
        prop_assert_eq!(&bgpkit_oracle::update(&octets, four), &meaning, "bgpkit");
        prop_assert_eq!(&ours::update(&octets, &sent.session), &meaning, "ours");
        // What netgauze writes of it, its own way, we read.
        prop_assert_eq!(&ours::update(&netgauze_oracle::rewritten(&octets, four), &sent.session), &meaning);
    }

    #[test]
    fn plain_announcements_mean_the_same_to_bgp_rs(sent in plain_announcement()) {
        prop_assert_eq!(bgp_rs_oracle::update(&sent.encode()), sent.meaning());
    }

    #[test]
    fn withdrawals_mean_the_same_to_all((family, prefixes) in family().prop_flat_map(|f| (Just(f), vec(prefix(f), 1..60)))) {
        let mut octets = Vec::new();
        withdraw(&SESSION, family, &mut prefixes.iter().copied().peekable(), &mut octets);
        let meaning = Meaning { withdrawn: prefixes, ..Meaning::default() };
        prop_assert_eq!(&netgauze_oracle::update(&octets, true), &meaning, "netgauze");
        prop_assert_eq!(&bgpkit_oracle::update(&octets, true), &meaning, "bgpkit");
        prop_assert_eq!(&ours::update(&octets, &SESSION), &meaning, "ours");
        if family == Family::V4 {
            prop_assert_eq!(&bgp_rs_oracle::update(&octets), &meaning, "bgp-rs");
        }
    }

    #[test]
    fn opens_mean_the_same_to_all(sent in open()) {
        let mut octets = Vec::new();
        sent.encode(&mut octets).unwrap();
        prop_assert_eq!(&netgauze_oracle::open(&octets), &sent, "netgauze");
        prop_assert_eq!(&bgpkit_oracle::open(&octets), &sent, "bgpkit");
        prop_assert_eq!(&bgp_rs_oracle::open(&octets), &sent, "bgp-rs");
        prop_assert_eq!(&ours::open(&netgauze_oracle::rewritten(&octets, true)), &sent);
    }

    #[test]
    fn updates_of_netgauze_are_read_as_it_means_them(update in netgauze_oracle::any_update()) {
        let octets = netgauze_oracle::encode(update);
        prop_assert_eq!(ours::update(&octets, &SESSION), netgauze_oracle::update(&octets, true));
    }
}

#[test]
fn end_of_rib_means_the_same_to_all() {
    for family in Family::ALL {
        let mut octets = Vec::new();
        end_of_rib(family, &mut octets);
        let meaning = Meaning { end_of_rib: (family == Family::V6).then_some(family), ..Meaning::default() };
        assert_eq!(netgauze_oracle::update(&octets, true), meaning);
        assert_eq!(bgpkit_oracle::update(&octets, true), meaning);
        assert!(netgauze_oracle::is_end_of_rib(&octets, family));
        assert!(bgpkit_oracle::is_end_of_rib(&octets));
        if family == Family::V4 {
            assert_eq!(bgp_rs_oracle::update(&octets), meaning);
        }
    }
}

#[test]
fn refresh_and_keepalive_mean_the_same_to_all() {
    for family in Family::ALL {
        let mut octets = Vec::new();
        RouteRefresh::request(family).encode(&mut octets);
        assert!(netgauze_oracle::is_refresh(&octets, family));
        let AfiSafi { afi, safi } = AfiSafi::unicast(family);
        assert_eq!(bgpkit_oracle::refresh(&octets), (afi, 0, safi));
        assert_eq!(bgp_rs_oracle::refresh(&octets), (afi, 0, safi));
        assert_eq!(netgauze_oracle::rewritten(&octets, true), octets);
    }
    let mut octets = Vec::new();
    keepalive(&mut octets);
    assert_eq!(netgauze_oracle::rewritten(&octets, true), octets);
    assert!(bgpkit_oracle::is_keepalive(&octets) && bgp_rs_oracle::is_keepalive(&octets));
}

#[test]
fn notifications_mean_the_same_to_all() {
    let mut compared = 0;
    for (code, subcode) in (1..=8_u8).flat_map(|code| (0..=11_u8).map(move |subcode| (code, subcode))) {
        let error = ErrorCode::from_octets(code, subcode);
        if matches!(error, ErrorCode::Unknown { .. }) {
            continue;
        }
        let data = if code == 6 { b"\x05gone!".to_vec() } else { vec![subcode, 2, 3] };
        let mut octets = Vec::new();
        Notification { error, data: data.clone() }.encode(&mut octets);
        assert_eq!(bgpkit_oracle::notification(&octets), (code, subcode, data.clone()));
        assert_eq!(bgp_rs_oracle::notification(&octets), (code, subcode, data));
        if !disagreements::UNKNOWN_TO_NETGAUZE.contains(&(code, subcode)) {
            assert_eq!(netgauze_oracle::rewritten(&octets, true), octets);
            compared += 1;
        }
    }
    assert_eq!(compared, 39, "every pair but those in the table");
}
