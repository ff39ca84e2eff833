use std::net::Ipv4Addr;

use super::*;
use crate::types::{Asn, Family, LargeCommunity, StandardCommunity};

fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

fn v4(address: &str) -> NextHop {
    NextHop::V4(address.parse().unwrap())
}

fn v6(global: &str) -> NextHop {
    NextHop::V6 { global: global.parse().unwrap(), link_local: None }
}

#[test]
fn open_both_ways() {
    let open = Open {
        my_as: 64512,
        hold_time: 90,
        identifier: Ipv4Addr::new(192, 0, 2, 1),
        capabilities: vec![
            Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
            Capability::MultiProtocol(AfiSafi::IPV6_UNICAST),
            Capability::RouteRefresh,
            Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]),
            Capability::FourOctetAs(64512),
        ],
    };
    let body = hex("04 fc00 005a c0000201 1e 02 1c 01 04 0001 00 01 01 04 0002 00 01 02 00
         05 06 0001 0001 0002 41 04 0000fc00");
    let mut out = Vec::new();
    open.encode(&mut out).unwrap();
    assert_eq!(out, message(1, &body));
    assert_eq!(decode_one(&out, &Session::BEFORE_OPEN), Ok(Message::Open(open.clone())));
    assert_eq!(open.asn(), Some(asn(64512)));
    assert_eq!(open.families(), FamilySet::BOTH);
}

#[test]
fn open_of_other_speakers() {
    let decode = |body: &str| match decode_one(&message(1, &hex(body)), &Session::BEFORE_OPEN) {
        Ok(Message::Open(open)) => open,
        other => panic!("{other:?}"),
    };
    // Each capability in a parameter of its own; graceful restart, FQDN, enhanced refresh; AFI and SAFI unknown here.
    let open = decode(
        "04 5ba0 00b4 0a000001 32
         02 06 01 04 4004 00 47  02 02 02 00  02 02 46 00  02 02 06 00  02 06 41 04 fea19a91
         02 0a 40 06 c078 0001 01 80  00 00
         02 08 49 06 03 746f72 01 78",
    );
    assert_eq!(open.asn(), Some(asn(0xfea1_9a91)));
    assert!(open.families().is_empty());
    let restart = &open.capabilities[5];
    let Capability::GracefulRestart { restarting: true, notification: true, restart_time: 120, families } =
        restart
    else {
        panic!("{restart:?}")
    };
    assert_eq!(families[0], RestartFamily { family: AfiSafi::IPV4_UNICAST, forwarding: true });
    assert_eq!(open.capabilities[7], Capability::Unknown { code: 73, value: hex("03746f720178") });
    // RFC 9072, with the other length field at 255 and at any other value but 0.
    for short in ["ff", "01"] {
        let open = decode(&format!("04 fc00 005a c0000201 {short} ff 0005 02 0002 02 00"));
        assert_eq!(open.capabilities, [Capability::RouteRefresh]);
    }
    // Nothing at all: a speaker of IPv4 unicast with 2-octet AS numbers.
    let plain = decode("04 fc00 005a c0000201 00");
    assert_eq!((plain.asn(), plain.families()), (Some(asn(64512)), FamilySet::only(Family::V4)));
}

#[test]
fn open_errors_know_their_notification() {
    let cases = [
        ("03 fc00 005a c0000201 00", 2, 1, "0004"),
        ("04 fc00 005a c0000201 03 01 01 00", 2, 4, ""),
        // Parameters' length too great, too small; a parameter and a capability that run over.
        ("04 fc00 005a c0000201 05 02 02 02 00", 2, 0, ""),
        ("04 fc00 005a c0000201 03 02 02 02 00", 2, 0, ""),
        ("04 fc00 005a c0000201 04 02 03 02 00", 2, 0, ""),
        ("04 fc00 005a c0000201 04 02 02 02 01", 2, 0, ""),
        // A 4-octet AS number of 3 octets.
        ("04 fc00 005a c0000201 07 02 05 41 03 000000", 2, 0, ""),
        // RFC 9072: the length is cut off.
        ("04 fc00 005a c0000201 ff ff 00", 2, 0, ""),
    ];
    for (body, code, subcode, data) in cases {
        let error = decode_one(&message(1, &hex(body)), &Session::BEFORE_OPEN).unwrap_err();
        let notification = error.notification();
        let got = (notification.error.code(), notification.error.subcode(), notification.data);
        assert_eq!(got, (code, subcode, hex(data)), "{body}: {error}");
    }
}

#[test]
fn long_open_uses_extended_lengths() {
    let capabilities = |count: usize| vec![Capability::Unknown { code: 239, value: vec![7; 251] }; count];
    let mut open =
        Open { my_as: 1, hold_time: 0, identifier: Ipv4Addr::new(1, 1, 1, 1), capabilities: capabilities(1) };
    let mut out = Vec::new();
    open.encode(&mut out).unwrap();
    assert_eq!(out[28], 255, "253 octets of capabilities fit into a classic parameter");
    assert_eq!(out[29], 2);
    open.capabilities = capabilities(16);
    out.clear();
    open.encode(&mut out).unwrap();
    assert_eq!(out[28..34], [255, 255, 0x0f, 0xd3, 2, 0x0f]);
    assert_eq!(decode_one(&out, &Session::BEFORE_OPEN), Ok(Message::Open(open.clone())));
    open.capabilities = capabilities(17);
    out.clear();
    assert_eq!(open.encode(&mut out), Err(EncodeError::TooLong));
    open.capabilities = vec![Capability::Unknown { code: 239, value: vec![7; 256] }];
    assert_eq!(open.encode(&mut out), Err(EncodeError::TooLong));
    assert!(out.is_empty());
}

#[test]
fn negotiation_takes_what_both_offer() {
    let open = |capabilities: &[Capability]| Open {
        my_as: 1,
        hold_time: 90,
        identifier: Ipv4Addr::new(1, 1, 1, 1),
        capabilities: capabilities.to_vec(),
    };
    let v4 = Capability::MultiProtocol(AfiSafi::IPV4_UNICAST);
    let v6 = Capability::MultiProtocol(AfiSafi::IPV6_UNICAST);
    let long = Capability::ExtendedMessage;
    let next_hop = Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]);
    let four = Capability::FourOctetAs(1);
    let everything = open(&[v4.clone(), v6.clone(), long.clone(), next_hop.clone(), four]);
    let full = Session { max_send: 65535, max_receive: 65535, ..FULL };
    assert_eq!(Session::negotiate(&everything, &everything), full);
    let bare = Session { families: FamilySet::only(Family::V4), ..Session::BEFORE_OPEN };
    assert_eq!(Session::negotiate(&open(&[]), &open(&[])), bare);
    assert_eq!(Session::negotiate(&open(&[]), &open(&[next_hop, v4.clone()])), bare);
    assert_eq!(Session::negotiate(&open(&[v4]), &open(&[v6])).families, FamilySet::NONE);
    let ours_only = Session::negotiate(&everything, &open(&[]));
    assert_eq!((ours_only.max_send, ours_only.max_receive), (4096, 65535));
    let theirs_only = Session::negotiate(&open(&[]), &everything);
    assert_eq!((theirs_only.max_send, theirs_only.max_receive), (4096, 4096));
}

#[test]
fn header_is_judged_before_the_body_comes() {
    let judge = |octets: &[u8]| {
        frame(octets, &Session::BEFORE_OPEN).map(|f| f.map(|f| (f.kind, f.total_len))).map_err(|e| {
            let n = e.notification();
            (n.error.code(), n.error.subcode(), n.data)
        })
    };
    let header = |length: u16, kind: u8| {
        let mut octets = vec![0xff; 16];
        octets.extend_from_slice(&length.to_be_bytes());
        octets.push(kind);
        octets
    };
    let keepalive = header(19, 4);
    for end in 0..19 {
        assert_eq!(judge(&keepalive[..end]), Ok(None));
    }
    assert_eq!(judge(&keepalive), Ok(Some((MessageType::Keepalive, 19))));
    // The marker comes first, then the length, then the type, then the length for the type.
    let mut bad_marker = header(5, 9);
    bad_marker[15] = 0xfe;
    assert_eq!(judge(&bad_marker), Err((1, 1, vec![])));
    assert_eq!(judge(&header(18, 9)), Err((1, 2, vec![0, 18])));
    assert_eq!(judge(&header(4097, 9)), Err((1, 2, vec![0x10, 1])));
    assert_eq!(judge(&header(19, 0)), Err((1, 3, vec![0])));
    assert_eq!(judge(&header(19, 6)), Err((1, 3, vec![6])));
    for (kind, least) in [(1, 29), (2, 23), (3, 21), (5, 23)] {
        assert_eq!(judge(&header(least - 1, kind)), Err((1, 2, (least - 1).to_be_bytes().to_vec())));
        assert_eq!(judge(&header(least, kind)), Ok(None));
        assert_eq!(judge(&header(4096, kind)), Ok(None));
    }
    assert_eq!(judge(&header(20, 4)), Err((1, 2, vec![0, 20])));
    // RFC 8654: longer ones where we offered them, OPEN and KEEPALIVE excepted.
    let long = Session { max_receive: MAX_EXTENDED_MESSAGE, ..FULL };
    for kind in [2, 3, 5] {
        assert_eq!(frame(&header(65535, kind), &long), Ok(None));
    }
    for kind in [1, 4] {
        assert!(frame(&header(4097, kind), &long).is_err());
    }
}

#[test]
fn keepalive_and_refresh_both_ways() {
    let mut out = Vec::new();
    keepalive(&mut out);
    assert_eq!(out, message(4, &[]));
    out.clear();
    let refresh = RouteRefresh::request(Family::V6);
    refresh.encode(&mut out);
    assert_eq!(out, message(5, &hex("0002 00 01")));
    assert_eq!(decode_one(&out, &FULL), Ok(Message::RouteRefresh(refresh)));
    let family = AfiSafi { afi: 25, safi: 70 };
    for (octet, subtype) in
        [("01", RefreshSubtype::Begin), ("02", RefreshSubtype::End), ("fe", RefreshSubtype::Unknown(254))]
    {
        let body = hex(&format!("0019 {octet} 46"));
        let expected = RouteRefresh { family, subtype };
        assert_eq!(decode_one(&message(5, &body), &FULL), Ok(Message::RouteRefresh(expected)));
    }
    // RFC 7313 section 5: the answer to a wrong length carries the message.
    let bad = message(5, &hex("0001 01 01 00"));
    let answer = decode_one(&bad, &FULL).unwrap_err().notification();
    assert_eq!((answer.error.code(), answer.error.subcode(), answer.data), (7, 1, bad));
    let bad = message(5, &hex("0001 00 01 00"));
    let answer = decode_one(&bad, &FULL).unwrap_err().notification();
    assert_eq!((answer.error.code(), answer.error.subcode(), answer.data), (1, 2, vec![0, 24]));
}

#[test]
fn notification_both_ways() {
    let encoded = |notification: &Notification| {
        let mut out = Vec::new();
        notification.encode(&mut out);
        assert_eq!(decode_one(&out, &FULL), Ok(Message::Notification(notification.clone())));
        out
    };
    let expired = Notification::new(ErrorCode::HoldTimerExpired);
    assert_eq!(encoded(&expired), message(3, &[4, 0]));
    assert_eq!(expired.to_string(), "Hold Timer Expired");
    let shutdown = Notification::cease(CeaseSubcode::AdministrativeShutdown, "Wartung \u{2013} 5 min");
    assert_eq!(encoded(&shutdown), message(3, &hex("06 02 11 57617274756e6720 e28093 2035206d696e")));
    assert_eq!(shutdown.text(), Some("Wartung \u{2013} 5 min"));
    assert_eq!(shutdown.to_string(), "Cease/Administrative Shutdown: \"Wartung \u{2013} 5 min\"");
    // Only these two carry a text; it is cut between characters.
    assert!(Notification::cease(CeaseSubcode::PeerDeconfigured, "x").data.is_empty());
    let long = Notification::cease(CeaseSubcode::AdministrativeReset, &"\u{20ac}".repeat(100));
    assert_eq!((long.data.len(), long.text()), (256, Some("\u{20ac}".repeat(85).as_str())));
    // A text that lies about its length, or isn't UTF-8, is none.
    for data in ["", "00", "05 4142", "02 c3 28"] {
        let error = ErrorCode::Cease(CeaseSubcode::AdministrativeShutdown);
        assert_eq!(Notification { error, data: hex(data) }.text(), None);
    }
    let error = ErrorCode::Cease(CeaseSubcode::AdministrativeReset);
    let unreadable = Notification { error, data: hex("02 c3 28") };
    assert_eq!(unreadable.to_string(), "Cease/Administrative Reset: unreadable text [02, c3, 28]");
    // One that would fake a second line of a log is quoted.
    assert!(
        Notification::cease(CeaseSubcode::AdministrativeReset, "a\nb").to_string().ends_with("\"a\\nb\"")
    );
    for code in 0..=255 {
        for subcode in 0..=255 {
            let error = ErrorCode::from_octets(code, subcode);
            assert_eq!((error.code(), error.subcode()), (code, subcode));
        }
    }
    // Never longer than 4096 octets, whatever it quotes.
    let mut out = Vec::new();
    Notification { data: vec![1; 70_000], ..expired }.encode(&mut out);
    assert_eq!(out.len(), 4096);
}

#[test]
fn ipv4_announcement_with_everything() {
    let path = PathAttributes {
        as_path: &[asn(64512), asn(64512)],
        med: Some(0),
        local_pref: Some(100),
        communities: &[StandardCommunity(0xfc00_0001), StandardCommunity(0xffff_ff01)],
        large_communities: &[LargeCommunity { global: 64512, local1: 1, local2: 2 }],
    };
    let block = AttributeBlock::new(&FULL, Family::V4, v4("192.0.2.1"), &path).unwrap();
    let mut out = Vec::new();
    let mut prefixes = peekable(&["203.0.113.7/32", "198.51.100.0/24", "10.0.0.0/9", "0.0.0.0/0"]);
    assert_eq!(block.announce(&mut prefixes, &mut out), 4);
    let body = hex("0000 0040
         40 01 01 00
         40 02 0a 02 02 0000fc00 0000fc00
         40 03 04 c0000201
         80 04 04 00000000
         40 05 04 00000064
         c0 08 08 fc000001 ffffff01
         c0 20 0c 0000fc00 00000001 00000002
         20 cb007107 18 c63364 09 0a00 00");
    assert_eq!(out, message(2, &body));
    let update = decode_update(&out, &FULL);
    assert_eq!(judged(&update), Judgement::ACCEPT);
    let expected = ["203.0.113.7/32", "198.51.100.0/24", "10.0.0.0/9", "0.0.0.0/0"];
    assert_eq!(update.nlri, expected.map(|prefix| prefix.parse().unwrap()));
    let attributes = update.attributes;
    assert_eq!(attributes.origin, Some(Origin::Igp));
    let sequence = Segment { kind: SegmentKind::Sequence, numbers: vec![64512, 64512] };
    assert_eq!(attributes.as_path, Some(AsPath { segments: vec![sequence] }));
    assert_eq!(attributes.next_hop, Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!((attributes.med, attributes.local_pref), (Some(0), Some(100)));
    assert_eq!(attributes.communities, path.communities);
    assert_eq!(attributes.large_communities, path.large_communities);
}

#[test]
fn ipv6_announcement_puts_mp_reach_first() {
    let path = PathAttributes { as_path: &[asn(4_200_000_001)], med: Some(0), ..PathAttributes::default() };
    let block = AttributeBlock::new(&FULL, Family::V6, v6("2001:db8::1"), &path).unwrap();
    let mut out = Vec::new();
    let mut prefixes = peekable(&["2001:db8:f::1/128", "2001:db8::/33", "10.0.0.0/8"]);
    assert_eq!(block.announce(&mut prefixes, &mut out), 2, "it stops before another family");
    assert_eq!(block.announce(&mut prefixes, &mut out), 0);
    let body = hex("0000 0043
         80 0e 2c 0002 01 10 20010db8000000000000000000000001 00
           80 20010db8000f00000000000000000001 21 20010db800
         40 01 01 00
         40 02 06 02 01 fa56ea01
         80 04 04 00000000");
    assert_eq!(out, message(2, &body));
    let update = decode_update(&out, &FULL);
    assert_eq!(judged(&update), Judgement::ACCEPT);
    let reach = update.mp_reach.unwrap();
    assert_eq!(reach.next_hop, Some(MpNextHop::V6("2001:db8::1".parse().unwrap())));
    assert_eq!(reach.prefixes, ["2001:db8:f::1/128", "2001:db8::/33"].map(|p| p.parse().unwrap()));
}

#[test]
fn ipv4_over_ipv6_needs_its_negotiation() {
    let path = PathAttributes::default();
    let link_local = Some("fe80::1".parse().unwrap());
    let next_hop = NextHop::V6 { global: "2001:db8::1".parse().unwrap(), link_local };
    let without = Session { extended_next_hop: false, ..FULL };
    assert_eq!(AttributeBlock::new(&without, Family::V4, next_hop, &path), Err(EncodeError::NextHopFamily));
    assert_eq!(
        AttributeBlock::new(&FULL, Family::V6, v4("192.0.2.1"), &path),
        Err(EncodeError::NextHopFamily)
    );
    let block = AttributeBlock::new(&FULL, Family::V4, next_hop, &path).unwrap();
    let out = announce_all(&block, ["10.1.0.0/16".parse().unwrap()]);
    let body = hex("0000 0032
         80 0e 28 0001 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00 10 0a01
         40 01 01 00
         40 02 00");
    assert_eq!(out, message(2, &body));
    let reach = decode_update(&out, &FULL).mp_reach.unwrap();
    let (global, link_local) = ("2001:db8::1".parse().unwrap(), "fe80::1".parse().unwrap());
    assert_eq!(reach.next_hop, Some(MpNextHop::V6LinkLocal { global, link_local }));
    assert_eq!(reach.prefixes, ["10.1.0.0/16".parse::<IpNet>().unwrap()]);
    let fault = judged(&decode_update(&out, &without)).error.unwrap().notification();
    assert_eq!((fault.error.code(), fault.error.subcode()), (3, 9));
}

#[test]
fn two_octet_peer_gets_as_trans_and_as4_path() {
    let session = Session { four_octet_as: false, ..FULL };
    let path = PathAttributes { as_path: &[asn(4_200_000_001), asn(65001)], ..PathAttributes::default() };
    let block = AttributeBlock::new(&session, Family::V4, v4("192.0.2.1"), &path).unwrap();
    let out = announce_all(&block, ["10.0.0.1/32".parse().unwrap()]);
    let body = hex("0000 0021
         40 01 01 00
         40 02 06 02 02 5ba0 fde9
         40 03 04 c0000201
         c0 11 0a 02 02 fa56ea01 0000fde9
         20 0a000001");
    assert_eq!(out, message(2, &body));
    let attributes = decode_update(&out, &session).attributes;
    assert_eq!(attributes.as_path.unwrap().segments[0].numbers, [23456, 65001]);
    assert_eq!(attributes.as4_path.unwrap().segments[0].numbers, [4_200_000_001, 65001]);
    let path = PathAttributes { as_path: &[asn(65001)], ..PathAttributes::default() };
    let block = AttributeBlock::new(&session, Family::V4, v4("192.0.2.1"), &path).unwrap();
    let out = announce_all(&block, ["10.0.0.1/32".parse().unwrap()]);
    assert_eq!(decode_update(&out, &session).attributes.as4_path, None);
}

#[test]
fn withdrawals_and_end_of_rib_both_ways() {
    let mut out = Vec::new();
    assert_eq!(withdraw(&FULL, Family::V4, &mut peekable(&["10.0.0.1/32", "10.2.0.0/15"]), &mut out), 2);
    assert_eq!(out, message(2, &hex("0008 20 0a000001 0f 0a02 0000")));
    let update = decode_update(&out, &FULL);
    assert_eq!(judged(&update), Judgement::ACCEPT);
    assert_eq!(update.withdrawn, ["10.0.0.1/32", "10.2.0.0/15"].map(|p| p.parse().unwrap()));
    assert_eq!(update.end_of_rib(), None);

    out.clear();
    assert_eq!(withdraw(&FULL, Family::V6, &mut peekable(&["2001:db8::/32"]), &mut out), 1);
    assert_eq!(out, message(2, &hex("0000 000b 80 0f 08 0002 01 20 20010db8")));
    let update = decode_update(&out, &FULL);
    assert_eq!(update.mp_unreach.as_ref().unwrap().prefixes, ["2001:db8::/32".parse::<IpNet>().unwrap()]);
    assert_eq!(update.end_of_rib(), None);

    for (family, body) in [(Family::V4, "0000 0000"), (Family::V6, "0000 0006 80 0f 03 0002 01")] {
        out.clear();
        end_of_rib(family, &mut out);
        assert_eq!(out, message(2, &hex(body)));
        assert_eq!(decode_update(&out, &FULL).end_of_rib(), Some(AfiSafi::unicast(family)));
    }
    out.clear();
    for family in Family::ALL {
        assert_eq!(withdraw(&FULL, family, &mut peekable(&[]), &mut out), 0);
    }
    assert!(out.is_empty(), "nothing to withdraw is no message");
}

#[test]
fn updates_are_as_full_as_they_can_be() {
    let v4_hosts =
        || (0..10_000_u32).map(|n| IpNet::from(std::net::IpAddr::from((0x0a00_0000 + n).to_be_bytes())));
    let v6_hosts = || {
        let address = |n| std::net::Ipv6Addr::from(0x2001_0db8_u128 << 96 | n);
        (0..10_000_u128).map(move |n| IpNet::from(std::net::IpAddr::V6(address(n))))
    };
    let counts = |out: &[u8], session: &Session| -> Vec<usize> {
        let of = |message: Message| match message {
            Message::Update(update) => {
                assert_eq!(judged(&update), Judgement::ACCEPT);
                update.nlri.len()
                    + update.withdrawn.len()
                    + update.mp_reach.map_or(0, |r| r.prefixes.len())
                    + update.mp_unreach.map_or(0, |r| r.prefixes.len())
            }
            other => panic!("{other:?}"),
        };
        decode_all(out, session).unwrap().into_iter().map(of).collect()
    };
    let ebgp = [asn(64512)];
    let bare = PathAttributes { as_path: &ebgp, ..PathAttributes::default() };
    let with_med = PathAttributes { med: Some(0), ..bare };
    let next_hops = (v4("192.0.2.1"), v6("2001:db8::1"));
    for (path, v4_count, v6_count) in [(bare, 810, 237), (with_med, 809, 236)] {
        let block = AttributeBlock::new(&FULL, Family::V4, next_hops.0, &path).unwrap();
        let v4 = counts(&announce_all(&block, v4_hosts()), &FULL);
        assert_eq!((v4[0], v4.len(), v4.iter().sum()), (v4_count, 13, 10_000));
        let block = AttributeBlock::new(&FULL, Family::V6, next_hops.1, &path).unwrap();
        let v6 = counts(&announce_all(&block, v6_hosts()), &FULL);
        assert_eq!((v6[0], v6.len(), v6.iter().sum()), (v6_count, 43, 10_000));
    }
    let mut out = Vec::new();
    let mut left = v4_hosts().peekable();
    while withdraw(&FULL, Family::V4, &mut left, &mut out) != 0 {}
    assert_eq!(counts(&out, &FULL)[0], 814);
    out.clear();
    let mut left = v6_hosts().peekable();
    while withdraw(&FULL, Family::V6, &mut left, &mut out) != 0 {}
    assert_eq!(counts(&out, &FULL)[0], 239);
    // RFC 8654.
    let long = Session { max_send: MAX_EXTENDED_MESSAGE, max_receive: MAX_EXTENDED_MESSAGE, ..FULL };
    let block = AttributeBlock::new(&long, Family::V4, next_hops.0, &with_med).unwrap();
    assert_eq!(counts(&announce_all(&block, v4_hosts()), &long), [10_000]);
}

#[test]
fn many_communities_take_an_extended_length() {
    let communities: Vec<_> = (0..63).map(StandardCommunity).collect();
    let large: Vec<_> = (0..22).map(|n| LargeCommunity { global: n, local1: n, local2: n }).collect();
    let path =
        PathAttributes { communities: &communities, large_communities: &large, ..PathAttributes::default() };
    for (family, next_hop, prefix) in
        [(Family::V4, v4("192.0.2.1"), "10.0.0.1/32"), (Family::V6, v6("2001:db8::1"), "2001:db8::1/128")]
    {
        let block = AttributeBlock::new(&FULL, family, next_hop, &path).unwrap();
        let update = decode_update(&announce_all(&block, [prefix.parse().unwrap()]), &FULL);
        assert_eq!(judged(&update), Judgement::ACCEPT);
        assert_eq!(update.attributes.communities, communities);
        assert_eq!(update.attributes.large_communities, large);
    }
    // Attributes that leave no room for a prefix are an error, also where their length no longer fits its field.
    for count in [1_010, 20_000] {
        let communities: Vec<_> = (0..count).map(StandardCommunity).collect();
        let path = PathAttributes { communities: &communities, ..PathAttributes::default() };
        let block = AttributeBlock::new(&FULL, Family::V6, v6("2001:db8::1"), &path);
        assert_eq!(block, Err(EncodeError::TooLong));
    }
    let path: Vec<_> = (1..=300).map(asn).collect();
    let path = PathAttributes { as_path: &path, ..PathAttributes::default() };
    let block = AttributeBlock::new(&FULL, Family::V4, v4("192.0.2.1"), &path).unwrap();
    let update = decode_update(&announce_all(&block, ["10.0.0.1/32".parse().unwrap()]), &FULL);
    let lengths: Vec<_> =
        update.attributes.as_path.unwrap().segments.iter().map(|s| s.numbers.len()).collect();
    assert_eq!(lengths, [255, 45]);
}

#[test]
fn families_that_were_not_negotiated_are_skipped() {
    let only_v4 = Session { families: FamilySet::only(Family::V4), ..FULL };
    let body = hex("0000 0029
         90 0e 000e 0019 46 04 0a000001 00 02 03 04 05 06
         80 0f 05 0002 01 81 ff
         c0 63 02 beef
         c0 11 03 020101
         40 01 01 00");
    let update = decode_update(&message(2, &body), &only_v4);
    assert_eq!(update.faults, []);
    let reach = update.mp_reach.as_ref().unwrap();
    assert_eq!((reach.family, reach.skipped), (AfiSafi { afi: 25, safi: 70 }, 5));
    let unreach = update.mp_unreach.as_ref().unwrap();
    assert_eq!((unreach.family, unreach.skipped), (AfiSafi::IPV6_UNICAST, 2));
    assert_eq!(
        update.attributes.unknown,
        [UnknownAttribute { flags: 0xc0, code: 0x63, value: vec![0xbe, 0xef] }]
    );
    assert_eq!(update.end_of_rib(), None);
}

#[test]
fn capabilities_are_shown_in_words() {
    let family = AfiSafi { afi: 25, safi: 70 };
    let shown = |capability: Capability| capability.to_string();
    assert_eq!(shown(Capability::MultiProtocol(AfiSafi::IPV6_UNICAST)), "multiprotocol IPv6 unicast");
    assert_eq!(shown(Capability::MultiProtocol(family)), "multiprotocol AFI 25 SAFI 70");
    assert_eq!(
        shown(Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6])),
        "extended next hop IPv4 unicast over AFI 2"
    );
    let families = vec![RestartFamily { family: AfiSafi::IPV4_UNICAST, forwarding: true }];
    let restart =
        Capability::GracefulRestart { restarting: false, notification: false, restart_time: 120, families };
    assert_eq!(shown(restart), "graceful restart 120 s IPv4 unicast");
    assert_eq!(shown(Capability::FourOctetAs(64512)), "4-octet AS 64512");
    assert_eq!(shown(Capability::EnhancedRouteRefresh), "enhanced route refresh");
    assert_eq!(shown(Capability::Unknown { code: 73, value: vec![1] }), "FQDN");
    assert_eq!(shown(Capability::Unknown { code: 200, value: vec![] }), "capability 200");
}
