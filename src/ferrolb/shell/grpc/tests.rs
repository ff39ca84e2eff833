use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::bgp::fsm::{Reason, State};
use ferrolb_core::config::LastValid;
use ferrolb_core::decide::Options;
use ferrolb_core::engine::{Engine, EngineOptions};
use ferrolb_core::types::NodeName;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tonic::Code;

use super::api::watch_event::Change;
use super::api::{GetStatusRequest, WatchRequest};
use super::server::{Serving, serve, serve_retrying};
use super::{About, Desk, Scope, client};
use crate::shell::bgp::{self, Event, WireConfig, WireHandle};
use crate::shell::layer2::{self, Layer2Handle};
use crate::shell::telemetry::health::{Health, Ping};

struct Role {
    desk: Desk,
    engine: Engine,
    wire: WireHandle,
    layer2: Layer2Handle,
    serving: Result<Serving, String>,
    about: About,
    pings: mpsc::Receiver<Ping>,
    directory: TempDir,
}

fn role(directory: TempDir) -> Role {
    let node = NodeName::new("n1");
    let options = EngineOptions {
        system_namespace: "metallb-system".into(),
        class: None,
        decide: Options::default(),
        node: node.clone(),
        speaker: false,
        keep_routes: true,
        allocate_for_many: false,
    };
    let engine =
        Engine::new(options, Allocator::new(Mode::Allocate, None), LastValid::default(), Default::default());
    let (_, addresses) = watch::channel(Arc::from([]));
    let (events, _) = mpsc::channel(8);
    let written = Box::new(|_| {});
    let wire = WireConfig { node: node.clone(), internal_ipv4: None, addresses, events, written };
    let wire = bgp::spawn(wire).unwrap();
    let (events, _) = mpsc::channel(8);
    let layer2 = layer2::spawn(Default::default(), events).unwrap();
    let (desk, inquirer) = Desk::new(Scope { node, namespace: "metallb-system".into(), class: None });
    let (health, pings) = Health::new();
    let about = About {
        role: "standalone",
        node: "n1".into(),
        desk: inquirer,
        wire: Some(wire.observer()),
        layer2: Some(layer2.observer()),
        health,
    };
    let serving = serve(&directory.path().join("s"), about.clone());
    Role { desk, engine, wire, layer2, serving, about, pings, directory }
}

impl Role {
    /// Answers while `script` goes on.
    async fn during<T>(&mut self, script: impl Future<Output = T>) -> T {
        let answering = async {
            loop {
                tokio::select! {
                    question = self.desk.next() => self.desk.answer(question, &self.engine),
                    Some(ping) = self.pings.recv() => drop(ping.send(())),
                }
            }
        };
        tokio::select! {
            () = answering => unreachable!("it never ends"),
            result = tokio::time::timeout(Duration::from_secs(20), script) => result.unwrap(),
        }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("s")
    }
}

async fn answers(socket: &Path) -> bool {
    let request = GetStatusRequest { routes: false, peer: String::new() };
    client::connect(socket).await.unwrap().get_status(request).await.is_ok()
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_goes_with_the_role() {
    let mut role = role(TempDir::new().unwrap());
    let socket = role.socket();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(role.during(answers(&socket)).await);
    drop(role.serving);
    assert!(!socket.exists());
    role.wire.shutdown("").await;
}

#[tokio::test]
async fn only_what_a_dead_process_left_is_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut first = role(directory);
    assert!(first.during(answers(&path)).await);

    // A second process leaves a living one alone, and its end doesn't take the socket away.
    let about = first.about.clone();
    let refusal = serve(&path, about.clone()).err().unwrap();
    assert!(refusal.contains("belongs to another running process"), "{refusal}");
    assert!(first.during(answers(&path)).await);

    let file = first.directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let refusal = serve(&file, about).err().unwrap();
    assert!(refusal.contains("is no socket"), "{refusal}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn a_socket_that_cannot_be_bound_is_a_red_check_until_it_can() {
    let mut role = role(TempDir::new().unwrap());
    role.about.health.answers(role.layer2.observer());
    role.about.health.started(role.wire.observer());
    let path = role.directory.path().join("missing/t");
    let health = role.about.health.clone();
    let _serving = serve_retrying(path.clone(), role.about.clone(), Duration::from_millis(10));
    tokio::task::yield_now().await;
    let readiness = health.clone();
    let report = role.during(async move { readiness.ready().await }).await;
    assert!(!report.is_good());
    let shown = report.to_string();
    assert!(shown.contains("failed socket: ") && shown.contains("missing/t can't be bound"), "{shown}");
    assert!(role.during(async { health.healthy().await }).await.is_good(), "it is no reason to restart");
    let socket = role.socket();
    let request = GetStatusRequest { routes: false, peer: String::new() };
    let asked = async { client::connect(&socket).await.unwrap().get_status(request).await.unwrap() };
    let [check] = role.during(asked).await.into_inner().failed_checks.try_into().unwrap();
    assert_eq!(check.name, "socket");

    fs::create_dir(role.directory.path().join("missing")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !path.exists() || !health.not_bound_now().is_empty() {
        assert!(Instant::now() < deadline, "it isn't tried again");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(role.during(answers(&path)).await);
    assert!(role.during(async { health.ready().await }).await.is_good());
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_is_cut_off() {
    let mut role = role(TempDir::new().unwrap());
    let socket = role.socket();
    let mut watch = role
        .during(async { client::connect(&socket).await.unwrap().watch(WatchRequest {}).await.unwrap() })
        .await
        .into_inner();
    let end = watch.message().await.unwrap().unwrap();
    assert!(matches!(end.change, Some(Change::SnapshotEnd(_))) && end.initial);
    let happened = Event::SessionChanged {
        peer: "tor".into(),
        old: State::Idle,
        new: State::Connect,
        reason: Reason::ConnectFailed("x".repeat(1000)),
    };
    // Nothing here waits for the watcher, who reads nothing meanwhile.
    for _ in 0..20 {
        for _ in 0..5_000 {
            role.desk.tell_session(&happened);
        }
        tokio::task::yield_now().await;
    }
    let mut read = 0;
    let status = loop {
        match tokio::time::timeout(Duration::from_secs(10), watch.message()).await.unwrap() {
            Ok(event) => {
                assert!(event.is_some());
                read += 1;
            }
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("too slow"), "{status}");
    assert!(read < 100_000);
    // Who asks again is served.
    assert!(role.during(answers(&socket)).await);
}

#[tokio::test]
async fn a_role_whose_wire_thread_has_ended_says_so() {
    let Role { mut desk, engine, wire, serving: _serving, directory, .. } = role(TempDir::new().unwrap());
    wire.shutdown("").await;
    let request = GetStatusRequest { routes: false, peer: String::new() };
    let asking = async {
        client::connect(&directory.path().join("s")).await.unwrap().get_status(request).await.unwrap_err()
    };
    let answering = async {
        let question = desk.next().await;
        desk.answer(question, &engine);
        std::future::pending::<()>().await;
    };
    let status = tokio::select! { status = asking => status, () = answering => unreachable!() };
    assert_eq!(status.code(), Code::Unavailable);
}
