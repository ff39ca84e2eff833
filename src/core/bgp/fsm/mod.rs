//! The session machine of a speaker that dials (RFC 4271 section 8), sans-IO.
//!
//! What flows in: [`Input`]s and the time. What flows out, through `poll_output`: messages to send, connections to open
//! and close, and each change of state with its reason. After every `handle` and `handle_timeout`, take all outputs, then
//! ask `next_timeout` anew. Give it all input that is there before judging a timeout, and tell it with [`Input::Stalled`]
//! where that is late, so that a process that stood still doesn't accuse its peer.
//!
//! Nothing here can fail: what the RFC calls an error is an ordinary transition with a NOTIFICATION among its outputs.
//! Routes are none of its business: in Established, the owner sends UPDATEs from the outgoing RIB.
//!
//! A connection that didn't come about leads to Active, any other end to Idle; in both the session waits for its next
//! attempt: the first at once, then after 1, 2, 4 … s times 0.75 to 1.0, at most `connect_cap`. The count starts again once
//! Established has lasted a hold time. Only `Stop` ends the attempts.

mod collision;
mod reason;
mod received;
mod refresh;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::types::{Asn, Family, FamilySet, RemoteAs, RouterId};

use super::negotiate::{self, Negotiated};
use super::wire::{
    ErrorCode, FsmSubcode, MAX_MESSAGE, Message, MessageType, Notification, Open, RefreshSubtype,
    RouteRefresh, Session, Update, Verdict, WireError,
};
use refresh::Refreshes;
use timers::{Timer, Timers};

pub use collision::{Connection, Pair};
pub use reason::{Reason, Stop};
pub use received::Received;

/// The hold time where none is configured, in seconds.
pub const DEFAULT_HOLD_TIME: u16 = 180;
/// The longest time between two attempts where `connectTime` is unset.
pub const DEFAULT_CONNECT_CAP: Duration = Duration::from_secs(10);

/// From which delay on the owner of a machine counts as stalled.
pub const STALL: Duration = Duration::from_millis(500);

/// How long we wait for an OPEN, and for the first KEEPALIVE where no hold time was negotiated (RFC 4271 8.2.2: 4 minutes).
const LARGE_HOLD_TIME: Duration = Duration::from_secs(240);
/// How long a peer may refuse to take anything, at least (RFC 9687 section 6: 8 minutes, or twice the hold time).
const LEAST_SEND_HOLD_TIME: Duration = Duration::from_secs(480);
/// How long an attempt to connect may take: the kernel alone would try for two minutes.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(10);

/// Which side opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We do.
    Dial,
    /// The peer does: the session waits in Active until it is given a connection.
    Accept,
}

/// What a session needs to know of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which side opens the connection.
    pub role: Role,
    /// Our AS: the peer is internal or external by it.
    pub my_asn: Asn,
    /// The AS that OPEN and AS_PATH show: `localASN`, else `my_asn`.
    pub shown_asn: Asn,
    /// Which AS the peer must have.
    pub remote_as: RemoteAs,
    /// The hold time to offer, in seconds: 0 (no keepalives at all) or 3 and up.
    pub hold_time: u16,
    /// The longest time between two KEEPALIVEs; `None` or 0: a third of the hold time.
    pub keepalive_time: Option<Duration>,
    /// The longest time between two attempts to connect.
    pub connect_cap: Duration,
    /// The families that the session carries.
    pub families: FamilySet,
    /// Whether to offer IPv4 routes with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
}

/// RFC 4271 8.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No connection and no attempt.
    Idle,
    /// An attempt to connect is under way.
    Connect,
    /// The last attempt failed; the next one comes.
    Active,
    /// Connected; our OPEN is sent.
    OpenSent,
    /// The peer's OPEN was good.
    OpenConfirm,
    /// Routes may flow.
    Established,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Idle => "Idle",
            State::Connect => "Connect",
            State::Active => "Active",
            State::OpenSent => "OpenSent",
            State::OpenConfirm => "OpenConfirm",
            State::Established => "Established",
        })
    }
}

/// What a session is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin.
    Start,
    /// End, and make no further attempt until `Start`.
    Stop(Stop),
    /// The connection that `Output::Connect` asked for stands.
    Connected {
        /// Our BGP identifier on it.
        router_id: RouterId,
    },
    /// It didn't come about.
    ConnectFailed(String),
    /// The connection is gone: closed by the peer, or broken with this error.
    Closed(Option<String>),
    /// A message has come; it was decoded with `wire_session`.
    Received(Message),
    /// Octets have come that are no message.
    Malformed {
        /// The type of the message, where its header could be read.
        kind: Option<MessageType>,
        /// What is wrong.
        error: WireError,
    },
    /// The connection took so many octets of what was to be sent, and so many are left. To be told after each write that
    /// left something, and after the first that didn't any more.
    Written {
        /// Octets that are gone.
        octets: usize,
        /// Octets that still wait.
        left: usize,
    },
    /// All routes that there were to send are written; to be told while `awaits_routes_sent`.
    RoutesSent,
    /// The owner is late by [`STALL`] or more: it neither heard nor wrote for a while. To be told ahead of `handle_timeout`, once
    /// what has come meanwhile is read. What else the peer said may still be on its way: a peer's silence is held against it
    /// only if it lasts for a keepalive's time more.
    Stalled,
}

/// What a session wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection, with a new socket; answer with `Connected` or `ConnectFailed`.
    Connect,
    /// Send this, behind all that was to be sent before.
    Send(Message),
    /// Close the connection, or give up the attempt, once all is sent that was to be; don't answer.
    Close,
    /// The state has changed.
    Changed(Transition),
    /// The peer wants all routes of this family once more (RFC 2918); it is one that was negotiated.
    Refresh(Family),
}

/// The last NOTIFICATION in each direction, over all connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// The last one that we sent, and when.
    pub sent: Option<(Notification, Instant)>,
    /// The last one that came, and when.
    pub received: Option<(Notification, Instant)>,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub old: State,
    /// The state now.
    pub new: State,
    /// Why.
    pub reason: Reason,
}

/// The session machine.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    state: State,
    timers: Timers,
    outputs: VecDeque<Output>,
    /// Our OPEN on this connection.
    sent_open: Option<Open>,
    negotiated: Option<Negotiated>,
    received: Received,
    refreshes: Refreshes,
    notifications: Notifications,
    /// Octets that have gone since the send hold timer was started.
    written: usize,
    /// Attempts since the session last proved stable.
    retries: u32,
    random: u64,
}

impl Machine {
    /// A session in Idle. `seed` spreads its retries.
    pub fn new(config: Config, seed: u64) -> Machine {
        Machine {
            config,
            state: State::Idle,
            timers: Timers::default(),
            outputs: VecDeque::new(),
            sent_open: None,
            negotiated: None,
            received: Received::default(),
            refreshes: Refreshes::default(),
            notifications: Notifications::default(),
            written: 0,
            retries: 0,
            random: seed,
        }
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// What both OPENs settled: in OpenConfirm and Established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// Our OPEN on this connection.
    pub fn sent_open(&self) -> Option<&Open> {
        self.sent_open.as_ref()
    }

    /// The last NOTIFICATION in each direction.
    pub fn notifications(&self) -> &Notifications {
        &self.notifications
    }

    /// Whether it has to be told when all routes are written.
    pub fn awaits_routes_sent(&self) -> bool {
        self.state == State::Established && self.refreshes.awaits_routes_sent()
    }

    /// What UPDATEs have come on this connection, or on the last one.
    pub fn updates_received(&self) -> Received {
        self.received
    }

    /// How to decode what comes next: ask anew after each message.
    pub fn wire_session(&self) -> Session {
        self.negotiated.as_ref().map_or(Session::BEFORE_OPEN, |n| n.session)
    }

    /// Takes timers from a configuration that differs in nothing but timers; they apply at the next connection.
    pub fn set_timers(&mut self, hold_time: u16, keepalive_time: Option<Duration>, connect_cap: Duration) {
        self.config.hold_time = hold_time;
        self.config.keepalive_time = keepalive_time;
        self.config.connect_cap = connect_cap;
    }

    /// Takes another rule for the peer's AS, one that the AS of a session that stands conforms to.
    pub fn set_remote_as(&mut self, remote_as: RemoteAs) {
        self.config.remote_as = remote_as;
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match (input, self.state) {
            (Input::Start, State::Idle) => self.start(now, Reason::Started),
            (Input::Start, _) => {}
            (Input::Stop(stop), _) => self.stop(now, stop),
            (Input::Connected { router_id }, State::Connect) => self.enter_open_sent(now, router_id),
            (Input::Connected { router_id }, State::Active) if self.config.role == Role::Accept => {
                self.enter_open_sent(now, router_id);
            }
            // A connection that came about too late, or twice.
            (Input::Connected { .. }, _) => self.outputs.push_back(Output::Close),
            (Input::ConnectFailed(error), State::Connect) => {
                self.enter_active(now, Reason::ConnectFailed(error));
            }
            (Input::ConnectFailed(_), _) => {}
            (Input::Closed(error), _) => {
                if self.has_connection() {
                    let reason = error.map_or(Reason::ClosedByPeer, Reason::ConnectionLost);
                    self.enter_idle(now, reason);
                }
            }
            (Input::Received(message), _) => {
                if self.has_connection() {
                    self.received(now, message);
                }
            }
            (Input::Malformed { kind, error }, _) => {
                if self.has_connection() {
                    self.malformed(now, kind, &error);
                }
            }
            (Input::Written { octets, left }, State::Established) => self.written(now, octets, left),
            (Input::RoutesSent, State::Established) => {
                for output in self.refreshes.routes_sent() {
                    self.outputs.push_back(output);
                }
            }
            (Input::Stalled, _) => self.stalled(now),
            // Before, the hold timer watches over what is sent.
            (Input::Written { .. } | Input::RoutesSent, _) => {}
        }
    }

    /// Acts on what is due at `now`, up to the first change of state: what is due then is due at once.
    pub fn handle_timeout(&mut self, now: Instant) {
        let state = self.state;
        while self.state == state
            && let Some(timer) = self.timers.pop_due(now)
        {
            match timer {
                Timer::Retry => self.start(now, Reason::Retry),
                Timer::Attempt => {
                    self.outputs.push_back(Output::Close);
                    self.enter_active(now, Reason::ConnectTimedOut);
                }
                Timer::Hold => {
                    self.send_notification(now, Notification::new(ErrorCode::HoldTimerExpired));
                    self.enter_idle(now, Reason::HoldTimerExpired);
                }
                Timer::SendHold => {
                    self.send_notification(now, Notification::new(ErrorCode::SendHoldTimerExpired));
                    self.enter_idle(now, Reason::SendHoldTimerExpired);
                }
                Timer::Keepalive => self.send_keepalive(now),
                Timer::Stable => self.retries = 0,
            }
        }
    }

    /// The next thing to do; `None`: nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call `handle_timeout` next; `None`: not before the next input.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.earliest()
    }

    fn has_connection(&self) -> bool {
        matches!(self.state, State::OpenSent | State::OpenConfirm | State::Established)
    }

    fn start(&mut self, now: Instant, reason: Reason) {
        match self.config.role {
            Role::Dial => self.enter_connect(now, reason),
            Role::Accept => self.change(State::Active, reason),
        }
    }

    fn stop(&mut self, now: Instant, stop: Stop) {
        if self.has_connection() {
            self.send_notification(now, stop.notification());
        }
        if self.state != State::Idle && self.state != State::Active {
            self.outputs.push_back(Output::Close);
        }
        self.forget_connection();
        self.retries = 0;
        self.change(State::Idle, Reason::Stopped(stop));
    }

    fn received(&mut self, now: Instant, message: Message) {
        if let Message::Notification(notification) = message {
            self.notifications.received = Some((notification.clone(), now));
            return self.enter_idle(now, Reason::NotificationReceived(notification));
        }
        match self.state {
            State::OpenSent => self.received_in_open_sent(now, message),
            State::OpenConfirm => self.received_in_open_confirm(now, message),
            State::Established => self.received_in_established(now, message),
            State::Idle | State::Connect | State::Active => {}
        }
    }

    fn received_in_open_sent(&mut self, now: Instant, message: Message) {
        let (Message::Open(theirs), Some(ours)) = (&message, &self.sent_open) else {
            return self.unexpected(now, &message, FsmSubcode::UnexpectedInOpenSent);
        };
        match negotiate::negotiate(&self.config, ours, theirs) {
            Ok(negotiated) => self.enter_open_confirm(now, negotiated),
            Err(refusal) => self.fail(now, refusal.notification, refusal.detail),
        }
    }

    fn received_in_open_confirm(&mut self, now: Instant, message: Message) {
        match message {
            Message::Keepalive => self.enter_established(now),
            other => self.unexpected(now, &other, FsmSubcode::UnexpectedInOpenConfirm),
        }
    }

    fn received_in_established(&mut self, now: Instant, message: Message) {
        match message {
            Message::Keepalive => self.restart_hold_timer(now),
            Message::Update(update) => self.received_update(now, &update),
            Message::RouteRefresh(RouteRefresh { family, subtype: RefreshSubtype::Request }) => {
                let carried = |family: &Family| self.wire_session().families.contains(*family);
                if let Some(family) = family.family().filter(carried) {
                    let enhanced = self.negotiated.as_ref().is_some_and(|n| n.enhanced_refresh);
                    let wanted = self.refreshes.requested(family, enhanced);
                    // However often it asks at a time: what waits here stays short.
                    if wanted.iter().any(|output| !self.outputs.contains(output)) {
                        self.outputs.extend(wanted);
                    }
                }
            }
            // About routes that we don't keep, or unknown (RFC 7313 section 5: ignored).
            Message::RouteRefresh(_) => {}
            other => self.unexpected(now, &other, FsmSubcode::UnexpectedInEstablished),
        }
    }

    /// Received routes are counted and dropped, whatever the verdict is short of a reset.
    fn received_update(&mut self, now: Instant, update: &Update) {
        let judgement = update.judge(self.negotiated.as_ref().is_some_and(|n| n.internal));
        self.received.count(update, judgement.verdict);
        match judgement.error.filter(|_| judgement.verdict == Verdict::Reset) {
            Some(error) => self.fail(now, error.notification(), error.to_string()),
            None => self.restart_hold_timer(now),
        }
    }

    /// RFC 6608 section 4: the data is the type of the message.
    fn unexpected(&mut self, now: Instant, message: &Message, subcode: FsmSubcode) {
        let kind = message.kind();
        let notification = Notification { error: ErrorCode::Fsm(subcode), data: vec![kind as u8] };
        self.fail(now, notification, format!("unexpected {kind:?} message"));
    }

    fn malformed(&mut self, now: Instant, kind: Option<MessageType>, error: &WireError) {
        // RFC 4271 6.4: a NOTIFICATION is never answered with one.
        if kind == Some(MessageType::Notification) {
            return self.enter_idle(now, Reason::UnreadableNotification);
        }
        if kind == Some(MessageType::Update) && self.state == State::Established {
            self.received.count_unreadable();
        }
        self.fail(now, error.notification(), error.to_string());
    }

    fn fail(&mut self, now: Instant, notification: Notification, detail: String) {
        self.send_notification(now, notification.clone());
        self.enter_idle(now, Reason::NotificationSent { notification, detail });
    }

    /// The session has ended, and the next attempt comes by itself.
    fn enter_idle(&mut self, now: Instant, reason: Reason) {
        self.outputs.push_back(Output::Close);
        self.forget_connection();
        self.plan_retry(now);
        self.change(State::Idle, reason);
    }

    fn enter_connect(&mut self, now: Instant, reason: Reason) {
        self.timers.stop_all();
        self.timers.set(Timer::Attempt, now + LONGEST_ATTEMPT.min(self.config.connect_cap));
        self.outputs.push_back(Output::Connect);
        self.change(State::Connect, reason);
    }

    fn enter_active(&mut self, now: Instant, reason: Reason) {
        self.forget_connection();
        self.plan_retry(now);
        self.change(State::Active, reason);
    }

    fn enter_open_sent(&mut self, now: Instant, router_id: RouterId) {
        let open = negotiate::open(&self.config, router_id);
        self.send(Message::Open(open.clone()));
        self.sent_open = Some(open);
        self.received = Received::default();
        self.timers.stop_all();
        self.timers.set(Timer::Hold, now + LARGE_HOLD_TIME);
        self.change(State::OpenSent, Reason::Connected);
    }

    fn enter_open_confirm(&mut self, now: Instant, negotiated: Negotiated) {
        let hold = negotiated.hold_time.unwrap_or(LARGE_HOLD_TIME);
        self.negotiated = Some(negotiated);
        self.send_keepalive(now);
        self.timers.set(Timer::Hold, now + hold);
        self.change(State::OpenConfirm, Reason::OpenReceived);
    }

    fn enter_established(&mut self, now: Instant) {
        self.timers.stop(Timer::Hold);
        self.restart_hold_timer(now);
        let stable = self.negotiated.as_ref().and_then(|n| n.hold_time);
        let default = Duration::from_secs(u64::from(DEFAULT_HOLD_TIME));
        self.timers.set(Timer::Stable, now + stable.unwrap_or(default));
        self.change(State::Established, Reason::KeepaliveReceived);
    }

    fn change(&mut self, new: State, reason: Reason) {
        let old = std::mem::replace(&mut self.state, new);
        if old != new {
            self.outputs.push_back(Output::Changed(Transition { old, new, reason }));
        }
    }

    fn forget_connection(&mut self) {
        self.timers.stop_all();
        self.sent_open = None;
        self.negotiated = None;
        self.refreshes = Refreshes::default();
        self.written = 0;
    }

    fn restart_hold_timer(&mut self, now: Instant) {
        if let Some(hold_time) = self.negotiated.as_ref().and_then(|n| n.hold_time) {
            self.timers.set(Timer::Hold, now + hold_time);
        }
    }

    fn send(&mut self, message: Message) {
        self.outputs.push_back(Output::Send(message));
    }

    fn send_notification(&mut self, now: Instant, notification: Notification) {
        self.notifications.sent = Some((notification.clone(), now));
        self.send(Message::Notification(notification));
    }

    /// RFC 9687: the timer runs while something waits, and starts anew whenever the peer has taken a message's worth.
    fn written(&mut self, now: Instant, octets: usize, left: usize) {
        if left == 0 {
            self.written = 0;
            return self.timers.stop(Timer::SendHold);
        }
        self.written = self.written.saturating_add(octets);
        if !self.timers.is_set(Timer::SendHold) || self.written >= MAX_MESSAGE {
            self.written = 0;
            let hold_time = self.negotiated.as_ref().and_then(|n| n.hold_time).unwrap_or_default();
            self.timers.set(Timer::SendHold, now + LEAST_SEND_HOLD_TIME.max(hold_time * 2));
        }
    }

    /// By the end of the time that is left to it, a peer that lives has sent its next KEEPALIVE (RFC 4271 section 4.4: a third of the
    /// hold time), however much of what it sent before is lost.
    fn stalled(&mut self, now: Instant) {
        let hold_time = self.negotiated.as_ref().and_then(|n| n.hold_time).unwrap_or(LARGE_HOLD_TIME);
        for timer in [Timer::Hold, Timer::SendHold] {
            self.timers.postpone(timer, now + hold_time / 3);
        }
    }

    fn send_keepalive(&mut self, now: Instant) {
        self.send(Message::Keepalive);
        if let Some(interval) = self.negotiated.as_ref().and_then(|n| n.keepalive_time) {
            self.timers.set(Timer::Keepalive, now + interval);
        }
    }

    fn plan_retry(&mut self, now: Instant) {
        let delay = match self.retries {
            0 => Duration::ZERO,
            n => {
                let backoff = Duration::from_secs(1 << n.saturating_sub(1).min(16));
                backoff.min(self.config.connect_cap).mul_f64(0.75 + 0.25 * self.random_fraction())
            }
        };
        self.retries = self.retries.saturating_add(1);
        self.timers.set(Timer::Retry, now + delay);
    }

    /// From 0 to 1 (SplitMix64): it spreads retries, no more.
    fn random_fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
