//! What the engine is given while the other Nodes are being listed, against the stand-in for an API server.

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::engine::{EngineOptions, Outcome};

use super::*;
use crate::shell::kube::fake::Fake;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
const OTHERS: &str = "/api/v1/nodes?metadata.name!=n1";
const SERVICES: usize = 8;

/// A cluster of two nodes with Services that have their endpoints on the first, and a router for all of them.
async fn cluster() -> Fake {
    let api = Fake::start().await;
    for node in ["n1", "n2"] {
        api.put(
            &format!("/api/v1/nodes/{node}"),
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "uid": node, "labels": {"rack": node}}}),
        );
    }
    put(&api, "ipaddresspools", "IPAddressPool", "pool", json!({"addresses": ["192.0.2.0/28"]}));
    let peer = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "198.51.100.1"});
    put(&api, "bgppeers", "BGPPeer", "tor", peer);
    put(&api, "bgpadvertisements", "BGPAdvertisement", "all", json!({}));
    for i in 0..SERVICES {
        api.put(
            &format!("/api/v1/namespaces/default/services/web{i}"),
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": format!("web{i}"), "namespace": "default", "uid": "u"},
                "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
                "status": {"loadBalancer": {"ingress": [{"ip": format!("192.0.2.{i}"), "ipMode": "VIP"}]}},
            }),
        );
        put_endpoint(&api, i, true);
    }
    api
}

fn path(plural: &str, name: &str) -> String {
    let version = if plural == "bgppeers" { "v1beta2" } else { "v1beta1" };
    format!("/apis/metallb.io/{version}/namespaces/metallb-system/{plural}/{name}")
}

fn put(api: &Fake, plural: &str, kind: &str, name: &str, spec: Value) {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    let metadata = json!({"name": name, "namespace": "metallb-system", "uid": name});
    api.put(
        &path(plural, name),
        json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": metadata, "spec": spec}),
    );
}

/// The only endpoint of a Service.
fn put_endpoint(api: &Fake, service: usize, ready: bool) {
    let name = format!("web{service}");
    api.put(
        &format!("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/{name}"),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": name, "namespace": "default", "uid": "u",
                "labels": {"kubernetes.io/service-name": name},
            },
            "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": "n1", "conditions": {"ready": ready}}],
        }),
    );
}

/// A speaker, as far as it decides.
struct Speaker {
    supply: Supply,
    engine: Engine,
}

impl Speaker {
    /// One that announces from `n1`, and knows of all that nothing more is needed.
    async fn announcing(api: &Fake) -> Speaker {
        let node = NodeName::new("n1");
        let namespace: Arc<str> = "metallb-system".into();
        let options = EngineOptions {
            system_namespace: namespace.clone(),
            class: None,
            decide: Default::default(),
            node: node.clone(),
            speaker: true,
            keep_routes: true,
            allocate_for_many: false,
        };
        let allocator = Allocator::new(Mode::StatusOnly, None);
        let mut engine = Engine::new(options, allocator, Default::default(), Default::default());
        engine.set_live(Some(["n1", "n2"].map(NodeName::new).into()));
        let supply = Supply::new(api.client(), &node, &namespace, &namespace);
        let mut speaker = Speaker { supply, engine };
        while !speaker.supply.is_complete() {
            speaker.step().await;
        }
        speaker.supply.announces();
        speaker
    }

    /// Decides what comes next.
    async fn step(&mut self) -> Outcome {
        let next = tokio::time::timeout(PATIENCE, self.supply.next());
        let mut supplied = next.await.expect("something in time");
        supplied.remove_old_nodes(&self.engine, &self.supply.node);
        let outcome = self.engine.apply(supplied.changes, None);
        self.supply.follow(&self.engine);
        outcome
    }

    /// Decides what comes until this holds; what was decided.
    async fn until(&mut self, holds: impl Fn(&Speaker) -> bool) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while !holds(self) {
            outcomes.push(self.step().await);
        }
        outcomes
    }

    /// Decides what comes until the list of the other Nodes is waited for.
    async fn until_others_are_awaited(&mut self, api: &Fake) {
        let asked = async {
            while !api.is_awaited(OTHERS) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, async {
            tokio::pin!(asked);
            loop {
                tokio::select! {
                    () = &mut asked => break,
                    _ = self.step() => {}
                }
            }
        })
        .await
        .expect("the others are listed in time");
    }

    fn is_announced(&self, service: usize) -> bool {
        self.engine.routes().reason(&ServiceKey::new("default", &format!("web{service}"))) == Some(None)
    }

    fn nodes(&self) -> usize {
        self.engine.world().nodes().count()
    }

    fn answers_for(&self) -> usize {
        self.engine.addresses().iter().count()
    }
}

#[tokio::test]
async fn while_the_list_of_nodes_hangs_all_is_decided_but_what_needs_it() {
    let api = cluster().await;
    api.hold(OTHERS);
    let mut speaker = Speaker::announcing(&api).await;
    assert!((0..SERVICES).all(|i| speaker.is_announced(i)));
    put(&api, "l2advertisements", "L2Advertisement", "l2", json!({}));
    speaker.until_others_are_awaited(&api).await;
    // An endpoint, the configuration, and what needs the Nodes itself: that stays as it was.
    put_endpoint(&api, 0, false);
    speaker.until(|speaker| !speaker.is_announced(0)).await;
    assert!(speaker.is_announced(1));
    let elsewhere = json!({"nodeSelectors": [{"matchLabels": {"rack": "n2"}}]});
    put(&api, "bgpadvertisements", "BGPAdvertisement", "all", elsewhere);
    put(&api, "bgpadvertisements", "BGPAdvertisement", "more", json!({}));
    let more = |speaker: &Speaker| speaker.engine.config().bgp_advertisements.len() == 2;
    speaker.until(more).await;
    assert!(speaker.engine.config().bgp_advertisements.iter().all(|a| a.nodes.0.is_empty()));
    api.delete(&path("bgpadvertisements", "more"));
    speaker.until(|speaker| speaker.engine.config().bgp_advertisements.len() == 1).await;
    assert!(speaker.is_announced(1));
    assert_eq!((speaker.answers_for(), speaker.nodes()), (0, 1));

    api.release(OTHERS);
    let outcomes = speaker.until(|speaker| speaker.nodes() == 2).await;
    // It is one change: with the Nodes, this node answers for its share, and nothing of that is taken back.
    let last = outcomes.last().expect("the list");
    let answered = last.addresses.iter().filter(|change| change.interfaces.is_some()).count();
    assert_eq!(answered, speaker.answers_for());
    assert!((1..SERVICES - 1).contains(&answered), "the other node has a share: {answered}");
    assert!(!speaker.is_announced(1), "the advertisement is for another node");
}

#[tokio::test]
async fn who_tells_of_services_withdraws_before_it_knows_all_nodes() {
    let api = cluster().await;
    api.refuse(OTHERS, 403);
    let mut speaker = Speaker::announcing(&api).await;
    assert!(!speaker.supply.tells(true));
    let watches = speaker.supply.watches();
    let refused = async {
        while !watches.missing().iter().any(|(kind, why)| kind.plural == "nodes" && why.contains("allow")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("that it is forbidden is said");
    put_endpoint(&api, 0, false);
    speaker.until(|speaker| !speaker.is_announced(0)).await;
    assert!(!speaker.supply.tells(true));
    api.refuse(OTHERS, 200);
    speaker.until(|speaker| speaker.nodes() == 2).await;
    assert!(speaker.supply.tells(true));
}

#[tokio::test]
async fn at_the_start_all_that_is_needed_is_waited_for() {
    let api = cluster().await;
    put(&api, "l2advertisements", "L2Advertisement", "l2", json!({}));
    api.hold(OTHERS);
    let starting = Speaker::announcing(&api);
    let asked = async {
        while !api.is_awaited(OTHERS) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::pin!(starting);
    tokio::select! {
        _ = &mut starting => panic!("it has started without the others"),
        asked = tokio::time::timeout(PATIENCE, asked) => asked.expect("the others are listed in time"),
    }
    api.release(OTHERS);
    let speaker = tokio::time::timeout(PATIENCE, starting).await.expect("it starts");
    assert_eq!(speaker.nodes(), 2);
}

#[tokio::test]
async fn other_nodes_are_forgotten_when_nothing_needs_them_and_nothing_announced_changes() {
    let api = cluster().await;
    put(&api, "l2advertisements", "L2Advertisement", "l2", json!({}));
    let mut speaker = Speaker::announcing(&api).await;
    assert_eq!(speaker.nodes(), 2);
    assert!(speaker.answers_for() > 0);
    speaker.supply.others.linger = Duration::ZERO;
    api.delete(&path("l2advertisements", "l2"));
    let outcomes = speaker.until(|speaker| speaker.nodes() == 1).await;
    assert_eq!(speaker.answers_for(), 0, "that is gone with the L2Advertisement");
    assert!(outcomes.iter().all(|outcome| outcome.announcements.is_empty()), "{outcomes:?}");
    let last = outcomes.last().expect("it was decided");
    assert!(last.addresses.is_empty() && last.layer2_announcements.is_empty(), "{last:?}");
    // What becomes of them isn't heard any more.
    let third = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n3", "uid": "n3"}});
    api.put("/api/v1/nodes/n3", third);
    put_endpoint(&api, 0, false);
    speaker.until(|speaker| !speaker.is_announced(0)).await;
    assert_eq!(speaker.nodes(), 1);

    // Needed again, they are all there; and of two needs the lesser one stays.
    let here = json!({"nodeSelectors": [{"matchLabels": {"rack": "n1"}}]});
    put(&api, "bgpadvertisements", "BGPAdvertisement", "all", here);
    put(&api, "l2advertisements", "L2Advertisement", "l2", json!({}));
    speaker.until(|speaker| speaker.answers_for() > 0).await;
    assert_eq!(speaker.nodes(), 3);
    api.hold(OTHERS);
    api.delete(&path("l2advertisements", "l2"));
    speaker.until_others_are_awaited(&api).await;
    // Those that are gone when their labels come are gone.
    api.delete("/api/v1/nodes/n3");
    api.release(OTHERS);
    let outcomes = speaker.until(|speaker| speaker.nodes() == 2).await;
    assert!(outcomes.iter().all(|outcome| outcome.announcements.is_empty()), "{outcomes:?}");
    assert_eq!((speaker.answers_for(), speaker.supply.others.known()), (0, Others::Labels));
    assert!(speaker.is_announced(1));
}
