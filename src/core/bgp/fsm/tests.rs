use std::net::Ipv4Addr;

use super::*;
use crate::bgp::wire::{AfiSafi, Capability, CeaseSubcode, OpenSubcode, UpdateSubcode};

const SECOND: Duration = Duration::from_secs(1);

fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

fn config() -> Config {
    Config {
        role: Role::Dial,
        my_asn: asn(64512),
        shown_asn: asn(64512),
        remote_as: RemoteAs::Number(asn(64513)),
        hold_time: 90,
        keepalive_time: None,
        connect_cap: DEFAULT_CONNECT_CAP,
        families: FamilySet::only(Family::V4),
        extended_next_hop: false,
    }
}

fn id(last: u8) -> RouterId {
    RouterId::new(Ipv4Addr::new(10, 0, 0, last)).unwrap()
}

fn their_open() -> Open {
    Open {
        my_as: 64513,
        hold_time: 180,
        identifier: id(2).get(),
        capabilities: vec![
            Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
            Capability::RouteRefresh,
            Capability::FourOctetAs(64513),
        ],
    }
}

/// A machine, its clock, and what it has wanted so far.
struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Bench {
        Bench { machine: Machine::new(config, 1), now: Instant::now() }
    }

    /// As far as `state`.
    fn at(config: Config, state: State) -> Bench {
        let mut bench = Bench::new(config);
        let steps = [
            (State::Connect, Input::Start),
            (State::OpenSent, Input::Connected { router_id: id(1) }),
            (State::OpenConfirm, Input::Received(Message::Open(their_open()))),
            (State::Established, Input::Received(Message::Keepalive)),
        ];
        for (reached, input) in steps {
            bench.give(input);
            assert_eq!(bench.machine.state(), reached);
            if reached == state {
                break;
            }
        }
        bench
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle(self.now, input);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.machine.poll_output()).collect()
    }

    /// Lets time pass until something happens, for at most so long.
    fn wait(&mut self, longest: Duration) -> Vec<Output> {
        let end = self.now + longest;
        while let Some(next) = self.machine.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.machine.handle_timeout(self.now);
            let outputs = self.outputs();
            if !outputs.is_empty() {
                return outputs;
            }
        }
        self.now = end;
        Vec::new()
    }

    /// The NOTIFICATION among outputs that end the session.
    fn ended(&self, outputs: &[Output]) -> Notification {
        let [Output::Send(Message::Notification(notification)), Output::Close, Output::Changed(change)] =
            outputs
        else {
            panic!("{outputs:?}");
        };
        assert_eq!((change.new, self.machine.state()), (State::Idle, State::Idle));
        notification.clone()
    }
}

#[test]
fn a_session_comes_up() {
    let mut bench = Bench::new(config());
    let change = |old, new, reason| Output::Changed(Transition { old, new, reason });
    let outputs = bench.give(Input::Start);
    assert_eq!(outputs, [Output::Connect, change(State::Idle, State::Connect, Reason::Started)]);
    let outputs = bench.give(Input::Connected { router_id: id(1) });
    let [Output::Send(Message::Open(open)), Output::Changed(_)] = outputs.as_slice() else { panic!() };
    assert_eq!((open.my_as, open.hold_time, open.identifier), (64512, 90, id(1).get()));
    let offered = [
        Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
        Capability::RouteRefresh,
        Capability::ExtendedMessage,
        Capability::FourOctetAs(64512),
        Capability::EnhancedRouteRefresh,
    ];
    assert_eq!(open.capabilities, offered);
    let outputs = bench.give(Input::Received(Message::Open(their_open())));
    let confirmed = change(State::OpenSent, State::OpenConfirm, Reason::OpenReceived);
    assert_eq!(outputs, [Output::Send(Message::Keepalive), confirmed]);
    let outputs = bench.give(Input::Received(Message::Keepalive));
    assert_eq!(outputs, [change(State::OpenConfirm, State::Established, Reason::KeepaliveReceived)]);
    let negotiated = bench.machine.negotiated().unwrap();
    assert_eq!((&negotiated.our_open, &negotiated.their_open), (open, &their_open()));
    assert_eq!(negotiated.hold_time, Some(90 * SECOND));
    assert_eq!(negotiated.keepalive_time, Some(30 * SECOND));
    assert!(!negotiated.internal && negotiated.session.four_octet_as);

    // KEEPALIVEs go out every 30 s, on the dot; the hold timer ends at 90 s after the last of the peer's.
    for _ in 0..5 {
        let before = bench.now;
        assert_eq!(bench.wait(60 * SECOND), [Output::Send(Message::Keepalive)]);
        assert_eq!(bench.now - before, 30 * SECOND);
        bench.give(Input::Received(Message::Keepalive));
    }
    let heard = bench.now;
    bench.wait(60 * SECOND);
    bench.wait(60 * SECOND);
    let outputs = bench.wait(60 * SECOND);
    assert_eq!(bench.now - heard, 90 * SECOND);
    // At the same moment a KEEPALIVE is due: it may come first.
    let end = outputs.iter().position(|o| matches!(o, Output::Send(Message::Notification(_)))).unwrap();
    assert_eq!(bench.ended(&outputs[end..]).error, ErrorCode::HoldTimerExpired);
}

#[test]
fn the_peers_open_is_judged() {
    let refused = |config: Config, edit: fn(&mut Open)| {
        let mut bench = Bench::at(config, State::OpenSent);
        let mut open = their_open();
        edit(&mut open);
        let outputs = bench.give(Input::Received(Message::Open(open)));
        bench.ended(&outputs)
    };
    let number = |number| Config { remote_as: RemoteAs::Number(asn(number)), ..config() };
    let remote = |remote_as| Config { remote_as, ..config() };
    let code = |subcode| Notification::new(ErrorCode::Open(subcode));
    let bad_as = code(OpenSubcode::BadPeerAs);
    assert_eq!(refused(number(64514), |_| {}), bad_as);
    assert_eq!(refused(remote(RemoteAs::Internal), |_| {}), bad_as);
    assert_eq!(
        refused(remote(RemoteAs::External), |open| open.capabilities = vec![Capability::FourOctetAs(64512)]),
        bad_as
    );
    assert_eq!(refused(config(), |open| open.capabilities = vec![Capability::FourOctetAs(0)]), bad_as);
    assert_eq!(refused(config(), |open| open.hold_time = 2), code(OpenSubcode::UnacceptableHoldTime));
    assert_eq!(
        refused(Config { hold_time: 0, ..config() }, |open| open.hold_time = 1),
        code(OpenSubcode::UnacceptableHoldTime)
    );
    let bad_id = code(OpenSubcode::BadBgpIdentifier);
    assert_eq!(refused(config(), |open| open.identifier = Ipv4Addr::UNSPECIFIED), bad_id);
    let internal = |open: &mut Open| {
        open.capabilities[2] = Capability::FourOctetAs(64512);
        open.identifier = id(1).get();
    };
    assert_eq!(refused(remote(RemoteAs::Internal), internal), bad_id);
    let no_family =
        refused(config(), |open| open.capabilities[0] = Capability::MultiProtocol(AfiSafi::IPV6_UNICAST));
    let data = vec![1, 4, 0, 1, 0, 1];
    assert_eq!(no_family, Notification { error: ErrorCode::Open(OpenSubcode::UnsupportedCapability), data });
}

#[test]
fn what_is_negotiated_follows_from_both_opens() {
    let negotiated = |config: Config, edit: fn(&mut Open)| {
        let ours = negotiate::open(&config, id(1));
        let mut theirs = their_open();
        edit(&mut theirs);
        negotiate::negotiate(&config, &ours, &theirs).unwrap()
    };
    let none = negotiated(config(), |open| open.hold_time = 0);
    assert_eq!((none.hold_time, none.keepalive_time), (None, None));
    let own = Config { keepalive_time: Some(Duration::from_millis(1500)), ..config() };
    let third = negotiated(own.clone(), |open| open.hold_time = 3);
    assert_eq!((third.hold_time, third.keepalive_time), (Some(3 * SECOND), Some(SECOND)));
    assert_eq!(negotiated(own, |_| {}).keepalive_time, Some(Duration::from_millis(1500)));
    let hasty = Config { keepalive_time: Some(Duration::from_millis(10)), ..config() };
    assert_eq!(negotiated(hasty, |_| {}).keepalive_time, Some(SECOND));
    // A peer without any capability: 2-octet AS, IPv4.
    let old = negotiated(config(), |open| open.capabilities.clear());
    assert!(!old.session.four_octet_as && old.session.families == FamilySet::only(Family::V4));
    // The AS that we show decides about internal, and a large one shows as AS_TRANS in 2 octets.
    let shown = Config { shown_asn: asn(70_000), ..config() };
    assert_eq!(negotiate::open(&shown, id(1)).my_as, 23456);
    assert!(!negotiated(shown, |_| {}).internal);
}

#[test]
fn what_does_not_fit_the_state_ends_the_session() {
    let update = || Message::Update(Box::default());
    let open = || Message::Open(their_open());
    let cases = [
        (State::OpenSent, Message::Keepalive, FsmSubcode::UnexpectedInOpenSent, 4),
        (State::OpenSent, update(), FsmSubcode::UnexpectedInOpenSent, 2),
        (State::OpenConfirm, update(), FsmSubcode::UnexpectedInOpenConfirm, 2),
        (State::OpenConfirm, open(), FsmSubcode::UnexpectedInOpenConfirm, 1),
        (State::Established, open(), FsmSubcode::UnexpectedInEstablished, 1),
    ];
    for (state, message, subcode, kind) in cases {
        let mut bench = Bench::at(config(), state);
        let outputs = bench.give(Input::Received(message));
        let expected = Notification { error: ErrorCode::Fsm(subcode), data: vec![kind] };
        assert_eq!(bench.ended(&outputs), expected);
    }
    let mut bench = Bench::at(config(), State::Established);
    let error = WireError::BadMessageLength { length: 5000 };
    let outputs = bench.give(Input::Malformed { kind: None, error: error.clone() });
    assert_eq!(bench.ended(&outputs), error.notification());
    // NOTIFICATIONs are obeyed, and not answered, even those that can't be read.
    for input in [
        Input::Received(Message::Notification(Notification::cease(
            CeaseSubcode::AdministrativeShutdown,
            "bye",
        ))),
        Input::Malformed { kind: Some(MessageType::Notification), error },
    ] {
        let mut bench = Bench::at(config(), State::Established);
        let outputs = bench.give(input);
        assert!(matches!(outputs.as_slice(), [Output::Close, Output::Changed(_)]), "{outputs:?}");
        assert_eq!(bench.machine.state(), State::Idle);
    }
}

#[test]
fn silence_ends_the_session_in_every_state() {
    for (state, longest) in [(State::OpenSent, 240), (State::OpenConfirm, 90), (State::Established, 90)] {
        let mut bench = Bench::at(config(), state);
        let begin = bench.now;
        while bench.machine.state() == state {
            bench.wait(300 * SECOND);
        }
        assert_eq!((bench.now - begin, bench.machine.state()), (longest * SECOND, State::Idle), "{state}");
    }
    // No hold time: Established lasts, OpenConfirm doesn't.
    let without = Config { hold_time: 0, ..config() };
    let mut bench = Bench::at(without.clone(), State::Established);
    assert_eq!(bench.wait(3600 * SECOND), []);
    let mut bench = Bench::at(without, State::OpenConfirm);
    let outputs = bench.wait(300 * SECOND);
    assert_eq!(bench.ended(&outputs).error, ErrorCode::HoldTimerExpired);
}

#[test]
fn attempts_back_off_until_a_session_has_proved_stable() {
    let mut bench = Bench::at(config(), State::Connect);
    let mut waits = Vec::new();
    for _ in 0..8 {
        bench.give(Input::ConnectFailed("refused".to_owned()));
        assert_eq!(bench.machine.state(), State::Active);
        let begin = bench.now;
        assert!(matches!(bench.wait(20 * SECOND).as_slice(), [Output::Connect, Output::Changed(_)]));
        waits.push(bench.now - begin);
    }
    for (wait, longest) in waits.iter().zip([0, 1, 2, 4, 8, 10, 10, 10]) {
        let longest = longest * SECOND;
        assert!((longest.mul_f64(0.75)..=longest).contains(wait), "{wait:?} for {longest:?}");
    }
    // Nobody answers: each attempt has its end.
    let begin = bench.now;
    let outputs = bench.wait(60 * SECOND);
    assert!(matches!(outputs.as_slice(), [Output::Close, Output::Changed(_)]), "{outputs:?}");
    assert_eq!(bench.now - begin, 10 * SECOND);

    let reconnects_at_once = |lasting: Duration| {
        let mut bench = Bench::at(config(), State::Connect);
        bench.give(Input::ConnectFailed(String::new()));
        bench.wait(SECOND);
        for input in [
            Input::Connected { router_id: id(1) },
            Input::Received(Message::Open(their_open())),
            Input::Received(Message::Keepalive),
        ] {
            bench.give(input);
        }
        let end = bench.now + lasting;
        while bench.now < end {
            bench.wait((end - bench.now).min(20 * SECOND));
            bench.give(Input::Received(Message::Keepalive));
        }
        bench.give(Input::Closed(None));
        bench.machine.next_timeout() == Some(bench.now)
    };
    assert!(!reconnects_at_once(80 * SECOND));
    assert!(reconnects_at_once(91 * SECOND));
}

#[test]
fn stop_says_why_and_ends_the_attempts() {
    for state in [State::Connect, State::OpenSent, State::OpenConfirm, State::Established] {
        let mut bench = Bench::at(config(), state);
        let outputs = bench.give(Input::Stop(Stop::Shutdown("maintenance".to_owned())));
        if state == State::Connect {
            assert!(matches!(outputs.as_slice(), [Output::Close, Output::Changed(_)]));
        } else {
            let cease = Notification::cease(CeaseSubcode::AdministrativeShutdown, "maintenance");
            assert_eq!(bench.ended(&outputs), cease);
        }
        assert_eq!(bench.machine.next_timeout(), None);
        // What still comes from the old connection changes nothing.
        assert_eq!(bench.give(Input::Received(Message::Keepalive)), []);
        assert_eq!(bench.give(Input::Closed(None)), []);
        assert_eq!(bench.give(Input::Connected { router_id: id(1) }), [Output::Close]);
        bench.give(Input::Start);
        assert_eq!(bench.machine.state(), State::Connect);
    }
    let mut bench = Bench::at(config(), State::Established);
    let outputs = bench.give(Input::Stop(Stop::Deconfigured));
    assert_eq!(bench.ended(&outputs), Notification::cease(CeaseSubcode::PeerDeconfigured, ""));
}

#[test]
fn refresh_is_passed_on_for_carried_families_only() {
    let mut bench = Bench::at(config(), State::Established);
    let refresh = |family| Input::Received(Message::RouteRefresh(RouteRefresh::request(family)));
    assert_eq!(bench.give(refresh(Family::V4)), [Output::Refresh(Family::V4)]);
    assert_eq!(bench.give(refresh(Family::V6)), []);
    assert_eq!(bench.machine.state(), State::Established);
}

#[test]
fn received_routes_are_judged_counted_and_dropped() {
    let mut bench = Bench::at(config(), State::Established);
    let update = |body: &[u8]| {
        let mut octets = vec![0xff; 16];
        octets.extend_from_slice(&u16::try_from(body.len() + 19).unwrap().to_be_bytes());
        octets.push(2);
        octets.extend_from_slice(body);
        let session = Session { families: FamilySet::BOTH, four_octet_as: true, ..Session::BEFORE_OPEN };
        let frame = crate::bgp::wire::frame(&octets, &session).unwrap().unwrap();
        Input::Received(Message::decode(&frame, &session).unwrap())
    };
    const GOOD: [u8; 14] = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 1];
    let announce = |more: &[u8]| {
        let attributes = [&GOOD, more].concat();
        [&[0, 0, 0, attributes.len() as u8], attributes.as_slice(), &[8, 10, 8, 11]].concat()
    };
    for body in [
        announce(&[]),
        announce(&[0x40, 6, 1, 0]),
        announce(&[0x80, 4, 0]),
        vec![0, 2, 8, 10, 0, 0],
        vec![0; 4],
    ] {
        assert_eq!(bench.give(update(&body)), []);
    }
    let mut expected = Received {
        accepted: 3,
        attribute_discarded: 1,
        treated_as_withdraw: 1,
        announced: 4,
        withdrawn: 3,
        end_of_rib: FamilySet::only(Family::V4),
        ..Received::default()
    };
    assert_eq!(bench.machine.updates_received(), expected);
    let outputs = bench.give(update(&[0, 0, 0, 0, 33, 10, 0, 0, 0]));
    assert_eq!(bench.ended(&outputs).error, ErrorCode::Update(UpdateSubcode::InvalidNetworkField));
    expected.reset = 1;
    assert_eq!((bench.machine.updates_received(), expected.updates()), (expected, 6));
    // One that can't be read ends the session as well, and is counted.
    let mut bench = Bench::at(config(), State::Established);
    let error = WireError::MalformedAttributeList("longer than the message");
    bench.give(Input::Malformed { kind: Some(MessageType::Update), error });
    assert_eq!(bench.machine.updates_received(), Received { reset: 1, ..Received::default() });
}

/// RFC 9687: silence in the other direction.
#[test]
fn a_peer_that_takes_nothing_is_left_after_the_send_hold_time() {
    for (hold_time, longest) in [(90, 480), (180, 480), (600, 1200), (0, 480)] {
        let mut bench = Bench::new(Config { hold_time, ..config() });
        let theirs = Open { hold_time, ..their_open() };
        for input in [
            Input::Start,
            Input::Connected { router_id: id(1) },
            Input::Received(Message::Open(theirs)),
            Input::Received(Message::Keepalive),
        ] {
            bench.give(input);
        }
        // Time passes; the peer talks, but doesn't listen.
        let pass = |bench: &mut Bench, time: Duration| {
            let (begin, mut outputs) = (bench.now, Vec::new());
            while bench.now < begin + time && bench.machine.state() == State::Established {
                bench.give(Input::Received(Message::Keepalive));
                outputs = bench.wait((begin + time - bench.now).min(20 * SECOND));
            }
            outputs
        };
        // Nothing waits: nothing is missed.
        pass(&mut bench, 3000 * SECOND);
        // A few octets don't count, a message's worth does, and so does all that there was.
        bench.give(Input::Written { octets: 100, left: 9000 });
        pass(&mut bench, (longest - 1) * SECOND);
        bench.give(Input::Written { octets: 4096, left: 5000 });
        pass(&mut bench, (longest - 1) * SECOND);
        bench.give(Input::Written { octets: 5000, left: 0 });
        pass(&mut bench, 2000 * SECOND);
        assert_eq!(bench.machine.state(), State::Established);
        bench.give(Input::Written { octets: 0, left: 19 });
        bench.give(Input::Written { octets: 18, left: 1 });
        let begin = bench.now;
        let outputs = pass(&mut bench, 3000 * SECOND);
        assert_eq!(bench.now - begin, longest * SECOND);
        assert_eq!(bench.ended(&outputs), Notification::new(ErrorCode::SendHoldTimerExpired));
    }
}

/// RFC 7313 section 4.
#[test]
fn refreshes_are_marked_where_both_sides_know_marks() {
    let request = |family| Input::Received(Message::RouteRefresh(RouteRefresh::request(family)));
    let mark = |family, subtype| {
        Output::Send(Message::RouteRefresh(RouteRefresh { subtype, ..RouteRefresh::request(family) }))
    };
    let (begin, end) = (RefreshSubtype::Begin, RefreshSubtype::End);
    let both = Config { families: FamilySet::BOTH, ..config() };
    let mut open = their_open();
    open.capabilities.push(Capability::MultiProtocol(AfiSafi::IPV6_UNICAST));
    open.capabilities.push(Capability::EnhancedRouteRefresh);
    let mut bench = Bench::at(both, State::OpenSent);
    bench.give(Input::Received(Message::Open(open)));
    bench.give(Input::Received(Message::Keepalive));
    // Not before the first routes and their End-of-RIB.
    assert_eq!(bench.give(request(Family::V4)), []);
    assert!(bench.machine.awaits_routes_sent());
    assert_eq!(bench.give(Input::RoutesSent), [mark(Family::V4, begin), Output::Refresh(Family::V4)]);
    // Again while it is under way: it starts over within its marks. Another family has its own.
    assert_eq!(bench.give(request(Family::V4)), [Output::Refresh(Family::V4)]);
    assert_eq!(bench.give(request(Family::V6)), [mark(Family::V6, begin), Output::Refresh(Family::V6)]);
    assert_eq!(bench.give(Input::RoutesSent), [mark(Family::V4, end), mark(Family::V6, end)]);
    assert!(!bench.machine.awaits_routes_sent());
    assert_eq!(bench.give(Input::RoutesSent), []);
    // The peer's own marks are about routes that we don't keep; unknown subtypes are ignored (section 5).
    for subtype in [begin, end, RefreshSubtype::Unknown(9)] {
        let refresh = RouteRefresh { subtype, ..RouteRefresh::request(Family::V4) };
        assert_eq!(bench.give(Input::Received(Message::RouteRefresh(refresh))), []);
    }
    assert_eq!(bench.machine.state(), State::Established);
}

#[test]
fn the_last_notification_in_each_direction_is_kept() {
    let mut bench = Bench::at(config(), State::Established);
    let bye = Notification::cease(CeaseSubcode::AdministrativeShutdown, "until 9");
    bench.give(Input::Received(Message::Notification(bye.clone())));
    let heard = bench.now;
    bench.wait(SECOND);
    bench.give(Input::Connected { router_id: id(1) });
    assert!(bench.machine.sent_open().is_some());
    bench.give(Input::Received(Message::Keepalive));
    let kept = bench.machine.notifications();
    assert_eq!(kept.received, Some((bye, heard)));
    let error = ErrorCode::Fsm(FsmSubcode::UnexpectedInOpenSent);
    assert_eq!(kept.sent, Some((Notification { error, data: vec![4] }, bench.now)));

    // Whatever ends a session with words of ours is kept, the timers and the operator too.
    let mut bench = Bench::at(config(), State::Established);
    bench.wait(90 * SECOND);
    let sent = |bench: &Bench| bench.machine.notifications().sent.clone().map(|(sent, _)| sent);
    while bench.machine.state() == State::Established {
        bench.wait(90 * SECOND);
    }
    assert_eq!(sent(&bench), Some(Notification::new(ErrorCode::HoldTimerExpired)));
    let mut bench = Bench::at(Config { hold_time: 0, ..config() }, State::Established);
    bench.give(Input::Written { octets: 0, left: 19 });
    while bench.machine.state() == State::Established {
        bench.give(Input::Received(Message::Keepalive));
        bench.wait(20 * SECOND);
    }
    assert_eq!(sent(&bench), Some(Notification::new(ErrorCode::SendHoldTimerExpired)));
    let mut bench = Bench::at(config(), State::Established);
    bench.give(Input::Stop(Stop::Shutdown("until 10".to_owned())));
    assert_eq!(sent(&bench).unwrap().text(), Some("until 10"));
}

/// RFC 4271 4.2 and 6.2: of the peer's hold times only 1 and 2 s are refused, and the lower one counts.
#[test]
fn hold_times_from_0_to_3() {
    for (ours, theirs, expected) in [
        (90, 0, Ok(None)),
        (90, 1, Err(())),
        (90, 2, Err(())),
        (90, 3, Ok(Some(3))),
        (0, 3, Ok(None)),
        (0, 2, Err(())),
        (3, 90, Ok(Some(3))),
    ] {
        let mut bench = Bench::at(Config { hold_time: ours, ..config() }, State::OpenSent);
        let open = Open { hold_time: theirs, ..their_open() };
        let outputs = bench.give(Input::Received(Message::Open(open)));
        let Ok(expected) = expected else {
            let refused = Notification::new(ErrorCode::Open(OpenSubcode::UnacceptableHoldTime));
            assert_eq!(bench.ended(&outputs), refused);
            continue;
        };
        let negotiated = bench.machine.negotiated().unwrap();
        assert_eq!(negotiated.hold_time, expected.map(|seconds| seconds * SECOND));
        assert_eq!(negotiated.keepalive_time, expected.map(|_| SECOND));
    }
}

/// A firewall that begins to drop everything: the end comes at the hold time, and the next attempt has a new socket.
#[test]
fn silence_leads_to_a_fresh_connection() {
    let mut bench = Bench::at(config(), State::Established);
    let begin = bench.now;
    while bench.machine.state() == State::Established {
        bench.wait(100 * SECOND);
    }
    assert_eq!(bench.now - begin, 90 * SECOND);
    let outputs = bench.wait(SECOND);
    assert!(matches!(outputs.as_slice(), [Output::Connect, Output::Changed(_)]), "{outputs:?}");
}

/// The process stood still beyond the hold time. A peer that goes on talking stays; one that is gone is left a keepalive's time
/// later, once and for all.
#[test]
fn a_process_that_stood_still_accuses_nobody() {
    let stand_still = || {
        let mut bench = Bench::at(config(), State::Established);
        bench.now += 120 * SECOND;
        assert_eq!(bench.give(Input::Stalled), []);
        bench.machine.handle_timeout(bench.now);
        assert_eq!(bench.outputs(), [Output::Send(Message::Keepalive)]);
        bench
    };
    let mut bench = stand_still();
    bench.now += 29 * SECOND;
    bench.give(Input::Received(Message::Keepalive));
    assert_eq!(bench.wait(89 * SECOND), [Output::Send(Message::Keepalive)]);
    assert_eq!(bench.machine.state(), State::Established);
    // Whoever is told so all the time still comes to an end with a peer that is gone.
    let mut bench = stand_still();
    let begin = bench.now;
    while bench.machine.state() == State::Established {
        bench.give(Input::Stalled);
        bench.now += SECOND;
        bench.machine.handle_timeout(bench.now);
        bench.outputs();
    }
    assert_eq!(bench.now - begin, 30 * SECOND);
    // It isn't told so in vain: a silence that began anew is forgiven anew. One that isn't due soon needs no forgiveness.
    let mut bench = stand_still();
    bench.give(Input::Received(Message::Keepalive));
    bench.give(Input::Stalled);
    bench.now += 100 * SECOND;
    bench.give(Input::Stalled);
    bench.machine.handle_timeout(bench.now);
    assert_eq!(bench.machine.state(), State::Established);
    // The send hold timer, too; where there is no connection there is nothing to forgive.
    let mut bench = stand_still();
    bench.give(Input::Received(Message::Keepalive));
    bench.give(Input::Written { octets: 0, left: 9 });
    bench.now += 500 * SECOND;
    bench.give(Input::Received(Message::Keepalive));
    bench.give(Input::Stalled);
    bench.machine.handle_timeout(bench.now);
    assert_eq!(bench.machine.state(), State::Established);
    let mut bench = Bench::new(config());
    assert_eq!((bench.give(Input::Stalled), bench.machine.next_timeout()), (vec![], None));
}
