//! The writes of a speaker: each a task, a few at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ferrolb_core::report::{self, Identity, Kind, Ledger, Object, Outcome, Settings};
use ferrolb_core::types::NodeName;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::warn;

use super::supply::kube_kind;
use crate::shell::kube::kinds;
use crate::shell::kube::{Act, Answer, Write};

/// How many writes may be under way: few, since who waits for an address waits for the same API server.
const PARALLEL: usize = 2;
/// How many different refusals are told; beyond, there is something else wrong.
const REFUSALS: usize = 100;

/// See the module.
pub struct Writes {
    client: ::kube::Client,
    namespace: Arc<str>,
    session_namespace: Arc<str>,
    under_way: JoinSet<(report::Write, Answer)>,
    /// What was refused and told of.
    told: BTreeSet<(&'static str, String)>,
}

impl Writes {
    /// Into these namespaces: for BGPSessionState objects, and for all others.
    pub fn new(client: ::kube::Client, session_namespace: &Arc<str>, namespace: &Arc<str>) -> Writes {
        Writes {
            client,
            namespace: namespace.clone(),
            session_namespace: session_namespace.clone(),
            under_way: JoinSet::new(),
            told: BTreeSet::new(),
        }
    }

    /// A ledger for this node, with at most so many writes a second.
    pub fn ledger(node: &NodeName, rate: u32) -> Ledger {
        let identity = Identity { node: node.as_str().into(), node_uid: "".into() };
        Ledger::new(identity, Settings { rate, parallel: PARALLEL })
    }

    /// Begins what may be written now.
    pub fn begin(&mut self, ledger: &mut Ledger, now: Instant) {
        while let Some(write) = ledger.next(now, Timestamp::now()) {
            let (client, asked) = (self.client.clone(), self.asked(&write));
            self.under_way.spawn(async move {
                let answer = asked.perform(&client).await;
                (write, answer)
            });
        }
    }

    /// Waits until a write has ended, and tells the ledger. Dropping the future loses nothing.
    pub async fn ended(&mut self, ledger: &mut Ledger) {
        let (write, answer) = loop {
            match self.under_way.join_next().await {
                Some(Ok(ended)) => break ended,
                // It can't fail but by a fault of ours, which the runtime has told.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        };
        if let Answer::Refused(why) = &answer {
            self.tell(&write, why);
        }
        ledger.done(Instant::now(), &write, outcome(&write, answer));
    }

    fn asked(&self, write: &report::Write) -> Write {
        let (kind, namespace) = match write.subject().map(report::Subject::kind) {
            Some(kind @ Kind::BgpSessionState) => (kube_kind(kind), &self.session_namespace),
            Some(kind) => (kube_kind(kind), &self.namespace),
            None => (&kinds::EVENT, &self.namespace),
        };
        let (namespace, act) = match write {
            report::Write::Event { event, body } => (&event.service.namespace, Act::Create(body.clone())),
            report::Write::Create { body, .. } => (namespace, Act::Create(body.clone())),
            report::Write::Status { name, patch, .. } => {
                (namespace, Act::Patch { name: name.clone(), patch: patch.clone(), status: true })
            }
            report::Write::Delete { name, uid, .. } => {
                (namespace, Act::Delete { name: name.clone(), uid: uid.clone() })
            }
        };
        Write { kind, namespace: namespace.clone(), act }
    }

    fn tell(&mut self, write: &report::Write, why: &str) {
        let kind = write.subject().map_or("Event", |subject| subject.kind().name());
        if self.told.len() < REFUSALS && self.told.insert((kind, why.to_owned())) {
            warn!(event = "statusNotWritten", kind, error = %why, "the API server refuses a status or an event; announcing goes on, and it is tried again");
        }
    }
}

/// What an answer means to the ledger.
fn outcome(write: &report::Write, answer: Answer) -> Outcome {
    match (write, answer) {
        (_, Answer::Unreachable(_)) => Outcome::Unreachable,
        (
            report::Write::Create { subject, .. } | report::Write::Status { subject, .. },
            Answer::Written(value),
        ) => Object::read(subject.kind(), &value).map_or(Outcome::Failed, Outcome::Stands),
        (report::Write::Create { .. }, Answer::Gone) => Outcome::Unserved,
        (report::Write::Event { .. }, Answer::Conflict) => Outcome::Told,
        // Under that name there is another object by now.
        (report::Write::Delete { .. }, Answer::Written(_) | Answer::Conflict)
        | (report::Write::Delete { .. } | report::Write::Status { .. }, Answer::Gone) => Outcome::Gone,
        _ => Outcome::Failed,
    }
}
