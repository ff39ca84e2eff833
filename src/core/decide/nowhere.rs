use super::{Decisions, Protocol, Reason};
use crate::world::Service;

impl Decisions<'_> {
    /// Why no node at all announces a service that has an address, for each protocol that covers its pool; without any such, for
    /// BGP. Nothing: a node announces it, as far as is decided, or it has no address.
    ///
    /// Of the reasons of several nodes the one that is judged last is given: it is that of the node that came closest.
    pub fn nowhere(&self, service: &Service) -> Vec<(Protocol, Reason)> {
        let Some(allocation) = self.allocator.get(&service.key).filter(|a| !a.ips.is_empty()) else {
            return vec![];
        };
        let pool = allocation.pool.as_deref();
        let (bgp, layer2) =
            (self.bgp_covering(pool).next().is_some(), self.l2_covering(pool).next().is_some());
        let mut reasons = Vec::new();
        if bgp || !layer2 {
            let mut all = Vec::new();
            for node in self.nodes.iter().filter(|node| !self.options.down.contains(&node.name)) {
                match self.bgp(service, node).reason_everywhere(self.peers_of(node)) {
                    Some(reason) => all.push(reason),
                    None => return vec![],
                }
            }
            reasons.extend(Reason::last(Protocol::Bgp, all).map(|reason| (Protocol::Bgp, reason)));
        }
        if layer2 {
            let mut all = Vec::new();
            for node in self.live_nodes() {
                for (_, reason) in self.layer2(service, node).addresses {
                    match reason {
                        Some(reason) => all.push(reason),
                        None => return vec![],
                    }
                }
            }
            // Without anybody alive there is no reason, and nothing to tell.
            reasons.extend(Reason::last(Protocol::Layer2, all).map(|reason| (Protocol::Layer2, reason)));
        }
        reasons
    }
}
