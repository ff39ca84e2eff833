//! Small builders for the tests.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Allocation, Allocator, Mode};
use crate::config::{Config, Pool, PoolAllocation, PoolState};
use crate::types::{AddressRange, AnyOf, Family, FamilySet, Operator, Requirement, Selector, ServiceKey};
use crate::world::{
    AllocationEntry, Allocations, IpFamilyPolicy, Object, ObjectId, Service, ServicePort, World,
};

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

pub(super) fn ips(list: &str) -> Vec<IpAddr> {
    list.split_whitespace().map(ip).collect()
}

pub(super) fn key(name: &str) -> ServiceKey {
    match name.split_once('/') {
        Some((namespace, name)) => ServiceKey::new(namespace, name),
        None => ServiceKey::new("default", name),
    }
}

/// An accepted pool: prefixes, ranges and single addresses, separated by blanks.
pub(super) fn pool(name: &str, addresses: &str) -> Pool {
    let ranges = addresses
        .split_whitespace()
        .map(|entry| {
            let (first, last) = match (entry.split_once('-'), entry.parse::<ipnet::IpNet>()) {
                (Some((first, last)), _) => (ip(first), ip(last)),
                (None, Ok(net)) => (net.network(), net.broadcast()),
                (None, Err(_)) => (ip(entry), ip(entry)),
            };
            AddressRange::new(first, last).unwrap_or_else(|| panic!("{entry} is no range"))
        })
        .collect();
    Pool {
        name: name.into(),
        created: None,
        labels: Default::default(),
        state: PoolState::Accepted,
        ranges,
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    }
}

pub(super) trait PoolExt: Sized {
    fn with(self, edit: impl FnOnce(&mut Pool)) -> Self;
    fn manual(self) -> Self {
        self.with(|p| p.auto_assign = false)
    }
    fn state(self, state: PoolState) -> Self {
        self.with(|p| p.state = state)
    }
    fn no_buggy(self) -> Self {
        self.with(|p| p.avoid_buggy_ips = true)
    }
    /// Kept for namespaces (none named: all) and services with the label `app`.
    fn pinned(self, priority: u64, namespaces: &[&str], app: Option<&str>) -> Self {
        let namespaces = (!namespaces.is_empty()).then(|| namespaces.iter().map(|n| Arc::from(*n)).collect());
        let services = AnyOf(app.map(selector).into_iter().collect());
        self.with(|p| {
            p.allocation = Some(PoolAllocation { priority, namespaces, for_nobody: false, services })
        })
    }
    fn for_nobody(self) -> Self {
        self.with(|p| {
            if let Some(a) = &mut p.allocation {
                a.for_nobody = true;
            }
        })
    }
}

impl PoolExt for Pool {
    fn with(mut self, edit: impl FnOnce(&mut Pool)) -> Self {
        edit(&mut self);
        self
    }
}

fn selector(app: &str) -> Selector {
    let operator = Operator::In(vec![app.into()]);
    Selector {
        requirements: vec![Requirement { path: "matchLabels[app]".into(), key: "app".into(), operator }],
    }
}

/// A single-stack IPv4 service with port TCP/80, so many seconds old at the epoch.
pub(super) fn service(name: &str, created: i64) -> Service {
    Service {
        key: key(name),
        created: jiff::Timestamp::from_second(created).ok(),
        labels: Default::default(),
        load_balancer: true,
        class: None,
        annotations: Arc::default(),
        load_balancer_ip: None,
        families: Ok(FamilySet::only(Family::V4)),
        first_family: Family::V4,
        ip_family_policy: IpFamilyPolicy::SingleStack,
        local: false,
        health_check_node_port: None,
        selector: Default::default(),
        ports: ServicePort::list([port("TCP/80")]),
        ingress: Arc::default(),
    }
}

fn port(text: &str) -> ServicePort {
    let (protocol, port) = text.split_once('/').unwrap_or(("TCP", text));
    ServicePort { protocol: protocol.to_owned().into(), port: port.parse().unwrap_or(0) }
}

pub(super) trait ServiceExt: Sized {
    fn with(self, edit: impl FnOnce(&mut Service)) -> Self;
    fn v6(self) -> Self {
        self.with(|s| {
            s.families = Ok(FamilySet::only(Family::V6));
            s.first_family = Family::V6;
        })
    }
    fn dual(self, policy: IpFamilyPolicy) -> Self {
        self.with(|s| {
            s.families = Ok(FamilySet::BOTH);
            s.first_family = Family::V4;
            s.ip_family_policy = policy;
        })
    }
    fn prefer(self) -> Self {
        self.dual(IpFamilyPolicy::PreferDualStack)
    }
    fn require(self) -> Self {
        self.dual(IpFamilyPolicy::RequireDualStack)
    }
    fn holds(self, list: &str) -> Self {
        self.with(|s| s.ingress = ips(list).into())
    }
    fn asks(self, list: &str) -> Self {
        self.with(|s| Arc::make_mut(&mut s.annotations).load_balancer_ips = Some(list.into()))
    }
    fn from(self, pool: &str) -> Self {
        self.with(|s| Arc::make_mut(&mut s.annotations).address_pool = Some(pool.into()))
    }
    fn share(self, key: &str) -> Self {
        self.with(|s| Arc::make_mut(&mut s.annotations).allow_shared_ip = Some(key.into()))
    }
    fn ports(self, list: &str) -> Self {
        self.with(|s| s.ports = ServicePort::list(list.split_whitespace().map(port)))
    }
    fn app(self, app: &str) -> Self {
        self.with(|s| {
            s.labels = s.labels.with("app", app);
        })
    }
    fn local(self, app: &str) -> Self {
        self.with(|s| {
            s.local = true;
            s.selector = s.selector.with("app", app);
        })
    }
}

impl ServiceExt for Service {
    fn with(mut self, edit: impl FnOnce(&mut Service)) -> Self {
        edit(&mut self);
        self
    }
}

pub(super) fn config(pools: impl IntoIterator<Item = Pool>) -> Arc<Config> {
    let mut pools: Vec<Pool> = pools.into_iter().collect();
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    Arc::new(Config { pools, ..Config::default() })
}

/// A world and an allocator beside it.
pub(super) struct Running {
    pub(super) world: World,
    pub(super) allocator: Allocator,
}

impl Running {
    pub(super) fn new(
        mode: Mode,
        pools: impl IntoIterator<Item = Pool>,
        services: impl IntoIterator<Item = Service>,
    ) -> Running {
        let mut running = Running { world: World::default(), allocator: Allocator::new(mode, None) };
        for service in services {
            running.world.apply(Object::Service(service));
        }
        running.reconfigure(pools);
        running
    }

    pub(super) fn reconfigure(&mut self, pools: impl IntoIterator<Item = Pool>) -> Vec<ServiceKey> {
        self.allocator.reconfigure(config(pools), &self.world)
    }

    pub(super) fn apply(&mut self, service: Service) -> Vec<ServiceKey> {
        let key = service.key.clone();
        self.world.apply(Object::Service(service));
        self.allocator.update(&self.world, &[key])
    }

    pub(super) fn delete(&mut self, name: &str) -> Vec<ServiceKey> {
        self.world.delete(&ObjectId::Service(key(name)));
        self.allocator.update(&self.world, &[key(name)])
    }

    /// Sets what the only Allocations object says.
    pub(super) fn allocations(&mut self, entries: &[(&str, &str)]) -> Vec<ServiceKey> {
        let before: Vec<ServiceKey> =
            self.world.allocations().flat_map(|a| a.entries.iter().map(|e| e.service.clone())).collect();
        let entries: Vec<AllocationEntry> = entries
            .iter()
            .map(|(name, list)| AllocationEntry { service: key(name), ips: ips(list) })
            .collect();
        let changed: Vec<ServiceKey> =
            before.into_iter().chain(entries.iter().map(|e| e.service.clone())).collect();
        self.world.apply(Object::Allocations(Allocations {
            namespace: "default".into(),
            name: "a".into(),
            entries,
        }));
        self.allocator.update(&self.world, &changed)
    }

    pub(super) fn get(&self, name: &str) -> &Allocation {
        self.allocator.get(&key(name)).unwrap_or_else(|| panic!("{name} isn't managed"))
    }

    /// `address address @pool !` of a service: with `!` where there is an error.
    pub(super) fn show(&self, name: &str) -> String {
        let allocation = self.get(name);
        let mut parts: Vec<String> = allocation.ips.iter().map(IpAddr::to_string).collect();
        parts.extend(allocation.pool.as_ref().map(|p| format!("@{p}")));
        parts.extend(allocation.error.as_ref().map(|_| "!".into()));
        parts.join(" ")
    }

    pub(super) fn error(&self, name: &str) -> &str {
        self.get(name).error.as_deref().unwrap_or_default()
    }
}

/// From scratch: given pools and services, each service's address and pool as [`Running::show`] writes them.
pub(super) fn check(
    pools: impl IntoIterator<Item = Pool>,
    services: impl IntoIterator<Item = Service>,
    expected: &[(&str, &str)],
) {
    let running = Running::new(Mode::Allocate, pools, services);
    for (name, show) in expected {
        assert_eq!(running.show(name), *show, "{name}: {:?}", running.get(name));
    }
}
