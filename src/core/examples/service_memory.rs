//! What services take of memory, step by step from objects to routes: 10,000 of them, each with one EndpointSlice, an address
//! that its status shows, and a route. First with as little in each as there can be, then as a chart makes them. Octets as
//! glibc gives them out: a word more than asked for, in multiples of 16, 32 at least.
//!
//! `cargo run --release -p ferrolb-core --example service_memory`
#![expect(unsafe_code, reason = "an allocator that counts is one")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "constants")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::config::{LastValid, Settings, compile};
use ferrolb_core::decide::{Coverage, Decisions, NodeRoutes, Options};
use ferrolb_core::manifest;
use ferrolb_core::types::NodeName;
use ferrolb_core::world::{Common, Node, Object, ObjectId, World};
use serde_json::{Value, json};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

fn taken(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16).max(32)
}

// SAFETY: all is the system allocator's; counting touches none of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        NOW.fetch_add(taken(layout), Relaxed);
        BLOCKS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(taken(layout), Relaxed);
        BLOCKS.fetch_sub(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SERVICES: usize = 10_000;

fn main() {
    for rich in [false, true] {
        println!("{}", if rich { "As a chart makes them:" } else { "Bare:" });
        measure(rich);
    }
}

fn measure(rich: bool) {
    let mut before = (NOW.load(Relaxed), BLOCKS.load(Relaxed));
    let start = before;
    let mut step = |what: &str| {
        let now = (NOW.load(Relaxed), BLOCKS.load(Relaxed));
        let each = |now: usize, before: usize| (now as i64 - before as i64) as f64 / SERVICES as f64;
        println!(
            "  {what:<34} {:>6.0} octets in {:>4.1} blocks",
            each(now.0, before.0),
            each(now.1, before.1)
        );
        before = now;
    };
    let mut common = Common::default();
    let mut read = |value: Value| {
        let mut object = manifest::object(value).unwrap().unwrap();
        common.share(&mut object);
        object
    };
    let mut objects: Vec<Object> = (0..SERVICES).map(|i| read(service(i, rich))).collect();
    let mut ids: Vec<Arc<ObjectId>> = objects.iter().map(|object| Arc::new(object.id())).collect();
    let mut world = World::default();
    for object in objects.drain(..) {
        world.apply(object);
    }
    drop(objects);
    step("Services, and their names as keys");
    let mut slices: Vec<Object> = (0..SERVICES).map(|i| read(slice(i, rich))).collect();
    ids.extend(slices.iter().map(|object| Arc::new(object.id())));
    for object in slices.drain(..) {
        world.apply(object);
    }
    drop(slices);
    step("EndpointSlices, and the same");
    let index: HashMap<Arc<ObjectId>, ()> = ids.into_iter().map(|id| (id, ())).collect();
    for object in configuration() {
        world.apply(read(object));
    }
    let node = Arc::new(Node {
        name: NodeName::new("n1"),
        labels: Default::default(),
        network_unavailable: false,
        internal_ips: vec![],
    });
    let nodes = vec![node.clone()];
    let settings =
        Settings { system_namespace: "metallb-system".into(), nodes: nodes.clone(), namespaces: true };
    let config = Arc::new(compile(&world, &settings, &LastValid::new()).config);
    step("configuration, index of names");
    let mut allocator = Allocator::new(Mode::Allocate, None);
    allocator.reconfigure(config.clone(), &world);
    step("addresses");
    let mut routes = NodeRoutes::default();
    let (coverage, options) = (Coverage::of(&config), Options::default());
    routes.rebuild(
        &Decisions {
            world: &world,
            config: &config,
            coverage: &coverage,
            allocator: &allocator,
            options: &options,
            nodes: &nodes,
        },
        &node,
    );
    step("routes");
    let all = (NOW.load(Relaxed) - start.0) as f64;
    println!("  all: {:.1} MiB, {:.0} octets a service", all / 1024.0 / 1024.0, all / SERVICES as f64);
    assert_eq!(routes.groups().map(|(_, routes)| routes.len()).collect::<Vec<_>>(), [SERVICES]);
    drop(index);
}

fn name(i: usize, rich: bool) -> (String, String) {
    if rich {
        (format!("team-{}", i % 50), format!("shop-frontend-{i}"))
    } else {
        ("default".into(), format!("s{i}"))
    }
}

fn service(i: usize, rich: bool) -> Value {
    let (namespace, name) = name(i, rich);
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "type": "LoadBalancer", "clusterIPs": [format!("10.96.{}.{}", i / 256, i % 256)],
            "ports": [{"port": 80, "protocol": "TCP"}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": format!("198.18.{}.{}", i / 256, i % 256)}]}},
    });
    if rich {
        let app = json!({"app.kubernetes.io/name": "frontend", "app.kubernetes.io/instance": name});
        service["spec"]["selector"] = app.clone();
        service["spec"]["ipFamilies"] = json!(["IPv4"]);
        let labels = json!({"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "frontend-1.2.3"});
        service["metadata"]["labels"] = app
            .as_object()
            .into_iter()
            .chain(labels.as_object())
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        service["metadata"]["annotations"] = json!({"metallb.io/ip-allocated-from-pool": "pool"});
    }
    service
}

fn slice(i: usize, rich: bool) -> Value {
    let (namespace, name) = name(i, rich);
    let nodes = if rich { 1..=2 } else { 1..=1 };
    let endpoint = |n| json!({"addresses": ["10.0.0.1"], "nodeName": format!("n{n}")});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": namespace, "name": if rich { format!("{name}-x7k2p") } else { name.clone() },
            "labels": {"kubernetes.io/service-name": name},
        },
        "endpoints": nodes.map(endpoint).collect::<Value>(),
    })
}

fn configuration() -> Vec<Value> {
    let object = |version: &str, kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": format!("metallb.io/{version}"), "kind": kind,
            "metadata": {"namespace": "metallb-system", "name": name}, "spec": spec,
        })
    };
    let peer = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "203.0.113.1"});
    vec![
        object("v1beta1", "IPAddressPool", "pool", json!({"addresses": ["198.18.0.0/15"]})),
        object("v1beta1", "BGPAdvertisement", "all", json!({})),
        object("v1beta2", "BGPPeer", "tor", peer),
    ]
}
