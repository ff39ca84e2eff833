//! Two connections with one peer: which of them stays (RFC 4271 6.8), for a speaker that both dials and listens.

use std::time::Instant;

use super::{Config, Input, Machine, Output, Role, State, Stop};
use crate::types::{Asn, RouterId};

/// Which side has opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// We have dialled it.
    Dialled,
    /// The peer has, and we have accepted it.
    Accepted,
}

impl Connection {
    fn other(self) -> Connection {
        match self {
            Connection::Dialled => Connection::Accepted,
            Connection::Accepted => Connection::Dialled,
        }
    }
}

/// Which connection stays once OPENs have come on both; `ours` and `theirs` are identifier and AS.
///
/// Both sides come to the same result: the connection stays that the side with the higher identifier has dialled; where
/// the identifiers are equal, that with the higher AS (RFC 6286 section 2.3).
fn survivor(ours: (RouterId, Asn), theirs: (RouterId, Asn)) -> Connection {
    let key = |(id, asn): (RouterId, Asn)| (u32::from(id.get()), asn.get());
    if key(ours) > key(theirs) { Connection::Dialled } else { Connection::Accepted }
}

/// The two machines of a peer that may be dialled and may dial: one session comes of them.
///
/// To be driven as a [`Machine`], with the connection that is meant beside each input and output. Once one connection is
/// Established, or OPENs have come on both, the other one is told Cease with Connection Collision Resolution, and rests until
/// the one that stays has ended.
#[derive(Debug)]
pub struct Pair {
    dialled: Machine,
    accepted: Machine,
    resting: Option<Connection>,
}

impl Pair {
    /// Both in Idle. `config` says how the peer is dialled; `seed` spreads the retries.
    pub fn new(config: Config, seed: u64) -> Pair {
        let accepting = Config { role: Role::Accept, ..config.clone() };
        let dialling = Config { role: Role::Dial, ..config };
        let (dialled, accepted) = (Machine::new(dialling, seed), Machine::new(accepting, seed));
        Pair { dialled, accepted, resting: None }
    }

    /// One of its machines.
    pub fn machine(&self, connection: Connection) -> &Machine {
        match connection {
            Connection::Dialled => &self.dialled,
            Connection::Accepted => &self.accepted,
        }
    }

    /// Begin dialling and accepting; after a stop, or not at all: what rests beside a session goes on resting.
    pub fn start(&mut self, now: Instant) {
        for connection in [Connection::Dialled, Connection::Accepted] {
            if self.resting != Some(connection) {
                self.machine_mut(connection).handle(now, Input::Start);
            }
        }
    }

    /// End, and neither dial nor accept until the next start.
    pub fn stop(&mut self, now: Instant, stop: &Stop) {
        self.resting = None;
        self.dialled.handle(now, Input::Stop(stop.clone()));
        self.accepted.handle(now, Input::Stop(stop.clone()));
    }

    /// Takes an input of one connection.
    pub fn handle(&mut self, now: Instant, connection: Connection, input: Input) {
        self.machine_mut(connection).handle(now, input);
        self.settle(now);
    }

    /// Acts on what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.dialled.handle_timeout(now);
        self.accepted.handle_timeout(now);
        self.settle(now);
    }

    /// The next thing to do; `None`: nothing.
    pub fn poll_output(&mut self) -> Option<(Connection, Output)> {
        let dialled = self.dialled.poll_output().map(|output| (Connection::Dialled, output));
        dialled.or_else(|| self.accepted.poll_output().map(|output| (Connection::Accepted, output)))
    }

    /// When to call `handle_timeout` next; `None`: not before the next input.
    pub fn next_timeout(&self) -> Option<Instant> {
        [&self.dialled, &self.accepted].into_iter().filter_map(Machine::next_timeout).min()
    }

    fn machine_mut(&mut self, connection: Connection) -> &mut Machine {
        match connection {
            Connection::Dialled => &mut self.dialled,
            Connection::Accepted => &mut self.accepted,
        }
    }

    fn settle(&mut self, now: Instant) {
        if let Some(resting) = self.resting {
            let standing = self.machine(resting.other()).state();
            if !matches!(standing, State::OpenConfirm | State::Established) {
                self.resting = None;
                self.machine_mut(resting).handle(now, Input::Start);
            }
            return;
        }
        if let Some(stays) = self.stays() {
            let ends = stays.other();
            self.machine_mut(ends).handle(now, Input::Stop(Stop::Collision));
            self.resting = Some(ends);
        }
    }

    /// The connection beside which there can't be another one any more.
    fn stays(&self) -> Option<Connection> {
        match (self.dialled.state(), self.accepted.state()) {
            (State::Established, _) => Some(Connection::Dialled),
            (_, State::Established) => Some(Connection::Accepted),
            (State::OpenConfirm, State::OpenConfirm) => {
                let negotiated = self.dialled.negotiated()?;
                let ours = RouterId::new(negotiated.our_open.identifier)?;
                let theirs = (negotiated.remote_id, negotiated.remote_asn);
                Some(survivor((ours, self.dialled.config.shown_asn), theirs))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
