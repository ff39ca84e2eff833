//! What a controller writes: the difference between what should be there and what is.
//!
//! Pure: what the API server has is handed in as it was last seen, patches come out, and none where nothing differs. Statuses
//! are compared in a canonical form, since the API server completes what is written (`ipMode: VIP`): a restart writes
//! nothing. All patches are JSON merge patches (RFC 7396).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_api::configuration_state::{Condition, ConfigurationResult, ConfigurationStateStatus};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::alloc::Allocation;
use crate::event::Event;
use crate::types::{FamilySet, ServiceKey};
use crate::world::{IpFamilyPolicy, Service};

/// The annotation that says which pool a Service's addresses are from.
pub const POOL_ANNOTATION: &str = "metallb.io/ip-allocated-from-pool";

/// Annotations under this group name are read, and deprecated.
const DEPRECATED: &str = "metallb.universe.tf/";

/// What a Service shows of its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceStatus {
    /// The readable addresses of `status.loadBalancer.ingress`, in their order.
    pub ips: Vec<IpAddr>,
    /// Whether anything is there beside them: host names, ports, other modes than `VIP`, addresses that can't be read.
    pub more: bool,
    /// The value of [`POOL_ANNOTATION`].
    pub pool: Option<String>,
    /// The annotations under the deprecated group name.
    pub deprecated: Vec<String>,
}

impl ServiceStatus {
    /// Of a Service, or of the part of one that [`part`](Self::part) keeps.
    pub fn read(service: &Value) -> ServiceStatus {
        let mut status = ServiceStatus::default();
        let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
        for entry in ingress.into_iter().flatten() {
            let ip = entry.get("ip").and_then(Value::as_str).and_then(|ip| ip.parse::<IpAddr>().ok());
            match ip {
                Some(ip) => status.ips.push(ip.to_canonical()),
                None => status.more = true,
            }
            let fields = entry.as_object().into_iter().flatten();
            status.more |= fields.into_iter().any(|(field, value)| match field.as_str() {
                "ip" => false,
                "ipMode" => value != "VIP",
                _ => !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()),
            });
        }
        let annotations = service.pointer("/metadata/annotations").and_then(Value::as_object);
        if let Some(annotations) = annotations {
            status.pool = annotations.get(POOL_ANNOTATION).and_then(Value::as_str).map(str::to_owned);
            status.deprecated =
                annotations.keys().filter(|key| key.starts_with(DEPRECATED)).cloned().collect();
        }
        status
    }

    /// The part of a Service that this is read from.
    pub fn part(service: &Value) -> Value {
        let annotations = service.pointer("/metadata/annotations").and_then(Value::as_object);
        let annotations: Map<String, Value> = annotations
            .into_iter()
            .flatten()
            .filter(|(key, _)| *key == POOL_ANNOTATION || key.starts_with(DEPRECATED))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let balancer = service.pointer("/status/loadBalancer").cloned().unwrap_or_default();
        json!({ "metadata": { "annotations": annotations }, "status": { "loadBalancer": balancer } })
    }
}

/// What a Service should show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desired {
    /// Whatever it does: it isn't this load balancer's.
    Anything,
    /// No address and no pool.
    Nothing,
    /// These.
    Addresses {
        /// Its addresses, in this order.
        ips: Arc<[IpAddr]>,
        /// The pool that they are from; `None`: that can't be said, and the annotation stays as it is.
        pool: Option<Arc<str>>,
    },
}

impl Desired {
    /// Of a Service that shows `status`, of the load balancer class `class`, where it has this allocation.
    pub fn of(
        service: &Service,
        status: &ServiceStatus,
        class: Option<&str>,
        allocation: Option<&Allocation>,
    ) -> Desired {
        if !service.load_balancer {
            // Only a load balancer of this kind leaves the annotation behind.
            return if status.pool.is_some() { Desired::Nothing } else { Desired::Anything };
        }
        match allocation.filter(|_| service.managed_by(class)) {
            None => Desired::Anything,
            Some(a) if a.ips.is_empty() => Desired::Nothing,
            Some(a) => Desired::Addresses { ips: a.ips.clone(), pool: a.pool.clone() },
        }
    }

    /// The patch of the Service's status subresource that makes it so; `None`: it is so.
    pub fn patch(&self, status: &ServiceStatus) -> Option<Value> {
        let (ips, pool): (&[IpAddr], Option<&str>) = match self {
            Desired::Anything => return None,
            Desired::Nothing => (&[], None),
            Desired::Addresses { ips, pool } => (ips, pool.as_deref().or(status.pool.as_deref())),
        };
        let mut patch = Map::new();
        if status.more || *status.ips != *ips {
            let ingress = match ips {
                [] => Value::Null,
                ips => ips.iter().map(|ip| json!({ "ip": ip.to_string() })).collect(),
            };
            patch.insert("status".to_owned(), json!({ "loadBalancer": { "ingress": ingress } }));
        }
        if status.pool.as_deref() != pool {
            patch.insert("metadata".to_owned(), json!({ "annotations": { POOL_ANNOTATION: pool } }));
        }
        (!patch.is_empty()).then_some(Value::Object(patch))
    }
}

/// What to tell when a Service that showed `status` now has `ips`.
pub fn transition(service: &ServiceKey, status: &ServiceStatus, ips: &[IpAddr]) -> Vec<Event> {
    let quoted = |ips: &[&IpAddr]| ips.iter().map(|ip| format!("\"{ip}\"")).collect::<Vec<_>>().join(" ");
    let gone: Vec<&IpAddr> = status.ips.iter().filter(|ip| !ips.contains(ip)).collect();
    let got: Vec<&IpAddr> = ips.iter().filter(|ip| !status.ips.contains(ip)).collect();
    let mut events = Vec::new();
    if !gone.is_empty() {
        let message = format!(
            "\"{service}\" can't keep [{}]: neither its requests nor the pools allow that any more; another address is looked for",
            quoted(&gone)
        );
        events.push(Event::normal("ClearAssignment", message));
    }
    if !got.is_empty() {
        let message = if gone.is_empty() && !status.ips.is_empty() {
            format!("assigned additional IP {}", quoted(&got))
        } else {
            format!("assigned IP [{}]", quoted(&ips.iter().collect::<Vec<_>>()))
        };
        events.push(Event::normal("IPAllocated", message));
    }
    let deprecated = status.deprecated.iter().filter(|_| !events.is_empty());
    let deprecated = deprecated.map(|annotation| {
        let instead = annotation.replacen(DEPRECATED, "metallb.io/", 1);
        Event::warning("deprecatedAnnotation", format!("{annotation} is deprecated: write {instead}"))
    });
    events.iter().cloned().chain(deprecated).collect()
}

/// What is wrong with a Service as it stands; to be told when it is another than before.
pub fn complaint(service: &Service, allocation: &Allocation) -> Option<Event> {
    let families = &service.families;
    let Some(error) = &allocation.error else {
        let half = service.ip_family_policy == IpFamilyPolicy::PreferDualStack
            && *families == Ok(FamilySet::BOTH)
            && allocation.ips.len() == 1;
        let pool = allocation.pool.as_deref().unwrap_or_default();
        return half.then(|| {
            let message = format!(
                "it prefers two families and has an address of one: pool {pool:?} has none free of the other; add some to it"
            );
            Event::normal("AdditionalAssignFailed", message)
        });
    };
    let message = format!("\"{}\": {error}", service.key);
    let reason = match families {
        Err(_) => "noclusterIPsIPFamily",
        Ok(has) if service.ip_family_policy == IpFamilyPolicy::RequireDualStack && has.len() < 2 => {
            "not enough clusterips"
        }
        Ok(_) if allocation.ips.is_empty() => "AllocationFailed",
        Ok(_) => "LoadBalancerFailed",
    };
    Some(Event::warning(reason, message))
}

/// That another program rewrites the status of a Service.
pub fn overwritten(service: &ServiceKey) -> Event {
    let message = format!(
        "another program rewrites the addresses of \"{service}\": they are written again a few times, then left for {} minutes; let only one load balancer manage it (spec.loadBalancerClass)",
        REWRITE_WINDOW.as_secs() / 60
    );
    Event::warning("StatusOverwritten", message)
}

/// How often a status that another program rewrote is written again within [`REWRITE_WINDOW`].
const ANSWERS: u32 = 3;
/// After this time such rewrites are counted anew.
const REWRITE_WINDOW: Duration = Duration::from_secs(600);

/// How another program and this one rewrite each other's status of one Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrites {
    since: Duration,
    answers: u32,
}

/// What to do about a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Write again, and tell.
    First,
    /// Write again.
    Again,
    /// Leave it until this time.
    Leave(Duration),
}

impl Rewrites {
    /// None so far.
    pub fn new(now: Duration) -> Rewrites {
        Rewrites { since: now, answers: 0 }
    }

    /// Another one, at `now`.
    pub fn another(&mut self, now: Duration) -> Answer {
        let end = self.since.saturating_add(REWRITE_WINDOW);
        if now >= end {
            *self = Rewrites::new(now);
        }
        if self.answers >= ANSWERS {
            return Answer::Leave(end);
        }
        self.answers = self.answers.saturating_add(1);
        if self.answers == 1 { Answer::First } else { Answer::Again }
    }
}

/// The type of the condition that a controller writes.
const POOLS_CONDITION: &str = "poolReconcilerValid";
/// How long an error summary may be.
const SUMMARY: usize = 32_000;

/// The patch of a ConfigurationState's status that says `errors`, where its status is `seen`; `None`: it says so already.
pub fn configuration_state(errors: &[String], seen: Option<&Value>, now: Timestamp) -> Option<Value> {
    let seen: ConfigurationStateStatus =
        seen.and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default();
    let mut summary = errors.join("\n");
    let end = (0..=SUMMARY.min(summary.len())).rev().find(|at| summary.is_char_boundary(*at));
    summary.truncate(end.unwrap_or_default());
    let valid = errors.is_empty();
    let (status, reason) = if valid { ("True", "Reconciled") } else { ("False", "ConfigurationError") };
    let known = seen.conditions.iter().find(|c| c.type_ == POOLS_CONDITION);
    let since = known.filter(|c| c.status == status).map(|c| c.last_transition_time.clone());
    let condition = Condition {
        type_: POOLS_CONDITION.to_owned(),
        status: status.to_owned(),
        observed_generation: None,
        last_transition_time: since.unwrap_or_else(|| format!("{now:.0}")),
        reason: reason.to_owned(),
        message: summary.clone(),
    };
    let result = if valid { ConfigurationResult::Valid } else { ConfigurationResult::Invalid };
    let wanted = ConfigurationStateStatus {
        result: Some(result),
        error_summary: (!valid).then_some(summary),
        conditions: vec![condition],
    };
    if wanted == seen {
        return None;
    }
    // A merge patch removes only what is null in it.
    let mut status = serde_json::to_value(&wanted).ok()?;
    if valid && let Some(fields) = status.as_object_mut() {
        fields.insert("errorSummary".to_owned(), Value::Null);
    }
    Some(json!({ "status": status }))
}

#[cfg(test)]
mod tests;
