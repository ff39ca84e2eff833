//! From what is announced to anybody to what one session writes.

use std::net::IpAddr;

use crate::bgp::wire::{AttributeBlock, EncodeError, NextHop, PathAttributes, Session};
use crate::types::{Asn, Family, LargeCommunity, RouteAttributes, StandardCommunity};

/// LOCAL_PREF to iBGP where none is asked for.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// A value for each address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerFamily<T> {
    /// IPv4's.
    pub v4: T,
    /// IPv6's.
    pub v6: T,
}

impl<T> PerFamily<T> {
    /// The value for a family.
    pub fn get(&self, family: Family) -> &T {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The value for a family.
    pub fn get_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// What the outgoing RIB has to know of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What both OPENs settled.
    pub session: Session,
    /// The AS that AS_PATH shows.
    pub shown_asn: Asn,
    /// Whether the peer is in that AS.
    pub internal: bool,
    /// The next hops; a family without one isn't sent.
    pub next_hops: PerFamily<Option<IpAddr>>,
}

impl Facts {
    /// Whether routes of this family can be sent.
    pub(super) fn carries(&self, family: Family) -> bool {
        self.session.families.contains(family) && self.next_hops.get(family).is_some()
    }

    /// Encodes a set of attributes for this session.
    ///
    /// eBGP: our AS and as many copies as asked for, no LOCAL_PREF. iBGP: an empty path, LOCAL_PREF always. MED is 0.
    ///
    /// # Errors
    /// They leave no room for a prefix, or there is no suitable next hop.
    pub(super) fn encode(
        &self,
        family: Family,
        attributes: &RouteAttributes,
    ) -> Result<AttributeBlock, EncodeError> {
        let next_hop = match self.next_hops.get(family).ok_or(EncodeError::NextHopFamily)? {
            IpAddr::V4(address) => NextHop::V4(address),
            IpAddr::V6(global) => NextHop::V6 { global, link_local: None },
        };
        let copies =
            if self.internal { 0 } else { usize::from(attributes.as_path_prepend).saturating_add(1) };
        let local_pref = attributes.local_pref.filter(|preference| *preference != 0);
        let communities: Vec<StandardCommunity> = attributes.communities.iter().copied().collect();
        let large_communities: Vec<LargeCommunity> = attributes.large_communities.iter().copied().collect();
        let path = PathAttributes {
            as_path: &vec![self.shown_asn; copies],
            med: Some(0),
            local_pref: self.internal.then(|| local_pref.unwrap_or(DEFAULT_LOCAL_PREF)),
            communities: &communities,
            large_communities: &large_communities,
        };
        AttributeBlock::new(&self.session, family, next_hop, &path)
    }
}
