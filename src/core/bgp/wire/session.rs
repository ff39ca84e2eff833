use super::{Capability, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Open};
use crate::types::{Family, FamilySet};

/// An address family as BGP names it (RFC 4760): any that a peer may send, known here or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AfiSafi {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
}

impl AfiSafi {
    /// IPv4 unicast.
    pub const IPV4_UNICAST: AfiSafi = AfiSafi { afi: 1, safi: 1 };
    /// IPv6 unicast.
    pub const IPV6_UNICAST: AfiSafi = AfiSafi { afi: 2, safi: 1 };

    /// Unicast of this family.
    pub const fn unicast(family: Family) -> AfiSafi {
        match family {
            Family::V4 => AfiSafi::IPV4_UNICAST,
            Family::V6 => AfiSafi::IPV6_UNICAST,
        }
    }

    /// The family whose unicast it is, if it is one.
    pub fn family(self) -> Option<Family> {
        Family::ALL.into_iter().find(|family| AfiSafi::unicast(*family) == self)
    }
}

impl std::fmt::Display for AfiSafi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            AfiSafi::IPV4_UNICAST => f.write_str("IPv4 unicast"),
            AfiSafi::IPV6_UNICAST => f.write_str("IPv6 unicast"),
            AfiSafi { afi, safi } => write!(f, "AFI {afi} SAFI {safi}"),
        }
    }
}

/// What both OPENs settled, and decoding and encoding need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// AS numbers in AS_PATH and AGGREGATOR take 4 octets rather than 2 (RFC 6793).
    pub four_octet_as: bool,
    /// The families that routes may be exchanged in.
    pub families: FamilySet,
    /// IPv4 routes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// The longest message that we may send, in octets: 4096, or 65535 with RFC 8654.
    pub max_send: usize,
    /// The longest message that the peer may send, in octets: 4096, or 65535 with RFC 8654.
    pub max_receive: usize,
}

impl Session {
    /// What holds before the OPENs have been exchanged.
    pub const BEFORE_OPEN: Session = Session {
        four_octet_as: false,
        families: FamilySet::NONE,
        extended_next_hop: false,
        max_send: MAX_MESSAGE,
        max_receive: MAX_MESSAGE,
    };

    /// What holds once both OPENs are known: that which both offer.
    ///
    /// A side that offers no family at all means IPv4 unicast (RFC 4760 section 8: multiprotocol isn't in use).
    pub fn negotiate(ours: &Open, theirs: &Open) -> Session {
        let both = |wanted: fn(&Capability) -> bool| {
            ours.capabilities.iter().any(wanted) && theirs.capabilities.iter().any(wanted)
        };
        let (our_families, their_families) = (ours.families(), theirs.families());
        let families = Family::ALL
            .into_iter()
            .filter(|family| our_families.contains(*family) && their_families.contains(*family))
            .collect();
        let extended_message = both(|c| matches!(c, Capability::ExtendedMessage));
        let max = if extended_message { MAX_EXTENDED_MESSAGE } else { MAX_MESSAGE };
        // RFC 8654 section 4: who has offered it has to take long messages, whatever the other side offers.
        let takes_long = ours.capabilities.contains(&Capability::ExtendedMessage);
        Session {
            four_octet_as: both(|c| matches!(c, Capability::FourOctetAs(_))),
            families,
            extended_next_hop: both(Capability::offers_ipv4_over_ipv6),
            max_send: max,
            max_receive: if takes_long { MAX_EXTENDED_MESSAGE } else { MAX_MESSAGE },
        }
    }
}
