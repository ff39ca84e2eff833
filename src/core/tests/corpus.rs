//! The fuzz targets on the corpora in `fuzz/corpus`, and on random and mutated input: what fuzzing has found once stays
//! found, without a fuzzer. `FERROLB_UPDATE=1` writes the inputs that our own encoders make anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ferrolb_core::bgp::wire::{
    self, AfiSafi, AttributeBlock, Capability, CeaseSubcode, ErrorCode, ExtendedNextHop, HEADER_LEN, NextHop,
    Notification, Open, PathAttributes, RefreshSubtype, RouteRefresh, Session,
};
use ferrolb_core::layer2::packet::{Advertisement, Arp, Mac, Operation, Solicitation, solicited_node_group};
use ferrolb_core::types::{Asn, Family, FamilySet, LargeCommunity, StandardCommunity};

#[path = "../../../fuzz/targets.rs"]
mod targets;

#[test]
fn corpora_are_survived() {
    let mut count = 0;
    for (name, target) in targets::ALL {
        for entry in fs::read_dir(corpus(name)).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            target(&input);
            // Cut off anywhere, too.
            for end in 0..input.len().min(300) {
                target(&input[..end]);
            }
            count += 1;
        }
    }
    assert!(count >= seeds().len(), "{count} inputs");
}

#[test]
fn corpora_hold_what_the_encoders_make() {
    for ((target, name), octets) in seeds() {
        let path = corpus(target).join(name);
        if std::env::var_os("FERROLB_UPDATE").is_some() {
            fs::create_dir_all(corpus(target)).unwrap();
            fs::write(&path, octets).unwrap();
        } else {
            assert!(
                fs::read(&path).unwrap() == octets,
                "{} is out of date: FERROLB_UPDATE=1",
                path.display()
            );
        }
    }
}

/// 2,000 inputs for each target: corpora with some octets changed, and random ones.
#[test]
fn mutated_corpora_are_survived() {
    let seeds = seeds();
    for (name, target) in targets::ALL {
        let own: Vec<&Vec<u8>> =
            seeds.iter().filter(|((of, _), _)| *of == name).map(|(_, octets)| octets).collect();
        let mut random = Random(1);
        for _ in 0..if name == "manifest" { 200 } else { 2_000 } {
            let mut input = own[random.below(own.len())].clone();
            for _ in 0..=random.below(6) {
                let at = random.below(input.len());
                match random.below(5) {
                    0 => input.insert(at, random.below(256) as u8),
                    1 if input.len() > 1 => drop(input.remove(at)),
                    2 => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                    3 => input.extend_from_within(at..),
                    _ => input[at] ^= 1 << random.below(8),
                }
                input.truncate(5000);
            }
            target(&input);
            let length = random.below(120);
            target(&(0..length).map(|_| random.below(256) as u8).collect::<Vec<u8>>());
        }
    }
}

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % end.max(1) as u64) as usize
    }
}

/// By target and name.
type Seeds = BTreeMap<(&'static str, &'static str), Vec<u8>>;

fn seeds() -> Seeds {
    let mut all = BTreeMap::new();
    let mut stream = vec![0];
    for (name, open) in opens() {
        let octets = encoded(|out| open.encode(out).unwrap());
        all.insert(("open", name), octets[HEADER_LEN..].to_vec());
        stream.extend_from_slice(&octets);
    }
    wire::keepalive(&mut stream);
    for (name, session, choice, octets) in updates() {
        assert!(wire::frame(&octets, &session).unwrap().is_some());
        all.insert(("update", name), [&[choice], &octets[HEADER_LEN..]].concat());
        if choice == 0 {
            stream.extend_from_slice(&octets);
        }
    }
    for (name, subtype) in
        [("request", RefreshSubtype::Request), ("begin", RefreshSubtype::Begin), ("end", RefreshSubtype::End)]
    {
        let refresh = RouteRefresh { subtype, ..RouteRefresh::request(Family::V6) };
        let octets = encoded(|out| refresh.encode(out));
        all.insert(("refresh", name), octets[HEADER_LEN..].to_vec());
        stream.extend_from_slice(&octets);
    }
    for (name, notification) in [
        ("shutdown", Notification::cease(CeaseSubcode::AdministrativeShutdown, "maintenance \u{2013} 5 min")),
        ("hold", Notification::new(ErrorCode::HoldTimerExpired)),
        ("unknown", Notification { error: ErrorCode::from_octets(9, 9), data: vec![1, 2, 3] }),
    ] {
        let octets = encoded(|out| notification.encode(out));
        all.insert(("notification", name), octets[HEADER_LEN..].to_vec());
        stream.extend_from_slice(&octets);
    }
    all.insert(("frame", "session"), stream);
    let machines: [(&str, &[u8]); 10] = [
        // See `targets::machine` for the numbers: up, refresh, stall, send hold timer.
        ("life", &[0, 0, 2, 7, 0, 8, 10, 11, 0, 10, 9, 1, 9, 5, 200, 8, 6, 60, 8, 6, 60]),
        ("refused", &[0, 0, 3, 5, 255, 2, 4, 1, 5, 255, 2, 7, 1, 6, 10]),
        ("stalled", &[0, 0, 2, 7, 0, 8, 6, 20, 138, 5, 1, 138, 8, 6, 20, 138, 6, 5, 6, 5]),
        ("silence", &[12, 0, 2, 6, 40, 2, 7, 12, 6, 255, 6, 255]),
        ("accepts", &[9, 0, 2, 7, 8, 8, 13, 4, 0, 0, 0, 0, 1, 0, 6, 30, 2, 4, 0]),
        ("malformed", &[0, 0, 2, 7, 0, 8, 13, 8, 0, 0, 0, 4, 0x40, 1, 1, 3, 14, 2, 6, 2, 0, 2, 15, 1, 0]),
        // Two connections with one peer: OPENs on both, and the peer's identifier is the higher one; then ours is; one is Established
        // before the other has its OPEN.
        ("collision", &[32, 0, 2, 18, 7, 0, 23, 0, 24, 6, 60, 5, 200, 2, 7, 0, 8, 20, 0]),
        ("collision-ours", &[96, 0, 2, 18, 7, 0, 23, 0, 8, 11, 0, 20, 0, 4, 0, 5, 200, 18, 23, 0, 24, 1, 0]),
        ("collision-late", &[32, 0, 2, 18, 7, 0, 8, 23, 0, 6, 3, 1, 3, 0, 5, 50, 2, 18, 29, 1, 0, 6, 40]),
        // Started again beside a session that stands.
        ("collision-started-twice", &[32, 0, 2, 18, 7, 0, 8, 0, 5, 20, 18]),
    ];
    for (name, octets) in machines {
        all.insert(("machine", name), octets.to_vec());
    }
    let manifests: [(&str, &str); 3] = [
        (
            "peer",
            "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: tor, namespace: metallb-system}\n\
             spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, holdTime: 90s}\n---\n\
             apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a, namespace: metallb-system}\n\
             spec: {addresses: [192.0.2.0/24, 2001:db8::1-2001:db8::9]}\n",
        ),
        (
            "service",
            "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n\
             spec: {type: LoadBalancer, ports: [{port: 80}], selector: {app: web}}\n",
        ),
        (
            "list",
            "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Node\", \
             \"metadata\": {\"name\": \"n1\"}}, {\"kind\": 3}]}\n",
        ),
    ];
    for (name, text) in manifests {
        all.insert(("manifest", name), text.as_bytes().to_vec());
    }
    all.extend(frames().into_iter().map(|(name, octets)| (("layer2", name), octets)));
    all
}

/// ARP and Neighbor Discovery about the addresses of `targets::layer2`.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let (asker, ours) = (Mac([2, 0, 0, 0, 0, 0xaa]), Mac([2, 0, 0, 0, 0, 1]));
    let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let question = Arp {
        operation: Operation::Request,
        sender_mac: asker,
        sender_ip: Ipv4Addr::new(192, 0, 2, 9),
        target_mac: Mac([0; 6]),
        target_ip: v4,
    };
    let their_v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xaa);
    let destination = solicited_node_group(v6);
    let group = Mac::of_group(destination);
    let solicitation = Solicitation { source: their_v6, destination, target: v6, source_mac: Some(asker) };
    let probe = Solicitation { source: Ipv6Addr::UNSPECIFIED, source_mac: None, ..solicitation };
    let check = Solicitation { destination: v6, source_mac: None, ..solicitation };
    vec![
        ("arp-request", question.encode(Mac::BROADCAST)),
        ("arp-probe", Arp { sender_ip: Ipv4Addr::UNSPECIFIED, ..question }.encode(Mac::BROADCAST)),
        ("arp-claim", Arp::gratuitous(Operation::Reply, asker, v4).encode(Mac::BROADCAST)),
        ("solicitation", solicitation.encode(group, asker)),
        ("solicitation-probe", probe.encode(group, asker)),
        ("solicitation-unicast", check.encode(ours, asker)),
        (
            "advertisement-claim",
            Advertisement::unsolicited(asker, their_v6, v6).encode(Mac::BROADCAST, asker),
        ),
    ]
}

fn opens() -> Vec<(&'static str, Open)> {
    let open = |capabilities| Open {
        my_as: 64512,
        hold_time: 90,
        identifier: Ipv4Addr::new(192, 0, 2, 1),
        capabilities,
    };
    let many = vec![Capability::Unknown { code: 239, value: vec![7; 100] }; 3];
    let usual = vec![
        Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
        Capability::MultiProtocol(AfiSafi::IPV6_UNICAST),
        Capability::RouteRefresh,
        Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]),
        Capability::ExtendedMessage,
        Capability::GracefulRestart {
            restarting: true,
            notification: true,
            restart_time: 120,
            families: vec![wire::RestartFamily { family: AfiSafi::IPV4_UNICAST, forwarding: true }],
        },
        Capability::FourOctetAs(64512),
        Capability::EnhancedRouteRefresh,
    ];
    vec![("bare", open(Vec::new())), ("usual", open(usual)), ("extended-lengths", open(many))]
}

/// Name, session, the choice of it in `targets::session`, and the message.
fn updates() -> Vec<(&'static str, Session, u8, Vec<u8>)> {
    let new = Session {
        four_octet_as: true,
        families: FamilySet::BOTH,
        extended_next_hop: true,
        ..Session::BEFORE_OPEN
    };
    let old = Session { four_octet_as: false, ..new };
    let path = PathAttributes {
        as_path: &[Asn::new(4_200_000_001).unwrap(), Asn::new(65001).unwrap()],
        med: Some(5),
        local_pref: Some(100),
        communities: &[StandardCommunity(0xfc00_0001)],
        large_communities: &[LargeCommunity { global: 64512, local1: 1, local2: 2 }],
    };
    let v4 = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));
    let v6 = NextHop::V6 { global: "2001:db8::1".parse().unwrap(), link_local: "fe80::1".parse().ok() };
    let announce = |session: &Session, family, next_hop, prefix: &str| {
        let block = AttributeBlock::new(session, family, next_hop, &path).unwrap();
        let mut prefixes = [prefix.parse().unwrap()].into_iter().peekable();
        encoded(|out| assert_eq!(block.announce(&mut prefixes, out), 1))
    };
    let withdraw = |family, prefix: &str| {
        let mut prefixes = [prefix.parse().unwrap()].into_iter().peekable();
        encoded(|out| assert_eq!(wire::withdraw(&new, family, &mut prefixes, out), 1))
    };
    vec![
        ("ipv4", new, 0, announce(&new, Family::V4, v4, "203.0.113.7/32")),
        ("ipv4-old-peer", old, 1, announce(&old, Family::V4, v4, "203.0.113.7/32")),
        ("ipv6", new, 0, announce(&new, Family::V6, v6, "2001:db8:f::1/128")),
        ("ipv4-over-ipv6", new, 0, announce(&new, Family::V4, v6, "10.1.0.0/16")),
        ("withdraw-ipv4", new, 0, withdraw(Family::V4, "10.0.0.0/9")),
        ("withdraw-ipv6", new, 0, withdraw(Family::V6, "2001:db8::/32")),
        ("end-of-rib-ipv6", new, 0, encoded(|out| wire::end_of_rib(Family::V6, out))),
    ]
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut octets = Vec::new();
    encode(&mut octets);
    octets
}
