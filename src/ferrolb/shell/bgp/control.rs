//! What the sessions' tasks share, and the task that takes commands.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::bgp::fsm::{Notifications, Reason, State, Stop};
use ferrolb_core::bgp::local::{self, InterfaceAddress, LocalAddresses};
use ferrolb_core::bgp::rib_out::{RibOut, SessionId};
use ferrolb_core::bgp::wire;
use ferrolb_core::types::{AddressRange, Family, FamilySet, GroupId, NodeName};
use ipnet::IpNet;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::measure::Measured;
use super::session::Session;
use super::spec::{
    Agreed, Counters, Event, GroupChange, Holding, Opens, SessionSpec, SessionStatus, Totals, Update,
};
use super::{Command, SHUTDOWN, WireConfig, link};

/// How far two lines of the log about a thread that is late are apart, at least.
const STALLS_APART: Duration = Duration::from_secs(10);

/// What all tasks of the thread share.
pub(super) struct Shared {
    pub(super) node: NodeName,
    pub(super) state: RefCell<Shelf>,
    /// Where sockets are read to: one for all, since reading doesn't wait.
    pub(super) scratch: RefCell<Box<[u8]>>,
    addresses: watch::Receiver<Arc<[InterfaceAddress]>>,
    events: mpsc::Sender<Event>,
    /// Events that found no room.
    lost: Cell<u64>,
    written: Box<dyn Fn(Duration) + Send>,
    /// When it was last said that this thread was late.
    told_stalled: Cell<Option<Instant>>,
}

/// What changes of it.
pub(super) struct Shelf {
    pub(super) rib: RibOut,
    pub(super) sessions: BTreeMap<SessionId, Entry>,
    pub(super) service_ranges: Vec<AddressRange>,
    pub(super) internal_ipv4: Option<Ipv4Addr>,
    measured: Measured,
}

/// A session, as the control task sees it.
pub(super) struct Entry {
    pub(super) spec: Rc<SessionSpec>,
    /// It is to end.
    pub(super) stop: Option<Stop>,
    /// While it is Established.
    pub(super) agreement: Option<Agreement>,
    /// What we and what the peer offered, while it is Established.
    pub(super) opens: Option<Arc<Opens>>,
    pub(super) counters: Counters,
    notifications: Notifications,
    /// What the present connection was made with.
    pub(super) made_with: Option<Rc<SessionSpec>>,
    pub(super) totals: Totals,
    /// Octets of messages that the socket hasn't taken yet.
    pub(super) waiting: usize,
    bell: Rc<Notify>,
    state: State,
    since: Instant,
    last_error: Option<Reason>,
    no_next_hop: FamilySet,
}

/// What an Established session's next hops follow from, and what is shown of it.
#[derive(Clone, Copy)]
pub(super) struct Agreement {
    pub(super) session: wire::Session,
    pub(super) agreed: Agreed,
}

/// Takes commands until the shutdown, or until nobody can give any.
pub(super) async fn run(config: WireConfig, mut commands: mpsc::Receiver<Command>) {
    let mut addresses = config.addresses.clone();
    let mut control = Control::new(config);
    let text = loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Apply(update)) => control.apply(*update),
                Some(Command::Sessions { routes, answer }) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(control.status(routes));
                }
                Some(Command::Holdings { prefixes, answer }) => drop(answer.send(control.holdings(&prefixes))),
                Some(Command::Shutdown { text }) => break text,
                None => break String::new(),
            },
            Ok(()) = addresses.changed() => control.update_next_hops(),
            () = until(control.next_timeout()) => control.handle_timeout(),
        }
    };
    control.shut_down(text).await;
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

pub(super) struct Control {
    shared: Rc<Shared>,
    tasks: BTreeMap<SessionId, JoinHandle<()>>,
    last_id: u32,
}

impl Control {
    pub(super) fn new(config: WireConfig) -> Control {
        let shelf = Shelf {
            rib: RibOut::default(),
            sessions: BTreeMap::new(),
            service_ranges: Vec::new(),
            internal_ipv4: config.internal_ipv4,
            measured: Measured::default(),
        };
        let shared = Shared {
            node: config.node,
            state: RefCell::new(shelf),
            scratch: RefCell::new(vec![0; link::READ].into_boxed_slice()),
            addresses: config.addresses,
            events: config.events,
            lost: Cell::new(0),
            written: config.written,
            told_stalled: Cell::new(None),
        };
        Control { shared: Rc::new(shared), tasks: BTreeMap::new(), last_id: 0 }
    }

    /// Applies a change as one: no session sees a part of it.
    /// Makes a change, as one.
    pub(super) fn apply(&mut self, update: Update) {
        let Update { sessions, not_dialled, groups, service_ranges, internal_ipv4, noticed } = update;
        let new_ranges = service_ranges.is_some();
        let mut dropped = Vec::new();
        let touched: Vec<GroupId> = groups.iter().map(|(group, _)| *group).collect();
        let now = Instant::now();
        {
            let mut shelf = self.shared.state.borrow_mut();
            if let Some(ranges) = service_ranges {
                shelf.service_ranges = ranges;
            }
            if let Some(address) = internal_ipv4 {
                shelf.internal_ipv4 = address;
            }
            for (group, change) in groups {
                match change {
                    GroupChange::Replace(routes) => shelf.rib.replace(now, group, routes),
                    GroupChange::Changes(routes) => {
                        for (prefix, attributes) in routes {
                            shelf.rib.set(now, group, prefix, attributes.as_ref());
                        }
                    }
                    GroupChange::Drop => dropped.push(group),
                }
            }
        }
        if let Some(sessions) = sessions {
            self.set_sessions(sessions, &not_dialled);
        }
        // Last, so that a session that moves to another group sees only what differs.
        for group in dropped {
            self.shared.state.borrow_mut().rib.drop_group(now, group);
        }
        if new_ranges {
            self.update_next_hops();
        }
        let mut shelf = self.shared.state.borrow_mut();
        if let Some(noticed) = noticed {
            shelf.measure(noticed, &touched);
        }
        shelf.ring_where_work_is();
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.shared.state.borrow().rib.next_timeout()
    }

    /// Damped routes are due.
    fn handle_timeout(&self) {
        let mut shelf = self.shared.state.borrow_mut();
        shelf.rib.handle_timeout(Instant::now());
        shelf.ring_where_work_is();
    }

    /// Makes these the sessions: only those that differ are touched. `not_dialled` has the peers that an edit keeps from having
    /// one, with its field.
    fn set_sessions(&mut self, specs: Vec<SessionSpec>, not_dialled: &BTreeMap<Arc<str>, &'static str>) {
        self.tasks.retain(|_, task| !task.is_finished());
        let mut desired: BTreeMap<Arc<str>, SessionSpec> =
            specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        let mut starts = Vec::new();
        let mut ending: Vec<(SessionId, Rc<SessionSpec>)> = Vec::new();
        {
            let mut shelf = self.shared.state.borrow_mut();
            let Shelf { rib, sessions, .. } = &mut *shelf;
            for (id, entry) in sessions.iter_mut() {
                if entry.stop.is_some() {
                    ending.push((*id, entry.spec.clone()));
                    continue;
                }
                let Some(new) = desired.remove(&entry.spec.name) else {
                    if let Some(field) = not_dialled.get(&entry.spec.name) {
                        tracing::info!(event = "sessionEdited", peer = %entry.spec.name, field, "BGP session ends for an edit: such a peer isn't dialled");
                    }
                    entry.stop(Stop::Deconfigured);
                    ending.push((*id, entry.spec.clone()));
                    continue;
                };
                let standing = entry.agreement.map(|agreement| agreement.agreed.remote_asn);
                if let Some(field) = entry.spec.reset_by(&new, standing) {
                    tracing::info!(event = "sessionEdited", peer = %new.name, field, "BGP session restarts for an edit");
                    entry.stop(Stop::Reconfigured);
                    ending.push((*id, entry.spec.clone()));
                    starts.push(new);
                } else if *entry.spec != new {
                    rib.change_group(*id, new.group);
                    let before = entry.pending();
                    entry.spec = Rc::new(new);
                    entry.bell.notify_one();
                    let pending = entry.pending();
                    if pending != before && !pending.is_empty() {
                        let (peer, fields) = (&entry.spec.name, pending.join(","));
                        tracing::info!(event = "sessionEditPending", %peer, fields, "an edit applies at the next connect");
                    }
                }
            }
        }
        starts.extend(desired.into_values());
        for spec in starts {
            // A router would refuse a second session while the first one stands.
            let same = |old: &SessionSpec| old.name == spec.name || old.remote == spec.remote;
            let before = ending.iter().filter(|(_, old)| same(old));
            let before = before.filter_map(|(id, _)| self.tasks.remove(id)).collect();
            self.start(spec, before);
        }
    }

    /// Starts a session, once those that it stands in for have ended.
    fn start(&mut self, spec: SessionSpec, before: Vec<JoinHandle<()>>) {
        self.last_id = self.last_id.wrapping_add(1);
        let id = SessionId(self.last_id);
        let (spec, bell) = (Rc::new(spec), Rc::new(Notify::new()));
        let entry = Entry {
            spec: spec.clone(),
            stop: None,
            agreement: None,
            opens: None,
            counters: Counters::default(),
            notifications: Notifications::default(),
            made_with: None,
            totals: Totals::default(),
            waiting: 0,
            bell: bell.clone(),
            state: State::Idle,
            since: Instant::now(),
            last_error: None,
            no_next_hop: FamilySet::NONE,
        };
        self.shared.state.borrow_mut().sessions.insert(id, entry);
        let shared = self.shared.clone();
        let task = tokio::task::spawn_local(async move {
            for task in before {
                // However it ended.
                let _ = task.await;
            }
            Session::new(id, shared, bell, spec).run().await;
        });
        self.tasks.insert(id, task);
    }

    /// The node's addresses, or where services have theirs, have changed.
    fn update_next_hops(&self) {
        let ids: Vec<SessionId> = {
            let mut shelf = self.shared.state.borrow_mut();
            let established: Vec<(SessionId, Agreement)> =
                shelf.sessions.iter().filter_map(|(id, entry)| Some((*id, entry.agreement?))).collect();
            for (id, agreement) in &established {
                for family in Family::ALL {
                    let next_hop = self.shared.next_hop(&shelf, agreement, family);
                    shelf.rib.set_next_hop(*id, family, next_hop);
                }
            }
            shelf.ring_where_work_is();
            established.into_iter().map(|(id, _)| id).collect()
        };
        for id in ids {
            self.shared.tell_missing_next_hops(id);
        }
    }

    fn status(&self, routes: bool) -> Vec<SessionStatus> {
        let shelf = self.shared.state.borrow();
        let mut all: Vec<SessionStatus> = shelf
            .sessions
            .iter()
            .filter(|(_, entry)| entry.stop.is_none())
            .map(|(id, entry)| SessionStatus {
                peer: entry.spec.name.clone(),
                remote: entry.spec.remote,
                state: entry.state,
                since: entry.since,
                last_error: entry.last_error.clone(),
                agreed: entry.agreement.map(|agreement| agreement.agreed),
                counters: entry.counters,
                pending: entry.pending(),
                totals: entry.totals,
                waiting: entry.waiting,
                progress: shelf.rib.progress(*id),
                no_next_hop: entry.no_next_hop,
                opens: entry.opens.clone(),
                notifications: entry.notifications.clone(),
                routes: routes.then(|| shelf.rib.sent(*id).into_iter().collect()),
            })
            .collect();
        all.sort_by(|a, b| a.peer.cmp(&b.peer));
        all
    }

    fn holdings(&self, prefixes: &[IpNet]) -> Vec<Holding> {
        let shelf = self.shared.state.borrow();
        let sessions = shelf.sessions.iter().filter(|(_, entry)| entry.stop.is_none());
        sessions
            .map(|(id, entry)| Holding {
                peer: entry.spec.name.clone(),
                has: prefixes.iter().map(|prefix| shelf.rib.has(*id, prefix)).collect(),
                settled: shelf.rib.is_settled(*id),
            })
            .collect()
    }

    async fn shut_down(self, text: String) {
        for entry in self.shared.state.borrow_mut().sessions.values_mut() {
            entry.stop(Stop::Shutdown(text.clone()));
        }
        let ended = async {
            for task in self.tasks.into_values() {
                // However it ended.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(SHUTDOWN, ended).await.is_err() {
            tracing::warn!("a peer didn't take our last words in time");
        }
    }
}

impl Shared {
    /// The next hop of a session for a family; `None`: it isn't carried, or there is none.
    pub(super) fn next_hop(&self, shelf: &Shelf, agreement: &Agreement, family: Family) -> Option<IpAddr> {
        if !agreement.session.families.contains(family) {
            return None;
        }
        let interfaces = self.addresses.borrow();
        let addresses = LocalAddresses { interfaces: &interfaces, services: &shelf.service_ranges };
        local::next_hop(family, agreement.agreed.local.ip(), agreement.session.extended_next_hop, addresses)
    }

    /// Tells which families of an Established session have lost their next hop or got it back.
    pub(super) fn tell_missing_next_hops(&self, id: SessionId) {
        let (peer, before, now) = {
            let mut shelf = self.state.borrow_mut();
            let now = shelf.rib.without_next_hop(id);
            let Some(entry) = shelf.sessions.get_mut(&id) else { return };
            (entry.spec.name.clone(), std::mem::replace(&mut entry.no_next_hop, now), now)
        };
        for family in Family::ALL.into_iter().filter(|f| before.contains(*f) != now.contains(*f)) {
            let cleared = before.contains(family);
            self.tell(Event::NoNextHop { peer: peer.clone(), family, cleared });
        }
    }

    /// The socket of a session has taken all that there was.
    pub(super) fn tell_written(&self, id: SessionId) {
        let mut shelf = self.state.borrow_mut();
        if shelf.measured.is_empty() || shelf.rib.has_work(id) {
            return;
        }
        for noticed in shelf.measured.written(id) {
            (self.written)(noticed.elapsed());
        }
    }

    /// This thread was so late; all sessions notice it, and it is said once.
    pub(super) fn tell_stalled(&self, late: Duration) {
        if self.told_stalled.get().is_none_or(|told| told.elapsed() >= STALLS_APART) {
            self.told_stalled.set(Some(Instant::now()));
            let seconds = late.as_secs_f64();
            tracing::warn!(
                event = "stalled",
                seconds,
                "the thread of the BGP sessions didn't get to run for a while; no peer is blamed for it"
            );
        }
    }

    pub(super) fn tell(&self, event: Event) {
        match self.events.try_send(event) {
            Ok(()) => {
                let lost = self.lost.replace(0);
                if lost > 0 {
                    tracing::warn!(lost, "events of BGP sessions were dropped: their reader was too slow");
                }
            }
            Err(mpsc::error::TrySendError::Full(_)) => self.lost.set(self.lost.get().saturating_add(1)),
            // Nobody is interested.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }
}

impl Shelf {
    pub(super) fn is_stopped(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_none_or(|entry| entry.stop.is_some())
    }

    /// A session's task has ended.
    pub(super) fn forget(&mut self, id: SessionId) {
        self.sessions.remove(&id);
        self.detach(id);
    }

    /// A session isn't Established any more.
    pub(super) fn detach(&mut self, id: SessionId) {
        self.rib.detach(id);
        self.measured.ended(id);
    }

    /// The sessions in these groups that have something to send now have it for a change that was noticed then.
    fn measure(&mut self, noticed: Instant, groups: &[GroupId]) {
        let concerned = self.sessions.iter().filter(|(_, entry)| groups.contains(&entry.spec.group));
        let busy = concerned.map(|(id, _)| *id).filter(|id| self.rib.has_work(*id)).collect();
        self.measured.begin(noticed, busy);
    }

    fn ring_where_work_is(&self) {
        for (_, entry) in self.sessions.iter().filter(|(id, _)| self.rib.has_work(**id)) {
            entry.bell.notify_one();
        }
    }
}

impl Entry {
    fn stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
        self.bell.notify_one();
    }

    /// The fields that were edited since the present connection was made, and don't apply to it.
    fn pending(&self) -> Vec<&'static str> {
        self.made_with.as_ref().map_or_else(Vec::new, |made_with| made_with.pending(&self.spec))
    }

    /// The session has changed its state; `notifications` are those that its machine knows of.
    pub(super) fn enter(&mut self, new: State, reason: &Reason, notifications: &Notifications) {
        self.state = new;
        self.since = Instant::now();
        match new {
            State::Idle | State::Active => {
                self.notifications.clone_from(notifications);
                self.last_error = Some(reason.clone());
                self.agreement = None;
                self.waiting = 0;
                self.opens = None;
                self.made_with = None;
                self.no_next_hop = FamilySet::NONE;
            }
            State::OpenSent => self.counters = Counters::default(),
            State::Established => self.totals.established += 1,
            State::Connect | State::OpenConfirm => {}
        }
    }
}
