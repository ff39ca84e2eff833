use std::fmt;
use std::net::Ipv4Addr;

/// A 4-octet AS number (RFC 6793), never 0 (RFC 7607).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(u32);

impl Asn {
    /// AS_TRANS (RFC 6793 section 9): what a 4-octet number shows as in 2 octets.
    pub const TRANS: Asn = Asn(23456);

    /// `None` for 0, which is reserved.
    pub const fn new(value: u32) -> Option<Asn> {
        if value == 0 { None } else { Some(Asn(value)) }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number in 2 octets: itself where it fits, else AS_TRANS.
    pub fn two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23456)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A BGP identifier: 4 octets, not 0 (RFC 6286), written as an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(Ipv4Addr);

impl RouterId {
    /// `None` for 0.0.0.0.
    pub fn new(value: Ipv4Addr) -> Option<RouterId> {
        (!value.is_unspecified()).then_some(RouterId(value))
    }

    /// From four octets of a hash. The first is brought into 1 to 223, since some implementations refuse an identifier
    /// that isn't a unicast address.
    pub const fn from_hash([a, b, c, d]: [u8; 4]) -> RouterId {
        RouterId(Ipv4Addr::new(a % 223 + 1, b, c, d))
    }

    /// As an IPv4 address.
    pub const fn get(self) -> Ipv4Addr {
        self.0
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The AS number that the other end of a session must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemoteAs {
    /// Any but ours.
    External,
    /// Ours.
    Internal,
    /// This one.
    Number(Asn),
}
