use std::collections::BTreeSet;
use std::sync::Arc;

use ferrolb_api::bfd_profile::BFDProfileSpec;
use ferrolb_api::bgp_advertisement::BGPAdvertisementSpec;
use ferrolb_api::bgp_peer::BGPPeerSpec;
use ferrolb_api::community::CommunitySpec;
use ferrolb_api::ip_address_pool::IPAddressPoolSpec;
use ferrolb_api::l2_advertisement::L2AdvertisementSpec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::types::{Age, Labels, ObjectKey};

fn object(kind: &str, version: &str, mut raw: Value) -> ConfigObject {
    raw["apiVersion"] = json!(format!("metallb.io/{version}"));
    raw["kind"] = json!(kind);
    raw["metadata"] = json!({"name": "x", "namespace": "metallb-system"});
    ConfigObject {
        key: ObjectKey::new(kind, "metallb-system", "x"),
        version: version.into(),
        created: Age::default(),
        labels: Labels::default(),
        raw: Arc::new(raw),
    }
}

fn fields(findings: &[Finding]) -> Vec<&str> {
    let mut fields: Vec<&str> = findings.iter().filter_map(|f| f.field.as_deref()).collect();
    fields.sort_unstable();
    fields
}

#[track_caller]
fn errors(kind: &str, version: &str, spec: Value, expected: &[&str]) {
    let checked = check(&object(kind, version, json!({"spec": spec})));
    assert_eq!(fields(&checked.errors), expected, "{checked:?}");
}

#[track_caller]
fn warnings(kind: &str, version: &str, spec: Value, expected: &[&str]) {
    let checked = check(&object(kind, version, json!({"spec": spec})));
    assert_eq!(
        (fields(&checked.warnings), fields(&checked.errors)),
        (expected.to_vec(), vec![]),
        "{checked:?}"
    );
}

fn peer(more: Value) -> Value {
    let mut spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1"});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

#[test]
fn labels_and_the_time_of_creation_have_their_types() {
    let errors_of = |field: &str, value: Value| {
        let mut raw = (*object("BGPAdvertisement", "v1beta1", json!({"spec": {}})).raw).clone();
        raw["metadata"][field] = value;
        let object = ConfigObject { raw: Arc::new(raw), ..object("BGPAdvertisement", "v1beta1", json!({})) };
        let checked = check(&object);
        fields(&checked.errors).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for good in [json!({"a": "b"}), json!({}), Value::Null] {
        assert!(errors_of("labels", good).is_empty());
    }
    assert_eq!(errors_of("labels", json!({"a": 5, "b": "c"})), ["metadata.labels[a]"]);
    assert_eq!(errors_of("annotations", json!(["a"])), ["metadata.annotations"]);
    assert!(errors_of("creationTimestamp", json!("2024-05-01T10:00:00Z")).is_empty());
    assert_eq!(errors_of("creationTimestamp", json!("yesterday")), ["metadata.creationTimestamp"]);
    assert_eq!(errors_of("creationTimestamp", json!(5)), ["metadata.creationTimestamp"]);
    assert!(errors_of("managedFields", json!([])).is_empty());
}

#[test]
fn every_fault_is_reported_not_only_the_first() {
    errors(
        "BGPPeer",
        "v1beta2",
        json!({
            "peerASN": 4_294_967_296_i64,
            "localASN": 0,
            "dynamicASN": "both",
            "peerAddress": 10,
            "peerPort": 16385,
            "holdTime": "soon",
            "connectTime": "0.5s",
            "interface": "eth0\n",
            "password": "a\rb",
            "vrf": "a\nb",
            "ebgpMultiHop": "true",
            "nodeSelectors": [
                {"matchLabels": {"rack": 1}},
                {"matchExpressions": [{"values": ["a", 2]}, "Exists"]},
                "all",
            ],
            "passwordSecret": "name",
        }),
        &[
            "spec.connectTime",
            "spec.connectTime",
            "spec.dynamicASN",
            "spec.ebgpMultiHop",
            "spec.holdTime",
            "spec.interface",
            "spec.localASN",
            "spec.myASN",
            "spec.nodeSelectors[0].matchLabels[rack]",
            "spec.nodeSelectors[1].matchExpressions[0].key",
            "spec.nodeSelectors[1].matchExpressions[0].operator",
            "spec.nodeSelectors[1].matchExpressions[0].values[1]",
            "spec.nodeSelectors[1].matchExpressions[1]",
            "spec.nodeSelectors[2]",
            "spec.password",
            "spec.passwordSecret",
            "spec.peerASN",
            "spec.peerAddress",
            "spec.peerPort",
            "spec.vrf",
        ],
    );
}

#[test]
fn wrong_types_and_ranges() {
    let cases = [
        ("IPAddressPool", json!({"addresses": "10.0.0.0/24"}), vec!["spec.addresses"]),
        ("IPAddressPool", json!({"addresses": ["10.0.0.0/24", 5]}), vec!["spec.addresses[1]"]),
        ("IPAddressPool", json!({"addresses": [null]}), vec!["spec.addresses[0]"]),
        ("IPAddressPool", json!({"addresses": [], "autoAssign": "no"}), vec!["spec.autoAssign"]),
        (
            "IPAddressPool",
            json!({"addresses": [], "serviceAllocation": {"priority": "high", "namespaces": [1]}}),
            vec!["spec.serviceAllocation.namespaces[0]", "spec.serviceAllocation.priority"],
        ),
        ("IPAddressPool", json!({"addresses": [], "serviceAllocation": {"priority": -1}}), vec![]),
        (
            "IPAddressPool",
            json!({"addresses": [], "serviceAllocation": {"priority": u64::MAX}}),
            vec!["spec.serviceAllocation.priority"],
        ),
        ("BGPAdvertisement", json!({"aggregationLength": 0}), vec!["spec.aggregationLength"]),
        ("BGPAdvertisement", json!({"aggregationLength": 1_u64 << 40}), vec!["spec.aggregationLength"]),
        ("BGPAdvertisement", json!({"aggregationLengthV6": -1}), vec!["spec.aggregationLengthV6"]),
        ("BGPAdvertisement", json!({"aggregationLengthV6": 0}), vec![]),
        ("BGPAdvertisement", json!({"localPref": 4_294_967_295_u32}), vec![]),
        ("BGPAdvertisement", json!({"localPref": 4_294_967_296_u64}), vec!["spec.localPref"]),
        ("BGPAdvertisement", json!({"localPref": -1}), vec!["spec.localPref"]),
        ("BGPAdvertisement", json!({"localPref": 1e30}), vec!["spec.localPref"]),
        ("BGPAdvertisement", json!({"localPref": 1.0}), vec!["spec.localPref"]),
        ("BGPAdvertisement", json!({"localPref": 1.5}), vec!["spec.localPref"]),
        ("BGPAdvertisement", json!({"asPathPrepend": "3"}), vec!["spec.asPathPrepend"]),
        ("BGPAdvertisement", json!({"asPathPrepend": 11}), vec!["spec.asPathPrepend"]),
        ("BGPAdvertisement", json!({"asPathPrepend": 0}), vec!["spec.asPathPrepend"]),
        ("BGPAdvertisement", json!({"peers": "tor"}), vec!["spec.peers"]),
        (
            "BFDProfile",
            json!({"receiveInterval": 9, "detectMultiplier": 256}),
            vec!["spec.detectMultiplier", "spec.receiveInterval"],
        ),
        (
            "L2Advertisement",
            json!({"preferredNodeSelectors": [{"weight": 10}, {"weight": 101, "preference": {}}]}),
            vec!["spec.preferredNodeSelectors[0].preference", "spec.preferredNodeSelectors[1].weight"],
        ),
        (
            "Community",
            json!({"communities": [{"name": "a", "value": 1234}]}),
            vec!["spec.communities[0].value"],
        ),
        ("Community", json!([]), vec!["spec"]),
    ];
    for (kind, spec, expected) in cases {
        errors(kind, "v1beta1", spec, &expected);
    }
}

#[test]
fn a_missing_spec_lacks_what_is_required_in_it() {
    let missing = |kind: &str, version: &str, raw: Value| {
        let checked = check(&object(kind, version, raw));
        fields(&checked.errors).join(" ")
    };
    assert_eq!(missing("IPAddressPool", "v1beta1", json!({})), "spec");
    assert_eq!(missing("IPAddressPool", "v1beta1", json!({"spec": null})), "spec");
    assert_eq!(missing("IPAddressPool", "v1beta1", json!({"spec": {}})), "spec.addresses");
    assert_eq!(missing("BGPPeer", "v1beta2", json!({})), "spec.myASN");
    assert_eq!(missing("BGPPeer", "v1beta1", json!({})), "spec.myASN spec.peerASN spec.peerAddress");
    assert_eq!(missing("L2Advertisement", "v1beta1", json!({})), "");
    assert_eq!(missing("ConfigurationState", "v1beta1", json!({"status": {"result": 5}})), "");
}

#[test]
fn null_counts_as_absent() {
    errors(
        "BGPPeer",
        "v1beta2",
        peer(json!({"peerPort": null, "nodeSelectors": null, "holdTime": null, "password": null})),
        &[],
    );
    errors("BGPPeer", "v1beta2", peer(json!({"myASN": null})), &["spec.myASN"]);
    errors(
        "BGPAdvertisement",
        "v1beta1",
        json!({"serviceSelectors": [{}], "aggregationLength": null, "nodeSelectors": [null]}),
        &["spec.nodeSelectors[0]"],
    );
}

#[test]
fn cel_rules_hold() {
    for (connect_time, faults) in [
        ("1s", 0),
        ("65535s", 0),
        ("1m30s", 0),
        ("65536s", 1),
        ("0s", 1),
        ("-5s", 1),
        ("1.5s", 1),
        ("0.5s", 2),
        ("x", 1),
    ] {
        errors(
            "BGPPeer",
            "v1beta2",
            peer(json!({"connectTime": connect_time})),
            &["spec.connectTime"][..].repeat(faults),
        );
    }
    for (spec, expected) in [
        (json!({"serviceSelectors": [{}], "aggregationLength": 24}), vec!["spec.serviceSelectors"]),
        (json!({"serviceSelectors": [{}], "aggregationLengthV6": 64}), vec!["spec.serviceSelectors"]),
        (json!({"serviceSelectors": [{}], "aggregationLength": 32, "aggregationLengthV6": 128}), vec![]),
        (json!({"serviceSelectors": [], "aggregationLength": 24}), vec![]),
        (json!({"aggregationLength": 24}), vec![]),
        // A rule isn't asked about what has the wrong type.
        (json!({"serviceSelectors": [{}], "aggregationLength": "24"}), vec!["spec.aggregationLength"]),
    ] {
        errors("BGPAdvertisement", "v1beta1", spec, &expected);
    }
}

#[test]
fn v1beta1_peers_have_their_own_rules() {
    errors("BGPPeer", "v1beta1", peer(json!({"peerPort": 0})), &[]);
    errors("BGPPeer", "v1beta2", peer(json!({"peerPort": 0})), &["spec.peerPort"]);
    errors(
        "BGPPeer",
        "v1beta1",
        json!({"myASN": 1, "dynamicASN": "internal", "interface": "eth0"}),
        &["spec.peerASN", "spec.peerAddress"],
    );
    let exists = json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]});
    let values = "spec.nodeSelectors[0].matchExpressions[0].values";
    errors("BGPPeer", "v1beta1", peer(exists.clone()), &[values]);
    errors("BGPPeer", "v1beta2", peer(exists), &[]);
    warnings(
        "BGPPeer",
        "v1beta1",
        peer(json!({"vrf": "red", "localASN": 5, "interface": null})),
        &["spec.localASN", "spec.vrf"],
    );
}

#[test]
fn unknown_fields_are_warnings() {
    warnings("IPAddressPool", "v1beta1", json!({"addresses": [], "autoAsign": false}), &["spec.autoAsign"]);
    warnings(
        "BGPPeer",
        "v1beta2",
        peer(json!({"nodeSelectors": [{"matchLables": {"a": "b"}}]})),
        &["spec.nodeSelectors[0].matchLables"],
    );
    let checked = check(&object("Community", "v1beta1", json!({"specs": {}, "status": 5})));
    assert_eq!(checked.errors, []);
    assert_eq!(
        checked.warnings,
        [Finding {
            field: Some("specs".into()),
            message: "unknown field, ignored: did you mean spec?".into(),
            code: None,
        }]
    );
}

#[test]
fn unknown_versions_and_kinds() {
    let checked = check(&object("BGPPeer", "v1alpha1", json!({"spec": {}})));
    assert_eq!(fields(&checked.errors), ["apiVersion"]);
    assert!(checked.errors.iter().all(|f| f.message.contains("metallb.io/v1beta1 or metallb.io/v1beta2")));
    let checked = check(&object("AddressPool", "v1beta1", json!({"spec": {}})));
    assert_eq!((fields(&checked.errors), fields(&checked.warnings)), (vec![], vec!["kind"]));
}

#[test]
fn a_password_is_never_in_a_message() {
    for password in [json!("hunter2\n"), json!(["hunter2"]), json!({"hunter2": 1}), json!(47_110_815)] {
        let checked =
            check(&object("BGPPeer", "v1beta2", json!({"spec": peer(json!({"password": password}))})));
        assert_eq!(fields(&checked.errors), ["spec.password"]);
        let text = format!("{checked:?}");
        assert!(!text.contains("hunter2") && !text.contains("47110815"), "{text}");
    }
}

/// Every schema node of a kind, `status` included.
fn nodes(schema: &Value, all: &mut Vec<Value>) {
    all.push(schema.clone());
    let properties = schema.get("properties").and_then(Value::as_object);
    for inner in properties.into_iter().flat_map(|p| p.values()) {
        nodes(inner, all);
    }
    for inner in ["items", "additionalProperties"].iter().filter_map(|k| schema.get(k)) {
        nodes(inner, all);
    }
}

fn schemas() -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    KINDS.into_iter().flat_map(|k| k.versions.iter().map(move |v| (k.name, v.name, k.schema(v))))
}

#[test]
fn each_cel_rule_has_its_evaluator() {
    let mut seen = BTreeSet::new();
    for (_, _, schema) in schemas() {
        let mut all = vec![];
        nodes(&schema, &mut all);
        for validations in all.iter().filter_map(|n| n["x-kubernetes-validations"].as_array()) {
            for rule in validations.iter().map(|v| v["rule"].as_str().unwrap()) {
                // The others are for the API server alone: what they reject is rejected by rules of this crate.
                let own = rules::METALLBS.contains(&rule) && rule != rules::IMMUTABLE;
                assert_eq!(evaluator(rule).is_some(), own, "{rule}");
                seen.insert(rule.to_string());
            }
        }
    }
    assert!(rules::METALLBS.iter().all(|rule| seen.contains(*rule)));
}

#[test]
fn no_keyword_of_a_spec_goes_unread() {
    let read = [
        "additionalProperties",
        "enum",
        "format",
        "items",
        "maximum",
        "minimum",
        "minItems",
        "properties",
        "required",
        "type",
        "x-kubernetes-validations",
    ];
    let harmless = ["default", "description", "x-kubernetes-list-type", "x-kubernetes-map-type"];
    for (kind, version, schema) in schemas() {
        let mut all = vec![];
        nodes(&schema["properties"]["spec"], &mut all);
        for node in all.iter().filter_map(Value::as_object) {
            for keyword in node.keys() {
                assert!(
                    read.contains(&keyword.as_str()) || harmless.contains(&keyword.as_str()),
                    "{kind} {version}: nothing reads {keyword}"
                );
            }
            if let Some(format) = node.get("format") {
                assert!(["int32", "int64"].contains(&format.as_str().unwrap()), "{format}");
            }
        }
    }
}

#[test]
fn each_own_rule_has_its_field() {
    for (kind, field, _) in OWN_RULES {
        for (_, version, schema) in schemas().filter(|(k, ..)| *k == kind) {
            assert!(
                schema["properties"]["spec"]["properties"].get(field).is_some(),
                "{kind} {version} {field}"
            );
        }
    }
}

/// What serde makes of a `spec`, written as JSON again.
fn deserialize(kind: &str, spec: &Value) -> Result<Value, serde_json::Error> {
    fn through<T: DeserializeOwned + Serialize>(spec: &Value) -> Result<Value, serde_json::Error> {
        serde_json::to_value(T::deserialize(spec)?)
    }
    match kind {
        "BFDProfile" => through::<BFDProfileSpec>(spec),
        "BGPAdvertisement" => through::<BGPAdvertisementSpec>(spec),
        "BGPPeer" => through::<BGPPeerSpec>(spec),
        "Community" => through::<CommunitySpec>(spec),
        "IPAddressPool" => through::<IPAddressPoolSpec>(spec),
        "L2Advertisement" => through::<L2AdvertisementSpec>(spec),
        _ => Ok(Value::Null),
    }
}

fn anything() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1000_i64..100_000).prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        Just(json!(1.0)),
        Just(json!("text")),
        Just(json!([])),
        Just(json!([null])),
        Just(json!({})),
        Just(json!({"key": null})),
    ]
    .boxed()
}

/// Values that `schema` mostly accepts: at each level something else now and then.
fn near(schema: &Value) -> BoxedStrategy<Value> {
    let fitting = match schema["type"].as_str() {
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => {
            let low = schema["minimum"].as_i64().unwrap_or(-5);
            let high = schema["maximum"].as_i64().unwrap_or(4_294_967_300);
            prop_oneof![
                8 => (low..=high).prop_map(Value::from),
                1 => Just(json!(low)),
                1 => Just(json!(high)),
                1 => Just(json!(low - 1)),
                1 => Just(json!(high + 1)),
            ]
            .boxed()
        }
        Some("string") => {
            // A duration mostly, since some fields must be one.
            let mut texts: Vec<Value> = vec![json!("90s"); 30];
            texts.extend(["", "a", "1h", "10.0.0.0/24", "a\nb"].map(Value::from));
            if let Some(one_of) = schema["enum"].as_array() {
                texts.clone_from(one_of);
            }
            prop::sample::select(texts).boxed()
        }
        Some("array") => prop::collection::vec(near(&schema["items"]), 0..3).prop_map(Value::from).boxed(),
        Some("object") if schema.get("additionalProperties").is_some() => {
            let values = near(&schema["additionalProperties"]);
            prop::collection::btree_map("[a-z]{1,3}", values, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
                .boxed()
        }
        _ => {
            let required: Vec<String> =
                serde_json::from_value(schema["required"].clone()).unwrap_or_default();
            let mut fields: BoxedStrategy<Vec<(String, Value)>> = Just(vec![]).boxed();
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                let name = name.clone();
                let there = if required.contains(&name) { 0.98 } else { 0.4 };
                let field = prop::option::weighted(there, near(inner));
                fields = (fields, field)
                    .prop_map(move |(mut fields, value)| {
                        fields.extend(value.map(|v| (name.clone(), v)));
                        fields
                    })
                    .boxed();
            }
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())).boxed()
        }
    };
    prop_oneof![60 => fitting, 1 => anything(), 1 => Just(Value::Null)].boxed()
}

#[test]
fn what_can_be_read_deserializes() {
    for (kind, version, mut schema) in schemas() {
        if let Some(properties) = schema["properties"].as_object_mut() {
            properties.retain(|name, _| name == "spec");
        }
        let objects = near(&schema);
        let mut runner = TestRunner::deterministic();
        let mut passed = 0;
        for _ in 0..600 {
            let mut raw = objects.new_tree(&mut runner).unwrap().current();
            if !raw.is_object() {
                raw = json!({ "spec": raw });
            }
            let object = object(kind, version, raw);
            let checked = check(&object);
            let readable = deserialize(kind, &checked.spec)
                .unwrap_or_else(|e| panic!("{kind} {version}: {e}: {} of {}", checked.spec, object.raw));
            if checked.errors.is_empty() {
                passed += 1;
                let spec = object.raw.get("spec").filter(|s| !s.is_null()).cloned();
                let whole = deserialize(kind, &spec.unwrap_or_else(|| json!({})))
                    .unwrap_or_else(|e| panic!("{kind} {version}: {e}: {}", object.raw));
                assert_eq!(readable, whole, "{kind} {version}: {}", object.raw);
            }
        }
        assert!(
            (30..600).contains(&passed) || kind.contains("Stat"),
            "{kind} {version}: {passed} of 600 passed"
        );
    }
}

#[test]
fn what_can_be_read_of_an_object_in_error() {
    let checked = check(&object(
        "BGPPeer",
        "v1beta2",
        json!({"spec": {
            "myASN": "64512",
            "peerASN": 64513,
            "peerPort": 99999,
            "holdTime": "soon",
            "nodeSelectors": [5, {"matchLabels": {"a": "b", "c": 1}, "unknown": 1}],
            "vrf": null,
        }}),
    ));
    assert_eq!(
        checked.spec,
        json!({
            "myASN": 0,
            "peerASN": 64513,
            "holdTime": "soon",
            "nodeSelectors": [{}, {"matchLabels": {"a": "b"}}],
        })
    );
    for covered in
        ["spec.myASN", "spec.holdTime", "spec.nodeSelectors", "spec.nodeSelectors[0].matchLabels[x]", "spec"]
    {
        assert!(checked.covers(covered), "{covered}");
    }
    for new in ["spec.peerASN", "spec.nodeSelectors[1].matchLabels[a]", "spec.holdTimes", "spec.peerAddress"]
    {
        assert!(!checked.covers(new), "{new}");
    }
}
