//! The Lease of this speaker, by which the others see that it is alive, and theirs.
//!
//! Only while layer 2 is in use: its election is between the speakers that are alive. The lease is renewed by a merge patch
//! each two seconds, and given up at the end, so that the others take over at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::members::{LEASE_DURATION, Lease, Members, RENEW_EVERY};
use ferrolb_core::types::{NodeName, Uid};
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::shell::kube::kinds;
use crate::shell::kube::{Act, Answer, Write};

/// What the names of the leases begin with; the node's name follows.
const PREFIX: &str = "speaker-";
/// The label of the leases.
pub const LABEL: (&str, &str) = ("ferrolb.io/lease", "speaker");
/// For how long a speaker that begins holds itself back, so that it hears of those that begin with it.
const SETTLE: Duration = Duration::from_secs(2);
/// How long giving it up may take: the process is about to end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// See the module.
pub struct Leases {
    client: ::kube::Client,
    namespace: Arc<str>,
    node: NodeName,
    node_uid: Option<Uid>,
    members: Members,
    in_use: bool,
    /// Whether all leases were seen that there were.
    listed: bool,
    /// Whether this speaker leaves layer 2 to others than FerroLB.
    back: bool,
    /// From when on it counts who is alive.
    settled: Instant,
    /// Whether the lease was ever taken.
    taken: bool,
    due: Instant,
    under_way: Option<BoxFuture<'static, Answer>>,
    told: bool,
}

impl Leases {
    /// Not in use.
    pub fn new(client: ::kube::Client, namespace: &Arc<str>, node: &NodeName) -> Leases {
        Leases {
            client,
            namespace: namespace.clone(),
            node: node.clone(),
            node_uid: None,
            members: Members::new(node.clone()),
            in_use: false,
            listed: false,
            back: false,
            settled: Instant::now(),
            taken: false,
            due: Instant::now(),
            under_way: None,
            told: false,
        }
    }

    /// The Node object's UID: it owns the lease.
    pub fn owned_by(&mut self, uid: Uid) {
        self.node_uid = Some(uid);
    }

    /// Layer 2 is in use from now on.
    pub fn begin(&mut self) {
        self.in_use = true;
    }

    /// All leases that there are were seen. Before that this speaker would take itself for the only one, and takes no lease:
    /// others would leave to it what it doesn't answer for.
    pub fn listed(&mut self) {
        if !std::mem::replace(&mut self.listed, true) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let now = Instant::now();
        self.due = now;
        self.settled = now.checked_add(SETTLE).unwrap_or(now);
    }

    /// Layer 2 is left to others than FerroLB from now on, or no more: the lease is given up, or taken again.
    pub fn stand_back(&mut self, back: bool) {
        if back == self.back {
            return;
        }
        self.back = back;
        self.under_way = None;
        if !back {
            self.settle();
        } else if std::mem::take(&mut self.taken) {
            let (write, client) = (self.surrender(), self.client.clone());
            self.under_way = Some(Box::pin(async move { write.perform(&client).await }));
        }
    }

    /// Whether layer 2 is in use.
    pub fn in_use(&self) -> bool {
        self.in_use
    }

    /// Whether it is known who is alive, this speaker among them, or that doesn't matter.
    pub fn is_settled(&self) -> bool {
        !self.in_use || (self.taken && self.has_heard())
    }

    /// Whether those that began with it had the time to be heard.
    fn has_heard(&self) -> bool {
        !self.back && self.listed && Instant::now() >= self.settled
    }

    /// A lease was seen, or is gone.
    pub fn saw(&mut self, now: Instant, name: &str, spec: Option<&Value>) {
        let Some(node) = name.strip_prefix(PREFIX).map(NodeName::new) else { return };
        let Some(spec) = spec else {
            self.members.gone(&node);
            return;
        };
        let text = |name: &str| spec.get(name).and_then(Value::as_str).unwrap_or_default();
        let seconds = spec.get("leaseDurationSeconds").and_then(Value::as_u64).filter(|s| *s > 0);
        let lease = Lease {
            held: !text("holderIdentity").is_empty(),
            mark: text("renewTime").to_owned(),
            duration: seconds.map_or(LEASE_DURATION, Duration::from_secs),
        };
        self.members.saw(now, &node, lease);
    }

    /// The nodes whose speaker is alive, none at the very beginning; `None`: that doesn't matter at present.
    pub fn alive(&self) -> Option<BTreeSet<NodeName>> {
        self.in_use.then(|| if self.has_heard() { self.members.alive().clone() } else { BTreeSet::new() })
    }

    /// Waits for what is due, and does it. Dropping the future loses nothing.
    pub async fn next(&mut self) {
        if !self.in_use || !self.listed {
            return std::future::pending().await;
        }
        if self.back {
            if let Some(under_way) = &mut self.under_way {
                // Whether it is taken or not: others see it run out.
                under_way.await;
                self.under_way = None;
            }
            return std::future::pending().await;
        }
        if self.under_way.is_none() && self.due <= Instant::now() {
            let write = self.renewal(self.taken);
            let client = self.client.clone();
            self.under_way = Some(Box::pin(async move { write.perform(&client).await }));
        }
        let unsettled = Some(self.settled).filter(|settled| *settled > Instant::now());
        let judged = self.members.next_timeout().into_iter().chain(unsettled).min();
        if let Some(under_way) = &mut self.under_way {
            tokio::select! {
                answer = under_way => {
                    self.under_way = None;
                    self.renewed(answer);
                }
                () = until(judged) => {}
            }
        } else {
            let due = judged.map_or(self.due, |judged| judged.min(self.due));
            until(Some(due)).await;
        }
        self.members.handle_timeout(Instant::now());
    }

    fn renewed(&mut self, answer: Answer) {
        let now = Instant::now();
        self.due = now.checked_add(RENEW_EVERY).unwrap_or(now);
        match answer {
            Answer::Written(_) => {
                self.taken = true;
                self.members.renewed(now);
                if std::mem::take(&mut self.told) {
                    info!(event = "leaseRenewed", "this speaker's lease is renewed again");
                }
            }
            // It isn't there yet, or isn't any more; or it is there after all.
            Answer::Gone if self.taken => {
                self.taken = false;
                self.due = now;
            }
            Answer::Conflict => {
                self.taken = true;
                self.due = now;
            }
            answer @ (Answer::Gone | Answer::Refused(_) | Answer::Unreachable(_)) => {
                self.members.not_renewed(now);
                let why = match answer {
                    Answer::Refused(why) | Answer::Unreachable(why) => why,
                    _ => "there is no such namespace, or no Leases".to_owned(),
                };
                if !std::mem::replace(&mut self.told, true) {
                    warn!(event = "leaseNotRenewed", error = %why, "this speaker's lease can't be renewed: who owns what on layer 2 stays as it was");
                }
            }
        }
    }

    /// The others may take over.
    pub async fn give_up(mut self) {
        self.under_way = None;
        if !self.taken {
            return;
        }
        let write = self.surrender();
        // If it doesn't arrive, they take over when it has run out.
        let _ = tokio::time::timeout(LAST_WORDS, write.perform(&self.client)).await;
    }

    /// The write that gives the lease up.
    fn surrender(&self) -> Write {
        let patch = json!({"spec": {"holderIdentity": "", "renewTime": now()}});
        self.write(Act::Patch { name: self.name(), patch: patch.into(), status: false })
    }

    /// The write that renews the lease, or makes it.
    fn renewal(&self, there: bool) -> Write {
        let spec = json!({
            "holderIdentity": self.node.as_str(),
            "leaseDurationSeconds": LEASE_DURATION.as_secs(),
            "renewTime": now(),
        });
        let labels = json!({ (LABEL.0): LABEL.1 });
        if there {
            // Whoever made it, or took its label: without one nobody sees it.
            let patch = json!({ "metadata": { "labels": labels }, "spec": spec });
            return self.write(Act::Patch { name: self.name(), patch: patch.into(), status: false });
        }
        let owners: Vec<Value> = self
            .node_uid
            .iter()
            .map(|uid| json!({"apiVersion": "v1", "kind": "Node", "name": self.node.as_str(), "uid": uid.to_string()}))
            .collect();
        self.write(Act::Create(
            json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": &*self.name(),
                    "labels": labels,
                    "ownerReferences": owners,
                },
                "spec": spec,
            })
            .into(),
        ))
    }

    fn write(&self, act: Act) -> Write {
        Write { kind: &kinds::LEASE, namespace: self.namespace.clone(), act }
    }

    fn name(&self) -> Arc<str> {
        format!("{PREFIX}{}", self.node).into()
    }
}

fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
