//! What fuzzing feeds: one plain function for each decoder, for manifests, and for sequences of inputs to the session
//! machine. Each takes any octets and panics where something that always has to hold doesn't.
//!
//! The fuzz crate calls them with what libFuzzer thinks up, `src/core/tests/corpus.rs` with the corpora and with a few
//! thousand random inputs.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ferrolb_core::bgp::fsm::{Config, Input, Machine, Output, Role, State, Stop};
use ferrolb_core::bgp::wire::{
    self, AfiSafi, Capability, HEADER_LEN, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Message, Open, RouteRefresh,
    Session, Verdict, WireError,
};
use ferrolb_core::manifest;
use ferrolb_core::types::{Asn, Family, FamilySet, RemoteAs, RouterId};

/// All targets by name; `fuzz/corpus/<name>` has the inputs that each begins with.
pub const ALL: [(&str, Target); 7] = [
    ("frame", frame),
    ("machine", machine),
    ("manifest", manifest),
    ("notification", notification),
    ("open", open),
    ("refresh", refresh),
    ("update", update),
];

/// What takes an input.
pub type Target = fn(&[u8]);

/// A stream of messages. The first octet chooses the session.
pub fn frame(data: &[u8]) {
    let Some((choice, mut input)) = data.split_first() else { return };
    let session = session(*choice);
    while let Ok(Some(frame)) = wire::frame(input, &session) {
        assert!(frame.total_len == frame.body.len() + HEADER_LEN && frame.total_len <= session.max_receive);
        judge(Message::decode(&frame, &session), &session);
        input = &input[frame.total_len..];
    }
}

/// The body of an OPEN.
pub fn open(data: &[u8]) {
    body(1, data, &Session::BEFORE_OPEN);
}

/// The body of an UPDATE. The first octet chooses the session.
pub fn update(data: &[u8]) {
    if let Some((choice, data)) = data.split_first() {
        body(2, data, &session(*choice));
    }
}

/// The body of a NOTIFICATION.
pub fn notification(data: &[u8]) {
    body(3, data, &session(0));
}

/// The body of a ROUTE-REFRESH.
pub fn refresh(data: &[u8]) {
    body(5, data, &session(0));
}

/// A manifest file, as YAML and as JSON.
pub fn manifest(data: &[u8]) {
    for file in ["fuzz.yaml", "fuzz.json"] {
        let parsed = manifest::parse(file, data);
        for error in parsed.errors.iter().chain(&manifest::duplicates(&parsed.objects)) {
            assert!(!error.to_string().contains('\n'), "an error of several lines");
        }
    }
}

/// A sequence of inputs to the session machine: each octet is one, those that it needs as a parameter follow it.
pub fn machine(data: &[u8]) {
    let Some((choice, mut data)) = data.split_first() else { return };
    let mut bench = Bench::new(*choice);
    let mut next = || {
        let (first, rest) = data.split_first()?;
        data = rest;
        Some((*first, rest))
    };
    while let Some((operation, rest)) = next() {
        let mut parameter = || next().map_or(0, |(octet, _)| octet);
        match operation % 16 {
            0 => bench.give(Input::Start),
            1 => bench.give(Input::Stop(match parameter() % 3 {
                0 => Stop::Shutdown("maintenance".to_owned()),
                1 => Stop::Deconfigured,
                _ => Stop::Reconfigured,
            })),
            2 => bench.connected(),
            3 => bench.give(Input::ConnectFailed("refused".to_owned())),
            4 => bench.give(Input::Closed((parameter() % 2 == 0).then(|| "reset".to_owned()))),
            5 => bench.wait(Duration::from_millis(u64::from(parameter()) * 97)),
            6 => bench.wait(Duration::from_secs(u64::from(parameter()) * 7)),
            7 => bench.give(Input::Received(Message::Open(their_open(parameter())))),
            8 => bench.give(Input::Received(Message::Keepalive)),
            9 => bench.give(Input::Written {
                octets: usize::from(parameter()) * 64,
                left: usize::from(parameter()),
            }),
            10 if operation < 128 => bench.give(Input::RoutesSent),
            10 => bench.give(Input::Stalled),
            11 => {
                let family = if parameter() % 2 == 0 { Family::V4 } else { Family::V6 };
                bench.give(Input::Received(Message::RouteRefresh(RouteRefresh::request(family))));
            }
            12 => bench.machine.set_timers(
                u16::from(parameter()),
                None,
                Duration::from_secs(1 + u64::from(parameter())),
            ),
            // A body of any type, as it may come.
            kind => {
                let length = usize::from(parameter());
                let body = rest.get(1..).unwrap_or_default();
                bench.octets(kind - 11, &body[..length.min(body.len())]);
                for _ in 0..length {
                    parameter();
                }
            }
        }
    }
}

/// One message of this type with this body.
fn body(kind: u8, body: &[u8], session: &Session) {
    let octets = message(kind, body);
    if let Ok(Some(frame)) = wire::frame(&octets, session) {
        judge(Message::decode(&frame, session), session);
    }
}

/// A header and a body; a body that is too long is cut.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(MAX_EXTENDED_MESSAGE - HEADER_LEN)];
    let mut octets = vec![0xff; 16];
    octets.extend_from_slice(&((body.len() + HEADER_LEN) as u16).to_be_bytes());
    octets.push(kind);
    octets.extend_from_slice(body);
    octets
}

/// One of eight sessions.
fn session(choice: u8) -> Session {
    Session {
        four_octet_as: choice & 1 == 0,
        families: if choice & 2 == 0 { FamilySet::BOTH } else { FamilySet::only(Family::V4) },
        extended_next_hop: choice & 4 == 0,
        max_send: MAX_MESSAGE,
        max_receive: if choice & 1 == 0 { MAX_EXTENDED_MESSAGE } else { MAX_MESSAGE },
    }
}

/// What was decoded has to survive what is done with it.
fn judge(decoded: Result<Message, WireError>, session: &Session) {
    match decoded {
        Err(error) => answer(&error),
        Ok(Message::Update(update)) => {
            let (_, _) = (update.end_of_rib(), update.attributes.merged_as_path());
            for internal in [false, true] {
                let judgement = update.judge(internal);
                assert!(judgement.error.is_some() || judgement.verdict <= Verdict::DiscardAttribute);
                judgement.error.iter().for_each(answer);
            }
        }
        Ok(Message::Open(open)) => {
            let mut octets = Vec::new();
            let (_, _) = (open.asn(), open.families());
            if open.encode(&mut octets).is_ok() {
                assert_eq!(read(&octets, session), Message::Open(open));
            }
        }
        Ok(Message::Notification(notification)) => {
            let mut octets = Vec::new();
            notification.encode(&mut octets);
            assert!(octets.len() <= MAX_MESSAGE);
            assert!(!notification.to_string().contains('\n'), "it could fake a line of a log");
        }
        Ok(Message::RouteRefresh(refresh)) => {
            let mut octets = Vec::new();
            refresh.encode(&mut octets);
            assert_eq!(read(&octets, session), Message::RouteRefresh(refresh));
        }
        Ok(Message::Keepalive) => {}
    }
}

/// Each error has a NOTIFICATION that can be sent.
fn answer(error: &WireError) {
    let mut octets = Vec::new();
    error.notification().encode(&mut octets);
    assert!(octets.len() <= MAX_MESSAGE && !error.to_string().is_empty());
}

fn read(octets: &[u8], session: &Session) -> Message {
    let frame = wire::frame(octets, session).expect("a header of ours").expect("a whole message");
    Message::decode(&frame, session).expect("a message of ours")
}

fn id(last: u8) -> RouterId {
    RouterId::new(Ipv4Addr::new(10, 0, 0, last)).expect("not 0")
}

/// An OPEN that is good where `choice` is 0; each of its bits spoils or changes something.
fn their_open(choice: u8) -> Open {
    let asn = if choice & 1 == 0 { 64513 } else { 64514 };
    let mut capabilities = vec![Capability::RouteRefresh, Capability::ExtendedMessage];
    if choice & 2 == 0 {
        capabilities.push(Capability::FourOctetAs(asn));
    }
    if choice & 4 == 0 {
        capabilities.push(Capability::EnhancedRouteRefresh);
    }
    if choice & 8 != 0 {
        capabilities.push(Capability::MultiProtocol(AfiSafi::IPV6_UNICAST));
    }
    Open {
        my_as: asn as u16,
        hold_time: [90, 0, 3, 2][usize::from(choice >> 4 & 3)],
        identifier: if choice & 64 == 0 { id(2).get() } else { Ipv4Addr::UNSPECIFIED },
        capabilities,
    }
}

/// A machine, its clock, and what has to hold of it.
struct Bench {
    machine: Machine,
    now: Instant,
    accepts: bool,
    state: State,
    /// Asked for, or standing.
    connection: bool,
    /// No message may follow a NOTIFICATION.
    parted: bool,
}

impl Bench {
    fn new(choice: u8) -> Bench {
        let asn = |number| Asn::new(number).expect("not 0");
        let accepts = choice & 1 != 0;
        let config = Config {
            role: if accepts { Role::Accept } else { Role::Dial },
            my_asn: asn(64512),
            shown_asn: asn(64512),
            remote_as: if choice & 2 == 0 { RemoteAs::Number(asn(64513)) } else { RemoteAs::External },
            hold_time: if choice & 4 == 0 { 90 } else { 0 },
            keepalive_time: None,
            connect_cap: Duration::from_secs(10),
            families: if choice & 8 == 0 { FamilySet::only(Family::V4) } else { FamilySet::BOTH },
            extended_next_hop: choice & 16 != 0,
        };
        let (machine, now) = (Machine::new(config, u64::from(choice)), Instant::now());
        Bench { machine, now, accepts, state: State::Idle, connection: false, parted: false }
    }

    /// A connection comes about if one was asked for; where the peer dials, by itself.
    fn connected(&mut self) {
        let accepts = self.accepts && self.state == State::Active;
        if self.state == State::Connect || accepts {
            self.connection = true;
            self.give(Input::Connected { router_id: id(1) });
        }
    }

    fn give(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.check();
    }

    /// A message from the wire.
    fn octets(&mut self, kind: u8, body: &[u8]) {
        let octets = message(kind, body);
        let session = self.machine.wire_session();
        let input = match wire::frame(&octets, &session) {
            Ok(None) => return,
            Ok(Some(frame)) => match Message::decode(&frame, &session) {
                Ok(message) => Input::Received(message),
                Err(error) => Input::Malformed { kind: Some(frame.kind), error },
            },
            Err(error) => Input::Malformed { kind: None, error },
        };
        self.give(input);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(next) = self.machine.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.machine.handle_timeout(self.now);
            self.check();
            steps += 1;
            assert!(steps < 100_000, "timers that never rest");
        }
        self.now = end;
    }

    fn check(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Connect => {
                    assert!(!self.connection, "a second connection");
                    (self.connection, self.parted) = (true, false);
                }
                Output::Send(message) => {
                    assert!(self.connection && !self.parted, "{message:?} to nobody");
                    self.parted = matches!(message, Message::Notification(_));
                }
                Output::Close => (self.connection, self.parted) = (false, false),
                Output::Changed(change) => {
                    assert_eq!(change.old, self.state);
                    assert!(!change.reason.to_string().is_empty());
                    self.state = change.new;
                    // An attempt that failed is over.
                    if change.new == State::Active {
                        self.connection = false;
                    }
                }
                Output::Refresh(family) => {
                    assert!(self.machine.wire_session().families.contains(family));
                }
            }
        }
        assert!(!self.parted, "a NOTIFICATION, but the connection stays");
        assert_eq!(self.machine.state(), self.state);
        let talking = matches!(self.state, State::OpenConfirm | State::Established);
        assert_eq!(self.machine.negotiated().is_some(), talking);
        // Whoever waits for something has an end to it; only an Established session may have no hold time.
        if matches!(self.state, State::Connect | State::OpenSent | State::OpenConfirm) {
            assert!(self.machine.next_timeout().is_some(), "{} for ever", self.state);
        }
        if self.state == State::Established
            && self.machine.negotiated().is_some_and(|n| n.hold_time.is_some())
        {
            assert!(self.machine.next_timeout().is_some());
        }
    }
}
