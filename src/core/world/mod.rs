//! The world as the deciding code sees it: plain summaries of the objects, indexed by name.
//!
//! Sources (a manifest directory, later Kubernetes watches) hand in [`Object`]s; each is folded into the summary that
//! decisions need and the rest is dropped. Everything here is synchronous. What an object's change touches is returned
//! as a [`Change`], so that the engine visits only that.
//!
//! `metallb.io` objects stay raw here ([`ConfigObject`]): whether one is valid depends on others, and is `config`'s to say.

mod common;
mod objects;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

pub use common::Common;
pub use objects::*;

use crate::types::{Family, Labels, NodeName, ObjectKey, ServiceKey};

/// Names an object of any kind that the world keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// A Service.
    Service(ServiceKey),
    /// An EndpointSlice, by namespace and name.
    EndpointSlice(Arc<str>, Arc<str>),
    /// A Node.
    Node(NodeName),
    /// A Namespace.
    Namespace(Arc<str>),
    /// A Secret, by namespace and name.
    Secret(Arc<str>, Arc<str>),
    /// A `metallb.io` object; apart, since such are few and their names long.
    Config(Box<ObjectKey>),
    /// A `ferrolb.io` Allocations object, by namespace and name.
    Allocations(Arc<str>, Arc<str>),
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectId::Service(key) => write!(f, "Service {key}"),
            ObjectId::EndpointSlice(namespace, name) => write!(f, "EndpointSlice {namespace}/{name}"),
            ObjectId::Node(name) => write!(f, "Node {name}"),
            ObjectId::Namespace(name) => write!(f, "Namespace {name}"),
            ObjectId::Secret(namespace, name) => write!(f, "Secret {namespace}/{name}"),
            ObjectId::Config(key) => key.fmt(f),
            ObjectId::Allocations(namespace, name) => write!(f, "Allocations {namespace}/{name}"),
        }
    }
}

/// What a changed object touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One service: itself, its endpoints, or what it holds.
    Service(ServiceKey),
    /// The configuration has to be compiled again: configuration objects, namespaces, nodes, secrets.
    Config,
    /// What several services hold.
    Services(Vec<ServiceKey>),
}

/// The summaries of all objects.
#[derive(Clone, Debug, Default)]
pub struct World {
    services: BTreeMap<ServiceKey, Arc<Service>>,
    slices: BTreeMap<(Arc<str>, Arc<str>), Arc<EndpointSlice>>,
    /// Each by itself, so that a copy of the world costs little.
    endpoints: HashMap<ServiceKey, Arc<Endpoints>>,
    nodes: BTreeMap<NodeName, Arc<Node>>,
    namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    secrets: BTreeMap<(Arc<str>, Arc<str>), Arc<Secret>>,
    config: BTreeMap<ObjectKey, Arc<ConfigObject>>,
    /// In the order in which they were first seen.
    allocations: Vec<Arc<Allocations>>,
    /// What each service is given; of two objects that speak of it the one seen first counts.
    allocated: HashMap<ServiceKey, Arc<[std::net::IpAddr]>>,
    /// How many services there are in a namespace: a namespace that isn't an object exists by its services.
    service_namespaces: BTreeMap<Arc<str>, usize>,
}

/// The usable endpoints of one service, by the family of the slices they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    v4: FamilyEndpoints,
    v6: FamilyEndpoints,
}

/// The usable endpoints of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyEndpoints {
    /// How many slices of the family there are, with or without endpoints.
    slices: u32,
    /// How many endpoints can serve.
    usable: u32,
    /// The nodes that some of them are on, and how many, by name. Mostly few.
    by_node: Vec<(NodeName, u32)>,
}

impl Endpoints {
    /// The endpoints that count for an address of `family`: those of its own family's slices, or, where the service has
    /// slices of one family only, those.
    fn counting_for(&self, family: Family) -> &FamilyEndpoints {
        let (own, other) = match family {
            Family::V4 => (&self.v4, &self.v6),
            Family::V6 => (&self.v6, &self.v4),
        };
        if own.slices == 0 { other } else { own }
    }

    /// Whether any endpoint for an address of `family` can serve, on any node or none.
    pub fn any(&self, family: Family) -> bool {
        self.counting_for(family).usable > 0
    }

    /// Whether any endpoint for an address of `family` on `node` can serve.
    pub fn on_node(&self, family: Family, node: &NodeName) -> bool {
        self.counting_for(family).by_node.binary_search_by(|(name, _)| name.cmp(node)).is_ok()
    }
}

static NO_ENDPOINTS: std::sync::LazyLock<Endpoints> = std::sync::LazyLock::new(Endpoints::default);

impl World {
    /// Adds an object or replaces the one of the same name.
    pub fn apply(&mut self, object: Object) -> Vec<Change> {
        match object {
            Object::Service(mut s) => {
                self.share_key(&mut s.key);
                self.apply_service(Arc::new(s))
            }
            Object::EndpointSlice(mut s) => {
                if let Some(service) = &mut s.service {
                    self.share_key(service);
                }
                self.set_slice((s.namespace.clone(), s.name.clone()), Some(Arc::new(s)))
            }
            Object::Node(n) => {
                let old = self.nodes.insert(n.name.clone(), Arc::new(n.clone()));
                if old.as_deref() == Some(&n) { vec![] } else { vec![Change::Config] }
            }
            Object::Namespace(n) => {
                let old = self.namespaces.insert(n.name.clone(), Arc::new(n.clone()));
                if old.as_deref() == Some(&n) { vec![] } else { vec![Change::Config] }
            }
            Object::Secret(s) => {
                let new = Arc::new(s);
                let old = self.secrets.insert((new.namespace.clone(), new.name.clone()), new.clone());
                if old.as_ref() == Some(&new) { vec![] } else { vec![Change::Config] }
            }
            Object::Config(c) => {
                let new = Arc::new(c);
                let old = self.config.insert(new.key.clone(), new.clone());
                if old.as_ref() == Some(&new) { vec![] } else { vec![Change::Config] }
            }
            Object::Allocations(a) => {
                self.set_allocations(&(a.namespace.clone(), a.name.clone()), Some(Arc::new(a)))
            }
        }
    }

    /// Removes an object; one that isn't there is no change.
    pub fn delete(&mut self, id: &ObjectId) -> Vec<Change> {
        let config = |was_there: bool| if was_there { vec![Change::Config] } else { vec![] };
        match id {
            ObjectId::Service(key) => {
                if self.services.remove(key).is_none() {
                    return vec![];
                }
                let mut changes = vec![Change::Service(key.clone())];
                if let Some(n) = self.service_namespaces.get_mut(&key.namespace) {
                    *n = n.saturating_sub(1);
                    if *n == 0 {
                        self.service_namespaces.remove(&key.namespace);
                        if !self.namespaces.contains_key(&key.namespace) {
                            changes.push(Change::Config);
                        }
                    }
                }
                changes
            }
            ObjectId::EndpointSlice(ns, name) => self.set_slice((ns.clone(), name.clone()), None),
            ObjectId::Node(name) => config(self.nodes.remove(name).is_some()),
            ObjectId::Namespace(name) => config(self.namespaces.remove(name).is_some()),
            ObjectId::Secret(ns, name) => config(self.secrets.remove(&(ns.clone(), name.clone())).is_some()),
            ObjectId::Config(key) => config(self.config.remove(&**key).is_some()),
            ObjectId::Allocations(ns, name) => self.set_allocations(&(ns.clone(), name.clone()), None),
        }
    }

    /// Lets a service's key be the one that it is known by, so that its name is in memory once.
    fn share_key(&self, key: &mut ServiceKey) {
        let known = self.services.get_key_value(key).map(|(known, _)| known);
        if let Some(known) = known.or_else(|| self.endpoints.get_key_value(key).map(|(known, _)| known)) {
            *key = known.clone();
        }
    }

    fn apply_service(&mut self, new: Arc<Service>) -> Vec<Change> {
        let key = new.key.clone();
        let mut changes = Vec::new();
        match self.services.insert(key.clone(), new.clone()) {
            Some(old) if old == new => return vec![],
            Some(_) => {}
            None => {
                let n = self.service_namespaces.entry(key.namespace.clone()).or_default();
                *n = n.saturating_add(1);
                // A namespace selector with negative requirements can match a namespace without labels.
                if *n == 1 && !self.namespaces.contains_key(&key.namespace) {
                    changes.push(Change::Config);
                }
            }
        }
        changes.push(Change::Service(key));
        changes
    }

    fn set_slice(&mut self, id: (Arc<str>, Arc<str>), new: Option<Arc<EndpointSlice>>) -> Vec<Change> {
        let old = match &new {
            Some(s) => self.slices.insert(id, s.clone()),
            None => self.slices.remove(&id),
        };
        if old == new {
            return vec![];
        }
        let mut touched = Vec::new();
        if let Some(old) = &old {
            self.count(old, false);
            touched.extend(old.service.clone());
        }
        if let Some(new) = &new {
            self.count(new, true);
            touched.extend(new.service.clone());
        }
        touched.dedup();
        touched.into_iter().map(Change::Service).collect()
    }

    fn count(&mut self, slice: &EndpointSlice, add: bool) {
        let Some(service) = &slice.service else { return };
        let step = |n: &mut u32| *n = if add { n.saturating_add(1) } else { n.saturating_sub(1) };
        let all = Arc::make_mut(self.endpoints.entry(service.clone()).or_default());
        let family = match slice.family {
            Family::V4 => &mut all.v4,
            Family::V6 => &mut all.v6,
        };
        step(&mut family.slices);
        for endpoint in slice.endpoints.iter().filter(|e| e.usable) {
            step(&mut family.usable);
            if let Some(node) = &endpoint.node {
                let place = family.by_node.binary_search_by(|(name, _)| name.cmp(node));
                match (place, add) {
                    (Err(place), true) => {
                        family.by_node.reserve_exact(1);
                        family.by_node.insert(place, (node.clone(), 1));
                    }
                    (Err(_), false) => {}
                    (Ok(place), _) => {
                        let Some((_, n)) = family.by_node.get_mut(place) else { continue };
                        step(n);
                        if *n == 0 {
                            family.by_node.remove(place);
                        }
                    }
                }
            }
        }
        if all.v4.slices == 0 && all.v6.slices == 0 {
            self.endpoints.remove(service);
        }
    }

    fn set_allocations(&mut self, id: &(Arc<str>, Arc<str>), new: Option<Arc<Allocations>>) -> Vec<Change> {
        let place = self.allocations.iter().position(|a| a.namespace == id.0 && a.name == id.1);
        let old = match (place.and_then(|i| self.allocations.get_mut(i)), new) {
            (Some(there), Some(new)) => Some(std::mem::replace(there, new)),
            (None, Some(new)) => {
                self.allocations.push(new);
                None
            }
            (_, None) => place.map(|i| self.allocations.remove(i)),
        };
        let before = std::mem::take(&mut self.allocated);
        for object in self.allocations.iter() {
            for entry in &object.entries {
                self.allocated.entry(entry.service.clone()).or_insert_with(|| entry.ips.clone().into());
            }
        }
        let mut names: HashSet<&ServiceKey> = HashSet::new();
        for object in old.iter().chain(self.allocations.iter()) {
            names.extend(object.entries.iter().map(|e| &e.service));
        }
        let mut changed: Vec<ServiceKey> =
            names.into_iter().filter(|k| before.get(k) != self.allocated.get(k)).cloned().collect();
        changed.sort();
        if changed.is_empty() { vec![] } else { vec![Change::Services(changed)] }
    }

    /// All Services, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// One Service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// All EndpointSlices, by namespace and name.
    pub fn slices(&self) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        self.slices.values()
    }

    /// The usable endpoints of a service.
    pub fn endpoints(&self, key: &ServiceKey) -> &Endpoints {
        self.endpoints.get(key).map_or(&NO_ENDPOINTS, |endpoints| endpoints)
    }

    /// The addresses that an Allocations object gives a service; it stands for the whole of `status`.
    pub fn allocation(&self, key: &ServiceKey) -> Option<&Arc<[std::net::IpAddr]>> {
        self.allocated.get(key)
    }

    /// All Allocations objects, in the order in which they were first seen.
    pub fn allocations(&self) -> impl Iterator<Item = &Arc<Allocations>> {
        self.allocations.iter()
    }

    /// All Nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// One Node.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// All namespaces with their labels: those that are objects, and, without labels, those that services are in and `system`.
    pub fn namespaces(&self, system: &str) -> BTreeMap<Arc<str>, Labels> {
        let mut all: BTreeMap<Arc<str>, Labels> =
            self.namespaces.iter().map(|(name, n)| (name.clone(), n.labels.clone())).collect();
        for name in self.service_namespaces.keys() {
            all.entry(name.clone()).or_default();
        }
        all.entry(system.into()).or_default();
        all
    }

    /// One Secret.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Secret>> {
        self.secrets.get(&(namespace.into(), name.into()))
    }

    /// One `metallb.io` object.
    pub fn config_object(&self, key: &ObjectKey) -> Option<&Arc<ConfigObject>> {
        self.config.get(key)
    }

    /// All `metallb.io` objects, by kind, namespace and name.
    pub fn config_objects(&self) -> impl Iterator<Item = &Arc<ConfigObject>> {
        self.config.values()
    }
}
