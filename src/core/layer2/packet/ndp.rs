use std::net::Ipv6Addr;

use super::{Discard, ETHER_IPV6, Mac, Packet, ethernet};

/// A question for an address, or a probe whether anyone has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; `::` where it probes for duplicates (RFC 4862 5.4.2).
    pub source: Ipv6Addr,
    /// The solicited-node group of the target, or the target itself.
    pub destination: Ipv6Addr,
    /// The address that is asked for.
    pub target: Ipv6Addr,
    /// The source link-layer address option; those who probe a neighbour that they know may leave it out.
    pub source_mac: Option<Mac>,
}

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Who says it.
    pub source: Ipv6Addr,
    /// To whom.
    pub destination: Ipv6Addr,
    /// The address that it is about.
    pub target: Ipv6Addr,
    /// The sender is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It is to replace what is known.
    pub overrides: bool,
    /// The target link-layer address option.
    pub target_mac: Option<Mac>,
}

/// The group that an address's solicitations go to (RFC 4291 2.7.1).
pub const fn solicited_node_group(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    (group[13], group[14], group[15]) = (a, b, c);
    Ipv6Addr::from_octets(group)
}

/// ff02::1
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const NEXT_HEADER_ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// ```text
/// | 6, class, flow: 4 | payload length: 2 | next header | hop limit | source: 16 | destination: 16 |
/// | type | code | checksum: 2 | flags: 4 | target: 16 | options: | type | length / 8 | ... |
/// ```
pub(super) fn decode(octets: &[u8]) -> Result<Packet, Discard> {
    let (first, rest) = octets.split_first_chunk::<4>().ok_or(Discard::Truncated)?;
    let (length, rest) = rest.split_first_chunk().ok_or(Discard::Truncated)?;
    let ([next_header, hop_limit], rest) = rest.split_first_chunk().ok_or(Discard::Truncated)?;
    let (source, rest) = rest.split_first_chunk::<16>().ok_or(Discard::Truncated)?;
    let (destination, rest) = rest.split_first_chunk::<16>().ok_or(Discard::Truncated)?;
    let message = rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or(Discard::Truncated)?;
    let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
    if first[0] >> 4 != 6 || *next_header != NEXT_HEADER_ICMPV6 {
        return Err(Discard::OtherProtocol);
    }
    let (head, rest) = message.split_first_chunk::<4>().ok_or(Discard::Truncated)?;
    let [kind, code, ..] = *head;
    if kind != SOLICITATION && kind != ADVERTISEMENT {
        return Err(Discard::OtherProtocol);
    }
    if *hop_limit != HOP_LIMIT {
        return Err(Discard::HopLimit);
    }
    if checksum(source, destination, message) != 0 {
        return Err(Discard::Checksum);
    }
    let ([flags, ..], rest) = rest.split_first_chunk::<4>().ok_or(Discard::Truncated)?;
    let (target, options) = rest.split_first_chunk::<16>().ok_or(Discard::Truncated)?;
    let target = Ipv6Addr::from(*target);
    if code != 0 {
        return Err(Discard::Malformed);
    }
    if target.is_multicast() {
        return Err(Discard::Target);
    }
    if source.is_multicast() {
        return Err(Discard::Sender);
    }
    if kind == SOLICITATION {
        let source_mac = link_layer(options, SOURCE_LINK_LAYER)?;
        Solicitation { source, destination, target, source_mac }.validate().map(Packet::Solicitation)
    } else {
        let advertisement = Advertisement {
            source,
            destination,
            target,
            router: flags & ROUTER != 0,
            solicited: flags & SOLICITED != 0,
            overrides: flags & OVERRIDE != 0,
            target_mac: link_layer(options, TARGET_LINK_LAYER)?,
        };
        advertisement.validate().map(Packet::Advertisement)
    }
}

/// The first option of this type that holds an Ethernet address. All options have to be sound (RFC 4861 4.6); those of
/// other types, and of other lengths, mean nothing here.
fn link_layer(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, Discard> {
    let mut found = None;
    while let Some(([kind, length], _)) = options.split_first_chunk() {
        let size = usize::from(*length).saturating_mul(8);
        let (option, rest) = options.split_at_checked(size).filter(|_| size > 0).ok_or(Discard::Malformed)?;
        if let (true, [_, _, mac @ ..]) = (*kind == wanted && found.is_none(), option) {
            found = <[u8; 6]>::try_from(mac).ok().map(Mac);
        }
        options = rest;
    }
    if !options.is_empty() {
        return Err(Discard::Malformed);
    }
    if found.is_some_and(Mac::is_multicast) {
        return Err(Discard::Sender);
    }
    Ok(found)
}

impl Solicitation {
    /// RFC 4861 7.1.1, what is said of a source that is unspecified.
    fn validate(self) -> Result<Solicitation, Discard> {
        let to_group = self.destination == solicited_node_group(self.destination);
        if self.source.is_unspecified() && (!to_group || self.source_mac.is_some()) {
            return Err(Discard::Inconsistent);
        }
        Ok(self)
    }

    /// The answer of the station `mac` whose own address on this link is `source` (RFC 4861 7.2.4); a probe for duplicates
    /// is answered to everybody and not as solicited.
    pub fn reply(&self, mac: Mac, source: Ipv6Addr) -> Advertisement {
        let probe = self.source.is_unspecified();
        Advertisement {
            source,
            destination: if probe { ALL_NODES } else { self.source },
            target: self.target,
            router: false,
            solicited: !probe,
            // MetalLB: clears it. We are no proxy: with it, a neighbour that holds another station's MAC corrects it.
            overrides: true,
            target_mac: Some(mac),
        }
    }

    /// The whole frame, as the station `mac` sends it.
    pub fn encode(&self, destination: Mac, mac: Mac) -> Vec<u8> {
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&self.target.octets());
        message.extend(option(SOURCE_LINK_LAYER, self.source_mac));
        frame(destination, mac, self.source, self.destination, message)
    }
}

impl Advertisement {
    /// RFC 4861 7.1.2.
    fn validate(self) -> Result<Advertisement, Discard> {
        if self.destination.is_multicast() && self.solicited {
            return Err(Discard::Inconsistent);
        }
        Ok(self)
    }

    /// What tells everybody that the station `mac`, whose own address on this link is `source`, has `address` (RFC 4861
    /// 7.2.6).
    pub fn unsolicited(mac: Mac, source: Ipv6Addr, address: Ipv6Addr) -> Advertisement {
        Advertisement {
            source,
            destination: ALL_NODES,
            target: address,
            router: false,
            solicited: false,
            overrides: true,
            target_mac: Some(mac),
        }
    }

    /// The whole frame, as the station `mac` sends it to `destination`; a packet for a group goes to the group's own.
    pub fn encode(&self, destination: Mac, mac: Mac) -> Vec<u8> {
        let flags = [(self.router, ROUTER), (self.solicited, SOLICITED), (self.overrides, OVERRIDE)];
        let flags = flags.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
        let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
        message.extend_from_slice(&self.target.octets());
        message.extend(option(TARGET_LINK_LAYER, self.target_mac));
        let destination =
            if self.destination.is_multicast() { Mac::of_group(self.destination) } else { destination };
        frame(destination, mac, self.source, self.destination, message)
    }
}

fn option(kind: u8, mac: Option<Mac>) -> impl Iterator<Item = u8> {
    mac.into_iter().flat_map(move |mac| [kind, 1].into_iter().chain(mac.0))
}

/// A frame with an ICMPv6 message, whose checksum is put in.
fn frame(destination: Mac, mac: Mac, from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum(from, to, &message);
    if let Some(slot) = message.get_mut(2..4) {
        slot.copy_from_slice(&sum.to_be_bytes());
    }
    let mut frame = ethernet(destination, mac, ETHER_IPV6, message.len().saturating_add(40));
    frame.extend_from_slice(&[0x60, 0, 0, 0]);
    frame.extend_from_slice(&u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
    frame.extend_from_slice(&[NEXT_HEADER_ICMPV6, HOP_LIMIT]);
    frame.extend_from_slice(&from.octets());
    frame.extend_from_slice(&to.octets());
    frame.extend_from_slice(&message);
    frame
}

/// RFC 4443 2.3: over a pseudo-header and the message. Over a message with a right checksum it is 0.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, NEXT_HEADER_ICMPV6]];
    let words = pseudo.into_iter().chain([message]).flat_map(|part| part.chunks(2));
    // At most 2^15 words of 16 bits and some: it fits.
    let sum = words.fold(0_u32, |sum, word| {
        let word = match word {
            [high, low] => u16::from_be_bytes([*high, *low]),
            [high] => u16::from_be_bytes([*high, 0]),
            _ => 0,
        };
        sum.wrapping_add(u32::from(word))
    });
    let folded = (sum & 0xffff).wrapping_add(sum >> 16);
    let folded = (folded & 0xffff).wrapping_add(folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}
