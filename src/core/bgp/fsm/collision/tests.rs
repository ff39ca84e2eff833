//! Two speakers that dial each other at the same time, in simulated time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::bgp::wire::{CeaseSubcode, ErrorCode, Message};
use crate::types::{FamilySet, RemoteAs};

fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

fn id(last: u8) -> RouterId {
    RouterId::new(Ipv4Addr::new(10, 0, 0, last)).unwrap()
}

/// RFC 4271 6.8, RFC 6286 section 2.3.
#[test]
fn of_two_connections_both_sides_keep_the_same() {
    // What one side has dialled the other has accepted.
    for (high, low) in [
        ((id(2), asn(64512)), (id(1), asn(64513))),
        ((id(1), asn(64513)), (id(1), asn(64512))),
        ((id(200), asn(1)), (id(9), asn(2))),
    ] {
        assert_eq!(survivor(high, low), Connection::Dialled);
        assert_eq!(survivor(low, high), Connection::Accepted);
    }
}

/// What is under way to a speaker, on the connection as it has it.
enum Arrival {
    Connected,
    Refused,
    Message(Message),
    Closed,
}

/// Two speakers, 0 and 1, and a network that delays.
struct Sim {
    now: Instant,
    random: u64,
    pairs: [Pair; 2],
    ids: [RouterId; 2],
    /// By time and order of sending; the number of the attempt tells what belongs to an earlier one.
    network: BTreeMap<(Instant, u64), (usize, Connection, u32, Arrival)>,
    sent: u64,
    /// The attempts that the ends of connections belong to, by speaker and connection.
    attempts: [[Option<u32>; 2]; 2],
    dialled: u32,
    collisions: usize,
}

impl Sim {
    fn new(seed: u64, ids: [RouterId; 2]) -> Sim {
        let config = |own: u32, other: u32| Config {
            role: Role::Dial,
            my_asn: asn(own),
            shown_asn: asn(own),
            remote_as: RemoteAs::Number(asn(other)),
            hold_time: 9,
            keepalive_time: None,
            connect_cap: Duration::from_secs(10),
            families: FamilySet::BOTH,
            extended_next_hop: false,
        };
        let mut sim = Sim {
            now: Instant::now(),
            random: seed,
            pairs: [Pair::new(config(64512, 64513), seed), Pair::new(config(64513, 64512), seed + 1)],
            ids,
            network: BTreeMap::new(),
            sent: 0,
            attempts: [[None; 2]; 2],
            dialled: 0,
            collisions: 0,
        };
        for speaker in [0, 1] {
            sim.pairs[speaker].start(sim.now);
            sim.perform(speaker);
        }
        sim
    }

    fn delay(&mut self) -> Duration {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((self.random >> 33) % 30_000)
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.pairs.iter().filter_map(Pair::next_timeout).min();
            let arrival = self.network.keys().next().map(|(time, _)| *time);
            let Some(next) = timers.into_iter().chain(arrival).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if arrival.is_some_and(|time| time <= self.now) {
                let (_, (to, connection, attempt, arrival)) = self.network.pop_first().unwrap();
                self.arrive(to, connection, attempt, arrival);
            } else {
                for speaker in [0, 1] {
                    self.pairs[speaker].handle_timeout(self.now);
                    self.perform(speaker);
                }
            }
            for speaker in [0, 1] {
                assert!(self.established(speaker).len() < 2, "two sessions with one peer");
            }
        }
        self.now = end;
    }

    fn arrive(&mut self, to: usize, connection: Connection, attempt: u32, arrival: Arrival) {
        let router_id = self.ids[to];
        let mine = &mut self.attempts[to][connection as usize];
        let input = match arrival {
            // The accepting side takes one at a time, and none while its machine rests.
            Arrival::Connected if connection == Connection::Accepted => {
                let listens = self.pairs[to].machine(connection).state() == State::Active;
                if mine.is_some() || !listens {
                    return self.send(1 - to, connection.other(), attempt, Arrival::Refused);
                }
                *mine = Some(attempt);
                self.send(1 - to, connection.other(), attempt, Arrival::Connected);
                Input::Connected { router_id }
            }
            _ if *mine != Some(attempt) => return,
            Arrival::Connected => Input::Connected { router_id },
            Arrival::Refused => {
                *mine = None;
                Input::ConnectFailed("refused".to_owned())
            }
            Arrival::Message(message) => Input::Received(message),
            Arrival::Closed => {
                *mine = None;
                Input::Closed(None)
            }
        };
        self.pairs[to].handle(self.now, connection, input);
        self.perform(to);
    }

    fn perform(&mut self, speaker: usize) {
        while let Some((connection, output)) = self.pairs[speaker].poll_output() {
            let attempt = self.attempts[speaker][connection as usize];
            match (output, attempt) {
                (Output::Connect, _) => {
                    self.dialled += 1;
                    self.attempts[speaker][connection as usize] = Some(self.dialled);
                    self.send(1 - speaker, connection.other(), self.dialled, Arrival::Connected);
                }
                (Output::Send(message), Some(attempt)) => {
                    if let Message::Notification(notification) = &message {
                        let cease = ErrorCode::Cease(CeaseSubcode::ConnectionCollisionResolution);
                        assert_eq!(notification.error, cease);
                        self.collisions += 1;
                    }
                    self.send(1 - speaker, connection.other(), attempt, Arrival::Message(message));
                }
                (Output::Close, Some(attempt)) => {
                    self.attempts[speaker][connection as usize] = None;
                    self.send(1 - speaker, connection.other(), attempt, Arrival::Closed);
                }
                _ => {}
            }
        }
    }

    /// What belongs to one attempt arrives in the order in which it was sent.
    fn send(&mut self, to: usize, connection: Connection, attempt: u32, arrival: Arrival) {
        let soonest = self.now + self.delay();
        let before = self.network.iter().rev().find(|(_, (t, _, a, _))| *t == to && *a == attempt);
        let time = before.map_or(soonest, |((time, _), _)| soonest.max(*time));
        self.sent += 1;
        self.network.insert((time, self.sent), (to, connection, attempt, arrival));
    }

    fn established(&self, speaker: usize) -> Vec<Connection> {
        let both = [Connection::Dialled, Connection::Accepted];
        let up = |c: &Connection| self.pairs[speaker].machine(*c).state() == State::Established;
        both.into_iter().filter(up).collect()
    }

    /// Both have one session, and it is the same.
    fn assert_one_session(&self) -> Connection {
        let (zero, one) = (self.established(0), self.established(1));
        assert_eq!((zero.len(), one.len()), (1, 1));
        assert_eq!(zero[0], one[0].other());
        zero[0]
    }
}

#[test]
fn two_that_dial_each_other_end_with_one_session() {
    let (mut collisions, mut by_rule) = (0, 0);
    for seed in 0..200 {
        let mut sim = Sim::new(seed, if seed % 2 == 0 { [id(1), id(2)] } else { [id(2), id(1)] });
        sim.run(Duration::from_secs(60));
        let kept = sim.assert_one_session();
        let wanted = if seed % 2 == 0 { Connection::Accepted } else { Connection::Dialled };
        by_rule += usize::from(kept == wanted);
        // It stands, and nobody dials beside it.
        let dialled = sim.dialled;
        sim.run(Duration::from_secs(600));
        assert_eq!((sim.assert_one_session(), sim.dialled), (kept, dialled), "seed {seed}");
        collisions += sim.collisions;
        // The connection breaks, and another one comes about.
        for speaker in [0, 1] {
            let connection = sim.established(speaker)[0];
            sim.attempts[speaker][connection as usize] = None;
            sim.pairs[speaker].handle(sim.now, connection, Input::Closed(None));
            sim.perform(speaker);
        }
        sim.run(Duration::from_secs(60));
        sim.assert_one_session();
        // Stopped, both ways are.
        sim.pairs[0].stop(sim.now, &Stop::Collision);
        sim.perform(0);
        assert!(sim.established(0).is_empty() && sim.pairs[0].next_timeout().is_none());
    }
    assert!(collisions > 50, "the test is too kind: {collisions} collisions");
    assert!(by_rule > 100, "the side with the higher identifier prevailed {by_rule} times of 200");
}
