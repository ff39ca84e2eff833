//! Whatever an object holds, compiling it ends, and the other objects are as they would be without it.

use proptest::prelude::*;

use super::*;
use crate::config::{BgpAdvertisement, PoolState};
use crate::world::ObjectId;

const KINDS: [&str; 6] = super::super::KINDS;

const NAMES: [&str; 34] = [
    "addresses",
    "autoAssign",
    "avoidBuggyIPs",
    "serviceAllocation",
    "priority",
    "namespaces",
    "namespaceSelectors",
    "serviceSelectors",
    "myASN",
    "peerASN",
    "dynamicASN",
    "peerAddress",
    "interface",
    "holdTime",
    "keepaliveTime",
    "connectTime",
    "routerID",
    "nodeSelectors",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "password",
    "passwordSecret",
    "bfdProfile",
    "communities",
    "name",
    "value",
    "ipAddressPools",
    "aggregationLength",
    "localPref",
    "preferredNodeSelectors",
    "preference",
];

const TEXTS: [&str; 16] = [
    "10.0.0.0/24",
    "10.0.0.1",
    "10.0.0.5-10.0.0.9",
    "::/0",
    "-",
    "In",
    "Exists",
    "90s",
    "-9223372036854775808ns",
    "p",
    "1:1",
    "large:1:2:3",
    "internal",
    "é\n",
    "",
    "a/b",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..40).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(&TEXTS[..]).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let name = proptest::sample::select(&NAMES[..]).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map(name, inner, 0..8)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_objects_compile_and_leave_a_stranger_alone(
        specs in proptest::collection::vec((proptest::sample::select(&KINDS[..]), any_json()), 1..6)
    ) {
        let stranger = "IPAddressPool stranger@-9 {addresses: [203.0.113.0/24]}
            BGPPeer stranger@-9 {myASN: 1, peerASN: 2, peerAddress: 203.0.113.1}";
        let alone = compiled(stranger);
        let mut with = world(stranger);
        for (index, (kind, spec)) in specs.into_iter().enumerate() {
            let name = format!("o{index}");
            let age = Some(i64::try_from(index).unwrap_or(0));
            with.apply(config_object(kind, if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" }, SYSTEM, &name, age, Labels::new(), spec));
        }
        let all = compile(&with, &settings(), &LastValid::new());
        prop_assert_eq!(all.config.pool("stranger"), alone.config.pool("stranger"));
        prop_assert_eq!(all.config.peer("stranger"), alone.config.peer("stranger"));
        prop_assert!(all.config.errors.is_sorted() && all.config.warnings.is_sorted());
        // The same world gives the same configuration, and a valid object never turns invalid by being kept.
        let again = compile(&with, &settings(), &all.valid);
        prop_assert_eq!(&again.config.errors, &all.config.errors);
        prop_assert_eq!(&again.config.pools, &all.config.pools);
        prop_assert_eq!(&again.config.peers, &all.config.peers);
        prop_assert_eq!(again.valid, all.valid);
    }
}

/// Objects that depend on one another and are in conflict with one another.
pub(super) const TANGLE: [&str; 26] = [
    "IPAddressPool p1@1 {addresses: [10.0.0.0/24]}",
    "IPAddressPool p1@1 {addresses: [10.0.0.0-10.0.1.128]}",
    "IPAddressPool p1@1 {addresses: [oops, 10.0.0.0/24]}",
    "IPAddressPool p2@2 {addresses: [10.0.1.0/24, '2001:db8::/64']}",
    "IPAddressPool p2@2 {addresses: [10.0.0.128-10.0.3.0]}",
    "IPAddressPool p3 {addresses: [10.0.2.0-10.0.2.9]}",
    "IPAddressPool p3 {addresses: []}",
    "BFDProfile b {echoMode: true}",
    "BFDProfile b {echoMode: 1}",
    "Community c1@1 {communities: [{name: x, value: '1:1'}]}",
    "Community c2@2 {communities: [{name: x, value: '1:2'}, {name: y, value: '1:3'}]}",
    "Community c2@2 {communities: [{name: y, value: '1:4'}]}",
    "BGPPeer n1@1 {myASN: 1, peerASN: 2, peerAddress: 10.9.0.1, nodeSelectors: [{matchLabels: {host: n1}}]}",
    "BGPPeer n1@1 {myASN: 0, peerASN: 2, peerAddress: 10.9.0.1}",
    "BGPPeer n2@2 {myASN: 1, peerASN: 1, peerAddress: 10.9.0.1, nodeSelectors: [{matchLabels: {host: n2}}]}",
    "BGPPeer n2@2 {myASN: 1, peerASN: 1, peerAddress: 10.9.0.1}",
    "BGPPeer all@3 {myASN: 1, peerASN: 2, peerAddress: '::ffff:10.9.0.1', bfdProfile: b}",
    "BGPPeer all@3 {myASN: 1, peerASN: 2, peerAddress: 10.9.0.2, bfdProfile: b}",
    "BGPAdvertisement a1@1 {localPref: 1, communities: [x]}",
    "BGPAdvertisement a1@1 {localPref: 2, asPathPrepend: 3, ipAddressPools: [p1]}",
    "BGPAdvertisement a2@2 {localPref: 2, communities: [y]}",
    "BGPAdvertisement a2@2 {peers: [n1, n1]}",
    "BGPAdvertisement a3@3 {peers: [all], aggregationLength: 24}",
    "BGPAdvertisement a3@3 {localPref: 2, ipAddressPools: [p2, p3]}",
    "L2Advertisement l {ipAddressPools: [p1, gone]}",
    "L2Advertisement l {ipAddressPools: [p1, p1]}",
];

pub(super) fn any_tangle() -> impl Strategy<Value = World> {
    proptest::collection::vec(proptest::sample::select(&TANGLE[..]), 0..16)
        .prop_map(|lines| world(&lines.join("\n")))
}

fn names<T>(list: &[T], name: impl Fn(&T) -> &str) -> Vec<String> {
    list.iter().map(|x| name(x).to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_has_no_conflicts(before in any_tangle(), after in any_tangle()) {
        let before = compile(&before, &settings(), &LastValid::new());
        let all = compile(&after, &settings(), &before.valid);
        let accepted: Vec<_> = all.config.pools.iter().filter(|p| p.state == PoolState::Accepted).collect();
        for (i, a) in accepted.iter().enumerate() {
            for b in accepted.iter().skip(i + 1) {
                prop_assert!(!a.ranges.iter().any(|x| b.ranges.iter().any(|y| x.overlaps(y))), "{} {}", a.name, b.name);
            }
        }
        for (i, a) in all.config.peers.iter().enumerate() {
            for b in all.config.peers.iter().skip(i + 1) {
                let meet = settings().nodes.iter().any(|n| a.nodes.matches(&n.labels) && b.nodes.matches(&n.labels));
                prop_assert!(a.target != b.target || !meet, "{} {}", a.name, b.name);
            }
        }
        let again = compile(&after, &settings(), &all.valid);
        prop_assert_eq!(&again.config.errors, &all.config.errors);
        prop_assert_eq!(&again.config.pools, &all.config.pools);
        prop_assert_eq!(&again.config.peers, &all.config.peers);
        prop_assert_eq!(&again.config.bgp_advertisements, &all.config.bgp_advertisements);
        prop_assert_eq!((again.valid, again.kept), (all.valid, all.kept));
    }

    #[test]
    fn without_the_rejected_objects_the_others_are_the_same(mut tangle in any_tangle()) {
        let with = compile(&tangle, &settings(), &LastValid::new()).config;
        for error in &with.errors {
            tangle.delete(&ObjectId::Config(error.object().into()));
        }
        let without = compile(&tangle, &settings(), &LastValid::new()).config;
        prop_assert_eq!(&without.errors, &[]);
        prop_assert_eq!(without.peers, with.peers);
        let accepted: Vec<_> = with.pools.into_iter().filter(|p| p.state == PoolState::Accepted).collect();
        prop_assert_eq!(without.pools, accepted);
        let advertised = |ads: &[BgpAdvertisement]| names(ads, |a| &a.name);
        prop_assert_eq!(advertised(&without.bgp_advertisements), advertised(&with.bgp_advertisements));
    }
}
