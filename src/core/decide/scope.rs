use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::alloc::Allocator;
use crate::config::{BgpAdvertisement, Config, L2Advertisement, Peer};
use crate::types::{Family, NodeName, ServiceKey};
use crate::world::{Node, Service, World};

/// What a role's flags say about deciding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether nodes with the exclude label count as all others (`--ignore-exclude-lb`).
    pub ignore_exclude_lb: bool,
    /// Nodes whose speaker is dead.
    pub down: BTreeSet<NodeName>,
    /// Of the others, those whose speaker is alive; `None`: all, as far as anybody knows.
    pub live: Option<BTreeSet<NodeName>>,
}

/// The advertisements that cover one pool, by index into the configuration's lists.
#[derive(Clone, Debug, Default)]
struct PoolAdvertisements {
    bgp: Vec<usize>,
    l2: Vec<usize>,
}

/// Which advertisements cover which pool: built once for a configuration.
#[derive(Clone, Debug, Default)]
pub struct Coverage(HashMap<Arc<str>, PoolAdvertisements>);

impl Coverage {
    /// Of this configuration.
    pub fn of(config: &Config) -> Coverage {
        let mut by_pool: HashMap<Arc<str>, PoolAdvertisements> = HashMap::new();
        for (i, advertisement) in config.bgp_advertisements.iter().enumerate() {
            for pool in &advertisement.pools.0 {
                by_pool.entry(pool.clone()).or_default().bgp.push(i);
            }
        }
        for (i, advertisement) in config.l2_advertisements.iter().enumerate() {
            for pool in &advertisement.pools.0 {
                by_pool.entry(pool.clone()).or_default().l2.push(i);
            }
        }
        Coverage(by_pool)
    }
}

/// World, configuration and allocation at one moment, and what every node does with them.
#[derive(Clone, Copy)]
pub struct Decisions<'a> {
    /// The objects.
    pub world: &'a World,
    /// The configuration.
    pub config: &'a Config,
    /// Its coverage.
    pub coverage: &'a Coverage,
    /// Who holds which address.
    pub allocator: &'a Allocator,
    /// The role's flags.
    pub options: &'a Options,
    /// All nodes there are, down ones too.
    pub nodes: &'a [Arc<Node>],
}

impl<'a> Decisions<'a> {
    /// The nodes whose speaker is alive.
    pub fn live_nodes(&self) -> impl Iterator<Item = &'a Arc<Node>> {
        let Options { down, live, .. } = self.options;
        let is_live = |name: &NodeName| live.as_ref().is_none_or(|live| live.contains(name));
        self.nodes.iter().filter(move |n| !down.contains(&n.name) && is_live(&n.name))
    }

    /// The peers of a node, by name.
    pub fn peers_of(&self, node: &Node) -> impl Iterator<Item = &'a Peer> {
        self.config.peers.iter().filter(move |p| p.nodes.matches(&node.labels))
    }

    /// The BGP advertisements that cover a pool, with their index in the configuration.
    pub fn bgp_covering(&self, pool: Option<&str>) -> impl Iterator<Item = (usize, &'a BgpAdvertisement)> {
        let found = pool.and_then(|p| self.coverage.0.get(p)).map(|p| p.bgp.as_slice()).unwrap_or_default();
        found.iter().filter_map(|i| Some((*i, self.config.bgp_advertisements.get(*i)?)))
    }

    /// The layer-2 advertisements that cover a pool.
    pub fn l2_covering(&self, pool: Option<&str>) -> impl Iterator<Item = &'a L2Advertisement> {
        let found = pool.and_then(|p| self.coverage.0.get(p)).map(|p| p.l2.as_slice()).unwrap_or_default();
        found.iter().filter_map(|i| self.config.l2_advertisements.get(*i))
    }

    /// Whether the node's label keeps load balancer traffic off it.
    pub(super) fn excluded(&self, node: &Node) -> bool {
        !self.options.ignore_exclude_lb && node.excluded()
    }

    /// Whether any endpoint of a service can serve for an address, on any node or none.
    pub fn any_endpoint(&self, service: &ServiceKey, address: IpAddr) -> bool {
        self.world.endpoints(service).any(Family::of(address))
    }

    /// Whether one on `node` can.
    pub fn local_endpoint(&self, service: &ServiceKey, address: IpAddr, node: &Node) -> bool {
        self.world.endpoints(service).on_node(Family::of(address), &node.name)
    }

    /// The services that hold an address, by name.
    pub(super) fn users(&self, address: IpAddr) -> Vec<&'a Arc<Service>> {
        let mut keys: Vec<&ServiceKey> = self.allocator.users_of(address).collect();
        keys.sort();
        keys.into_iter().filter_map(|k| self.world.service(k)).collect()
    }
}
