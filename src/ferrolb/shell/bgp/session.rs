//! One session's task: joins its machine, its socket and the outgoing RIB.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::bgp::fsm::{Input, Machine, Output, STALL, State, Transition};
use ferrolb_core::bgp::local;
use ferrolb_core::bgp::refusal::Refusals;
use ferrolb_core::bgp::rib_out::{Facts, PerFamily, SessionId};
use ferrolb_core::bgp::wire::{self, Message};
use ferrolb_core::types::{Family, RouterId};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::shell::net::{Dial, dial};

use super::control::{Agreement, Shared};
use super::link::{self, Link, Rest};
use super::spec::{Agreed, Counters, Event, Opens, SessionSpec, Totals, Verdicts};

/// How many octets of UPDATEs are made at a time: enough to fill a socket's buffer, little enough for the others' turn.
pub(super) const BURST: usize = 64 << 10;

type Dialling = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// A session's task. It ends when the session's entry in `Shared` says stop, and takes the entry away.
pub(super) struct Session {
    id: SessionId,
    shared: Rc<Shared>,
    /// Rung when the entry or the routes have changed.
    bell: Rc<Notify>,
    spec: Rc<SessionSpec>,
    machine: Machine,
    refusals: Refusals,
    dialling: Option<Dialling>,
    link: Option<Link>,
    /// A connection whose last words are still to be written.
    leaving: Option<Link>,
    /// Octets that the socket hasn't taken yet, as last told.
    waiting: usize,
}

/// What woke the task.
enum Woken {
    Bell,
    Dialled(io::Result<TcpStream>),
    Ready { writable: bool },
    Timer,
    Turn,
}

impl Session {
    pub(super) fn new(id: SessionId, shared: Rc<Shared>, bell: Rc<Notify>, spec: Rc<SessionSpec>) -> Session {
        let machine = Machine::new(spec.session.clone(), rand::random());
        let refusals = Refusals::default();
        Session {
            id,
            shared,
            bell,
            spec,
            machine,
            refusals,
            dialling: None,
            link: None,
            leaving: None,
            waiting: 0,
        }
    }

    pub(super) async fn run(mut self) {
        if !self.shared.state.borrow().is_stopped(self.id) {
            self.machine.handle(Instant::now(), Input::Start);
        }
        loop {
            self.perform();
            if let Some(link) = self.leaving.take() {
                self.part_from(link).await;
            }
            if self.shared.state.borrow().is_stopped(self.id) && self.machine.state() == State::Idle {
                break;
            }
            if let Err(error) = self.write() {
                // The peer may have said why.
                self.read(link::DRAIN);
                self.machine.handle(Instant::now(), Input::Closed(Some(error.to_string())));
                continue;
            }
            if self.tell_routes_sent() {
                continue;
            }
            let due = self.machine.next_timeout();
            match self.wait(due).await {
                Woken::Bell => self.take_orders(),
                Woken::Dialled(result) => self.dialled(result),
                Woken::Ready { writable } => {
                    if let Some(link) = self.link.as_mut().filter(|_| writable) {
                        link.unblock();
                    }
                    if self.read(link::TURN) {
                        // A peer that sends as fast as it can doesn't get the thread for itself.
                        tokio::task::yield_now().await;
                    }
                }
                Woken::Timer => {
                    let late = due.map_or(Duration::ZERO, |due| due.elapsed());
                    // What the peer has said in time counts, even if we were too slow to hear it.
                    self.read(link::DRAIN);
                    if late >= STALL {
                        self.shared.tell_stalled(late);
                        self.machine.handle(Instant::now(), Input::Stalled);
                    }
                    self.machine.handle_timeout(Instant::now());
                }
                Woken::Turn => {}
            }
        }
        self.shared.state.borrow_mut().forget(self.id);
    }

    async fn wait(&mut self, due: Option<Instant>) -> Woken {
        let timer = async {
            match due {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        let ready = async {
            match &self.link {
                Some(link) => link.ready().await,
                None => std::future::pending().await,
            }
        };
        let dialled = async {
            match &mut self.dialling {
                Some(dialling) => dialling.await,
                None => std::future::pending().await,
            }
        };
        let more = self.link.as_ref().is_some_and(|link| !link.is_blocked())
            && self.shared.state.borrow().rib.has_work(self.id);
        tokio::select! {
            () = self.bell.notified() => Woken::Bell,
            result = dialled => Woken::Dialled(result),
            writable = ready => Woken::Ready { writable },
            () = timer => Woken::Timer,
            () = tokio::task::yield_now(), if more => Woken::Turn,
        }
    }

    /// Takes over what the control task has written into the entry.
    fn take_orders(&mut self) {
        let (stop, spec) = {
            let mut state = self.shared.state.borrow_mut();
            let Some(entry) = state.sessions.get_mut(&self.id) else { return };
            (entry.stop.clone(), entry.spec.clone())
        };
        if let Some(stop) = stop {
            self.machine.handle(Instant::now(), Input::Stop(stop));
        } else if !Rc::ptr_eq(&self.spec, &spec) {
            let timers = &spec.session;
            self.machine.set_timers(timers.hold_time, timers.keepalive_time, timers.connect_cap);
            self.machine.set_remote_as(timers.remote_as);
            self.spec = spec;
        }
    }

    fn dialled(&mut self, result: io::Result<TcpStream>) {
        self.dialling = None;
        let input = match result.and_then(Link::new) {
            Ok(link) => {
                let router_id = self.router_id(link.local.ip());
                self.connected();
                self.link = Some(link);
                Input::Connected { router_id }
            }
            Err(error) => Input::ConnectFailed(error.to_string()),
        };
        self.machine.handle(Instant::now(), input);
    }

    /// The OPEN comes from what is configured now, the password from when the attempt began.
    fn connected(&self) {
        let mut state = self.shared.state.borrow_mut();
        let Some(entry) = state.sessions.get_mut(&self.id) else { return };
        if let Some(dialled_with) = entry.made_with.take() {
            let password = dialled_with.password.clone();
            entry.made_with = Some(Rc::new(SessionSpec { password, ..SessionSpec::clone(&self.spec) }));
        }
    }

    fn router_id(&self, session_local: IpAddr) -> RouterId {
        let state = self.shared.state.borrow();
        self.spec.router_id.unwrap_or_else(|| {
            local::router_id(
                state.internal_ipv4,
                session_local,
                self.shared.node.as_str(),
                &state.service_ranges,
            )
        })
    }

    /// Takes what has come, up to about `limit` octets; gives whether there is more.
    fn read(&mut self, limit: usize) -> bool {
        let Some(link) = &mut self.link else { return false };
        let before = Verdicts::of(&self.machine.updates_received());
        let (received, rest) = link.receive(&mut self.machine, &mut self.shared.scratch.borrow_mut(), limit);
        let now = self.machine.updates_received();
        self.count(|counters, totals| {
            if received.updates > 0 {
                counters.updates_received += received.updates;
                counters.received = now;
                totals.verdicts.add_growth(before, Verdicts::of(&now));
            }
            totals.received.add(&received);
        });
        match rest {
            Rest::Nothing => {}
            Rest::More => return true,
            Rest::Closed => self.machine.handle(Instant::now(), Input::Closed(None)),
            Rest::Broken(error) => {
                self.machine.handle(Instant::now(), Input::Closed(Some(error.to_string())));
            }
        }
        false
    }

    /// Writes what waits, and a burst of routes behind it while the socket takes them: the rest is made when it does again,
    /// from what is desired then.
    fn write(&mut self) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        // A peer that takes a little at a time gets no burst on top of the last one.
        let room = BURST.saturating_sub(link.waiting());
        if self.machine.state() == State::Established && !link.is_blocked() && room > 0 {
            let filled =
                self.shared.state.borrow_mut().rib.fill(Instant::now(), self.id, link.output(), room);
            if filled.updates > 0 || filled.refused > 0 {
                self.count(|counters, totals| {
                    counters.add(&filled);
                    totals.sent.updates += filled.updates as u64;
                });
            }
        }
        let Some(link) = &mut self.link else { return Ok(()) };
        let (octets, left) = link.flush()?;
        if left != self.waiting {
            self.waiting = left;
            if let Some(entry) = self.shared.state.borrow_mut().sessions.get_mut(&self.id) {
                entry.waiting = left;
            }
        }
        if octets > 0 || left > 0 {
            self.machine.handle(Instant::now(), Input::Written { octets, left });
        }
        if octets > 0 && left == 0 {
            self.shared.tell_written(self.id);
        }
        Ok(())
    }

    /// Tells the machine that all routes are written, if it wants to know it and they are.
    fn tell_routes_sent(&mut self) -> bool {
        let sent = self.machine.awaits_routes_sent() && !self.shared.state.borrow().rib.has_work(self.id);
        if sent {
            self.machine.handle(Instant::now(), Input::RoutesSent);
        }
        sent
    }

    fn perform(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Connect => {
                    if let Some(entry) = self.shared.state.borrow_mut().sessions.get_mut(&self.id) {
                        entry.made_with = Some(self.spec.clone());
                    }
                    let SessionSpec { remote, source, ref password, .. } = *self.spec;
                    let options = Dial { remote, source, password: password.clone(), ttl: self.spec.ttl() };
                    self.dialling = Some(Box::pin(async move { dial(&options).await }));
                }
                Output::Send(message) => self.send(&message),
                Output::Close => {
                    self.dialling = None;
                    self.waiting = 0;
                    if let Some(link) = self.link.take() {
                        self.leaving = Some(link);
                    }
                }
                Output::Changed(transition) => self.changed(transition),
                Output::Refresh(family) => self.shared.state.borrow_mut().rib.refresh(self.id, family),
            }
        }
    }

    fn send(&mut self, message: &Message) {
        let Some(link) = &mut self.link else { return };
        let out = link.output();
        match message {
            Message::Open(open) => {
                // Ours has a handful of capabilities: it fits.
                if let Err(error) = open.encode(out) {
                    tracing::error!(peer = %self.spec.name, %error, "our OPEN can't be written");
                    return;
                }
            }
            Message::Notification(notification) => notification.encode(out),
            Message::Keepalive => wire::keepalive(out),
            Message::RouteRefresh(refresh) => refresh.encode(out),
            // The machine sends none: they come from the outgoing RIB.
            Message::Update(_) => return,
        }
        self.count(|_, totals| totals.sent.count(message.kind()));
    }

    /// The last words to the old connection; a session that goes on doesn't wait for them.
    async fn part_from(&self, link: Link) {
        if self.shared.state.borrow().is_stopped(self.id) {
            link.farewell().await;
        } else {
            tokio::task::spawn_local(link.farewell());
        }
    }

    fn changed(&mut self, transition: Transition) {
        let reason = self.refusals.judge(&transition);
        let Transition { old, new, .. } = transition;
        if new == State::Established {
            self.attach();
        }
        {
            let mut state = self.shared.state.borrow_mut();
            if old == State::Established {
                state.detach(self.id);
            }
            if let Some(entry) = state.sessions.get_mut(&self.id) {
                entry.enter(new, &reason, self.machine.notifications());
            }
        }
        let peer = self.spec.name.clone();
        self.shared.tell(Event::SessionChanged { peer, old, new, reason });
        if new == State::Established {
            self.shared.tell_missing_next_hops(self.id);
        }
    }

    /// Routes begin to flow.
    fn attach(&mut self) {
        let (Some(negotiated), Some(link)) = (self.machine.negotiated(), &self.link) else { return };
        let mut state = self.shared.state.borrow_mut();
        let agreement = Agreement {
            session: negotiated.session,
            agreed: Agreed {
                local: SocketAddr::new(link.local.ip().to_canonical(), link.local.port()),
                remote_asn: negotiated.remote_asn,
                remote_id: negotiated.remote_id,
                families: negotiated.session.families,
                hold_time: negotiated.hold_time,
                keepalive_time: negotiated.keepalive_time,
            },
        };
        let next_hop = |family| self.shared.next_hop(&state, &agreement, family);
        let facts = Facts {
            session: negotiated.session,
            shown_asn: self.spec.session.shown_asn,
            internal: negotiated.internal,
            next_hops: PerFamily { v4: next_hop(Family::V4), v6: next_hop(Family::V6) },
        };
        let Some(entry) = state.sessions.get_mut(&self.id) else { return };
        entry.agreement = Some(agreement);
        let (ours, theirs) = (negotiated.our_open.clone(), negotiated.their_open.clone());
        entry.opens = Some(Arc::new(Opens { ours, theirs }));
        let group = entry.spec.group;
        state.rib.attach(self.id, group, facts);
    }

    fn count(&self, add: impl FnOnce(&mut Counters, &mut Totals)) {
        if let Some(entry) = self.shared.state.borrow_mut().sessions.get_mut(&self.id) {
            add(&mut entry.counters, &mut entry.totals);
        }
    }
}
