use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Decisions, Reason};
use crate::alloc::Allocation;
use crate::config::L2Advertisement;
use crate::types::{NodeName, ServiceKey};
use crate::world::{Node, Service};

/// What a node does with a service's addresses on layer 2.
#[derive(Clone, Debug)]
pub struct Layer2Decision {
    /// Each address of the service, with the reason why the node doesn't answer for it.
    pub addresses: Vec<(IpAddr, Option<Reason>)>,
    /// The interfaces that answer; `None`: any.
    pub interfaces: Option<BTreeSet<Arc<str>>>,
}

/// How the node that answers for an address is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The service that elects, for all that share the address.
    pub service: ServiceKey,
    /// The address whose hash decides between nodes of equal score.
    pub electing: IpAddr,
    /// The nodes that may win, in the order of the nodes; never empty.
    pub candidates: Vec<Candidate>,
}

impl Election {
    /// The winner: the highest score, then the lowest hash.
    pub fn owner(&self) -> Option<&Candidate> {
        self.candidates.iter().min_by_key(|c| (std::cmp::Reverse(c.score), c.hash))
    }
}

/// A node that may answer for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub node: NodeName,
    /// The weights of all preferences that match it.
    pub score: u64,
    /// The SHA-256 of `node#address`, as in MetalLB bit by bit.
    pub hash: [u8; 32],
}

impl<'a> Decisions<'a> {
    /// What `node` does with `service` on layer 2.
    pub fn layer2(&self, service: &Service, node: &Node) -> Layer2Decision {
        let Some(allocation) = self.allocator.get(&service.key) else {
            return Layer2Decision { addresses: vec![], interfaces: None };
        };
        let applying = self.l2_applying(service, allocation);
        let here: Vec<&L2Advertisement> =
            applying.iter().copied().filter(|a| a.nodes.matches(&node.labels)).collect();
        let addresses = allocation
            .ips
            .iter()
            .map(|ip| {
                let reason = self.not_on_any_node(service, allocation, &applying, *ip).or_else(|| {
                    if here.is_empty() {
                        Some(Reason::NoMatchingAdvertisement)
                    } else if node.network_unavailable {
                        Some(Reason::NodeNetworkUnavailable)
                    } else if self.excluded(node) {
                        Some(Reason::NodeLabeledExcludeBalancers)
                    } else if service.local && !self.local_endpoint(&service.key, *ip, node) {
                        Some(Reason::NoLocalEndpoints)
                    } else {
                        (self.layer2_owner(*ip).as_ref() != Some(&node.name)).then_some(Reason::NotOwner)
                    }
                });
                (*ip, reason)
            })
            .collect();
        Layer2Decision { addresses, interfaces: interfaces(&here) }
    }

    /// The node that answers for an address.
    pub fn layer2_owner(&self, address: IpAddr) -> Option<NodeName> {
        self.layer2_election(address)?.owner().map(|c| c.node.clone())
    }

    /// How that node is found: of the services that share the address, the first by name that has candidates elects for all.
    pub fn layer2_election(&self, address: IpAddr) -> Option<Election> {
        self.users(address).into_iter().find_map(|service| self.elect(service, address))
    }

    /// The election that `service` holds for `address`; `None` where it has no candidate.
    fn elect(&self, service: &Service, address: IpAddr) -> Option<Election> {
        let allocation = self.allocator.get(&service.key)?;
        let applying = self.l2_applying(service, allocation);
        if self.not_on_any_node(service, allocation, &applying, address).is_some() {
            return None;
        }
        let nodes: Vec<&Arc<Node>> = self
            .live_nodes()
            .filter(|n| !n.network_unavailable && !self.excluded(n))
            .filter(|n| applying.iter().any(|a| a.nodes.matches(&n.labels)))
            .collect();
        let election = |electing, nodes: Vec<&Arc<Node>>| {
            let candidates: Vec<Candidate> =
                nodes.into_iter().map(|n| candidate(n, &applying, electing)).collect();
            let service = service.key.clone();
            (!candidates.is_empty()).then_some(Election { service, electing, candidates })
        };
        if !service.local {
            return election(*allocation.ips.first()?, nodes);
        }
        // MetalLB: elects by the first address only, so that an address with endpoints can be dark.
        allocation.ips.iter().copied().find_map(|electing| {
            let has_endpoint = |n: &&Arc<Node>| self.local_endpoint(&service.key, electing, n);
            election(electing, nodes.iter().copied().filter(has_endpoint).collect())
        })
    }

    /// The advertisements that cover the pool and select the service, on whatever node.
    pub fn l2_applying(&self, service: &Service, allocation: &Allocation) -> Vec<&'a L2Advertisement> {
        self.l2_covering(allocation.pool.as_deref()).filter(|a| a.services.matches(&service.labels)).collect()
    }

    /// The first reason that keeps an address off every node.
    fn not_on_any_node(
        &self,
        service: &Service,
        allocation: &Allocation,
        applying: &[&L2Advertisement],
        address: IpAddr,
    ) -> Option<Reason> {
        if !allocation.announce {
            Some(Reason::IpNotAllowed)
        } else if self.l2_covering(allocation.pool.as_deref()).next().is_none() {
            Some(Reason::NoAdvertisement)
        } else if !self.any_endpoint(&service.key, address) {
            Some(Reason::NoEndpoints)
        } else if service.sharing_key().is_some() && applying.iter().any(|a| !a.services.0.is_empty()) {
            Some(Reason::SharedIpWithServiceSelector)
        } else {
            None
        }
    }
}

/// The union of the advertisements' interfaces; any interface, where one of them names none.
fn interfaces(here: &[&L2Advertisement]) -> Option<BTreeSet<Arc<str>>> {
    if here.iter().any(|a| a.interfaces.is_empty()) {
        return None;
    }
    Some(here.iter().flat_map(|a| a.interfaces.iter().cloned()).collect())
}

fn candidate(node: &Node, applying: &[&L2Advertisement], electing: IpAddr) -> Candidate {
    let hash = Sha256::digest(format!("{}#{electing}", node.name)).into();
    Candidate { node: node.name.clone(), score: score(node, applying), hash }
}

/// The weights of all preferences that match a node, of the advertisements that select it.
fn score(node: &Node, applying: &[&L2Advertisement]) -> u64 {
    let eligible = applying.iter().filter(|a| a.nodes.matches(&node.labels));
    eligible
        .flat_map(|a| &a.preferred_nodes)
        .filter(|(_, preference)| preference.matches(&node.labels))
        .fold(0, |sum, (weight, _)| sum.saturating_add(u64::from(*weight)))
}
