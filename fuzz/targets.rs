//! What fuzzing feeds: one plain function for each decoder, for manifests, and for sequences of inputs to the session
//! machine and of frames to the layer-2 responder. Each takes any octets and panics where something that always has to hold doesn't.
//!
//! The fuzz crate calls them with what libFuzzer thinks up, `src/core/tests/corpus.rs` with the corpora and with a few
//! thousand random inputs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ferrolb_core::bgp::fsm::{Config, Connection, Input, Machine, Output, Pair, Role, State, Stop};
use ferrolb_core::bgp::wire::{
    self, AfiSafi, Capability, HEADER_LEN, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Message, Open, RouteRefresh,
    Session, Verdict, WireError,
};
use ferrolb_core::layer2::packet::{Mac, Packet, decode};
use ferrolb_core::layer2::{Input as Layer2Input, Link, Output as Layer2Output, Responder, Settings, Socket};
use ferrolb_core::manifest;
use ferrolb_core::types::{Asn, Family, FamilySet, InterfaceSet, RemoteAs, RouterId};

/// All targets by name; `fuzz/corpus/<name>` has the inputs that each begins with.
pub const ALL: [(&str, Target); 8] = [
    ("frame", frame),
    ("layer2", layer2),
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

/// An Ethernet frame, to the decoder and to a responder that has two addresses.
pub fn layer2(data: &[u8]) {
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    if let Ok(frame) = decode(data) {
        assert!(!frame.source.is_multicast(), "it would be answered to many");
        // What we would send of it is read as what it is.
        let again = match &frame.packet {
            Packet::Arp(arp) => arp.encode(frame.destination),
            Packet::Solicitation(solicitation) => solicitation.encode(frame.destination, mac),
            Packet::Advertisement(advertisement) => advertisement.encode(frame.destination, mac),
        };
        assert_eq!(decode(&again).map(|again| again.packet), Ok(frame.packet));
    }
    let link = Link {
        index: 1,
        name: "eth0".into(),
        mac: Some(mac),
        up: true,
        carrier: true,
        carrier_ups: 1,
        broadcast: true,
        no_arp: false,
        enslaved: false,
        link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
    };
    let (mut responder, now) = (Responder::new(Settings::default()), Instant::now());
    responder.handle(now, Layer2Input::Links(&[link]));
    let ours =
        [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
    let claims = ours.iter().map(|ip| (*ip, Some(InterfaceSet::Any))).collect();
    responder.handle(now, Layer2Input::Addresses(claims));
    while responder.poll_output().is_some() {}
    responder.handle(now, Layer2Input::Frame { interface: 1, octets: data });
    let mut sent = 0;
    while let Some(output) = responder.poll_output() {
        if let Layer2Output::Send { address, frame, .. } = output {
            sent += 1;
            assert!(ours.contains(&address));
            let answer = decode(&frame).expect("what is sent is right");
            assert!(matches!(
                (Socket::of(address), answer.packet),
                (Socket::Arp, Packet::Arp(_)) | (Socket::Ndp, Packet::Advertisement(_))
            ));
        }
    }
    assert!(sent <= 1, "one frame, one answer");
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

/// A sequence of inputs to the session machine, or to the pair of them whose connections may collide: each octet is one, those
/// that it needs as a parameter follow it.
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
        bench.side = bench.subject.side(operation & 16 != 0);
        match operation % 16 {
            0 => bench.start(),
            1 => bench.stop(&match parameter() % 4 {
                0 => Stop::Shutdown("maintenance".to_owned()),
                1 => Stop::Deconfigured,
                2 => Stop::Reconfigured,
                _ => Stop::Collision,
            }),
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
            12 => {
                let (hold_time, cap) = (parameter(), parameter());
                if let Subject::One(machine, _) = &mut bench.subject {
                    let cap = Duration::from_secs(1 + u64::from(cap));
                    machine.set_timers(u16::from(hold_time), None, cap);
                }
            }
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

/// What is driven.
enum Subject {
    /// A machine that dials, or one that accepts.
    One(Box<Machine>, Connection),
    /// One of each kind, with the same peer.
    Two(Box<Pair>),
}

impl Subject {
    /// The connection that is meant, where there is a choice.
    fn side(&self, accepted: bool) -> Connection {
        match self {
            Subject::One(_, side) => *side,
            Subject::Two(_) if accepted => Connection::Accepted,
            Subject::Two(_) => Connection::Dialled,
        }
    }

    fn machine(&self, side: Connection) -> &Machine {
        match self {
            Subject::One(machine, _) => machine,
            Subject::Two(pair) => pair.machine(side),
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Subject::One(machine, _) => machine.next_timeout(),
            Subject::Two(pair) => pair.next_timeout(),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Subject::One(machine, _) => machine.handle_timeout(now),
            Subject::Two(pair) => pair.handle_timeout(now),
        }
    }

    fn poll_output(&mut self) -> Option<(Connection, Output)> {
        match self {
            Subject::One(machine, side) => machine.poll_output().map(|output| (*side, output)),
            Subject::Two(pair) => pair.poll_output(),
        }
    }
}

/// What is known of one connection.
#[derive(Clone, Copy)]
struct End {
    state: State,
    /// Asked for, or standing.
    connection: bool,
    /// No message may follow a NOTIFICATION.
    parted: bool,
}

/// One machine or a pair, its clock, and what has to hold of it.
struct Bench {
    subject: Subject,
    now: Instant,
    our_id: RouterId,
    /// The connection that the present input is about.
    side: Connection,
    /// By connection.
    ends: [End; 2],
    started: bool,
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
        let side = if accepts { Connection::Accepted } else { Connection::Dialled };
        let seed = u64::from(choice);
        let subject = if choice & 32 == 0 {
            Subject::One(Box::new(Machine::new(config, seed)), side)
        } else {
            Subject::Two(Box::new(Pair::new(config, seed)))
        };
        // Below the peer's, which is 2, or above it.
        let our_id = id(if choice & 64 == 0 { 1 } else { 3 });
        let end = End { state: State::Idle, connection: false, parted: false };
        Bench { subject, now: Instant::now(), our_id, side, ends: [end; 2], started: false }
    }

    fn start(&mut self) {
        self.started = true;
        match &mut self.subject {
            Subject::One(machine, _) => machine.handle(self.now, Input::Start),
            Subject::Two(pair) => pair.start(self.now),
        }
        self.check();
    }

    fn stop(&mut self, stop: &Stop) {
        self.started = false;
        match &mut self.subject {
            Subject::One(machine, _) => machine.handle(self.now, Input::Stop(stop.clone())),
            Subject::Two(pair) => pair.stop(self.now, stop),
        }
        self.check();
    }

    /// A connection comes about if one was asked for; where the peer dials, by itself.
    fn connected(&mut self) {
        let end = &mut self.ends[self.side as usize];
        let accepts = self.side == Connection::Accepted && end.state == State::Active;
        if end.state == State::Connect || accepts {
            end.connection = true;
            self.give(Input::Connected { router_id: self.our_id });
        }
    }

    fn give(&mut self, input: Input) {
        match &mut self.subject {
            Subject::One(machine, _) => machine.handle(self.now, input),
            Subject::Two(pair) => pair.handle(self.now, self.side, input),
        }
        self.check();
    }

    /// A message from the wire.
    fn octets(&mut self, kind: u8, body: &[u8]) {
        let octets = message(kind, body);
        let session = self.subject.machine(self.side).wire_session();
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
        while let Some(next) = self.subject.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.subject.handle_timeout(self.now);
            self.check();
            steps += 1;
            assert!(steps < 100_000, "timers that never rest");
        }
        self.now = end;
    }

    fn check(&mut self) {
        while let Some((side, output)) = self.subject.poll_output() {
            let end = &mut self.ends[side as usize];
            match output {
                Output::Connect => {
                    assert!(!end.connection, "a second connection");
                    (end.connection, end.parted) = (true, false);
                }
                Output::Send(message) => {
                    assert!(end.connection && !end.parted, "{message:?} to nobody");
                    end.parted = matches!(message, Message::Notification(_));
                }
                Output::Close => (end.connection, end.parted) = (false, false),
                Output::Changed(change) => {
                    assert_eq!(change.old, end.state);
                    assert!(!change.reason.to_string().is_empty());
                    end.state = change.new;
                    // An attempt that failed is over.
                    if change.new == State::Active {
                        end.connection = false;
                    }
                }
                Output::Refresh(family) => {
                    assert!(self.subject.machine(side).wire_session().families.contains(family));
                }
            }
        }
        match self.subject {
            Subject::One(_, side) => self.check_end(side),
            Subject::Two(_) => {
                self.check_end(Connection::Dialled);
                self.check_end(Connection::Accepted);
                self.check_pair();
            }
        }
    }

    fn check_end(&self, side: Connection) {
        let (machine, end) = (self.subject.machine(side), self.ends[side as usize]);
        assert!(!end.parted, "a NOTIFICATION, but the connection stays");
        assert_eq!(machine.state(), end.state);
        let talking = matches!(end.state, State::OpenConfirm | State::Established);
        assert_eq!(machine.negotiated().is_some(), talking);
        // Whoever waits for something has an end to it; only an Established session may have no hold time.
        if matches!(end.state, State::Connect | State::OpenSent | State::OpenConfirm) {
            assert!(machine.next_timeout().is_some(), "{} for ever", end.state);
        }
        if end.state == State::Established && machine.negotiated().is_some_and(|n| n.hold_time.is_some()) {
            assert!(machine.next_timeout().is_some());
        }
    }

    /// Of two connections one stays, and where none does, both ways are tried (RFC 4271 6.8).
    fn check_pair(&self) {
        let state = |side: Connection| self.ends[side as usize].state;
        for (one, other) in
            [(Connection::Dialled, Connection::Accepted), (Connection::Accepted, Connection::Dialled)]
        {
            let stays = matches!(state(one), State::OpenConfirm | State::Established);
            if state(one) == State::Established || stays && state(other) == State::OpenConfirm {
                assert_eq!(state(other), State::Idle, "{one:?} stands, and the other doesn't rest");
            }
            let rests = state(other) == State::Idle && self.subject.machine(other).next_timeout().is_none();
            assert!(!self.started || !rests || stays, "{other:?} rests for nothing");
        }
    }
}
