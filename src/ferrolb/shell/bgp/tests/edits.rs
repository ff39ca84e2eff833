//! Edits of sessions that stand: which reset them, and which only wait.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ferrolb_core::bgp::fsm::State;
use ferrolb_core::types::{FamilySet, GroupId, Password, RemoteAs, RouterId};

use super::super::SessionStatus;
use super::super::control::Control;
use super::router::Router;
use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % end) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64)].clone()
    }
}

/// What can be edited of a peer, as its operator sees it.
#[derive(Clone, Debug, PartialEq)]
struct Fields {
    my_asn: u32,
    local_asn: Option<u32>,
    remote_as: RemoteAs,
    remote: SocketAddr,
    source: Option<IpAddr>,
    router_id: Option<Ipv4Addr>,
    dual_stack: bool,
    multihop: bool,
    hold_time: u16,
    keepalive_time: Option<u64>,
    connect_time: u64,
    password: Option<&'static [u8]>,
    group: u32,
}

impl Fields {
    fn spec(&self, name: &str) -> SessionSpec {
        SessionSpec {
            name: name.into(),
            group: GroupId(self.group),
            remote: self.remote,
            source: self.source,
            password: self.password.map(Password::new),
            multihop: self.multihop,
            router_id: self.router_id.and_then(RouterId::new),
            session: fsm::Config {
                role: Role::Dial,
                my_asn: asn(self.my_asn),
                shown_asn: asn(self.local_asn.unwrap_or(self.my_asn)),
                remote_as: self.remote_as,
                hold_time: self.hold_time,
                keepalive_time: self.keepalive_time.map(Duration::from_secs),
                connect_cap: Duration::from_secs(self.connect_time),
                families: if self.dual_stack { FamilySet::BOTH } else { FamilySet::only(Family::V4) },
                extended_next_hop: false,
            },
        }
    }

    /// Edits one field, perhaps to what it is.
    fn edit(&mut self, random: &mut Random, router: &Router) {
        match random.below(20) {
            0 => self.my_asn = random.pick(&[64512, 64600]),
            1 => self.local_asn = random.pick(&[None, Some(64700)]),
            2 | 3 => {
                let numbers = [65001, 65002].map(|number| RemoteAs::Number(asn(number)));
                let [a, b] = numbers;
                self.remote_as =
                    random.pick(&[a, b, RemoteAs::External, RemoteAs::External, RemoteAs::Internal]);
            }
            4 => self.remote = random.pick(&router.at),
            5 => self.source = random.pick(&[None, Some([127, 0, 0, 1].into()), Some([127, 0, 0, 2].into())]),
            6 => self.router_id = random.pick(&[None, Some(Ipv4Addr::new(10, 9, 0, 1))]),
            7 => self.dual_stack = !self.dual_stack,
            8 => self.multihop = !self.multihop,
            9..=11 => self.hold_time = random.pick(&[0, 90, 120, 240]),
            12 | 13 => self.keepalive_time = random.pick(&[None, Some(20), Some(25)]),
            14 | 15 => self.connect_time = random.pick(&[1, 5, 10]),
            16 | 17 if self.password.is_some() => {
                self.password = random.pick(&[Some(b"one".as_slice()), Some(b"two")]);
            }
            _ => self.group = random.pick(&[1, 2]),
        }
    }

    fn allows(&self, asn: u32) -> bool {
        match self.remote_as {
            RemoteAs::Number(number) => number.get() == asn,
            RemoteAs::External => asn != self.my_asn,
            RemoteAs::Internal => asn == self.my_asn,
        }
    }

    /// Whether an edit from `self` ends a session with a router of this AS.
    fn must_reset(&self, new: &Fields, standing: u32) -> bool {
        let shown = |fields: &Fields| fields.local_asn.unwrap_or(fields.my_asn);
        self.my_asn != new.my_asn
            || shown(self) != shown(new)
            || self.remote_as != new.remote_as && !new.allows(standing)
            || self.remote != new.remote
            || self.source != new.source
            || self.router_id != new.router_id
            || self.dual_stack != new.dual_stack
            || self.multihop != new.multihop
    }

    /// What a session that was made with `self` doesn't have of `new`.
    fn pending(&self, new: &Fields) -> Vec<&'static str> {
        let mut fields = Vec::new();
        if self.hold_time != new.hold_time {
            fields.push("holdTime");
        }
        if self.keepalive_time != new.keepalive_time {
            fields.push("keepaliveTime");
        }
        if self.connect_time != new.connect_time {
            fields.push("connectTime");
        }
        if self.password != new.password {
            fields.push("password");
        }
        fields
    }
}

/// A router and the session with it.
struct Side {
    name: &'static str,
    router: Router,
    asn: u32,
    fields: Fields,
    made_with: Fields,
    /// How many sessions there must have been.
    sessions: usize,
    since: Option<Instant>,
}

impl Side {
    async fn new(name: &'static str, addresses: &[&str], password: Option<&'static [u8]>) -> Side {
        let router = Router::new(addresses).await;
        router.set_asn(65001);
        if let Some(password) = password {
            router.set_password(&Password::new(password));
        }
        let fields = Fields {
            my_asn: 64512,
            local_asn: None,
            remote_as: RemoteAs::Number(asn(65001)),
            remote: router.at[0],
            source: None,
            router_id: None,
            dual_stack: false,
            multihop: false,
            hold_time: 90,
            keepalive_time: None,
            connect_time: 1,
            password,
            group: 1,
        };
        Side { name, router, asn: 65001, made_with: fields.clone(), fields, sessions: 1, since: None }
    }

    /// Takes an edit in, and makes the router ready for it.
    fn edited(&mut self, new: Fields) {
        if let Some(password) = new.password {
            self.router.set_password(&Password::new(password));
        }
        if self.fields.must_reset(&new, self.asn) {
            if !new.allows(self.asn) {
                self.asn = match new.remote_as {
                    RemoteAs::Number(number) => number.get(),
                    RemoteAs::Internal => new.my_asn,
                    RemoteAs::External => 65009,
                };
                self.router.set_asn(self.asn);
            }
            self.sessions += 1;
            self.since = None;
            self.made_with = new.clone();
        }
        self.fields = new;
    }

    /// Whether its session stands as it has to; a session that was to stay has stayed.
    fn stands(&mut self, sessions: &[SessionStatus]) -> bool {
        let session = sessions.iter().find(|session| *session.peer == *self.name).unwrap();
        match self.since {
            Some(since) => {
                assert_eq!((session.state, session.since), (State::Established, since), "{}", self.name);
            }
            None => {
                if session.state != State::Established || self.router.established() < self.sessions {
                    return false;
                }
                self.since = Some(session.since);
            }
        }
        assert_eq!(session.pending, self.made_with.pending(&self.fields), "{}", self.name);
        assert_eq!(self.router.established(), self.sessions, "{}", self.name);
        true
    }
}

async fn all_stand(bench: &Bench, sides: &mut [Side]) {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let sessions = bench.handle.observer().sessions(false).await.unwrap();
        if sides.iter_mut().all(|side| side.stands(&sessions)) {
            return;
        }
        assert!(Instant::now() < patience, "{sessions:#?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A thousand edits, and the routers had as many sessions as there were edits that can't do without a new one.
#[tokio::test]
async fn a_thousand_edits_reset_only_what_they_must() {
    let bench = Bench::new().await;
    let mut random = Random(5);
    let mut sides = [
        Side::new("a", &["127.0.0.11", "127.0.0.11", "127.0.0.12"], None).await,
        Side::new("b", &["127.0.0.13", "127.0.0.13", "127.0.0.14"], Some(b"one")).await,
        Side::new("c", &["127.0.0.15"], None).await,
    ];
    let routes = |count| {
        vec![(GroupId(1), GroupChange::Replace(many(count))), (GroupId(2), GroupChange::Replace(many(3)))]
    };
    let specs = |sides: &[Side]| sides.iter().map(|side| side.fields.spec(side.name)).collect();
    bench.apply(Some(specs(&sides)), routes(5)).await;
    all_stand(&bench, &mut sides).await;
    for _ in 0..1000 {
        let side = &mut sides[random.below(3)];
        let mut fields = side.fields.clone();
        for _ in 0..=random.below(5) / 4 {
            fields.edit(&mut random, &side.router);
        }
        side.edited(fields);
        let changes = if random.below(8) == 0 { routes(random.below(20) as u32) } else { Vec::new() };
        bench.apply(Some(specs(&sides)), changes).await;
        all_stand(&bench, &mut sides).await;
    }
    let sessions: usize = sides.iter().map(|side| side.sessions).sum();
    assert!((200..600).contains(&sessions), "{sessions}");
    // Nobody came back later.
    tokio::time::sleep(Duration::from_millis(50)).await;
    all_stand(&bench, &mut sides).await;
    bench.handle.shutdown("").await;
}

/// What waits for the next connect is what the next connect brings.
#[tokio::test]
async fn edits_that_wait_apply_at_the_next_connect() {
    let mut bench = Bench::new().await;
    let mut spec = bench.spec(FamilySet::only(Family::V4));
    bench.apply(Some(vec![spec.clone()]), vec![]).await;
    let mut peer = ScriptedPeer::established(&bench.listener).await;
    bench.until(State::Established).await;
    let first = bench.handle.observer().sessions(false).await.unwrap()[0].since;
    spec.session.hold_time = 30;
    spec.session.keepalive_time = Some(Duration::from_secs(5));
    spec.session.connect_cap = Duration::from_secs(2);
    spec.session.remote_as = RemoteAs::External;
    bench.apply(Some(vec![spec.clone()]), vec![]).await;
    peer.updates(1).await;
    peer.silence().await;
    let status = bench.handle.observer().sessions(false).await.unwrap().remove(0);
    assert_eq!((status.since, status.pending), (first, vec!["holdTime", "keepaliveTime", "connectTime"]));
    assert_eq!(status.agreed.unwrap().hold_time, Some(Duration::from_secs(90)));
    drop(peer);
    let _peer = ScriptedPeer::established(&bench.listener).await;
    bench.until(State::Established).await;
    let status = bench.handle.observer().sessions(false).await.unwrap().remove(0);
    assert_eq!((status.state, status.pending.len()), (State::Established, 0));
    assert_eq!(status.agreed.unwrap().hold_time, Some(Duration::from_secs(30)));
    // The AS that stands doesn't fit any more.
    spec.session.remote_as = RemoteAs::Internal;
    bench.apply(Some(vec![spec]), vec![]).await;
    bench.until(State::Idle).await;
    bench.handle.shutdown("").await;
}

#[tokio::test]
async fn the_field_that_resets_a_session_is_named() {
    let old = Bench::new().await.spec(FamilySet::only(Family::V4));
    let named = |edit: fn(&mut SessionSpec)| {
        let mut new = old.clone();
        edit(&mut new);
        old.reset_by(&new, Some(asn(64513)))
    };
    let edits: [(fn(&mut SessionSpec), _); 13] = [
        (|spec| spec.remote.set_ip(IpAddr::from([192, 0, 2, 1])), Some("peerAddress")),
        (|spec| spec.remote.set_port(1), Some("peerPort")),
        (|spec| spec.session.my_asn = asn(64600), Some("myASN")),
        (|spec| spec.session.shown_asn = asn(64600), Some("localASN")),
        (|spec| spec.session.remote_as = RemoteAs::Number(asn(64600)), Some("peerASN")),
        (|spec| spec.session.remote_as = RemoteAs::Internal, Some("dynamicASN")),
        (|spec| spec.session.remote_as = RemoteAs::External, None),
        (|spec| spec.source = Some(IpAddr::from([127, 0, 0, 9])), Some("sourceAddress")),
        (|spec| spec.router_id = Some(RouterId::from_hash([9; 4])), Some("routerID")),
        (|spec| spec.multihop = true, Some("ebgpMultiHop")),
        (|spec| spec.session.families = FamilySet::BOTH, Some("dualStackAddressFamily")),
        (|spec| spec.session.hold_time = 30, None),
        (|spec| spec.password = Some(Password::new(b"x")), None),
    ];
    for (n, (edit, field)) in edits.into_iter().enumerate() {
        assert_eq!(named(edit), field, "edit {n}");
    }
}

/// An edit after which there is nothing to dial.
#[tokio::test]
async fn the_field_that_ends_a_session_is_named_in_the_log() {
    let bench = Bench::new().await;
    let spec = bench.spec(FamilySet::only(Family::V4));
    for field in ["vrf", "interface"] {
        let edited = async {
            let (_addresses, watched) = watch::channel(Arc::from([]));
            let (sink, _events) = mpsc::channel(64);
            let mut control = Control::new(WireConfig {
                node: NodeName::new("node-1"),
                internal_ipv4: None,
                addresses: watched,
                events: sink,
                written: Box::new(|_| {}),
            });
            control.apply(Update { sessions: Some(vec![spec.clone()]), ..Update::default() });
            let not_dialled = [(spec.name.clone(), field)].into();
            let edit = Update { sessions: Some(vec![]), not_dialled, ..Update::default() };
            let first = logged(|| control.apply(edit.clone()));
            (first, logged(|| control.apply(edit)))
        };
        let (first, again) = tokio::task::LocalSet::new().run_until(edited).await;
        let wanted = format!("event=\"sessionEdited\" peer=tor field=\"{field}\"");
        assert!(first.contains(&wanted), "{first}");
        assert_eq!(again, "");
    }
    bench.handle.shutdown("").await;
}

/// What `run` logs, on this thread.
fn logged(run: impl FnOnce()) -> String {
    let (sink, lines) = std::sync::mpsc::channel();
    let writer = move || Lines(sink.clone());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8(lines.try_iter().flatten().collect()).unwrap()
}

struct Lines(std::sync::mpsc::Sender<Vec<u8>>);

impl std::io::Write for Lines {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.send(octets.to_vec()).map_err(std::io::Error::other)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
