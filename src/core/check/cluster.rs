use std::collections::BTreeSet;

use serde_json::Value;

use super::{Finding, Severity, frr::frr};
use crate::beside::{self, Component};
use crate::config::Config;

/// What was read from a cluster. Objects are as the API server gives them; a list that couldn't be read is empty, and named
/// in `unread`.
#[derive(Clone, Debug, Default)]
pub struct ClusterFacts {
    /// CustomResourceDefinitions of the groups `metallb.io` and `frrk8s.metallb.io`.
    pub crds: Vec<Value>,
    /// ValidatingWebhookConfigurations.
    pub webhooks: Vec<Value>,
    /// Deployments and DaemonSets of all namespaces that carry MetalLB's labels.
    pub workloads: Vec<Value>,
    /// Services in the namespace of the configuration that have an endpoint that is ready.
    pub served: BTreeSet<String>,
    /// `MetalLB` objects of MetalLB's operator.
    pub operators: Vec<Value>,
    /// The names of all Nodes.
    pub nodes: BTreeSet<String>,
    /// `FRRConfiguration` objects of frr-k8s.
    pub frr_configurations: Vec<Value>,
    /// The ConfigMaps `bgpextras` and `config` of the namespace of the configuration.
    pub config_maps: Vec<Value>,
    /// What the roles' accounts may do, and may not.
    pub access: Vec<(Account, Access, bool)>,
    /// What couldn't be read, and why.
    pub unread: Vec<(String, String)>,
}

/// Who needs access rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `ferrolb controller`.
    Controller,
    /// The admission webhook, which the controller serves. All else works without.
    Webhook,
    /// `ferrolb speaker`.
    Speaker,
}

/// A ServiceAccount in the namespace of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// What runs under it.
    pub role: Role,
    /// Its name, which charts choose.
    pub name: String,
}

/// The accounts that FerroLB's own workloads run under. Those of the webhook count where the API server is to ask it.
pub fn accounts(facts: &ClusterFacts, namespace: &str) -> BTreeSet<Account> {
    let asked = facts.webhooks.iter().any(|w| name(w) == WEBHOOKS);
    let mut found = BTreeSet::new();
    for workload in &facts.workloads {
        let Some(program) = workload.pointer("/spec/template").and_then(beside::program) else { continue };
        if !program.ours || text(workload, "/metadata/namespace") != Some(namespace) {
            continue;
        }
        let roles: &[Role] = match program.component {
            Component::Controller if asked => &[Role::Controller, Role::Webhook],
            Component::Controller => &[Role::Controller],
            Component::Speaker => &[Role::Speaker],
        };
        let name = text(workload, "/spec/template/spec/serviceAccountName").unwrap_or("default");
        found.extend(roles.iter().map(|&role| Account { role, name: name.to_owned() }));
    }
    found
}

/// One access right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// The verb, such as `watch`.
    pub verb: &'static str,
    /// What it is on.
    pub rule: Rule,
}

/// What an access right is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource, such as `services`.
    pub resource: &'static str,
    /// The subresource; empty for the resource itself.
    pub subresource: &'static str,
    /// The object; empty for all of them.
    pub name: &'static str,
    /// Whether it is needed in the namespace of the configuration only.
    pub namespaced: bool,
}

/// What in a cluster would keep FerroLB from working, or would be lost by a switch from MetalLB; the worst first.
/// `config` is the configuration of the cluster, `namespace` where it lives.
pub fn cluster(facts: &ClusterFacts, config: &Config, namespace: &str) -> Vec<Finding> {
    let mut found = crds(facts);
    let others = others(facts);
    found.extend(webhooks(facts, namespace));
    found.extend(others.iter().map(|w| w.finding()));
    found.extend(operators(facts));
    let speaks = others.iter().any(|w| w.component == Component::Speaker);
    found.extend(frr(facts, namespace, speaks));
    found.extend(access(facts, namespace));
    found.extend(unread(facts));
    if others.iter().any(|w| w.native) {
        found.extend(native_local_preference(config, namespace));
    }
    found.sort();
    found
}

/// Each kind that FerroLB needs, its plural, and the version it must be served in.
const KINDS: [(&str, &str, &str); 9] = [
    ("BFDProfile", "bfdprofiles", "v1beta1"),
    ("BGPAdvertisement", "bgpadvertisements", "v1beta1"),
    ("BGPPeer", "bgppeers", "v1beta2"),
    ("Community", "communities", "v1beta1"),
    ("ConfigurationState", "configurationstates", "v1beta1"),
    ("IPAddressPool", "ipaddresspools", "v1beta1"),
    ("L2Advertisement", "l2advertisements", "v1beta1"),
    ("ServiceBGPStatus", "servicebgpstatuses", "v1beta1"),
    ("ServiceL2Status", "servicel2statuses", "v1beta1"),
];

fn crds(facts: &ClusterFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    for (kind, plural, version) in KINDS {
        let name = format!("{plural}.metallb.io");
        let subject = format!("CustomResourceDefinition {name}");
        let Some(crd) = facts.crds.iter().find(|c| self::name(c) == name) else {
            found.push(Finding::new(
                Severity::Error,
                subject,
                format!("it isn't there: the cluster takes no {kind} objects"),
                "apply config/crd, or deploy/ferrolb.yaml, which has the definitions",
            ));
            continue;
        };
        let served = list(crd, "/spec/versions").iter().any(|v| {
            v.get("name").and_then(Value::as_str) == Some(version)
                && v.get("served").and_then(Value::as_bool) == Some(true)
        });
        if !served {
            found.push(Finding::new(
                Severity::Error,
                subject.clone(),
                format!("it doesn't serve the version {version}, which FerroLB reads"),
                "apply config/crd, which has the definition with this version",
            ));
        }
        if text(crd, "/spec/conversion/strategy") == Some("Webhook") {
            found.push(Finding::new(
                Severity::Warning,
                subject.clone(),
                "its versions are converted by a webhook of MetalLB's controller: without that, objects of the other version can't be read or written",
                "apply config/crd: both versions have one form, and the definition there needs no webhook",
            ));
        }
        // Uninstalling goes by the annotations of the chart, upgrading by those of the object.
        match release(crd) {
            Some((release, false)) => found.push(Finding::new(
                Severity::Warning,
                subject,
                format!("it belongs to the Helm release {release}: uninstalling that deletes it, and every {kind} with it"),
                format!("before that: kubectl annotate crd {name} helm.sh/resource-policy=keep, and then upgrade the release without its definitions (crds.enabled=false), since uninstalling doesn't look at this annotation; docs/migrate.md"),
            )),
            Some((release, true)) => found.push(Finding::new(
                Severity::Info,
                subject,
                format!("it belongs to the Helm release {release}, and is to be kept: by an upgrade; by uninstalling only where the release's own manifest says so or doesn't have it"),
                format!("before uninstalling see that `helm get manifest {release}` has no definition any more; docs/migrate.md"),
            )),
            None => {}
        }
    }
    found
}

/// The Helm release that a definition belongs to, and whether it is annotated to be kept.
pub(super) fn release(crd: &Value) -> Option<(&str, bool)> {
    let release = text(crd, "/metadata/annotations/meta.helm.sh~1release-name")?;
    Some((release, text(crd, "/metadata/annotations/helm.sh~1resource-policy") == Some("keep")))
}

const WEBHOOKS: &str = "metallb-webhook-configuration";

fn webhooks(facts: &ClusterFacts, namespace: &str) -> Vec<Finding> {
    let (mut dead, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
    let deaf = is_deaf(facts, namespace);
    let Some(ours) = facts.webhooks.iter().find(|w| name(w) == WEBHOOKS) else { return vec![] };
    for webhook in list(ours, "/webhooks") {
        let (Some(service), Some(place)) =
            (text(webhook, "/clientConfig/service/name"), text(webhook, "/clientConfig/service/namespace"))
        else {
            continue;
        };
        if place != namespace {
            elsewhere.insert(format!("{place}/{service}"));
        } else if deaf || !facts.served.contains(service) {
            dead.insert(format!("{place}/{service}"));
        }
    }
    let subject = || format!("ValidatingWebhookConfiguration {WEBHOOKS}");
    let dead = dead.into_iter().map(|service| {
        Finding::new(
            Severity::Error,
            subject(),
            format!("it sends writes of metallb.io objects to the Service {service}, which nobody serves: where its failurePolicy is Fail, they are all refused"),
            format!("run the controller that serves it, or: kubectl delete validatingwebhookconfiguration {WEBHOOKS}"),
        )
    });
    let elsewhere = elsewhere.into_iter().map(|service| {
        Finding::new(
            Severity::Info,
            subject(),
            format!("it sends writes of metallb.io objects to the Service {service}: whether anybody serves that wasn't looked at, since it isn't in {namespace}"),
            "where MetalLB is installed there, run this with that --namespace; otherwise delete the configuration",
        )
    });
    dead.chain(elsewhere).collect()
}

/// Whether the controllers there are ready and yet serve no webhook: their pods are behind MetalLB's Service, by its labels.
fn is_deaf(facts: &ClusterFacts, namespace: &str) -> bool {
    let here = facts.workloads.iter().filter(|w| text(w, "/metadata/namespace") == Some(namespace));
    let mut controllers = here
        .filter(|w| w.pointer("/spec/replicas") != Some(&Value::from(0)))
        .filter_map(|w| {
            let template = w.pointer("/spec/template")?;
            let program = beside::program(template).filter(|p| p.component == Component::Controller)?;
            Some((program, template))
        })
        .peekable();
    controllers.peek().is_some()
        && controllers.all(|(program, template)| {
            let containers = list(template, "/spec/containers").iter();
            let arguments = containers.flat_map(|c| list(c, "/args")).filter_map(Value::as_str);
            let words: Vec<&str> = arguments.flat_map(|word| word.splitn(2, '=')).collect();
            let disabled = |pair: &[&str]| {
                matches!(pair, [flag, "disabled"] if flag.trim_start_matches('-') == "webhook-mode")
            };
            program.ours && words.windows(2).any(disabled)
        })
}

/// A controller or speaker that isn't FerroLB's.
struct Other {
    component: Component,
    subject: String,
    image: String,
    native: bool,
}

impl Other {
    fn finding(&self) -> Finding {
        Finding::new(
            Severity::Error,
            self.subject.clone(),
            format!(
                "it runs {}, not FerroLB: both would write the same status and announce the same addresses, so that FerroLB waits while it is there",
                self.image
            ),
            "remove it as docs/migrate.md describes; the objects, addresses and names stay",
        )
    }
}

fn others(facts: &ClusterFacts) -> Vec<Other> {
    let mut found = Vec::new();
    for workload in &facts.workloads {
        let Some(program) = workload.pointer("/spec/template").and_then(beside::program) else { continue };
        if program.ours || workload.pointer("/spec/replicas") == Some(&Value::from(0)) {
            continue;
        }
        let containers = list(workload, "/spec/template/spec/containers");
        let name_of = |c: &Value| matches!(text(c, "/name"), Some("controller" | "speaker"));
        let Some(main) = containers.iter().find(|c| name_of(c)) else { continue };
        let kind = text(workload, "/kind").unwrap_or("workload");
        // MetalLB's manifests and its chart say it only of the other modes.
        let mode = list(main, "/env").iter().find(|e| text(e, "/name") == Some("METALLB_BGP_TYPE"));
        let native = mode.is_none_or(|mode| text(mode, "/value") == Some("native"));
        let namespace = text(workload, "/metadata/namespace").unwrap_or_default();
        found.push(Other {
            component: program.component,
            subject: format!("{kind} {namespace}/{}", name(workload)),
            image: program.image,
            native: native && kind == "DaemonSet",
        });
    }
    found
}

fn operators(facts: &ClusterFacts) -> Vec<Finding> {
    let finding = |object: &Value| {
        let namespace = text(object, "/metadata/namespace").unwrap_or_default();
        Finding::new(
            Severity::Error,
            format!("MetalLB {namespace}/{}", name(object)),
            "MetalLB's operator installs MetalLB again wherever it was removed or replaced, while this object is there",
            "delete the object, then the operator, before FerroLB is installed",
        )
    };
    facts.operators.iter().map(finding).collect()
}

fn access(facts: &ClusterFacts, namespace: &str) -> Vec<Finding> {
    let denied = facts.access.iter().filter(|(_, _, allowed)| !allowed);
    denied
        .map(|(account, access, _)| {
            let Rule { group, resource, subresource, name: _, namespaced } = access.rule;
            let whole = match subresource {
                "" => resource.to_owned(),
                sub => format!("{resource}/{sub}"),
            };
            let in_group = if group.is_empty() { String::new() } else { format!(" of {group}") };
            let place = if namespaced { format!(" in {namespace}") } else { String::new() };
            let (severity, what_for) = match account.role {
                Role::Webhook => (Severity::Warning, ", which the admission webhook needs"),
                Role::Controller | Role::Speaker => (Severity::Error, ""),
            };
            Finding::new(
                severity,
                format!("ServiceAccount {namespace}/{}", account.name),
                format!("it may not {} {whole}{in_group}{place}{what_for}", access.verb),
                "apply the roles and bindings of deploy/ferrolb.yaml, or upgrade the Helm release; docs/kubernetes.md says what each right is for",
            )
        })
        .collect()
}

fn unread(facts: &ClusterFacts) -> Vec<Finding> {
    let finding = |(what, why): &(String, String)| {
        let remedy = "run it with an account that may list these, or look yourself";
        Finding::new(
            Severity::Info,
            what.clone(),
            format!("they can't be read, so nothing is said of them: {why}"),
            remedy,
        )
    };
    facts.unread.iter().map(finding).collect()
}

/// MetalLB's native mode sends iBGP peers a local preference of 0 where none is set, FerroLB 100: beside each other they
/// would not share the traffic.
fn native_local_preference(config: &Config, namespace: &str) -> Vec<Finding> {
    let without: Vec<&str> = config
        .bgp_advertisements
        .iter()
        .filter(|a| a.attributes.local_pref.is_none())
        .filter(|a| config.peers.iter().any(|p| p.is_ibgp() && a.selects_peer(&p.name)))
        .map(|a| &*a.name)
        .collect();
    if without.is_empty() {
        return vec![];
    }
    vec![Finding::new(
        Severity::Warning,
        format!("BGPAdvertisement {namespace}/{}", without.join(", ")),
        "no localPref for iBGP peers: MetalLB's native mode sends 0 then, FerroLB 100, so that while both run a router uses FerroLB's nodes only",
        "set localPref before the switch, so that both send the same",
    )]
}

pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::super::frr::FRR_CONFIGURATIONS;
    use super::*;
    use crate::config::{BgpAdvertisement, Peer, PeerTarget, PoolSet};
    use crate::types::{AnyOf, Asn, RemoteAs, RouteAttributes};

    const NAMESPACE: &str = "metallb-system";

    fn crd(plural: &str, versions: &[&str]) -> Value {
        let versions: Vec<Value> = versions.iter().map(|v| json!({"name": v, "served": true})).collect();
        json!({"metadata": {"name": format!("{plural}.metallb.io")},
               "spec": {"versions": versions, "conversion": {"strategy": "None"}}})
    }

    /// A cluster that FerroLB alone was installed in.
    fn facts() -> ClusterFacts {
        ClusterFacts {
            crds: KINDS.iter().map(|(_, plural, version)| crd(plural, &[version])).collect(),
            ..ClusterFacts::default()
        }
    }

    fn said(facts: &ClusterFacts) -> Vec<String> {
        let line =
            |f: Finding| format!("{} {}: {} -> {}", f.severity.as_str(), f.subject, f.message, f.remedy);
        cluster(facts, &Config::default(), NAMESPACE).into_iter().map(line).collect()
    }

    #[test]
    fn a_cluster_of_ours_has_no_findings() {
        assert_eq!(said(&facts()), Vec::<String>::new());
    }

    #[test]
    fn definitions_are_judged_by_version_owner_and_conversion() {
        let mut facts = facts();
        let peers = facts.crds.iter().position(|c| name(c) == "bgppeers.metallb.io").unwrap();
        facts.crds[peers] = crd("bgppeers", &["v1beta1"]);
        facts.crds[peers]["spec"]["conversion"]["strategy"] = json!("Webhook");
        facts.crds[peers]["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "metallb"});
        facts.crds.retain(|c| name(c) != "communities.metallb.io");
        let found = said(&facts);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("bgppeers.metallb.io: it doesn't serve the version v1beta2"), "{found:?}");
        assert!(found[1].contains("communities.metallb.io: it isn't there"), "{found:?}");
        assert!(found[2].contains("the Helm release metallb"), "{found:?}");
        assert!(found[3].contains("converted by a webhook"), "{found:?}");
        let kept = json!({"meta.helm.sh/release-name": "metallb", "helm.sh/resource-policy": "keep"});
        facts.crds[peers]["metadata"]["annotations"] = kept;
        let found = said(&facts);
        let helm: Vec<&String> = found.iter().filter(|f| f.contains("Helm")).collect();
        assert!(helm.len() == 1 && helm[0].contains("helm get manifest metallb"), "{helm:?}");
    }

    #[test]
    fn a_webhook_left_behind_is_an_error_until_someone_serves_it() {
        let mut facts = facts();
        let service = json!({"service": {"name": "metallb-webhook-service", "namespace": NAMESPACE}});
        facts.webhooks = vec![
            json!({"metadata": {"name": WEBHOOKS}, "webhooks": [{"clientConfig": service}, {"clientConfig": service}]}),
            json!({"metadata": {"name": "another"}, "webhooks": [{"clientConfig": service}]}),
        ];
        assert_eq!(said(&facts).len(), 1);
        assert!(said(&facts)[0].contains("which nobody serves"));
        facts.served.insert("metallb-webhook-service".into());
        assert_eq!(said(&facts), Vec::<String>::new());
        // A controller of ours without a webhook is behind MetalLB's Service by its labels.
        let ours = |args: Value| {
            let mut made = workload("Deployment", "localhost/ferrolb:1", json!([]));
            made["spec"]["template"]["spec"]["containers"][0]["args"] = args;
            made
        };
        for (args, serves) in [
            (json!(["controller"]), true),
            (json!(["controller", "--webhook-mode=onlywebhook"]), true),
            (json!(["controller", "--webhook-mode=disabled"]), false),
            (json!(["controller", "-webhook-mode", "disabled"]), false),
        ] {
            facts.workloads = vec![ours(args.clone())];
            assert_eq!(said(&facts).is_empty(), serves, "{args}");
        }
        let mut stopped = workload("Deployment", "quay.io/metallb/controller:v0.16", json!([]));
        facts.workloads.push(stopped.clone());
        assert!(!said(&facts).iter().any(|f| f.contains("nobody serves")), "MetalLB's serves it");
        stopped["spec"]["replicas"] = json!(0);
        facts.workloads[1] = stopped;
        assert!(said(&facts)[0].contains("nobody serves"));
        facts.workloads.clear();
        facts.webhooks[0]["webhooks"][0]["clientConfig"]["service"]["namespace"] = json!("elsewhere");
        let found = said(&facts);
        assert!(found.len() == 1 && found[0].starts_with("info"), "{found:?}");
        assert!(found[0].contains("elsewhere/metallb-webhook-service"), "{found:?}");
        facts.unread = vec![("webhooks".into(), "forbidden".into())];
        assert!(said(&facts)[1].starts_with("info webhooks: they can't be read"));
    }

    fn workload(kind: &str, image: &str, env: Value) -> Value {
        let name = if kind == "DaemonSet" { "speaker" } else { "controller" };
        json!({"kind": kind, "metadata": {"namespace": NAMESPACE, "name": name},
               "spec": {"template": {"spec": {"containers": [{"name": name, "image": image, "env": env}]}}}})
    }

    #[test]
    fn metallb_beside_us_is_named_with_what_it_would_do_to_traffic() {
        let mut facts = facts();
        facts.workloads = vec![
            workload("Deployment", "localhost/ferrolb:1", json!([])),
            workload("DaemonSet", "quay.io/metallb/speaker:v0.14", json!([])),
        ];
        let peer = Peer {
            name: "tor".into(),
            created: None,
            target: PeerTarget::Address("10.0.0.1".parse().unwrap()),
            port: 179,
            my_asn: Asn::new(64512).unwrap(),
            local_asn: None,
            remote_as: RemoteAs::Internal,
            source_address: None,
            hold_time: None,
            keepalive_time: None,
            connect_time: None,
            router_id: None,
            nodes: AnyOf::default(),
            password: None,
            bfd_profile: None,
            graceful_restart: false,
            ebgp_multi_hop: false,
            vrf: None,
            dual_stack_address_family: false,
        };
        let advertisement = BgpAdvertisement {
            name: "all".into(),
            created: None,
            aggregation_length: 32,
            aggregation_length_v6: 128,
            attributes: RouteAttributes::default(),
            pools: PoolSet::default(),
            nodes: AnyOf::default(),
            peers: BTreeSet::new(),
            services: AnyOf::default(),
        };
        let config =
            Config { peers: vec![peer], bgp_advertisements: vec![advertisement], ..Config::default() };
        let found = cluster(&facts, &config, NAMESPACE);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].subject, "DaemonSet metallb-system/speaker");
        assert_eq!(found[1].subject, "BGPAdvertisement metallb-system/all");
        for (mode, warnings) in [("native", 1), ("frr", 0), ("frr-k8s", 0)] {
            let env = json!([{"name": "METALLB_BGP_TYPE", "value": mode}]);
            facts.workloads[1] = workload("DaemonSet", "quay.io/metallb/speaker:v0.14", env);
            assert_eq!(cluster(&facts, &config, NAMESPACE).len(), 1 + warnings, "{mode}");
        }
        facts.workloads.pop();
        assert_eq!(cluster(&facts, &config, NAMESPACE), []);
    }

    #[test]
    fn what_only_frr_could_do_is_named_line_by_line() {
        let mut facts = facts();
        facts.operators = vec![json!({"metadata": {"namespace": NAMESPACE, "name": "metallb"}})];
        facts.nodes = BTreeSet::from(["n1".to_owned()]);
        let neighbor =
            json!({"address": "10.0.0.1", "toReceive": {"allowed": {"mode": "all"}}, "toAdvertise": {}});
        facts.frr_configurations = vec![
            json!({"metadata": {"namespace": NAMESPACE, "name": "metallb-n1"}, "spec": {}}),
            json!({"metadata": {"namespace": "x", "name": "metallb-extra-receive"},
                   "spec": {"bgp": {"routers": [{"neighbors": [neighbor]}]}, "raw": {"rawConfig": "!\nip prefix-list a\n"}}}),
        ];
        facts.config_maps = vec![
            json!({"metadata": {"name": "bgpextras"}, "data": {"extras": "router bgp 1\n neighbor x\n"}}),
            json!({"metadata": {"name": "config"}}),
        ];
        facts.workloads = vec![workload("DaemonSet", "quay.io/metallb/speaker:v0.16", json!([]))];
        let mut found = said(&facts);
        let speaker = found.remove(0);
        assert!(speaker.starts_with("error DaemonSet metallb-system/speaker"), "{speaker}");
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("error MetalLB metallb-system/metallb"), "{found:?}");
        assert!(found[1].contains(r#"lost would be: "router bgp 1", "neighbor x""#), "{found:?}");
        let lost = r#"spec.bgp.routers[0].neighbors[0].toReceive (10.0.0.1); spec.raw.rawConfig: "ip prefix-list a""#;
        assert!(found[2].contains(lost), "{found:?}");
        assert!(found[3].starts_with("info"), "{found:?}");
        facts.nodes.clear();
        facts.frr_configurations[0]["spec"] =
            json!({"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "n1"}}});
        assert_eq!(said(&facts)[1..], found, "MetalLB's own is known by its node without a list of Nodes");
        // Without MetalLB's speakers, its own is what frr-k8s goes on announcing.
        facts.workloads.clear();
        assert!(
            said(&facts).iter().any(
                |f| f.starts_with("warning FRRConfiguration metallb-system/metallb-n1: MetalLB wrote it")
            )
        );
        let mut daemon = workload("DaemonSet", "quay.io/metallb/frr-k8s:v0.0.27", json!([]));
        daemon["metadata"]["name"] = json!("frr-k8s-daemon");
        facts.workloads = vec![daemon];
        let told = |f: &String| {
            f.starts_with("error FRRConfiguration")
                && f.contains("the DaemonSet metallb-system/frr-k8s-daemon goes on")
        };
        assert!(said(&facts).iter().any(told), "{:?}", said(&facts));
        facts.frr_configurations.remove(0);
        assert!(!said(&facts).iter().any(told), "nothing is left of MetalLB's");
        // Others' go with the release that has their definition.
        facts.crds.push(json!({"metadata": {"name": FRR_CONFIGURATIONS, "annotations": {"meta.helm.sh/release-name": "metallb"}}}));
        assert!(
            said(&facts).iter().any(|f| f.contains("go with the Helm release metallb")),
            "{:?}",
            said(&facts)
        );
    }

    #[test]
    fn a_missing_right_is_named_with_its_account() {
        let mut facts = facts();
        let status =
            Rule { group: "", resource: "services", subresource: "status", name: "", namespaced: false };
        let secrets = Rule { group: "", resource: "secrets", subresource: "", name: "", namespaced: true };
        let account = |role, name: &str| Account { role, name: name.to_owned() };
        facts.access = vec![
            (account(Role::Controller, "controller"), Access { verb: "patch", rule: status }, false),
            (account(Role::Speaker, "speaker"), Access { verb: "watch", rule: secrets }, false),
            (account(Role::Speaker, "speaker"), Access { verb: "list", rule: secrets }, true),
            (account(Role::Webhook, "controller"), Access { verb: "create", rule: secrets }, false),
        ];
        let found = said(&facts);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].contains("metallb-system/controller: it may not patch services/status ->"),
            "{found:?}"
        );
        assert!(
            found[1].contains("metallb-system/speaker: it may not watch secrets in metallb-system"),
            "{found:?}"
        );
        assert!(found[2].starts_with("warning ServiceAccount metallb-system/controller"), "{found:?}");
    }

    #[test]
    fn accounts_are_those_of_our_workloads_whatever_their_names() {
        let mut facts = facts();
        let ours = |kind: &str, role: &str, account: Value| {
            let mut made = workload(kind, "localhost/ferrolb:1", json!([]));
            made["spec"]["template"]["spec"]["containers"][0]["args"] = json!([role, "--port=9120"]);
            made["spec"]["template"]["spec"]["serviceAccountName"] = account;
            made
        };
        let mut elsewhere = ours("DaemonSet", "speaker", json!("other"));
        elsewhere["metadata"]["namespace"] = json!("elsewhere");
        facts.workloads = vec![
            ours("Deployment", "controller", json!("lb-metallb-controller")),
            ours("DaemonSet", "speaker", Value::Null),
            workload("DaemonSet", "quay.io/metallb/speaker:v0.14", json!([])),
            elsewhere,
        ];
        let found = |facts: &ClusterFacts| {
            accounts(facts, NAMESPACE).into_iter().map(|a| (a.role, a.name)).collect::<Vec<_>>()
        };
        let controller = (Role::Controller, "lb-metallb-controller".to_owned());
        let speaker = (Role::Speaker, "default".to_owned());
        assert_eq!(found(&facts), [controller.clone(), speaker.clone()]);
        facts.webhooks = vec![json!({"metadata": {"name": WEBHOOKS}})];
        let webhook = (Role::Webhook, "lb-metallb-controller".to_owned());
        assert_eq!(found(&facts), [controller, webhook, speaker]);
    }
}
