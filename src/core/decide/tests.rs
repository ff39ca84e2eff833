//! Tables: the order of the reasons, what a route of several advertisements has, and who answers for an address.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Disagreement, Options, Protocol, Reason, conflicts, merge};
use crate::alloc::{Allocator, Mode};
use crate::config::{BgpAdvertisement, Pool, PoolSet, PoolState};
use crate::engine::{Engine, EngineOptions, SourceChange};
use crate::manifest;
use crate::types::{AddressRange, AnyOf, Labels, NodeName, RouteAttributes, ServiceKey, StandardCommunity};

#[test]
fn the_first_reason_is_the_one_that_the_contract_lists_first() {
    let bgp = "ipNotAllowed noAdvertisement notOwner noMatchingAdvertisement conflictingAdvertisements \
        nodeNetworkUnavailable nodeLabeledExcludeBalancers noLocalEndpoints noEndpoints noPeer peerNotSelected \
        addressFamilyNotCarried noNextHop";
    let layer2 = "ipNotAllowed noAdvertisement noEndpoints sharedIPWithServiceSelector noMatchingAdvertisement \
        nodeNetworkUnavailable nodeLabeledExcludeBalancers noLocalEndpoints notOwner";
    let all = [
        Reason::AddressFamilyNotCarried,
        Reason::ConflictingAdvertisements,
        Reason::IpNotAllowed,
        Reason::NoAdvertisement,
        Reason::NoEndpoints,
        Reason::NoLocalEndpoints,
        Reason::NoMatchingAdvertisement,
        Reason::NoNextHop,
        Reason::NoPeer,
        Reason::NodeLabeledExcludeBalancers,
        Reason::NodeNetworkUnavailable,
        Reason::NotOwner,
        Reason::PeerNotSelected,
        Reason::SharedIpWithServiceSelector,
    ];
    for (protocol, order) in [(Protocol::Bgp, bgp), (Protocol::Layer2, layer2)] {
        let expected: Vec<&str> = order.split_whitespace().collect();
        let mut left: Vec<Reason> = all.into_iter().filter(|r| expected.contains(&r.code())).collect();
        let mut found = Vec::new();
        while let Some(first) = Reason::first(protocol, left.iter().copied()) {
            found.push(first.code());
            left.retain(|r| *r != first);
        }
        assert_eq!(found, expected, "{protocol}");
    }
    assert_eq!(Reason::first(Protocol::Bgp, []), None);
}

/// `name@age localPref asPathPrepend community`, with 0 for what is unset.
fn advertisement(text: &str) -> BgpAdvertisement {
    let words: Vec<&str> = text.split(' ').collect();
    let [name, local_pref, prepend, community] = words[..] else { panic!("{text}") };
    let (name, age) = name.split_once('@').map_or((name, None), |(n, a)| (n, Some(a)));
    let communities = [community.parse().unwrap()].into_iter().filter(|c| *c != 0).map(StandardCommunity);
    BgpAdvertisement {
        name: name.into(),
        created: age.map(|a| jiff::Timestamp::from_second(a.parse().unwrap()).unwrap()),
        aggregation_length: 32,
        aggregation_length_v6: 128,
        attributes: RouteAttributes {
            local_pref: Some(local_pref.parse().unwrap()).filter(|l| *l != 0),
            as_path_prepend: prepend.parse().unwrap(),
            communities: communities.collect(),
            ..RouteAttributes::default()
        },
        pools: PoolSet::default(),
        nodes: AnyOf::default(),
        peers: BTreeSet::new(),
        services: AnyOf::default(),
    }
}

#[test]
fn a_merged_route_has_all_communities_and_the_oldest_values() {
    // Advertisements; to iBGP peers: local preference and who disagrees; to eBGP peers: prepending and who disagrees.
    for (advertisements, ibgp, ebgp) in [
        (vec!["a 0 0 0"], (None, vec![]), (0, vec![])),
        (vec!["a 7 3 1"], (Some(7), vec![]), (3, vec![])),
        // By age, then by name; without an age is oldest.
        (vec!["a@2 7 3 1", "b@1 8 4 2"], (Some(8), vec!["a<b"]), (4, vec!["a<b"])),
        (vec!["b@1 8 4 2", "a@1 7 3 1"], (Some(7), vec!["b<a"]), (3, vec!["b<a"])),
        (vec!["a@1 7 3 1", "b 8 4 2"], (Some(8), vec!["a<b"]), (4, vec!["a<b"])),
        // What is unset stands too, each value by itself.
        (vec!["a@1 0 3 0", "b@2 8 0 0"], (None, vec!["b<a"]), (3, vec!["b<a"])),
        (vec!["a@1 7 3 1", "b@2 7 4 1"], (Some(7), vec![]), (3, vec!["b<a"])),
        // All are compared with the oldest.
        (
            vec!["a@1 7 0 0", "b@2 8 0 0", "c@3 7 0 0", "d@4 8 0 0"],
            (Some(7), vec!["b<a", "d<a"]),
            (0, vec![]),
        ),
        (vec![], (None, vec![]), (0, vec![])),
    ] {
        let parsed: Vec<BgpAdvertisement> = advertisements.iter().map(|a| advertisement(a)).collect();
        let merged = |to_ibgp: bool| {
            let mut losers = Vec::new();
            let route = merge(&parsed, to_ibgp, |Disagreement { name, field, older }| {
                assert_eq!(field, if to_ibgp { "spec.localPref" } else { "spec.asPathPrepend" });
                losers.push(format!("{name}<{older}"));
            });
            let communities: BTreeSet<StandardCommunity> =
                parsed.iter().flat_map(|a| a.attributes.communities.iter().copied()).collect();
            assert_eq!(route.communities, communities);
            (route, losers)
        };
        let ((inside, inside_losers), (outside, outside_losers)) = (merged(true), merged(false));
        assert_eq!((inside.local_pref, inside_losers), (ibgp.0, strings(&ibgp.1)), "{advertisements:?}");
        assert_eq!(
            (outside.as_path_prepend, outside_losers),
            (ebgp.0, strings(&ebgp.1)),
            "{advertisements:?}"
        );
        assert_eq!((inside.as_path_prepend, outside.local_pref), (0, None));
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

#[test]
fn advertisements_conflict_where_lengths_and_peers_meet() {
    let pool = |ranges: &[&str]| Pool {
        name: "p".into(),
        created: None,
        labels: Labels::new(),
        state: PoolState::Accepted,
        ranges: ranges
            .iter()
            .map(|a| AddressRange::new(a.parse().unwrap(), a.parse().unwrap()).unwrap())
            .collect(),
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    };
    let (v4, v6, dual) = (pool(&["192.0.2.1"]), pool(&["2001:db8::1"]), pool(&["192.0.2.1", "2001:db8::1"]));
    let with = |text: &str, lengths: (u8, u8), peers: &[&str]| BgpAdvertisement {
        aggregation_length: lengths.0,
        aggregation_length_v6: lengths.1,
        peers: peers.iter().map(|p| (*p).into()).collect(),
        ..advertisement(text)
    };
    let base = with("a 1 0 0", (32, 128), &["x", "y"]);
    // The other one, and whether they conflict in a pool with IPv4, with IPv6 and with both.
    for (other, expected) in [
        (with("b 2 0 0", (32, 128), &["x"]), [true, true, true]),
        (with("b 1 1 0", (32, 128), &["x"]), [true, true, true]),
        (with("b 1 0 0", (32, 128), &["x"]), [false, false, false]),
        (with("b 2 0 0", (24, 128), &["x"]), [false, true, true]),
        (with("b 2 0 0", (32, 64), &["x"]), [true, false, true]),
        (with("b 2 0 0", (24, 64), &["x"]), [false, false, false]),
        (with("b 2 0 0", (32, 128), &[]), [true, true, true]),
        (with("b 2 0 0", (32, 128), &["z"]), [false, false, false]),
    ] {
        let applying = [(0, &base), (1, &other)];
        let found = [&v4, &v6, &dual].map(|pool| conflicts(&applying, pool).next().is_some());
        assert_eq!(found, expected, "{other:?}");
    }
}

/// An engine that was given a pool for both families, three nodes and these documents.
fn engine(documents: &[Value], down: &[&str]) -> Engine {
    let mut all: Vec<Value> = ["n1", "n2", "n3"]
        .iter()
        .map(|n| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": n, "labels": {"host": n}}}))
        .collect();
    let addresses = json!({"addresses": ["192.0.2.0/24", "2001:db8::/64"]});
    all.push(config("IPAddressPool", "p", addresses));
    all.extend(documents.iter().cloned());
    let text: Vec<String> = all.iter().map(Value::to_string).collect();
    let parsed = manifest::parse("test.json", text.join("\n").as_bytes());
    assert_eq!(parsed.errors, vec![]);
    let options = EngineOptions {
        system_namespace: "metallb-system".into(),
        class: None,
        decide: Options { down: down.iter().map(|n| NodeName::new(n)).collect(), ..Options::default() },
        node: NodeName::new("n1"),
        speaker: false,
        keep_routes: false,
        allocate_for_many: true,
    };
    let mut engine =
        Engine::new(options, Allocator::new(Mode::Allocate, None), Default::default(), Default::default());
    engine.apply(parsed.objects.into_iter().map(|l| SourceChange::Apply(l.object)).collect(), None);
    assert_eq!(engine.decisions().config.errors, vec![]);
    engine
}

fn config(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": {"name": name, "namespace": "metallb-system"},
           "spec": spec})
}

/// A service that shares, with the policy, that holds `ips`; with endpoints of each family on those nodes.
fn service(name: &str, policy: &str, ips: &[&str], v4: &[&str], v6: &[&str]) -> Vec<Value> {
    let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    let dual = if ips.len() > 1 { "RequireDualStack" } else { "SingleStack" };
    let port = name.bytes().map(u16::from).sum::<u16>();
    let mut documents = vec![json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "annotations": {"metallb.io/allow-shared-ip": "k"}},
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": policy, "ipFamilyPolicy": dual,
                 "ipFamilies": if ips.len() > 1 { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) },
                 "selector": {"app": "same"}, "ports": [{"port": port}]},
        "status": {"loadBalancer": {"ingress": ingress}}})];
    for (family, address, nodes) in [("IPv4", "10.0.0.1", v4), ("IPv6", "fd00::1", v6)] {
        let endpoints: Vec<Value> =
            nodes.iter().map(|n| json!({"addresses": [address], "nodeName": n})).collect();
        documents.push(
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": {"name": format!("{name}-{family}"), "labels": {"kubernetes.io/service-name": name}},
            "endpoints": endpoints}),
        );
    }
    documents
}

/// Who elects, by which address, and who wins.
fn elected(engine: &Engine, address: &str) -> Option<String> {
    let election = engine.decisions().layer2_election(address.parse().unwrap())?;
    let owner = election.owner()?;
    let name = &election.service.name;
    Some(format!("{name} {} {} {}", election.electing, owner.node, owner.score))
}

#[test]
fn the_highest_score_wins_then_the_lowest_hash() {
    let web = service("web", "Cluster", &["192.0.2.1"], &["n1"], &[]);
    let preferring = |name: &str, weights: &[(&str, u32)], nodes: &[&str]| {
        let preferred: Vec<Value> = weights
            .iter()
            .map(|(node, w)| json!({"weight": w, "preference": {"matchLabels": {"host": node}}}))
            .collect();
        let nodes: Vec<Value> = nodes.iter().map(|n| json!({"matchLabels": {"host": n}})).collect();
        config("L2Advertisement", name, json!({"preferredNodeSelectors": preferred, "nodeSelectors": nodes}))
    };
    let all = preferring("all", &[], &[]);
    for (advertisements, down, expected) in [
        (vec![all.clone()], vec![], "HASH1 0"),
        (vec![all.clone()], vec!["HASH1"], "HASH2 0"),
        (vec![preferring("a", &[("HASH2", 1)], &[])], vec![], "HASH2 1"),
        (
            vec![
                preferring("a", &[("HASH2", 60), ("HASH3", 50)], &[]),
                preferring("b", &[("HASH3", 50)], &[]),
            ],
            vec![],
            "HASH3 100",
        ),
        (vec![preferring("a", &[("HASH2", 5), ("HASH3", 5)], &[])], vec![], "HASH2 5"),
        (vec![preferring("a", &[("HASH3", 5)], &[])], vec!["HASH3"], "HASH1 0"),
        // A preference counts for nodes of its own advertisement.
        (vec![all.clone(), preferring("b", &[("HASH3", 9)], &["HASH2"])], vec![], "HASH1 0"),
        (vec![preferring("b", &[("HASH3", 9)], &["HASH2"])], vec![], "HASH2 0"),
    ] {
        let named = |text: &str| NAMES.iter().fold(text.to_owned(), |t, (mark, node)| t.replace(mark, node));
        let documents: Vec<Value> = advertisements
            .iter()
            .map(|a| serde_json::from_str(&named(&a.to_string())).unwrap())
            .chain(web.clone())
            .collect();
        let down: Vec<String> = down.into_iter().map(named).collect();
        let engine = engine(&documents, &down.iter().map(String::as_str).collect::<Vec<_>>());
        let expected = named(&format!("web 192.0.2.1 {expected}"));
        assert_eq!(elected(&engine, "192.0.2.1"), Some(expected), "{advertisements:?}");
    }
}

/// The nodes in the order of SHA-256 of `node#192.0.2.1`, as `sha256sum` gives it.
const NAMES: [(&str, &str); 3] = [("HASH1", "n2"), ("HASH2", "n1"), ("HASH3", "n3")];

#[test]
fn the_first_sharer_with_candidates_elects_for_all() {
    let (v4, v6) = ("192.0.2.1", "2001:db8::5");
    let all = || config("L2Advertisement", "all", json!({}));
    let local = |name, ips: &[&str], on: &[&str], on_v6: &[&str]| service(name, "Local", ips, on, on_v6);
    for (what, services, down, expected) in [
        (
            "by name",
            [local("b", &[v4], &["n2"], &[]), local("a", &[v4], &["n3"], &[])],
            vec![],
            [Some("a n3"), None],
        ),
        (
            "without endpoints",
            [local("a", &[v4], &[], &[]), local("b", &[v4], &["n2"], &[])],
            vec![],
            [Some("b n2"), None],
        ),
        (
            "with a dead node",
            [local("a", &[v4], &["n3"], &[]), local("b", &[v4], &["n2"], &[])],
            vec!["n3"],
            [Some("b n2"), None],
        ),
        ("nobody", [local("a", &[v4], &["n3"], &[]), local("b", &[v4], &[], &[])], vec!["n3"], [None, None]),
        // The first address elects for both, where it has an endpoint.
        (
            "both families",
            [local("a", &[v4, v6], &["n3"], &["n2", "n3"]), vec![]],
            vec![],
            [Some("a n3"), Some("a n3")],
        ),
        ("the second family", [local("a", &[v4, v6], &[], &["n2"]), vec![]], vec![], [None, Some("a n2")]),
        (
            "a sharer of the first",
            [local("a", &[v4, v6], &[], &["n2"]), local("b", &[v4], &["n3"], &[])],
            vec![],
            [Some("b n3"), Some("a n2")],
        ),
    ] {
        let engine = engine(&[vec![all()], services.concat()].concat(), &down);
        let found = [v4, v6].map(|address| {
            let election = engine.decisions().layer2_election(address.parse().unwrap())?;
            Some(format!("{} {}", election.service.name, election.owner()?.node))
        });
        assert_eq!(found, expected.map(|e| e.map(str::to_owned)), "{what}");
    }
}

#[test]
fn that_no_node_announces_a_service_has_the_reason_of_the_closest() {
    let bgp = |spec: Value| config("BGPAdvertisement", "bgp", spec);
    let layer2 = |spec: Value| config("L2Advertisement", "l2", spec);
    let mut peer = config(
        "BGPPeer",
        "tor",
        json!({"myASN": 1, "peerASN": 2, "peerAddress": "198.51.100.1",
        "nodeSelectors": [{"matchLabels": {"host": "n1"}}]}),
    );
    peer["apiVersion"] = json!("metallb.io/v1beta2");
    let local = |on: &[&str]| service("web", "Local", &["192.0.2.1"], on, &[]);
    let other = json!({"serviceSelectors": [{"matchLabels": {"app": "other"}}]});
    for (objects, services, expected) in [
        (vec![], local(&["n1"]), "bgp noAdvertisement"),
        // n2 and n3 have no peer, which is judged last.
        (vec![bgp(json!({})), peer.clone()], local(&[]), "bgp noLocalEndpoints"),
        (vec![bgp(json!({})), peer.clone()], local(&["n1"]), ""),
        (vec![bgp(json!({})), peer.clone()], local(&["n2"]), "bgp noPeer"),
        (vec![bgp(json!({}))], local(&["n1"]), "bgp noPeer"),
        (vec![layer2(json!({}))], local(&["n3"]), ""),
        (vec![layer2(json!({}))], local(&[]), "layer2 noEndpoints"),
        (
            vec![layer2(other.clone()), bgp(other)],
            local(&["n1"]),
            "bgp noMatchingAdvertisement, layer2 noMatchingAdvertisement",
        ),
        // One of the two does it.
        (vec![layer2(json!({})), bgp(json!({}))], local(&["n1"]), ""),
    ] {
        let engine = engine(&[objects.clone(), services].concat(), &[]);
        let decisions = engine.decisions();
        let service = engine.world().service(&ServiceKey::new("default", "web")).unwrap();
        let found: Vec<String> = decisions
            .nowhere(service)
            .iter()
            .map(|(protocol, reason)| format!("{protocol} {reason}"))
            .collect();
        assert_eq!(found.join(", "), expected, "{objects:?}");
    }
}
