use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::{Decisions, Disagreement, Reason, merge};
use crate::config::{BgpAdvertisement, Peer};
use crate::types::{Copies, Family, FamilySet, GroupId, RouteAttributes, ServiceKey};
use crate::world::Node;

/// A route of a group that has to be announced with other attributes, or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// The group.
    pub group: GroupId,
    /// The prefix, host bits zero.
    pub prefix: IpNet,
    /// The attributes; `None`: withdraw.
    pub attributes: Option<Arc<RouteAttributes>>,
}

/// A route of a group, and what makes it exist.
#[derive(Clone, Debug)]
pub struct Route {
    /// What is announced with it.
    pub attributes: Arc<RouteAttributes>,
    /// Index of an advertisement, and a service that it announces the route for; sorted, never empty. Nearly all routes
    /// have one, which a map would spend half a kilobyte on.
    contributions: Vec<(usize, ServiceKey)>,
}

impl Route {
    /// The services whose announcement makes it exist, sorted.
    pub fn services(&self) -> BTreeSet<&ServiceKey> {
        self.contributions.iter().map(|(_, service)| service).collect()
    }

    fn advertisements<'a>(&self, decisions: &Decisions<'a>) -> impl Iterator<Item = &'a BgpAdvertisement> {
        let by_advertisement = self.contributions.chunk_by(|a, b| a.0 == b.0);
        let indices = by_advertisement.filter_map(|same| same.first()).map(|(i, _)| *i);
        indices.filter_map(|i| decisions.config.bgp_advertisements.get(i))
    }
}

/// What peers with equal needs get: those that the same advertisements select, all of them iBGP or none.
#[derive(Clone, Debug)]
struct Group {
    id: GroupId,
    ibgp: bool,
    /// Indices into the configuration's BGP advertisements.
    advertisements: BTreeSet<usize>,
    routes: BTreeMap<IpNet, Route>,
}

/// What one node announces over BGP, kept up to date service by service.
///
/// [`rebuild`](NodeRoutes::rebuild) follows a change of configuration, node or peers; [`update`](NodeRoutes::update) a
/// change of one service and costs that service's work.
#[derive(Clone, Debug, Default)]
pub struct NodeRoutes {
    groups: Vec<Group>,
    peers: BTreeMap<Arc<str>, GroupId>,
    /// What each service contributes, whichever group takes it.
    by_service: HashMap<ServiceKey, Box<[(IpNet, usize)]>>,
    /// For each service with addresses why the node announces it to no peer; `None`: it does.
    reasons: HashMap<ServiceKey, Option<Reason>>,
    /// Which peers share a group -> its name; kept over rebuilds, so that sessions keep their group.
    names: HashMap<Vec<Arc<str>>, GroupId>,
    /// Nearly all routes have equal attributes.
    attributes: Copies<RouteAttributes>,
    /// Services that aren't announced yet, whatever is decided: see [`hold`](NodeRoutes::hold).
    held: HashSet<ServiceKey>,
    visited: u64,
}

impl NodeRoutes {
    /// Everything again. What has to be sent is the whole of [`groups`](NodeRoutes::groups).
    pub fn rebuild(&mut self, decisions: &Decisions<'_>, node: &Node) {
        let mut partition: BTreeMap<(bool, BTreeSet<usize>), Vec<&Peer>> = BTreeMap::new();
        for peer in decisions.peers_of(node) {
            let all = decisions.config.bgp_advertisements.iter().enumerate();
            let advertisements = all.filter(|(_, a)| a.selects_peer(&peer.name)).map(|(i, _)| i).collect();
            partition.entry((peer.is_ibgp(), advertisements)).or_default().push(peer);
        }
        self.groups.clear();
        self.peers.clear();
        self.by_service.clear();
        self.reasons.clear();
        let mut names = HashMap::new();
        let mut next = self.names.values().map(|id| id.0.saturating_add(1)).max().unwrap_or(0);
        for ((ibgp, advertisements), peers) in partition {
            let key: Vec<Arc<str>> = peers.iter().map(|p| p.name.clone()).collect();
            let id = self.names.get(&key).copied().unwrap_or_else(|| {
                let fresh = GroupId(next);
                next = next.saturating_add(1);
                fresh
            });
            self.peers.extend(key.iter().map(|name| (name.clone(), id)));
            names.insert(key, id);
            self.groups.push(Group { id, ibgp, advertisements, routes: BTreeMap::new() });
        }
        self.names = names;
        for (service, _) in decisions.allocator.iter() {
            self.update(decisions, node, service);
        }
    }

    /// One service again; what has to be sent for it. A service that isn't there any more announces nothing.
    pub fn update(&mut self, decisions: &Decisions<'_>, node: &Node, key: &ServiceKey) -> Vec<RouteChange> {
        self.visited = self.visited.saturating_add(1);
        let mut new = Vec::new();
        self.reasons.remove(key);
        if let Some(service) = decisions.world.service(key) {
            let decision = decisions.bgp(service, node);
            let held = self.held.contains(key);
            if !decision.addresses.is_empty() {
                let reason = decision.reason_everywhere(decisions.peers_of(node));
                self.reasons.insert(key.clone(), reason.or(held.then_some(Reason::NoLocalEndpoints)));
            }
            for (address, reason) in &decision.addresses {
                if reason.is_none() && !held {
                    new.extend(decision.advertisements.iter().map(|(i, a)| (a.prefix(*address), *i)));
                }
            }
            new.sort_unstable();
            new.dedup();
        }
        let old = if new.is_empty() {
            self.by_service.remove(key).unwrap_or_default()
        } else {
            self.by_service.insert(key.clone(), new.as_slice().into()).unwrap_or_default()
        };
        let mut changes = Vec::new();
        for group in &mut self.groups {
            group.contribute(decisions, key, (&old, &new), &mut self.attributes, &mut changes);
        }
        changes
    }

    /// Announces a service to nobody, as if it had no local endpoints, from the next [`update`](NodeRoutes::update) on.
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

    /// The prefixes that each peer is to have for a service; peers without any are left out.
    pub fn prefixes(&self, key: &ServiceKey) -> BTreeMap<&Arc<str>, Vec<IpNet>> {
        let contributions = self.by_service.get(key).map(|all| &**all).unwrap_or_default();
        let mut all: BTreeMap<&Arc<str>, Vec<IpNet>> = BTreeMap::new();
        if contributions.is_empty() {
            return all;
        }
        for (peer, id) in &self.peers {
            let Some(group) = self.groups.iter().find(|g| g.id == *id) else { continue };
            let of_group = contributions.iter().filter(|(_, i)| group.advertisements.contains(i));
            let mut prefixes: Vec<IpNet> = of_group.map(|(prefix, _)| *prefix).collect();
            prefixes.dedup();
            if !prefixes.is_empty() {
                all.insert(peer, prefixes);
            }
        }
        all
    }

    /// The group of each peer of the node, by the peer's name.
    pub fn peers(&self) -> &BTreeMap<Arc<str>, GroupId> {
        &self.peers
    }

    /// The groups with all their routes.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &BTreeMap<IpNet, Route>)> {
        self.groups.iter().map(|g| (g.id, &g.routes))
    }

    /// The routes of one group.
    pub fn routes(&self, id: GroupId) -> Option<&BTreeMap<IpNet, Route>> {
        self.groups.iter().find(|g| g.id == id).map(|g| &g.routes)
    }

    /// Why the node announces a service to no peer, `Some(None)`: it announces it; `None`: the service has no address.
    pub fn reason(&self, key: &ServiceKey) -> Option<Option<Reason>> {
        self.reasons.get(key).copied()
    }

    /// [`reason`](NodeRoutes::reason) of every service that has an address.
    pub fn reasons(&self) -> &HashMap<ServiceKey, Option<Reason>> {
        &self.reasons
    }

    /// The advertisements whose values lost against an older one's on some route that a peer of the node gets.
    pub fn disagreements(&self, decisions: &Decisions<'_>) -> BTreeSet<Disagreement> {
        let mut found = BTreeSet::new();
        for group in &self.groups {
            let peers = self.peers.iter().filter(|(_, id)| **id == group.id);
            let families: Vec<FamilySet> =
                peers.filter_map(|(name, _)| decisions.config.peer(name)).map(Peer::families).collect();
            for (prefix, route) in &group.routes {
                if families.iter().any(|f| f.contains(Family::of(prefix.addr()))) {
                    merge(route.advertisements(decisions), group.ibgp, |d| {
                        found.insert(d);
                    });
                }
            }
        }
        found
    }

    /// How many services were visited since the start.
    pub fn visited(&self) -> u64 {
        self.visited
    }
}

/// A prefix, and the place of the advertisement that it comes from.
type Contributed = (IpNet, usize);

impl Group {
    fn contribute(
        &mut self,
        decisions: &Decisions<'_>,
        service: &ServiceKey,
        (old, new): (&[Contributed], &[Contributed]),
        known: &mut Copies<RouteAttributes>,
        changes: &mut Vec<RouteChange>,
    ) {
        let mut touched = BTreeSet::new();
        let mut created = BTreeSet::new();
        for (prefix, i) in old.iter().filter(|o| self.advertisements.contains(&o.1) && !new.contains(o)) {
            let Some(route) = self.routes.get_mut(prefix) else { continue };
            touched.insert(*prefix);
            let contribution = (*i, service.clone());
            if let Ok(at) = route.contributions.binary_search(&contribution) {
                route.contributions.remove(at);
            }
        }
        for (prefix, i) in new.iter().filter(|n| self.advertisements.contains(&n.1) && !old.contains(n)) {
            touched.insert(*prefix);
            let route = self.routes.entry(*prefix).or_insert_with(|| {
                created.insert(*prefix);
                Route { attributes: Arc::default(), contributions: Vec::with_capacity(1) }
            });
            let contribution = (*i, service.clone());
            if let Err(at) = route.contributions.binary_search(&contribution) {
                route.contributions.insert(at, contribution);
            }
        }
        for prefix in touched {
            let Some(route) = self.routes.get_mut(&prefix) else { continue };
            if route.contributions.is_empty() {
                self.routes.remove(&prefix);
                changes.push(RouteChange { group: self.id, prefix, attributes: None });
                continue;
            }
            let merged = merge(route.advertisements(decisions), self.ibgp, |_| {});
            if created.contains(&prefix) || *route.attributes != merged {
                route.attributes = known.share(Arc::new(merged));
                changes.push(RouteChange {
                    group: self.id,
                    prefix,
                    attributes: Some(route.attributes.clone()),
                });
            }
        }
    }
}
