use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{Document, Layer2Plan, NodePlan, NotAnnounced, PeerPlan, RoutePlan, ServicePlan};
use crate::config::{Config, Peer, PeerTarget};
use crate::decide::{Decisions, Disagreement, NodeRoutes, Protocol, Reason, Route};
use crate::types::{Family, Issue, NodeName, ObjectKey, RemoteAs, ServiceKey};
use crate::world::{Node, Service};

/// The document for all live nodes, or only for `only`. `warnings` are those found while reading the input.
pub fn build(
    decisions: &Decisions<'_>,
    system_namespace: &str,
    only: Option<&NodeName>,
    warnings: Vec<Issue>,
) -> Document {
    let mut disagreements = BTreeSet::new();
    let mut nodes = Vec::new();
    for node in decisions.live_nodes() {
        let mut routes = NodeRoutes::default();
        routes.rebuild(decisions, node);
        disagreements.extend(routes.disagreements(decisions));
        if only.is_none_or(|name| *name == node.name) {
            nodes.push(node_plan(decisions, node, &routes));
        }
    }
    let mut all_warnings = warnings;
    all_warnings.extend(decisions.config.warnings.iter().cloned());
    all_warnings.extend(unused_allocations(decisions));
    all_warnings.extend(disagreements.into_iter().map(|d| disagreement(system_namespace, d)));
    all_warnings.sort();
    all_warnings.dedup();
    Document {
        errors: decisions.config.errors.clone(),
        warnings: all_warnings,
        services: decisions
            .allocator
            .iter()
            .map(|(key, _)| key)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter_map(|k| service_plan(decisions, k))
            .collect(),
        nodes,
    }
}

fn disagreement(system_namespace: &str, d: Disagreement) -> Issue {
    let object = ObjectKey::new("BGPAdvertisement", system_namespace, &d.name);
    let value = d.field.trim_start_matches("spec.");
    Issue::new(
        &object,
        Some(d.field),
        format!(
            "another value than that of BGPAdvertisement {}, which is older, for a route that both make: the older one's \
             {value} is announced; give both the same, or different aggregation lengths or peers",
            d.older
        ),
    )
}

fn unused_allocations(decisions: &Decisions<'_>) -> Vec<Issue> {
    let mut found = Vec::new();
    for object in decisions.world.allocations() {
        let key = ObjectKey::new("Allocations", &object.namespace, &object.name);
        for (i, entry) in object.entries.iter().enumerate() {
            let why = match decisions.world.service(&entry.service) {
                None => "there is no such Service",
                Some(s) if !s.load_balancer => "the Service isn't of type LoadBalancer",
                Some(_) => continue,
            };
            let message = format!("the entry for {} is ignored: {why}", entry.service);
            found.push(Issue::new(&key, Some(&format!("spec.services[{i}]")), message));
        }
    }
    found
}

fn service_plan(decisions: &Decisions<'_>, key: &ServiceKey) -> Option<ServicePlan> {
    let allocation = decisions.allocator.get(key)?;
    Some(ServicePlan {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        ips: texts(&allocation.ips),
        pool: allocation.pool.as_ref().map(|p| p.to_string()),
        error: allocation.error.clone(),
    })
}

/// Whether a protocol is spoken of: one without any advertisement object isn't, unless neither has one.
pub(super) fn has_part(config: &Config, protocol: Protocol) -> bool {
    let (bgp, layer2) = (config.has_bgp_advertisements, config.has_l2_advertisements);
    match protocol {
        Protocol::Bgp => bgp || !layer2,
        Protocol::Layer2 => layer2 || !bgp,
    }
}

/// Canonical texts, IPv4 first, then numerically.
pub(super) fn texts(ips: &[IpAddr]) -> Vec<String> {
    let mut sorted = ips.to_vec();
    sorted.sort();
    sorted.iter().map(IpAddr::to_string).collect()
}

fn node_plan(decisions: &Decisions<'_>, node: &Node, routes: &NodeRoutes) -> NodePlan {
    let peers: Vec<&Peer> = decisions.peers_of(node).collect();
    let mut not_announced = Vec::new();
    let mut answered: BTreeMap<IpAddr, Answered> = BTreeMap::new();
    let (bgp, layer2) =
        (has_part(decisions.config, Protocol::Bgp), has_part(decisions.config, Protocol::Layer2));
    let services: BTreeSet<&ServiceKey> = decisions.allocator.iter().map(|(k, _)| k).collect();
    for service in services.into_iter().filter_map(|k| decisions.world.service(k)) {
        if bgp {
            bgp_not_announced(decisions, service, node, &peers, &mut not_announced);
        }
        if layer2 {
            let decision = decisions.layer2(service, node);
            for (ip, reason) in &decision.addresses {
                if reason.is_none() {
                    answered.entry(*ip).or_default().add(service, decision.interfaces.as_ref());
                }
            }
            not_announced.extend(entry(service, Protocol::Layer2, None, decision.addresses));
        }
    }
    NodePlan {
        name: node.name.to_string(),
        bgp: peers.iter().map(|p| peer_plan(p, routes)).collect(),
        layer2: answered.into_iter().filter_map(|(ip, a)| a.plan(ip)).collect(),
        not_announced,
    }
}

/// Who announces an address on a node, and on which interfaces.
#[derive(Default)]
struct Answered {
    any_interface: bool,
    interfaces: BTreeSet<Arc<str>>,
    services: Vec<String>,
}

impl Answered {
    fn add(&mut self, service: &Service, interfaces: Option<&BTreeSet<Arc<str>>>) {
        match interfaces {
            None => self.any_interface = true,
            Some(names) => self.interfaces.extend(names.iter().cloned()),
        }
        self.services.push(service.key.to_string());
    }

    fn plan(self, ip: IpAddr) -> Option<Layer2Plan> {
        Some(Layer2Plan {
            ip: ip.to_string(),
            interfaces: (!self.any_interface)
                .then(|| self.interfaces.iter().map(|i| i.to_string()).collect()),
            service: self.services.first()?.clone(),
            services: self.services,
        })
    }
}

fn bgp_not_announced(
    decisions: &Decisions<'_>,
    service: &Service,
    node: &Node,
    peers: &[&Peer],
    out: &mut Vec<NotAnnounced>,
) {
    let decision = decisions.bgp(service, node);
    if peers.is_empty() {
        let reasons = decision.addresses.iter().map(|(ip, r)| (*ip, Some(r.unwrap_or(Reason::NoPeer))));
        out.extend(entry(service, Protocol::Bgp, None, reasons.collect()));
    }
    for peer in peers {
        let reasons = decision.addresses.iter().map(|(ip, r)| (*ip, decision.reason_at(peer, *ip, *r)));
        out.extend(entry(service, Protocol::Bgp, Some(peer), reasons.collect()));
    }
}

/// One entry for the addresses that have a reason, with the first of them all.
fn entry(
    service: &Service,
    protocol: Protocol,
    peer: Option<&Peer>,
    addresses: Vec<(IpAddr, Option<Reason>)>,
) -> Option<NotAnnounced> {
    let reason = Reason::first(protocol, addresses.iter().filter_map(|(_, r)| *r))?;
    let ips: Vec<IpAddr> = addresses.iter().filter(|(_, r)| r.is_some()).map(|(ip, _)| *ip).collect();
    Some(NotAnnounced {
        service: service.key.to_string(),
        ips: texts(&ips),
        protocol: protocol.as_str(),
        peer: peer.map(|p| p.name.to_string()),
        reason: reason.code(),
    })
}

fn peer_plan(peer: &Peer, routes: &NodeRoutes) -> PeerPlan {
    let (address, interface) = match &peer.target {
        PeerTarget::Address(address) => (Some(address.to_string()), None),
        PeerTarget::Interface(name) => (None, Some(name.to_string())),
    };
    let group = routes.peers().get(&peer.name).and_then(|id| routes.routes(*id));
    let carried = group.into_iter().flatten().filter(|(p, _)| peer.families().contains(Family::of(p.addr())));
    PeerPlan {
        peer: peer.name.to_string(),
        address,
        interface,
        port: peer.port,
        my_asn: peer.my_asn.get(),
        peer_asn: match peer.remote_as {
            RemoteAs::Number(asn) => Some(asn.get()),
            RemoteAs::External | RemoteAs::Internal => None,
        },
        local_asn: peer.local_asn.map(|a| a.get()),
        routes: carried.map(|(prefix, route)| route_plan(prefix.to_string(), route)).collect(),
    }
}

pub(super) fn route_plan(prefix: String, route: &Route) -> RoutePlan {
    let attributes = &route.attributes;
    RoutePlan {
        prefix,
        local_pref: attributes.local_pref,
        communities: attributes.communities.iter().map(ToString::to_string).collect(),
        large_communities: attributes.large_communities.iter().map(ToString::to_string).collect(),
        as_path_prepend: (attributes.as_path_prepend > 0).then_some(attributes.as_path_prepend),
        services: route.services().into_iter().map(ToString::to_string).collect(),
    }
}
