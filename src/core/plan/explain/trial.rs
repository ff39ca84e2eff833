//! What would follow from a remedy: it is tried on a copy of the world before anybody is told.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::Context;
use super::edit::{Edit, Path, Segment, Target};
use crate::alloc::{Allocator, Mode};
use crate::config::{Config, LastValid, Settings, compile};
use crate::decide::{Coverage, Decisions, Protocol, Reason};
use crate::manifest;
use crate::types::{Issue, Labels, NodeName, ObjectKey, ServiceKey};
use crate::world::{IpFamilyPolicy, Node, Object, Service, World};

/// A world after some edits, decided anew.
pub(super) struct Trial {
    world: World,
    config: Arc<Config>,
    coverage: Coverage,
    nodes: Vec<Arc<Node>>,
    /// Where the edits may change who holds which address.
    allocator: Option<Allocator>,
}

impl Trial {
    /// `None` where the edits can't be applied, or where an error of the configuration follows that isn't there now.
    pub fn of(decisions: &Decisions<'_>, context: &Context<'_>, edits: &[Edit]) -> Option<Trial> {
        let mut world = decisions.world.clone();
        let mut nodes = decisions.nodes.to_vec();
        for edit in edits {
            apply(&mut world, &mut nodes, edit)?;
        }
        let settings = Settings {
            system_namespace: context.system_namespace.into(),
            nodes: nodes.clone(),
            namespaces: true,
        };
        let config = Arc::new(compile(&world, &settings, &LastValid::default()).config);
        let known = |new: &Issue| {
            let field = (new.object(), &new.field);
            decisions.config.errors.iter().any(|old| (old.object(), &old.field) == field)
        };
        if !config.errors.iter().all(known) {
            return None;
        }
        let touches_allocation = |edit: &Edit| match edit {
            Edit::Create { manifest } => kind(manifest) == Some("IPAddressPool"),
            other => other.target().is_some_and(|t| matches!(t.kind.as_str(), "IPAddressPool" | "Service")),
        };
        let allocator = edits.iter().any(touches_allocation).then(|| {
            let mut again = Allocator::new(Mode::Allocate, context.class.map(str::to_owned));
            again.restore(&decisions.allocator.holdings());
            again.reconfigure(config.clone(), &world);
            let all: Vec<ServiceKey> = world.services().map(|s| s.key.clone()).collect();
            again.update(&world, &all);
            again
        });
        let coverage = Coverage::of(&config);
        Some(Trial { world, config, coverage, nodes, allocator })
    }

    /// What the nodes do in it.
    pub fn decisions<'t>(&'t self, before: &Decisions<'t>) -> Decisions<'t> {
        Decisions {
            world: &self.world,
            config: &self.config,
            coverage: &self.coverage,
            allocator: self.allocator.as_ref().unwrap_or(before.allocator),
            options: before.options,
            nodes: &self.nodes,
        }
    }

    /// Whether the service holds an address, and has no error.
    pub fn is_served(&self, service: &ServiceKey) -> bool {
        let allocation = self.allocator.as_ref().and_then(|a| a.get(service));
        allocation.is_some_and(|a| a.error.is_none() && !a.ips.is_empty())
    }
}

/// Where some addresses of a service aren't announced.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub service: &'a ServiceKey,
    pub node: &'a NodeName,
    pub protocol: Protocol,
    /// `None` for layer 2 and for a node without peers.
    pub peer: Option<&'a str>,
    pub ips: &'a [IpAddr],
}

impl Place<'_> {
    /// The first reason why one of the addresses isn't announced there, `Some(None)`: all are; `None`: the place is gone.
    pub fn reason(&self, decisions: &Decisions<'_>) -> Option<Option<Reason>> {
        let service = decisions.world.service(self.service)?;
        let node = decisions.live_nodes().find(|n| n.name == *self.node)?;
        let reasons: Vec<(IpAddr, Option<Reason>)> = match (self.protocol, self.peer) {
            (Protocol::Layer2, _) => decisions.layer2(service, node).addresses,
            (Protocol::Bgp, Some(name)) => {
                let peer = decisions.peers_of(node).find(|p| *p.name == *name)?;
                let decision = decisions.bgp(service, node);
                let at = decision.addresses.iter().map(|(ip, r)| (*ip, decision.reason_at(peer, *ip, *r)));
                at.collect()
            }
            (Protocol::Bgp, None) => {
                let decision = decisions.bgp(service, node);
                let peers = || decisions.peers_of(node);
                let anywhere = decision.addresses.iter().map(|(ip, r)| {
                    let mut each = peers().map(|p| decision.reason_at(p, *ip, *r)).peekable();
                    let reason = match each.peek() {
                        None => Some(r.unwrap_or(Reason::NoPeer)),
                        Some(_) => {
                            let all: Option<Vec<Reason>> = each.collect();
                            all.and_then(|reasons| Reason::first(Protocol::Bgp, reasons))
                        }
                    };
                    (*ip, reason)
                });
                anywhere.collect()
            }
        };
        let of = |ip: &IpAddr| reasons.iter().find(|(other, _)| other == ip).map(|(_, reason)| *reason);
        let of_all: Option<Vec<Option<Reason>>> = self.ips.iter().map(of).collect();
        Some(Reason::first(self.protocol, of_all?.into_iter().flatten()))
    }
}

/// Applies an edit to the world's summaries; `None` where it doesn't fit, or isn't one that explaining proposes.
fn apply(world: &mut World, nodes: &mut [Arc<Node>], edit: &Edit) -> Option<()> {
    let Some(target) = edit.target() else {
        let Edit::Create { manifest } = edit else { return None };
        let parsed = manifest::parse("edit.json", manifest.to_string().as_bytes());
        for located in parsed.objects {
            world.apply(located.object);
        }
        return parsed.errors.is_empty().then_some(());
    };
    match target.kind.as_str() {
        "Service" => {
            let key = ServiceKey::new(target.namespace.as_deref()?, &target.name);
            let mut service = Service::clone(world.service(&key)?);
            edit_service(&mut service, edit)?;
            world.apply(Object::Service(service));
        }
        "Node" => {
            let place = nodes.iter_mut().find(|n| n.name.as_str() == target.name)?;
            let mut node = Node::clone(place);
            edit_node(&mut node, edit)?;
            *place = Arc::new(node.clone());
            world.apply(Object::Node(node));
        }
        _ => {
            let mut object = world.config_object(&key_of(target))?.as_ref().clone();
            let mut raw = Value::clone(&object.raw);
            edit.apply_to(&mut raw).ok()?;
            object.raw = Arc::new(raw);
            world.apply(Object::Config(object));
        }
    }
    Some(())
}

fn key_of(target: &Target) -> ObjectKey {
    ObjectKey::new(&target.kind, target.namespace.as_deref().unwrap_or_default(), &target.name)
}

fn kind(manifest: &Value) -> Option<&str> {
    manifest.get("kind")?.as_str()
}

fn edit_node(node: &mut Node, edit: &Edit) -> Option<()> {
    match edit.path()?.0.as_slice() {
        [Segment::Key(a), Segment::Key(b), Segment::Key(label)] if a == "metadata" && b == "labels" => {
            edit_label(&mut node.labels, label, edit)
        }
        [Segment::Key(a), Segment::Key(b), Segment::Item { .. }, ..]
            if a == "status" && b == "conditions" =>
        {
            node.network_unavailable = false;
            Some(())
        }
        _ => None,
    }
}

fn edit_service(service: &mut Service, edit: &Edit) -> Option<()> {
    let path: Option<Vec<&str>> = edit
        .path()?
        .0
        .iter()
        .map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) | Segment::Item { .. } => None,
        })
        .collect();
    let text = match edit {
        Edit::Set { value, .. } => value.as_str(),
        Edit::Append { .. } | Edit::Create { .. } | Edit::Remove { .. } => None,
    };
    match path?.as_slice() {
        ["metadata", "labels", label] => edit_label(&mut service.labels, label, edit)?,
        ["metadata", "annotations", annotation] => {
            let annotations = Arc::make_mut(&mut service.annotations);
            match *annotation {
                "metallb.io/address-pool" => annotations.address_pool = Some(text?.into()),
                "metallb.io/loadBalancerIPs" => annotations.load_balancer_ips = Some(text?.into()),
                _ => return None,
            }
        }
        ["spec", "externalTrafficPolicy"] => service.local = text == Some("Local"),
        ["spec", "ipFamilyPolicy"] if text == Some("PreferDualStack") => {
            service.ip_family_policy = IpFamilyPolicy::PreferDualStack;
        }
        ["spec", "loadBalancerIP"] if text.is_none() => service.load_balancer_ip = None,
        ["spec", "type"] => service.load_balancer = text == Some("LoadBalancer"),
        _ => return None,
    }
    Some(())
}

fn edit_label(labels: &mut Labels, key: &str, edit: &Edit) -> Option<()> {
    match edit {
        Edit::Set { value, .. } => *labels = labels.with(key, value.as_str()?),
        Edit::Remove { .. } if labels.contains_key(key) => *labels = labels.without(key),
        Edit::Remove { .. } | Edit::Append { .. } | Edit::Create { .. } => return None,
    }
    Some(())
}

/// The path of a label.
pub(super) fn label(key: &str) -> Path {
    Path::keys(["metadata", "labels", key])
}
