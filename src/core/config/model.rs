//! The compiled configuration: types that cannot be wrong. Lists are sorted by name; ages decide conflicts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::types::{
    AddressRange, Age, AnyOf, Asn, Family, FamilySet, Issue, Labels, Password, RemoteAs, RouteAttributes,
    RouterId, Selector,
};

/// A configuration without errors in it: what was rejected is in `errors` and nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Pools, by name: accepted, frozen, and those invalid ones that services may still hold addresses from.
    pub pools: Vec<Pool>,
    /// Accepted peers, by name.
    pub peers: Vec<Peer>,
    /// Accepted BGP advertisements, by name.
    pub bgp_advertisements: Vec<BgpAdvertisement>,
    /// Accepted layer-2 advertisements, by name.
    pub l2_advertisements: Vec<L2Advertisement>,
    /// Whether there is any BGPAdvertisement object at all, valid or not.
    pub has_bgp_advertisements: bool,
    /// Whether there is any L2Advertisement object at all, valid or not.
    pub has_l2_advertisements: bool,
    /// Every error found, sorted.
    pub errors: Vec<Issue>,
    /// Every warning found, sorted.
    pub warnings: Vec<Issue>,
}

impl Config {
    /// A pool by name.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        let found = self.pools.binary_search_by(|p| (*p.name).cmp(name)).ok()?;
        self.pools.get(found)
    }

    /// A peer by name.
    pub fn peer(&self, name: &str) -> Option<&Peer> {
        let found = self.peers.binary_search_by(|p| (*p.name).cmp(name)).ok()?;
        self.peers.get(found)
    }
}

/// What a pool may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolState {
    /// Gives addresses.
    Accepted,
    /// Rejected only for overlapping an older pool: gives nothing new; what is held from it stays and is announced.
    Frozen,
    /// Rejected otherwise: what is held from it stays but isn't announced.
    Invalid,
}

/// A pool of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// Its age.
    pub created: Age,
    /// Its labels, for `ipAddressPoolSelectors`.
    pub labels: Labels,
    /// What it may do.
    pub state: PoolState,
    /// One range for each entry of `addresses` that could be read, in their order.
    pub ranges: Vec<AddressRange>,
    /// Whether services that ask for nothing get addresses from it.
    pub auto_assign: bool,
    /// Whether IPv4 addresses that end in .0 or .255 are left out.
    pub avoid_buggy_ips: bool,
    /// Which services it is kept for; `None`: for all.
    pub allocation: Option<PoolAllocation>,
}

/// Which services a pool is kept for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolAllocation {
    /// 1 and up: lower is earlier; 0: last.
    pub priority: u64,
    /// The namespaces it is for, named or selected; `None`: all of them.
    pub namespaces: Option<BTreeSet<Arc<str>>>,
    /// Whether namespaces are asked for, and none is: it gives nothing new, but what is held from it stays where
    /// `services` match.
    pub for_nobody: bool,
    /// The services it is for.
    pub services: AnyOf,
}

impl Pool {
    /// Whether one of its entries contains `address`, whatever `avoid_buggy_ips` says.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|r| r.contains(address))
    }

    /// Whether it may give `address`: contained, and not one of the buggy ones that it avoids.
    pub fn may_give(&self, address: IpAddr) -> bool {
        self.contains(address) && !(self.avoid_buggy_ips && is_buggy(address))
    }

    /// The families of its addresses.
    pub fn families(&self) -> FamilySet {
        self.ranges.iter().map(AddressRange::family).collect()
    }
}

/// Whether an IPv4 address ends in .0 or .255.
pub fn is_buggy(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerTarget {
    /// At this address; IPv4-mapped IPv6 addresses are IPv4.
    Address(IpAddr),
    /// Whoever is on this interface (unnumbered).
    Interface(Arc<str>),
}

/// A router to peer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: Arc<str>,
    /// Its age.
    pub created: Age,
    /// Where it is.
    pub target: PeerTarget,
    /// Its TCP port.
    pub port: u16,
    /// `myASN`.
    pub my_asn: Asn,
    /// `localASN`.
    pub local_asn: Option<Asn>,
    /// Which AS it must have.
    pub remote_as: RemoteAs,
    /// The local address of the session.
    pub source_address: Option<IpAddr>,
    /// `None` where unset: the session's default (180 s) applies. Whole seconds, 0 or 3 to 65535.
    pub hold_time: Option<u16>,
    /// In milliseconds, at most the hold time; `None` where unset: a third of the hold time.
    pub keepalive_time: Option<Duration>,
    /// 1 to 65535 s; `None` where unset.
    pub connect_time: Option<Duration>,
    /// The BGP identifier; `None` where the session chooses one. May be an IPv6 literal in the manifest: then unset here.
    pub router_id: Option<RouterId>,
    /// The nodes that peer.
    pub nodes: AnyOf,
    /// The TCP MD5 password.
    pub password: Option<Password>,
    /// The BFDProfile's name.
    pub bfd_profile: Option<Arc<str>>,
    /// Whether to offer graceful restart.
    pub graceful_restart: bool,
    /// Whether an eBGP peer may be more than one hop away.
    pub ebgp_multi_hop: bool,
    /// The VRF.
    pub vrf: Option<Arc<str>>,
    /// Whether the session carries both families.
    pub dual_stack_address_family: bool,
}

impl Peer {
    /// Whether it is in our own AS: `peerASN` equals `myASN`, or `dynamicASN` is `internal`.
    pub fn is_ibgp(&self) -> bool {
        match self.remote_as {
            RemoteAs::Internal => true,
            RemoteAs::External => false,
            RemoteAs::Number(asn) => asn == self.my_asn,
        }
    }

    /// The families that the session carries: its own only, unless unnumbered or `dualStackAddressFamily`.
    pub fn families(&self) -> FamilySet {
        match self.target {
            PeerTarget::Address(address) if !self.dual_stack_address_family => {
                FamilySet::only(Family::of(address))
            }
            _ => FamilySet::BOTH,
        }
    }

    /// The AS that the path shows: `localASN`, else `myASN`.
    pub fn shown_asn(&self) -> Asn {
        self.local_asn.unwrap_or(self.my_asn)
    }
}

/// The pools that an advertisement covers, resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolSet(pub BTreeSet<Arc<str>>);

/// How addresses of some pools are announced over BGP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpAdvertisement {
    /// Its name.
    pub name: Arc<str>,
    /// Its age.
    pub created: Age,
    /// 1 to 32.
    pub aggregation_length: u8,
    /// 0 to 128.
    pub aggregation_length_v6: u8,
    /// What is announced with the routes.
    pub attributes: RouteAttributes,
    /// The names of the pools that it covers (accepted, frozen or invalid alike).
    pub pools: PoolSet,
    /// The nodes that announce.
    pub nodes: AnyOf,
    /// The names of the peers to announce to, existing or not; empty: all.
    pub peers: BTreeSet<Arc<str>>,
    /// The services that are announced.
    pub services: AnyOf,
}

impl BgpAdvertisement {
    /// Whether it is for the peer of this name.
    pub fn selects_peer(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }

    /// Whether both can make one prefix of a pool with these families for one peer: neither their aggregation lengths nor
    /// their peers keep them apart. For a pool of both families, both lengths have to differ (as in MetalLB).
    pub fn may_meet(&self, other: &BgpAdvertisement, families: FamilySet) -> bool {
        let same_v4 = self.aggregation_length == other.aggregation_length;
        let same_v6 = self.aggregation_length_v6 == other.aggregation_length_v6;
        let lengths_meet = (families.v4 && same_v4) || (families.v6 && same_v6);
        let peers_meet =
            self.peers.is_empty() || other.peers.is_empty() || !self.peers.is_disjoint(&other.peers);
        lengths_meet && peers_meet
    }

    /// The prefix that it announces for an address: host bits are zero.
    pub fn prefix(&self, address: IpAddr) -> IpNet {
        let length = match address {
            IpAddr::V4(_) => self.aggregation_length,
            IpAddr::V6(_) => self.aggregation_length_v6,
        };
        IpNet::new(address, length).unwrap_or_else(|_| IpNet::from(address)).trunc()
    }
}

/// Which addresses are answered for with ARP and NDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2Advertisement {
    /// Its name.
    pub name: Arc<str>,
    /// Its age.
    pub created: Age,
    /// The names of the pools that it covers.
    pub pools: PoolSet,
    /// The nodes that may answer.
    pub nodes: AnyOf,
    /// The interfaces that answer; empty: all.
    pub interfaces: BTreeSet<Arc<str>>,
    /// The services that are announced.
    pub services: AnyOf,
    /// Which nodes are preferred, by weight (1 to 100).
    pub preferred_nodes: Vec<(u32, Selector)>,
}
