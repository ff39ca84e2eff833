//! Manifests as users write them, well and badly.

use std::net::IpAddr;

use proptest::prelude::*;

use super::{Parsed, duplicates, parse, split};
use crate::types::{Family, FamilySet, ServiceKey};
use crate::world::{IpFamilyPolicy, Object, ObjectId, Service};

/// A Service in six lines.
fn service_text(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  type: LoadBalancer\n")
}

fn ids(parsed: &Parsed) -> Vec<String> {
    parsed
        .objects
        .iter()
        .map(|o| format!("{}@{}:{}", o.object.id(), o.origin.document, o.origin.line))
        .collect()
}

fn errors(parsed: &Parsed) -> Vec<String> {
    parsed.errors.iter().map(ToString::to_string).collect()
}

fn only(text: &str) -> Object {
    let parsed = parse("f.yaml", text.as_bytes());
    assert_eq!(errors(&parsed), [""; 0], "{text}");
    assert_eq!(parsed.objects.len(), 1, "{text}");
    parsed.objects.into_iter().next().unwrap().object
}

fn only_error(text: &str) -> String {
    let parsed = parse("f.yaml", text.as_bytes());
    assert!(parsed.objects.is_empty(), "{text}");
    assert_eq!(parsed.errors.len(), 1, "{text}");
    errors(&parsed).remove(0)
}

fn service(text: &str) -> Service {
    match only(text) {
        Object::Service(service) => service,
        other => panic!("{other:?}"),
    }
}

#[test]
fn documents_have_numbers_and_lines() {
    let (a, b, c) = (service_text("a"), service_text("b"), service_text("c"));
    for (text, expected) in [
        (format!("{a}---\n{b}"), vec!["Service default/a@1:1", "Service default/b@2:8"]),
        (format!("---\n{a}---\n{b}"), vec!["Service default/a@1:2", "Service default/b@2:9"]),
        (format!("# why\n\n--- # first\n# it\n{a}--- \t\n{b}"), vec!["Service default/a@1:5", "Service default/b@2:12"]),
        // An empty document is one, if it begins with a marker.
        (format!("---\n---\n# nothing\n---\n{a}---\n"), vec!["Service default/a@3:5"]),
        (format!("{a}---\n---\n{b}"), vec!["Service default/a@1:1", "Service default/b@3:9"]),
        (format!("%YAML 1.2\n---\n{a}...\n# end\n%YAML 1.2\n---\n{b}"), vec!["Service default/a@1:3", "Service default/b@2:13"]),
        (format!("{a}...\n{b}...\n...\n{c}"), vec!["Service default/a@1:1", "Service default/b@2:8", "Service default/c@3:16"]),
        (format!("\u{feff}---\n{a}\u{feff}---\n{b}"), vec!["Service default/a@1:2", "Service default/b@2:9"]),
        (format!("{a}---\n{b}").replace('\n', "\r\n"), vec!["Service default/a@1:1", "Service default/b@2:8"]),
        (format!("{a}---\n{b}").replace('\n', "\r"), vec!["Service default/a@1:1", "Service default/b@2:8"]),
        (
            "--- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n---\n{kind: Node, \"apiVersion\": v1, metadata: {name: m}}".to_owned(),
            vec!["Node n1@1:1", "Node m@2:3"],
        ),
        (
            "{\"apiVersion\": \"v1\", \"kind\": \"Node\", \"metadata\": {\"name\": \"n1\"}}\n---\n{\"apiVersion\": \"v1\", \"kind\": \"Node\", \"metadata\": {\"name\": \"m\"}}\n".to_owned(),
            vec!["Node n1@1:1", "Node m@2:3"],
        ),
        (String::new(), vec![]),
        ("# nothing\n".to_owned(), vec![]),
        ("---\n~\n---\nnull\n".to_owned(), vec![]),
    ] {
        let parsed = parse("f.yaml", text.as_bytes());
        assert_eq!(errors(&parsed), [""; 0], "{text:?}");
        assert_eq!(ids(&parsed), expected, "{text:?}");
    }
}

#[test]
fn a_marker_inside_a_text_is_part_of_it_where_indented() {
    let text = "apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n  annotations:\n    a: |\n      ---\n      ...\n    b: ---x\n";
    assert_eq!(ids(&parse("f.yaml", text.as_bytes())), ["Node n1@1:1"]);
}

#[test]
fn json_may_hold_several_values() {
    let text = "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"}}\n\n\n{\"apiVersion\":\"v1\",\n\"kind\":\"Node\",\"metadata\":{\"name\":\"m\"}} ";
    for file in ["f.json", "-", "f.yaml"] {
        assert_eq!(ids(&parse(file, text.as_bytes())), ["Node n1@1:1", "Node m@2:4"], "{file}");
    }
}

#[test]
fn bad_json_names_its_line_and_keeps_what_came_before() {
    let text = "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"}}\n{\"apiVersion\":\n\"v1\",]";
    let parsed = parse("f.json", text.as_bytes());
    assert_eq!(ids(&parsed), ["Node n1@1:1"]);
    assert_eq!(errors(&parsed), ["f.json: document 2, line 3: bad JSON: key must be a string"]);
    // Twice the same key would be the last one, silently.
    let twice = parse("f.json", b"{\"kind\":\"Node\",\"kind\":\"Node\"}");
    assert_eq!(errors(&twice), ["f.json: document 1, line 1: bad JSON: the key \"kind\" is there twice"]);
    // YAML in a JSON file.
    assert_eq!(parse("f.json", service_text("a").as_bytes()).errors.len(), 1);
}

#[test]
fn a_broken_document_leaves_the_others_alone() {
    let text = format!("{}---\nkind: [\n---\n{}", service_text("a"), service_text("b"));
    let parsed = parse("f.yaml", text.as_bytes());
    assert_eq!(ids(&parsed), ["Service default/a@1:1", "Service default/b@3:10"]);
    assert_eq!(parsed.errors.len(), 1);
    let error = &errors(&parsed)[0];
    assert!(error.starts_with("f.yaml: document 2, line ") && !error.contains('\n'), "{error}");

    let mut bytes = format!("{}---\na: ", service_text("a")).into_bytes();
    bytes.extend(b"\xff\n---\n");
    bytes.extend(service_text("b").bytes());
    let parsed = parse("f.yaml", &bytes);
    assert_eq!(ids(&parsed), ["Service default/a@1:1", "Service default/b@3:10"]);
    assert_eq!(errors(&parsed), ["f.yaml: document 2, line 8: bad YAML: it isn't UTF-8 text"]);
}

#[test]
fn a_yaml_error_names_the_line_at_fault() {
    let text = "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n  name: m\n";
    let error = only_error(text);
    assert!(error.starts_with("f.yaml: document 1, line 6: bad YAML: "), "{error}");
}

#[test]
fn booleans_are_those_of_kubernetes_but_not_y_and_n() {
    let text = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: n, labels: {a: \"yes\", y: Y}}\nspec: {a: yes, b: Off, c: [y, N, on], d: 'no'}\n";
    let Object::Config(config) = only(text) else { panic!() };
    assert_eq!(&*config.key.name, "n");
    assert_eq!(
        config.raw["spec"],
        serde_json::json!({"a": true, "b": false, "c": ["y", "N", true], "d": "no"})
    );
    assert_eq!(config.labels.iter().count(), 2);
}

#[test]
fn aliases_and_depth_are_bounded() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..12 {
        let alias = format!("*a{}", i - 1);
        bomb += &format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 10].join(","));
    }
    assert!(only_error(&bomb).contains("bad YAML"));
    assert!(only_error(&format!("a: {}", "[".repeat(100_000))).contains("bad YAML"));
    assert!(!parse("f.json", "[".repeat(100_000).as_bytes()).errors.is_empty());
    let lists = "{apiVersion: v1, kind: List, items: [".repeat(20) + &"]}".repeat(20);
    assert!(only_error(&lists).contains("too deep"));
    let merged = "x: &x {app: a}\napiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {<<: *x, b: c}}\n";
    let Object::Node(node) = only(merged) else { panic!() };
    assert_eq!(node.labels.iter().count(), 2);
}

#[test]
fn lists_are_expanded() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n- {apiVersion: v1, kind: Service, metadata: {}}\n- null\n- {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Node, metadata: {name: m}}]}\n";
    let parsed = parse("f.yaml", text.as_bytes());
    assert_eq!(ids(&parsed), ["Node n1@1:1", "Node m@1:1"]);
    assert_eq!(
        errors(&parsed),
        [
            "f.yaml: document 1, line 1: items[1]: Service: metadata.name is missing",
            "f.yaml: document 1, line 1: items[2]: a manifest must be an object, not null"
        ]
    );
    let typed =
        "{apiVersion: metallb.io/v1beta2, kind: BGPPeerList, items: [{metadata: {name: a, namespace: s}}]}";
    assert_eq!(only(typed).id().to_string(), "BGPPeer s/a");
    assert!(
        only_error("{apiVersion: v1, kind: ServiceList, items: {}}")
            .contains("items must be a list, not an object")
    );
    // No list, just its name.
    let named = parse("f.yaml", b"{apiVersion: x.io/v1, kind: AllowList, metadata: {name: a}}");
    assert_eq!(named.skipped[0].kind, "AllowList");
    assert!(parse("f.yaml", b"{apiVersion: v1, kind: List}").errors.is_empty());
}

#[test]
fn other_kinds_are_named_and_skipped() {
    let text = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: b, labels: 5}}\n---\n{apiVersion: v1, kind: ConfigMap}\n---\n{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice}\n---\n{apiVersion: metallb.io/v1beta1, kind: Other}\n---\n{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: a}}\n";
    let parsed = parse("f.yaml", text.as_bytes());
    assert!(parsed.objects.is_empty() && parsed.errors.is_empty());
    let names: Vec<_> =
        parsed.skipped.iter().map(|s| (s.group(), s.kind.as_str(), s.name.as_str())).collect();
    assert_eq!(
        names,
        [
            ("apps", "Deployment", "a"),
            ("", "ConfigMap", ""),
            ("discovery.k8s.io", "EndpointSlice", ""),
            ("metallb.io", "Other", ""),
            ("serving.knative.dev", "Service", "a")
        ]
    );
    assert_eq!(parsed.skipped[0].namespace.as_deref(), Some("b"));
}

#[test]
fn what_has_no_kind_or_name_is_an_error() {
    for (text, expected) in [
        ("kind: Service\nmetadata: {name: web2}", "apiVersion is missing"),
        ("apiVersion: v1\nmetadata: {name: web2}", "kind is missing"),
        ("apiVersion: v1\nkind: ''", "kind is empty"),
        ("apiVersion: 1\nkind: Service", "apiVersion must be a string, not a number"),
        ("hello", "a manifest must be an object with apiVersion and kind, not a string"),
        ("- a", "a manifest must be an object with apiVersion and kind, not a list"),
        ("{apiVersion: v1, kind: Service}", "Service: metadata.name is missing"),
        ("{apiVersion: v1, kind: Service, metadata: []}", "Service: metadata must be an object, not a list"),
        (
            "{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: 5}}",
            "BFDProfile: metadata.name must be a string, not a number",
        ),
        (
            "{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: \"a\\nb\"}}",
            "BFDProfile: metadata.name has a character that no name may have",
        ),
    ] {
        assert_eq!(only_error(text), format!("f.yaml: document 1, line 1: {expected}"), "{text}");
    }
}

#[test]
fn a_wrong_type_is_an_error() {
    for (text, expected) in [
        (
            "kind: Service, metadata: {name: a, labels: {x: 1}}",
            "Service default/a: metadata.labels[x] must be a string, not a number",
        ),
        (
            "kind: Service, metadata: {name: a, creationTimestamp: yesterday}",
            "Service default/a: metadata.creationTimestamp must be a time such as 2026-01-31T09:30:00Z",
        ),
        (
            "kind: Service, metadata: {name: a}, spec: {ports: [{port: http}]}",
            "Service default/a: spec.ports[0].port must be a whole number, not a string",
        ),
        (
            "kind: Service, metadata: {name: a}, spec: {ports: [{port: 70000}]}",
            "Service default/a: spec.ports[0].port must be a whole number from 0 to 65535",
        ),
        (
            "kind: Service, metadata: {name: a}, spec: []",
            "Service default/a: spec must be an object, not a list",
        ),
        (
            "kind: Service, metadata: {name: a}, spec: {ipFamilies: [IPv5]}",
            "Service default/a: spec.ipFamilies[0] must be IPv4 or IPv6",
        ),
        (
            "kind: Service, metadata: {name: a}, spec: {ipFamilyPolicy: Both}",
            "Service default/a: spec.ipFamilyPolicy must be SingleStack, PreferDualStack or RequireDualStack",
        ),
        (
            "kind: Service, metadata: {name: a}, status: {loadBalancer: {ingress: x}}",
            "Service default/a: status.loadBalancer.ingress must be a list, not a string",
        ),
        (
            "kind: Node, metadata: {name: a}, status: {conditions: [{status: true}]}",
            "Node a: status.conditions[0].status must be a string, not true or false",
        ),
        (
            "kind: Namespace, metadata: {name: a, labels: []}",
            "Namespace a: metadata.labels must be an object of strings, not a list",
        ),
        (
            "kind: Secret, metadata: {name: a}, data: {password: '%'}",
            "Secret default/a: data[password] must be base64",
        ),
    ] {
        assert_eq!(
            only_error(&format!("{{apiVersion: v1, {text}}}")),
            format!("f.yaml: document 1, line 1: {expected}"),
            "{text}"
        );
    }
    let slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, ";
    for (text, expected) in [
        (
            "endpoints: [{conditions: {ready: 'yes please'}}]}",
            "endpoints[0].conditions.ready must be true or false, not a string",
        ),
        ("endpoints: []}", "addressType is missing"),
        ("addressType: IPX}", "addressType must be IPv4, IPv6 or FQDN"),
    ] {
        let error = only_error(&format!("{slice}{text}"));
        assert_eq!(error, format!("f.yaml: document 1, line 1: EndpointSlice default/a: {expected}"));
    }
    let parsed = parse("f.yaml", b"{apiVersion: v1, kind: Service, metadata: {name: a}, spec: 5}");
    assert_eq!(parsed.errors[0].object, Some(ObjectId::Service(ServiceKey::new("default", "a"))));
}

#[test]
fn null_is_the_same_as_not_there() {
    let read = service(
        "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: null, creationTimestamp: null, labels: {x: null}}, spec: {ports: null, type: null}, status: null}",
    );
    assert_eq!(read.key, ServiceKey::new("default", "a"));
    assert_eq!(read.labels.get("x"), Some(""));
    assert!(!read.load_balancer);
}

#[test]
fn a_service_is_read_in_full() {
    let read = service(
        r#"
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  creationTimestamp: 2024-05-01T10:00:00Z
  labels: {app: web}
  annotations:
    metallb.universe.tf/address-pool: old
    metallb.io/address-pool: ""
    metallb.universe.tf/loadBalancerIPs: 192.0.2.1
    metallb.universe.tf/allow-shared-ip: key
    metallb.universe.tf/ip-allocated-from-pool: nothing
spec:
  type: LoadBalancer
  loadBalancerClass: example.com/lb
  loadBalancerIP: ""
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd00::1"]
  ipFamilies: [IPv6, IPv4]
  ipFamilyPolicy: PreferDualStack
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: http}, {port: 53, protocol: UDP, targetPort: 53}]
status:
  loadBalancer:
    ingress: [{ip: 192.0.2.1, ipMode: VIP}, {hostname: web.example.com}]
"#,
    );
    assert_eq!(read.key, ServiceKey::new("shop", "web"));
    assert_eq!(read.created.unwrap().to_string(), "2024-05-01T10:00:00Z");
    assert_eq!(read.annotations.address_pool.as_deref(), Some(""));
    assert_eq!(read.annotations.load_balancer_ips.as_deref(), Some("192.0.2.1"));
    assert_eq!(read.annotations.allow_shared_ip.as_deref(), Some("key"));
    assert_eq!(read.annotations.allocated_from_pool, None);
    assert_eq!(read.class.as_deref(), Some("example.com/lb"));
    assert_eq!(read.load_balancer_ip, None);
    assert_eq!((read.families, read.first_family), (Ok(FamilySet::BOTH), Family::V6));
    assert_eq!(read.ip_family_policy, IpFamilyPolicy::PreferDualStack);
    assert!(read.load_balancer && read.local);
    assert_eq!(read.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["TCP/80", "UDP/53"]);
    assert_eq!(*read.ingress, ["192.0.2.1".parse::<IpAddr>().unwrap()]);

    let alone = service(
        r#"{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: "fd00::1", ipFamilies: [IPv4]}}"#,
    );
    assert_eq!((alone.families, alone.first_family), (Ok(FamilySet::only(Family::V6)), Family::V4));
    let headless = service(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, clusterIPs: [None], ipFamilies: [IPv6]}}",
    );
    assert_eq!(headless.families, Ok(FamilySet::only(Family::V6)));
    for (ips, wrong) in [("[10.0.0.x]", "10.0.0.x"), ("[10.0.0.1, 10.0.0.2]", "10.0.0.1, 10.0.0.2")] {
        let broken =
            format!("{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{clusterIPs: {ips}}}}}");
        let why = service(&broken).families.unwrap_err();
        assert!(why.contains(wrong), "{why}");
    }
}

#[test]
fn what_is_no_address_in_a_status_is_not_there() {
    let status = "status:\n  loadBalancer:\n    ingress: [{ip: nonsense}, {hostname: a.example}, {ip: \"::ffff:192.0.2.1\"}, {ip: 2001:db8::1}]\n";
    let ingress: Vec<String> =
        service(&format!("{}{status}", service_text("a"))).ingress.iter().map(ToString::to_string).collect();
    assert_eq!(ingress, ["192.0.2.1", "2001:db8::1"]);
}

#[test]
fn endpoints_are_usable_where_ready_or_serving() {
    let slice = only(
        r#"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
endpoints:
- {addresses: ["fd00::1"], nodeName: n1}
- {addresses: ["fd00::1"], conditions: {ready: false}}
- {addresses: ["fd00::1"], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: ["fd00::1"], conditions: {ready: null}}
- {addresses: [], conditions: {ready: true}}
"#,
    );
    let Object::EndpointSlice(slice) = slice else { panic!() };
    assert_eq!(slice.service, Some(ServiceKey::new("default", "web")));
    assert_eq!(slice.family, Family::V6);
    assert_eq!(
        slice.endpoints.iter().map(|e| e.usable).collect::<Vec<_>>(),
        [true, false, true, true, false]
    );
    assert_eq!(slice.endpoints[0].node.as_ref().unwrap().as_str(), "n1");
    let fqdn =
        b"{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, addressType: FQDN}";
    assert_eq!(parse("f.yaml", fqdn), Parsed::default());
}

#[test]
fn nodes_namespaces_and_secrets() {
    let Object::Node(node) = only(
        "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {a: b}}, status: {conditions: [{type: NetworkUnavailable, status: 'True'}], addresses: [{type: InternalIP, address: '::ffff:10.0.0.1'}, {type: Hostname, address: n1}, {type: InternalIP, address: 'fd00::1'}]}}",
    ) else {
        panic!()
    };
    assert!(node.network_unavailable);
    assert_eq!(node.internal_ips, ["10.0.0.1", "fd00::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));

    let secret = |text: &str| match only(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, {text}}}"
    )) {
        Object::Secret(secret) => secret,
        other => panic!("{other:?}"),
    };
    assert_eq!(secret("data: {password: c2VjcmV0Cg==}").password.as_deref(), Some(b"secret\n".as_slice()));
    assert_eq!(secret("data: {password: '/+8='}").password.as_deref(), Some(b"\xff\xef".as_slice()));
    assert_eq!(
        secret("data: {password: c2VjcmV0}, stringData: {password: x}").password.as_deref(),
        Some(b"x".as_slice())
    );
    let typed = secret("type: kubernetes.io/basic-auth");
    assert_eq!((typed.type_.as_str(), typed.password), ("kubernetes.io/basic-auth", None));
}

#[test]
fn configuration_is_kept_raw() {
    let text = "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: p, namespace: s, labels: {a: b, c: 5}}, spec: {myASN: text}}";
    let Object::Config(config) = only(text) else { panic!() };
    assert_eq!((config.key.to_string().as_str(), config.version.as_str()), ("BGPPeer s/p", "v1beta2"));
    assert_eq!(config.raw["spec"]["myASN"], "text");
    assert_eq!(config.labels.iter().count(), 1);
}

#[test]
fn allocations() {
    let text = |services: &str| {
        format!(
            "{{apiVersion: ferrolb.io/v1alpha1, kind: Allocations, metadata: {{name: a}}, spec: {{services: [{services}]}}}}"
        )
    };
    let Object::Allocations(read) = only(&text(
        "{namespace: x, name: web, ips: ['2001:DB8::1', '::ffff:192.0.2.1']}, {name: web, ips: []}",
    )) else {
        panic!()
    };
    assert_eq!(read.entries[0].service, ServiceKey::new("x", "web"));
    assert_eq!(
        read.entries[0].ips.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["2001:db8::1", "192.0.2.1"]
    );
    assert_eq!(read.entries[1].service, ServiceKey::new("default", "web"));
    for (services, expected) in [
        (
            "{name: web, ips: []}, {namespace: default, name: web, ips: []}",
            "spec.services[1]: Service default/web has an entry already",
        ),
        ("{name: web, ips: [x]}", "spec.services[0].ips[0] must be an IP address"),
        (
            "{name: web, ips: [192.0.2.1, '::ffff:192.0.2.1']}",
            "spec.services[0].ips[1]: 192.0.2.1 is there already",
        ),
        ("{name: web, ips: x}", "spec.services[0].ips must be a list, not a string"),
        (
            "{name: web}",
            "spec.services[0].ips is missing (an empty list says that the Service holds nothing)",
        ),
        ("{ips: []}", "spec.services[0].name is missing"),
        ("null", "spec.services[0] must be an object, not null"),
    ] {
        assert_eq!(
            only_error(&text(services)),
            format!("f.yaml: document 1, line 1: Allocations default/a: {expected}")
        );
    }
}

#[test]
fn what_is_there_twice_names_both_places() {
    let read = |text: &str, file: &str| parse(file, text.as_bytes()).objects;
    let peer =
        |version: &str| format!("{{apiVersion: metallb.io/{version}, kind: BGPPeer, metadata: {{name: p}}}}");
    let allocation = |name: &str| {
        format!(
            "{{apiVersion: ferrolb.io/v1alpha1, kind: Allocations, metadata: {{name: {name}}}, spec: {{services: [{{name: web, ips: []}}]}}}}"
        )
    };
    let mut objects =
        read(&format!("{}---\n{}\n---\n{}", service_text("a"), peer("v1beta1"), allocation("x")), "a.yaml");
    assert!(duplicates(&objects).is_empty());
    objects.extend(read(
        &format!("{}\n---\n{}\n---\n{}", peer("v1beta2"), service_text("a"), allocation("z")),
        "b.yaml",
    ));
    assert_eq!(
        duplicates(&objects).iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "b.yaml: document 1, line 1: BGPPeer default/p is there already, in a.yaml: document 2, line 8: keep one of them",
            "b.yaml: document 2, line 3: Service default/a is there already, in a.yaml: document 1, line 1: keep one of them",
            "b.yaml: document 3, line 11: Allocations default/z has an entry for Service default/web, and so has a.yaml: document 3, line 10: keep one of the two entries",
        ]
    );
}

#[test]
fn no_secret_is_in_an_error() {
    for text in [
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  password: hunter2\n  password: hunter2\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  password: \"hunter2\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  password: hunter2\n bad\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: [hunter2]\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {password: hunter2}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: !!int hunter2}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: *hunter2}\n",
    ] {
        let error = only_error(text);
        assert!(!error.contains("hunter2"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), json in any::<bool>()) {
        parse(if json { "f.json" } else { "f.yaml" }, &bytes);
    }

    #[test]
    fn any_text_of_yaml_tokens_is_read_or_refused(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "---", "...", "\n", "\n", " ", "  ", ":", ": ", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "!t ", "|", ">",
                "\"", "'", "#", "%YAML 1.2", "apiVersion: v1", "kind: Service", "kind: List", "items:", "metadata:", "name: x",
                "spec:", "<<: ", "\u{feff}", "\r", "\t", "? ", "~", "1", "é",
            ]),
            0..60,
        ),
    ) {
        let text = tokens.concat();
        let parsed = parse("f.yaml", text.as_bytes());
        for error in &parsed.errors {
            prop_assert!(!error.to_string().contains('\n'));
            prop_assert!(error.origin.line >= 1 && error.origin.document >= 1);
        }
        // Cutting loses no byte that isn't a blank, a comment or a directive.
        let kept: usize = split("f.yaml", text.as_bytes()).iter().map(|d| d.text().len()).sum();
        prop_assert!(kept <= text.len());
    }
}
