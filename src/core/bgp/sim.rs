//! Two sessions joined in simulated time: a speaker with an outgoing RIB, and a router that believes what it is sent.
//!
//! The network between them delays, cuts octets into pieces, stands still, swallows everything, breaks connections and
//! refuses them, all from a seed; an hour passes in milliseconds. A failing seed is named in the panic and
//! fails again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::fsm::{Config, Input, Machine, Output, Reason, Role, STALL, State};
use super::rib_out::{Facts, PerFamily, RibOut, SessionId};
use super::wire::{self, Message, RefreshSubtype, RouteRefresh, frame};
use crate::types::{Asn, Family, FamilySet, GroupId, RemoteAs, RouteAttributes, RouterId, StandardCommunity};

const GROUP: GroupId = GroupId(1);
const SESSION: SessionId = SessionId(1);
const HOLD: u16 = 9;
/// What may be under way in one direction, in octets: a slow reader's window.
const WINDOW: usize = 600;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Speaker = 0,
    Router = 1,
}

use Side::{Router, Speaker};

impl Side {
    fn other(self) -> Side {
        if self == Speaker { Router } else { Speaker }
    }
}

/// What arrives.
enum Arrival {
    Connected,
    Refused,
    Octets(Vec<u8>),
    Closed(Option<String>),
}

struct Node {
    machine: Machine,
    /// The connection that it takes part in.
    connection: Option<u32>,
    input: Vec<u8>,
    /// When it was last given a message that restarts the hold timer.
    heard: Instant,
    /// Octets on their way to it.
    under_way: usize,
    /// Nothing arrives before this.
    held_until: Instant,
    /// Its process doesn't run before this.
    still_until: Instant,
}

struct Sim {
    now: Instant,
    random: Random,
    nodes: [Node; 2],
    rib: RibOut,
    table: BTreeMap<IpNet, u32>,
    /// What the router will drop at the end of a refresh unless it comes again (RFC 7313).
    stale: BTreeMap<Family, BTreeSet<IpNet>>,
    /// Refreshes that the router saw end.
    refreshed: usize,
    wanted: BTreeMap<IpNet, u32>,
    /// By time and order of sending.
    network: BTreeMap<(Instant, u64), (u32, Side, Arrival)>,
    sent: u64,
    connections: u32,
    /// The connection that swallows everything.
    black_hole: Option<u32>,
    faults: bool,
    expired: usize,
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let now = Instant::now();
        let asn = |number| Asn::new(number).unwrap();
        let node = |role, own, other| Node {
            machine: Machine::new(
                Config {
                    role,
                    my_asn: asn(own),
                    shown_asn: asn(own),
                    remote_as: RemoteAs::Number(asn(other)),
                    hold_time: HOLD,
                    keepalive_time: None,
                    connect_cap: Duration::from_secs(10),
                    families: FamilySet::BOTH,
                    extended_next_hop: false,
                },
                seed,
            ),
            connection: None,
            input: Vec::new(),
            heard: now,
            under_way: 0,
            held_until: now,
            still_until: now,
        };
        let mut sim = Sim {
            now,
            random: Random(seed),
            nodes: [node(Role::Dial, 64512, 64513), node(Role::Accept, 64513, 64512)],
            rib: RibOut::default(),
            table: BTreeMap::new(),
            stale: BTreeMap::new(),
            refreshed: 0,
            wanted: BTreeMap::new(),
            network: BTreeMap::new(),
            sent: 0,
            connections: 0,
            black_hole: None,
            faults: true,
            expired: 0,
        };
        for side in [Router, Speaker] {
            sim.give(side, Input::Start);
        }
        sim
    }

    fn node(&mut self, side: Side) -> &mut Node {
        &mut self.nodes[side as usize]
    }

    /// Lets so much time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers =
                self.nodes.iter().filter_map(|node| Some(node.machine.next_timeout()?.max(node.still_until)));
            let timers = timers.chain(self.rib.next_timeout());
            let arrivals = self.network.keys().next().map(|(time, _)| *time);
            let Some(next) = timers.chain(arrivals).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            // Input that is there comes before timers.
            if arrivals.is_some_and(|time| time <= self.now) {
                let (at, (connection, to, arrival)) = self.network.pop_first().unwrap();
                self.arrive(at, connection, to, arrival);
            } else {
                for side in [Speaker, Router] {
                    self.judge_timers(side);
                }
                self.rib.handle_timeout(self.now);
            }
            self.write_routes();
            self.check_hold_timers();
        }
        self.now = end;
    }

    fn judge_timers(&mut self, side: Side) {
        let now = self.now;
        let node = self.node(side);
        if now < node.still_until {
            return;
        }
        if node.machine.next_timeout().is_some_and(|due| now.saturating_duration_since(due) >= STALL) {
            self.give(side, Input::Stalled);
        }
        self.node(side).machine.handle_timeout(now);
        self.perform(side);
    }

    fn arrive(&mut self, (time, number): (Instant, u64), connection: u32, to: Side, arrival: Arrival) {
        if let Arrival::Octets(octets) = &arrival {
            self.node(to).under_way -= octets.len();
        }
        if self.node(to).connection != Some(connection) || self.black_hole == Some(connection) {
            return;
        }
        let held = self.node(to).held_until;
        if held > time {
            if let Arrival::Octets(octets) = &arrival {
                self.node(to).under_way += octets.len();
            }
            // With its number, order within the direction stays: all are held alike.
            self.network.insert((held, number), (connection, to, arrival));
            return;
        }
        match arrival {
            Arrival::Connected => {
                let router_id = RouterId::new(Ipv4Addr::new(10, 0, 0, 1 + to as u8)).unwrap();
                self.give(to, Input::Connected { router_id });
            }
            Arrival::Refused => {
                self.node(to).connection = None;
                self.give(to, Input::ConnectFailed("refused".to_owned()));
            }
            Arrival::Octets(octets) => self.read(to, &octets),
            Arrival::Closed(error) => self.give(to, Input::Closed(error)),
        }
    }

    fn read(&mut self, to: Side, octets: &[u8]) {
        let now = self.now;
        self.node(to).input.extend_from_slice(octets);
        loop {
            let node = self.node(to);
            let session = node.machine.wire_session();
            let Some(frame) = frame(&node.input, &session).unwrap() else { return };
            let message = Message::decode(&frame, &session).unwrap();
            let total_len = frame.total_len;
            node.input.drain(..total_len);
            if matches!(message, Message::Keepalive | Message::Update(_)) {
                node.heard = now;
            }
            match (to, &message) {
                (Router, Message::Update(update)) => self.believe(update),
                (Router, Message::RouteRefresh(refresh)) => self.mark(*refresh),
                _ => {}
            }
            self.give(to, Input::Received(message));
        }
    }

    fn believe(&mut self, update: &wire::Update) {
        let v6 = update.mp_unreach.iter().flat_map(|unreach| &unreach.prefixes).copied();
        for prefix in update.withdrawn.iter().copied().map(IpNet::from).chain(v6) {
            assert!(self.table.remove(&prefix).is_some(), "{prefix} withdrawn, but never announced");
            self.still_there(&prefix);
        }
        let v6 = update.mp_reach.iter().flat_map(|reach| &reach.prefixes).copied();
        for prefix in update.nlri.iter().copied().map(IpNet::from).chain(v6) {
            self.table.insert(prefix, update.attributes.communities[0].0);
            self.still_there(&prefix);
        }
    }

    fn still_there(&mut self, prefix: &IpNet) {
        for stale in self.stale.values_mut() {
            stale.remove(prefix);
        }
    }

    /// The router's side of RFC 7313 section 4.2.
    fn mark(&mut self, refresh: RouteRefresh) {
        let family = refresh.family.family().unwrap();
        match refresh.subtype {
            RefreshSubtype::Begin => {
                let all = self.table.keys().filter(|prefix| Family::of(prefix.addr()) == family);
                let before = self.stale.insert(family, all.copied().collect());
                assert_eq!(before, None, "a refresh begins within another");
            }
            RefreshSubtype::End => {
                let stale = self.stale.remove(&family).expect("a refresh that began");
                assert_eq!(stale, BTreeSet::new(), "routes that weren't sent again");
                self.refreshed += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    fn give(&mut self, side: Side, input: Input) {
        let now = self.now;
        self.node(side).machine.handle(now, input);
        self.perform(side);
    }

    fn perform(&mut self, side: Side) {
        while let Some(output) = self.node(side).machine.poll_output() {
            match output {
                Output::Connect => self.connect(),
                Output::Send(message) => {
                    let mut out = Vec::new();
                    match &message {
                        Message::Open(open) => open.encode(&mut out).unwrap(),
                        Message::Keepalive => wire::keepalive(&mut out),
                        Message::Notification(notification) => notification.encode(&mut out),
                        Message::RouteRefresh(refresh) => refresh.encode(&mut out),
                        Message::Update(_) => panic!("routes come from the RIB"),
                    }
                    self.transmit(side, out);
                }
                Output::Close => {
                    if let Some(connection) = self.node(side).connection.take() {
                        self.send(connection, side.other(), Arrival::Closed(None));
                    }
                    self.node(side).input.clear();
                }
                Output::Changed(change) => {
                    self.expired += usize::from(change.reason == Reason::HoldTimerExpired);
                    self.changed(side, change.old, change.new);
                }
                Output::Refresh(family) => self.rib.refresh(SESSION, family),
            }
        }
    }

    fn connect(&mut self) {
        self.connections += 1;
        let connection = self.connections;
        self.node(Speaker).connection = Some(connection);
        let listens = self.node(Router).machine.state() == State::Active;
        if !listens || self.faults && self.random.one_in(4) {
            // Some are refused, others never answered.
            if !listens || self.random.one_in(2) {
                self.send(connection, Speaker, Arrival::Refused);
            }
            return;
        }
        let now = self.now;
        for side in [Speaker, Router] {
            let node = self.node(side);
            node.connection = Some(connection);
            node.held_until = now;
            self.send(connection, side, Arrival::Connected);
        }
    }

    fn changed(&mut self, side: Side, old: State, new: State) {
        let now = self.now;
        let node = self.node(side);
        if new == State::Established {
            node.heard = now;
        }
        if side == Router && old == State::Established {
            self.table.clear();
            self.stale.clear();
        }
        if side == Speaker && old == State::Established {
            self.rib.detach(SESSION);
        }
        if side == Speaker && new == State::Established {
            let session = self.node(Speaker).machine.wire_session();
            let next_hops = PerFamily { v4: "10.0.0.1".parse().ok(), v6: "2001:db8::1".parse().ok() };
            let shown_asn = Asn::new(64512).unwrap();
            self.rib.attach(SESSION, GROUP, Facts { session, shown_asn, internal: false, next_hops });
        }
    }

    /// What the window has room for.
    fn write_routes(&mut self) {
        let room = WINDOW.saturating_sub(self.node(Router).under_way);
        let runs = self.now >= self.nodes[0].still_until;
        if self.node(Speaker).machine.state() == State::Established && room > 0 && runs {
            let mut out = Vec::new();
            self.rib.fill(self.now, SESSION, &mut out, room);
            self.transmit(Speaker, out);
            if self.nodes[0].machine.awaits_routes_sent() && !self.rib.has_work(SESSION) {
                self.give(Speaker, Input::RoutesSent);
            }
        }
    }

    /// Sends octets in pieces.
    fn transmit(&mut self, from: Side, octets: Vec<u8>) {
        let Some(connection) = self.node(from).connection else { return };
        let to = from.other();
        let mut rest = octets.as_slice();
        while !rest.is_empty() {
            let length = (1 + self.random.below(100) as usize).min(rest.len());
            let (piece, behind) = rest.split_at(length);
            rest = behind;
            self.node(to).under_way += length;
            self.send(connection, to, Arrival::Octets(piece.to_vec()));
        }
    }

    /// Things for one side arrive in the order in which they were sent.
    fn send(&mut self, connection: u32, to: Side, arrival: Arrival) {
        let soonest = self.now + self.random.millis(20);
        let last = self.network.iter().rev().find(|(_, (c, side, _))| *c == connection && *side == to);
        let time = last.map_or(soonest, |((time, _), _)| soonest.max(*time));
        self.sent += 1;
        self.network.insert((time, self.sent), (connection, to, arrival));
    }

    /// RFC 4271 6.5: nobody who runs stays Established beyond the hold time without hearing anything; a keepalive's time more
    /// where he stood still.
    fn check_hold_timers(&self) {
        let hold = Duration::from_secs(u64::from(HOLD));
        for node in self.nodes.iter().filter(|node| node.machine.state() == State::Established) {
            let end = (node.heard + hold).max(node.still_until + hold / 3);
            assert!(self.now <= end, "the hold timer is late");
        }
    }

    /// The process of one side stands still for so long, and what is sent to it takes a while longer.
    fn stand_still(&mut self, side: Side, time: Duration, longer: Duration) {
        let now = self.now;
        let node = self.node(side);
        node.still_until = now + time;
        node.held_until = node.held_until.max(now + time + longer);
    }

    fn fault(&mut self) {
        let Some(connection) = self.node(Speaker).connection else { return };
        match self.random.below(5) {
            0 => {
                for side in [Speaker, Router] {
                    self.network.retain(|_, (_, to, _)| *to != side);
                    self.node(side).under_way = 0;
                    self.send(connection, side, Arrival::Closed(Some("reset".to_owned())));
                }
            }
            1 => self.black_hole = Some(connection),
            2 => {
                let family = if self.random.one_in(2) { Family::V4 } else { Family::V6 };
                if self.node(Router).machine.state() == State::Established {
                    let mut out = Vec::new();
                    RouteRefresh::request(family).encode(&mut out);
                    self.transmit(Router, out);
                }
            }
            _ => {
                let side = if self.random.one_in(2) { Speaker } else { Router };
                let until = self.now + self.random.millis(15_000);
                // Never earlier than before: what is held already would be overtaken.
                let node = self.node(side);
                node.held_until = node.held_until.max(until);
            }
        }
    }

    fn edit(&mut self) {
        let number = self.random.below(60) as u32;
        let prefix = if self.random.one_in(2) {
            IpNet::from(std::net::IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)))
        } else {
            IpNet::from(std::net::IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number as u16]))
        };
        if self.random.one_in(3) {
            self.wanted.remove(&prefix);
            self.rib.set(self.now, GROUP, prefix, None);
        } else {
            let community = self.random.below(4) as u32;
            let communities = [StandardCommunity(community)].into();
            let attributes = Arc::new(RouteAttributes { communities, ..RouteAttributes::default() });
            self.wanted.insert(prefix, community);
            self.rib.set(self.now, GROUP, prefix, Some(&attributes));
        }
        self.write_routes();
    }
}

#[test]
fn whatever_the_network_does_the_peer_ends_with_what_is_wanted() {
    let (mut expired, mut refreshed) = (0, 0);
    for seed in 0..60 {
        let result = std::panic::catch_unwind(|| {
            let mut sim = Sim::new(seed);
            for _ in 0..150 {
                for _ in 0..sim.random.below(20) {
                    sim.edit();
                }
                if sim.random.one_in(4) {
                    sim.fault();
                }
                let pause = sim.random.millis(4_000);
                sim.run(pause);
            }
            sim.faults = false;
            // An OPEN that was swallowed is waited for for four minutes.
            sim.run(Duration::from_secs(600));
            assert_eq!(sim.nodes.each_ref().map(|node| node.machine.state()), [State::Established; 2]);
            assert_eq!(sim.table, sim.wanted);
            assert!(!sim.rib.has_work(SESSION));
            let sent: Vec<IpNet> = sim.rib.sent(SESSION).into_keys().collect();
            assert!(sent.iter().eq(sim.wanted.keys()));
            (sim.expired, sim.refreshed)
        });
        match result {
            Ok(counts) => {
                expired += counts.0;
                refreshed += counts.1;
            }
            Err(panic) => {
                eprintln!("seed {seed} fails");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(expired > 40, "the network is too kind: {expired} hold timers expired");
    assert!(refreshed > 40, "{refreshed} refreshes");
}

/// For less than the other side's patience, but with what was sent to it too late for its own.
#[test]
fn a_process_that_stands_still_ends_no_session() {
    for seed in 0..5 {
        let mut sim = Sim::new(seed);
        sim.faults = false;
        sim.run(Duration::from_secs(30));
        let connections = sim.connections;
        for _ in 0..100 {
            sim.edit();
            let longer = sim.random.millis(2_000);
            let side = if sim.random.one_in(2) { Speaker } else { Router };
            sim.stand_still(side, Duration::from_secs(5), longer);
            let pause = Duration::from_secs(12) + sim.random.millis(6_000);
            sim.run(pause);
        }
        assert_eq!((sim.connections, sim.expired), (connections, 0), "seed {seed}");
        assert_eq!(sim.table, sim.wanted);
    }
}
