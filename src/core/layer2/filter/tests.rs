//! Programs against a small interpreter: they pass all that concerns us, little else, and fit into the kernel.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::layer2::packet::{Advertisement, Arp, Mac, Operation, Solicitation, solicited_node_group};

/// Runs a program as the kernel does; whether the packet passes.
fn passes(program: &[Instruction], packet: &[u8], packet_type: u32) -> bool {
    let load = |offset: u32, size: usize| -> Option<u32> {
        if offset == PACKET_TYPE {
            return Some(packet_type);
        }
        let octets = packet.get(offset as usize..)?.get(..size)?;
        Some(octets.iter().fold(0, |value, octet| value << 8 | u32::from(*octet)))
    };
    let (mut at, mut a) = (0, 0_u32);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = program[at];
        at += 1;
        let size = match code {
            LOAD_WORD => 4,
            LOAD_HALF => 2,
            LOAD_OCTET => 1,
            _ => 0,
        };
        let holds = match code {
            LOAD_WORD | LOAD_HALF | LOAD_OCTET => match load(operand, size) {
                Some(value) => {
                    a = value;
                    continue;
                }
                None => return false,
            },
            JUMP => {
                at += operand as usize;
                continue;
            }
            RETURN => return operand > 0,
            JUMP_EQUAL => a == operand,
            JUMP_GREATER => a > operand,
            JUMP_AT_LEAST => a >= operand,
            other => panic!("{other:#x}"),
        };
        at += usize::from(if holds { jump_true } else { jump_false });
    }
}

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: u32 = 3;

fn question(ip: Ipv4Addr) -> Vec<u8> {
    let sender_ip = Ipv4Addr::new(10, 9, 8, 7);
    Arp { operation: Operation::Request, sender_mac: MAC, sender_ip, target_mac: Mac([0; 6]), target_ip: ip }
        .encode(Mac::BROADCAST)
}

fn claim(ip: Ipv4Addr) -> Vec<u8> {
    question(ip.to_bits().wrapping_add(77).into())
        .into_iter()
        .enumerate()
        .map(|(i, octet)| if (28..32).contains(&i) { ip.octets()[i - 28] } else { octet })
        .collect()
}

fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    let source = "fe80::1".parse().unwrap();
    let destination = solicited_node_group(target);
    Solicitation { source, destination, target, source_mac: Some(MAC) }
        .encode(Mac::of_group(destination), MAC)
}

proptest! {
    // Each has up to 2,000 packets, and programs are long.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn all_that_concerns_us_passes(
        v4 in proptest::collection::vec(any::<u32>(), 1..700),
        near in proptest::collection::vec(0_u32..900, 0..300),
        v6 in proptest::collection::vec(any::<u128>(), 1..700),
        limit in 1_usize..600,
        strangers in proptest::collection::vec(any::<u32>(), 50),
    ) {
        let near = near.into_iter().map(|n| 0xc000_0200 + n);
        let v4: BTreeSet<Ipv4Addr> = v4.into_iter().chain(near).map(Ipv4Addr::from).collect();
        let v6: BTreeSet<Ipv6Addr> = v6.into_iter().map(Ipv6Addr::from).collect();
        let all = || v4.iter().copied().map(IpAddr::V4).chain(v6.iter().copied().map(IpAddr::V6));
        let (arp, ndp) = (arp(all(), limit), ndp(all(), limit));
        prop_assert!(arp.len() < MAX_INSTRUCTIONS && ndp.len() < MAX_INSTRUCTIONS);
        for ip in &v4 {
            prop_assert!(passes(&arp, &question(*ip), 1) && passes(&arp, &claim(*ip), 0));
            prop_assert!(!passes(&arp, &question(*ip), OTHER));
            prop_assert!(!passes(&ndp, &question(*ip), 1));
        }
        for ip in &v6 {
            prop_assert!(passes(&ndp, &solicitation(*ip), 2));
            let tell = Advertisement::unsolicited(MAC, "fe80::1".parse().unwrap(), *ip);
            prop_assert!(passes(&ndp, &tell.encode(Mac::BROADCAST, MAC), 2));
            prop_assert!(!passes(&ndp, &solicitation(*ip), OTHER));
            prop_assert!(!passes(&arp, &solicitation(*ip), 2));
        }
        // Exactly what the ranges hold.
        let ranges = cover(v4.iter().map(|ip| ip.to_bits()).collect(), limit);
        prop_assert!(ranges.len() <= limit.min(MAX_RANGES));
        for key in strangers.into_iter().chain(ranges.iter().flat_map(|(a, b)| {
            [a.saturating_sub(1), *a, *b, b.saturating_add(1)]
        })) {
            let inside = ranges.iter().any(|(first, last)| (*first..=*last).contains(&key));
            prop_assert_eq!(passes(&arp, &question(key.into()), 1), inside || ranges.iter().any(|(first, last)| {
                (*first..=*last).contains(&0x0a09_0807)
            }));
        }
    }
}

#[test]
fn up_to_512_ranges_are_exact_and_more_span_the_narrowest_gaps() {
    let apart = |n: u32| (0..n).map(|i| i * 1000).collect::<Vec<u32>>();
    assert_eq!(cover(apart(512), MAX_RANGES).len(), 512);
    assert_eq!(cover(vec![5, 1, 2, 3, 3], MAX_RANGES), [(1, 3), (5, 5)]);
    assert_eq!(cover(vec![1, 3, 100, 104, 1000], 3), [(1, 3), (100, 104), (1000, 1000)]);
    assert_eq!(cover(vec![0, 7, u32::MAX], 1), [(0, u32::MAX)]);
    assert_eq!(cover(vec![], 5), []);
    // One address too many: one pair is joined.
    let mut keys = apart(512);
    keys.push(3);
    let ranges = cover(keys, MAX_RANGES);
    assert_eq!((ranges.len(), ranges[0]), (512, (0, 3)));
}

#[test]
fn the_largest_program_fits_with_room_to_spare() {
    let all = (0..5000_u32).map(|i| IpAddr::V4(Ipv4Addr::from(i * 800_000)));
    let largest = arp(all, MAX_RANGES);
    assert!((1024..2500).contains(&largest.len()), "{}", largest.len());
}

#[test]
fn what_is_short_or_foreign_is_dropped() {
    let ip = Ipv4Addr::new(192, 0, 2, 1);
    let program = arp([ip.into()], MAX_RANGES);
    let good = question(ip);
    for end in 0..42 {
        assert!(!passes(&program, &good[..end], 1), "{end}");
    }
    // Another kind of hardware, of protocol, of lengths.
    for at in [13, 15, 17, 18, 19] {
        let mut other = good.clone();
        other[at] ^= 1;
        assert!(!passes(&program, &other, 1), "{at}");
    }
    let nothing = [arp([], MAX_RANGES), ndp([], MAX_RANGES)];
    assert!(!nothing.iter().any(|p| passes(p, &good, 1)));
    let ip: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let program = ndp([ip.into()], MAX_RANGES);
    let good = solicitation(ip);
    assert!(passes(&program, &good, 2));
    for at in [13, 20, 21, 54, 77] {
        let mut other = good.clone();
        other[at] ^= 8;
        assert!(!passes(&program, &other, 2), "{at}");
    }
}
