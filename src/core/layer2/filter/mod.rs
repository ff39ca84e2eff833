//! Programs for the kernel's classic BPF that wake us for little more than what we answer.
//!
//! A program passes a packet whose address is in one of at most [`MAX_RANGES`] ranges that cover our addresses; where
//! there are more addresses than that, ranges span the narrowest gaps between them. So a program passes a superset of what
//! concerns us, a small one, and the responder is exact. For IPv6 the last 32 bits of the target are compared.
//!
//! The kernel takes 4,096 instructions. A program branches to one of some 32 runs of comparisons, each of at most 32, and
//! has under 2,500. There is no loop, and a packet that is too short is dropped, as classic BPF has it.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

/// One instruction, as `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip where the condition holds.
    pub jump_true: u8,
    /// How many otherwise.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// How many ranges a program compares with at the most.
pub const MAX_RANGES: usize = 512;
/// How many instructions the kernel takes.
pub const MAX_INSTRUCTIONS: usize = 4096;
/// The most octets of a packet that a program passes.
const WHOLE: u32 = 0x4_0000;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_OCTET: u16 = 0x30;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// `SKF_AD_OFF + SKF_AD_PKTTYPE`: to whom the kernel says that the packet is.
const PACKET_TYPE: u32 = 0xffff_f004;
/// `PACKET_MULTICAST`; below it are `PACKET_HOST` and `PACKET_BROADCAST`, above it what isn't for us: other stations' and
/// foreign VLANs' packets, and those that we send.
const FOR_US: u32 = 2;

/// Passes ARP for IPv4 that asks for, or claims, one of the addresses; those of IPv6 don't count. `limit` is how many
/// ranges may be used, at most [`MAX_RANGES`].
pub fn arp(addresses: impl IntoIterator<Item = IpAddr>, limit: usize) -> Vec<Instruction> {
    let keys = addresses.into_iter().filter_map(|ip| match ip {
        IpAddr::V4(v4) => Some(v4.to_bits()),
        IpAddr::V6(_) => None,
    });
    let mut program = Program::default();
    program.require(LOAD_HALF, 12, 0x0806);
    // Ethernet and IPv4; lengths of the addresses.
    program.require(LOAD_WORD, 14, 0x0001_0800);
    program.require(LOAD_HALF, 18, 0x0604);
    let boundaries = boundaries(cover(keys.collect(), limit));
    // Whom it is about, then who says so: a claim to one of our addresses is a conflict.
    for offset in [38, 28] {
        program.push(LOAD_WORD, 0, 0, offset);
        program.pass_within(&boundaries);
    }
    program.finish()
}

/// Passes Neighbor Solicitations and Advertisements for one of the addresses; those of IPv4 don't count. `limit` is how
/// many ranges may be used, at most [`MAX_RANGES`].
pub fn ndp(addresses: impl IntoIterator<Item = IpAddr>, limit: usize) -> Vec<Instruction> {
    let keys = addresses.into_iter().filter_map(|ip| match ip {
        IpAddr::V4(_) => None,
        // The last of the four words.
        IpAddr::V6(v6) => u32::try_from(v6.to_bits() & u128::from(u32::MAX)).ok(),
    });
    let mut program = Program::default();
    program.require(LOAD_HALF, 12, 0x86dd);
    // Next header ICMPv6, hop limit 255.
    program.require(LOAD_HALF, 20, 0x3aff);
    program.require_either(LOAD_OCTET, 54, 135, 136);
    program.push(LOAD_WORD, 0, 0, 74);
    program.pass_within(&boundaries(cover(keys.collect(), limit)));
    program.finish()
}

/// At most `limit` ranges, first and last included, that cover these keys: those between the widest gaps.
fn cover(mut keys: Vec<u32>, limit: usize) -> Vec<(u32, u32)> {
    keys.sort_unstable();
    keys.dedup();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for key in keys {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(key) => *last = key,
            _ => ranges.push((key, key)),
        }
    }
    let limit = limit.clamp(1, MAX_RANGES);
    if ranges.len() <= limit {
        return ranges;
    }
    let gap = |pair: &[(u32, u32)]| match pair {
        [(_, last), (first, _)] => first.saturating_sub(*last),
        _ => 0,
    };
    // The gaps that stay: one fewer than ranges.
    let mut widest: Vec<(u32, usize)> = ranges.windows(2).map(gap).zip(0..).collect();
    widest.sort_unstable_by(|a, b| b.cmp(a));
    widest.truncate(limit - 1);
    let mut cuts: Vec<usize> = widest.into_iter().map(|(_, at)| at).collect();
    cuts.sort_unstable();
    let mut cuts = cuts.into_iter().peekable();
    let mut covering: Vec<(u32, u32)> = Vec::with_capacity(limit);
    let mut open: Option<(u32, u32)> = None;
    for (at, (first, last)) in ranges.into_iter().enumerate() {
        let range = (open.map_or(first, |(first, _)| first), last);
        if cuts.next_if_eq(&at).is_some() {
            covering.push(range);
            open = None;
        } else {
            open = Some(range);
        }
    }
    covering.extend(open);
    covering
}

/// Where being outside and inside change, in ascending order: a key with an odd number of boundaries up to it is inside.
fn boundaries(ranges: Vec<(u32, u32)>) -> Vec<u32> {
    ranges.into_iter().flat_map(|(first, last)| [Some(first), last.checked_add(1)]).flatten().collect()
}

/// A program in the making.
#[derive(Default)]
struct Program {
    instructions: Vec<Instruction>,
}

/// How many boundaries are compared one after the other; a conditional jump reaches 255 instructions.
const RUN: usize = 32;

impl Program {
    fn push(&mut self, code: u16, jump_true: u8, jump_false: u8, operand: u32) {
        self.instructions.push(Instruction { code, jump_true, jump_false, operand });
    }

    /// Drops the packet unless what is at `offset` has this value.
    fn require(&mut self, load: u16, offset: u32, value: u32) {
        self.push(load, 0, 0, offset);
        self.push(JUMP_EQUAL, 1, 0, value);
        self.push(RETURN, 0, 0, 0);
    }

    fn require_either(&mut self, load: u16, offset: u32, one: u32, other: u32) {
        self.push(load, 0, 0, offset);
        self.push(JUMP_EQUAL, 2, 0, one);
        self.push(JUMP_EQUAL, 1, 0, other);
        self.push(RETURN, 0, 0, 0);
    }

    /// Passes the packet if what was loaded is within the ranges with these boundaries, and otherwise goes on after what is
    /// written here.
    fn pass_within(&mut self, boundaries: &[u32]) {
        let mut misses = Vec::new();
        self.search(boundaries, false, &mut misses);
        let end = self.instructions.len();
        for miss in misses {
            let skip = u32::try_from(end.saturating_sub(miss).saturating_sub(1)).unwrap_or(0);
            if let Some(jump) = self.instructions.get_mut(miss) {
                jump.operand = skip;
            }
        }
    }

    /// `inside`: whether a key below all of these boundaries is within a range. Collects the jumps to the end.
    fn search(&mut self, boundaries: &[u32], inside: bool, misses: &mut Vec<usize>) {
        if boundaries.len() <= RUN {
            return self.run(boundaries, inside, misses);
        }
        let half = boundaries.len() / 2;
        let (low, high) = boundaries.split_at(half);
        let Some(middle) = high.first() else { return };
        // At least the middle: past the jump that leads to the lower half.
        self.push(JUMP_AT_LEAST, 1, 0, *middle);
        let jump = self.instructions.len();
        self.push(JUMP, 0, 0, 0);
        self.search(high, inside ^ (half % 2 == 1), misses);
        let skip = u32::try_from(self.instructions.len().saturating_sub(jump).saturating_sub(1)).unwrap_or(0);
        if let Some(jump) = self.instructions.get_mut(jump) {
            jump.operand = skip;
        }
        self.search(low, inside, misses);
    }

    /// Compares with one boundary after the other; behind them, what happens inside and outside.
    fn run(&mut self, boundaries: &[u32], inside: bool, misses: &mut Vec<usize>) {
        // The two ends: pass, then miss. The last comparison falls through to one of them by a jump of its own.
        let count = boundaries.len();
        let mut now = inside;
        for (i, boundary) in boundaries.iter().enumerate() {
            // Below the boundary: the state is `now`. `count - i - 1` comparisons and the final jump are skipped.
            let left = u8::try_from(count.saturating_sub(i)).unwrap_or(0);
            let below = if now { left } else { left.saturating_add(1) };
            self.push(JUMP_AT_LEAST, 0, below, *boundary);
            now = !now;
        }
        self.push(JUMP, 0, 0, if now { 0 } else { 1 });
        self.push(RETURN, 0, 0, WHOLE);
        misses.push(self.instructions.len());
        self.push(JUMP, 0, 0, 0);
    }

    /// Drops what nothing passed, and what isn't for this station in the first place.
    fn finish(mut self) -> Vec<Instruction> {
        self.push(RETURN, 0, 0, 0);
        let mut whole = Program::default();
        whole.push(LOAD_OCTET, 0, 0, PACKET_TYPE);
        whole.push(JUMP_GREATER, 0, 1, FOR_US);
        whole.push(RETURN, 0, 0, 0);
        whole.instructions.append(&mut self.instructions);
        whole.instructions
    }
}
