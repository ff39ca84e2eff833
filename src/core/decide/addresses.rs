use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{Decisions, Reason};
use crate::types::{InterfaceSet, ServiceKey};
use crate::world::Node;

/// An address that the node has to answer for on layer 2, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressChange {
    /// The address.
    pub address: IpAddr,
    /// The interfaces that answer; `None`: none, the address isn't this node's.
    pub interfaces: Option<InterfaceSet>,
}

/// What one node answers for on layer 2, kept up to date service by service, as [`NodeRoutes`](super::NodeRoutes) keeps
/// its routes. Services that no L2Advertisement covers cost nothing here.
#[derive(Clone, Debug, Default)]
pub struct NodeAddresses {
    /// The services for whose sake the node answers for an address, and where; never empty.
    owned: BTreeMap<IpAddr, BTreeMap<ServiceKey, InterfaceSet>>,
    by_service: HashMap<ServiceKey, Record>,
    /// Services whose addresses aren't answered for yet, whatever is decided: see [`hold`](NodeAddresses::hold).
    held: HashSet<ServiceKey>,
    visited: u64,
}

/// What a service's addresses came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    addresses: Vec<IpAddr>,
    /// Why the node answers for none of them.
    reason: Option<Reason>,
}

/// What followed from looking at services again.
#[derive(Clone, Debug, Default)]
pub struct AddressChanges {
    /// The addresses that differ.
    pub addresses: Vec<AddressChange>,
    /// The services whose [`reason`](NodeAddresses::reason) differs.
    pub services: BTreeSet<ServiceKey>,
}

impl NodeAddresses {
    /// Everything again; `None`: there is no such node (any more).
    pub fn rebuild(&mut self, decisions: &Decisions<'_>, node: Option<&Node>) -> AddressChanges {
        let mut old = std::mem::take(self);
        self.visited = old.visited;
        self.held = std::mem::take(&mut old.held);
        if let Some(node) = node {
            for (service, _) in decisions.allocator.iter() {
                self.look_at(decisions, node, service);
            }
        }
        let addresses: BTreeSet<&IpAddr> = old.owned.keys().chain(self.owned.keys()).collect();
        let changed = addresses.into_iter().map(|a| (*a, old.interfaces(*a), self.interfaces(*a)));
        let services = old.by_service.keys().chain(self.by_service.keys());
        let differs = |key: &&ServiceKey| old.reason(key) != self.reason(key);
        AddressChanges {
            addresses: changed.filter_map(|(address, old, new)| change(address, old, new)).collect(),
            services: services.filter(differs).cloned().collect(),
        }
    }

    /// One service again, and those that share an address with it: they elect for one another.
    pub fn update(&mut self, decisions: &Decisions<'_>, node: &Node, key: &ServiceKey) -> AddressChanges {
        let old = self.by_service.get(key).map(|record| record.addresses.clone()).unwrap_or_default();
        let new = decisions.allocator.get(key).map(|a| &*a.ips).unwrap_or_default();
        let users = old.iter().chain(new).flat_map(|ip| decisions.allocator.users_of(*ip));
        let services: BTreeSet<ServiceKey> = users.chain([key]).cloned().collect();
        // All that these services had and have: a sharer may have got further addresses in the same batch.
        let mut touched: BTreeSet<IpAddr> = BTreeSet::new();
        for service in &services {
            let record = self.by_service.get(service).map(|record| record.addresses.as_slice());
            let held = decisions.allocator.get(service).map(|a| &*a.ips);
            touched.extend(record.into_iter().chain(held).flatten());
        }
        let before: Vec<(IpAddr, Option<InterfaceSet>)> =
            touched.iter().map(|a| (*a, self.interfaces(*a))).collect();
        let mut changes = AddressChanges::default();
        for service in &services {
            let reason = self.reason(service);
            self.look_at(decisions, node, service);
            if self.reason(service) != reason {
                changes.services.insert(service.clone());
            }
        }
        let after = before.into_iter().map(|(a, old)| (a, old, self.interfaces(a)));
        changes.addresses = after.filter_map(|(a, old, new)| change(a, old, new)).collect();
        changes
    }

    /// Answers for no address of a service, as if it had no local endpoints, from the next [`update`](Self::update) on.
    pub fn hold(&mut self, key: ServiceKey) {
        self.held.insert(key);
    }

    /// Ends that; whether it was so.
    pub fn release(&mut self, key: &ServiceKey) -> bool {
        self.held.remove(key)
    }

    /// Whether a service is held back.
    pub fn is_held(&self, key: &ServiceKey) -> bool {
        self.held.contains(key)
    }

    /// The interfaces that answer for an address; `None`: none.
    pub fn interfaces(&self, address: IpAddr) -> Option<InterfaceSet> {
        self.owned.get(&address)?.values().cloned().reduce(InterfaceSet::union)
    }

    /// All addresses that the node answers for, and where.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, InterfaceSet)> {
        self.owned.keys().filter_map(|address| Some((*address, self.interfaces(*address)?)))
    }

    /// The services for whose sake the node answers for an address.
    pub fn services(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.owned.get(&address).into_iter().flat_map(BTreeMap::keys)
    }

    /// Why the node answers for no address of a service, `Some(None)`: it answers for one at least; `None`: the service has
    /// no address, or no L2Advertisement covers it.
    pub fn reason(&self, key: &ServiceKey) -> Option<Option<Reason>> {
        self.by_service.get(key).map(|record| record.reason)
    }

    /// [`reason`](NodeAddresses::reason) of every service that has one.
    pub fn reasons(&self) -> impl Iterator<Item = (&ServiceKey, Option<Reason>)> {
        self.by_service.iter().map(|(key, record)| (key, record.reason))
    }

    /// How many services were looked at so far.
    pub fn visited(&self) -> u64 {
        self.visited
    }

    /// Replaces what is known of a service.
    fn look_at(&mut self, decisions: &Decisions<'_>, node: &Node, key: &ServiceKey) {
        self.visited = self.visited.saturating_add(1);
        if let Some(old) = self.by_service.remove(key) {
            for address in old.addresses {
                self.disown(address, key);
            }
        }
        let Some((mut record, mut owned)) = decide(decisions, node, key) else { return };
        if self.held.contains(key) {
            owned.clear();
            record.reason = record.reason.or(Some(Reason::NoLocalEndpoints));
        }
        for (address, interfaces) in owned {
            self.owned.entry(address).or_default().insert(key.clone(), interfaces);
        }
        self.by_service.insert(key.clone(), record);
    }

    fn disown(&mut self, address: IpAddr, key: &ServiceKey) {
        if let Some(services) = self.owned.get_mut(&address) {
            services.remove(key);
            if services.is_empty() {
                self.owned.remove(&address);
            }
        }
    }
}

/// What is to be remembered of a service, and what the node answers for; `None`: nothing.
fn decide(
    decisions: &Decisions<'_>,
    node: &Node,
    key: &ServiceKey,
) -> Option<(Record, Vec<(IpAddr, InterfaceSet)>)> {
    let service: &Arc<_> = decisions.world.service(key)?;
    let allocation = decisions.allocator.get(key).filter(|allocation| !allocation.ips.is_empty())?;
    decisions.l2_covering(allocation.pool.as_deref()).next()?;
    let decision = decisions.layer2(service, node);
    let interfaces = decision.interfaces.map_or(InterfaceSet::Any, InterfaceSet::Only);
    let answered = decision.addresses.iter().filter(|(_, reason)| reason.is_none());
    let owned: Vec<(IpAddr, InterfaceSet)> = answered.map(|(ip, _)| (*ip, interfaces.clone())).collect();
    let reasons = decision.addresses.iter().filter_map(|(_, reason)| *reason);
    let reason = if owned.is_empty() { Reason::first(super::Protocol::Layer2, reasons) } else { None };
    let addresses = decision.addresses.iter().map(|(ip, _)| *ip).collect();
    Some((Record { addresses, reason }, owned))
}

fn change(address: IpAddr, old: Option<InterfaceSet>, new: Option<InterfaceSet>) -> Option<AddressChange> {
    (old != new).then_some(AddressChange { address, interfaces: new })
}
