//! For each reason: a few manifests, the sentence, and that the proposed edits make the reason go and nothing else wrong.

use serde_json::Value;

use super::{Context, Explanation, Only, Remedy, WhyNot, explain};
use crate::alloc::{Allocator, Mode};
use crate::decide::Options;
use crate::engine::{Engine, EngineOptions, SourceChange};
use crate::manifest;
use crate::plan::build;
use crate::types::{Issue, NodeName, ServiceKey};

const CONTEXT: Context<'_> = Context { system_namespace: "metallb-system", class: None };

/// Objects, and what follows from them.
struct Scene {
    objects: Vec<Value>,
    engine: Engine,
}

impl Scene {
    fn of(yaml: &[impl AsRef<str>]) -> Scene {
        let documents = yaml.iter().flat_map(|text| text.as_ref().split("\n---\n"));
        let objects = documents.filter(|d| !d.trim().is_empty());
        Scene::from(objects.map(|d| serde_saphyr::from_str(d).expect("the test's YAML")).collect())
    }

    fn from(objects: Vec<Value>) -> Scene {
        let text: Vec<String> = objects.iter().map(Value::to_string).collect();
        let parsed = manifest::parse("scene.json", text.join("\n").as_bytes());
        assert_eq!(parsed.errors, vec![]);
        assert_eq!(manifest::duplicates(&parsed.objects), vec![]);
        let options = EngineOptions {
            system_namespace: CONTEXT.system_namespace.into(),
            class: None,
            decide: Options::default(),
            node: NodeName::new("local"),
            speaker: false,
            keep_routes: false,
            allocate_for_many: true,
        };
        let allocator = Allocator::new(Mode::Allocate, None);
        let mut engine = Engine::new(options, allocator, Default::default(), Default::default());
        engine.apply(parsed.objects.into_iter().map(|l| SourceChange::Apply(l.object)).collect(), None);
        Scene { objects, engine }
    }

    fn explain(&self, service: &str) -> Explanation {
        let key = ServiceKey::new("default", service);
        let decisions = self.engine.decisions();
        let explanation = explain(&decisions, &CONTEXT, &key, Only::default()).expect("a service");
        for line in explanation.to_string().lines() {
            assert!(line.chars().count() <= 100, "too wide: {line}");
        }
        self.agrees_with_plan(&explanation);
        explanation
    }

    /// The first reason at each place is the one that `plan` tells.
    fn agrees_with_plan(&self, explanation: &Explanation) {
        let document = build(&self.engine.decisions(), CONTEXT.system_namespace, None, vec![]);
        let service = format!("{}/{}", explanation.namespace, explanation.name);
        let mut planned: Vec<(String, Option<String>, &str, &str)> = Vec::new();
        let mut explained = planned.clone();
        for node in &document.nodes {
            let ours = node.not_announced.iter().filter(|n| n.service == service);
            planned.extend(ours.map(|n| (node.name.clone(), n.peer.clone(), n.protocol, n.reason)));
        }
        for node in &explanation.nodes {
            for peer in &node.bgp {
                let first = peer.not_announced.first();
                explained.extend(first.map(|w| (node.name.clone(), peer.peer.clone(), "bgp", w.reason)));
            }
            let first = node.layer2.as_ref().and_then(|l| l.not_announced.first());
            explained.extend(first.map(|w| (node.name.clone(), None, "layer2", w.reason)));
        }
        planned.sort();
        explained.sort();
        assert_eq!(explained, planned);
    }

    fn after(&self, remedy: &Remedy) -> Scene {
        let mut objects = self.objects.clone();
        for edit in &remedy.edits {
            edit.apply(&mut objects).unwrap_or_else(|e| panic!("{edit}: {e}"));
        }
        let after = Scene::from(objects);
        let fields =
            |issues: &[Issue]| -> Vec<_> { issues.iter().map(|i| (i.object(), i.field.clone())).collect() };
        let before = fields(&self.engine.config().errors);
        for new in fields(&after.engine.config().errors) {
            assert!(before.contains(&new), "{new:?} became an error by {:?}", remedy.edits);
        }
        after
    }
}

/// The reason at `place`, which is `NODE/PEER`, `NODE/-` for a node without peers, or `NODE` for layer 2.
fn at(explanation: &Explanation, place: &str) -> Vec<WhyNot> {
    let (node, peer) = place.split_once('/').map_or((place, None), |(n, p)| (n, Some(p)));
    let node = explanation.nodes.iter().find(|n| n.name == node).expect("a node");
    match peer {
        None => node.layer2.as_ref().expect("layer 2").not_announced.clone(),
        Some(name) => {
            let peer = node.bgp.iter().find(|p| p.peer.as_deref().unwrap_or("-") == name);
            // A node that had no peer may have one now.
            let peer = peer.or_else(|| node.bgp.first()).expect("a peer");
            peer.not_announced.clone()
        }
    }
}

/// Service `web` has `reason` at `place`, told with `said`; after the edits it doesn't have it any more. Returns the remedy.
#[track_caller]
fn remedied(place: &str, reason: &str, said: &str, yaml: &[impl AsRef<str>]) -> Remedy {
    let scene = Scene::of(yaml);
    let explanation = scene.explain("web");
    let all = at(&explanation, place);
    let why = all.first().unwrap_or_else(|| panic!("announced: {explanation}"));
    assert_eq!(why.reason, reason, "{explanation}");
    assert!(why.message.contains(said), "{:?} doesn't say {said:?}", why.message);
    assert!(!why.remedy.edits.is_empty(), "no edits: {explanation}");
    let after = scene.after(&why.remedy).explain("web");
    let left = at(&after, place);
    assert!(left.iter().all(|w| w.reason != reason), "{explanation}\nAfter the edits:\n{after}");
    why.remedy.clone()
}

/// The same, and the service is announced then.
#[track_caller]
fn announced(place: &str, reason: &str, said: &str, yaml: &[impl AsRef<str>]) -> Remedy {
    let remedy = remedied(place, reason, said, yaml);
    let left = at(&Scene::of(yaml).after(&remedy).explain("web"), place);
    assert_eq!(left, vec![], "{remedy:?}");
    remedy
}

#[track_caller]
fn edits(remedy: &Remedy, expected: &[&str]) {
    let all: Vec<String> = remedy.edits.iter().map(ToString::to_string).collect();
    assert_eq!(all, expected);
}

const N1: &str = "
apiVersion: v1
kind: Node
metadata: { name: n1, labels: { kubernetes.io/hostname: n1, rack: a } }
";
const N2: &str = "
apiVersion: v1
kind: Node
metadata: { name: n2, labels: { kubernetes.io/hostname: n2, rack: b } }
";
const POOL: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: p1, namespace: metallb-system }
spec: { addresses: [192.0.2.0/24] }
";
const DUAL_POOL: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: p1, namespace: metallb-system }
spec: { addresses: [192.0.2.0/24, '2001:db8::/120'] }
";
const TOR: &str = "
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: { name: tor, namespace: metallb-system }
spec: { myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1 }
";
const WEB: &str = "
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default, labels: { tier: back } }
spec: { type: LoadBalancer, clusterIP: 10.1.0.1, selector: { app: web }, ports: [{ port: 80 }] }
";
const LOCAL: &str = "
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default, labels: { tier: back } }
spec: { type: LoadBalancer, clusterIP: 10.1.0.1, externalTrafficPolicy: Local, ports: [{ port: 80 }] }
";
const DUAL: &str = "
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
spec: { type: LoadBalancer, clusterIPs: [10.1.0.1, 'fd00::1'], ipFamilyPolicy: RequireDualStack, ports: [{ port: 80 }] }
";
/// Endpoints on `n1` only.
const SLICE: &str = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, namespace: default, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
endpoints: [{ addresses: [10.2.0.1], nodeName: n1 }]
";

fn bgp(name: &str, spec: &str) -> String {
    config("BGPAdvertisement", name, spec)
}

fn l2(name: &str, spec: &str) -> String {
    config("L2Advertisement", name, spec)
}

fn config(kind: &str, name: &str, spec: &str) -> String {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    let metadata = format!("{{ name: {name}, namespace: metallb-system }}");
    format!("apiVersion: metallb.io/{version}\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n")
}

fn with(all: &[&str], more: &[&str]) -> Vec<String> {
    all.iter().chain(more).map(|text| (*text).to_owned()).collect()
}

/// `WEB`, holding an address already.
fn holding(ip: &str) -> String {
    format!("{WEB}status: {{ loadBalancer: {{ ingress: [{{ ip: {ip} }}] }} }}\n")
}

#[test]
fn ip_not_allowed_takes_out_what_is_wrong_with_the_pool() {
    let pool =
        config("IPAddressPool", "p1", "{ addresses: [192.0.2.0/24, 192.0.2.0/33, 10.0.0.5-10.0.0.1] }");
    let ad = l2("a", "{}");
    let all = [N1, TOR, &pool, &bgp("a", "{}"), &ad, SLICE, &holding("192.0.2.7")];
    let remedy =
        announced("n1/tor", "ipNotAllowed", "held from IPAddressPool p1, which is invalid: spec.addr", &all);
    edits(
        &remedy,
        &[
            "IPAddressPool metallb-system/p1: remove spec.addresses[2]",
            "IPAddressPool metallb-system/p1: remove spec.addresses[1]",
        ],
    );
    announced("n1", "ipNotAllowed", "spec.addresses[2]", &all);
}

#[test]
fn ip_not_allowed_keeps_what_is_held_where_the_whole_entry_is_wrong() {
    let pool = config("IPAddressPool", "p1", "{ addresses: [192.0.2.0/33] }");
    let annotation = "annotations: { metallb.io/ip-allocated-from-pool: p1 }, labels";
    let web = holding("192.0.2.7").replace("labels", annotation);
    let remedy = announced("n1/tor", "ipNotAllowed", "p1", &[N1, TOR, &pool, &bgp("a", "{}"), SLICE, &web]);
    edits(&remedy, &["IPAddressPool metallb-system/p1: set spec.addresses[0]: \"192.0.2.7/32\""]);
}

#[test]
fn no_advertisement_is_remedied_by_the_one_that_selects_node_and_service() {
    let pool = config("IPAddressPool", "p2", "{ addresses: [198.51.100.0/24] }");
    let near = "{ ipAddressPools: [p2] }";
    let far = "{ ipAddressPools: [p2], nodeSelectors: [{ matchLabels: { rack: z } }] }";
    let wide = "{ ipAddressPools: [p2], aggregationLength: 20 }";
    let all = [N1, TOR, POOL, &pool, WEB, SLICE];
    let set = with(&all, &[&bgp("far", far), &bgp("near", near), &bgp("wide", wide)]);
    let said = "no valid BGPAdvertisement covers IPAddressPool p1";
    let remedy = announced("n1/tor", "noAdvertisement", said, &set);
    edits(&remedy, &["BGPAdvertisement metallb-system/near: append to spec.ipAddressPools: \"p1\""]);
    let set = with(&all, &[&bgp("far", far), &l2("far", far)]);
    let remedy = remedied("n1/tor", "noAdvertisement", "", &set);
    assert!(remedy.text.ends_with("then the next reason is notOwner"), "{}", remedy.text);
    let remedy = remedied("n1", "noAdvertisement", "L2Advertisement", &set);
    assert!(remedy.text.ends_with("then the next reason is noMatchingAdvertisement"), "{}", remedy.text);
}

#[test]
fn no_advertisement_is_created_where_there_is_none() {
    let remedy =
        announced("n1/tor", "noAdvertisement", "there is no BGPAdvertisement", &[N1, TOR, POOL, WEB, SLICE]);
    assert!(remedy.text.starts_with("create"), "{}", remedy.text);
    announced("n1", "noAdvertisement", "there is no L2Advertisement", &[N1, POOL, WEB, SLICE]);
}

#[test]
fn no_advertisement_corrects_a_rejected_one_that_names_the_pool() {
    let rejected = bgp("p1", "{ ipAddressPools: [p1], communities: [nobody-knows] }");
    let all = [N1, TOR, POOL, WEB, SLICE, &rejected];
    let remedy =
        announced("n1/tor", "noAdvertisement", "rejected: BGPAdvertisement p1: spec.communities[0]", &all);
    edits(&remedy, &["BGPAdvertisement metallb-system/p1: remove spec.communities[0]"]);
}

#[test]
fn not_owner_appends_the_host_name_to_the_nearest() {
    let two = bgp("two", "{ nodeSelectors: [{ matchLabels: { rack: z, row: '1' } }] }");
    let one = bgp(
        "zone",
        "{ nodeSelectors: [{ matchExpressions: [{ key: rack, operator: NotIn, values: [a] }] }] }",
    );
    let said =
        "zone: spec.nodeSelectors[0].matchExpressions[0] asks for rack notin (a), and Node n1 has rack=a";
    let remedy = announced("n1/tor", "notOwner", said, &[N1, TOR, POOL, WEB, SLICE, &two, &one]);
    edits(
        &remedy,
        &["BGPAdvertisement metallb-system/zone: append to spec.nodeSelectors: \
             {\"matchLabels\":{\"kubernetes.io/hostname\":\"n1\"}}"],
    );
}

#[test]
fn not_owner_labels_a_node_without_host_name() {
    let node = N1.replace("kubernetes.io/hostname: n1, ", "");
    let expressions = "[{ key: rack, operator: In, values: [a, b] }, { key: rack, operator: NotIn, values: [a] }, \
                       { key: example.org/edge, operator: Exists }]";
    let ad = bgp("a", &format!("{{ nodeSelectors: [{{ matchExpressions: {expressions} }}] }}"));
    let remedy = announced("n1/tor", "notOwner", "rack notin (a)", &[&node, TOR, POOL, WEB, SLICE, &ad]);
    edits(
        &remedy,
        &[
            "Node n1: set metadata.labels[example.org/edge]: \"true\"",
            "Node n1: set metadata.labels.rack: \"b\"",
        ],
    );
}

#[test]
fn no_matching_advertisement_labels_the_service() {
    let ad = bgp("a", "{ serviceSelectors: [{ matchLabels: { tier: front } }] }");
    let said = "a: spec.serviceSelectors[0].matchLabels[tier] asks for tier=front, and Service default/web has tier=back";
    let remedy = announced("n1/tor", "noMatchingAdvertisement", said, &[N1, TOR, POOL, WEB, SLICE, &ad]);
    edits(&remedy, &["Service default/web: set metadata.labels.tier: \"front\""]);
}

#[test]
fn no_matching_advertisement_on_layer_2_changes_service_node_or_both() {
    let all = [N1, POOL, WEB, SLICE];
    let service = l2("a", "{ serviceSelectors: [{ matchLabels: { tier: front } }] }");
    let node = l2("b", "{ nodeSelectors: [{ matchLabels: { rack: z, row: '1' } }] }");
    let both = l2(
        "c",
        "{ nodeSelectors: [{ matchLabels: { rack: z } }], serviceSelectors: [{ matchLabels: { tier: front } }] }",
    );
    let reason = "noMatchingAdvertisement";
    let remedy = announced("n1", reason, "tier=back", &with(&all, &[&service, &node, &both]));
    edits(&remedy, &["Service default/web: set metadata.labels.tier: \"front\""]);
    announced("n1", reason, "has rack=a", &with(&all, &[&node]));
    let remedy = announced("n1", reason, ", and spec.nodeSelectors[0]", &with(&all, &[&both]));
    assert_eq!(remedy.edits.len(), 2);
}

#[test]
fn conflicting_advertisements_take_the_values_of_the_oldest() {
    let dated = |name: &str, created: &str, spec: &str| {
        bgp(name, spec).replace("namespace", &format!("creationTimestamp: '{created}', namespace"))
    };
    let selects = "serviceSelectors: [{ matchLabels: { tier: back } }]";
    let old = dated("z", "2024-01-01T00:00:00Z", &format!("{{ {selects}, localPref: 100 }}"));
    let young =
        dated("a", "2025-01-01T00:00:00Z", &format!("{{ {selects}, localPref: 200, asPathPrepend: 2 }}"));
    let apart =
        dated("m", "2025-01-01T00:00:00Z", &format!("{{ {selects}, localPref: 50, aggregationLength: 24 }}"));
    let said =
        "BGPAdvertisement a (localPref 200, asPathPrepend 2) and z (localPref 100, asPathPrepend unset)";
    let all = [N1, TOR, POOL, WEB, SLICE, &old, &young, &apart];
    let remedy = announced("n1/tor", "conflictingAdvertisements", said, &all);
    edits(
        &remedy,
        &[
            "BGPAdvertisement metallb-system/a: set spec.localPref: 100",
            "BGPAdvertisement metallb-system/a: remove spec.asPathPrepend",
        ],
    );
}

#[test]
fn node_conditions_and_labels() {
    let down = format!(
        "{N1}status: {{ conditions: [{{ type: Ready, status: 'True' }}, {{ type: NetworkUnavailable, status: 'True' }}] }}\n"
    );
    let excluded =
        N1.replace("rack: a", "rack: a, node.kubernetes.io/exclude-from-external-load-balancers: ''");
    for (place, ad) in [("n1/tor", bgp("a", "{}")), ("n1", l2("a", "{}"))] {
        let all = [TOR, POOL, WEB, SLICE, &ad];
        let remedy = announced(place, "nodeNetworkUnavailable", "NetworkUnavailable", &with(&all, &[&down]));
        assert!(remedy.text.contains("CNI"));
        let remedy = announced(place, "nodeLabeledExcludeBalancers", "label", &with(&all, &[&excluded]));
        assert!(remedy.text.contains("--ignore-exclude-lb"));
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        edits(&remedy, &[&format!("Node n1: remove metadata.labels[{label}]")]);
    }
}

#[test]
fn no_local_endpoints_takes_the_cluster_policy() {
    let all = [N1, N2, TOR, POOL, LOCAL, SLICE];
    let said = "no ready endpoint for 192.0.2.0 on Node n2";
    let remedy = announced("n2/tor", "noLocalEndpoints", said, &with(&all, &[&bgp("a", "{}")]));
    edits(&remedy, &["Service default/web: set spec.externalTrafficPolicy: \"Cluster\""]);
    let set = with(&all, &[&l2("a", "{ nodeSelectors: [{ matchLabels: { rack: b } }] }")]);
    announced("n2", "noLocalEndpoints", said, &set);
}

#[test]
fn no_local_endpoints_without_any_shows_the_missing_endpoint() {
    let all = [N1, N2, TOR, POOL, LOCAL, &bgp("a", "{}")];
    let remedy = announced("n2/tor", "noLocalEndpoints", "", &all);
    assert!(remedy.edits.iter().all(|e| e.target().is_none()), "{remedy:?}");
}

#[test]
fn no_endpoints_shows_the_missing_endpoint() {
    let unready = SLICE.replace("nodeName: n1", "nodeName: n1, conditions: { ready: false }");
    for (place, ad) in [("n1/tor", bgp("a", "{}")), ("n1", l2("a", "{}"))] {
        for slices in [&[][..], &[unready.as_str()]] {
            let all = [&[N1, TOR, POOL, WEB, &ad], slices].concat();
            let remedy = announced(place, "noEndpoints", "Service default/web has no ready endpoint", &all);
            assert!(remedy.text.contains("app=web"), "{}", remedy.text);
        }
    }
    announced("n1", "noEndpoints", "", &[N1, POOL, LOCAL, &l2("a", "{}")]);
}

#[test]
fn no_peer_lets_the_nearest_select_the_node() {
    let near = "{ myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.2, nodeSelectors: [{ matchLabels: { rack: z } }] }";
    let far = near.replace("rack: z", "rack: z, row: '1'").replace("10.0.0.2", "10.0.0.3");
    let (near, far) = (config("BGPPeer", "near", near), config("BGPPeer", "far", &far));
    let all = [N1, POOL, WEB, SLICE, &bgp("a", "{}"), &far, &near];
    let said = "near: spec.nodeSelectors[0].matchLabels[rack] asks for rack=z, and Node n1 has rack=a";
    let remedy = announced("n1/-", "noPeer", said, &all);
    assert_eq!(remedy.edits.first().and_then(|e| e.target()).map(|t| t.name.as_str()), Some("near"));
}

#[test]
fn no_peer_is_created_where_there_is_none() {
    let ad = bgp("a", "{}");
    announced("n1/-", "noPeer", "there is no BGPPeer", &[N1, POOL, WEB, SLICE, &ad]);
    let remedy = announced("n1/-", "noPeer", "there is no BGPPeer", &[N1, DUAL_POOL, DUAL, SLICE, &ad]);
    assert_eq!(remedy.edits.len(), 1);
}

#[test]
fn no_peer_names_the_errors_of_rejected_ones() {
    let rejected = TOR.replace(", peerASN: 64513", "");
    let scene = Scene::of(&[N1, POOL, WEB, SLICE, &bgp("a", "{}"), &rejected]);
    let all = at(&scene.explain("web"), "n1/-");
    let why = all.first().expect("a reason");
    assert_eq!(why.reason, "noPeer");
    assert!(why.message.contains("rejected: BGPPeer tor: spec.peerASN"), "{}", why.message);
    assert!(why.remedy.edits.is_empty());
    assert!(why.remedy.text.contains("BGPPeer tor"), "{}", why.remedy.text);
}

#[test]
fn peer_not_selected_names_the_peer() {
    let other = TOR.replace("name: tor", "name: other").replace("10.0.0.1", "10.0.0.2");
    let ad = bgp("a", "{ peers: [other] }");
    let said = "leaves BGPPeer tor out: a (other)";
    let remedy = announced("n1/tor", "peerNotSelected", said, &[N1, POOL, WEB, SLICE, TOR, &other, &ad]);
    edits(&remedy, &["BGPAdvertisement metallb-system/a: append to spec.peers: \"tor\""]);
}

#[test]
fn address_family_not_carried_sets_both() {
    let all = [N1, DUAL_POOL, DUAL, SLICE, TOR, &bgp("a", "{}")];
    let said = "BGPPeer tor (10.0.0.1) carries IPv4 only, which 2001:db8:: isn't";
    let remedy = announced("n1/tor", "addressFamilyNotCarried", said, &all);
    edits(&remedy, &["BGPPeer metallb-system/tor: set spec.dualStackAddressFamily: true"]);
}

#[test]
fn shared_ip_drops_the_service_selectors() {
    let shared = WEB.replace("labels:", "annotations: { metallb.io/allow-shared-ip: key }, labels:");
    let selects = l2("a", "{ serviceSelectors: [{ matchLabels: { tier: back } }] }");
    let said = "no L2Advertisement for it may have spec.serviceSelectors, as has a";
    let all = [N1, POOL, &shared, SLICE, &selects, &l2("b", "{}")];
    let remedy = announced("n1", "sharedIPWithServiceSelector", said, &all);
    edits(&remedy, &["L2Advertisement metallb-system/a: remove spec.serviceSelectors"]);
}

/// The node that doesn't answer for `WEB`'s address where nothing prefers one.
fn loser(all: &[impl AsRef<str>]) -> &'static str {
    let explanation = Scene::of(all).explain("web");
    let lost = |n: &&str| !at(&explanation, n).is_empty();
    ["n1", "n2"].into_iter().find(lost).expect("one node loses")
}

#[test]
fn not_owner_on_layer_2_is_preferred_by_enough() {
    let all = [N1, N2, POOL, WEB, SLICE];
    let plain = with(&all, &[&l2("a", "{}")]);
    announced(
        loser(&plain),
        "notOwner",
        "since both score 0, and of the hashes of NODE#192.0.2.0 its ",
        &plain,
    );
    let heavy = "[{ weight: 100, preference: { matchLabels: { rack: a } } }, { weight: 100, preference: { matchLabels: { rack: a } } }]";
    let heavy = with(&all, &[&l2("a", &format!("{{ preferredNodeSelectors: {heavy} }}"))]);
    let said =
        "Node n1 answers for 192.0.2.0, since its preferredNodeSelectors score 200, those of Node n2 0";
    let remedy = announced("n2", "notOwner", said, &heavy);
    assert_eq!(remedy.edits.len(), 3, "{remedy:?}");
    let unnamed = N2.replace("kubernetes.io/hostname: n2, ", "");
    let heavy: Vec<String> = heavy.into_iter().map(|d| if d == N2 { unnamed.clone() } else { d }).collect();
    announced("n2", "notOwner", said, &heavy);
}

#[test]
fn not_owner_on_layer_2_names_the_service_that_elects() {
    let shared =
        |text: &str| text.replace("labels:", "annotations: { metallb.io/allow-shared-ip: key }, labels:");
    let web = shared(WEB);
    let api =
        web.replace("name: web", "name: api").replace("port: 80", "port: 81").replace("app: web", "app: api");
    let (web, api) = (holding("").replace(WEB, &web), holding("").replace(WEB, &api));
    let (web, api) = (web.replace("ip: ", "ip: 192.0.2.9"), api.replace("ip: ", "ip: 192.0.2.9"));
    let slice = SLICE.replace("web", "api");
    let all = [N1, N2, POOL, &web, &api, SLICE, &slice, &l2("a", "{}")];
    announced(loser(&all), "notOwner", "(Service default/api elects, the first by name", &all);
}

#[test]
fn not_owner_on_layer_2_becomes_a_candidate_first() {
    // The first address has an endpoint on n1 only, so that n1 answers for both.
    let dual = DUAL.replace("ipFamilyPolicy", "externalTrafficPolicy: Local, ipFamilyPolicy");
    let slice6 = SLICE.replace("web-1", "web-6").replace("IPv4", "IPv6").replace("10.2.0.1", "'fd00:2::1'");
    let slice6 = slice6.replace("nodeName: n1", "nodeName: n2");
    let scene = Scene::of(&[N1, N2, DUAL_POOL, &dual, SLICE, &slice6, &l2("a", "{}")]);
    let all = at(&scene.explain("web"), "n2");
    let why = all.iter().find(|w| w.reason == "notOwner").expect("another owner");
    assert!(why.message.contains("and Node n2 isn't a candidate"), "{}", why.message);
    assert!(why.remedy.text.contains("Service default/web for 192.0.2.0"), "{}", why.remedy.text);
    scene.after(&why.remedy);
}

/// Service `web` has an `error`; after the edits it has an address and none.
#[track_caller]
fn served(error: &str, yaml: &[impl AsRef<str>]) -> Remedy {
    let scene = Scene::of(yaml);
    let explanation = scene.explain("web");
    let said = explanation.error.as_deref().unwrap_or_default();
    assert!(said.contains(error), "{said}");
    let remedy = explanation.remedy.expect("a remedy");
    assert!(!remedy.edits.is_empty(), "{}", remedy.text);
    let after = scene.after(&remedy).explain("web");
    assert_eq!(after.error, None);
    assert!(!after.ips.is_empty());
    remedy
}

#[test]
fn services_without_an_address_get_one() {
    served("no available IPs", &[WEB]);
    let full = config("IPAddressPool", "pool", "{ addresses: [192.0.2.1/32] }");
    let other = WEB.replace("name: web", "name: api");
    served("no available IPs", &[&full, &other, WEB]);
    let by_field = WEB.replace("selector", "loadBalancerIP: 10.9.9.9, selector");
    let remedy = served("not allowed in config", &[POOL, &by_field]);
    edits(&remedy, &["Service default/web: remove spec.loadBalancerIP"]);
    for annotation in ["metallb.io", "metallb.universe.tf"] {
        let ips = format!("annotations: {{ {annotation}/loadBalancerIPs: 10.9.9.9 }}, labels");
        served("not allowed in config", &[POOL, &WEB.replace("labels", &ips)]);
        let pool = format!("annotations: {{ {annotation}/address-pool: gone }}, labels");
        served("unknown pool", &[POOL, &WEB.replace("labels", &pool)]);
    }
    let asks = WEB.replace("labels", "annotations: { metallb.io/address-pool: pool }, labels");
    let remedy = served("no available IPs in pool", &[&full, &other, &asks]);
    assert!(remedy.text.starts_with("enlarge IPAddressPool pool"), "{}", remedy.text);
    let elsewhere = "{ addresses: [192.0.2.0/24], serviceAllocation: { namespaces: [other] } }";
    let remedy = served("not compatible", &[&config("IPAddressPool", "pool", elsewhere), &asks]);
    assert_eq!(remedy.edits.len(), 2, "{remedy:?}");
    let remedy = served("", &[POOL, DUAL]);
    edits(&remedy, &["Service default/web: set spec.ipFamilyPolicy: \"PreferDualStack\""]);
    served("type LoadBalancer", &[POOL, &WEB.replace("type: LoadBalancer, ", "")]);
}

#[test]
fn a_service_of_another_class_is_told_how_to_manage_it() {
    let scene = Scene::of(&[POOL, &WEB.replace("selector", "loadBalancerClass: example.org/lb, selector")]);
    let explanation = scene.explain("web");
    assert!(explanation.error.is_some_and(|e| e.contains("loadBalancerClass \"example.org/lb\"")));
    assert!(explanation.remedy.is_some_and(|r| r.text.contains("--lb-class=example.org/lb")));
}

#[test]
fn what_is_announced_names_advertisements_and_aggregates() {
    let ads = [
        bgp("host", "{ communities: ['65535:65281'] }"),
        bgp("wide", "{ aggregationLength: 26, peers: [tor] }"),
        l2("lan", "{ interfaces: [eth1, eth0] }"),
    ];
    let all = [&[N1, POOL, WEB, SLICE, TOR][..], &ads.each_ref().map(String::as_str)].concat();
    let explanation = Scene::of(&all).explain("web");
    assert!(explanation.is_announced());
    let text = explanation.to_string();
    let expected = "\
Service default/web: 192.0.2.0, from IPAddressPool p1

Node n1
  BGP, tor (10.0.0.1):
    announced: 192.0.2.0/26, an aggregate with 192.0.2.0 (BGPAdvertisement wide)
    announced: 192.0.2.0/32, communities 65535:65281 (BGPAdvertisement host)
  Layer 2:
    answers for 192.0.2.0 on eth0, eth1 (L2Advertisement lan)
";
    assert_eq!(text, expected);
}

#[test]
fn keys_of_the_document_are_stable() {
    let scene = Scene::of(&[N1, TOR, POOL, WEB, &bgp("a", "{ ipAddressPools: [p2] }")]);
    let value = serde_json::to_value(scene.explain("web")).expect("JSON");
    let why = &value["nodes"][0]["bgp"][0]["notAnnounced"][0];
    assert_eq!(why["reason"], "noAdvertisement");
    let edit = serde_json::json!({
        "op": "append",
        "object": {"kind": "BGPAdvertisement", "namespace": "metallb-system", "name": "a"},
        "path": ["spec", "ipAddressPools"],
        "value": "p1",
    });
    assert_eq!(why["remedy"]["edits"], serde_json::json!([edit]));
}
