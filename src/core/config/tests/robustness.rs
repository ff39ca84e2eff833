//! Whatever an object holds, compiling it ends, and the other objects are as they would be without it.

use proptest::prelude::*;

use super::*;

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
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

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
