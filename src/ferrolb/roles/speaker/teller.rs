//! Telling of Services that no node announces: by one speaker for all.
//!
//! That a node doesn't announce a Service is usual; that none does concerns its owner. Whoever is to know that has to know all Nodes,
//! which a speaker otherwise doesn't need. So one speaker, by a Lease, watches them and tells; the others only watch
//! that Lease. It is no hurry: where that speaker vanishes another one follows within a minute, and what the first one told isn't
//! told again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::engine::{Engine, Outcome};
use ferrolb_core::lease::{Election, Lease, Step, Timing};
use ferrolb_core::report::{Telling, Unannounced};
use ferrolb_core::types::{NodeName, ServiceKey};
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;
use tracing::{info, warn};

use crate::shell::kube::kinds::LEASE;
use crate::shell::kube::{Act, Answer, Seen, Write};

/// The Lease's name.
pub const NAME: &str = "ferrolb-events";
const TIMING: Timing = Timing {
    duration: Duration::from_secs(60),
    deadline: Duration::from_secs(40),
    renewal: Duration::from_secs(15),
    retry: Duration::from_secs(15),
};

/// See the module.
pub struct Teller {
    client: ::kube::Client,
    namespace: Arc<str>,
    clock: Instant,
    election: Election,
    under_way: Option<BoxFuture<'static, Answer>>,
    /// When the Lease was asked for, where that is what is under way.
    asked: Option<Duration>,
    /// When the election wants to be asked again.
    wake: Option<Instant>,
    telling: bool,
    unannounced: Unannounced,
    /// Who was alive on layer 2 when services were judged last.
    live: Option<BTreeSet<NodeName>>,
    /// Services to be judged.
    unseen: BTreeSet<ServiceKey>,
    /// Whether it was said that the Lease may not be written.
    refused: bool,
}

impl Teller {
    /// Of a node; it doesn't tell yet.
    pub fn new(client: ::kube::Client, namespace: &Arc<str>, node: &NodeName) -> Teller {
        Teller {
            client,
            namespace: namespace.clone(),
            clock: Instant::now(),
            election: Election::new(node.as_str(), TIMING),
            under_way: None,
            asked: None,
            wake: None,
            telling: false,
            unannounced: Unannounced::default(),
            live: None,
            unseen: BTreeSet::new(),
            refused: false,
        }
    }

    /// The Lease was seen; `None`: there is none.
    pub fn saw(&mut self, lease: Option<&Seen>) {
        let now = self.clock.elapsed();
        let asked = lease.and_then(|seen| seen.listed);
        let lease = lease.map(|seen| Lease::read(&seen.resource_version, &seen.kept.value()));
        match asked {
            Some(asked) => self.election.listed(lease, asked.saturating_duration_since(self.clock), now),
            None => self.election.observe(lease, now),
        }
    }

    /// Does what is due for the Lease; whether this speaker is the one that tells.
    pub fn step(&mut self, engine: &Engine) -> bool {
        let now = self.clock.elapsed();
        if self.under_way.is_none() {
            let act = match self.election.decide(now, Timestamp::now()) {
                Step::Wait(until) => {
                    self.wake = self.clock.checked_add(until);
                    None
                }
                Step::Create(spec) => Some(Act::Create(json!({
                    "apiVersion": LEASE.api_version(), "kind": LEASE.kind, "metadata": {"name": NAME}, "spec": spec,
                }).into())),
                Step::Patch { resource_version, spec } => {
                    let patch = json!({"metadata": {"resourceVersion": resource_version}, "spec": spec});
                    Some(Act::Patch { name: NAME.into(), patch: patch.into(), status: false })
                }
            };
            if let Some(act) = act {
                self.begin(act);
            }
        }
        let tells = self.election.leads(now);
        if tells != self.telling {
            self.telling = tells;
            self.unannounced = Unannounced::default();
            if tells {
                info!(event = "tellingOfServices", "this speaker tells of Services that no node announces");
                self.look_at_all(engine);
            }
        }
        tells
    }

    fn begin(&mut self, act: Act) {
        let write = Write { kind: &LEASE, namespace: self.namespace.clone(), act };
        let client = self.client.clone();
        self.under_way = Some(Box::pin(async move { write.perform(&client).await }));
    }

    /// Something was decided.
    pub fn decided(&mut self, engine: &Engine, outcome: &Outcome) {
        if !self.telling {
            return;
        }
        if outcome.reconfigured {
            self.look_at_all(engine);
        }
        self.unseen.extend(outcome.decided.iter().chain(&outcome.allocations).cloned());
    }

    fn look_at_all(&mut self, engine: &Engine) {
        self.unseen.extend(engine.allocator().iter().map(|(key, _)| key.clone()));
    }

    /// What is to be told now, as things stand.
    pub fn due(&mut self, now: Instant, engine: &Engine) -> Vec<Telling> {
        let decisions = engine.decisions();
        if decisions.options.live != self.live {
            // Any of them may have been the owner, or may be it now.
            self.live.clone_from(&decisions.options.live);
            self.look_at_all(engine);
        }
        for key in std::mem::take(&mut self.unseen) {
            match engine.world().service(&key) {
                Some(service) => self.unannounced.judge(now, &key, decisions.nowhere(service)),
                None => self.unannounced.gone(&key),
            }
        }
        self.unannounced.due(now)
    }

    /// When to come back, if nothing happens before.
    pub fn next_timeout(&self) -> Option<Instant> {
        let told = self.unannounced.next_timeout().filter(|_| self.telling);
        [self.wake.filter(|_| self.under_way.is_none()), told].into_iter().flatten().min()
    }

    /// Waits for the answer to what was written. Dropping the future loses nothing.
    pub async fn next(&mut self) {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let answer = under_way.await;
        self.under_way = None;
        let now = self.clock.elapsed();
        match (answer, self.asked.take()) {
            (Answer::Written(object), None) => {
                self.refused = false;
                self.election.wrote(Lease::of(&object), now);
            }
            // Another one was faster, or the API server's data is an older one. Until that is known nothing else is tried.
            (Answer::Conflict, None) => {
                self.asked = Some(now);
                self.begin(Act::Find(NAME.into()));
            }
            (Answer::Written(object), Some(asked)) => {
                self.election.failed();
                self.election.listed(Some(Lease::of(&object)), asked, now);
            }
            (Answer::Gone, Some(asked)) => {
                self.election.failed();
                self.election.listed(None, asked, now);
            }
            (answer, _) => {
                if matches!(answer, Answer::Refused(_)) && !self.refused {
                    self.refused = true;
                    warn!(event = "leaseRefused", lease = NAME, answer = %answer, "Services that no node announces aren't told of by this speaker");
                }
                self.election.failed();
            }
        }
    }
}
