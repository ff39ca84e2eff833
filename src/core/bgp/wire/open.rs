use std::net::Ipv4Addr;

use super::{
    AfiSafi, EncodeError, MAX_MESSAGE, MessageType, WireError,
    header::{begin, finish},
    octets::{Reader, written},
};
use crate::types::{Asn, Family, FamilySet};

/// The protocol version (RFC 4271).
pub(super) const VERSION: u8 = 4;
const CAPABILITIES_PARAMETER: u8 = 2;
/// As the first parameter's type: lengths take 2 octets from here on (RFC 9072).
const EXTENDED_LENGTH: u8 = 255;

/// An OPEN message (RFC 4271 4.2), as it came: whether it is acceptable isn't judged here.
///
/// ```text
/// | version: 1 | my AS: 2 | hold time: 2 | BGP identifier: 4 | parameters' length: 1 | parameters |
/// with RFC 9072, after the identifier: | not 0: 1 | 255: 1 | parameters' length: 2 | parameters |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The My Autonomous System field; 23456 stands for a number that needs 4 octets.
    pub my_as: u16,
    /// In seconds; 0 means no keepalives at all, 1 and 2 are invalid.
    pub hold_time: u16,
    /// The BGP identifier; 0.0.0.0 is invalid (RFC 6286).
    pub identifier: Ipv4Addr,
    /// In the order of the message; duplicates stay.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// The sender's AS: from its 4-octet capability, else from the 2-octet field; `None` if that is 0 (RFC 7607).
    pub fn asn(&self) -> Option<Asn> {
        let four = self.capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAs(number) => Some(*number),
            _ => None,
        });
        Asn::new(four.unwrap_or(u32::from(self.my_as)))
    }

    /// The unicast families that it offers; IPv4 where it offers no family of any kind (RFC 4760 section 8).
    pub fn families(&self) -> FamilySet {
        let mut offered = self
            .capabilities
            .iter()
            .filter_map(|capability| match capability {
                Capability::MultiProtocol(family) => Some(*family),
                _ => None,
            })
            .peekable();
        if offered.peek().is_none() {
            return FamilySet::only(Family::V4);
        }
        offered.filter_map(AfiSafi::family).collect()
    }

    /// Whether it offers this very capability.
    pub fn offers(&self, capability: &Capability) -> bool {
        self.capabilities.contains(capability)
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    /// Another version; lengths that don't add up; an unknown parameter; a known capability that is too short.
    pub(super) fn decode(body: &[u8]) -> Result<Open, WireError> {
        const SHORT: WireError = WireError::MalformedOpen("it ends early");
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(SHORT)?;
        if version != VERSION {
            return Err(WireError::UnsupportedVersion(version));
        }
        let my_as = reader.u16().ok_or(SHORT)?;
        let hold_time = reader.u16().ok_or(SHORT)?;
        let identifier = Ipv4Addr::from(reader.u32().ok_or(SHORT)?);
        let mut capabilities = Vec::new();

        let length = reader.u8().ok_or(SHORT)?;
        let mut ahead = reader;
        let extended = length != 0 && ahead.u8() == Some(EXTENDED_LENGTH);
        if extended {
            reader = ahead;
        }
        let length = if extended { reader.u16().ok_or(SHORT)? } else { u16::from(length) };
        if reader.len() != usize::from(length) {
            return Err(WireError::MalformedOpen("the parameters' length isn't that of the parameters"));
        }
        while let Some(kind) = reader.u8() {
            let value = if extended { reader.block16() } else { reader.block8() };
            let value = value.ok_or(WireError::MalformedOpen("a parameter is longer than the message"))?;
            if kind != CAPABILITIES_PARAMETER {
                return Err(WireError::UnsupportedOptionalParameter(kind));
            }
            decode_capabilities(value, &mut capabilities)?;
        }
        Ok(Open { my_as, hold_time, identifier, capabilities })
    }

    /// Appends the message: all capabilities in one parameter, with RFC 9072's lengths only where they are needed.
    ///
    /// # Errors
    /// A capability is longer than 255 octets, or the message than 4096; nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            capability.encode(&mut capabilities)?;
        }
        let length = u16::try_from(capabilities.len()).map_err(|_| EncodeError::TooLong)?;
        if usize::from(length) > MAX_MESSAGE - 35 {
            return Err(EncodeError::TooLong);
        }
        let start = begin(out, MessageType::Open);
        out.push(VERSION);
        out.extend_from_slice(&self.my_as.to_be_bytes());
        out.extend_from_slice(&self.hold_time.to_be_bytes());
        out.extend_from_slice(&self.identifier.octets());
        match u8::try_from(length) {
            Ok(0) => out.push(0),
            Ok(short @ ..=253) => {
                out.extend_from_slice(&[short.saturating_add(2), CAPABILITIES_PARAMETER, short]);
            }
            _ => {
                out.extend_from_slice(&[EXTENDED_LENGTH, EXTENDED_LENGTH]);
                out.extend_from_slice(&length.saturating_add(3).to_be_bytes());
                out.push(CAPABILITIES_PARAMETER);
                out.extend_from_slice(&length.to_be_bytes());
            }
        }
        out.extend_from_slice(&capabilities);
        finish(out, start);
        Ok(())
    }
}

/// A capability (RFC 5492).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// 1, RFC 4760.
    MultiProtocol(AfiSafi),
    /// 2, RFC 2918.
    RouteRefresh,
    /// 5, RFC 8950.
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// 6, RFC 8654.
    ExtendedMessage,
    /// 64, RFC 4724, RFC 8538.
    GracefulRestart {
        /// The sender has restarted.
        restarting: bool,
        /// NOTIFICATIONs keep routes as well (RFC 8538).
        notification: bool,
        /// In seconds, 0 to 4095.
        restart_time: u16,
        /// The families whose routes are to be kept.
        families: Vec<RestartFamily>,
    },
    /// 65, RFC 6793: the sender's AS number.
    FourOctetAs(u32),
    /// 70, RFC 7313.
    EnhancedRouteRefresh,
    /// Any other; kept for people to see.
    Unknown {
        /// Its code.
        code: u8,
        /// Its value, at most 255 octets.
        value: Vec<u8>,
    },
}

/// One entry of the extended next hop capability: these routes may have such a next hop (RFC 8950 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedNextHop {
    /// AFI of the routes.
    pub afi: u16,
    /// SAFI of the routes; 2 octets here.
    pub safi: u16,
    /// AFI of the next hop.
    pub next_hop_afi: u16,
}

impl ExtendedNextHop {
    /// IPv4 unicast over an IPv6 next hop.
    pub const IPV4_OVER_IPV6: ExtendedNextHop = ExtendedNextHop { afi: 1, safi: 1, next_hop_afi: 2 };
}

/// One family of the graceful restart capability (RFC 4724 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartFamily {
    /// Which.
    pub family: AfiSafi,
    /// Forwarding state was kept while BGP restarted.
    pub forwarding: bool,
}

impl Capability {
    /// Its code.
    pub fn code(&self) -> u8 {
        match self {
            Capability::MultiProtocol(_) => 1,
            Capability::RouteRefresh => 2,
            Capability::ExtendedNextHop(_) => 5,
            Capability::ExtendedMessage => 6,
            Capability::GracefulRestart { .. } => 64,
            Capability::FourOctetAs(_) => 65,
            Capability::EnhancedRouteRefresh => 70,
            Capability::Unknown { code, .. } => *code,
        }
    }

    /// The registry's name, for people; `None` for those without one here.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self.code() {
            1 => "multiprotocol",
            2 => "route refresh",
            5 => "extended next hop",
            6 => "extended message",
            9 => "BGP role",
            64 => "graceful restart",
            65 => "4-octet AS",
            69 => "ADD-PATH",
            70 => "enhanced route refresh",
            71 => "long-lived graceful restart",
            73 => "FQDN",
            75 => "software version",
            _ => return None,
        })
    }

    /// Whether it allows IPv4 unicast routes an IPv6 next hop.
    pub(super) fn offers_ipv4_over_ipv6(&self) -> bool {
        matches!(self, Capability::ExtendedNextHop(entries) if entries.contains(&ExtendedNextHop::IPV4_OVER_IPV6))
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(self.code());
        let start = out.len();
        out.push(0);
        match self {
            Capability::MultiProtocol(AfiSafi { afi, safi }) => {
                out.extend_from_slice(&afi.to_be_bytes());
                out.extend_from_slice(&[0, *safi]);
            }
            Capability::RouteRefresh | Capability::ExtendedMessage | Capability::EnhancedRouteRefresh => {}
            Capability::ExtendedNextHop(entries) => {
                for entry in entries {
                    for field in [entry.afi, entry.safi, entry.next_hop_afi] {
                        out.extend_from_slice(&field.to_be_bytes());
                    }
                }
            }
            Capability::GracefulRestart { restarting, notification, restart_time, families } => {
                let flags = u16::from(*restarting) << 15 | u16::from(*notification) << 14;
                out.extend_from_slice(&(flags | restart_time & 0x0fff).to_be_bytes());
                for RestartFamily { family, forwarding } in families {
                    out.extend_from_slice(&family.afi.to_be_bytes());
                    out.extend_from_slice(&[family.safi, u8::from(*forwarding) << 7]);
                }
            }
            Capability::FourOctetAs(number) => out.extend_from_slice(&number.to_be_bytes()),
            Capability::Unknown { value, .. } => out.extend_from_slice(value),
        }
        let length = u8::try_from(written(out, start).saturating_sub(1)).map_err(|_| EncodeError::TooLong)?;
        if let Some(slot) = out.get_mut(start) {
            *slot = length;
        }
        Ok(())
    }
}

/// For people: the name, and what it says where it says something.
impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "capability {}", self.code())?,
        }
        match self {
            Capability::MultiProtocol(family) => write!(f, " {family}"),
            Capability::ExtendedNextHop(entries) => entries.iter().try_for_each(|entry| {
                let safi = u8::try_from(entry.safi).unwrap_or(u8::MAX);
                write!(f, " {} over AFI {}", AfiSafi { afi: entry.afi, safi }, entry.next_hop_afi)
            }),
            Capability::GracefulRestart { restart_time, families, .. } => {
                write!(f, " {restart_time} s")?;
                families.iter().try_for_each(|entry| write!(f, " {}", entry.family))
            }
            Capability::FourOctetAs(number) => write!(f, " {number}"),
            Capability::RouteRefresh
            | Capability::ExtendedMessage
            | Capability::EnhancedRouteRefresh
            | Capability::Unknown { .. } => Ok(()),
        }
    }
}

/// Reads the value of one capabilities parameter.
fn decode_capabilities(parameter: &[u8], into: &mut Vec<Capability>) -> Result<(), WireError> {
    let mut reader = Reader::new(parameter);
    while let Some(code) = reader.u8() {
        let value =
            reader.block8().ok_or(WireError::MalformedOpen("a capability is longer than its parameter"))?;
        let known = decode_capability(code, value)
            .ok_or(WireError::MalformedOpen("a known capability has an impossible length"))?;
        into.push(known);
    }
    Ok(())
}

/// `None` if a known capability's length is impossible. Those that are mere flags may be longer than they need be: a
/// later RFC could give them a value.
fn decode_capability(code: u8, value: &[u8]) -> Option<Capability> {
    let mut reader = Reader::new(value);
    let capability = match code {
        1 => {
            let (afi, _reserved, safi) = (reader.u16()?, reader.u8()?, reader.u8()?);
            Capability::MultiProtocol(AfiSafi { afi, safi })
        }
        2 => {
            reader.rest();
            Capability::RouteRefresh
        }
        5 => {
            let mut entries = Vec::new();
            while !reader.is_empty() {
                let (afi, safi, next_hop_afi) = (reader.u16()?, reader.u16()?, reader.u16()?);
                entries.push(ExtendedNextHop { afi, safi, next_hop_afi });
            }
            Capability::ExtendedNextHop(entries)
        }
        6 => {
            reader.rest();
            Capability::ExtendedMessage
        }
        64 => {
            let head = reader.u16()?;
            let mut families = Vec::new();
            while !reader.is_empty() {
                let (afi, safi, flags) = (reader.u16()?, reader.u8()?, reader.u8()?);
                families.push(RestartFamily { family: AfiSafi { afi, safi }, forwarding: flags & 0x80 != 0 });
            }
            Capability::GracefulRestart {
                restarting: head & 0x8000 != 0,
                notification: head & 0x4000 != 0,
                restart_time: head & 0x0fff,
                families,
            }
        }
        65 => Capability::FourOctetAs(reader.u32()?),
        70 => {
            reader.rest();
            Capability::EnhancedRouteRefresh
        }
        _ => Capability::Unknown { code, value: reader.rest().to_vec() },
    };
    reader.is_empty().then_some(capability)
}
