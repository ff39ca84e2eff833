//! A peer that sends anything at all: 10,000 sessions whose octets were valid once, in simulated time.
//!
//! Whatever comes, the machine doesn't panic, says by the book what is wrong, holds no more than one message that isn't whole, and
//! takes the next session as if nothing had been. A failing seed is named in the panic and fails again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ferrolb_core::bgp::fsm::{Config, Input, Machine, Output, Role, State};
use ferrolb_core::bgp::wire::{
    self, Capability, HEADER_LEN, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Message, frame,
};
use ferrolb_core::types::{Asn, FamilySet, RemoteAs, RouterId};

#[path = "hostile/streams.rs"]
mod streams;

use streams::{HOLD, Random, encoded, mutated, their_open};

const SECOND: Duration = Duration::from_secs(1);

/// The owner of a machine, as the wire thread is one.
struct Owner {
    machine: Machine,
    now: Instant,
    input: Vec<u8>,
    connected: bool,
    /// A NOTIFICATION was the last that was sent on this connection.
    parted: bool,
}

impl Owner {
    fn new(seed: u64) -> Owner {
        let asn = |number| Asn::new(number).unwrap();
        let config = Config {
            role: Role::Dial,
            my_asn: asn(64512),
            shown_asn: asn(64512),
            remote_as: RemoteAs::Number(asn(64513)),
            hold_time: HOLD,
            keepalive_time: None,
            connect_cap: 10 * SECOND,
            families: FamilySet::BOTH,
            extended_next_hop: true,
        };
        let machine = Machine::new(config, seed);
        let mut owner =
            Owner { machine, now: Instant::now(), input: Vec::new(), connected: false, parted: false };
        owner.give(Input::Start);
        owner
    }

    fn give(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.perform();
    }

    fn perform(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.machine.poll_output() {
            outputs += 1;
            match output {
                Output::Connect => assert!(!self.connected, "a second connection"),
                Output::Send(message) => {
                    assert!(self.connected && !self.parted, "{message:?} to nobody");
                    if let Message::Notification(notification) = &message {
                        self.parted = true;
                        assert!(encoded(|out| notification.encode(out)).len() <= MAX_MESSAGE);
                    }
                }
                Output::Close => {
                    (self.connected, self.parted) = (false, false);
                    self.input = Vec::new();
                }
                Output::Changed(change) => assert!(!change.reason.to_string().contains('\n')),
                Output::Refresh(family) => assert!(self.machine.wire_session().families.contains(family)),
            }
        }
        assert!(outputs <= 8, "{outputs} at a time");
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.machine.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.machine.handle_timeout(self.now);
            self.perform();
            if self.machine.state() == State::Connect {
                // What is next is up to the test.
                return;
            }
        }
        self.now = end;
    }

    /// A connection for the next attempt.
    fn connect(&mut self) {
        for _ in 0..4 {
            if self.machine.state() == State::Connect {
                break;
            }
            self.wait(10 * SECOND);
        }
        assert_eq!(self.machine.state(), State::Connect, "it doesn't try again");
        self.connected = true;
        self.give(Input::Connected { router_id: RouterId::new(Ipv4Addr::new(10, 0, 0, 1)).unwrap() });
    }

    fn receive(&mut self, octets: &[u8]) {
        if !self.connected {
            return;
        }
        self.input.extend_from_slice(octets);
        while self.connected {
            let session = self.machine.wire_session();
            let input = match frame(&self.input, &session) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let input = match Message::decode(&frame, &session) {
                        Ok(message) => Input::Received(message),
                        Err(error) => Input::Malformed { kind: Some(frame.kind), error },
                    };
                    let total_len = frame.total_len;
                    self.input.drain(..total_len);
                    input
                }
                Err(error) => Input::Malformed { kind: None, error },
            };
            self.give(input);
        }
        assert!(self.input.len() < MAX_EXTENDED_MESSAGE, "{} octets kept", self.input.len());
    }

    fn good_session(&mut self) {
        self.connect();
        self.receive(&encoded(|out| their_open().encode(out).unwrap()));
        self.receive(&encoded(wire::keepalive));
        assert_eq!(self.machine.state(), State::Established);
    }
}

#[test]
fn ten_thousand_mutated_sessions_are_survived() {
    let (mut up, mut ended) = (0, 0);
    for seed in 0..10_000 {
        let result = std::panic::catch_unwind(|| {
            let mut random = Random(seed);
            let mut owner = Owner::new(seed);
            owner.connect();
            let stream = mutated(&mut random);
            let mut rest = stream.as_slice();
            let mut up = false;
            while owner.connected && !rest.is_empty() {
                let (piece, behind) = rest.split_at((1 + random.below(300)).min(rest.len()));
                rest = behind;
                owner.receive(piece);
                up |= owner.machine.state() == State::Established;
                if owner.connected && random.one_in(3) {
                    owner.wait(Duration::from_millis(random.below(1_500) as u64));
                }
            }
            let ended = !owner.connected;
            // Silence or an end, and then one who knows how.
            if owner.connected && random.one_in(2) {
                owner.give(Input::Closed(None));
            }
            while owner.connected {
                owner.wait(300 * SECOND);
            }
            owner.good_session();
            (up, ended)
        });
        match result {
            Ok(counts) => {
                up += usize::from(counts.0);
                ended += usize::from(counts.1);
            }
            Err(panic) => {
                eprintln!("seed {seed} fails");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // Neither all harmless nor all dead at once.
    assert!((5_000..9_500).contains(&up), "{up} sessions came up");
    assert!((2_000..8_000).contains(&ended), "{ended} were ended for what came");
}

#[test]
fn octets_without_any_meaning_are_survived() {
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let mut owner = Owner::new(seed);
        // Before and after the session is up.
        if random.one_in(2) {
            owner.good_session();
        } else {
            owner.connect();
        }
        for _ in 0..20 {
            let length = random.below(400);
            let mut octets = random.octets(length);
            if random.one_in(2) {
                // With a good header.
                let whole = ((octets.len() + HEADER_LEN) as u16).to_be_bytes();
                let kind = random.below(7) as u8;
                octets = [&[0xff; 16], whole.as_slice(), &[kind], &octets].concat();
            }
            owner.receive(&octets);
        }
        while owner.connected {
            owner.wait(300 * SECOND);
        }
        owner.good_session();
    }
}

/// One octet a second: only whole messages count, so that each state has the end that silence has.
#[test]
fn a_peer_that_sends_an_octet_a_second_gains_nothing_by_it() {
    let drip = |owner: &mut Owner, octets: &[u8]| {
        let begin = owner.now;
        for octet in octets {
            owner.receive(&[*octet]);
            owner.wait(SECOND);
            if !owner.connected {
                break;
            }
        }
        owner.now - begin
    };
    let mut owner = Owner::new(1);
    owner.connect();
    let mut open = their_open();
    open.capabilities.push(Capability::Unknown { code: 240, value: vec![7; 250] });
    let time = drip(&mut owner, &encoded(|out| open.encode(out).unwrap()));
    assert_eq!((time.as_secs(), owner.connected), (240, false));
    owner.good_session();
    let time = drip(&mut owner, &encoded(wire::keepalive));
    assert_eq!((time.as_secs(), owner.connected), (u64::from(HOLD), false));
    owner.good_session();
}
