//! Some addresses of a service that a node doesn't announce, and what everything about them is looked up by.

use std::net::IpAddr;

use super::{Context, Subject};
use crate::config::{BgpAdvertisement, L2Advertisement, Peer, Pool};
use crate::decide::{Decisions, Protocol, Reason};
use crate::types::{AnyOf, Issue, Labels, Mismatch, ObjectKey, Selector};
use crate::world::Node;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Case<'c> {
    pub decisions: &'c Decisions<'c>,
    pub context: &'c Context<'c>,
    pub subject: &'c Subject<'c>,
    pub node: &'c Node,
    pub protocol: Protocol,
    /// `None` for layer 2 and for a node without peers.
    pub peer: Option<&'c Peer>,
    /// The addresses for which `reason` is the first one.
    pub ips: &'c [IpAddr],
    pub reason: Reason,
}

impl<'c> Case<'c> {
    /// The kind of advertisement.
    pub fn kind(&self) -> &'static str {
        match self.protocol {
            Protocol::Bgp => "BGPAdvertisement",
            Protocol::Layer2 => "L2Advertisement",
        }
    }

    /// A configuration object of this kind and name.
    pub fn object(&self, kind: &str, name: &str) -> ObjectKey {
        ObjectKey::new(kind, self.context.system_namespace, name)
    }

    pub fn pool(&self) -> Option<&'c Pool> {
        self.subject.allocation.pool.as_deref().and_then(|name| self.decisions.config.pool(name))
    }

    pub fn pool_name(&self) -> &'c str {
        self.subject.allocation.pool.as_deref().unwrap_or_default()
    }

    /// The BGP advertisements that cover the pool, by name.
    pub fn bgp_covering(&self) -> Vec<(usize, &'c BgpAdvertisement)> {
        self.decisions.bgp_covering(self.subject.allocation.pool.as_deref()).collect()
    }

    /// Those of them that select node and service.
    pub fn bgp_applying(&self) -> Vec<(usize, &'c BgpAdvertisement)> {
        let mut all = self.bgp_covering();
        all.retain(|(_, a)| {
            a.nodes.matches(&self.node.labels) && a.services.matches(&self.subject.service.labels)
        });
        all
    }

    /// The layer-2 advertisements that cover the pool, by name.
    pub fn l2_covering(&self) -> Vec<&'c L2Advertisement> {
        self.decisions.l2_covering(self.subject.allocation.pool.as_deref()).collect()
    }

    /// All accepted advertisements of the protocol.
    pub fn advertisements(&self) -> Vec<Advertisement<'c>> {
        match self.protocol {
            Protocol::Bgp => {
                let all = self.decisions.config.bgp_advertisements.iter();
                all.map(|a| Advertisement { name: &a.name, nodes: &a.nodes, services: &a.services }).collect()
            }
            Protocol::Layer2 => {
                let all = self.decisions.config.l2_advertisements.iter();
                all.map(|a| Advertisement { name: &a.name, nodes: &a.nodes, services: &a.services }).collect()
            }
        }
    }

    /// Those of them that cover the pool.
    pub fn covering(&self) -> Vec<Advertisement<'c>> {
        match self.protocol {
            Protocol::Bgp => {
                let all = self.bgp_covering().into_iter();
                all.map(|(_, a)| Advertisement { name: &a.name, nodes: &a.nodes, services: &a.services })
                    .collect()
            }
            Protocol::Layer2 => {
                let all = self.l2_covering().into_iter();
                all.map(|a| Advertisement { name: &a.name, nodes: &a.nodes, services: &a.services }).collect()
            }
        }
    }

    /// The errors of the objects of a kind, sorted.
    pub fn errors_of(&self, kind: &str) -> impl Iterator<Item = &'c Issue> {
        let namespace = self.context.system_namespace;
        let errors = self.decisions.config.errors.iter();
        errors.filter(move |e| e.kind == kind && e.namespace.as_deref() == Some(namespace))
    }

    /// How the service is called in sentences.
    pub fn service(&self) -> String {
        format!("Service {}", self.subject.service.key)
    }

    /// How the node is called in sentences.
    pub fn node(&self) -> String {
        format!("Node {}", self.node.name)
    }
}

/// What the two kinds of advertisement have in common.
#[derive(Clone, Copy)]
pub(super) struct Advertisement<'c> {
    pub name: &'c str,
    pub nodes: &'c AnyOf,
    pub services: &'c AnyOf,
}

impl Advertisement<'_> {
    /// How many requirements keep it from a node and a service.
    pub fn distance(&self, node: &Labels, service: &Labels) -> usize {
        distance(self.nodes, node).saturating_add(distance(self.services, service))
    }
}

/// How many requirements of the nearest selector `labels` don't meet; 0: they match.
pub(super) fn distance(any: &AnyOf, labels: &Labels) -> usize {
    nearest(any, labels).map_or(0, |(_, selector)| failures(selector, labels))
}

/// The selector with the fewest requirements that `labels` don't meet, with its index; `None`: they match.
pub(super) fn nearest<'a>(any: &'a AnyOf, labels: &Labels) -> Option<(usize, &'a Selector)> {
    if any.matches(labels) {
        return None;
    }
    any.0.iter().enumerate().min_by_key(|(_, s)| failures(s, labels))
}

fn failures(selector: &Selector, labels: &Labels) -> usize {
    selector.requirements.iter().filter(|r| !r.matches(labels)).count()
}

/// Which requirement of a list of selectors fails on which label of what, where one does.
pub(super) fn mismatch(list: &str, any: &AnyOf, labels: &Labels, object: &str) -> Option<String> {
    let (index, selector) = nearest(any, labels)?;
    let Mismatch { requirement, actual } = selector.first_failure(labels)?;
    let has = match actual {
        Some("") => format!("has {} without a value", requirement.key),
        Some(value) => format!("has {}={value}", requirement.key),
        None => format!("has no label {}", requirement.key),
    };
    Some(format!("{list}[{index}].{} asks for {requirement}, and {object} {has}", requirement.path))
}

/// Errors by the name of their object; they are sorted already.
pub(super) fn issues_by_object<'i>(
    issues: impl Iterator<Item = &'i Issue>,
) -> Vec<(&'i str, Vec<&'i Issue>)> {
    let mut all: Vec<(&str, Vec<&Issue>)> = Vec::new();
    for issue in issues {
        match all.last_mut() {
            Some((name, list)) if *name == issue.name => list.push(issue),
            _ => all.push((&issue.name, vec![issue])),
        }
    }
    all
}

/// Texts with commas, the first few.
pub(super) fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    const MOST: usize = 4;
    let all: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    let more = all.len().saturating_sub(MOST);
    let mut text = all.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
