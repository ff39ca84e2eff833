//! The role as a whole, looked into over its socket while it talks to a scripted peer.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use clap::Parser;
use ferrolb_core::bgp::wire::{
    self, AfiSafi, Capability, CeaseSubcode, ErrorCode, Message, Notification, Open, Session,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Streaming;

use super::serve;
use crate::cli::StandaloneArgs;
use crate::shell::grpc::api::watch_event::Change;
use crate::shell::grpc::api::{ExplainRequest, GetStatusRequest, SessionState, WatchEvent, WatchRequest};
use crate::shell::grpc::client;
use crate::shell::telemetry::http::BindAddress;

const PEER: Ipv4Addr = Ipv4Addr::new(127, 66, 11, 7);

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
spec: { type: LoadBalancer, clusterIP: 10.96.0.1, ports: [{ port: 80, protocol: TCP }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, namespace: default, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
endpoints: [{ addresses: [10.244.0.1], conditions: { ready: true }, nodeName: n1 }]
ports: [{ port: 80, protocol: TCP }]
"#;

fn configuration(port: u16, hold_time: &str) -> String {
    format!(
        r#"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{ name: front, namespace: metallb-system }}
spec: {{ addresses: [192.0.2.0/28] }}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {{ name: all, namespace: metallb-system }}
spec: {{ communities: ["64512:7"] }}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {{ name: tor, namespace: metallb-system }}
spec: {{ myASN: 64512, peerASN: 64513, peerAddress: {PEER}, peerPort: {port}, holdTime: {hold_time} }}
"#
    )
}

#[derive(clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    args: StandaloneArgs,
}

fn args(directory: &Path) -> StandaloneArgs {
    let path = |name| directory.join(name).into_os_string();
    let line = [
        "ferrolb".into(),
        "--node=n1".into(),
        "--metrics-bind-address=off".into(),
        "--manifests".into(),
        path("manifests"),
        "--state".into(),
        path("state"),
    ];
    CommandLine::parse_from(line).args
}

/// Takes what comes, until it is told to say goodbye.
struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    async fn established(listener: &TcpListener) -> Peer {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Peer { stream, input: BytesMut::new() };
        assert!(matches!(peer.next().await, Message::Open(_)));
        let open = Open {
            my_as: 64513,
            hold_time: 90,
            identifier: Ipv4Addr::new(10, 0, 0, 2),
            capabilities: vec![
                Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
                Capability::FourOctetAs(64513),
                Capability::Unknown { code: 73, value: vec![] },
            ],
        };
        let mut out = Vec::new();
        open.encode(&mut out).unwrap();
        wire::keepalive(&mut out);
        peer.stream.write_all(&out).await.unwrap();
        peer
    }

    async fn next(&mut self) -> Message {
        loop {
            if let Some(frame) = wire::frame(&self.input, &Session::BEFORE_OPEN).unwrap() {
                let message = Message::decode(&frame, &Session::BEFORE_OPEN).unwrap();
                let total_len = frame.total_len;
                self.input.advance(total_len);
                return message;
            }
            assert!(self.stream.read_buf(&mut self.input).await.unwrap() > 0, "the connection has ended");
        }
    }

    /// What it is sent up to the End-of-RIB: prefixes announced, prefixes withdrawn.
    async fn dump(&mut self) -> (Vec<String>, usize) {
        let (mut announced, mut withdrawn) = (Vec::new(), 0);
        loop {
            let Message::Update(update) = self.next().await else { continue };
            if update.end_of_rib().is_some() {
                announced.sort();
                return (announced, withdrawn);
            }
            announced.extend(update.nlri.iter().map(ToString::to_string));
            withdrawn += update.withdrawn.len();
        }
    }

    async fn part(mut self) {
        let mut out = Vec::new();
        Notification::cease(CeaseSubcode::AdministrativeReset, "weekly").encode(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }
}

async fn until(stream: &mut Streaming<WatchEvent>, wanted: impl Fn(&Change) -> bool) -> bool {
    loop {
        let event = stream.message().await.unwrap().expect("the watch goes on");
        if wanted(event.change.as_ref().unwrap()) {
            return event.initial;
        }
    }
}

/// `peerPort` goes to 16384 only: below the ports that the kernel gives.
async fn listener() -> TcpListener {
    for port in 10_000..=16_384 {
        if let Ok(listener) = TcpListener::bind((PEER, port)).await {
            return listener;
        }
    }
    panic!("there is no free port");
}

#[tokio::test]
async fn a_running_role_tells_what_it_does() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("manifests")).unwrap();
    let listener = listener().await;
    let port = listener.local_addr().unwrap().port();
    fs::write(directory.path().join("manifests/config.yaml"), configuration(port, "180s")).unwrap();
    let args = args(directory.path());
    let script = tokio::time::timeout(Duration::from_secs(20), script(directory.path(), &listener, port));
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = script => done.unwrap(),
    }
}

async fn script(directory: &Path, listener: &TcpListener, port: u16) {
    let mut peer = Peer::established(listener).await;
    let socket = directory.join("state/ferrolb.sock");
    let mut client = client::connect(&socket).await.unwrap();
    let mut watch = client.watch(WatchRequest {}).await.unwrap().into_inner();
    assert!(until(&mut watch, |c| matches!(c, Change::Session(s) if s.peer == "tor")).await);
    assert!(until(&mut watch, |c| matches!(c, Change::SnapshotEnd(_))).await);

    // A service comes: it gets an address, is announced, and is shown as sent once it was.
    fs::write(directory.join("manifests/web.yaml"), SERVICE).unwrap();
    let given = |c: &Change| matches!(c, Change::Allocation(a) if a.service == "default/web" && a.ips == ["192.0.2.0"]);
    assert!(!until(&mut watch, given).await);
    assert!(!until(&mut watch, |c| matches!(c, Change::Announcement(a) if a.announced)).await);
    while !matches!(peer.next().await, Message::Update(update) if !update.nlri.is_empty()) {}
    let status = client.get_status(GetStatusRequest { routes: true, peer: String::new() }).await.unwrap();
    let status = status.into_inner();
    assert_eq!((status.role.as_str(), status.node.as_str()), ("standalone", "n1"));
    assert_eq!(status.allocations[0].ips, ["192.0.2.0"]);
    let [session] = status.sessions.as_slice() else { panic!("{:?}", status.sessions) };
    assert_eq!(session.state(), SessionState::Established);
    assert_eq!((session.local_asn, session.remote_asn), (Some(64512), Some(64513)));
    assert_eq!(session.remote_id.as_deref(), Some("10.0.0.2"));
    for capability in ["IPv4 unicast", "4-octet AS 64512"] {
        assert!(session.capabilities_sent.iter().any(|c| c == capability), "{:?}", session.capabilities_sent);
    }
    assert_eq!(session.capabilities_received, ["IPv4 unicast", "4-octet AS 64513", "FQDN"]);
    let timers = session.timers.unwrap();
    assert_eq!((timers.hold_configured, timers.hold, timers.keepalive_ms), (180, Some(90), Some(30_000)));
    assert_eq!(session.routes.len(), 1);
    assert_eq!(session.routes[0].prefix, "192.0.2.0/32");
    assert_eq!(session.routes[0].communities, ["64512:7"]);

    let mut question = ExplainRequest { service: "web".into(), node: String::new(), peer: String::new() };
    let answer = client.explain(question.clone()).await.unwrap().into_inner();
    assert!(answer.fine && answer.text.contains("192.0.2.0"), "{}", answer.text);
    assert_eq!(answer.sent[0].routes, session.routes);
    question.service = "nobody".into();
    let refusal = client.explain(question).await.unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.message()),
        (tonic::Code::NotFound, "there is no Service default/nobody")
    );

    // An edit that waits for the next connection, and one that is wrong.
    fs::write(directory.join("manifests/config.yaml"), configuration(port, "60s")).unwrap();
    let pending = async |client: &mut client::Client| {
        let request = GetStatusRequest { routes: false, peer: "tor".into() };
        client.get_status(request).await.unwrap().into_inner().sessions.remove(0)
    };
    while pending(&mut client).await.pending != ["holdTime"] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What was offered on this connection stays what is shown of it.
    let timers = pending(&mut client).await.timers.unwrap();
    assert_eq!((timers.hold_configured, timers.hold_offered, timers.hold), (60, Some(180), Some(90)));
    fs::write(directory.join("manifests/config.yaml"), configuration(port, "1s")).unwrap();
    assert!(!until(&mut watch, |c| matches!(c, Change::Issue(i) if i.error && !i.cleared)).await);

    // The peer ends it, and says why.
    peer.part().await;
    assert!(!until(&mut watch, |c| matches!(c, Change::Session(s) if s.new() == SessionState::Idle)).await);
    let session = pending(&mut client).await;
    let received = session.last_received.unwrap().message;
    let said = Notification::cease(CeaseSubcode::AdministrativeReset, "weekly");
    assert_eq!(said.error, ErrorCode::Cease(CeaseSubcode::AdministrativeReset));
    assert_eq!(received, said.to_string());
    assert!(session.routes.is_empty() && session.pending.is_empty() && session.last_sent.is_none());
    assert_eq!(session.route_count, Some(0));
}

#[tokio::test]
async fn a_role_whose_socket_cannot_be_bound_announces_and_is_not_ready() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("manifests")).unwrap();
    let listener = listener().await;
    let port = listener.local_addr().unwrap().port();
    let manifests = configuration(port, "180s") + "---" + SERVICE;
    fs::write(directory.path().join("manifests/config.yaml"), manifests).unwrap();
    let mut args = args(directory.path());
    args.socket = Some(directory.path().join("missing/s"));
    let address = TcpListener::bind((PEER, 0)).await.unwrap().local_addr().unwrap();
    args.metrics_bind_address = BindAddress(Some(address));
    let script = async {
        let mut peer = Peer::established(&listener).await;
        while !matches!(peer.next().await, Message::Update(update) if !update.nlri.is_empty()) {}
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let red: Vec<&str> = answer.lines().filter(|line| line.starts_with("failed ")).collect();
        assert_eq!(red.len(), 1, "{answer}");
        assert!(red[0].starts_with("failed socket: ") && red[0].contains("missing/s"), "{answer}");
    };
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(20), script) => done.unwrap(),
    }
}

#[tokio::test]
async fn a_restart_sends_the_same_set_and_withdraws_nothing() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("manifests")).unwrap();
    let listener = listener().await;
    let port = listener.local_addr().unwrap().port();
    // "b" comes first and takes the first address; in a fresh start it would be "a" that does.
    let service = |name: &str| "---".to_owned() + &SERVICE.replace("web", name);
    let write =
        |name: &str, text: String| fs::write(directory.path().join("manifests").join(name), text).unwrap();
    write("config.yaml", configuration(port, "180s") + &service("b"));
    let args = args(directory.path());
    let first = async {
        let mut peer = Peer::established(&listener).await;
        assert_eq!(peer.dump().await, (vec!["192.0.2.0/32".to_owned()], 0));
        write("more.yaml", service("a"));
        while !matches!(peer.next().await, Message::Update(update) if !update.nlri.is_empty()) {}
        let state = directory.path().join("state");
        let written = || {
            let mut files = fs::read_dir(&state)
                .unwrap()
                .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
            files.any(|text| text.contains("192.0.2.1\""))
        };
        while !written() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        peer
    };
    let second = async {
        let mut peer = Peer::established(&listener).await;
        // The complete set, and then the End-of-RIB: it isn't found out bit by bit.
        assert_eq!(peer.dump().await, (vec!["192.0.2.0/32".to_owned(), "192.0.2.1/32".to_owned()], 0));
        let mut octet = [0];
        let more = tokio::time::timeout(Duration::from_millis(300), peer.stream.peek(&mut octet)).await;
        assert!(more.is_err() && peer.input.is_empty(), "something comes behind");
    };
    let mut before = tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(20), first) => done.unwrap(),
    };
    // Its last words; after them it doesn't dial again.
    while !matches!(before.next().await, Message::Notification(_)) {}
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(20), second) => done.unwrap(),
    }
}
