//! What the roles that announce have in common: the engine of their node, those who look in, and what is told of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ferrolb_core::engine::{Engine, Outcome, SourceChange};
use ferrolb_core::types::{GroupId, NodeName, ServiceKey};
use jiff::Timestamp;
use tracing::warn;

use crate::roles::issues::Issues;
use crate::roles::{services, sessions};
use crate::shell::bgp::{Update, WireHandle};
use crate::shell::grpc::Desk;
use crate::shell::telemetry::metrics::Metrics;

/// See the module.
pub struct Announcer {
    /// Decides.
    pub engine: Engine,
    /// Where those who look in ask and are told.
    pub desk: Desk,
    /// For scrapes.
    pub metrics: Arc<Metrics>,
    /// The node that is announced from.
    pub node: NodeName,
    /// What is wrong with the configuration, as last told.
    issues: Issues,
    /// Services of which it was told that they have no address, and why.
    told_services: BTreeMap<ServiceKey, String>,
    /// The groups that the wire thread was told of.
    groups: BTreeSet<GroupId>,
    /// Whether nothing is announced over BGP, whatever is decided.
    silent: bool,
    warned_of_node: bool,
}

impl Announcer {
    /// Of a node, about which nothing was told yet.
    pub fn new(engine: Engine, desk: Desk, metrics: Arc<Metrics>, node: NodeName) -> Announcer {
        Announcer {
            engine,
            desk,
            metrics,
            node,
            issues: Issues::default(),
            told_services: BTreeMap::new(),
            groups: BTreeSet::new(),
            silent: false,
            warned_of_node: false,
        }
    }

    /// Applies a batch, and tells what changed; `now` dates objects that have no date of their own.
    pub fn apply(&mut self, changes: Vec<SourceChange>, now: Option<Timestamp>) -> Outcome {
        let outcome = self.engine.apply(changes, now);
        self.tell(&outcome);
        outcome
    }

    /// Tells what changed.
    pub fn tell(&mut self, outcome: &Outcome) {
        self.metrics.outcome(&self.engine, outcome);
        if outcome.reconfigured {
            self.issues.tell(self.engine.config(), &self.desk);
            let known = self.engine.nodes().iter().any(|n| n.name == self.node);
            if !known && !self.warned_of_node {
                warn!(event = "nodeUnknown", node = %self.node, "there is no Node of this name: nothing is announced until there is, or this role is given another name");
            }
            self.warned_of_node = !known;
        }
        services::log(outcome, self.engine.allocator(), &mut self.told_services);
        self.desk.tell_outcome(outcome, &self.engine);
    }

    /// Whether nothing is announced over BGP.
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// From now on nothing is announced over BGP, or what is decided; everything has to be sent then.
    pub fn set_silent(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// Makes sessions and routes as they should be, whatever the wire thread has; `noticed` is when the change was noticed
    /// that this follows from.
    ///
    /// # Errors
    /// The wire thread has ended.
    pub async fn send_everything(
        &mut self,
        wire: &WireHandle,
        noticed: Option<Instant>,
    ) -> Result<(), String> {
        let update = if self.silent {
            sessions::nothing(&mut self.groups)
        } else {
            sessions::everything(&self.engine, &self.node, &mut self.groups)
        };
        wire.apply(Update { noticed, ..update }).await.map_err(|e| e.to_string())
    }

    /// Sends what differs.
    ///
    /// # Errors
    /// The wire thread has ended.
    pub async fn send(
        &mut self,
        wire: &WireHandle,
        outcome: &Outcome,
        noticed: Option<Instant>,
    ) -> Result<(), String> {
        if self.silent {
            return Ok(());
        }
        if outcome.reconfigured {
            self.send_everything(wire, noticed).await?;
        } else if !outcome.routes.is_empty() {
            let update = Update { noticed, ..sessions::changes(&outcome.routes) };
            wire.apply(update).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
