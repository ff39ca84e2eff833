use serde_json::json;

use super::*;
use crate::manifest;
use crate::world::Object;

fn status(ingress: Value, annotations: Value) -> ServiceStatus {
    let service = json!({
        "metadata": { "name": "web", "annotations": annotations },
        "status": { "loadBalancer": { "ingress": ingress } },
    });
    let status = ServiceStatus::read(&service);
    assert_eq!(ServiceStatus::read(&ServiceStatus::part(&service)), status, "the part says the same");
    status
}

fn service(spec: Value) -> Service {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "default", "name": "web" },
        "spec": { "type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{ "port": 80 }] },
    });
    for (field, value) in spec.as_object().expect("fields") {
        object["spec"][field] = value.clone();
    }
    match manifest::object(object) {
        Ok(Some(Object::Service(service))) => service,
        other => panic!("{other:?}"),
    }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|t| t.parse().expect("an address")).collect()
}

fn has(texts: &[&str], pool: Option<&str>) -> Desired {
    Desired::Addresses { ips: ips(texts).into(), pool: pool.map(Into::into) }
}

fn allocation(texts: &[&str], error: Option<&str>) -> Allocation {
    Allocation {
        ips: ips(texts).into(),
        pool: (!texts.is_empty()).then(|| "p".into()),
        error: error.map(str::to_owned),
        announce: true,
    }
}

#[test]
fn what_the_api_server_completes_is_no_difference() {
    let pool = json!({ POOL_ANNOTATION: "p" });
    let seen =
        status(json!([{ "ip": "192.0.2.1", "ipMode": "VIP" }, { "ip": "2001:DB8::1", "ports": [] }]), pool);
    assert_eq!(has(&["192.0.2.1", "2001:db8::1"], Some("p")).patch(&seen), None);
    assert_eq!(has(&["192.0.2.1", "2001:db8::1"], None).patch(&seen), None, "the pool stays as it is");
    let empty = status(Value::Null, Value::Null);
    assert_eq!(Desired::Nothing.patch(&empty), None);
}

#[test]
fn a_patch_has_only_what_differs() {
    let new = status(json!([]), json!({ "other": "x" }));
    let patch = has(&["192.0.2.1"], Some("p")).patch(&new);
    let whole = json!({
        "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } },
        "metadata": { "annotations": { POOL_ANNOTATION: "p" } },
    });
    assert_eq!(patch, Some(whole));
    let there = status(json!([{ "ip": "192.0.2.1" }]), json!({ POOL_ANNOTATION: "old" }));
    let renamed = has(&["192.0.2.1"], Some("p")).patch(&there);
    assert_eq!(renamed, Some(json!({ "metadata": { "annotations": { POOL_ANNOTATION: "p" } } })));
    let gone = json!({
        "status": { "loadBalancer": { "ingress": null } }, "metadata": { "annotations": { POOL_ANNOTATION: null } },
    });
    assert_eq!(Desired::Nothing.patch(&there), Some(gone));
    assert_eq!(Desired::Anything.patch(&there), None);
}

#[test]
fn what_nobody_would_write_is_replaced() {
    for entry in [
        json!({ "ip": "192.0.2.1", "ipMode": "Proxy" }),
        json!({ "ip": "192.0.2.1", "hostname": "a.example" }),
        json!({ "ip": "192.0.2.1", "ports": [{ "port": 80 }] }),
    ] {
        let seen = status(json!([entry]), json!({ POOL_ANNOTATION: "p" }));
        let patch = has(&["192.0.2.1"], Some("p")).patch(&seen).expect("a patch");
        assert_eq!(patch, json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } } }));
    }
    let unreadable = status(json!([{ "ip": "192.0.2" }]), Value::Null);
    assert!(Desired::Nothing.patch(&unreadable).is_some());
    let other_order = status(json!([{ "ip": "2001:db8::1" }, { "ip": "192.0.2.1" }]), Value::Null);
    assert!(has(&["192.0.2.1", "2001:db8::1"], None).patch(&other_order).is_some());
}

#[test]
fn only_services_of_the_class_are_touched_and_the_annotation_of_former_ones_goes() {
    let ours = status(json!([{ "ip": "192.0.2.1" }]), json!({ POOL_ANNOTATION: "p" }));
    let theirs = status(json!([{ "ip": "192.0.2.9" }]), Value::Null);
    let given = allocation(&["192.0.2.1"], None);
    let of = |spec, seen, class| Desired::of(&service(spec), seen, class, Some(&given));
    assert_eq!(of(json!({}), &ours, None), has(&["192.0.2.1"], Some("p")));
    assert_eq!(of(json!({ "loadBalancerClass": "x" }), &theirs, None), Desired::Anything);
    assert_eq!(of(json!({ "loadBalancerClass": "x" }), &theirs, Some("x")), has(&["192.0.2.1"], Some("p")));
    assert_eq!(of(json!({}), &theirs, Some("x")), Desired::Anything);
    assert_eq!(of(json!({ "type": "ClusterIP" }), &ours, None), Desired::Nothing);
    assert_eq!(of(json!({ "type": "ClusterIP" }), &theirs, None), Desired::Anything);
    let none = Desired::of(&service(json!({})), &ours, None, Some(&Allocation::default()));
    assert_eq!(none, Desired::Nothing);
    assert_eq!(Desired::of(&service(json!({})), &ours, None, None), Desired::Anything);
}

/// Reasons and messages.
fn told(before: &ServiceStatus, after: &[&str]) -> Vec<String> {
    let events = transition(&ServiceKey::new("default", "web"), before, &ips(after));
    events.iter().map(|e| format!("{} {}", e.reason, e.message)).collect()
}

#[test]
fn each_transition_has_its_events() {
    let empty = status(Value::Null, Value::Null);
    let one = status(json!([{ "ip": "192.0.2.1" }]), Value::Null);
    assert_eq!(
        told(&empty, &["192.0.2.1", "2001:db8::1"]),
        [r#"IPAllocated assigned IP ["192.0.2.1" "2001:db8::1"]"#]
    );
    assert_eq!(
        told(&one, &["192.0.2.1", "2001:db8::1"]),
        [r#"IPAllocated assigned additional IP "2001:db8::1""#]
    );
    let moved = told(&one, &["192.0.2.2"]);
    assert!(moved[0].starts_with(r#"ClearAssignment "default/web" can't keep ["192.0.2.1"]"#), "{moved:?}");
    assert_eq!(moved[1], r#"IPAllocated assigned IP ["192.0.2.2"]"#);
    assert_eq!(told(&one, &[]).len(), 1);
    assert!(told(&one, &["192.0.2.1"]).is_empty());
    assert!(told(&empty, &[]).is_empty());
}

#[test]
fn a_deprecated_annotation_is_named_when_something_changes() {
    let old = json!({ "metallb.universe.tf/address-pool": "p", "metallb.io/x": "y" });
    let events = told(&status(Value::Null, old.clone()), &["192.0.2.1"]);
    assert_eq!(events.len(), 2);
    assert!(events[1].contains("write metallb.io/address-pool"), "{events:?}");
    assert!(told(&status(json!([{ "ip": "192.0.2.1" }]), old), &["192.0.2.1"]).is_empty());
}

#[test]
fn what_is_wrong_has_metallbs_reason() {
    let reason =
        |spec, allocation: &Allocation| complaint(&service(spec), allocation).map(|e| (e.reason, e.warning));
    let fine = allocation(&["192.0.2.1"], None);
    assert_eq!(reason(json!({}), &fine), None);
    let full = allocation(&[], Some("no available IPs"));
    assert_eq!(reason(json!({}), &full), Some(("AllocationFailed", true)));
    assert_eq!(reason(json!({}), &allocation(&["192.0.2.1"], Some("x"))), Some(("LoadBalancerFailed", true)));
    assert_eq!(reason(json!({ "clusterIPs": ["x"] }), &full), Some(("noclusterIPsIPFamily", true)));
    assert_eq!(
        reason(json!({ "ipFamilyPolicy": "RequireDualStack" }), &full),
        Some(("not enough clusterips", true))
    );
    let dual = json!({ "clusterIPs": ["10.96.0.1", "fd00::1"], "ipFamilyPolicy": "PreferDualStack" });
    assert_eq!(reason(dual, &fine), Some(("AdditionalAssignFailed", false)));
}

#[test]
fn a_war_of_rewrites_ends_after_a_few_answers() {
    let second = Duration::from_secs;
    let mut rewrites = Rewrites::new(second(100));
    assert_eq!(rewrites.another(second(100)), Answer::First);
    assert_eq!(rewrites.another(second(101)), Answer::Again);
    assert_eq!(rewrites.another(second(101)), Answer::Again);
    assert_eq!(rewrites.another(second(102)), Answer::Leave(second(700)));
    assert_eq!(rewrites.another(second(699)), Answer::Leave(second(700)));
    assert_eq!(rewrites.another(second(700)), Answer::First);
}

#[test]
fn a_configuration_state_is_written_when_it_says_something_new() {
    let at = |seconds| Timestamp::from_second(seconds).expect("a time");
    let fine = configuration_state(&[], None, at(0)).expect("a first one");
    assert_eq!(fine["status"]["result"], "Valid");
    assert_eq!(fine["status"]["conditions"][0]["status"], "True");
    // As the API server has it after the patch.
    let mut stored = fine["status"].clone();
    stored.as_object_mut().expect("fields").remove("errorSummary");
    assert_eq!(configuration_state(&[], Some(&stored), at(60)), None);
    let errors = ["IPAddressPool a: bad".to_owned(), "Community b: worse".to_owned()];
    let bad = configuration_state(&errors, Some(&stored), at(60)).expect("news");
    assert_eq!(bad["status"]["errorSummary"], "IPAddressPool a: bad\nCommunity b: worse");
    assert_eq!(bad["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:01:00Z");
    let other = configuration_state(&errors[..1], Some(&bad["status"]), at(120)).expect("news");
    assert_eq!(other["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:01:00Z");
    let mended = configuration_state(&[], Some(&bad["status"]), at(180)).expect("news");
    assert_eq!(mended["status"]["errorSummary"], Value::Null);
}
