//! What a peer can do to a connection, and what it gets for it; a session beside never notices.

use std::time::Instant;

use ferrolb_core::bgp::fsm::Reason;
use ferrolb_core::types::Password;
use tokio::net::TcpSocket;

use super::super::Verdicts;
use super::router::Router;
use super::*;
use crate::shell::sys::{save_syn, saved_syn, set_md5_key};

/// A session with a peer under script, and one beside it that stands.
struct Pair {
    bench: Bench,
    beside: Router,
    since: Instant,
}

impl Pair {
    /// `edit` is for the session under script. Its attempts come soon.
    async fn new(edit: impl FnOnce(&mut SessionSpec)) -> Pair {
        let mut bench = Bench::new().await;
        bench.listener = narrow();
        let beside = Router::new(&["127.0.0.21"]).await;
        let mut other = bench.spec(FamilySet::only(Family::V4));
        other.name = "beside".into();
        other.remote = beside.at[0];
        let routes = vec![(GROUP, GroupChange::Replace(many(3)))];
        bench.apply(Some(vec![other.clone()]), routes).await;
        let since = loop {
            let status = bench.status("beside").await;
            if status.state == State::Established {
                break status.since;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let mut pair = Pair { bench, beside, since };
        pair.bench.until(State::Established).await;
        let mut spec = pair.spec();
        edit(&mut spec);
        pair.bench.apply(Some(vec![other, spec]), vec![]).await;
        pair
    }

    fn spec(&self) -> SessionSpec {
        let mut spec = self.bench.spec(FamilySet::only(Family::V4));
        spec.session.connect_cap = Duration::from_millis(100);
        spec
    }

    /// A connection, up to our OPEN. One that was given up before it was taken isn't counted.
    async fn opened(&self) -> (ScriptedPeer, Open) {
        loop {
            let mut peer = ScriptedPeer::accept(&self.bench.listener).await;
            if let Some(Message::Open(open)) = peer.next().await {
                return (peer, open);
            }
        }
    }

    async fn established(&mut self) -> ScriptedPeer {
        let (mut peer, theirs) = self.opened().await;
        let ours = open_of(64513, 90);
        peer.write(&[Message::Open(ours.clone()), Message::Keepalive]).await;
        assert_eq!(peer.next().await, Some(Message::Keepalive));
        peer.session = Session::negotiate(&ours, &theirs);
        self.bench.until(State::Established).await;
        peer
    }

    /// Why the session under script ended, or an attempt failed.
    async fn ended(&mut self) -> Reason {
        loop {
            if let Event::SessionChanged { peer, new: State::Idle | State::Active, reason, .. } =
                self.bench.event().await
            {
                assert_eq!(&*peer, "tor");
                return reason;
            }
        }
    }

    async fn nobody_else_noticed(self) {
        let status = self.bench.status("beside").await;
        assert_eq!((status.state, status.since), (State::Established, self.since));
        assert_eq!(self.beside.established(), 1);
        within(self.bench.handle.shutdown("")).await;
    }
}

impl ScriptedPeer {
    /// In one segment.
    async fn write(&mut self, messages: &[Message]) {
        self.stream.write_all(&octets(messages)).await.unwrap();
    }

    /// Code, subcode and data of a NOTIFICATION, and the end.
    async fn refusal(&mut self) -> (u8, u8, Vec<u8>) {
        loop {
            match self.next().await {
                Some(Message::Notification(Notification { error, data })) => {
                    assert_eq!(self.next().await, None);
                    return (error.code(), error.subcode(), data);
                }
                Some(_) => {}
                None => panic!("closed without a NOTIFICATION"),
            }
        }
    }

    /// Ends the connection with a reset.
    fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

fn octets(messages: &[Message]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        match message {
            Message::Open(open) => open.encode(&mut out).unwrap(),
            Message::Notification(notification) => notification.encode(&mut out),
            Message::Keepalive => wire::keepalive(&mut out),
            Message::RouteRefresh(refresh) => refresh.encode(&mut out),
            Message::Update(_) => wire::end_of_rib(Family::V4, &mut out),
        }
    }
    out
}

#[tokio::test]
async fn octets_that_come_one_at_a_time_are_messages_all_the_same() {
    let mut pair = Pair::new(|_| {}).await;
    let (mut peer, theirs) = pair.opened().await;
    peer.stream.set_nodelay(true).unwrap();
    let ours = open_of(64513, 90);
    for octet in octets(&[Message::Open(ours.clone()), Message::Keepalive]) {
        peer.stream.write_all(&[octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.next().await, Some(Message::Keepalive));
    pair.bench.until(State::Established).await;
    peer.session = Session::negotiate(&ours, &theirs);
    peer.updates(2).await;
    for octet in octets(&[Message::RouteRefresh(RouteRefresh::request(Family::V4))]) {
        peer.stream.write_all(&[octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    while peer.announced < 6 {
        peer.update().await;
    }
    pair.nobody_else_noticed().await;
}

#[tokio::test]
async fn several_messages_in_one_segment_are_all_heard() {
    let mut pair = Pair::new(|_| {}).await;
    let (mut peer, theirs) = pair.opened().await;
    let ours = open_of(64513, 90);
    let update = || {
        let mut out = Vec::new();
        wire::end_of_rib(Family::V4, &mut out);
        let frame = wire::frame(&out, &Session::BEFORE_OPEN).unwrap().unwrap();
        Message::decode(&frame, &Session::BEFORE_OPEN).unwrap()
    };
    let refresh = Message::RouteRefresh(RouteRefresh::request(Family::V4));
    let all =
        [Message::Open(ours.clone()), Message::Keepalive, Message::Keepalive, update(), update(), refresh];
    peer.write(&all).await;
    assert_eq!(peer.next().await, Some(Message::Keepalive));
    pair.bench.until(State::Established).await;
    peer.session = Session::negotiate(&ours, &theirs);
    while peer.announced < 3 || peer.ends_of_rib < 1 {
        peer.update().await;
    }
    assert_eq!(pair.bench.status("tor").await.counters.updates_received, 2);
    pair.nobody_else_noticed().await;
}

/// RFC 4271 6.5; the connection after it is a new one.
#[tokio::test]
async fn a_peer_that_falls_silent_is_told_so_after_the_hold_time() {
    let mut pair = Pair::new(|spec| spec.session.hold_time = 1).await;
    let mut peer = pair.established().await;
    let before = Instant::now();
    assert_eq!(peer.refusal().await, (4, 0, vec![]));
    assert!((900..1900).contains(&before.elapsed().as_millis()));
    assert_eq!(pair.ended().await, Reason::HoldTimerExpired);
    drop(peer);
    pair.established().await;
    pair.nobody_else_noticed().await;
}

/// The window is shut: nothing gets out, no NOTIFICATION either.
#[tokio::test]
async fn a_peer_that_neither_reads_nor_speaks_is_left_after_the_hold_time() {
    let mut pair = Pair::new(|spec| spec.session.hold_time = 1).await;
    let peer = pair.established().await;
    pair.bench.apply(None, vec![(GROUP, GroupChange::Replace(unlike(6_000)))]).await;
    assert_eq!(pair.ended().await, Reason::HoldTimerExpired);
    pair.bench.apply(None, vec![(GROUP, GroupChange::Replace(many(3)))]).await;
    let mut again = pair.established().await;
    // One of them may have reached the others just now in its old form: the new one comes a second later.
    let settled = |routes: &BTreeMap<IpNet, wire::Attributes>| {
        routes.len() == 3 && routes.values().all(|a| a.large_communities.is_empty())
    };
    while !settled(&again.routes) {
        again.update().await;
    }
    drop(peer);
    pair.nobody_else_noticed().await;
}

#[tokio::test]
async fn a_reset_in_any_state_is_followed_by_another_attempt() {
    let mut pair = Pair::new(|_| {}).await;
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        let peer = match state {
            State::OpenSent => pair.opened().await.0,
            State::OpenConfirm => {
                let mut peer = pair.opened().await.0;
                peer.write(&[Message::Open(open_of(64513, 90))]).await;
                assert_eq!(peer.next().await, Some(Message::Keepalive));
                peer
            }
            _ => pair.established().await,
        };
        peer.reset();
        let reason = pair.ended().await;
        assert!(matches!(reason, Reason::ConnectionLost(_)), "{state}: {reason}");
    }
    let mut peer = pair.established().await;
    peer.updates(2).await;
    pair.nobody_else_noticed().await;
}

#[tokio::test]
async fn a_wrong_password_connects_nowhere_until_it_is_put_right() {
    let mut pair = Pair::new(|spec| spec.password = Some(Password::new(b"wrong"))).await;
    set_md5_key(&pair.bench.listener, [127, 0, 0, 1].into(), &Password::new(b"right")).unwrap();
    loop {
        // An attempt may have come before the key was there.
        if pair.ended().await == Reason::ConnectTimedOut {
            break;
        }
    }
    let mut spec = pair.spec();
    spec.password = Some(Password::new(b"right"));
    let mut other = pair.bench.spec(FamilySet::only(Family::V4));
    other.name = "beside".into();
    other.remote = pair.beside.at[0];
    pair.bench.apply(Some(vec![other, spec]), vec![]).await;
    pair.established().await;
    assert!(pair.bench.status("tor").await.pending.is_empty());
    pair.nobody_else_noticed().await;
}

/// RFC 4271 6.1, 6.2, RFC 6608: code, subcode and data.
#[tokio::test]
async fn what_is_no_good_message_is_answered_by_the_book() {
    let mut pair = Pair::new(|_| {}).await;
    let open = |edit: fn(&mut Open)| {
        let mut open = open_of(64513, 90);
        edit(&mut open);
        octets(&[Message::Open(open)])
    };
    let patched = |mut octets: Vec<u8>, at: usize, with: &[u8]| {
        octets[at..at + with.len()].copy_from_slice(with);
        octets
    };
    let keepalive = || octets(&[Message::Keepalive]);
    let in_open_sent = [
        ("a broken marker", patched(keepalive(), 3, &[0]), (1, 1, vec![])),
        ("a length below a header's", patched(keepalive(), 16, &[0, 18]), (1, 2, vec![0, 18])),
        ("a KEEPALIVE with a body", patched(keepalive(), 16, &[0, 20]), (1, 2, vec![0, 20])),
        ("an unknown type", patched(keepalive(), 18, &[9]), (1, 3, vec![9])),
        ("a KEEPALIVE before an OPEN", keepalive(), (5, 1, vec![4])),
        ("version 3", patched(open(|_| {}), 19, &[3]), (2, 1, vec![0, 4])),
        ("another AS", open(|open| (open.my_as, open.capabilities) = (64999, vec![])), (2, 2, vec![])),
        ("no identifier", open(|open| open.identifier = Ipv4Addr::UNSPECIFIED), (2, 3, vec![])),
        ("a hold time of 1 s", open(|open| open.hold_time = 1), (2, 6, vec![])),
        ("a hold time of 2 s", open(|open| open.hold_time = 2), (2, 6, vec![])),
    ];
    for (what, octets, expected) in in_open_sent {
        let (mut peer, _) = pair.opened().await;
        peer.stream.write_all(&octets).await.unwrap();
        assert_eq!(peer.refusal().await, expected, "{what}");
        let reason = pair.ended().await;
        assert!(matches!(reason, Reason::NotificationSent { .. }), "{what}: {reason}");
    }
    let mut peer = pair.established().await;
    peer.stream.write_all(&open(|_| {})).await.unwrap();
    assert_eq!(peer.refusal().await, (5, 3, vec![1]));
    pair.ended().await;
    for (theirs, agreed) in [(0, None), (3, Some(Duration::from_secs(3)))] {
        let (mut peer, _) = pair.opened().await;
        peer.write(&[Message::Open(open_of(64513, theirs)), Message::Keepalive]).await;
        pair.bench.until(State::Established).await;
        assert_eq!(pair.bench.status("tor").await.agreed.unwrap().hold_time, agreed);
        drop(peer);
        pair.ended().await;
    }
    pair.nobody_else_noticed().await;
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_tried_until_somebody_does() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let mut pair = Pair::new(|spec| spec.remote = socket.local_addr().unwrap()).await;
    for _ in 0..3 {
        let reason = pair.ended().await;
        assert!(matches!(&reason, Reason::ConnectFailed(error) if error.contains("refused")), "{reason}");
    }
    pair.bench.listener = socket.listen(8).unwrap();
    pair.established().await;
    pair.nobody_else_noticed().await;
}

/// As a router does that has its session with another daemon of the node.
#[tokio::test]
async fn a_router_that_turns_us_away_again_and_again_is_named_as_such() {
    let rejected = Notification::new(ErrorCode::Cease(CeaseSubcode::ConnectionRejected));
    for words in [None, Some(Message::Notification(rejected))] {
        let mut pair = Pair::new(|_| {}).await;
        let mut reasons = Vec::new();
        for _ in 0..3 {
            let (mut peer, _) = pair.opened().await;
            if let Some(words) = &words {
                peer.write(std::slice::from_ref(words)).await;
            }
            drop(peer);
            reasons.push(pair.ended().await.to_string());
        }
        let cause = "another BGP speaker on this node";
        assert_eq!(
            reasons.iter().map(|reason| reason.contains(cause)).collect::<Vec<_>>(),
            [false, false, true]
        );
        let shown = pair.bench.status("tor").await.last_error.unwrap().to_string();
        assert!(shown.contains(cause), "{shown}");
        // It takes us at last.
        pair.established().await;
        pair.nobody_else_noticed().await;
    }
}

#[tokio::test]
async fn the_peer_sees_ttl_1_of_single_hop_ebgp_and_255_of_all_others() {
    let cases = [
        (RemoteAs::Number(asn(64513)), false, 1),
        (RemoteAs::External, false, 1),
        (RemoteAs::Number(asn(64513)), true, 255),
        (RemoteAs::Number(asn(64512)), false, 255),
        (RemoteAs::Internal, false, 255),
    ];
    for local in ["127.0.0.1:0", "[::1]:0"] {
        for (remote_as, multihop, ttl) in cases {
            let bench = Bench::new().await;
            let listener = TcpListener::bind(local).await.unwrap();
            save_syn(&listener).unwrap();
            let mut spec = bench.spec(FamilySet::BOTH);
            spec.remote = listener.local_addr().unwrap();
            spec.multihop = multihop;
            spec.session.remote_as = remote_as;
            bench.apply(Some(vec![spec]), vec![]).await;
            let (accepted, _) = within(listener.accept()).await.unwrap();
            let syn = saved_syn(&accepted).unwrap();
            // Where IPv4 has its TTL, and IPv6 its hop limit.
            let at = if syn[0] >> 4 == 4 { 8 } else { 7 };
            assert_eq!(syn[at], ttl, "{remote_as:?}, multihop {multihop}, {local}");
        }
    }
}

/// RFC 7606 section 6: how faulty messages were dealt with can be seen.
#[tokio::test]
async fn faulty_updates_are_counted_by_verdict_over_all_connections() {
    const ATTRIBUTES: [u8; 14] = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 1];
    let update = |fault: &[u8]| {
        let attributes = [&ATTRIBUTES, fault].concat();
        let body = [&[0, 0, 0, attributes.len() as u8], attributes.as_slice(), &[8, 10]].concat();
        let head = [&[0xff; 16], &(19 + body.len() as u16).to_be_bytes()[..], &[2]].concat();
        [head, body].concat()
    };
    let empty_med = update(&[0x80, 4, 0]);
    let long_atomic_aggregate = update(&[0x40, 6, 1, 0]);
    let mut pair = Pair::new(|_| {}).await;
    let mut peer = pair.established().await;
    peer.stream.write_all(&empty_med).await.unwrap();
    // The attributes are longer than the message.
    let mut unreadable = update(&[]);
    unreadable[22] = 200;
    peer.stream.write_all(&unreadable).await.unwrap();
    let reason = pair.ended().await;
    let Reason::NotificationSent { notification, .. } = reason else { panic!("{reason}") };
    let mut peer = pair.established().await;
    peer.stream.write_all(&long_atomic_aggregate).await.unwrap();
    let status = loop {
        let status = pair.bench.status("tor").await;
        if status.counters.updates_received > 0 {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let one = Verdicts { attribute_discarded: 1, ..Verdicts::default() };
    assert_eq!(Verdicts::of(&status.counters.received), one);
    assert_eq!(status.totals.verdicts, Verdicts { treated_as_withdraw: 1, reset: 1, ..one });
    assert_eq!(status.totals.received.updates, 3);
    assert_eq!(status.notifications.sent.map(|(sent, _)| sent), Some(notification));
    pair.nobody_else_noticed().await;
}
