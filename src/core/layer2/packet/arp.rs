use std::net::Ipv4Addr;

use super::{Discard, ETHER_ARP, Mac, ethernet};

/// ARP for IPv4 on Ethernet.
///
/// ```text
/// | hardware: 1 | protocol: 0x0800 | 6 | 4 | operation: 2 |
/// | sender's MAC: 6 | sender's IP: 4 | target's MAC: 6 | target's IP: 4 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Who sends.
    pub sender_mac: Mac,
    /// The address that the sender claims; 0.0.0.0 in a probe (RFC 5227 1.1).
    pub sender_ip: Ipv4Addr,
    /// Who is meant; means nothing in a request.
    pub target_mac: Mac,
    /// The address that is asked for, or that of whom is answered.
    pub target_ip: Ipv4Addr,
}

/// What an ARP packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// 1.
    Request,
    /// 2.
    Reply,
}

/// Hardware Ethernet, protocol IPv4, and how long their addresses are.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

impl Arp {
    pub(super) fn decode(octets: &[u8]) -> Result<Arp, Discard> {
        let (kind, rest) = octets.split_first_chunk::<6>().ok_or(Discard::Truncated)?;
        let (operation, rest) = rest.split_first_chunk().ok_or(Discard::Truncated)?;
        let operation = match (*kind, u16::from_be_bytes(*operation)) {
            (KIND, 1) => Operation::Request,
            (KIND, 2) => Operation::Reply,
            _ => return Err(Discard::OtherHardware),
        };
        let (sender_mac, rest) = rest.split_first_chunk().ok_or(Discard::Truncated)?;
        let (sender_ip, rest) = rest.split_first_chunk::<4>().ok_or(Discard::Truncated)?;
        let (target_mac, rest) = rest.split_first_chunk().ok_or(Discard::Truncated)?;
        let (target_ip, _padding) = rest.split_first_chunk::<4>().ok_or(Discard::Truncated)?;
        let sender_mac = Mac(*sender_mac);
        if sender_mac.is_multicast() {
            // An answer would go to many.
            return Err(Discard::Sender);
        }
        Ok(Arp {
            operation,
            sender_mac,
            sender_ip: Ipv4Addr::from(*sender_ip),
            target_mac: Mac(*target_mac),
            target_ip: Ipv4Addr::from(*target_ip),
        })
    }

    /// The answer of the station `mac`, which has the address that was asked for.
    pub fn reply(&self, mac: Mac) -> Arp {
        Arp {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// What tells everybody that the station `mac` has `address` (RFC 5227 2.3). The target MAC is our own: Linux takes a
    /// reply for gratuitous only with that, and otherwise doesn't believe it within a second of an earlier one.
    pub fn gratuitous(operation: Operation, mac: Mac, address: Ipv4Addr) -> Arp {
        Arp { operation, sender_mac: mac, sender_ip: address, target_mac: mac, target_ip: address }
    }

    /// The whole frame.
    pub fn encode(&self, destination: Mac) -> Vec<u8> {
        let mut frame = ethernet(destination, self.sender_mac, ETHER_ARP, 28);
        frame.extend_from_slice(&KIND);
        let operation: u16 = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        frame.extend_from_slice(&operation.to_be_bytes());
        frame.extend_from_slice(&self.sender_mac.0);
        frame.extend_from_slice(&self.sender_ip.octets());
        frame.extend_from_slice(&self.target_mac.0);
        frame.extend_from_slice(&self.target_ip.octets());
        frame
    }
}
