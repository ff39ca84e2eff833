//! The chain from objects to routes, held together and kept up to date: world, configuration, allocation, decisions.
//!
//! [`Engine::apply`] takes a batch of changed objects and says what follows from it. A changed service costs that
//! service's work; a change of configuration, nodes, namespaces or secrets compiles the configuration again and, where
//! the result differs, decides everything again. `plan` and every role use this; none has a chain of its own.

mod snapshot;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::alloc::{Allocator, Mode};
use crate::config::{Config, LastValid, Settings, compile};
use crate::decide::{
    AddressChange, AddressChanges, Coverage, Decisions, NodeAddresses, NodeRoutes, Options, Reason,
    RouteChange,
};
use crate::types::{Labels, NodeName, ServiceKey};
use crate::world::{Change, Node, Object, ObjectId, World};

pub use snapshot::Snapshot;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The namespace that configuration objects live in.
    pub system_namespace: Arc<str>,
    /// The load balancer class that is managed; `None`: services without one.
    pub class: Option<String>,
    /// The flags of deciding.
    pub decide: Options,
    /// The node whose routes are kept; the only node where there is no Node object, but of a speaker.
    pub node: NodeName,
    /// Whether it is that of a speaker in a cluster: a controller gives the addresses, a node without an object announces nothing
    /// (it was deleted), and Namespaces aren't known.
    pub speaker: bool,
    /// Whether the node's routes and layer-2 addresses are kept at all; `plan` decides for all nodes when it prints.
    pub keep_routes: bool,
    /// Whether services get addresses of the engine's choice even where there are several nodes. A running standalone
    /// doesn't, since each node would choose for itself.
    pub allocate_for_many: bool,
}

/// A change of one object.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceChange {
    /// It is there, in this form.
    Apply(Object),
    /// It is gone.
    Delete(ObjectId),
}

impl SourceChange {
    /// Whether it is of an EndpointSlice: nothing that a role keeps over a restart depends on these.
    pub fn is_of_endpoints(&self) -> bool {
        matches!(
            self,
            SourceChange::Apply(Object::EndpointSlice(_)) | SourceChange::Delete(ObjectId::EndpointSlice(..))
        )
    }
}

/// What followed from a batch of changes.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Whether the configuration was compiled again with another result: sessions and all groups have to be looked at.
    pub reconfigured: bool,
    /// Without that: the routes that differ.
    pub routes: Vec<RouteChange>,
    /// The services whose addresses, or reasons for having none, differ.
    pub allocations: BTreeSet<ServiceKey>,
    /// The services that the node now announces (`None`), or now doesn't, and why; `Some(None)` of a service without address.
    pub announcements: Vec<(ServiceKey, Announcement)>,
    /// Without a new configuration: the services that were decided about again.
    pub decided: Vec<ServiceKey>,
    /// The services that the node could announce and doesn't yet, until they are released: see
    /// [`Engine::hold_new_locals`].
    pub held: Vec<ServiceKey>,
    /// The addresses that the node now answers for on layer 2, or no more, or on other interfaces; after
    /// [`reconfigured`](Outcome::reconfigured) too.
    pub addresses: Vec<AddressChange>,
    /// As [`announcements`](Outcome::announcements), for layer 2; only services that an L2Advertisement covers, or did.
    pub layer2_announcements: Vec<(ServiceKey, Announcement)>,
}

/// Whether a node announces a service over a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// BGP: to one peer at least; layer 2: one address of it at least.
    Announced,
    /// The service has no address, or is gone; layer 2: or no L2Advertisement covers it.
    NoAddress,
    /// Not at all, for this reason.
    NotAnnounced(Reason),
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    /// Shared with snapshots, and so is the allocator: what changes while one lasts is copied first.
    world: Arc<World>,
    config: Arc<Config>,
    coverage: Arc<Coverage>,
    last_valid: LastValid,
    nodes: Vec<Arc<Node>>,
    allocator: Arc<Allocator>,
    routes: NodeRoutes,
    addresses: NodeAddresses,
    /// When each object without a timestamp was first seen.
    first_seen: BTreeMap<ObjectId, Timestamp>,
    /// Whether first-seen times count: with at most one Node, so that nodes can't disagree.
    alone: bool,
    /// See [`hold_new_locals`](Engine::hold_new_locals).
    holding: bool,
    /// Whether addresses may be chosen: see [`set_choosing`](Self::set_choosing).
    choosing: bool,
}

impl Engine {
    /// Without objects. `last_valid` and `first_seen` are what an earlier process persisted, and so is the allocator's
    /// state.
    pub fn new(
        options: EngineOptions,
        allocator: Allocator,
        last_valid: LastValid,
        first_seen: BTreeMap<ObjectId, Timestamp>,
    ) -> Engine {
        let nodes = lone_node(&options).into_iter().collect();
        Engine {
            options,
            world: Arc::default(),
            config: Arc::default(),
            coverage: Arc::default(),
            last_valid,
            nodes,
            allocator: Arc::new(allocator),
            routes: NodeRoutes::default(),
            addresses: NodeAddresses::default(),
            first_seen,
            alone: true,
            holding: false,
            choosing: true,
        }
    }

    /// Applies a batch as one change. `now` dates objects without a timestamp that are new; `None` leaves them undated.
    pub fn apply(&mut self, batch: Vec<SourceChange>, now: Option<Timestamp>) -> Outcome {
        let mut compile_again = false;
        let mut services: BTreeSet<ServiceKey> = BTreeSet::new();
        let mut note = |changes: Vec<Change>| {
            for change in changes {
                match change {
                    Change::Config => compile_again = true,
                    Change::Service(key) => drop(services.insert(key)),
                    Change::Services(keys) => services.extend(keys),
                }
            }
        };
        for change in batch {
            match change {
                SourceChange::Apply(mut object) => {
                    if let (Some(now), None) = (now, created(&object)) {
                        let seen = *self.first_seen.entry(object.id()).or_insert(now);
                        if self.alone {
                            set_created(&mut object, Some(seen));
                        }
                    }
                    note(Arc::make_mut(&mut self.world).apply(object));
                }
                SourceChange::Delete(id) => {
                    self.first_seen.remove(&id);
                    note(Arc::make_mut(&mut self.world).delete(&id));
                }
            }
        }
        let alone = self.world.nodes().count() <= 1;
        if alone != self.alone {
            self.alone = alone;
            note(self.redate());
        }
        self.follow(compile_again, services)
    }

    /// Whether services get addresses of the engine's choice at all, as far as the options allow; a new engine may choose.
    /// One that may not, of a controller that doesn't lead, has what `status` says and what is asked for by address. Nothing
    /// that is held moves.
    pub fn set_choosing(&mut self, choosing: bool) -> Outcome {
        if choosing == self.choosing {
            return Outcome::default();
        }
        self.choosing = choosing;
        self.follow(true, BTreeSet::new())
    }

    /// What follows for these services, and, where the configuration has to be compiled again, for all.
    fn follow(&mut self, compile_again: bool, mut services: BTreeSet<ServiceKey>) -> Outcome {
        let mut outcome = Outcome::default();
        if compile_again {
            outcome.reconfigured = self.reconfigure(&mut outcome.allocations);
        }
        let changed: Vec<ServiceKey> = services.iter().cloned().collect();
        outcome.allocations.extend(Arc::make_mut(&mut self.allocator).update(&self.world, &changed));
        services.extend(outcome.allocations.iter().cloned());
        if self.options.keep_routes {
            self.decide(services, &mut outcome);
        }
        outcome
    }

    /// Dates, or undates, the objects without a timestamp of their own.
    fn redate(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, seen) in &self.first_seen {
            let object = match id {
                ObjectId::Service(key) => self.world.service(key).map(|s| Object::Service((**s).clone())),
                ObjectId::Config(key) => self.world.config_object(key).map(|c| Object::Config((**c).clone())),
                _ => None,
            };
            if let Some(mut object) = object {
                set_created(&mut object, self.alone.then_some(*seen));
                changes.extend(Arc::make_mut(&mut self.world).apply(object));
            }
        }
        changes
    }

    /// Compiles the configuration; whether it, or the nodes, differ from before.
    fn reconfigure(&mut self, allocations: &mut BTreeSet<ServiceKey>) -> bool {
        let mut nodes: Vec<Arc<Node>> = self.world.nodes().cloned().collect();
        if nodes.is_empty() {
            nodes.extend(lone_node(&self.options));
        }
        let settings = Settings {
            system_namespace: self.options.system_namespace.clone(),
            nodes: nodes.clone(),
            namespaces: !self.options.speaker,
        };
        let compiled = compile(&self.world, &settings, &self.last_valid);
        self.last_valid = compiled.valid;
        let chooses = self.choosing && (self.alone || self.options.allocate_for_many);
        let mode = match (self.options.speaker, chooses) {
            (true, _) => Mode::StatusOnly,
            (false, true) => Mode::Allocate,
            (false, false) => Mode::HeldOnly,
        };
        if *self.config == compiled.config && self.nodes == nodes && self.allocator.mode() == mode {
            return false;
        }
        self.coverage = Arc::new(Coverage::of(&compiled.config));
        self.config = Arc::new(compiled.config);
        self.nodes = nodes;
        let allocator = Arc::make_mut(&mut self.allocator);
        allocator.set_mode(mode);
        allocations.extend(allocator.reconfigure(self.config.clone(), &self.world));
        true
    }

    /// Takes the nodes whose speaker is alive, as somebody else judges that; `None`: all of them. Only layer 2 depends on it.
    pub fn set_live(&mut self, live: Option<BTreeSet<NodeName>>) -> Outcome {
        let mut outcome = Outcome::default();
        if self.options.decide.live != live {
            self.options.decide.live = live;
            if self.options.keep_routes {
                self.decide_addresses(true, &BTreeSet::new(), &mut outcome);
            }
        }
        outcome
    }

    fn decide(&mut self, services: BTreeSet<ServiceKey>, outcome: &mut Outcome) {
        self.decide_addresses(outcome.reconfigured, &services, outcome);
        let Engine { options, world, config, coverage, nodes, allocator, routes, holding, .. } = self;
        let decisions = Decisions { world, config, coverage, allocator, options: &options.decide, nodes };
        let Some(node) = nodes.iter().find(|n| n.name == options.node) else {
            // No such Node (yet, or any more): it announces nothing.
            if outcome.reconfigured {
                let before = std::mem::take(routes);
                let announced = before.reasons().iter().filter(|(_, reason)| reason.is_none());
                let ended = Announcement::NotAnnounced(Reason::NotOwner);
                outcome.announcements.extend(announced.map(|(key, _)| (key.clone(), ended)));
                outcome.announcements.sort_by(|a, b| a.0.cmp(&b.0));
            }
            return;
        };
        let state = |routes: &NodeRoutes, key: &ServiceKey| announcement(routes.reason(key));
        if outcome.reconfigured {
            let before: HashMap<ServiceKey, Option<Reason>> = routes.reasons().clone();
            routes.rebuild(&decisions, node);
            let known: HashSet<&ServiceKey> = before.keys().chain(routes.reasons().keys()).collect();
            let changed = known.into_iter().filter(|k| before.get(*k) != routes.reasons().get(*k));
            outcome.announcements.extend(changed.map(|k| (k.clone(), state(routes, k))));
            outcome.announcements.sort_by(|a, b| a.0.cmp(&b.0));
            return;
        }
        for key in services {
            let before = routes.reason(&key);
            let comes = *holding && before != Some(None);
            if !(comes && is_local(world, &key) && could_announce(&decisions, node, &key)) {
                routes.release(&key);
            } else if !routes.is_held(&key) {
                routes.hold(key.clone());
                // On layer 2 it may be waited for already.
                if !outcome.held.contains(&key) {
                    outcome.held.push(key.clone());
                }
            }
            outcome.routes.extend(routes.update(&decisions, node, &key));
            if before != routes.reason(&key) {
                let now = state(routes, &key);
                outcome.announcements.push((key.clone(), now));
            }
            outcome.decided.push(key);
        }
    }

    /// From now on a service with external traffic policy Local that the node *becomes* eligible for, by a change of that
    /// service, is held back until [`release`](Engine::release): the node's service proxy may not have heard of its endpoint
    /// yet. What the node is eligible for already isn't touched.
    pub fn hold_new_locals(&mut self) {
        self.holding = true;
    }

    /// A service that was held back is announced, if it still can be.
    pub fn release(&mut self, key: &ServiceKey) -> Outcome {
        let mut outcome = Outcome::default();
        let held = [self.routes.release(key), self.addresses.release(key)];
        if held.contains(&true) {
            let holding = std::mem::replace(&mut self.holding, false);
            self.decide(BTreeSet::from([key.clone()]), &mut outcome);
            self.holding = holding;
        }
        outcome
    }

    /// Layer 2: for all services, or for these.
    fn decide_addresses(&mut self, all: bool, services: &BTreeSet<ServiceKey>, outcome: &mut Outcome) {
        let Engine { options, world, config, coverage, nodes, allocator, addresses, holding, .. } = self;
        let decisions = Decisions { world, config, coverage, allocator, options: &options.decide, nodes };
        let node = nodes.iter().find(|n| n.name == options.node);
        let mut told: BTreeSet<ServiceKey> = BTreeSet::new();
        let mut note = |AddressChanges { addresses, services }| {
            outcome.addresses.extend(addresses);
            told.extend(services);
        };
        if all {
            note(addresses.rebuild(&decisions, node.map(|n| &**n)));
        } else if let Some(node) = node {
            for key in services {
                let comes = *holding && addresses.reason(key) != Some(None);
                if !(comes && is_local(world, key) && could_answer(&decisions, node, key)) {
                    addresses.release(key);
                } else if !addresses.is_held(key) {
                    addresses.hold(key.clone());
                    outcome.held.push(key.clone());
                }
                note(addresses.update(&decisions, node, key));
            }
        }
        let announcements = told.into_iter().map(|key| {
            let now = announcement(addresses.reason(&key));
            (key, now)
        });
        outcome.layer2_announcements.extend(announcements);
    }

    /// What every node does, as things stand.
    pub fn decisions(&self) -> Decisions<'_> {
        Decisions {
            world: &self.world,
            config: &self.config,
            coverage: &self.coverage,
            allocator: &self.allocator,
            options: &self.options.decide,
            nodes: &self.nodes,
        }
    }

    /// How things stand now, for those who take longer to look at it than the engine may be kept.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            world: self.world.clone(),
            config: self.config.clone(),
            coverage: self.coverage.clone(),
            allocator: self.allocator.clone(),
            options: self.options.decide.clone(),
            nodes: self.nodes.clone(),
        }
    }

    /// The objects.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The last valid form of each configuration object, to persist.
    pub fn last_valid(&self) -> &LastValid {
        &self.last_valid
    }

    /// When each object without a timestamp was first seen, to persist.
    pub fn first_seen(&self) -> &BTreeMap<ObjectId, Timestamp> {
        &self.first_seen
    }

    /// All nodes; the lone one where there is no Node object.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The allocator.
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// The node's routes.
    pub fn routes(&self) -> &NodeRoutes {
        &self.routes
    }

    /// What the node answers for on layer 2.
    pub fn addresses(&self) -> &NodeAddresses {
        &self.addresses
    }

    /// Whether addresses are of the engine's own choice.
    pub fn allocates(&self) -> bool {
        self.allocator.mode() == Mode::Allocate
    }
}

/// Whether a service is one whose local endpoints the node's proxy can be asked for.
fn is_local(world: &World, key: &ServiceKey) -> bool {
    world.service(key).is_some_and(|s| s.local && s.health_check_node_port.is_some())
}

/// Whether the node announces a service over BGP, as far as it is decided here.
fn could_announce(decisions: &Decisions<'_>, node: &Node, key: &ServiceKey) -> bool {
    decisions.world.service(key).is_some_and(|service| {
        let decision = decisions.bgp(service, node);
        decision.reason_everywhere(decisions.peers_of(node)).is_none() && !decision.addresses.is_empty()
    })
}

/// The same for an address of the service on layer 2.
fn could_answer(decisions: &Decisions<'_>, node: &Node, key: &ServiceKey) -> bool {
    let service = decisions.world.service(key);
    service.is_some_and(|s| decisions.layer2(s, node).addresses.iter().any(|(_, reason)| reason.is_none()))
}

fn announcement(reason: Option<Option<Reason>>) -> Announcement {
    match reason {
        None => Announcement::NoAddress,
        Some(None) => Announcement::Announced,
        Some(Some(reason)) => Announcement::NotAnnounced(reason),
    }
}

/// The one node that there is where no Node object is: its only label is its host name. Of a speaker there is none then.
fn lone_node(options: &EngineOptions) -> Option<Arc<Node>> {
    let name = &options.node;
    (!options.speaker).then(|| {
        Arc::new(Node {
            name: name.clone(),
            labels: Labels::from([("kubernetes.io/hostname".to_owned(), name.to_string())]),
            network_unavailable: false,
            internal_ips: vec![],
        })
    })
}

/// The creation time of an object of a kind whose age matters; a stand-in for all others.
fn created(object: &Object) -> Option<Timestamp> {
    match object {
        Object::Service(s) => s.created,
        Object::Config(c) => c.created,
        Object::Allocations(_)
        | Object::EndpointSlice(_)
        | Object::Namespace(_)
        | Object::Node(_)
        | Object::Secret(_) => Some(Timestamp::UNIX_EPOCH),
    }
}

fn set_created(object: &mut Object, time: Option<Timestamp>) {
    match object {
        Object::Service(s) => s.created = time,
        Object::Config(c) => c.created = time,
        Object::Allocations(_)
        | Object::EndpointSlice(_)
        | Object::Namespace(_)
        | Object::Node(_)
        | Object::Secret(_) => {}
    }
}

#[cfg(test)]
mod tests;
