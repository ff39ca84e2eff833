//! Vectors both ways, each rule of validation, and an independent decoder that judges our frames.

use std::net::Ipv4Addr;

use etherparse::icmpv6::{Icmpv6PayloadSlice, NdpOptionSlice};
use etherparse::{Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;

const ASKER: Mac = Mac([0x02, 0, 0, 0, 0, 0xaa]);
const OURS: Mac = Mac([0x02, 0, 0, 0, 0, 0xbb]);

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn arp_both_ways() {
    let question = hex("ffffffffffff 0200000000aa 0806 0001 0800 06 04 0001
        0200000000aa c0000209 000000000000 c0000201");
    let arp = Arp {
        operation: Operation::Request,
        sender_mac: ASKER,
        sender_ip: Ipv4Addr::new(192, 0, 2, 9),
        target_mac: Mac([0; 6]),
        target_ip: Ipv4Addr::new(192, 0, 2, 1),
    };
    assert_eq!(
        decode(&question),
        Ok(Frame { destination: Mac::BROADCAST, source: ASKER, packet: Packet::Arp(arp) })
    );
    assert_eq!(arp.encode(Mac::BROADCAST), question);
    // Padded, as it comes from a wire.
    assert_eq!(decode(&[question, vec![0; 18]].concat()).unwrap().packet, Packet::Arp(arp));
    let answer = hex("0200000000aa 0200000000bb 0806 0001 0800 06 04 0002
        0200000000bb c0000201 0200000000aa c0000209");
    assert_eq!(arp.reply(OURS).encode(ASKER), answer);
    for (operation, octet) in [(Operation::Request, 1), (Operation::Reply, 2)] {
        let mut expected = hex("ffffffffffff 0200000000bb 0806 0001 0800 06 04 0000
            0200000000bb c0000201 0200000000bb c0000201");
        expected[21] = octet;
        assert_eq!(Arp::gratuitous(operation, OURS, arp.target_ip).encode(Mac::BROADCAST), expected);
    }
}

#[test]
fn arp_for_something_else_is_discarded() {
    let good = hex("ffffffffffff 0200000000aa 0806 0001 0800 06 04 0001
        0200000000aa c0000209 000000000000 c0000201");
    for end in 0..good.len() {
        assert_eq!(decode(&good[..end]), Err(Discard::Truncated), "{end}");
    }
    for (at, octet, why) in [
        (6, 0x03, Discard::Sender),
        (12, 0x81, Discard::OtherProtocol),
        (15, 6, Discard::OtherHardware),
        (16, 0x86, Discard::OtherHardware),
        (18, 8, Discard::OtherHardware),
        (19, 16, Discard::OtherHardware),
        (21, 3, Discard::OtherHardware),
        (22, 0xff, Discard::Sender),
    ] {
        let mut bad = good.clone();
        bad[at] = octet;
        assert_eq!(decode(&bad), Err(why), "octet {at}");
    }
}

/// A solicitation as Linux sends it.
const SOLICITATION: &str = "3333ff000001 0200000000aa 86dd 6000 0000 0020 3a ff
    fe80000000000000 00000000000000aa ff02000000000000 00000001ff000001
    87 00 CCCC 00000000 20010db800000000 0000000000000001 01 01 0200000000aa";

/// With the checksum put in, computed the slow way.
fn with_checksum(text: &str) -> Vec<u8> {
    let mut frame = hex(&text.replace("CCCC", "0000"));
    let end = 54 + usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    let mut sum: u64 = 58 + (end as u64 - 54);
    let words = frame[22..end].chunks(2).map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)));
    sum += words.sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[56..58].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame
}

#[test]
fn neighbor_discovery_both_ways() {
    let octets = with_checksum(SOLICITATION);
    let solicitation = Solicitation {
        source: v6("fe80::aa"),
        destination: v6("ff02::1:ff00:1"),
        target: v6("2001:db8::1"),
        source_mac: Some(ASKER),
    };
    let group = Mac([0x33, 0x33, 0xff, 0, 0, 1]);
    let frame = Frame { destination: group, source: ASKER, packet: Packet::Solicitation(solicitation) };
    assert_eq!(decode(&octets), Ok(frame));
    assert_eq!(solicitation.encode(group, ASKER), octets);

    // To one who asked: solicited. Type 136, flags S and O.
    let answer = with_checksum(
        "0200000000aa 0200000000bb 86dd 6000 0000 0020 3a ff
        fe80000000000000 00000000000000bb fe80000000000000 00000000000000aa
        88 00 CCCC 60000000 20010db800000000 0000000000000001 02 01 0200000000bb",
    );
    let reply = solicitation.reply(OURS, v6("fe80::bb"));
    assert_eq!(reply.encode(ASKER, OURS), answer);
    assert_eq!(decode(&answer).unwrap().packet, Packet::Advertisement(reply));

    // To one who probes: to all nodes, not solicited (RFC 4861 7.2.4). The same announces.
    let to_all = with_checksum(
        "333300000001 0200000000bb 86dd 6000 0000 0020 3a ff
        fe80000000000000 00000000000000bb ff02000000000000 0000000000000001
        88 00 CCCC 20000000 20010db800000000 0000000000000001 02 01 0200000000bb",
    );
    let probe = Solicitation { source: Ipv6Addr::UNSPECIFIED, source_mac: None, ..solicitation };
    assert_eq!(decode(&probe.encode(group, ASKER)).unwrap().packet, Packet::Solicitation(probe));
    assert_eq!(probe.reply(OURS, v6("fe80::bb")).encode(ASKER, OURS), to_all);
    let unsolicited = Advertisement::unsolicited(OURS, v6("fe80::bb"), solicitation.target);
    assert_eq!(unsolicited.encode(ASKER, OURS), to_all);

    // Without an option; and with unknown ones around a known one of another length.
    let bare = Solicitation { source_mac: None, ..solicitation };
    assert_eq!(decode(&bare.encode(OURS, ASKER)).unwrap().packet, Packet::Solicitation(bare));
    let odd = SOLICITATION.replace("0020 3a", "0038 3a").replace(
        "01 01 0200000000aa",
        "0e 01 010203040506 01 02 0000000000000000000000000000 01 01 0200000000aa",
    );
    assert_eq!(decode(&with_checksum(&odd)).unwrap().packet, Packet::Solicitation(solicitation));
}

#[test]
fn what_rfc_4861_7_1_forbids_is_discarded() {
    let probe =
        SOLICITATION.replace("fe80000000000000 00000000000000aa", "0000000000000000 0000000000000000");
    let bare = |text: &str| text.replace("0020 3a", "0018 3a").replace("01 01 0200000000aa", "");
    let advertisement = SOLICITATION.replace("87 00 CCCC", "88 00 CCCC");
    for (text, why) in [
        (SOLICITATION.replace("3a ff", "3a fe"), Discard::HopLimit),
        (SOLICITATION.replace("3a ff", "11 ff"), Discard::OtherProtocol),
        (SOLICITATION.replace("87 00 CCCC", "80 00 CCCC"), Discard::OtherProtocol),
        (SOLICITATION.replace("87 00 CCCC", "87 01 CCCC"), Discard::Malformed),
        (SOLICITATION.replace("20010db800000000", "ff0e0db800000000"), Discard::Target),
        (SOLICITATION.replace("fe80000000000000", "ff02000000000000"), Discard::Sender),
        (SOLICITATION.replace("01 01 0200000000aa", "01 00 0200000000aa"), Discard::Malformed),
        (SOLICITATION.replace("01 01 0200000000aa", "01 02 0200000000aa"), Discard::Malformed),
        (SOLICITATION.replace("01 01 0200000000aa", "01 01 0300000000aa"), Discard::Sender),
        (SOLICITATION.replace("0020 3a", "0019 3a"), Discard::Malformed),
        (SOLICITATION.replace("0020 3a", "0014 3a"), Discard::Truncated),
        (SOLICITATION.replace("0020 3a", "0028 3a") + "0102", Discard::Truncated),
        // A probe with a source address option, and one to somewhere else than the group.
        (probe.clone(), Discard::Inconsistent),
        (bare(&probe).replace("00000001ff000001", "0000000000000001"), Discard::Inconsistent),
        // Solicited, to a group.
        (advertisement.replace("CCCC 00000000", "CCCC 40000000"), Discard::Inconsistent),
    ] {
        let truncated = text.contains("0028 3a");
        let octets = if truncated { hex(&text.replace("CCCC", "0000")) } else { with_checksum(&text) };
        assert_eq!(decode(&octets), Err(why), "{text}");
    }
    let mut wrong = with_checksum(SOLICITATION);
    wrong[57] ^= 1;
    assert_eq!(decode(&wrong), Err(Discard::Checksum));
    assert!(decode(&with_checksum(&bare(&probe))).is_ok());
    assert!(decode(&with_checksum(&advertisement)).is_ok());
    let good = with_checksum(SOLICITATION);
    for end in 0..good.len() {
        assert_eq!(decode(&good[..end]), Err(Discard::Truncated), "{end}");
    }
}

proptest! {
    #[test]
    fn any_octets_give_a_packet_or_a_reason(octets in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..3) {
        let mut octets = octets;
        let header: &[u8] = match kind {
            0 => &[8, 6, 0, 1, 8, 0, 6, 4, 0],
            1 => &[0x86, 0xdd, 0x60],
            _ => &[],
        };
        for (slot, octet) in octets.iter_mut().skip(12).zip(header) {
            *slot = *octet;
        }
        if let Ok(frame) = decode(&octets) {
            prop_assert!(!frame.source.is_multicast());
        }
    }

    #[test]
    fn another_decoder_reads_what_we_send(
        mac in any::<[u8; 6]>(), v4 in any::<[u8; 4]>(), asker in any::<[u8; 4]>(),
        source in any::<u64>(), target in any::<u128>(), probe in any::<bool>(), solicited in any::<bool>(),
    ) {
        let mac = Mac([mac[0] & 0xfe, mac[1], mac[2], mac[3], mac[4], mac[5]]);
        let arp = Arp {
            operation: Operation::Request, sender_mac: ASKER, sender_ip: asker.into(), target_mac: Mac([0; 6]),
            target_ip: v4.into(),
        };
        for (frame, operation, target_mac, target_ip) in [
            (arp.reply(mac).encode(ASKER), 2, ASKER, asker),
            (Arp::gratuitous(Operation::Request, mac, v4.into()).encode(Mac::BROADCAST), 1, mac, v4),
            (Arp::gratuitous(Operation::Reply, mac, v4.into()).encode(Mac::BROADCAST), 2, mac, v4),
        ] {
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(NetSlice::Arp(read)) = packet.net else { panic!("no ARP") };
            let read = read.to_packet().try_eth_ipv4().unwrap();
            prop_assert_eq!((read.operation.0, read.sender_mac, read.sender_ipv4), (operation, mac.0, v4));
            prop_assert_eq!((read.target_mac, read.target_ipv4), (target_mac.0, target_ip));
            prop_assert!(matches!(decode(&frame).unwrap().packet, Packet::Arp(arp) if arp.sender_mac == mac));
        }

        let target = Ipv6Addr::from(target & !(0xff << 120) | 0x20 << 120);
        let ours = Ipv6Addr::from(0xfe80 << 112 | u128::from(source));
        let asked_by = if probe { Ipv6Addr::UNSPECIFIED } else { v6("2001:db8::9") };
        let destination = solicited_node_group(target);
        let question = Solicitation { source: asked_by, destination, target, source_mac: None };
        let said = if solicited { question.reply(mac, ours) } else { Advertisement::unsolicited(mac, ours, target) };
        let frame = said.encode(ASKER, mac);
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) = (packet.net, packet.transport) else {
            panic!("no ICMPv6")
        };
        let header = ip.header();
        prop_assert_eq!((header.hop_limit(), header.source_addr()), (255, ours));
        prop_assert!(icmp.is_checksum_valid(header.source(), header.destination()));
        let Icmpv6Type::NeighborAdvertisement(flags) = icmp.icmp_type() else { panic!("no advertisement") };
        prop_assert_eq!((flags.router, flags.solicited, flags.r#override), (false, solicited && !probe, true));
        let Icmpv6PayloadSlice::NeighborAdvertisement(read) = icmp.payload_slice().unwrap() else { panic!("no payload") };
        prop_assert_eq!(read.target_address(), target);
        let options: Vec<_> = read.options_iterator().map(|option| option.unwrap()).collect();
        let [NdpOptionSlice::TargetLinkLayerAddress(address)] = &options[..] else { panic!("{options:?}") };
        prop_assert_eq!(address.link_layer_address(), &mac.0);
        prop_assert!(matches!(decode(&frame).unwrap().packet, Packet::Advertisement(read) if read == said));
    }
}
