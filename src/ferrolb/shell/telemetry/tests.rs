use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::bgp::fsm::State;
use ferrolb_core::bgp::rib_out::Progress;
use ferrolb_core::decide::Options;
use ferrolb_core::engine::{Engine, EngineOptions, SourceChange};
use ferrolb_core::layer2::Counters;
use ferrolb_core::manifest;
use ferrolb_core::types::{FamilySet, NodeName};
use ferrolb_core::world::ObjectId;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::gate::Gate;
use super::health::{Health, Layer2Probe, Ping, WireAnswer, WireProbe};
use super::http::{BindAddress, Pages, Place, Secured, Shown, Site, accept, serve};
use super::metallb;
use super::metrics::{Metrics, declared};
use crate::shell::bgp::{SessionStatus, WireEnded};
use crate::shell::kube::fake::Fake;
use crate::shell::kube::{Delays, WatchStatus};
use crate::shell::layer2::{AddressStatus, Layer2Ended};
use crate::shell::source::Batch;
use crate::shell::tls::certs::Bundle;
use crate::shell::tls::{Offered, Origin, trusting};

const MANIFESTS: &str = r#"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: web, namespace: metallb-system}
spec: {addresses: [192.0.2.0/29, "2001:db8::/64"], avoidBuggyIPs: true}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: spare, namespace: metallb-system}
spec: {addresses: [198.51.100.1-198.51.100.3], autoAssign: false}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all, namespace: metallb-system}
spec: {ipAddressPools: [web]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
spec: {ipAddressPools: [web]}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.1, "fd00::1"]
  ipFamilyPolicy: RequireDualStack
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: quiet, namespace: shop}
spec: {type: LoadBalancer, clusterIPs: [10.96.0.2], externalTrafficPolicy: Local, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
endpoints: [{addresses: [10.1.0.1], nodeName: n1, conditions: {ready: true}}]
ports: []
"#;

struct Bench {
    metrics: Metrics,
    engine: Engine,
}

impl Bench {
    fn new() -> Bench {
        let options = EngineOptions {
            system_namespace: "metallb-system".into(),
            class: None,
            decide: Options::default(),
            node: NodeName::new("n1"),
            speaker: false,
            keep_routes: true,
            allocate_for_many: false,
        };
        let allocator = Allocator::new(Mode::Allocate, None);
        let engine = Engine::new(options, allocator, Default::default(), Default::default());
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Bench { metrics: Metrics::new("n1", started).unwrap(), engine }
    }

    fn apply(&mut self, batch: Batch) {
        self.metrics.batch(&batch);
        let outcome = self.engine.apply(batch.changes, None);
        self.metrics.outcome(&self.engine, &outcome);
    }

    fn load(&mut self, text: &str) {
        let parsed = manifest::parse("test.yaml", text.as_bytes());
        assert_eq!(parsed.errors, vec![]);
        let changes = parsed.objects.into_iter().map(|o| SourceChange::Apply(o.object)).collect();
        self.apply(Batch { changes, ..Batch::default() });
    }

    fn delete(&mut self, id: &ObjectId) {
        self.apply(Batch { changes: vec![SourceChange::Delete(id.clone())], ..Batch::default() });
    }

    fn id(&self, kind: &str, name: &str) -> ObjectId {
        let parsed = manifest::parse("test.yaml", MANIFESTS.as_bytes());
        let ids = parsed.objects.into_iter().map(|o| o.object.id());
        let found = ids.into_iter().find(|id| {
            let shown = format!("{id:?}");
            shown.contains(kind) && shown.contains(&format!("{name:?}"))
        });
        found.unwrap()
    }
}

fn session(remote: &str, state: State) -> SessionStatus {
    let mut status = SessionStatus {
        peer: "tor".into(),
        remote: remote.parse().unwrap(),
        state,
        since: Instant::now(),
        last_error: None,
        agreed: None,
        counters: Default::default(),
        totals: Default::default(),
        waiting: 0,
        progress: Progress { sent: 7, pending: 4 },
        pending: vec![],
        no_next_hop: FamilySet::NONE,
        opens: None,
        notifications: Default::default(),
        routes: None,
    };
    let totals = &mut status.totals;
    totals.established = 2;
    for (messages, extra) in [(&mut totals.sent, 0), (&mut totals.received, 1)] {
        messages.opens = 2;
        messages.updates = 5;
        messages.notifications = 1;
        messages.keepalives = 30 + extra;
        messages.route_refreshes = extra;
    }
    status
}

/// An address that is answered for.
fn answered() -> AddressStatus {
    AddressStatus {
        address: "192.0.2.2".parse().unwrap(),
        interfaces: vec!["eth0".into()],
        counters: Counters { requests: 3, responses: 2, gratuitous: 10 },
    }
}

/// Kinds of which one can be followed, and one can't.
fn watched() -> [WatchStatus; 2] {
    let mut delays = Delays { count: 3, sum: 65.5, ..Delays::default() };
    delays.at_most = [1, 1, 2, 2, 2, 3];
    let services = WatchStatus { resource: "services".into(), behind: Duration::ZERO, delays };
    let behind = Duration::from_secs(90);
    let pools =
        WatchStatus { resource: "ipaddresspools.metallb.io".into(), behind, delays: Delays::default() };
    [pools, services]
}

fn answer(sessions: Vec<SessionStatus>) -> WireAnswer {
    WireAnswer::Sessions { sessions, after: Duration::from_millis(250) }
}

#[test]
fn the_exposition_is_as_reviewed() {
    let mut bench = Bench::new();
    bench.load(MANIFESTS);
    let sessions =
        vec![session("10.0.0.1:179", State::Established), session("[fd00::1]:1179", State::Active)];
    let text = bench.metrics.exposition(Some(&answer(sessions)), &[answered()], &watched());
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/shell/telemetry/exposition.txt");
    if std::env::var_os("FERROLB_UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(path).unwrap());
}

#[test]
fn everything_that_metallbs_monitors_ask_for_is_there() {
    let mut bench = Bench::new();
    bench.load(MANIFESTS);
    let sessions = answer(vec![session("10.0.0.1:179", State::Established)]);
    let text = bench.metrics.exposition(Some(&sessions), &[answered()], &watched());
    for table in [metallb::SESSIONS, metallb::SPEAKER, metallb::LAYER2, metallb::POOLS, metallb::CLIENT] {
        metallb::assert_served(&text, table);
    }
}

#[test]
fn the_reference_lists_every_metric() {
    let mut bench = Bench::new();
    bench.load(MANIFESTS);
    let sessions = answer(vec![session("10.0.0.1:179", State::Established)]);
    let text = bench.metrics.exposition(Some(&sessions), &[answered()], &watched());
    let served: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let expected: Vec<String> =
        declared().map(|d| format!("{} {}", d.name, format!("{:?}", d.kind).to_lowercase())).collect();
    assert_eq!(served, expected);

    let reference = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md"));
    let listed: Vec<Vec<&str>> = reference
        .lines()
        .skip_while(|line| !line.starts_with("| metric |"))
        .take_while(|line| !line.starts_with("| alert |"))
        .filter(|line| line.starts_with("| `"))
        .map(|row| row.split('|').skip(1).take(3).map(str::trim).collect())
        .collect();
    let expected: Vec<Vec<String>> = declared()
        .map(|d| {
            let labels: Vec<String> = d.labels.iter().map(|label| format!("`{label}`")).collect();
            vec![format!("`{}`", d.name), format!("{:?}", d.kind).to_lowercase(), labels.join(", ")]
        })
        .collect();
    assert_eq!(listed, expected);
}

#[test]
fn series_of_what_is_gone_vanish() {
    let mut bench = Bench::new();
    let nothing = bench.metrics.exposition(None, &[], &[]);
    for absent in [
        "metallb_bgp_",
        "metallb_layer2_",
        "metallb_speaker_announced",
        "metallb_allocator_",
        "ferrolb_wire_",
    ] {
        assert!(!nothing.contains(absent), "{nothing}");
    }
    assert!(nothing.contains("metallb_k8s_client_config_loaded_bool 0\n"), "{nothing}");

    bench.load(MANIFESTS);
    let has = |bench: &Bench, what: &str| {
        bench.metrics.exposition(None, &[], &[]).lines().any(|line| line.starts_with(what))
    };
    assert!(has(
        &bench,
        "metallb_speaker_announced{service=\"shop/web\",protocol=\"bgp\",node=\"n1\",ip=\"192.0.2.2\"} 1"
    ));
    assert!(has(
        &bench,
        "metallb_speaker_announced{service=\"shop/web\",protocol=\"layer2\",node=\"n1\",ip=\"192.0.2.2\"} 1"
    ));
    assert!(has(
        &bench,
        "metallb_speaker_announced{service=\"shop/web\",protocol=\"layer2\",node=\"n1\",ip=\"2001:db8::\"} 1"
    ));
    assert!(has(&bench, "metallb_allocator_addresses_in_use_total{pool=\"web\"} 3"));
    assert!(!has(&bench, "metallb_speaker_announced{service=\"shop/quiet\""));

    let service = bench.id("Service", "web");
    bench.delete(&service);
    assert!(!has(&bench, "metallb_speaker_announced"));
    assert!(has(&bench, "metallb_allocator_addresses_in_use_total{pool=\"web\"} 1"));
    let pool = bench.id("IPAddressPool", "spare");
    bench.delete(&pool);
    assert!(!has(&bench, "metallb_allocator_addresses_total{pool=\"spare\"}"));
    assert!(has(&bench, "metallb_k8s_client_updates_total 10\n".trim()));

    // A wire thread that says nothing leaves no sessions behind, and says so.
    let silent = bench.metrics.exposition(Some(&WireAnswer::Silent), &[], &[]);
    assert!(!silent.contains("metallb_bgp_") && silent.contains("ferrolb_wire_up 0\n"), "{silent}");
}

#[test]
fn the_configuration_is_stale_while_errors_stand() {
    let mut bench = Bench::new();
    bench.load(MANIFESTS);
    let value = |bench: &Bench, name: &str| -> u64 {
        let text = bench.metrics.exposition(None, &[], &[]);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        line.parse().unwrap()
    };
    const STALE: &str = "metallb_k8s_client_config_stale_bool";
    assert_eq!((value(&bench, STALE), value(&bench, "metallb_k8s_client_update_errors_total")), (0, 0));
    let problems = || manifest::parse("a.yaml", b"{").errors.into_iter().map(Into::into).collect();
    bench.apply(Batch { problems: problems(), ..Batch::default() });
    assert_eq!((value(&bench, STALE), value(&bench, "ferrolb_manifest_problems")), (1, 1));
    bench.apply(Batch { cleared: problems(), ..Batch::default() });
    assert_eq!((value(&bench, STALE), value(&bench, "metallb_k8s_client_update_errors_total")), (0, 1));

    let pool = MANIFESTS.split("---").next().unwrap();
    bench.load(&pool.replace("192.0.2.0/29", "192.0.2.0/99"));
    assert_eq!((value(&bench, STALE), value(&bench, "ferrolb_config_errors")), (1, 1));
    bench.load(pool);
    assert_eq!((value(&bench, STALE), value(&bench, "ferrolb_config_errors")), (0, 0));
    assert_eq!(value(&bench, "metallb_k8s_client_update_errors_total"), 2);
}

/// A wire thread that does as it is told.
#[derive(Clone, Copy)]
enum FakeWire {
    Answers,
    Stalls,
    HasEnded,
}

impl WireProbe for FakeWire {
    fn sessions(&self) -> BoxFuture<'_, Result<Vec<SessionStatus>, WireEnded>> {
        Box::pin(async move {
            match self {
                FakeWire::Answers => Ok(vec![session("10.0.0.1:179", State::Active)]),
                FakeWire::Stalls => std::future::pending().await,
                FakeWire::HasEnded => Err(WireEnded),
            }
        })
    }
}

/// A layer2 thread that does as it is told.
#[derive(Clone, Copy)]
enum FakeLayer2 {
    Answers,
    Stalls,
    HasEnded,
}

impl Layer2Probe for FakeLayer2 {
    fn addresses(&self) -> BoxFuture<'_, Result<Vec<AddressStatus>, Layer2Ended>> {
        Box::pin(async move {
            match self {
                FakeLayer2::Answers => Ok(vec![answered()]),
                FakeLayer2::Stalls => std::future::pending().await,
                FakeLayer2::HasEnded => Err(Layer2Ended),
            }
        })
    }
}

fn main_loop(mut pings: tokio::sync::mpsc::Receiver<Ping>) {
    tokio::spawn(async move {
        while let Some(ping) = pings.recv().await {
            let _ = ping.send(());
        }
    });
}

#[tokio::test]
async fn health_follows_the_threads() {
    let (health, pings) = Health::new();
    main_loop(pings);
    assert_eq!(health.healthy().await.to_string(), "ok starting\n");
    assert!(!health.ready().await.is_good());
    // Its one session isn't established, and that doesn't matter.
    health.answers(FakeLayer2::Answers);
    health.started(FakeWire::Answers);
    assert_eq!(health.healthy().await.to_string(), "ok wire\nok layer2\nok main\n");
    assert!(health.ready().await.is_good());
    health.not_bound("socket", "in use".to_owned());
    assert!(health.healthy().await.is_good());
    assert_eq!(
        health.ready().await.to_string(),
        "ok wire\nok layer2\nok main\nok desired-set\nfailed socket: in use\n"
    );
    health.bound("socket");
    assert!(health.ready().await.is_good());
}

#[tokio::test]
async fn a_thread_that_stands_still_or_has_ended_is_red() {
    for (wire, expected) in [
        (FakeWire::Stalls, "failed wire: no answer from the wire thread for 2 s\nok layer2\nok main\n"),
        (FakeWire::HasEnded, "failed wire: the wire thread has ended\nok layer2\nok main\n"),
    ] {
        let (health, pings) = Health::new();
        main_loop(pings);
        health.answers(FakeLayer2::Answers);
        health.started(wire);
        assert_eq!(health.healthy().await.to_string(), expected);
        assert!(!health.ready().await.is_good());
    }
    for (layer2, expected) in [
        (FakeLayer2::Stalls, "ok wire\nfailed layer2: no answer from the layer2 thread for 2 s\nok main\n"),
        (FakeLayer2::HasEnded, "ok wire\nfailed layer2: the layer2 thread has ended\nok main\n"),
    ] {
        let (health, pings) = Health::new();
        main_loop(pings);
        health.answers(layer2);
        health.started(FakeWire::Answers);
        assert_eq!(health.healthy().await.to_string(), expected);
    }
    // The main loop takes no ping.
    let (health, _pings) = Health::new();
    health.answers(FakeLayer2::Answers);
    health.started(FakeWire::Answers);
    assert_eq!(
        health.healthy().await.to_string(),
        "ok wire\nok layer2\nfailed main: no answer from the main loop for 5 s\n"
    );
}

async fn served(wire: Option<FakeWire>) -> std::net::SocketAddr {
    served_as(wire, Shown::All, None).await
}

async fn served_as(wire: Option<FakeWire>, shown: Shown, secured: Option<Secured>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = pages(wire);
    tokio::spawn(accept(listener, Site { pages, shown, secured }));
    address
}

fn pages(wire: Option<FakeWire>) -> Pages {
    let (health, pings) = Health::new();
    main_loop(pings);
    if let Some(wire) = wire {
        health.answers(FakeLayer2::Answers);
        health.started(wire);
    }
    let metrics = Arc::new(Metrics::new("n1", SystemTime::UNIX_EPOCH).unwrap());
    Pages { metrics, health }
}

/// Sends these octets and gives all that comes back until the connection ends.
async fn exchange(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // Either may be cut short by the other side.
    let _ = stream.write_all(request).await;
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
        .await
        .expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    exchange(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn pages_are_served() {
    let address = served(Some(FakeWire::Answers)).await;
    let metrics = get(address, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    assert!(
        metrics.contains("metallb_bgp_session_up{peer=\"10.0.0.1:179\",vrf=\"default\"} 0\n"),
        "{metrics}"
    );
    assert!(get(address, "/healthz").await.ends_with("\r\n\r\nok wire\nok layer2\nok main\n"));
    assert!(get(address, "/readyz?verbose").await.starts_with("HTTP/1.1 200 OK\r\n"));

    let starting = served(None).await;
    assert!(get(starting, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(starting, "/readyz").await.starts_with("HTTP/1.1 503 "));
    let stalled = served(Some(FakeWire::Stalls)).await;
    assert!(get(stalled, "/healthz").await.starts_with("HTTP/1.1 503 "));
    assert!(get(stalled, "/metrics").await.contains("ferrolb_wire_up 0\n"));
}

#[tokio::test]
async fn bad_requests_do_no_harm() {
    let address = served(Some(FakeWire::Answers)).await;
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
    assert!(get(address, "/metrics/../etc/passwd").await.starts_with("HTTP/1.1 404 "));
    let post = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nxxx";
    assert!(exchange(address, post).await.starts_with("HTTP/1.1 405 "));
    assert!(
        exchange(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n").await.starts_with("HTTP/1.1 400 ")
    );
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let refused = exchange(address, long.as_bytes()).await;
    assert!(!refused.contains("metallb_"), "{refused}");
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000));
    assert!(!exchange(address, many.as_bytes()).await.contains("metallb_"));

    // Those who say nothing, or not all of it, hold every place for their few seconds only.
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metr").await.unwrap();
        silent.push(stream);
    }
    let begun = Instant::now();
    assert!(get(address, "/healthz").await.contains("ok wire"));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(silent);
    assert!(get(address, "/metrics").await.contains("metallb_bgp_session_up"));
}

#[test]
fn addresses_to_serve_at() {
    assert_eq!("off".parse(), Ok(BindAddress(None)));
    assert_eq!("".parse(), Ok(BindAddress(None)));
    assert_eq!("[::1]:7472".parse(), Ok(BindAddress(Some("[::1]:7472".parse().unwrap()))));
    assert!("7472".parse::<BindAddress>().is_err() && "localhost:1".parse::<BindAddress>().is_err());
}

#[tokio::test]
async fn a_port_has_the_pages_that_it_is_for() {
    for (shown, has, lacks) in
        [(Shown::Metrics, "/metrics", "/readyz"), (Shown::Checks, "/healthz", "/metrics")]
    {
        let address = served_as(Some(FakeWire::Answers), shown, None).await;
        assert!(get(address, has).await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(get(address, lacks).await.starts_with("HTTP/1.1 404 "));
    }
}

#[tokio::test]
async fn metrics_over_https_are_for_those_whom_the_api_server_lets_in() {
    let fake = Fake::start().await;
    fake.account("good", "prometheus", true);
    fake.account("poor", "somebody", false);
    let directory = tempfile::tempdir().unwrap();
    let (offered, _) = Offered::new(false, "", "").unwrap();
    let origin = Origin::Directory(directory.path().into());
    let secured = Secured::new(&offered, origin, Gate::new(fake.client())).unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], trusting::free_port()));
    let (name, flag, shown) = ("metrics", "--port", Shown::Metrics);
    let pages = pages(Some(FakeWire::Answers));
    let health = pages.health.clone();
    tokio::spawn(serve(Place { name, flag, address, shown, secured: Some(secured) }, pages));
    // Nobody has put a certificate there yet: that is told, and looked for again.
    let begun = Instant::now();
    while health.not_bound_now().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(health.ready().await.to_string().contains("failed metrics-certificate: "));
    let made = Bundle::generate("n1", jiff::Timestamp::now(), &Bundle::default()).unwrap();
    for name in ["tls.key", "tls.crt"] {
        std::fs::write(directory.path().join(name), &made.data()[name]).unwrap();
    }
    while trusting::get(address, "/metrics", None).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(health.ready().await.is_good());

    let (answer, certificate) = trusting::get(address, "/metrics", Some("good")).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("metallb_bgp_session_up"),
        "{answer}"
    );
    let own = made.certified_key().unwrap();
    assert_eq!(Some(&certificate), own.cert.first());
    for (token, status, says) in [
        (None, 401, "send a bearer token"),
        (Some("bad"), 401, "www-authenticate: Bearer"),
        (Some("poor"), 403, "\"somebody\" may not: allow it the verb get on the nonResourceURL /metrics"),
    ] {
        let (answer, _) = trusting::get(address, "/metrics", token).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(says), "{answer}");
        assert!(!answer.contains("metallb_"), "{answer}");
    }
    let (answer, _) = trusting::get(address, "/readyz", Some("good")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    // A monitor from before there was TLS is told so.
    let answer = get(address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("HTTPS"), "{answer}");
    drop(fake);
    let (answer, _) = trusting::get(address, "/metrics", Some("good")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (answer, _) = trusting::get(address, "/metrics", Some("other")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}
