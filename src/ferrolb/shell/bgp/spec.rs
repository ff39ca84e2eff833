//! What the wire thread is told, and what it tells.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::bgp::fsm::{self, Notifications, Reason, Role, State};
use ferrolb_core::bgp::rib_out::{Filled, Progress};
use ferrolb_core::bgp::wire::{MessageType, Open};
use ferrolb_core::config::{Peer, PeerTarget};
use ferrolb_core::types::{
    AddressRange, Asn, Family, FamilySet, GroupId, Password, RemoteAs, RouteAttributes, RouterId,
};
use ipnet::IpNet;

/// A session that is to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// The peer's name: which session it is.
    pub name: Arc<str>,
    /// The routes that the peer is to have.
    pub group: GroupId,
    /// Where the peer listens.
    pub remote: SocketAddr,
    /// The local address; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
    /// For TCP MD5.
    pub password: Option<Password>,
    /// Whether an eBGP peer may be more than one hop away.
    pub multihop: bool,
    /// The BGP identifier; `None`: chosen for each connection.
    pub router_id: Option<RouterId>,
    /// What the session machine needs.
    pub session: fsm::Config,
}

impl SessionSpec {
    /// The session with a configured peer.
    ///
    /// # Errors
    /// The field of BGPPeer for which the peer isn't dialled: it is found by `interface`, or it is in a `vrf`.
    pub fn of(peer: &Peer, group: GroupId) -> Result<SessionSpec, &'static str> {
        let PeerTarget::Address(address) = peer.target else { return Err("interface") };
        if peer.vrf.is_some() {
            return Err("vrf");
        }
        let families = peer.families();
        Ok(SessionSpec {
            name: peer.name.clone(),
            group,
            remote: SocketAddr::new(address, peer.port),
            source: peer.source_address,
            password: peer.password.clone(),
            multihop: peer.ebgp_multi_hop,
            router_id: peer.router_id,
            session: fsm::Config {
                role: Role::Dial,
                my_asn: peer.my_asn,
                shown_asn: peer.shown_asn(),
                remote_as: peer.remote_as,
                hold_time: peer.hold_time.unwrap_or(fsm::DEFAULT_HOLD_TIME),
                keepalive_time: peer.keepalive_time,
                connect_cap: peer.connect_time.unwrap_or(fsm::DEFAULT_CONNECT_CAP),
                families,
                extended_next_hop: address.is_ipv6() && families == FamilySet::BOTH,
            },
        })
    }

    /// The field of BGPPeer whose change means that `self` can't go on as `new` without a new session; `None`: it can.
    /// `standing` is the peer's AS while the session is Established.
    pub(super) fn reset_by(&self, new: &SessionSpec, standing: Option<Asn>) -> Option<&'static str> {
        let (old_session, new_session) = (&self.session, &new.session);
        let as_field = match new_session.remote_as {
            RemoteAs::Number(_) => "peerASN",
            RemoteAs::External | RemoteAs::Internal => "dynamicASN",
        };
        let other_as = old_session.remote_as != new_session.remote_as
            && !standing.is_some_and(|asn| is_allowed(asn, new_session));
        let changed = [
            ("peerAddress", self.remote.ip() != new.remote.ip()),
            ("peerPort", self.remote.port() != new.remote.port()),
            ("myASN", old_session.my_asn != new_session.my_asn),
            (as_field, other_as),
            ("localASN", old_session.shown_asn != new_session.shown_asn),
            ("sourceAddress", self.source != new.source),
            ("routerID", self.router_id != new.router_id),
            ("ebgpMultiHop", self.multihop != new.multihop),
            ("dualStackAddressFamily", old_session.families != new_session.families),
        ];
        changed.into_iter().find(|(_, changed)| *changed).map(|(field, _)| field)
    }

    /// The fields of BGPPeer in which `new` differs from `self`, with which a connection was made, and that apply from the
    /// next connection on.
    pub(super) fn pending(&self, new: &SessionSpec) -> Vec<&'static str> {
        let (old_session, new_session) = (&self.session, &new.session);
        let changed = [
            ("holdTime", old_session.hold_time != new_session.hold_time),
            ("keepaliveTime", old_session.keepalive_time != new_session.keepalive_time),
            ("connectTime", old_session.connect_cap != new_session.connect_cap),
            ("password", self.password != new.password),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(field, _)| field).collect()
    }

    /// The TTL of its packets: 1 to an eBGP peer that has to be on the link.
    pub(super) fn ttl(&self) -> u8 {
        let config = &self.session;
        let external = match config.remote_as {
            RemoteAs::External => true,
            RemoteAs::Internal => false,
            RemoteAs::Number(asn) => asn != config.my_asn,
        };
        if external && !self.multihop { 1 } else { 255 }
    }
}

fn is_allowed(asn: Asn, config: &fsm::Config) -> bool {
    match config.remote_as {
        RemoteAs::Number(wanted) => asn == wanted,
        RemoteAs::Internal => asn == config.my_asn,
        RemoteAs::External => asn != config.my_asn,
    }
}

/// A change to what is to be announced; applied as one, what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// All sessions that are to stand.
    pub sessions: Option<Vec<SessionSpec>>,
    /// The node's peers that aren't among `sessions`, with the field of BGPPeer for which they can't be ([`SessionSpec::of`]): a
    /// session that ends for it is said to.
    pub not_dialled: BTreeMap<Arc<str>, &'static str>,
    /// Changes to groups.
    pub groups: Vec<(GroupId, GroupChange)>,
    /// Where services have their addresses: never a router ID or next hop.
    pub service_ranges: Option<Vec<AddressRange>>,
    /// The node's IPv4 InternalIP, or that it has none: for router IDs, from the next connection on.
    pub internal_ipv4: Option<Option<Ipv4Addr>>,
    /// When the change was noticed that this follows from: how long it took until it was written is told
    /// ([`WireConfig::written`](super::WireConfig)).
    pub noticed: Option<Instant>,
}

/// A change to one group's routes.
#[derive(Clone, Debug)]
pub enum GroupChange {
    /// These are its routes, all of them.
    Replace(Vec<(IpNet, Arc<RouteAttributes>)>),
    /// Routes to set, or to remove.
    Changes(Vec<(IpNet, Option<Arc<RouteAttributes>>)>),
    /// There is no such group any more.
    Drop,
}

/// What happened on the wire thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session changed its state.
    SessionChanged {
        /// The peer's name.
        peer: Arc<str>,
        /// The state before.
        old: State,
        /// The state now.
        new: State,
        /// Why.
        reason: Reason,
    },
    /// A negotiated family's routes can't be sent for want of a next hop, or they can again.
    NoNextHop {
        /// The peer's name.
        peer: Arc<str>,
        /// Which family.
        family: Family,
        /// Whether there is a next hop again.
        cleared: bool,
    },
}

/// Where a session stands.
#[derive(Clone, Debug)]
pub struct SessionStatus {
    /// The peer's name.
    pub peer: Arc<str>,
    /// Where the peer listens.
    pub remote: SocketAddr,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Why it last fell back to Idle or Active.
    pub last_error: Option<Reason>,
    /// What both sides agreed on, while it stands.
    pub agreed: Option<Agreed>,
    /// Counts of this connection.
    pub counters: Counters,
    /// Fields of BGPPeer that were edited and apply from the next connection on.
    pub pending: Vec<&'static str>,
    /// Counts of all connections since the session was started, or restarted by an edit.
    pub totals: Totals,
    /// Octets of messages that are made and that its socket hasn't taken yet: a burst of UPDATEs and a message at most, however
    /// many routes wait.
    pub waiting: usize,
    /// How many prefixes the peer was sent and still has, and how many wait.
    pub progress: Progress,
    /// Negotiated families that aren't sent for want of a next hop.
    pub no_next_hop: FamilySet,
    /// What both offered, while it stands.
    pub opens: Option<Arc<Opens>>,
    /// The last NOTIFICATION in each direction, over all connections since the session was started.
    pub notifications: Notifications,
    /// What the peer was sent and still has; `None` where it wasn't asked for.
    pub routes: Option<Vec<(IpNet, Arc<RouteAttributes>)>>,
}

/// What one peer has of some prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The peer's name.
    pub peer: Arc<str>,
    /// For each prefix, in their order, whether the peer has been sent it and still has it.
    pub has: Vec<bool>,
    /// Whether the peer has all that it is to have, of these and all others.
    pub settled: bool,
}

/// The OPENs of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opens {
    /// Ours.
    pub ours: Open,
    /// The peer's.
    pub theirs: Open,
}

/// What both sides of a session agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Our address.
    pub local: SocketAddr,
    /// The peer's AS.
    pub remote_asn: Asn,
    /// The peer's BGP identifier.
    pub remote_id: RouterId,
    /// The families that routes are sent in.
    pub families: FamilySet,
    /// The hold time; `None`: no keepalives.
    pub hold_time: Option<Duration>,
    /// The time between two keepalives; `None`: none are sent.
    pub keepalive_time: Option<Duration>,
}

/// What a session has sent and received since it connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// UPDATEs written, End-of-RIBs included.
    pub updates_sent: u64,
    /// Prefixes announced.
    pub announced: u64,
    /// Prefixes withdrawn.
    pub withdrawn: u64,
    /// Prefixes that couldn't be sent since their attributes don't fit into a message.
    pub refused: u64,
    /// UPDATEs received, and dropped.
    pub updates_received: u64,
    /// What was in them, by verdict (RFC 7606).
    pub received: fsm::Received,
    /// The families whose End-of-RIB is written.
    pub end_of_rib: FamilySet,
}

/// What a session has sent and received over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How often it became Established.
    pub established: u64,
    /// Messages handed to the socket's buffer.
    pub sent: Messages,
    /// Messages received, wrong ones with a good header included.
    pub received: Messages,
    /// What became of the UPDATEs among them.
    pub verdicts: Verdicts,
}

/// Counts of UPDATEs received, by what RFC 7606 makes of them; their routes are dropped in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Without a fault.
    pub accepted: u64,
    /// In order but for attributes that don't count.
    pub attribute_discarded: u64,
    /// Whose routes would count as withdrawn.
    pub treated_as_withdraw: u64,
    /// That ended the session.
    pub reset: u64,
}

impl Verdicts {
    /// Of one connection.
    pub fn of(received: &fsm::Received) -> Verdicts {
        let fsm::Received { accepted, attribute_discarded, treated_as_withdraw, reset, .. } = *received;
        Verdicts { accepted, attribute_discarded, treated_as_withdraw, reset }
    }

    /// Adds what `after` has more than `before`, of the same connection.
    pub(super) fn add_growth(&mut self, before: Verdicts, after: Verdicts) {
        self.accepted += after.accepted.saturating_sub(before.accepted);
        self.attribute_discarded += after.attribute_discarded.saturating_sub(before.attribute_discarded);
        self.treated_as_withdraw += after.treated_as_withdraw.saturating_sub(before.treated_as_withdraw);
        self.reset += after.reset.saturating_sub(before.reset);
    }
}

/// Counts of messages by their type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// OPEN.
    pub opens: u64,
    /// UPDATE, End-of-RIB included.
    pub updates: u64,
    /// NOTIFICATION.
    pub notifications: u64,
    /// KEEPALIVE.
    pub keepalives: u64,
    /// ROUTE-REFRESH.
    pub route_refreshes: u64,
}

impl Messages {
    /// Of all types.
    pub fn total(&self) -> u64 {
        let Messages { opens, updates, notifications, keepalives, route_refreshes } = self;
        opens + updates + notifications + keepalives + route_refreshes
    }

    pub(super) fn count(&mut self, kind: MessageType) {
        match kind {
            MessageType::Open => self.opens += 1,
            MessageType::Update => self.updates += 1,
            MessageType::Notification => self.notifications += 1,
            MessageType::Keepalive => self.keepalives += 1,
            MessageType::RouteRefresh => self.route_refreshes += 1,
        }
    }

    pub(super) fn add(&mut self, other: &Messages) {
        let Messages { opens, updates, notifications, keepalives, route_refreshes } = other;
        self.opens += opens;
        self.updates += updates;
        self.notifications += notifications;
        self.keepalives += keepalives;
        self.route_refreshes += route_refreshes;
    }
}

impl Counters {
    pub(super) fn add(&mut self, filled: &Filled) {
        self.updates_sent += filled.updates as u64;
        self.announced += filled.announced as u64;
        self.withdrawn += filled.withdrawn as u64;
        self.refused += filled.refused as u64;
        for family in filled.end_of_rib.iter() {
            self.end_of_rib.insert(family);
        }
    }
}
