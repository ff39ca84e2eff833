//! What would have to change: for each reason the objects nearest to allowing the addresses, and the edits.
//!
//! Each proposal is tried (see `trial`): the first after which the addresses are announced is told, else the first after
//! which a later reason takes the place of this one. A proposal that makes anything else an error is never told.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::case::{Case, distance, issues_by_object, listed, nearest};
use super::edit::{Edit, Path, Segment};
use super::manifests;
use super::trial::{Place, Trial, label};
use super::why::issues;
use crate::config::BgpAdvertisement;
use crate::decide::{Protocol, Reason, conflicts};
use crate::types::{
    AnyOf, Family, Issue, Labels, NodeName, ObjectKey, Operator, Requirement, Selector, ServiceKey,
};
use crate::world::EXCLUDE_LABEL;

/// What would have to change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remedy {
    /// A sentence or two for people.
    pub text: String,
    /// The edits, to be applied in this order; empty where none can be proposed.
    pub edits: Vec<Edit>,
}

impl Remedy {
    /// In words only.
    pub(super) fn words(text: impl Into<String>) -> Remedy {
        Remedy { text: text.into(), edits: vec![] }
    }
}

const HOSTNAME: &str = "kubernetes.io/hostname";

/// Trying costs a compilation.
const MOST_TRIALS: usize = 8;

/// The remedy for some addresses that aren't announced somewhere.
pub(super) fn remedy(case: &Case<'_>) -> Remedy {
    first_that_helps(case, proposals(case))
        .or_else(|| first_that_helps(case, last_resort(case)))
        .unwrap_or_else(|| Remedy::words(advice(case)))
}

fn first_that_helps(case: &Case<'_>, proposals: Vec<Remedy>) -> Option<Remedy> {
    let mut later: Option<(Remedy, Reason)> = None;
    for proposal in proposals.into_iter().filter(|p| !p.edits.is_empty()).take(MOST_TRIALS) {
        match reason_after(case, &proposal.edits) {
            Some(None) => return Some(proposal),
            Some(Some(next)) if later.is_none() && comes_later(case, next) => later = Some((proposal, next)),
            Some(Some(_)) | None => {}
        }
    }
    let (Remedy { text, edits }, next) = later?;
    Some(Remedy { text: format!("{text}; then the next reason is {}", next.code()), edits })
}

/// `None` where the edits don't fit or do harm.
fn reason_after(case: &Case<'_>, edits: &[Edit]) -> Option<Option<Reason>> {
    let trial = Trial::of(case.decisions, case.context, edits)?;
    let place = Place {
        service: &case.subject.service.key,
        node: &case.node.name,
        protocol: case.protocol,
        peer: case.peer.map(|p| &*p.name),
        ips: case.ips,
    };
    place.reason(&trial.decisions(case.decisions))
}

fn comes_later(case: &Case<'_>, next: Reason) -> bool {
    next != case.reason && Reason::first(case.protocol, [case.reason, next]) == Some(case.reason)
}

/// What to try, nearest first.
fn proposals(case: &Case<'_>) -> Vec<Remedy> {
    match (case.reason, case.protocol) {
        (Reason::AddressFamilyNotCarried, _) => both_families(case),
        (Reason::ConflictingAdvertisements, _) => same_values(case),
        (Reason::IpNotAllowed, _) => correct_pool(case),
        (Reason::NoAdvertisement, _) => cover_pool(case),
        (Reason::NoEndpoints, _) => vec![add_endpoint(case, false)],
        (Reason::NoLocalEndpoints, _) => cluster_policy(case),
        (Reason::NoMatchingAdvertisement, _) => select_service(case),
        (Reason::NoNextHop, _) => vec![],
        (Reason::NoPeer, _) => add_peer(case),
        (Reason::NodeLabeledExcludeBalancers, _) => vec![take_label(case)],
        (Reason::NodeNetworkUnavailable, _) => vec![set_condition(case)],
        (Reason::NotOwner, Protocol::Bgp) => select_node(case),
        (Reason::NotOwner, Protocol::Layer2) => prefer_node(case),
        (Reason::PeerNotSelected, _) => name_peer(case),
        (Reason::SharedIpWithServiceSelector, _) => vec![no_service_selectors(case)],
    }
}

/// What is said where no edit helps.
fn advice(case: &Case<'_>) -> String {
    let (service, node) = (case.service(), case.node());
    match (case.reason, case.protocol) {
        (Reason::AddressFamilyNotCarried, _) => {
            "peer with an address of that family too, or give the BGPPeer spec.dualStackAddressFamily: true".into()
        }
        (Reason::ConflictingAdvertisements, _) => {
            "give the advertisements the same localPref and asPathPrepend, or different aggregation lengths or peers"
                .into()
        }
        (Reason::IpNotAllowed, _) => {
            let home = case.subject.home.as_deref().unwrap_or_default();
            format!("correct what the errors of IPAddressPool {home} name")
        }
        (Reason::NoAdvertisement, _) => {
            format!("name IPAddressPool {} in spec.ipAddressPools of a valid {}", case.pool_name(), case.kind())
        }
        (Reason::NoEndpoints, _) => format!("let a pod of {service} become ready"),
        (Reason::NoLocalEndpoints, _) => {
            format!("run a ready pod of {service} on {node}, or set its spec.externalTrafficPolicy to Cluster")
        }
        (Reason::NoMatchingAdvertisement, _) => {
            format!("let a {} for the pool select {service} and {node}", case.kind())
        }
        (Reason::NoNextHop, _) => "give the interface of the session an address of that family".into(),
        (Reason::NoPeer, _) => {
            let rejected = case.errors_of("BGPPeer").map(|e| &e.name).collect::<BTreeSet<_>>();
            format!("correct what the errors name of BGPPeer {}", listed(rejected))
        }
        (Reason::NodeLabeledExcludeBalancers, _) => {
            format!("remove the label from {node}, or run the speakers with --ignore-exclude-lb")
        }
        (Reason::NodeNetworkUnavailable, _) => {
            format!("the network plugin (CNI) sets this condition: see why it isn't ready on {node}")
        }
        (Reason::NotOwner, Protocol::Bgp) => {
            format!("let spec.nodeSelectors of a BGPAdvertisement for the pool select {node}")
        }
        (Reason::NotOwner, Protocol::Layer2) => {
            let elections = case.ips.iter().filter_map(|ip| case.decisions.layer2_election(*ip));
            let needs = elections.map(|e| format!("Service {} for {}", e.service, e.electing));
            let needs: BTreeSet<String> = needs.collect();
            format!(
                "only one node answers for an address; {node} has to be a candidate first, by a ready pod of {} and an \
                 L2Advertisement for both",
                listed(needs)
            )
        }
        (Reason::PeerNotSelected, _) => "name the BGPPeer in spec.peers of an advertisement that applies".into(),
        (Reason::SharedIpWithServiceSelector, _) => {
            "take spec.serviceSelectors out of the L2Advertisements, or give up sharing the address".into()
        }
    }
}

pub(super) fn append(object: ObjectKey, path: Path, value: Value) -> Edit {
    Edit::Append { object: object.into(), path, value }
}

pub(super) fn set(object: ObjectKey, path: Path, value: Value) -> Edit {
    Edit::Set { object: object.into(), path, value }
}

pub(super) fn remove(object: ObjectKey, path: Path) -> Edit {
    Edit::Remove { object: object.into(), path }
}

pub(super) fn service_key(service: &ServiceKey) -> ObjectKey {
    ObjectKey::new("Service", &service.namespace, &service.name)
}

fn node_key(node: &NodeName) -> ObjectKey {
    ObjectKey::new("Node", "", node.as_str())
}

// ---- pools

fn correct_pool(case: &Case<'_>) -> Vec<Remedy> {
    let home = case.subject.home.as_deref().unwrap_or_default();
    let object = case.object("IPAddressPool", home);
    let errors: Vec<&Issue> = case.errors_of("IPAddressPool").filter(|e| e.name == home).collect();
    let mut all = Vec::new();
    let text =
        |how: &str| format!("correct IPAddressPool {home}; {how}: {}", issues(errors.iter().copied(), false));
    if let Some(edits) = without_fields(&object, &errors) {
        all.push(Remedy { text: text("the edits take out what is wrong"), edits });
    }
    // Without the entry that couldn't be read the service may lose what it holds: keep that much of it.
    let held: Vec<Value> =
        case.subject.allocation.ips.iter().map(|ip| manifests::host_prefix(*ip).into()).collect();
    if let Some(mut edits) = without_fields(&object, &other_than_addresses(&errors)) {
        let addresses =
            errors.iter().filter(|e| e.field.as_deref().is_some_and(|f| f.starts_with("spec.addresses")));
        let entry = addresses.filter_map(|e| e.field.as_deref()).find(|f| f.ends_with(']'));
        match (entry, held.as_slice()) {
            (Some(entry), [one]) => edits.push(set(object.clone(), Path::of_field(entry), one.clone())),
            _ => edits.push(set(object.clone(), Path::keys(["spec", "addresses"]), Value::Array(held))),
        }
        all.push(Remedy { text: text("the edits leave just what the service holds"), edits });
    }
    all
}

fn other_than_addresses<'i>(errors: &[&'i Issue]) -> Vec<&'i Issue> {
    let about = |e: &Issue| e.field.as_deref().is_some_and(|f| f.starts_with("spec.addresses"));
    errors.iter().copied().filter(|e| !about(e)).collect()
}

/// Takes out the fields that errors name; `None` where one of them names none.
fn without_fields(object: &ObjectKey, errors: &[&Issue]) -> Option<Vec<Edit>> {
    let fields: Option<Vec<Path>> = errors.iter().map(|e| e.field.as_deref().map(Path::of_field)).collect();
    let mut fields = fields?;
    // Later items of a list, and what is inside a field, first: the paths of the others stay right.
    fields.sort();
    fields.dedup();
    Some(fields.into_iter().rev().map(|path| remove(object.clone(), path)).collect())
}

// ---- advertisements

fn cover_pool(case: &Case<'_>) -> Vec<Remedy> {
    let (kind, pool) = (case.kind(), case.pool_name());
    let mut all: Vec<Remedy> = Vec::new();
    for (name, errors) in issues_by_object(case.errors_of(kind)) {
        let object = case.object(kind, name);
        if names_pool(case, &object, pool)
            && let Some(edits) = without_fields(&object, &errors)
        {
            let what = issues(errors.iter().copied(), false);
            let text = format!(
                "correct {kind} {name}, which names the pool; the edits take out what is wrong: {what}"
            );
            all.push(Remedy { text, edits });
        }
    }
    let mut valid = case.advertisements();
    valid.sort_by_key(|a| (a.distance(&case.node.labels, &case.subject.service.labels), a.name));
    all.extend(valid.into_iter().map(|a| Remedy {
        text: format!("let {kind} {} cover IPAddressPool {pool}", a.name),
        edits: vec![append(case.object(kind, a.name), Path::keys(["spec", "ipAddressPools"]), pool.into())],
    }));
    all
}

/// What is only proposed where nothing that is there can be edited: an advertisement that doesn't select node and service
/// yet is still nearer than a new one.
fn last_resort(case: &Case<'_>) -> Vec<Remedy> {
    if case.reason != Reason::NoAdvertisement {
        return vec![];
    }
    let (kind, pool) = (case.kind(), case.pool_name());
    let name = manifests::free_name(case.decisions.world, &case.object(kind, pool));
    let spec = json!({"ipAddressPools": [pool]});
    let manifest = manifests::config("metallb.io/v1beta1", kind, case.context.system_namespace, &name, &spec);
    let text = format!("create a {kind} for IPAddressPool {pool}");
    vec![Remedy { text, edits: vec![Edit::Create { manifest }] }]
}

/// Whether a rejected advertisement names the pool.
fn names_pool(case: &Case<'_>, object: &ObjectKey, pool: &str) -> bool {
    let raw = case.decisions.world.config_object(object).map(|o| &o.raw);
    let pools = raw.and_then(|r| r.get("spec")?.get("ipAddressPools")?.as_array());
    pools.is_some_and(|pools| pools.iter().any(|p| p.as_str() == Some(pool)))
}

fn select_node(case: &Case<'_>) -> Vec<Remedy> {
    let mut covering = case.covering();
    covering.sort_by_key(|a| (a.distance(&case.node.labels, &case.subject.service.labels), a.name));
    let each = covering.into_iter().flat_map(|a| {
        let object = case.object(case.kind(), a.name);
        take_node(case, &object, a.nodes)
    });
    each.collect()
}

/// Lets an object with `spec.nodeSelectors` that don't match the node take it: by the node's host name, else by labels.
fn take_node(case: &Case<'_>, object: &ObjectKey, nodes: &AnyOf) -> Vec<Remedy> {
    let what = format!("{} {}", object.kind, object.name);
    let mut all = Vec::new();
    if let Some(host) = case.node.labels.get(HOSTNAME) {
        let value = json!({"matchLabels": {HOSTNAME: host}});
        all.push(Remedy {
            text: format!("let {what} select {} as well", case.node()),
            edits: vec![append(object.clone(), Path::keys(["spec", "nodeSelectors"]), value)],
        });
    }
    let labels = nearest(nodes, &case.node.labels)
        .and_then(|(_, s)| labels_for(s, &case.node.labels, &node_key(&case.node.name)));
    if let Some((edits, said)) = labels {
        all.push(Remedy { text: format!("{said} on {}, as {what} asks for", case.node()), edits });
    }
    all
}

fn select_service(case: &Case<'_>) -> Vec<Remedy> {
    let (node, service) = (&case.node.labels, case.subject.service);
    let mut covering = case.covering();
    covering.retain(|a| case.protocol == Protocol::Layer2 || a.nodes.matches(node));
    covering.sort_by_key(|a| (a.distance(node, &service.labels), a.name));
    let mut all = Vec::new();
    for a in covering {
        let object = case.object(case.kind(), a.name);
        let nodes = if a.nodes.matches(node) { vec![] } else { take_node(case, &object, a.nodes) };
        let services = nearest(a.services, &service.labels).map(|(_, selector)| {
            let (edits, said) = labels_for(selector, &service.labels, &service_key(&service.key))?;
            let text = format!("{said} on {}, as {} {} asks for", case.service(), object.kind, object.name);
            Some(Remedy { text, edits })
        });
        match services {
            None => all.extend(nodes),
            Some(None) => {}
            Some(Some(labels)) if nodes.is_empty() => all.push(labels),
            Some(Some(labels)) => all.extend(nodes.into_iter().map(|n| Remedy {
                text: format!("{}, and {}", labels.text, n.text),
                edits: labels.edits.iter().cloned().chain(n.edits).collect(),
            })),
        }
    }
    all
}

/// The labels that an object needs for a selector to match, and how that is said; `None` where no labels can.
fn labels_for(selector: &Selector, labels: &Labels, object: &ObjectKey) -> Option<(Vec<Edit>, String)> {
    let mut keys: Vec<&str> =
        selector.requirements.iter().filter(|r| !r.matches(labels)).map(|r| r.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let (mut edits, mut said) = (Vec::new(), Vec::new());
    for key in keys {
        match value_for(selector, key)? {
            Some(value) => {
                said.push(format!("set the label {key}={value}"));
                edits.push(set(object.clone(), label(key), value.into()));
            }
            None => {
                said.push(format!("remove the label {key}"));
                edits.push(remove(object.clone(), label(key)));
            }
        }
    }
    Some((edits, said.join(", ")))
}

/// A value of one label, or its absence, that meets every requirement of a selector on it.
fn value_for(selector: &Selector, key: &str) -> Option<Option<String>> {
    let on_key: Vec<&Requirement> = selector.requirements.iter().filter(|r| r.key == key).collect();
    let listed = on_key.iter().flat_map(|r| match &r.operator {
        Operator::In(values) => values.as_slice(),
        Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => &[],
    });
    let mut choices: Vec<Option<String>> = listed.cloned().map(Some).collect();
    choices.push(None);
    choices.extend(["true", "yes"].map(|v| Some(v.to_owned())));
    choices.into_iter().find(|choice| {
        let labels: Labels = choice.iter().map(|v| (key.to_owned(), v.clone())).collect();
        on_key.iter().all(|r| r.matches(&labels))
    })
}

/// In each set of advertisements that may meet on a prefix, the younger ones get the oldest's values.
fn same_values(case: &Case<'_>) -> Vec<Remedy> {
    let applying = case.bgp_applying();
    let Some(pool) = case.pool() else { return vec![] };
    let families = pool.families();
    let mut sets: Vec<Vec<&BgpAdvertisement>> = Vec::new();
    for (_, a) in &applying {
        let (meet, apart): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|set| set.iter().any(|b| a.may_meet(b, families)));
        sets = apart;
        sets.push(meet.into_iter().flatten().chain([*a]).collect());
    }
    let (mut edits, mut said) = (Vec::new(), Vec::new());
    for mut set in sets {
        let pairs: Vec<(usize, &BgpAdvertisement)> = set.iter().copied().enumerate().collect();
        if conflicts(&pairs, pool).next().is_none() {
            continue;
        }
        set.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        let Some((oldest, younger)) = set.split_first() else { continue };
        let before = edits.len();
        for a in younger {
            edits.extend(take_values(case.object("BGPAdvertisement", &a.name), a, oldest));
        }
        let names = listed(younger.iter().map(|a| &a.name));
        if edits.len() > before {
            said.push(format!(
                "give BGPAdvertisement {names} the localPref and asPathPrepend of {}, which is the oldest",
                oldest.name
            ));
        }
    }
    vec![Remedy { text: said.join(", and "), edits }]
}

fn take_values(object: ObjectKey, from: &BgpAdvertisement, to: &BgpAdvertisement) -> Vec<Edit> {
    let (from, to) = (&from.attributes, &to.attributes);
    let prepend = |n: u8| (n > 0).then_some(u32::from(n));
    let fields = [
        ("localPref", from.local_pref, to.local_pref),
        ("asPathPrepend", prepend(from.as_path_prepend), prepend(to.as_path_prepend)),
    ];
    let differing = fields.into_iter().filter(|(_, from, to)| from != to);
    differing
        .map(|(field, _, to)| match to {
            Some(value) => set(object.clone(), Path::keys(["spec", field]), value.into()),
            None => remove(object.clone(), Path::keys(["spec", field])),
        })
        .collect()
}

fn no_service_selectors(case: &Case<'_>) -> Remedy {
    let applying = case.decisions.l2_applying(case.subject.service, case.subject.allocation);
    let names: Vec<&str> = applying.iter().filter(|a| !a.services.0.is_empty()).map(|a| &*a.name).collect();
    let field = || Path::keys(["spec", "serviceSelectors"]);
    Remedy {
        text: format!("take spec.serviceSelectors out of L2Advertisement {}", listed(&names)),
        edits: names.into_iter().map(|n| remove(case.object("L2Advertisement", n), field())).collect(),
    }
}

// ---- nodes and endpoints

fn take_label(case: &Case<'_>) -> Remedy {
    Remedy { text: advice(case), edits: vec![remove(node_key(&case.node.name), label(EXCLUDE_LABEL))] }
}

fn set_condition(case: &Case<'_>) -> Remedy {
    let mut path = Path::keys(["status", "conditions"]);
    path.0.push(Segment::Item { field: "type".into(), value: "NetworkUnavailable".into() });
    path.0.push("status".into());
    Remedy {
        text: format!("{}; it goes when the condition's status is False", advice(case)),
        edits: vec![set(node_key(&case.node.name), path, "False".into())],
    }
}

fn cluster_policy(case: &Case<'_>) -> Vec<Remedy> {
    let key = &case.subject.service.key;
    let policy = Remedy {
        text: advice(case),
        edits: vec![set(service_key(key), Path::keys(["spec", "externalTrafficPolicy"]), "Cluster".into())],
    };
    vec![policy, add_endpoint(case, true)]
}

fn add_endpoint(case: &Case<'_>, here: bool) -> Remedy {
    let service = case.subject.service;
    let mut families: Vec<Family> = case.ips.iter().map(|ip| Family::of(*ip)).collect();
    families.sort();
    families.dedup();
    let node = (here || service.local).then(|| case.node.name.as_str());
    let slices = families.iter().map(|f| Edit::Create { manifest: manifests::slice(&service.key, *f, node) });
    let pods = if service.selector.is_empty() {
        "it has no selector, so that somebody has to write its EndpointSlices".to_owned()
    } else {
        let labels = service.selector.iter().map(|(k, v)| format!("{k}={v}"));
        format!("those with the labels {}", listed(labels))
    };
    Remedy {
        text: format!(
            "let a pod of {}{} become ready ({pods}); the edit shows the EndpointSlice that is missing",
            case.service(),
            if here { format!(" on {}", case.node()) } else { String::new() }
        ),
        edits: slices.collect(),
    }
}

// ---- peers

fn add_peer(case: &Case<'_>) -> Vec<Remedy> {
    let mut peers: Vec<_> = case.decisions.config.peers.iter().collect();
    peers.sort_by_key(|p| (distance(&p.nodes, &case.node.labels), &p.name));
    if !peers.is_empty() {
        let each =
            peers.into_iter().flat_map(|p| take_node(case, &case.object("BGPPeer", &p.name), &p.nodes));
        return each.collect();
    }
    if case.errors_of("BGPPeer").next().is_some() {
        return vec![];
    }
    let spec = manifests::example_peer(case.ips);
    let name = manifests::free_name(case.decisions.world, &case.object("BGPPeer", "router"));
    let manifest =
        manifests::config("metallb.io/v1beta2", "BGPPeer", case.context.system_namespace, &name, &spec);
    vec![Remedy {
        text: "create a BGPPeer for the router of this node; address and AS numbers of the edit are examples"
            .into(),
        edits: vec![Edit::Create { manifest }],
    }]
}

fn name_peer(case: &Case<'_>) -> Vec<Remedy> {
    let Some(peer) = case.peer else { return vec![] };
    let each = case.bgp_applying().into_iter().map(|(_, a)| Remedy {
        text: format!("let BGPAdvertisement {} announce to BGPPeer {} as well", a.name, peer.name),
        edits: vec![append(
            case.object("BGPAdvertisement", &a.name),
            Path::keys(["spec", "peers"]),
            (*peer.name).into(),
        )],
    });
    each.collect()
}

fn both_families(case: &Case<'_>) -> Vec<Remedy> {
    let Some(peer) = case.peer else { return vec![] };
    let object = case.object("BGPPeer", &peer.name);
    vec![Remedy {
        text: format!(
            "let the session with BGPPeer {} carry both families; the router has to as well",
            peer.name
        ),
        edits: vec![set(object, Path::keys(["spec", "dualStackAddressFamily"]), true.into())],
    }]
}

// ---- the election

/// Preferences for this node until it has a higher score than the owner of each address.
fn prefer_node(case: &Case<'_>) -> Vec<Remedy> {
    let mut missing: u64 = 0;
    for ip in case.ips {
        let Some(election) = case.decisions.layer2_election(*ip) else { return vec![] };
        let ours = election.candidates.iter().find(|c| c.node == case.node.name);
        let (Some(owner), Some(ours)) = (election.owner(), ours) else {
            // Under Local only nodes with an endpoint for the electing address stand for election.
            let family = Family::of(election.electing);
            let manifest = manifests::slice(&election.service, family, Some(case.node.name.as_str()));
            return vec![Remedy { text: advice(case), edits: vec![Edit::Create { manifest }] }];
        };
        missing = missing.max(owner.score.saturating_sub(ours.score).saturating_add(1));
    }
    let mut label_first = Vec::new();
    let host = case.node.labels.get(HOSTNAME).map(str::to_owned).unwrap_or_else(|| {
        let name = case.node.name.to_string();
        label_first.push(set(node_key(&case.node.name), label(HOSTNAME), name.clone().into()));
        name
    });
    let preference = json!({"matchLabels": {HOSTNAME: host}});
    let applying = case.decisions.l2_applying(case.subject.service, case.subject.allocation);
    let here = applying.into_iter().filter(|a| a.nodes.matches(&case.node.labels));
    let each = here.map(|a| {
        let mut edits = label_first.clone();
        let mut rest = missing;
        while rest > 0 {
            let weight = rest.min(100);
            rest = rest.saturating_sub(weight);
            edits.push(append(
                case.object("L2Advertisement", &a.name),
                Path::keys(["spec", "preferredNodeSelectors"]),
                json!({"weight": weight, "preference": preference}),
            ));
        }
        let text = format!(
            "only one node answers for an address; for it to be {}, let L2Advertisement {} prefer it by {missing} more",
            case.node(),
            a.name
        );
        Remedy { text, edits }
    });
    each.collect()
}
