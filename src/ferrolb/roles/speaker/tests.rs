//! The role as a whole, between a stand-in for an API server and a scripted peer.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use clap::Parser;
use ferrolb_core::bgp::wire::{self, AfiSafi, Capability, Message, Open, Session, Update};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{serve, wait_for_kube_proxy};
use crate::cli::SpeakerArgs;
use crate::shell::kube::fake::Fake;
use crate::shell::proxy::Ports;
use crate::shell::telemetry::metallb;
use crate::shell::tls::trusting::{self, free_port, get_plainly};

const PEER: Ipv4Addr = Ipv4Addr::new(127, 66, 11, 8);
const METALLB: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases/speaker-n1";

#[derive(clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    args: SpeakerArgs,
}

fn args(directory: &Path, api: &Fake) -> SpeakerArgs {
    args_at(directory, api, 0, 0)
}

/// With its pages at these ports.
fn args_at(directory: &Path, api: &Fake, metrics: u16, checks: u16) -> SpeakerArgs {
    let kubeconfig = directory.join("kubeconfig");
    let named = |kind: &str, spec: Value| json!([{"name": "x", (kind): spec}]);
    let content = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": named("cluster", json!({"server": api.url()})),
        "users": named("user", json!({})),
        "contexts": named("context", json!({"cluster": "x", "user": "x"})),
    });
    std::fs::write(&kubeconfig, content.to_string()).unwrap();
    let line = [
        "ferrolb".into(),
        "--node-name=n1".into(),
        "--namespace=metallb-system".into(),
        format!("--port={metrics}").into(),
        format!("--health-probe-port={checks}").into(),
        "--kubeconfig".into(),
        kubeconfig.into_os_string(),
    ];
    CommandLine::parse_from(line).args
}

fn metallb(api: &Fake, plural: &str, kind: &str, name: &str, spec: Value) {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    let path = format!("/apis/metallb.io/{version}/namespaces/metallb-system/{plural}/{name}");
    let metadata = json!({"name": name, "namespace": "metallb-system", "uid": name});
    api.put(
        &path,
        json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": metadata, "spec": spec}),
    );
}

/// A Service with an address, and an endpoint of it on a node.
fn service(api: &Fake, name: &str, address: &str, node: &str, spec: Value) {
    let metadata =
        |name: &str| json!({"name": name, "namespace": "default", "uid": format!("uid-of-{name}")});
    let mut whole = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": [{"port": 80}]});
    crate::shell::kube::fake::merge(&mut whole, &spec);
    api.put(
        &format!("/api/v1/namespaces/default/services/{name}"),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(name), "spec": whole,
            "status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}},
        }),
    );
    let mut of_slice = metadata(&format!("{name}-1"));
    of_slice["labels"] = json!({"kubernetes.io/service-name": name});
    api.put(
        &format!("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/{name}-1"),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": of_slice, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": node, "conditions": {"ready": true}}],
        }),
    );
}

async fn listener() -> TcpListener {
    // `peerPort` goes to 16384 only: below the ports that the kernel gives.
    for port in 10_000..=16_384 {
        if let Ok(listener) = TcpListener::bind((PEER, port)).await {
            return listener;
        }
    }
    panic!("there is no free port");
}

/// Takes what comes.
struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    async fn established(listener: &TcpListener) -> Peer {
        // A connection that a role before this one had opened may still wait to be accepted.
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Some(peer) = Peer::try_establish(stream).await {
                return peer;
            }
        }
    }

    /// `None`: the connection has ended before the session was established.
    async fn try_establish(stream: TcpStream) -> Option<Peer> {
        let mut peer = Peer { stream, input: BytesMut::new() };
        assert!(matches!(peer.try_next().await?, Message::Open(_)));
        let open = Open {
            my_as: 64513,
            hold_time: 90,
            identifier: Ipv4Addr::new(10, 0, 0, 2),
            capabilities: vec![
                Capability::MultiProtocol(AfiSafi::IPV4_UNICAST),
                Capability::FourOctetAs(64513),
            ],
        };
        let mut out = Vec::new();
        open.encode(&mut out).unwrap();
        wire::keepalive(&mut out);
        peer.stream.write_all(&out).await.ok()?;
        assert_eq!(peer.try_next().await?, Message::Keepalive);
        Some(peer)
    }

    async fn next(&mut self) -> Message {
        self.try_next().await.expect("the connection has ended")
    }

    /// `None`: the connection has ended.
    async fn try_next(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = wire::frame(&self.input, &Session::BEFORE_OPEN).unwrap() {
                let message = Message::decode(&frame, &Session::BEFORE_OPEN).unwrap();
                let total_len = frame.total_len;
                self.input.advance(total_len);
                return Some(message);
            }
            if !self.stream.read_buf(&mut self.input).await.is_ok_and(|octets| octets > 0) {
                return None;
            }
        }
    }

    /// The next UPDATE that says something.
    async fn update(&mut self) -> Update {
        loop {
            if let Message::Update(update) = self.next().await
                && update.end_of_rib().is_none()
            {
                return *update;
            }
        }
    }
}

/// Waits until the API server's objects below a path are as wanted.
async fn until(api: &Fake, prefix: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    loop {
        let objects = api.objects(prefix);
        if wanted(&objects) {
            return objects;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn announced(update: &Update) -> Vec<String> {
    update.nlri.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_speaker_announces_tells_and_starts_again_without_a_write() {
    let directory = TempDir::new().unwrap();
    let listener = listener().await;
    let api = cluster(&listener).await;
    service(&api, "other", "192.0.2.2", "n1", json!({"loadBalancerClass": "another"}));
    let args = args(directory.path(), &api);

    let first = async {
        let mut peer = Peer::established(&listener).await;
        assert_eq!(announced(&peer.update().await), ["192.0.2.1/32"]);
        let statuses = format!("{METALLB}/servicebgpstatuses/");
        let names_tor = |o: &Value| o["status"]["peers"] == json!(["tor"]);
        let status = until(&api, &statuses, |all| all.iter().any(names_tor)).await;
        assert_eq!(status.len(), 1);
        assert_eq!(status[0]["metadata"]["ownerReferences"][0]["uid"], "uid-of-n1");
        assert_eq!(status[0]["metadata"]["labels"]["metallb.io/service-name"], "web");
        let sessions = "/apis/frrk8s.metallb.io/v1beta1/namespaces/metallb-system/bgpsessionstates/";
        let is_established = |o: &Value| o["status"]["bgpStatus"] == "Established";
        until(&api, sessions, |all| all.iter().any(is_established)).await;
        until(&api, &format!("{METALLB}/configurationstates/speaker-n1"), |all| {
            all.iter().any(|o| o["status"]["result"] == "Valid")
        })
        .await;
        let events = until(&api, "/api/v1/namespaces/default/events/", |all| !all.is_empty()).await;
        assert_eq!((&events[0]["reason"], &events[0]["type"]), (&json!("nodeAssigned"), &json!("Normal")));
        assert_eq!(events[0]["involvedObject"]["uid"], "uid-of-web");
        assert_eq!(events[0]["message"], "announcing from node \"n1\" with protocol \"bgp\"");

        // One with a local endpoint waits for the node's proxy, of which there is none here, for some seconds.
        let begun = std::time::Instant::now();
        let local = json!({"externalTrafficPolicy": "Local", "healthCheckNodePort": 9});
        service(&api, "local", "192.0.2.3", "n1", local);
        assert_eq!(announced(&peer.update().await), ["192.0.2.3/32"]);
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(6), "{waited:?}");
        api.delete("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/local-1");
        assert_eq!(peer.update().await.withdrawn.len(), 1);
        let only_web = |all: &[Value]| all.len() == 1;
        until(&api, &format!("{METALLB}/servicebgpstatuses/"), only_web).await;

        // Something wrong that concerns this node, and something that doesn't.
        let selecting = |rack: &str| json!([{"matchLabels": {"rack": rack}}]);
        let wrong = |rack: &str| json!({"aggregationLength": 77, "nodeSelectors": selecting(rack)});
        metallb(&api, "bgpadvertisements", "BGPAdvertisement", "elsewhere", wrong("2"));
        metallb(&api, "bgpadvertisements", "BGPAdvertisement", "here", wrong("1"));
        let state = format!("{METALLB}/configurationstates/speaker-n1");
        let is_invalid = |o: &Value| o["status"]["result"] == "Invalid";
        let invalid = until(&api, &state, |all| all.iter().any(is_invalid)).await;
        let summary = invalid[0]["status"]["errorSummary"].as_str().unwrap();
        assert!(summary.contains("/here") && !summary.contains("/elsewhere"), "{summary}");
        for name in ["here", "elsewhere"] {
            api.delete(&format!("{METALLB}/bgpadvertisements/{name}"));
        }
        until(&api, &format!("{METALLB}/configurationstates/speaker-n1"), |all| {
            all.iter().any(|o| o["status"]["result"] == "Valid")
        })
        .await;
    };
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(60), first) => done.unwrap(),
    }

    let all = |api: &Fake| {
        let mut all = api.objects(METALLB);
        all.extend(api.objects("/apis/frrk8s.metallb.io"));
        all.extend(api.objects("/api/v1/namespaces/default/events/"));
        all
    };
    // What the first role dialled at its very end isn't the second's.
    while tokio::time::timeout(Duration::from_millis(500), listener.accept()).await.is_ok() {}
    let before = all(&api);
    let second = async {
        let mut peer = Peer::established(&listener).await;
        assert_eq!(announced(&peer.update().await), ["192.0.2.1/32"]);
        // What it would write, it would write by then; that it doesn't is the point.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(all(&api), before);
        api.delete("/api/v1/namespaces/default/services/web");
        assert_eq!(peer.update().await.withdrawn.len(), 1);
        until(&api, &format!("{METALLB}/servicebgpstatuses/"), |all| all.is_empty()).await;
    };
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(60), second) => done.unwrap(),
    }
}

/// A cluster with one node, one router, and a Service that is announced.
async fn cluster(listener: &TcpListener) -> Fake {
    let api = Fake::start().await;
    let port = listener.local_addr().unwrap().port();
    api.put(
        "/api/v1/nodes/n1",
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "uid-of-n1", "labels": {"rack": "1"}}}),
    );
    metallb(&api, "ipaddresspools", "IPAddressPool", "pool", json!({"addresses": ["192.0.2.0/28"]}));
    let peer = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": PEER.to_string(), "peerPort": port});
    metallb(&api, "bgppeers", "BGPPeer", "tor", peer);
    metallb(&api, "bgpadvertisements", "BGPAdvertisement", "all", json!({}));
    service(&api, "web", "192.0.2.1", "n2", json!({}));
    api
}

#[tokio::test]
async fn a_speaker_stands_back_for_metallbs_and_begins_when_they_are_gone() {
    const SET: &str = "/apis/apps/v1/namespaces/metallb-system/daemonsets/speaker";
    let directory = TempDir::new().unwrap();
    let listener = listener().await;
    let api = cluster(&listener).await;
    let foreign = |rack: &str| {
        let container =
            json!({"name": "speaker", "image": "quay.io/metallb/speaker:v0.16.1", "args": ["--port=7472"]});
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "speaker", "namespace": "metallb-system", "uid": "ds", "generation": 1},
            "spec": {"template": {
                "metadata": {"labels": {"app": "metallb"}},
                "spec": {"nodeSelector": {"rack": rack}, "containers": [container]},
            }},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 1, "currentNumberScheduled": 1},
        })
    };
    api.put(SET, foreign("1"));
    // What MetalLB wrote about this node looks like what was written by an earlier life of FerroLB.
    metallb(&api, "servicebgpstatuses", "ServiceBGPStatus", "bgp-x", json!({}));
    let status = format!("{METALLB}/servicebgpstatuses/bgp-x");
    let mut object = api.get(&status).unwrap();
    object["metadata"]["labels"] = json!({
        "metallb.io/node": "n1", "metallb.io/service-name": "gone", "metallb.io/service-namespace": "default",
    });
    api.put(&status, object);
    let args = args(directory.path(), &api);
    let role = async {
        // That nobody dials and nothing is written is the point.
        assert!(tokio::time::timeout(Duration::from_secs(2), listener.accept()).await.is_err());
        assert_eq!(api.writes(), Vec::<String>::new());
        api.delete(SET);
        let mut peer = Peer::established(&listener).await;
        assert_eq!(announced(&peer.update().await), ["192.0.2.1/32"]);
        until(&api, &status, |all| all.is_empty()).await;
        // It is back, for other nodes; and then for this one too.
        api.put(SET, foreign("2"));
        service(&api, "more", "192.0.2.2", "n2", json!({}));
        assert_eq!(announced(&peer.update().await), ["192.0.2.2/32"]);
        api.put(SET, foreign("1"));
        while let Some(message) = peer.try_next().await {
            assert!(!matches!(message, Message::Update(update) if !update.nlri.is_empty()));
        }
        // What was under way has arrived by then.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let writes = api.writes().len();
        assert!(tokio::time::timeout(Duration::from_secs(2), listener.accept()).await.is_err());
        assert_eq!(api.writes().len(), writes);
        api.delete(SET);
        let mut peer = Peer::established(&listener).await;
        peer.update().await;
    };
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(60), role) => done.unwrap(),
    }
}

#[tokio::test]
async fn that_no_node_announces_a_service_is_told_once_over_several_lives() {
    let directory = TempDir::new().unwrap();
    let listener = listener().await;
    let api = cluster(&listener).await;
    service(&api, "idle", "192.0.2.2", "n2", json!({}));
    api.delete("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/idle-1");
    let args = args(directory.path(), &api);
    let about_idle = |api: &Fake| {
        let mut all = api.objects("/api/v1/namespaces/default/events/");
        all.retain(|event| event["involvedObject"]["name"] == "idle");
        all
    };
    for life in 0..2 {
        let role = async {
            let mut peer = Peer::established(&listener).await;
            assert_eq!(announced(&peer.update().await), ["192.0.2.1/32"]);
            // It is told after five seconds; in the second life it would be by then.
            let begun = std::time::Instant::now();
            while about_idle(&api).is_empty() || (life == 1 && begun.elapsed() < Duration::from_secs(8)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let told = about_idle(&api);
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!((&told[0]["reason"], &told[0]["type"]), (&json!("noEndpoints"), &json!("Warning")));
            assert_eq!(told[0]["message"], "no node announces it: noEndpoints (protocol \"bgp\")");
            assert_eq!(told[0]["involvedObject"]["uid"], "uid-of-idle");
        };
        tokio::select! {
            ended = serve(&args) => panic!("the role has ended: {ended:?}"),
            done = tokio::time::timeout(Duration::from_secs(60), role) => done.unwrap(),
        }
        // What this life dialled at its very end isn't the next one's.
        while tokio::time::timeout(Duration::from_millis(500), listener.accept()).await.is_ok() {}
    }
    assert!(!api.writes().iter().any(|write| write.contains("/events") && write.starts_with("PATCH")));
}

#[tokio::test]
async fn who_is_to_tell_of_services_withdraws_while_all_nodes_are_still_being_listed() {
    const OTHERS: &str = "/api/v1/nodes?metadata.name!=n1";
    let directory = TempDir::new().unwrap();
    let listener = listener().await;
    let api = cluster(&listener).await;
    api.hold(OTHERS);
    let args = args(directory.path(), &api);
    let role = async {
        let mut peer = Peer::established(&listener).await;
        assert_eq!(announced(&peer.update().await), ["192.0.2.1/32"]);
        while !api.is_awaited(OTHERS) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-1";
        let mut slice = api.get(path).unwrap();
        slice["endpoints"][0]["conditions"]["ready"] = json!(false);
        api.put(path, slice);
        assert_eq!(peer.update().await.withdrawn.len(), 1);
        // Nobody answers on layer 2 before it is known who else could: not even the lease is taken.
        metallb(&api, "l2advertisements", "L2Advertisement", "l2", json!({}));
        service(&api, "more", "192.0.2.2", "n1", json!({}));
        assert_eq!(announced(&peer.update().await), ["192.0.2.2/32"]);
        assert_eq!(api.get(LEASE), None);
        api.release(OTHERS);
        until(&api, LEASE, |all| !all.is_empty()).await;
    };
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(60), role) => done.unwrap(),
    }
}

#[tokio::test]
async fn nobody_answers_on_layer_2_before_the_leases_of_all_are_listed() {
    // Listing alone: who may write and can't list is the one that would take itself for the only one.
    const LEASES: &str = "GET /apis/coordination.k8s.io/v1/namespaces/metallb-system/leases?";
    let run = |is_held: bool| async move {
        let directory = TempDir::new().unwrap();
        let listener = listener().await;
        let api = cluster(&listener).await;
        let node =
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2", "uid": "uid-of-n2"}});
        api.put("/api/v1/nodes/n2", node);
        metallb(&api, "l2advertisements", "L2Advertisement", "l2", json!({}));
        for i in 2..=8 {
            service(&api, &format!("web{i}"), &format!("192.0.2.{i}"), "n2", json!({}));
        }
        let labels = json!({"ferrolb.io/lease": "speaker"});
        let metadata = json!({"name": "speaker-n2", "namespace": "metallb-system", "labels": labels});
        let spec = json!({"holderIdentity": "n2", "leaseDurationSeconds": 60, "renewTime": "now"});
        api.put(&LEASE.replace("n1", "n2"), json!({"metadata": metadata, "spec": spec}));
        if is_held {
            api.hold(LEASES);
        } else {
            api.refuse(LEASES, 403);
        }
        let args = args(directory.path(), &api);
        let statuses = format!("{METALLB}/servicel2statuses/");
        let role = async {
            while !api.is_awaited(LEASES) && api.refused(LEASES) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // A speaker that begins holds itself back for two seconds; that it answers for nothing later either is the point.
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(api.objects(&statuses), Vec::<Value>::new());
            assert_eq!(api.get(LEASE), None, "the others would leave to it what it doesn't answer for");
            api.release(LEASES);
            api.refuse(LEASES, 200);
            // What the hashes give to n1 of two that are alive.
            let own = ["web2", "web6", "web7", "web8"];
            let all = until(&api, &statuses, |all| all.len() >= own.len()).await;
            let name =
                |o: &Value| o["metadata"]["labels"]["metallb.io/service-name"].as_str().map(str::to_owned);
            let mut names: Vec<String> = all.iter().filter_map(name).collect();
            names.sort();
            assert_eq!(names, own);
            let written = api
                .writes()
                .into_iter()
                .filter(|w| w.starts_with("POST") && w.ends_with("servicel2statuses"));
            assert_eq!(written.count(), own.len());
        };
        tokio::select! {
            ended = serve(&args) => panic!("the role has ended: {ended:?}"),
            done = tokio::time::timeout(Duration::from_secs(60), role) => done.unwrap(),
        }
    };
    tokio::join!(run(true), run(false));
}

#[tokio::test]
async fn a_lease_that_has_lost_its_label_gets_it_again() {
    let directory = TempDir::new().unwrap();
    let listener = listener().await;
    let api = cluster(&listener).await;
    metallb(&api, "l2advertisements", "L2Advertisement", "l2", json!({}));
    let metadata = json!({"name": "speaker-n1", "namespace": "metallb-system", "labels": {"mine": "too"}});
    api.put(LEASE, json!({"metadata": metadata, "spec": {"holderIdentity": "n1", "renewTime": "before"}}));
    let args = args(directory.path(), &api);
    let role = async {
        let is_renewed = |all: &[Value]| all.iter().any(|o| o["spec"]["renewTime"] != "before");
        let lease = until(&api, LEASE, is_renewed).await;
        let labels = json!({"mine": "too", "ferrolb.io/lease": "speaker"});
        assert_eq!(lease[0]["metadata"]["labels"], labels);
    };
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(60), role) => done.unwrap(),
    }
}

#[tokio::test]
async fn a_speaker_is_ready_when_it_knows_what_to_announce_and_no_router_has_to_answer() {
    let directory = TempDir::new().unwrap();
    let api = Fake::start().await;
    api.account("token", "prometheus", true);
    api.put(
        "/api/v1/nodes/n1",
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "uid-of-n1"}}),
    );
    metallb(&api, "ipaddresspools", "IPAddressPool", "pool", json!({"addresses": ["192.0.2.0/28"]}));
    // Nobody listens there.
    let peer = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "127.66.11.9", "peerPort": 9});
    metallb(&api, "bgppeers", "BGPPeer", "tor", peer);
    metallb(&api, "bgpadvertisements", "BGPAdvertisement", "all", json!({}));
    // An error that is another speaker's to tell.
    let wrong = json!({"aggregationLength": 77, "nodeSelectors": [{"matchLabels": {"rack": "2"}}]});
    metallb(&api, "bgpadvertisements", "BGPAdvertisement", "elsewhere", wrong);
    service(&api, "web", "192.0.2.1", "n2", json!({}));
    let secrets = "/api/v1/namespaces/metallb-system/secrets";
    api.refuse(secrets, 403);
    let (metrics, checks) = (free_port(), free_port());
    let args = args_at(directory.path(), &api, metrics, checks);
    let [metrics, checks] = [metrics, checks].map(|port| ([127, 0, 0, 1], port).into());
    let looking = async {
        let ready = |status: &'static str, says: &'static str| async move {
            loop {
                let answer = get_plainly(checks, "/readyz").await;
                if answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(says) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        ready("503", "failed secrets: ").await;
        assert!(get_plainly(checks, "/healthz").await.starts_with("HTTP/1.1 200 "));
        api.refuse(secrets, 200);
        ready("200", "ok desired-set").await;

        let (scrape, _) = trusting::get(metrics, "/metrics", Some("token")).await.unwrap();
        for table in [metallb::CLIENT, metallb::SPEAKER, metallb::SESSIONS] {
            metallb::assert_served(&scrape, table);
        }
        for line in [
            "metallb_bgp_session_up{peer=\"127.66.11.9:9\",vrf=\"default\"} 0",
            "metallb_k8s_client_config_loaded_bool 1",
            "metallb_k8s_client_config_stale_bool 0",
            "ferrolb_config_errors 1",
            "ferrolb_watch_behind_seconds{resource=\"secrets\"} 0",
        ] {
            assert!(scrape.lines().any(|l| l == line), "{line} isn't in\n{scrape}");
        }
        // The controller has those: with them in every speaker, alerts that join by pool would find too many.
        assert!(!scrape.contains("metallb_allocator_"), "{scrape}");
        let unknown = trusting::get(metrics, "/metrics", None).await.unwrap().0;
        assert!(unknown.starts_with("HTTP/1.1 401 "), "{unknown}");
    };
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(60), looking) => done.unwrap(),
    }
}

#[tokio::test]
async fn a_speaker_that_is_to_write_nothing_announces_all_the_same() {
    let directory = TempDir::new().unwrap();
    let listener = listener().await;
    let api = cluster(&listener).await;
    let mut args = args(directory.path(), &api);
    args.status_writes = 0;
    let looking = async {
        let mut peer = Peer::established(&listener).await;
        assert_eq!(announced(&peer.update().await), ["192.0.2.1/32"]);
        // What it would write, it would write by then; that it doesn't is the point.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(api.writes(), Vec::<String>::new());
    };
    tokio::select! {
        ended = serve(&args) => panic!("the role has ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(60), looking) => done.unwrap(),
    }
}

#[tokio::test]
async fn after_a_boot_a_speaker_waits_until_the_proxy_is_healthy_and_has_written_rules() {
    let bound = || TcpListener::bind("127.0.0.1:0");
    let (health, metrics) = (bound().await.unwrap(), bound().await.unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let ports = Ports { health: port(&health), metrics: port(&metrics) };
    let here = [IpAddr::from(Ipv4Addr::LOCALHOST)];
    let last = "kubeproxy_sync_proxy_rules_last";
    let queued = format!("{last}_queued_timestamp_seconds{{ip_family=\"IPv4\"}} 1.7e+09\n");
    let written = format!("{queued}{last}_timestamp_seconds{{ip_family=\"IPv4\"}} 1.7e+09\n");
    let answering = async {
        for (healthy, counts) in [(false, None), (true, Some(&queued)), (false, None), (true, Some(&written))]
        {
            let status = if healthy { "200 OK" } else { "503 Service Unavailable" };
            answer(&health, &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
                .await;
            if let Some(counts) = counts {
                answer(&metrics, &format!("HTTP/1.0 200 OK\r\n\r\n{counts}")).await;
            }
        }
    };
    let waiting = wait_for_kube_proxy(&here, ports, || Some(Duration::from_secs(30)));
    // It has asked four times by the time that it goes on.
    let both = async { tokio::join!(waiting, answering) };
    tokio::time::timeout(Duration::from_secs(8), both).await.expect("sooner than the limit");
    // Where nobody serves metrics, health is all there is.
    drop(metrics);
    let answering = answer(&health, "HTTP/1.1 200 OK\r\n\r\n");
    let waiting = wait_for_kube_proxy(&here, ports, || Some(Duration::from_secs(30)));
    let both = async { tokio::join!(waiting, answering) };
    tokio::time::timeout(Duration::from_secs(8), both).await.expect("sooner than the limit");
    // On a node that is long up nobody is asked.
    drop(health);
    let waiting = wait_for_kube_proxy(&here, ports, || Some(Duration::from_secs(3600)));
    tokio::time::timeout(Duration::from_secs(1), waiting).await.expect("at once");
}

/// Answers the next question of a connection, and ends it.
async fn answer(listener: &TcpListener, text: &str) {
    let (mut asker, _) = listener.accept().await.unwrap();
    let mut question = [0; 1024];
    assert!(asker.read(&mut question).await.unwrap() > 0);
    asker.write_all(text.as_bytes()).await.unwrap();
}
