//! A table for each rule. Objects are written as lines of `KIND NAME[@AGE] {spec} [| {labels}]`, where an age is in seconds
//! and kinds but BGPPeer are v1beta1; a line that doesn't start with a kind continues the one before.

mod admission;
mod advertisements;
mod conflicts;
mod last_valid;
mod peers;
mod pools;
mod robustness;
mod samples;
mod selectors;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Compiled, LastValid, Settings, compile};
use crate::types::{Issue, Labels, NodeName, ObjectKey};
use crate::world::{ConfigObject, Namespace, Node, Object, Secret, World};

const SYSTEM: &str = "metallb-system";

/// Compiles objects, on the nodes n1 and n2 with the label `host`, without last valid forms.
fn compiled(objects: &str) -> Compiled {
    compiled_after(objects, &LastValid::new())
}

fn compiled_after(objects: &str, last_valid: &LastValid) -> Compiled {
    compile(&world(objects), &settings(), last_valid)
}

fn settings() -> Settings {
    Settings { system_namespace: SYSTEM.into(), nodes: vec![node("n1"), node("n2")], namespaces: true }
}

fn node(name: &str) -> Arc<Node> {
    let labels = Labels::from([("host".to_owned(), name.to_owned())]);
    Arc::new(Node { name: NodeName::new(name), labels, network_unavailable: false, internal_ips: vec![] })
}

fn world(objects: &str) -> World {
    let mut world = World::default();
    let mut lines: Vec<String> = Vec::new();
    for line in objects.lines().map(str::trim) {
        match lines.last_mut() {
            Some(last) if !line.starts_with(|c: char| c.is_ascii_uppercase()) => *last += line,
            _ => lines.push(line.to_owned()),
        }
    }
    for line in lines.iter().filter(|l| !l.is_empty()) {
        world.apply(object(line));
    }
    world
}

fn object(line: &str) -> Object {
    let (rest, labels) = line.split_once(" | ").unwrap_or((line, "{}"));
    let (kind, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (name, spec) = rest.split_once(' ').unwrap_or((rest, "{}"));
    let (name, age) = name.split_once('@').map_or((name, None), |(n, a)| (n, a.parse::<i64>().ok()));
    let labels: Labels = yaml::<std::collections::BTreeMap<String, String>>(labels).into_iter().collect();
    let spec: Value = yaml(spec);
    match kind {
        "Namespace" => Object::Namespace(Namespace { name: name.into(), labels }),
        "Secret" => Object::Secret(Secret {
            namespace: SYSTEM.into(),
            name: name.into(),
            type_: spec["type"].as_str().unwrap_or("kubernetes.io/basic-auth").into(),
            password: spec["password"].as_str().map(Into::into),
        }),
        _ => {
            let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
            let (kind, version) = kind.split_once('.').unwrap_or((kind, version));
            let (namespace, name) = name.split_once('/').unwrap_or((SYSTEM, name));
            config_object(kind, version, namespace, name, age, labels, spec)
        }
    }
}

fn config_object(
    kind: &str,
    version: &str,
    namespace: &str,
    name: &str,
    age: Option<i64>,
    labels: Labels,
    spec: Value,
) -> Object {
    let raw = json!({
        "apiVersion": format!("metallb.io/{version}"),
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    });
    Object::Config(ConfigObject {
        key: ObjectKey::new(kind, namespace, name),
        version: version.into(),
        created: age.and_then(|a| jiff::Timestamp::from_second(a).ok()),
        labels,
        raw: Arc::new(raw),
    })
}

fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// `name: field` of each issue.
fn places(issues: &[Issue]) -> Vec<String> {
    issues.iter().map(|i| format!("{}: {}", i.name, i.field.as_deref().unwrap_or("-"))).collect()
}

/// The fields of the errors of one object alone.
fn fields(kind: &str, spec: &str) -> Vec<String> {
    let errors = compiled(&format!("{kind} it {spec}")).config.errors;
    errors.into_iter().map(|e| e.field.unwrap_or_else(|| "-".into())).collect()
}

/// Checks the fields of the errors of one object alone, for a table of specs.
fn check_fields(kind: &str, table: &[(&str, &[&str])]) {
    for (spec, expected) in table {
        assert_eq!(&fields(kind, spec), expected, "{spec}");
    }
}

#[test]
fn configuration_elsewhere_is_ignored_with_a_warning_each() {
    let all = compiled(
        "IPAddressPool default/p {addresses: []}
         BGPPeer default/tor {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}
         BGPAdvertisement default/a {}
         L2Advertisement default/a {}
         BFDProfile default/b {receiveInterval: 1}
         Community default/c {communities: [{name: x, value: y}]}
         ServiceL2Status default/s",
    );
    assert_eq!(all.config.errors, []);
    assert_eq!(places(&all.config.warnings), ["b: -", "a: -", "tor: -", "c: -", "p: -", "a: -"]);
    assert!(all.config.pools.is_empty() && all.config.peers.is_empty() && all.valid.is_empty());
    assert!(!all.config.has_bgp_advertisements && !all.config.has_l2_advertisements);
}

#[test]
fn all_faults_of_all_objects_are_there_in_order() {
    let all = compiled(
        "BGPPeer tor {myASN: 0, peerPort: 0, peerAddress: 1.2.3.400, holdTime: soon, sourceAddress: x, typo: 1}
         BFDProfile slow {transmitInterval: 9, minimumTtl: 0}
         IPAddressPool p {addresses: [1.2.3.4, 5, 10.0.0.9-10.0.0.1], autoAssign: 'yes'}",
    );
    assert_eq!(
        places(&all.config.errors),
        [
            "slow: spec.minimumTtl",
            "slow: spec.transmitInterval",
            "tor: spec.holdTime",
            "tor: spec.myASN",
            "tor: spec.peerASN",
            "tor: spec.peerAddress",
            "tor: spec.peerPort",
            "tor: spec.sourceAddress",
            "p: spec.addresses[0]",
            "p: spec.addresses[1]",
            "p: spec.addresses[2]",
            "p: spec.autoAssign",
        ]
    );
    assert_eq!(places(&all.config.warnings), ["tor: spec.typo"]);
}

#[test]
fn what_the_schema_named_is_named_once() {
    let peer = "{myASN: x, peerASN: 2, peerAddress: 10.0.0.1, interface: \"eth0\\n\", password: [a]}";
    assert_eq!(fields("BGPPeer", peer), ["spec.interface", "spec.myASN", "spec.password"]);
    assert_eq!(fields("IPAddressPool", "{addresses: 10.0.0.0/24}"), ["spec.addresses"]);
    assert_eq!(fields("IPAddressPool", "null"), ["spec"]);
}
