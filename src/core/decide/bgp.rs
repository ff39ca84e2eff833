use std::net::IpAddr;

use super::{Decisions, Protocol, Reason};
use crate::config::{BgpAdvertisement, Peer, Pool};
use crate::types::Family;
use crate::world::{Node, Service};

/// What a node does with a service's addresses over BGP.
#[derive(Clone, Debug)]
pub struct BgpDecision<'a> {
    /// The advertisements that apply, with their index in the configuration: they cover the pool and select node and
    /// service. Empty where `addresses` says why.
    pub advertisements: Vec<(usize, &'a BgpAdvertisement)>,
    /// Each address of the service, with the reason why the node announces it to nobody.
    pub addresses: Vec<(IpAddr, Option<Reason>)>,
}

impl BgpDecision<'_> {
    /// Why an address isn't announced to `peer`; `None`: it is.
    pub fn reason_at(&self, peer: &Peer, address: IpAddr, reason: Option<Reason>) -> Option<Reason> {
        if reason.is_some() {
            return reason;
        }
        if !self.advertisements.iter().any(|(_, a)| a.selects_peer(&peer.name)) {
            return Some(Reason::PeerNotSelected);
        }
        (!peer.families().contains(Family::of(address))).then_some(Reason::AddressFamilyNotCarried)
    }
}

impl BgpDecision<'_> {
    /// The first reason why no address goes to any of `peers`; `None`: one does.
    pub fn reason_everywhere<'p>(&self, peers: impl Iterator<Item = &'p Peer>) -> Option<Reason> {
        let mut reasons: Vec<Reason> = self.addresses.iter().filter_map(|(_, r)| *r).collect();
        let mut any_peer = false;
        for peer in peers {
            any_peer = true;
            for (address, reason) in &self.addresses {
                reasons.push(self.reason_at(peer, *address, *reason)?);
            }
        }
        if !any_peer {
            reasons.push(Reason::NoPeer);
        }
        Reason::first(Protocol::Bgp, reasons)
    }
}

impl<'a> Decisions<'a> {
    /// What `node` does with `service` over BGP. Peers are judged by [`BgpDecision::reason_at`].
    pub fn bgp(&self, service: &Service, node: &Node) -> BgpDecision<'a> {
        let Some(allocation) = self.allocator.get(&service.key) else {
            return BgpDecision { advertisements: vec![], addresses: vec![] };
        };
        let all = |reason| BgpDecision {
            advertisements: vec![],
            addresses: allocation.ips.iter().map(|ip| (*ip, Some(reason))).collect(),
        };
        if !allocation.announce {
            return all(Reason::IpNotAllowed);
        }
        let mut applying: Vec<(usize, &BgpAdvertisement)> =
            self.bgp_covering(allocation.pool.as_deref()).collect();
        if applying.is_empty() {
            return all(Reason::NoAdvertisement);
        }
        applying.retain(|(_, a)| a.nodes.matches(&node.labels));
        if applying.is_empty() {
            return all(Reason::NotOwner);
        }
        applying.retain(|(_, a)| a.services.matches(&service.labels));
        if applying.is_empty() {
            return all(Reason::NoMatchingAdvertisement);
        }
        let pool = allocation.pool.as_deref().and_then(|p| self.config.pool(p));
        if pool.is_some_and(|pool| any_conflict(&applying, pool)) {
            return all(Reason::ConflictingAdvertisements);
        }
        if node.network_unavailable {
            return all(Reason::NodeNetworkUnavailable);
        }
        if self.excluded(node) {
            return all(Reason::NodeLabeledExcludeBalancers);
        }
        let addresses = allocation.ips.iter().map(|ip| {
            let reason = if service.local {
                (!self.local_endpoint(&service.key, *ip, node)).then_some(Reason::NoLocalEndpoints)
            } else {
                (!self.any_endpoint(&service.key, *ip)).then_some(Reason::NoEndpoints)
            };
            (*ip, reason)
        });
        BgpDecision { advertisements: applying, addresses: addresses.collect() }
    }
}

/// Whether two advertisements that apply to one service on one node ask for different values on one prefix, judged by
/// the pool's families as at configuration level.
fn any_conflict(applying: &[(usize, &BgpAdvertisement)], pool: &Pool) -> bool {
    let families = pool.families();
    applying.iter().enumerate().any(|(i, (_, a))| {
        applying.iter().skip(i.saturating_add(1)).any(|(_, b)| {
            let same = a.attributes.local_pref.unwrap_or(0) == b.attributes.local_pref.unwrap_or(0)
                && a.attributes.as_path_prepend == b.attributes.as_path_prepend;
            !same && a.may_meet(b, families)
        })
    })
}
