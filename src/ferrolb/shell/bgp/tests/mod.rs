mod edits;
mod router;
mod scale;
mod sockets;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ferrolb_core::bgp::fsm::{self, Role, State};
use ferrolb_core::bgp::local::InterfaceAddress;
use ferrolb_core::bgp::rib_out::Progress;
use ferrolb_core::bgp::wire::{
    self, AfiSafi, Capability, CeaseSubcode, ErrorCode, Message, Notification, Open, RefreshSubtype,
    RouteRefresh, Session,
};
use ferrolb_core::types::{
    Asn, Family, FamilySet, GroupId, LargeCommunity, NodeName, RemoteAs, RouteAttributes, StandardCommunity,
};
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};

use super::spec::Totals;
use super::{Event, GroupChange, SessionSpec, SessionStatus, Update, WireConfig, WireHandle, spawn};

const GROUP: GroupId = GroupId(1);

fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

/// A peer that does what the test tells it, and knows what it has been announced.
struct ScriptedPeer {
    stream: TcpStream,
    input: BytesMut,
    session: Session,
    routes: BTreeMap<IpNet, wire::Attributes>,
    updates: usize,
    announced: usize,
    withdrawn: usize,
    ends_of_rib: usize,
}

impl ScriptedPeer {
    async fn accept(listener: &TcpListener) -> ScriptedPeer {
        let (stream, _) = within(listener.accept()).await.unwrap();
        ScriptedPeer::over(stream)
    }

    fn over(stream: TcpStream) -> ScriptedPeer {
        ScriptedPeer {
            stream,
            input: BytesMut::new(),
            session: Session::BEFORE_OPEN,
            routes: BTreeMap::new(),
            updates: 0,
            announced: 0,
            withdrawn: 0,
            ends_of_rib: 0,
        }
    }

    async fn established(listener: &TcpListener) -> ScriptedPeer {
        let mut peer = ScriptedPeer::accept(listener).await;
        assert!(peer.open().await);
        peer
    }

    /// The same, and it is told where the answer to a refresh begins and ends (RFC 7313).
    async fn established_with_marks(listener: &TcpListener) -> ScriptedPeer {
        let mut peer = ScriptedPeer::accept(listener).await;
        let mut open = open_of(64513, 90);
        open.capabilities.push(Capability::EnhancedRouteRefresh);
        assert!(peer.open_with(open).await);
        peer
    }

    /// As far as Established; gives whether the other side came along.
    async fn open(&mut self) -> bool {
        self.open_with(open_of(64513, 90)).await
    }

    async fn open_with(&mut self, ours: Open) -> bool {
        let Some(Message::Open(theirs)) = self.next().await else { return false };
        let mut out = Vec::new();
        ours.encode(&mut out).unwrap();
        wire::keepalive(&mut out);
        self.stream.write_all(&out).await.unwrap();
        if self.next().await != Some(Message::Keepalive) {
            return false;
        }
        self.session = Session::negotiate(&ours, &theirs);
        true
    }

    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = wire::frame(&self.input, &self.session).unwrap() {
                let message = Message::decode(&frame, &self.session).unwrap();
                let total_len = frame.total_len;
                self.input.advance(total_len);
                return Some(message);
            }
            self.input.reserve(65_536);
            if within(self.stream.read_buf(&mut self.input)).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// Takes one UPDATE into the table.
    async fn update(&mut self) {
        let Some(Message::Update(update)) = self.next().await else { panic!("no UPDATE") };
        self.updates += 1;
        self.ends_of_rib += usize::from(update.end_of_rib().is_some());
        for prefix in withdrawn(&update) {
            self.withdrawn += 1;
            assert!(self.routes.remove(&prefix).is_some(), "{prefix} was never announced");
        }
        for prefix in announced(&update) {
            self.announced += 1;
            self.routes.insert(prefix, update.attributes.clone());
        }
    }

    async fn updates(&mut self, count: usize) {
        for _ in 0..count {
            self.update().await;
        }
    }

    /// Takes a mark of a refresh of IPv4 (RFC 7313).
    async fn mark(&mut self, subtype: RefreshSubtype) {
        let mark = RouteRefresh { subtype, ..RouteRefresh::request(Family::V4) };
        assert_eq!(self.next().await, Some(Message::RouteRefresh(mark)));
    }

    async fn silence(&mut self) {
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_millis(100), self.stream.peek(&mut byte)).await;
        assert!(read.is_err() && self.input.is_empty(), "something came");
    }
}

fn open_of(asn: u32, hold_time: u16) -> Open {
    Open {
        my_as: u16::try_from(asn).unwrap(),
        hold_time,
        identifier: Ipv4Addr::new(10, 0, 0, 2),
        capabilities: vec![
            Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
            Capability::MultiProtocol(AfiSafi::IPV6_UNICAST),
            Capability::RouteRefresh,
            Capability::FourOctetAs(asn),
        ],
    }
}

fn withdrawn(update: &wire::Update) -> Vec<IpNet> {
    let v4 = update.withdrawn.iter().copied().map(IpNet::from);
    v4.chain(update.mp_unreach.iter().flat_map(|unreach| unreach.prefixes.clone())).collect()
}

fn announced(update: &wire::Update) -> Vec<IpNet> {
    let v4 = update.nlri.iter().copied().map(IpNet::from);
    v4.chain(update.mp_reach.iter().flat_map(|reach| reach.prefixes.clone())).collect()
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("within 10 s")
}

/// A listener whose connections hold next to nothing that isn't read.
fn narrow() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    let raw = socket2::SockRef::from(&socket);
    raw.set_recv_buffer_size(4096).unwrap();
    // By the size of a segment goes how much the other side's kernel buffers.
    raw.set_tcp_mss(1000).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket.listen(8).unwrap()
}

struct Bench {
    handle: WireHandle,
    events: mpsc::Receiver<Event>,
    addresses: watch::Sender<Arc<[InterfaceAddress]>>,
    listener: TcpListener,
    /// How long changes took until they were written.
    written: std::sync::mpsc::Receiver<Duration>,
}

impl Bench {
    async fn new() -> Bench {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (addresses, watched) = watch::channel(Arc::from([]));
        let (sink, events) = mpsc::channel(64);
        let (told, written) = std::sync::mpsc::channel();
        let handle = spawn(WireConfig {
            node: NodeName::new("node-1"),
            internal_ipv4: Some(Ipv4Addr::new(10, 0, 0, 1)),
            addresses: watched,
            events: sink,
            written: Box::new(move |after| {
                // Few tests ask.
                let _ = told.send(after);
            }),
        });
        Bench { handle: handle.unwrap(), events, addresses, listener, written }
    }

    fn spec(&self, families: FamilySet) -> SessionSpec {
        SessionSpec {
            name: "tor".into(),
            group: GROUP,
            remote: self.listener.local_addr().unwrap(),
            source: None,
            password: None,
            multihop: false,
            router_id: None,
            session: fsm::Config {
                role: Role::Dial,
                my_asn: asn(64512),
                shown_asn: asn(64512),
                remote_as: RemoteAs::Number(asn(64513)),
                hold_time: 90,
                keepalive_time: None,
                connect_cap: Duration::from_secs(1),
                families,
                extended_next_hop: false,
            },
        }
    }

    async fn apply(&self, sessions: Option<Vec<SessionSpec>>, groups: Vec<(GroupId, GroupChange)>) {
        self.handle.apply(Update { sessions, groups, ..Update::default() }).await.unwrap();
    }

    async fn status(&self, name: &str) -> SessionStatus {
        let sessions = within(self.handle.observer().sessions(false)).await.unwrap();
        sessions.into_iter().find(|session| *session.peer == *name).unwrap()
    }

    async fn event(&mut self) -> Event {
        within(self.events.recv()).await.unwrap()
    }

    async fn until(&mut self, state: State) {
        loop {
            if matches!(self.event().await, Event::SessionChanged { new, .. } if new == state) {
                return;
            }
        }
    }
}

fn many(count: u32) -> Vec<(IpNet, Arc<RouteAttributes>)> {
    let attributes = Arc::new(RouteAttributes::default());
    (0..count)
        .map(|n| (IpNet::from(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))), attributes.clone()))
        .collect()
}

/// Each with attributes of its own: an UPDATE each.
fn unlike(count: u32) -> Vec<(IpNet, Arc<RouteAttributes>)> {
    let mut routes = many(count);
    for (n, (_, attributes)) in (0..).zip(&mut routes) {
        let large_communities = (0..3).map(|part| LargeCommunity { global: 64512, local1: n, local2: part });
        *attributes = Arc::new(RouteAttributes {
            large_communities: large_communities.collect(),
            ..RouteAttributes::default()
        });
    }
    routes
}

#[tokio::test]
async fn routes_reach_a_peer_and_only_changes_follow() {
    let mut bench = Bench::new().await;
    let spec = bench.spec(FamilySet::only(Family::V4));
    bench.apply(Some(vec![spec.clone()]), vec![(GROUP, GroupChange::Replace(many(10_000)))]).await;
    let mut peer = ScriptedPeer::established_with_marks(&bench.listener).await;
    bench.until(State::Established).await;
    peer.updates(14).await;
    assert_eq!((peer.routes.len(), peer.ends_of_rib), (10_000, 1));

    // The same once more is nothing; another set of attributes for one route is one UPDATE.
    bench.apply(Some(vec![spec.clone()]), vec![(GROUP, GroupChange::Replace(many(10_000)))]).await;
    peer.silence().await;
    let community = StandardCommunity(64512 << 16 | 7);
    let marked = RouteAttributes { communities: [community].into(), ..RouteAttributes::default() };
    let prefix: IpNet = "10.0.0.9/32".parse().unwrap();
    let gone: IpNet = "10.0.0.10/32".parse().unwrap();
    let changes = vec![(prefix, Some(Arc::new(marked))), (gone, None)];
    bench.apply(None, vec![(GROUP, GroupChange::Changes(changes))]).await;
    peer.updates(2).await;
    assert_eq!(peer.routes.len(), 9_999);
    assert_eq!(peer.routes[&prefix].communities, [community]);
    peer.silence().await;

    // All once more on request.
    let mut out = Vec::new();
    RouteRefresh::request(Family::V4).encode(&mut out);
    peer.stream.write_all(&out).await.unwrap();
    peer.mark(RefreshSubtype::Begin).await;
    peer.updates(14).await;
    peer.mark(RefreshSubtype::End).await;
    peer.silence().await;

    let sessions = bench.handle.observer().sessions(true).await.unwrap();
    let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!(session.state, State::Established);
    assert_eq!(session.routes.as_ref().map(Vec::len), Some(9_999));
    assert_eq!(session.counters.updates_sent, 30);
    assert_eq!(session.progress, Progress { sent: 9_999, pending: 0 });
    let Totals { established, sent, received, .. } = session.totals;
    assert_eq!((established, sent.opens, sent.keepalives, sent.updates), (1, 1, 1, 30));
    assert_eq!((received.opens, received.keepalives, received.route_refreshes), (1, 1, 1));
    // Two marks, around what was asked for once more.
    assert_eq!((sent.route_refreshes, sent.total(), received.total()), (2, 34, 3));

    // Timers and group are edited without a reset, the AS isn't.
    let mut edited = spec.clone();
    edited.session.hold_time = 30;
    edited.group = GroupId(2);
    bench.apply(Some(vec![edited.clone()]), vec![(GroupId(2), GroupChange::Replace(many(9)))]).await;
    peer.updates(13).await;
    assert_eq!(peer.routes.len(), 9);
    assert_eq!(bench.handle.observer().sessions(false).await.unwrap()[0].pending, ["holdTime"]);
    edited.session.shown_asn = asn(64999);
    bench.apply(Some(vec![edited]), vec![]).await;
    let reconfigured = Notification::new(ErrorCode::Cease(CeaseSubcode::OtherConfigurationChange));
    assert_eq!(peer.next().await, Some(Message::Notification(reconfigured)));
    assert_eq!(peer.next().await, None);
    drop(peer);
    let mut peer = ScriptedPeer::established(&bench.listener).await;
    peer.updates(2).await;
    assert_eq!((peer.routes.len(), peer.ends_of_rib), (9, 1));

    let before = std::time::Instant::now();
    let shutdown = tokio::spawn(async move { bench.handle.shutdown("maintenance").await });
    let Some(Message::Notification(cease)) = peer.next().await else { panic!("no NOTIFICATION") };
    assert_eq!(cease.error, ErrorCode::Cease(CeaseSubcode::AdministrativeShutdown));
    assert_eq!(cease.text(), Some("maintenance"));
    drop(peer);
    within(shutdown).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_session_comes_back_and_a_wrong_peer_is_told_so() {
    let mut bench = Bench::new().await;
    let mut spec = bench.spec(FamilySet::only(Family::V4));
    bench.apply(Some(vec![spec.clone()]), vec![(GROUP, GroupChange::Replace(many(5)))]).await;
    let mut peer = ScriptedPeer::established(&bench.listener).await;
    peer.updates(2).await;
    bench.until(State::Established).await;
    drop(peer);
    let Event::SessionChanged { new: State::Idle, .. } = bench.event().await else { panic!() };
    // The first retry comes at once, and brings everything again.
    let mut peer = ScriptedPeer::established(&bench.listener).await;
    peer.updates(2).await;
    assert_eq!((peer.routes.len(), peer.ends_of_rib), (5, 1));

    spec.session.remote_as = RemoteAs::Number(asn(65_000));
    bench.apply(Some(vec![spec]), vec![]).await;
    assert!(matches!(peer.next().await, Some(Message::Notification(_))));
    drop(peer);
    let mut peer = ScriptedPeer::accept(&bench.listener).await;
    assert!(matches!(peer.next().await, Some(Message::Open(_))));
    let mut out = Vec::new();
    let open =
        Open { my_as: 64513, hold_time: 90, identifier: Ipv4Addr::new(10, 0, 0, 2), capabilities: vec![] };
    open.encode(&mut out).unwrap();
    peer.stream.write_all(&out).await.unwrap();
    let refusal = Notification::new(ErrorCode::Open(wire::OpenSubcode::BadPeerAs));
    assert_eq!(peer.next().await, Some(Message::Notification(refusal)));

    // Under another name it is another session, and the right one.
    let mut other = bench.spec(FamilySet::only(Family::V4));
    other.name = "other".into();
    drop(peer);
    bench.apply(Some(vec![other]), vec![]).await;
    let mut peer = loop {
        let mut peer = ScriptedPeer::accept(&bench.listener).await;
        if peer.open().await {
            break peer;
        }
    };
    peer.updates(2).await;
    assert_eq!(within(bench.handle.observer().sessions(false)).await.unwrap()[0].peer.as_ref(), "other");

    // Taken out of the configuration, it isn't tried again.
    bench.apply(Some(vec![]), vec![]).await;
    drop(peer);
    assert!(within(bench.handle.observer().sessions(false)).await.unwrap().is_empty());
    within(bench.handle.shutdown("")).await;
}

#[tokio::test]
async fn a_family_without_next_hop_waits_for_one() {
    let mut bench = Bench::new().await;
    let attributes = Arc::new(RouteAttributes::default());
    let routes: Vec<_> = ["192.0.2.1/32", "2001:db8::1/128"]
        .into_iter()
        .map(|prefix| (prefix.parse().unwrap(), attributes.clone()))
        .collect();
    let spec = bench.spec(FamilySet::BOTH);
    bench.apply(Some(vec![spec]), vec![(GROUP, GroupChange::Replace(routes))]).await;
    let mut peer = ScriptedPeer::established(&bench.listener).await;
    bench.until(State::Established).await;
    peer.updates(3).await;
    assert_eq!((peer.routes.len(), peer.ends_of_rib), (1, 2));
    let missing = |cleared| Event::NoNextHop { peer: "tor".into(), family: Family::V6, cleared };
    assert_eq!(bench.event().await, missing(false));

    let at = |address: &str| InterfaceAddress {
        interface: 1,
        address: address.parse().unwrap(),
        global: true,
        tentative: false,
        deprecated: false,
    };
    bench.addresses.send_replace(Arc::from([at("127.0.0.1"), at("2001:db8:ff::1")]));
    peer.updates(1).await;
    assert_eq!(peer.routes.len(), 2);
    assert_eq!(bench.event().await, missing(true));
    bench.addresses.send_replace(Arc::from([]));
    peer.updates(1).await;
    assert_eq!(peer.routes.len(), 1);
    assert_eq!(bench.event().await, missing(false));
    bench.handle.shutdown("").await;
}

#[tokio::test]
async fn a_peer_that_reads_nothing_holds_up_nobody() {
    let mut bench = Bench::new().await;
    let other = std::mem::replace(&mut bench.listener, narrow());
    let deaf = bench.spec(FamilySet::only(Family::V4));
    let mut spec = deaf.clone();
    spec.name = "other".into();
    spec.remote = other.local_addr().unwrap();
    bench.apply(Some(vec![deaf, spec]), vec![(GROUP, GroupChange::Replace(unlike(10_000)))]).await;
    let (mut deaf, mut peer) =
        tokio::join!(ScriptedPeer::established(&bench.listener), ScriptedPeer::established(&other));
    bench.until(State::Established).await;
    while peer.ends_of_rib == 0 {
        peer.update().await;
    }
    for count in [5_000, 2_000] {
        bench.apply(None, vec![(GROUP, GroupChange::Replace(many(count)))]).await;
        while peer.routes.len() != count as usize {
            peer.update().await;
        }
    }
    // How much found room in the kernel's buffers before each change isn't ours to say; the end is.
    while deaf.ends_of_rib == 0 || deaf.routes.len() != 2_000 {
        deaf.update().await;
    }
    // What was withdrawn before it could be written was never sent.
    assert!(deaf.updates < peer.updates);
    within(bench.handle.shutdown("")).await;
}
