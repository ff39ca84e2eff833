//! The engine against itself: incremental against from scratch, and a restart against the running one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::alloc::Allocation;
use crate::manifest;
use crate::types::{InterfaceSet, RouteAttributes};

const NODE: &str = "n1";

/// A small seeded generator: the test has to be the same at each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.roll(all.len() as u64) as usize]
    }
}

fn object(value: &Value) -> Object {
    let parsed = manifest::parse("test.json", value.to_string().as_bytes());
    assert_eq!(parsed.errors, vec![]);
    parsed.objects.into_iter().next().expect("one object").object
}

fn config_object(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind,
           "metadata": {"name": name, "namespace": "metallb-system", "labels": {"tier": name}}, "spec": spec})
}

fn service(dice: &mut Dice) -> Value {
    let i = dice.roll(30);
    let mut annotations = serde_json::Map::new();
    if dice.chance(25) {
        annotations.insert("metallb.io/allow-shared-ip".into(), dice.pick(&["a", "b"]).to_string().into());
    }
    if dice.chance(15) {
        annotations.insert("metallb.io/address-pool".into(), format!("p{}", dice.roll(5)).into());
    }
    if dice.chance(15) {
        annotations.insert("metallb.io/loadBalancerIPs".into(), format!("192.0.2.{}", dice.roll(20)).into());
    }
    let dual = dice.chance(30);
    let ips = if dual { json!(["10.96.0.1", "fd00::1"]) } else { json!(["10.96.0.1"]) };
    let policy = *dice.pick(&["SingleStack", "PreferDualStack", "RequireDualStack"]);
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("s{i}"), "namespace": format!("ns{}", i % 3), "annotations": annotations,
                     "labels": {"app": dice.pick(&["web", "dns"])}},
        "spec": {"type": if dice.chance(92) { "LoadBalancer" } else { "ClusterIP" }, "clusterIPs": ips,
                 "ipFamilyPolicy": if dual { policy } else { "SingleStack" },
                 "externalTrafficPolicy": dice.pick(&["Cluster", "Cluster", "Local"]),
                 "selector": {"app": "x"},
                 "ports": [{"port": 80 + dice.roll(3), "protocol": "TCP"}]}})
}

fn slice(dice: &mut Dice) -> Value {
    let i = dice.roll(30);
    let v6 = dice.chance(30);
    let endpoints: Vec<Value> = (0..dice.roll(3))
        .map(|_| {
            json!({"addresses": [if v6 { "fd01::1" } else { "10.0.0.1" }], "nodeName": dice.pick(&["n1", "n2"]),
                   "conditions": {"ready": dice.chance(70)}})
        })
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": if v6 { "IPv6" } else { "IPv4" },
        "metadata": {"name": format!("s{i}-{v6}"), "namespace": format!("ns{}", i % 3),
                     "labels": {"kubernetes.io/service-name": format!("s{i}")}},
        "endpoints": endpoints})
}

fn pool(dice: &mut Dice) -> Value {
    let i = dice.roll(5);
    let mut addresses = vec![json!(format!("192.0.2.{}-192.0.2.{}", i * 4, i * 4 + 2 + dice.roll(3)))];
    if dice.chance(60) {
        addresses.push(json!(format!("2001:db8:{i}::/126")));
    }
    if dice.chance(8) {
        addresses.push(json!("192.0.2.999/32"));
    }
    let mut spec =
        json!({"addresses": addresses, "autoAssign": dice.chance(85), "avoidBuggyIPs": dice.chance(20)});
    if dice.chance(25) {
        spec["serviceAllocation"] =
            json!({"priority": dice.roll(4), "namespaces": [format!("ns{}", dice.roll(3))]});
    }
    config_object("v1beta1", "IPAddressPool", &format!("p{i}"), spec)
}

fn bgp_advertisement(dice: &mut Dice) -> Value {
    let i = dice.roll(4);
    let mut spec = json!({"localPref": dice.roll(2) * 100, "aggregationLength": dice.pick(&[32, 32, 31, 33]),
        "communities": [format!("64512:{i}")]});
    if dice.chance(50) {
        spec["ipAddressPools"] = json!([format!("p{}", dice.roll(5))]);
    }
    if dice.chance(30) {
        spec["peers"] = json!([dice.pick(&["r0", "r1", "r2"])]);
    }
    if dice.chance(20) {
        spec["nodeSelectors"] = json!([{"matchLabels": {"rack": dice.pick(&["a", "b"])}}]);
    }
    config_object("v1beta1", "BGPAdvertisement", &format!("a{i}"), spec)
}

fn l2_advertisement(dice: &mut Dice) -> Value {
    let mut spec = json!({});
    if dice.chance(40) {
        spec["ipAddressPools"] = json!([format!("p{}", dice.roll(5))]);
    }
    if dice.chance(40) {
        spec["interfaces"] = json!([format!("eth{}", dice.roll(3))]);
    }
    if dice.chance(30) {
        spec["nodeSelectors"] = json!([{"matchLabels": {"rack": dice.pick(&["a", "b"])}}]);
    }
    if dice.chance(20) {
        spec["serviceSelectors"] = json!([{"matchLabels": {"app": "web"}}]);
    }
    config_object("v1beta1", "L2Advertisement", &format!("l{}", dice.roll(3)), spec)
}

fn peer(dice: &mut Dice) -> Value {
    let i = dice.roll(3);
    let spec = json!({"myASN": 64512, "peerASN": dice.pick(&[64512, 64513, 0]), "peerAddress": format!("203.0.113.{i}"),
        "dualStackAddressFamily": dice.chance(50)});
    config_object("v1beta2", "BGPPeer", &format!("r{i}"), spec)
}

fn edit(dice: &mut Dice, world: &World) -> SourceChange {
    if dice.chance(12) {
        let mut all: Vec<ObjectId> = world.services().map(|s| ObjectId::Service(s.key.clone())).collect();
        all.extend(world.config_objects().map(|c| ObjectId::Config(c.key.clone().into())));
        if !all.is_empty() {
            return SourceChange::Delete(dice.pick(&all).clone());
        }
    }
    let value = match dice.roll(100) {
        0..50 => service(dice),
        50..75 => slice(dice),
        75..84 => pool(dice),
        84..91 => bgp_advertisement(dice),
        91..96 => peer(dice),
        96..98 => l2_advertisement(dice),
        _ => {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"rack": dice.pick(&["a", "b"])}},
                    "status": {"conditions": [{"type": "NetworkUnavailable", "status": if dice.chance(10) { "True" } else { "False" }}]}})
        }
    };
    SourceChange::Apply(object(&value))
}

fn options() -> EngineOptions {
    EngineOptions {
        system_namespace: "metallb-system".into(),
        class: None,
        decide: Options::default(),
        node: NodeName::new(NODE),
        speaker: false,
        keep_routes: true,
        allocate_for_many: false,
    }
}

type Routes = BTreeMap<Arc<str>, BTreeMap<IpNet, RouteAttributes>>;

/// What each peer gets.
fn routes(of: &NodeRoutes) -> Routes {
    of.peers()
        .iter()
        .map(|(peer, id)| {
            let routes = of.routes(*id).into_iter().flatten();
            (peer.clone(), routes.map(|(prefix, r)| (*prefix, (*r.attributes).clone())).collect())
        })
        .collect()
}

/// What the node answers for, and where.
fn addresses(of: &NodeAddresses) -> BTreeMap<IpAddr, InterfaceSet> {
    of.iter().collect()
}

fn allocations(engine: &Engine) -> BTreeMap<ServiceKey, Allocation> {
    engine.allocator().iter().map(|(k, a)| (k.clone(), a.clone())).collect()
}

/// Everything that a directory of manifests would give a new process.
fn all_objects(world: &World, dated: bool) -> Vec<SourceChange> {
    let mut all: Vec<Object> = world.nodes().map(|n| Object::Node((**n).clone())).collect();
    all.extend(world.services().map(|s| Object::Service((**s).clone())));
    all.extend(world.slices().map(|s| Object::EndpointSlice((**s).clone())));
    all.extend(world.config_objects().map(|c| Object::Config((**c).clone())));
    if !dated {
        all.iter_mut().for_each(|o| set_created(o, None));
    }
    all.into_iter().map(SourceChange::Apply).collect()
}

#[test]
fn after_10_000_random_edits_a_restart_changes_nothing_and_increments_equal_a_new_decision() {
    random_edits(&options(), vec![], 10_000);
}

#[test]
fn the_same_holds_beside_another_node() {
    let options = EngineOptions { allocate_for_many: true, ..options() };
    let node = |name: &str| {
        object(
            &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"rack": "a"}}}),
        )
    };
    let lost_to_others = random_edits(&options, vec![node(NODE), node("n2")], 4_000);
    assert!(lost_to_others > 50, "but {lost_to_others}");
}

/// How often a service was seen that its node doesn't own on layer 2.
fn random_edits(options: &EngineOptions, first: Vec<Object>, edits: i64) -> usize {
    let mut dice = Dice(7);
    let mut engine =
        Engine::new(options.clone(), Allocator::new(Mode::Allocate, None), LastValid::new(), BTreeMap::new());
    engine.apply(first.into_iter().map(SourceChange::Apply).collect(), None);
    // What a peer would have by the changes alone.
    let mut told: Routes = BTreeMap::new();
    let mut with_routes = 0;
    // The same for layer 2, and for why a service isn't answered for.
    let mut answered: BTreeMap<IpAddr, InterfaceSet> = BTreeMap::new();
    let mut reasons: BTreeMap<ServiceKey, Announcement> = BTreeMap::new();
    let (mut with_addresses, mut lost_to_others) = (0, 0);
    for i in 0..edits {
        let now = Timestamp::from_second(1_700_000_000 + i).expect("a time");
        let outcome = if dice.chance(2) {
            let live = [NODE, "n2"].into_iter().filter(|_| dice.chance(70)).map(NodeName::new).collect();
            let outcome = engine.set_live(Some(live).filter(|_| dice.chance(70)));
            assert!(outcome.routes.is_empty() && !outcome.reconfigured, "BGP has nothing to do with it");
            outcome
        } else {
            let change = edit(&mut dice, engine.world());
            engine.apply(vec![change], Some(now))
        };
        for AddressChange { address, interfaces } in outcome.addresses {
            let before = match interfaces.clone() {
                Some(interfaces) => answered.insert(address, interfaces),
                None => answered.remove(&address),
            };
            assert_ne!(before, interfaces, "edit {i}: told without a change");
        }
        assert_eq!(
            answered,
            addresses(engine.addresses()),
            "edit {i}: the changes don't add up to the addresses"
        );
        reasons.extend(outcome.layer2_announcements);
        with_addresses += usize::from(answered.len() > 3);
        if outcome.reconfigured {
            told = routes(engine.routes());
        }
        for change in &outcome.routes {
            for (peer, _) in engine.routes().peers().iter().filter(|(_, id)| **id == change.group) {
                let table = told.entry(peer.clone()).or_default();
                match &change.attributes {
                    Some(attributes) => drop(table.insert(change.prefix, (**attributes).clone())),
                    None => drop(table.remove(&change.prefix).expect("only what was announced is withdrawn")),
                }
            }
        }
        assert_eq!(told, routes(engine.routes()), "edit {i}: the changes don't add up to the routes");
        with_routes += usize::from(told.values().any(|r| r.len() > 3));
        if i % 50 != 0 {
            continue;
        }
        let mut from_scratch = NodeRoutes::default();
        if let Some(node) = engine.nodes().iter().find(|n| n.name.as_str() == NODE) {
            from_scratch.rebuild(&engine.decisions(), node);
        }
        let mut answered_from_scratch = NodeAddresses::default();
        let node = engine.nodes().iter().find(|n| n.name.as_str() == NODE);
        answered_from_scratch.rebuild(&engine.decisions(), node.map(|n| &**n));
        assert_eq!(addresses(&answered_from_scratch), answered, "edit {i}: decided again, it differs");
        for service in engine.world().services() {
            let now = announcement(answered_from_scratch.reason(&service.key));
            let told = reasons.get(&service.key).copied().unwrap_or(Announcement::NoAddress);
            assert_eq!(told, now, "edit {i}: {}", service.key);
            lost_to_others += usize::from(now == Announcement::NotAnnounced(Reason::NotOwner));
        }
        assert_eq!(routes(&from_scratch), routes(engine.routes()), "edit {i}: decided again, it differs");

        let mut allocator = Allocator::new(Mode::Allocate, None);
        allocator.restore(&engine.allocator().holdings());
        let mut options = options.clone();
        options.decide.live = engine.decisions().options.live.clone();
        let mut restarted =
            Engine::new(options, allocator, engine.last_valid().clone(), engine.first_seen().clone());
        restarted.apply(all_objects(engine.world(), false), Some(now));
        assert_eq!(allocations(&engine), allocations(&restarted), "edit {i}: a restart changes addresses");
        assert_eq!(engine.config(), restarted.config(), "edit {i}: a restart changes the configuration");
        assert_eq!(routes(engine.routes()), routes(restarted.routes()), "edit {i}: a restart changes routes");
        assert_eq!(answered, addresses(restarted.addresses()), "edit {i}: a restart changes layer 2");
    }
    assert!(engine.allocator().iter().any(|(_, a)| !a.ips.is_empty()), "the edits gave addresses");
    assert!(with_routes > 1000, "and routes, but only {with_routes} times");
    assert!(with_addresses > 200, "and layer 2, but only {with_addresses} times");
    lost_to_others
}

#[test]
fn one_changed_service_costs_one_services_work() {
    let mut engine =
        Engine::new(options(), Allocator::new(Mode::Allocate, None), LastValid::new(), BTreeMap::new());
    let mut batch = vec![
        object(&config_object("v1beta1", "IPAddressPool", "p", json!({"addresses": ["198.18.0.0/15"]}))),
        object(&config_object("v1beta1", "BGPAdvertisement", "a", json!({}))),
        object(&config_object("v1beta1", "L2Advertisement", "l", json!({}))),
        object(&config_object(
            "v1beta2",
            "BGPPeer",
            "r",
            json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "203.0.113.1"}),
        )),
    ];
    let web = |i: usize| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{i}"), "namespace": "default"},
               "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}})
    };
    let endpoints = |i: usize, ready: bool| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
               "metadata": {"name": format!("s{i}"), "namespace": "default", "labels": {"kubernetes.io/service-name": format!("s{i}")}},
               "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": NODE, "conditions": {"ready": ready}}]})
    };
    for i in 0..1000 {
        batch.push(object(&web(i)));
        batch.push(object(&endpoints(i, true)));
    }
    engine.apply(batch.into_iter().map(SourceChange::Apply).collect(), None);
    assert_eq!(routes(engine.routes()).values().map(BTreeMap::len).sum::<usize>(), 1000);

    assert_eq!(addresses(engine.addresses()).len(), 1000);

    let before = (engine.routes().visited(), engine.allocator().visited(), engine.addresses().visited());
    let outcome = engine.apply(vec![SourceChange::Apply(object(&endpoints(500, false)))], None);
    assert_eq!(outcome.routes.len(), 1, "one route is withdrawn");
    assert_eq!(outcome.addresses.len(), 1, "one address is given up");
    assert_eq!(engine.routes().visited() - before.0, 1);
    assert_eq!(engine.addresses().visited() - before.2, 1);
    assert!(engine.allocator().visited() - before.1 <= 1);

    // A snapshot stays as it was, whatever the engine does meanwhile.
    let key = ServiceKey::new("default", "s7");
    let snapshot = engine.snapshot();
    engine.apply(vec![SourceChange::Delete(ObjectId::Service(key.clone()))], None);
    let (then, now) = (snapshot.decisions(), engine.decisions());
    assert!(
        then.world.service(&key).is_some() && then.allocator.get(&key).is_some_and(|a| !a.ips.is_empty())
    );
    assert!(now.world.service(&key).is_none() && now.allocator.get(&key).is_none());
    assert!(Arc::ptr_eq(snapshot.config(), engine.config()), "what hasn't changed is shared");
}

#[test]
fn a_local_service_that_comes_to_the_node_is_held_until_it_is_released() {
    let mut engine =
        Engine::new(options(), Allocator::new(Mode::Allocate, None), LastValid::new(), BTreeMap::new());
    let service = |name: &str, policy: &str| {
        let check = if policy == "Local" { json!(30_000) } else { json!(null) };
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
               "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}],
                        "externalTrafficPolicy": policy, "healthCheckNodePort": check}})
    };
    let endpoints = |name: &str, node: &str| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
               "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
               "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": node}]})
    };
    let peer = |name: &str| {
        let spec =
            json!({"myASN": 64512, "peerASN": 64513, "peerAddress": format!("203.0.113.{}", name.len())});
        config_object("v1beta2", "BGPPeer", name, spec)
    };
    let apply = |engine: &mut Engine, objects: &[Value]| {
        engine.apply(objects.iter().map(|o| SourceChange::Apply(object(o))).collect(), None)
    };
    let key = |name: &str| ServiceKey::new("default", name);
    let announced = |engine: &Engine, name: &str| {
        assert_eq!(
            engine.routes().prefixes(&key(name)).is_empty(),
            engine.routes().reason(&key(name)) != Some(None)
        );
        engine.routes().reason(&key(name)) == Some(None)
    };
    apply(
        &mut engine,
        &[
            config_object("v1beta1", "IPAddressPool", "p", json!({"addresses": ["198.18.0.0/15"]})),
            config_object("v1beta1", "BGPAdvertisement", "a", json!({})),
            peer("r"),
            service("here", "Local"),
            endpoints("here", NODE),
            service("there", "Local"),
            endpoints("there", "n2"),
        ],
    );
    engine.hold_new_locals();
    assert!(announced(&engine, "here") && !announced(&engine, "there"));

    // One that comes here is held, however often it changes; others aren't.
    let moved = [endpoints("there", NODE), service("all", "Cluster"), endpoints("all", "n2")];
    let outcome = apply(&mut engine, &moved);
    assert_eq!((outcome.held, outcome.routes.len()), (vec![key("there")], 1));
    assert!(announced(&engine, "all") && !announced(&engine, "there"));
    let outcome = apply(&mut engine, &[endpoints("there", "n2")]);
    assert_eq!((outcome.held, outcome.routes), (vec![], vec![]));
    let outcome = apply(&mut engine, &[endpoints("there", NODE)]);
    assert_eq!(outcome.held, [key("there")]);
    // A new configuration doesn't let it through.
    let outcome = apply(&mut engine, &[peer("rr")]);
    assert!(outcome.reconfigured && !announced(&engine, "there"));
    let outcome = engine.release(&key("there"));
    assert_eq!((outcome.held, outcome.routes.len()), (vec![], 1));
    assert_eq!(outcome.announcements, [(key("there"), Announcement::Announced)]);
    let prefixes = engine.routes().prefixes(&key("there"));
    assert_eq!(prefixes.keys().map(|peer| &***peer).collect::<Vec<_>>(), ["r", "rr"]);
    assert!(engine.release(&key("there")).announcements.is_empty());

    // A withdrawal doesn't wait, and one that is announced isn't held when it changes.
    let outcome = apply(&mut engine, &[endpoints("here", "n2")]);
    assert_eq!((outcome.held, outcome.routes.len()), (vec![], 1));
    let mut labelled = service("there", "Local");
    labelled["metadata"]["labels"] = json!({"x": "y"});
    assert_eq!(apply(&mut engine, &[labelled]).held, vec![]);
    assert!(announced(&engine, "there"));
    // A new service whose endpoint is here already has to be programmed too.
    let outcome = apply(&mut engine, &[service("new", "Local"), endpoints("new", NODE)]);
    assert_eq!(outcome.held, [key("new")]);
}

#[test]
fn on_layer_2_too_a_local_service_that_comes_to_the_node_is_held_until_it_is_released() {
    let mut engine =
        Engine::new(options(), Allocator::new(Mode::Allocate, None), LastValid::new(), BTreeMap::new());
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}],
                 "externalTrafficPolicy": "Local", "healthCheckNodePort": 30_000}});
    let endpoints = |node: &str| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
               "metadata": {"name": "web", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
               "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": node}]})
    };
    let apply = |engine: &mut Engine, objects: &[Value]| {
        engine.apply(objects.iter().map(|o| SourceChange::Apply(object(o))).collect(), None)
    };
    let web = ServiceKey::new("default", "web");
    let answered = |engine: &Engine| engine.addresses().iter().count();
    let config = [
        config_object("v1beta1", "IPAddressPool", "p", json!({"addresses": ["198.18.0.0/15"]})),
        config_object("v1beta1", "L2Advertisement", "a", json!({})),
    ];
    apply(&mut engine, &config);
    apply(&mut engine, &[service, endpoints("n2")]);
    engine.hold_new_locals();
    let outcome = apply(&mut engine, &[endpoints(NODE)]);
    assert_eq!((outcome.held, answered(&engine)), (vec![web.clone()], 0));
    let why = Some(Some(Reason::NoLocalEndpoints));
    assert_eq!(engine.addresses().reason(&web), why);
    // It is asked about once, and a new configuration doesn't let it through.
    assert!(apply(&mut engine, &[endpoints(NODE)]).held.is_empty());
    apply(&mut engine, &[config_object("v1beta1", "L2Advertisement", "b", json!({}))]);
    assert_eq!((engine.addresses().reason(&web), answered(&engine)), (why, 0));
    let outcome = engine.release(&web);
    assert_eq!((outcome.addresses.len(), answered(&engine)), (1, 1));
    assert_eq!(outcome.layer2_announcements, [(web.clone(), Announcement::Announced)]);
    // Giving it up doesn't wait.
    assert_eq!(apply(&mut engine, &[endpoints("n2")]).addresses.len(), 1);
    assert_eq!(answered(&engine), 0);
}

#[test]
fn an_engine_that_does_not_choose_gives_what_status_gives_and_keeps_that_when_it_may() {
    let options = EngineOptions { keep_routes: false, ..options() };
    let mut engine =
        Engine::new(options, Allocator::new(Mode::Allocate, None), LastValid::new(), BTreeMap::new());
    engine.set_choosing(false);
    let web = |name: &str, ingress: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
               "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
               "status": {"loadBalancer": {"ingress": ingress}}})
    };
    let pool = config_object("v1beta1", "IPAddressPool", "p", json!({"addresses": ["192.0.2.0/28"]}));
    let first = [pool, web("new", json!([])), web("old", json!([{"ip": "192.0.2.0"}]))];
    engine.apply(first.iter().map(|o| SourceChange::Apply(object(o))).collect(), None);
    let ips = |engine: &Engine, name: &str| {
        engine.allocator().get(&ServiceKey::new("default", name)).map(|a| a.ips.to_vec()).unwrap_or_default()
    };
    let old: Vec<std::net::IpAddr> = vec!["192.0.2.0".parse().expect("an address")];
    assert_eq!((ips(&engine, "new"), ips(&engine, "old")), (vec![], old.clone()));

    let outcome = engine.set_choosing(true);
    assert!(outcome.allocations.contains(&ServiceKey::new("default", "new")));
    let new: Vec<std::net::IpAddr> = vec!["192.0.2.1".parse().expect("an address")];
    assert_eq!((ips(&engine, "new"), ips(&engine, "old")), (new, old.clone()));

    // What was chosen and not written is given up again with the right to choose.
    engine.set_choosing(false);
    assert_eq!((ips(&engine, "new"), ips(&engine, "old")), (vec![], old));
}

#[test]
fn a_speakers_node_announces_what_status_says_as_long_as_there_is_such_a_node() {
    let options = EngineOptions { speaker: true, ..options() };
    let allocator = Allocator::new(Mode::StatusOnly, None);
    let mut engine = Engine::new(options, allocator, LastValid::new(), BTreeMap::new());
    let service = |name: &str, asks: &str, ingress: Value| {
        json!({"apiVersion": "v1", "kind": "Service",
               "metadata": {"name": name, "namespace": "default", "annotations": {"metallb.io/loadBalancerIPs": asks}},
               "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
               "status": {"loadBalancer": {"ingress": ingress}}})
    };
    let slice = |name: &str| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
               "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
               "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": "elsewhere", "conditions": {"ready": true}}]})
    };
    // The label isn't known here, nor is that the namespace has it.
    let only = json!({"namespaces": ["elsewhere"], "namespaceSelectors": [{"matchLabels": {"team": "a"}}]});
    let all = [
        config_object(
            "v1beta1",
            "IPAddressPool",
            "p",
            json!({"addresses": ["192.0.2.0/28"], "serviceAllocation": only}),
        ),
        config_object(
            "v1beta2",
            "BGPPeer",
            "tor",
            json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"}),
        ),
        config_object("v1beta1", "BGPAdvertisement", "a", json!({})),
        service("web", "192.0.2.7", json!([{"ip": "192.0.2.1"}])),
        service("new", "192.0.2.2", json!([])),
        slice("web"),
        slice("new"),
    ];
    let announced = |engine: &Engine| -> Vec<IpNet> {
        routes(engine.routes()).into_values().flat_map(BTreeMap::into_keys).collect()
    };
    engine.apply(all.iter().map(|o| SourceChange::Apply(object(o))).collect(), None);
    assert_eq!(announced(&engine), [], "there is no such Node");
    assert_eq!(engine.config().warnings, [], "and nothing is said of namespaces");

    let web = ServiceKey::new("default", "web");
    let route: IpNet = "192.0.2.1/32".parse().expect("a prefix");
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    let outcome = engine.apply(vec![SourceChange::Apply(object(&node))], None);
    assert_eq!((announced(&engine), outcome.announcements.len()), (vec![route], 1));
    // What is asked for is the controller's to judge.
    engine.apply(
        vec![SourceChange::Apply(object(&service("web", "192.0.2.9", json!([{"ip": "192.0.2.1"}]))))],
        None,
    );
    assert_eq!(announced(&engine), [route]);

    let outcome = engine.apply(vec![SourceChange::Delete(ObjectId::Node(NodeName::new(NODE)))], None);
    assert_eq!(announced(&engine), []);
    assert_eq!(outcome.announcements, [(web, Announcement::NotAnnounced(Reason::NotOwner))]);
}
