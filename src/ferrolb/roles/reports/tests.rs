//! A speaker's reports between an engine, a made-up wire thread and a made-up API server, in simulated time.

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::bgp::fsm::Reason;
use ferrolb_core::decide::Options;
use ferrolb_core::engine::{EngineOptions, SourceChange};
use ferrolb_core::manifest;
use ferrolb_core::report::{Identity, Outcome as Wrote, Settings, Write};
use serde_json::{Value, json};

use super::*;

const TICK: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// The status objects of an API server, over the lives of several speakers.
#[derive(Default)]
struct Api {
    objects: BTreeMap<(Kind, String), Value>,
    version: u64,
    /// The Events that there are: names and messages.
    events: BTreeMap<String, String>,
    /// All that was written, one word each.
    writes: Vec<String>,
}

impl Api {
    fn put(&mut self, kind: Kind, name: &str, mut object: Value) -> Object {
        self.version += 1;
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(format!("uid-{name}"));
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let read = Object::read(kind, &object).unwrap();
        self.objects.insert((kind, name.to_owned()), object);
        read
    }

    fn perform(&mut self, write: &Write) -> Wrote {
        let kind = write.subject().map(Subject::kind);
        let what = match (write, kind) {
            (Write::Create { .. }, Some(kind)) => format!("create {}", kind.name()),
            (Write::Status { .. }, Some(kind)) => format!("patch {}", kind.name()),
            (Write::Delete { .. }, Some(kind)) => format!("delete {}", kind.name()),
            _ => "event".to_owned(),
        };
        self.writes.push(what);
        if let Write::Event { event, body } = write {
            let name = body.value()["metadata"]["name"].to_string();
            let there = self.events.insert(name, event.event.message.to_string());
            return if there.is_some() { Wrote::Told } else { Wrote::Failed };
        }
        let Some(kind) = kind else { return Wrote::Failed };
        match write {
            Write::Create { body, .. } => {
                let body = body.value();
                let metadata = &body["metadata"];
                let name = match metadata["generateName"].as_str() {
                    Some(prefix) => format!("{prefix}{}", self.version),
                    None => metadata["name"].as_str().unwrap().to_owned(),
                };
                Wrote::Stands(self.put(kind, &name, body))
            }
            Write::Status { name, patch, .. } => {
                let mut object = self.objects[&(kind, name.to_string())].clone();
                object["status"] = patch.value()["status"].clone();
                Wrote::Stands(self.put(kind, name, object))
            }
            Write::Delete { name, .. } => {
                self.objects.remove(&(kind, name.to_string())).unwrap();
                Wrote::Gone
            }
            Write::Event { .. } => Wrote::Failed,
        }
    }

    fn all(&self, kind: Kind) -> Vec<Object> {
        let of_kind = self.objects.iter().filter(|((k, _), _)| *k == kind);
        of_kind.map(|(_, object)| Object::read(kind, object).unwrap()).collect()
    }

    fn clear(&mut self) {
        self.writes.clear();
    }
}

/// One life of a speaker.
struct Life {
    now: Instant,
    engine: Engine,
    reports: Reports,
    established: BTreeSet<Arc<str>>,
}

impl Life {
    fn begin(now: Instant) -> Life {
        let options = EngineOptions {
            system_namespace: "metallb-system".into(),
            class: None,
            decide: Options::default(),
            node: NodeName::new("n1"),
            speaker: false,
            keep_routes: true,
            allocate_for_many: false,
        };
        let allocator = Allocator::new(Mode::HeldOnly, None);
        let mut engine = Engine::new(options, allocator, Default::default(), Default::default());
        engine.set_choosing(false);
        engine.apply(world(), None);
        let identity = Identity { node: "n1".into(), node_uid: "u1".into() };
        let ledger = Ledger::new(identity, Settings { rate: 100, parallel: 8 });
        let mut reports = Reports::new(NodeName::new("n1"), ledger);
        reports.start(now, &engine);
        Life { now, engine, reports, established: BTreeSet::new() }
    }

    /// The watches have their lists.
    fn list(&mut self, api: &Api) {
        for kind in Kind::ALL {
            self.reports.listed(kind, api.all(kind));
        }
    }

    fn session(&mut self, peer: &str, up: bool) {
        let (old, new) = if up {
            self.established.insert(peer.into());
            (State::OpenConfirm, State::Established)
        } else {
            self.established.remove(peer);
            (State::Established, State::Idle)
        };
        let event = Event::SessionChanged { peer: peer.into(), old, new, reason: Reason::ClosedByPeer };
        self.reports.happened(self.now, &self.engine, &event);
    }

    /// What the wire thread would say: who is established has everything.
    fn holdings(&self, question: &Question) -> Vec<Holding> {
        let one = |peer: &str| {
            let up = self.established.contains(peer);
            Holding { peer: peer.into(), has: vec![up; question.prefixes.len()], settled: up }
        };
        ["tor1", "tor2"].map(one).to_vec()
    }

    fn run(&mut self, api: &mut Api, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            self.reports.handle_timeout(self.now, &self.engine);
            while let Some(question) = self.reports.question(self.now, &self.engine) {
                let holdings = self.holdings(&question);
                self.reports.answered(self.now, question, &holdings);
            }
            self.write(api);
        }
    }

    fn write(&mut self, api: &mut Api) {
        while let Some(write) = self.reports.ledger().next(self.now, Timestamp::UNIX_EPOCH) {
            let outcome = api.perform(&write);
            self.reports.ledger().done(self.now, &write, outcome);
        }
    }
}

fn world() -> Vec<SourceChange> {
    let config = |kind: &str, version: &str, name: &str, spec: Value| {
        json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind,
               "metadata": {"name": name, "namespace": "metallb-system"}, "spec": spec})
    };
    let peer = |name: &str, address: &str| {
        let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": address});
        config("BGPPeer", "v1beta2", name, spec)
    };
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}),
        config("IPAddressPool", "v1beta1", "pool", json!({"addresses": ["192.0.2.0/28"]})),
        config("BGPAdvertisement", "v1beta1", "all", json!({})),
        peer("tor1", "198.51.100.1"),
        peer("tor2", "198.51.100.2"),
    ];
    for (name, ip) in [("web", "192.0.2.1"), ("shop", "192.0.2.2")] {
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
        }));
        objects.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": "n2", "conditions": {"ready": true}}],
        }));
    }
    objects.into_iter().map(|o| SourceChange::Apply(manifest::object(o).unwrap().unwrap())).collect()
}

/// A first life, after which everything stands.
fn settled() -> (Api, Life) {
    let mut api = Api::default();
    let mut life = Life::begin(Instant::now());
    life.list(&api);
    life.run(&mut api, SECOND);
    life.session("tor1", true);
    life.session("tor2", true);
    life.run(&mut api, 60 * SECOND);
    assert_eq!(api.all(Kind::ServiceBgpStatus).len(), 2);
    assert_eq!(api.all(Kind::BgpSessionState).len(), 2);
    api.clear();
    (api, life)
}

#[test]
fn a_restart_whose_sessions_come_back_in_time_writes_nothing_at_all() {
    let (mut api, first) = settled();
    // However the lists and the sessions are ordered.
    for (list_at, up_at) in [(0, 2), (0, 29), (3, 1), (5, 5), (40, 1)] {
        let mut life = Life::begin(first.now);
        for second in 0..120 {
            if second == list_at {
                life.list(&api);
            }
            if second == up_at {
                life.session("tor1", true);
            }
            if second == up_at.max(1) {
                life.session("tor2", true);
            }
            life.run(&mut api, SECOND);
        }
        assert_eq!(api.writes, Vec::<String>::new(), "lists after {list_at} s, sessions after {up_at} s");
    }
}

#[test]
fn a_restart_whose_sessions_flap_at_first_writes_nothing() {
    let (mut api, first) = settled();
    let mut life = Life::begin(first.now);
    life.list(&api);
    for _ in 0..8 {
        life.session("tor1", true);
        life.session("tor2", true);
        life.run(&mut api, 2 * SECOND);
        life.session("tor1", false);
        life.run(&mut api, 2 * SECOND);
        life.session("tor2", false);
        life.run(&mut api, 20 * SECOND);
    }
    life.session("tor1", true);
    life.session("tor2", true);
    life.run(&mut api, 60 * SECOND);
    assert_eq!(api.writes, Vec::<String>::new());
}

#[test]
fn a_restart_whose_sessions_never_come_says_so_after_half_a_minute_and_once() {
    let (mut api, first) = settled();
    let mut life = Life::begin(first.now);
    life.list(&api);
    life.run(&mut api, 29 * SECOND);
    assert_eq!(api.writes, Vec::<String>::new());
    life.run(&mut api, 5 * SECOND);
    let mut writes = std::mem::take(&mut api.writes);
    writes.sort();
    let expected = [
        "delete ServiceBGPStatus",
        "delete ServiceBGPStatus",
        "patch BGPSessionState",
        "patch BGPSessionState",
    ];
    assert_eq!(writes, expected);
    life.run(&mut api, 600 * SECOND);
    assert_eq!(api.writes, Vec::<String>::new());
}

#[test]
fn a_router_that_is_away_for_long_changes_the_statuses_and_tells_no_event() {
    let (mut api, mut life) = settled();
    for up in [false, true] {
        life.session("tor1", up);
        life.session("tor2", up);
        life.run(&mut api, 60 * SECOND);
    }
    let writes = std::mem::take(&mut api.writes);
    let count = |what: &str| writes.iter().filter(|write| *write == what).count();
    let of_services = ["delete ServiceBGPStatus", "create ServiceBGPStatus", "patch ServiceBGPStatus"];
    assert_eq!(of_services.map(count), [2, 2, 2]);
    assert_eq!(count("event"), 0, "the node has announced them all the while");
}

#[test]
fn one_session_that_never_comes_back_leaves_the_other_named() {
    let (mut api, first) = settled();
    let mut life = Life::begin(first.now);
    life.list(&api);
    life.session("tor1", true);
    life.run(&mut api, 60 * SECOND);
    let mut writes = std::mem::take(&mut api.writes);
    writes.sort();
    assert_eq!(writes, ["patch BGPSessionState", "patch ServiceBGPStatus", "patch ServiceBGPStatus"]);
    let only: Content = Content::ServiceBgp(Arc::new(["tor1".into()].into()));
    assert!(api.all(Kind::ServiceBgpStatus).iter().all(|object| object.content == only));
}

#[test]
fn what_was_asked_before_a_decision_does_not_count_after_it() {
    let (mut api, mut life) = settled();
    // Another prefix is wanted while the wire thread is asked about the one before.
    life.reports.look_at_all(life.now, &life.engine);
    life.now += SECOND;
    let question = life.reports.question(life.now, &life.engine).unwrap();
    let spec = json!({"aggregationLength": 30});
    let object = json!({"apiVersion": "metallb.io/v1beta1", "kind": "BGPAdvertisement",
        "metadata": {"name": "all", "namespace": "metallb-system"}, "spec": spec});
    let change = SourceChange::Apply(manifest::object(object).unwrap().unwrap());
    let outcome = life.engine.apply(vec![change], None);
    life.reports.decided(life.now, &life.engine, &outcome);
    let none = Holding { peer: "tor1".into(), has: vec![false; question.prefixes.len()], settled: true };
    let holdings = [none.clone(), Holding { peer: "tor2".into(), ..none }];
    life.reports.answered(life.now, question, &holdings);
    life.write(&mut api);
    life.run(&mut api, 10 * SECOND);
    assert_eq!(api.writes, Vec::<String>::new());
}

#[test]
fn claims_of_an_earlier_life_stand_until_it_is_known_who_is_alive() {
    let (mut api, first) = settled();
    let key = ServiceKey::new("default", "web");
    let mut before = Life::begin(first.now);
    before.list(&api);
    before.established = first.established.clone();
    let wanted = Wanted::Content(Content::ServiceL2(Arc::default()));
    before.reports.ledger().want(Subject::ServiceL2(key), Some(wanted));
    before.run(&mut api, SECOND);
    assert_eq!(std::mem::take(&mut api.writes), ["create ServiceL2Status", "patch ServiceL2Status"]);
    let mut life = Life::begin(before.now);
    life.list(&api);
    life.session("tor1", true);
    life.session("tor2", true);
    life.run(&mut api, 20 * SECOND);
    assert_eq!(api.writes, Vec::<String>::new());
    life.reports.layer2_settled();
    life.run(&mut api, SECOND);
    assert_eq!(api.writes, ["delete ServiceL2Status"]);
}

/// A life in which this node is to answer for all addresses, on an interface that may be there or not.
fn answering(now: Instant, api: &Api) -> Life {
    let mut life = Life::begin(now);
    life.list(api);
    let object = json!({"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": "l2", "namespace": "metallb-system"}, "spec": {"interfaces": ["lan"]}});
    let change = SourceChange::Apply(manifest::object(object).unwrap().unwrap());
    let outcome = life.engine.apply(vec![change], None);
    life.reports.layer2_decided(&life.engine, &outcome);
    life.live(&["n1"]);
    life
}

impl Life {
    /// These nodes are alive on layer 2.
    fn live(&mut self, nodes: &[&str]) {
        let outcome = self.engine.set_live(Some(nodes.iter().map(|node| NodeName::new(node)).collect()));
        self.reports.layer2_decided(&self.engine, &outcome);
    }

    /// No interface answers for `web`; how many Events say so by now.
    fn dark(&mut self, api: &mut Api, from_the_first: bool) -> usize {
        let wanted = InterfaceSet::Only(["lan".into()].into());
        let address = "192.0.2.1".parse().unwrap();
        let event = layer2::Event::NoInterface { address, wanted, from_the_first };
        self.reports.layer2_happened(&self.engine, &event);
        self.run(api, SECOND);
        api.events.values().filter(|message| message.contains("absent")).count()
    }
}

#[test]
fn an_interface_that_is_not_there_is_told_of_each_time_that_it_goes_and_not_by_a_restart() {
    let (mut api, first) = settled();
    let mut before = answering(first.now, &api);
    assert_eq!(before.dark(&mut api, true), 1);
    // It came and went.
    assert_eq!(before.dark(&mut api, false), 2);
    let mut life = answering(before.now, &api);
    assert_eq!(life.dark(&mut api, true), 2, "found as it was");
    assert_eq!(life.dark(&mut api, false), 3);
    // Another node had it in between.
    life.live(&[]);
    life.live(&["n1"]);
    assert_eq!(life.dark(&mut api, true), 4);
    for _ in 0..20 {
        life.dark(&mut api, false);
    }
    assert_eq!(life.dark(&mut api, false), 10, "a flapping one floods nobody");
}

#[test]
fn whoever_tells_next_that_no_node_announces_a_service_tells_no_second_event() {
    let (mut api, first) = settled();
    let why = vec![(ferrolb_core::decide::Protocol::Bgp, ferrolb_core::decide::Reason::NoEndpoints)];
    let mut told = |stood| {
        let mut life = Life::begin(first.now);
        life.list(&api);
        let service = ServiceKey::new("default", "web");
        life.reports.not_announced(&Telling { service, why: why.clone(), stood });
        life.run(&mut api, SECOND);
        api.events.values().filter(|message| message.starts_with("no node announces it")).count()
    };
    assert_eq!([told(true), told(true), told(false), told(false), told(true)], [1, 1, 2, 3, 3]);
}
