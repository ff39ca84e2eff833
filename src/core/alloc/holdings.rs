//! What a running role keeps across restarts, in plain form.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::ServiceKey;

/// What all services hold. Users of one address may always share it, so nothing else needs to be known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// By namespace and name; those that hold nothing too.
    pub services: Vec<Holding>,
}

/// What one service holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its addresses, in the order of its status.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
    /// The pool that they are from: kept for the case that the pool becomes unreadable.
    #[serde(default)]
    pub pool: Option<Arc<str>>,
    /// What `status` or Allocations said when this was taken: only a later change there is news.
    #[serde(default)]
    pub source: Vec<IpAddr>,
}

impl Holding {
    /// The service.
    pub fn service(&self) -> ServiceKey {
        ServiceKey::of(self.namespace.clone(), self.name.clone())
    }
}
