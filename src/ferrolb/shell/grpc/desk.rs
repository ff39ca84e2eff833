//! Where the main loop answers questions and tells what changes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_core::decide::{Protocol, Reason};
use ferrolb_core::engine::{Announcement, Engine, Outcome, Snapshot};
use ferrolb_core::plan::{self, Context, Only};
use ferrolb_core::types::{Issue, NodeName, ObjectKey, ServiceKey};
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot};
use tonic::Status;

use super::api::watch_event::Change;
use super::api::{AnnouncementChange, ManifestChange, WatchEvent};
use super::convert;
use crate::shell::bgp::Event;

/// How many questions may wait.
const QUESTIONS: usize = 16;
/// How many changes a watcher may lag behind.
const CHANGES: usize = 4096;
/// Why a service isn't announced that would be: beside the reasons that are decided.
const STANDING_BACK: &str = "standingBack";

/// What the role is about: the same for all its life.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The node that it announces for.
    pub node: NodeName,
    /// The namespace that configuration objects live in.
    pub namespace: Arc<str>,
    /// The load balancer class that is managed; `None`: services without one.
    pub class: Option<String>,
}

/// A question.
pub(super) enum Question {
    Standing(oneshot::Sender<Standing>),
    Watch(oneshot::Sender<Watch>),
}

/// How things stand, as far as the engine knows.
pub(super) struct Standing {
    pub(super) scope: Scope,
    pub(super) engine: Snapshot,
    pub(super) manifest_errors: BTreeSet<String>,
    pub(super) standing_back_for: BTreeSet<String>,
    explains_nothing: Option<&'static str>,
}

/// What becomes of a service.
pub(super) struct Explained {
    pub(super) json: String,
    pub(super) text: String,
    pub(super) fine: bool,
    /// Its addresses, where it was asked what this node sends.
    pub(super) own: Option<Vec<IpAddr>>,
}

/// Changes from now on, and how things stood before.
pub(super) struct Watch {
    pub(super) before: Standing,
    /// Whether the node announces each service that has an address, or why not, over each protocol.
    pub(super) announcements: Vec<(ServiceKey, Protocol, Option<&'static str>)>,
    pub(super) changes: broadcast::Receiver<WatchEvent>,
}

/// Asks the main loop.
#[derive(Clone)]
pub struct Inquirer {
    questions: mpsc::Sender<Question>,
}

/// See the module.
pub struct Desk {
    scope: Scope,
    questions: mpsc::Receiver<Question>,
    /// Once somebody has watched: there is room for all that a watcher may lag behind.
    changes: Option<broadcast::Sender<WatchEvent>>,
    manifest_errors: BTreeSet<String>,
    /// Who else runs, so that the role leaves something to them; and whether that is all that it would announce over BGP.
    standing_back_for: BTreeSet<String>,
    silent: bool,
    /// Why nothing is explained here.
    explains_nothing: Option<&'static str>,
}

/// A question that the main loop has taken, to be given to [`Desk::answer`].
pub struct Taken(Question);

impl Desk {
    /// A desk, and who asks there.
    pub fn new(scope: Scope) -> (Desk, Inquirer) {
        let (sender, questions) = mpsc::channel(QUESTIONS);
        let desk = Desk {
            scope,
            questions,
            changes: None,
            manifest_errors: BTreeSet::new(),
            standing_back_for: BTreeSet::new(),
            silent: false,
            explains_nothing: None,
        };
        (desk, Inquirer { questions: sender })
    }

    /// The role can't explain what becomes of a Service, for this reason.
    pub fn explains_nothing(&mut self, why: &'static str) {
        self.explains_nothing = Some(why);
    }

    /// The role leaves something to these; and, where `silent`, all that it would announce over BGP.
    pub fn stands_back_for(&mut self, others: BTreeSet<String>, silent: bool) {
        self.standing_back_for = others;
        self.silent = silent;
    }

    /// The next question; never, where nobody can ask any more. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Taken {
        match self.questions.recv().await {
            Some(question) => Taken(question),
            None => std::future::pending().await,
        }
    }

    /// Answers it as things stand.
    pub fn answer(&mut self, question: Taken, engine: &Engine) {
        // Whoever asked may have gone.
        match question.0 {
            Question::Standing(answer) => drop(answer.send(self.standing(engine))),
            Question::Watch(answer) => drop(answer.send(Watch {
                before: self.standing(engine),
                announcements: self.announcements(engine),
                changes: self.changes.get_or_insert_with(|| broadcast::channel(CHANGES).0).subscribe(),
            })),
        }
    }

    fn standing(&self, engine: &Engine) -> Standing {
        Standing {
            scope: self.scope.clone(),
            engine: engine.snapshot(),
            manifest_errors: self.manifest_errors.clone(),
            standing_back_for: self.standing_back_for.clone(),
            explains_nothing: self.explains_nothing,
        }
    }

    /// Tells what followed from a batch of changes.
    pub fn tell_outcome(&self, outcome: &Outcome, engine: &Engine) {
        if !self.is_watched() {
            return;
        }
        for key in &outcome.allocations {
            let allocation = engine.allocator().get(key).cloned().unwrap_or_default();
            self.tell(Change::Allocation(convert::allocation(key, &allocation)));
        }
        let bgp = outcome.announcements.iter().map(|change| (Protocol::Bgp, change));
        let layer2 = outcome.layer2_announcements.iter().map(|change| (Protocol::Layer2, change));
        for (protocol, (key, change)) in bgp.chain(layer2) {
            let reason = match change {
                Announcement::Announced => None,
                Announcement::NoAddress => Some("noIPAllocated"),
                Announcement::NotAnnounced(reason) => Some(reason.code()),
            };
            self.tell(announcement(key, protocol, self.reason(protocol, reason)));
        }
    }

    /// Why a service isn't announced, where it could be.
    fn reason(&self, protocol: Protocol, reason: Option<&'static str>) -> Option<&'static str> {
        // On layer 2 nobody is alive then, so that nobody is the owner.
        reason.or((protocol == Protocol::Bgp && self.silent).then_some(STANDING_BACK))
    }

    fn announcements(&self, engine: &Engine) -> Vec<(ServiceKey, Protocol, Option<&'static str>)> {
        let code = |reason: Option<Reason>| reason.map(Reason::code);
        let bgp = engine.routes().reasons().iter();
        let bgp = bgp.map(|(key, reason)| (key, Protocol::Bgp, self.reason(Protocol::Bgp, code(*reason))));
        let layer2 = engine.addresses().reasons();
        let layer2 = layer2.map(|(key, reason)| (key, Protocol::Layer2, code(reason)));
        let mut all: Vec<_> = bgp.chain(layer2).map(|(key, p, reason)| (key.clone(), p, reason)).collect();
        all.sort();
        all
    }

    /// Tells that an issue of the configuration came or went.
    pub fn tell_issue(&self, error: bool, issue: &Issue, cleared: bool) {
        if self.is_watched() {
            self.tell(Change::Issue(convert::issue_change(error, issue, cleared)));
        }
    }

    /// Keeps, and tells, that a manifest can't be read, or that it can be again.
    pub fn tell_manifest(&mut self, problem: String, cleared: bool) {
        self.tell(manifest_change(&problem, cleared));
        if cleared {
            self.manifest_errors.remove(&problem);
        } else {
            self.manifest_errors.insert(problem);
        }
    }

    /// Tells what happened to a session.
    pub fn tell_session(&self, happened: &Event) {
        if self.is_watched() {
            self.tell(convert::session_event(happened));
        }
    }

    fn is_watched(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.receiver_count() > 0)
    }

    fn tell(&self, change: Change) {
        // It fails where nobody watches.
        if let Some(changes) = &self.changes {
            let _ = changes.send(event(change, false));
        }
    }
}

impl Standing {
    /// What becomes of a service.
    ///
    /// # Errors
    /// `NOT_FOUND`: there is no such service, node or peer. `FAILED_PRECONDITION`: this role explains nothing.
    pub(super) fn explain(&self, request: &super::api::ExplainRequest) -> Result<Explained, Status> {
        if let Some(why) = self.explains_nothing {
            return Err(Status::failed_precondition(why));
        }
        let Scope { node, namespace, class } = &self.scope;
        let decisions = self.engine.decisions();
        let service = match request.service.split_once('/') {
            Some((namespace, name)) => ServiceKey::new(namespace, name),
            None => ServiceKey::new("default", &request.service),
        };
        let asked_node = (!request.node.is_empty()).then(|| NodeName::new(&request.node));
        if let Some(asked) =
            asked_node.as_ref().filter(|asked| !decisions.nodes.iter().any(|n| n.name == **asked))
        {
            return Err(Status::not_found(format!("there is no Node {:?}", asked.as_str())));
        }
        let peer = (!request.peer.is_empty()).then_some(request.peer.as_str());
        let missing = |name: &&str| {
            decisions.world.config_object(&ObjectKey::new("BGPPeer", namespace, name)).is_none()
        };
        if let Some(name) = peer.filter(missing) {
            return Err(Status::not_found(format!("there is no BGPPeer {name:?}")));
        }
        let context = Context { system_namespace: namespace, class: class.as_deref() };
        let only = Only { node: asked_node.as_ref(), peer };
        let explanation = plan::explain(&decisions, &context, &service, only)
            .ok_or_else(|| Status::not_found(format!("there is no Service {service}")))?;
        let json = serde_json::to_string(&explanation)
            .map_err(|e| Status::internal(format!("can't write JSON: {e}")))?;
        let ips = || decisions.allocator.get(&service).map(|a| a.ips.to_vec()).unwrap_or_default();
        let mut text = explanation.to_string();
        for other in &self.standing_back_for {
            text.push_str(&format!("\nLeft to {other} while that runs, whatever is decided above.\n"));
        }
        Ok(Explained {
            json,
            text,
            fine: explanation.error.is_none()
                && explanation.is_announced()
                && self.standing_back_for.is_empty(),
            own: asked_node.is_none_or(|asked| asked == *node).then(ips),
        })
    }

    /// What the services hold, by their names.
    pub(super) fn allocations(&self) -> Vec<super::api::Allocation> {
        let allocator = self.engine.decisions().allocator;
        allocator.iter().map(|(key, allocation)| convert::allocation(key, allocation)).collect()
    }
}

impl Watch {
    /// How things stood before, as events.
    pub(super) fn before(&self) -> Vec<WatchEvent> {
        let config = self.before.engine.config();
        let issues =
            config.errors.iter().map(|i| (true, i)).chain(config.warnings.iter().map(|i| (false, i)));
        let manifests = self.before.manifest_errors.iter().map(|m| manifest_change(m, false));
        let changes = manifests
            .chain(issues.map(|(error, issue)| Change::Issue(convert::issue_change(error, issue, false))))
            .chain(self.before.allocations().into_iter().map(Change::Allocation))
            .chain(self.announcements.iter().map(|(key, p, reason)| announcement(key, *p, *reason)));
        changes.map(|change| event(change, true)).collect()
    }
}

/// An event of this moment.
pub(super) fn event(change: Change, initial: bool) -> WatchEvent {
    WatchEvent { time_ms: Timestamp::now().as_millisecond(), initial, change: Some(change) }
}

fn manifest_change(message: &str, cleared: bool) -> Change {
    Change::Manifest(ManifestChange { message: message.to_owned(), cleared })
}

fn announcement(service: &ServiceKey, protocol: Protocol, reason: Option<&str>) -> Change {
    Change::Announcement(AnnouncementChange {
        service: service.to_string(),
        announced: reason.is_none(),
        reason: reason.unwrap_or_default().to_owned(),
        protocol: protocol.as_str().to_owned(),
    })
}

impl Inquirer {
    pub(super) async fn standing(&self) -> Result<Standing, Status> {
        self.ask(Question::Standing).await
    }

    pub(super) async fn watch(&self) -> Result<Watch, Status> {
        self.ask(Question::Watch).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Status> {
        let ended = || Status::unavailable("the role is ending");
        let (answer, answered) = oneshot::channel();
        self.questions.send(question(answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())
    }
}
