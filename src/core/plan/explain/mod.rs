//! `ferrolb explain`: for one Service, what each node announces to each router, or the first reason why not, in terms of the
//! objects involved, and the edits nearest to changing that.
//!
//! Nothing is judged here: reasons, applying advertisements and elections are those of [`decide`](crate::decide), the same
//! that `plan` prints. What is added is the sentence (`why`) and the remedy (`remedy`), which is tried on a copy of the
//! world (`trial`) before it is told.

mod case;
mod edit;
mod manifests;
mod remedy;
#[cfg(test)]
mod tests;
mod text;
mod trial;
mod unserved;
mod why;

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

pub use edit::{Edit, EditError, Path, Segment, Target};
pub use remedy::Remedy;

use super::RoutePlan;
use super::build::{has_part, route_plan, texts};
use crate::alloc::Allocation;
use crate::config::{Peer, PeerTarget};
use crate::decide::{BgpDecision, Decisions, NodeRoutes, Protocol, Reason};
use crate::types::{Family, NodeName, ServiceKey};
use crate::world::{Node, Service};
use case::Case;

/// What a service's announcement depends on besides the objects.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The namespace that configuration objects live in.
    pub system_namespace: &'a str,
    /// The load balancer class that is managed; `None`: services without one.
    pub class: Option<&'a str>,
}

/// Which places to explain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Only<'a> {
    /// Only this node.
    pub node: Option<&'a NodeName>,
    /// Only this peer; layer 2 is left out.
    pub peer: Option<&'a str>,
}

/// What becomes of one service, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The service's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its addresses, IPv4 first.
    pub ips: Vec<String>,
    /// The pool that contains them.
    pub pool: Option<String>,
    /// Why it has no address, or why what it asks for can't be given.
    pub error: Option<String>,
    /// What would give it an address, where it has none.
    pub remedy: Option<Remedy>,
    /// What each live node does; empty where it has no address.
    pub nodes: Vec<NodeExplanation>,
}

impl Explanation {
    /// Whether any node announces any of its addresses.
    pub fn is_announced(&self) -> bool {
        self.nodes.iter().any(|n| {
            n.bgp.iter().any(|p| !p.routes.is_empty())
                || n.layer2.as_ref().is_some_and(|l| !l.addresses.is_empty())
        })
    }
}

/// What one node does with the service.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeExplanation {
    /// The node's name.
    pub name: String,
    /// Towards each of its peers, by name; one entry with a null peer where it has none; empty where BGP plays no part.
    pub bgp: Vec<PeerExplanation>,
    /// On layer 2; null where that plays no part.
    pub layer2: Option<Layer2Explanation>,
}

/// What one node does with the service towards one peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerExplanation {
    /// The BGPPeer's name; null where the node has no peer.
    pub peer: Option<String>,
    /// Its address; null for an unnumbered peer.
    pub address: Option<String>,
    /// The interface of an unnumbered peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The routes that the service makes exist.
    pub routes: Vec<RouteExplanation>,
    /// The addresses that aren't announced, by their first reasons.
    pub not_announced: Vec<WhyNot>,
}

/// A route that the service makes exist.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteExplanation {
    /// The route as `plan` shows it.
    #[serde(flatten)]
    pub route: RoutePlan,
    /// The service's addresses in it.
    pub ips: Vec<String>,
    /// Whether it is wider than one address.
    pub aggregate: bool,
    /// The BGPAdvertisements that the service is announced by in it.
    pub advertisements: Vec<String>,
}

/// What one node does with the service on layer 2.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer2Explanation {
    /// The addresses that the node answers for.
    pub addresses: Vec<String>,
    /// The interfaces that answer; null: any.
    pub interfaces: Option<Vec<String>>,
    /// The L2Advertisements that this is by.
    pub advertisements: Vec<String>,
    /// The addresses that it doesn't answer for, by their first reasons.
    pub not_announced: Vec<WhyNot>,
}

/// Addresses that aren't announced somewhere, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyNot {
    /// The code of the first reason.
    pub reason: &'static str,
    /// The addresses.
    pub ips: Vec<String>,
    /// Why, as a sentence.
    pub message: String,
    /// What would have to change.
    pub remedy: Remedy,
}

/// The service, and what is the same for it at every place.
struct Subject<'a> {
    service: &'a Service,
    allocation: &'a Allocation,
    /// The pool that it holds its addresses from, valid or not.
    home: Option<String>,
}

/// Explains one service; `None` where there is none of this name.
pub fn explain(
    decisions: &Decisions<'_>,
    context: &Context<'_>,
    service: &ServiceKey,
    only: Only<'_>,
) -> Option<Explanation> {
    let service: &Service = decisions.world.service(service)?;
    let mut explanation = Explanation {
        namespace: service.key.namespace.to_string(),
        name: service.key.name.to_string(),
        ips: vec![],
        pool: None,
        error: None,
        remedy: None,
        nodes: vec![],
    };
    let Some(allocation) = decisions.allocator.get(&service.key) else {
        let (error, remedy) = unserved::unmanaged(context, service);
        explanation.error = Some(error);
        explanation.remedy = Some(remedy);
        return Some(explanation);
    };
    explanation.ips = texts(&allocation.ips);
    explanation.pool = allocation.pool.as_ref().map(ToString::to_string);
    explanation.error = allocation.error.clone();
    if allocation.ips.is_empty() {
        explanation.remedy = Some(unserved::remedy(decisions, context, service));
        return Some(explanation);
    }
    let subject = Subject { service, allocation, home: home(decisions, service, allocation) };
    let nodes = decisions.live_nodes().filter(|n| only.node.is_none_or(|name| *name == n.name));
    explanation.nodes =
        nodes.map(|node| Explainer { decisions, context, subject: &subject, node, only }.node()).collect();
    Some(explanation)
}

fn home(decisions: &Decisions<'_>, service: &Service, allocation: &Allocation) -> Option<String> {
    if let Some(pool) = &allocation.pool {
        return Some(pool.to_string());
    }
    let mut held = decisions.allocator.holdings().services.into_iter();
    held.find(|h| *h.namespace == *service.key.namespace && *h.name == *service.key.name)?
        .pool
        .map(|pool| pool.to_string())
}

/// Explains one node.
struct Explainer<'e> {
    decisions: &'e Decisions<'e>,
    context: &'e Context<'e>,
    subject: &'e Subject<'e>,
    node: &'e Arc<Node>,
    only: Only<'e>,
}

impl Explainer<'_> {
    fn node(&self) -> NodeExplanation {
        let config = self.decisions.config;
        let layer2 = has_part(config, Protocol::Layer2) && self.only.peer.is_none();
        NodeExplanation {
            name: self.node.name.to_string(),
            bgp: if has_part(config, Protocol::Bgp) { self.bgp() } else { vec![] },
            layer2: layer2.then(|| self.layer2()),
        }
    }

    fn bgp(&self) -> Vec<PeerExplanation> {
        let decision = self.decisions.bgp(self.subject.service, self.node);
        let peers: Vec<&Peer> = self.decisions.peers_of(self.node).collect();
        if peers.is_empty() {
            let reasons = decision.addresses.iter().map(|(ip, r)| (*ip, Some(r.unwrap_or(Reason::NoPeer))));
            return vec![PeerExplanation {
                peer: None,
                address: None,
                interface: None,
                routes: vec![],
                not_announced: self.why_not(Protocol::Bgp, None, reasons.collect()),
            }];
        }
        let mut routes = NodeRoutes::default();
        routes.rebuild(self.decisions, self.node);
        let asked = peers.into_iter().filter(|p| self.only.peer.is_none_or(|name| *name == *p.name));
        asked.map(|peer| self.peer(peer, &decision, &routes)).collect()
    }

    fn peer(&self, peer: &Peer, decision: &BgpDecision<'_>, routes: &NodeRoutes) -> PeerExplanation {
        let (address, interface) = match &peer.target {
            PeerTarget::Address(address) => (Some(address.to_string()), None),
            PeerTarget::Interface(name) => (None, Some(name.to_string())),
        };
        let reasons: Vec<(IpAddr, Option<Reason>)> =
            decision.addresses.iter().map(|(ip, r)| (*ip, decision.reason_at(peer, *ip, *r))).collect();
        let announced: Vec<IpAddr> = reasons.iter().filter(|(_, r)| r.is_none()).map(|(ip, _)| *ip).collect();
        let group = routes.peers().get(&peer.name).and_then(|id| routes.routes(*id));
        let carried = group.into_iter().flatten().filter(|(prefix, route)| {
            peer.families().contains(Family::of(prefix.addr()))
                && route.services().contains(&self.subject.service.key)
        });
        let explained = carried.map(|(prefix, route)| {
            let by = decision.advertisements.iter().map(|(_, a)| *a).filter(|a| {
                a.selects_peer(&peer.name) && announced.iter().any(|ip| a.prefix(*ip) == *prefix)
            });
            let inside: Vec<IpAddr> = announced.iter().copied().filter(|ip| prefix.contains(ip)).collect();
            RouteExplanation {
                route: route_plan(prefix.to_string(), route),
                ips: texts(&inside),
                aggregate: prefix.prefix_len() < prefix.max_prefix_len(),
                advertisements: by.map(|a| a.name.to_string()).collect(),
            }
        });
        PeerExplanation {
            peer: Some(peer.name.to_string()),
            address,
            interface,
            routes: explained.collect(),
            not_announced: self.why_not(Protocol::Bgp, Some(peer), reasons),
        }
    }

    fn layer2(&self) -> Layer2Explanation {
        let decision = self.decisions.layer2(self.subject.service, self.node);
        let answered: Vec<IpAddr> =
            decision.addresses.iter().filter(|(_, r)| r.is_none()).map(|(ip, _)| *ip).collect();
        let applying = self.decisions.l2_applying(self.subject.service, self.subject.allocation);
        let here =
            applying.into_iter().filter(|a| !answered.is_empty() && a.nodes.matches(&self.node.labels));
        let names =
            |set: &std::collections::BTreeSet<Arc<str>>| set.iter().map(ToString::to_string).collect();
        Layer2Explanation {
            addresses: texts(&answered),
            interfaces: decision.interfaces.as_ref().filter(|_| !answered.is_empty()).map(names),
            advertisements: here.map(|a| a.name.to_string()).collect(),
            not_announced: self.why_not(Protocol::Layer2, None, decision.addresses),
        }
    }

    /// The addresses that have a reason, by reasons in the order in which those are judged.
    fn why_not(
        &self,
        protocol: Protocol,
        peer: Option<&Peer>,
        mut left: Vec<(IpAddr, Option<Reason>)>,
    ) -> Vec<WhyNot> {
        let mut all = Vec::new();
        while let Some(reason) = Reason::first(protocol, left.iter().filter_map(|(_, r)| *r)) {
            let (these, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, r)| *r == Some(reason));
            left = others;
            let ips: Vec<IpAddr> = these.into_iter().map(|(ip, _)| ip).collect();
            let case = Case {
                decisions: self.decisions,
                context: self.context,
                subject: self.subject,
                node: self.node,
                protocol,
                peer,
                ips: &ips,
                reason,
            };
            all.push(WhyNot {
                reason: reason.code(),
                ips: texts(&ips),
                message: why::why(&case),
                remedy: remedy::remedy(&case),
            });
        }
        all
    }
}
