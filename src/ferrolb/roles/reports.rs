//! What a speaker writes to the API server, beside announcing: never before it, and never in its way.
//!
//! The main loop tells what changed; the *wire* thread is asked what was really sent, a few hundred prefixes at a time; what
//! is to be written then is the [`Ledger`]'s to say, and each write is a task of its own. Nothing here waits for anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::bgp::fsm::State;
use ferrolb_core::engine::{Engine, Outcome};
use ferrolb_core::event::{Event as Told, Occasion, ServiceEvent};
use ferrolb_core::layer2;
use ferrolb_core::report::{self, Content, Kind, Ledger, Object, Standing, Subject, Telling, View, Wanted};
use ferrolb_core::types::{InterfaceSet, NodeName, ServiceKey, Uid};
use ipnet::IpNet;
use jiff::Timestamp;
use tracing::info;

use crate::shell::bgp::{Event, Holding, SessionSpec};

/// How many services are asked about at a time.
const AT_ONCE: usize = 256;
/// How long after a change the wire thread is asked, so that it has had time to send.
const FIRST_LOOK: Duration = Duration::from_millis(100);
/// How long until it is asked again, while it isn't done with a peer.
const NEXT_LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub struct Reports {
    node: NodeName,
    ledger: Ledger,
    sessions: BTreeMap<Arc<str>, Session>,
    /// Services whose peers have to be looked at, and when.
    unseen: BTreeSet<ServiceKey>,
    look_at: Option<Instant>,
    /// Services that were told to be announced from here.
    assigned: BTreeSet<ServiceKey>,
    /// The same for layer 2.
    answered: BTreeSet<ServiceKey>,
    /// Services that this process has answered for on layer 2 and then didn't: what it finds when it does again it has seen happen.
    left: BTreeSet<ServiceKey>,
    /// The kinds whose standing objects are known: until then it isn't known either what an earlier process told.
    listed: BTreeSet<Kind>,
    /// What was found to be announced before that, and is to be told unless it was.
    early: BTreeSet<Subject>,
    /// The UIDs of Services, for events about them.
    uids: BTreeMap<ServiceKey, Uid>,
    /// Whether every service has been looked at once.
    complete: bool,
    /// Counts what makes an answer of the wire thread worthless, since other prefixes are wanted by now; and the services that
    /// were decided about since it was asked.
    generation: u64,
    decided: BTreeSet<ServiceKey>,
}

struct Session {
    remote: IpAddr,
    standing: Standing,
}

/// What the wire thread is to be asked.
pub struct Question {
    /// Which prefixes.
    pub prefixes: Vec<IpNet>,
    /// For each service, each peer that is to have prefixes of it, and which of the above these are.
    services: Vec<(ServiceKey, Places)>,
    generation: u64,
}

/// For each peer, places in the list of prefixes.
type Places = BTreeMap<Arc<str>, Vec<usize>>;

impl Reports {
    /// Of a node; nothing is known yet.
    pub fn new(node: NodeName, ledger: Ledger) -> Reports {
        Reports {
            node,
            ledger,
            sessions: BTreeMap::new(),
            unseen: BTreeSet::new(),
            look_at: None,
            assigned: BTreeSet::new(),
            answered: BTreeSet::new(),
            left: BTreeSet::new(),
            listed: BTreeSet::new(),
            early: BTreeSet::new(),
            uids: BTreeMap::new(),
            complete: false,
            generation: 0,
            decided: BTreeSet::new(),
        }
    }

    /// What is wanted, and what there is.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// These are all objects of a kind.
    pub fn listed(&mut self, kind: Kind, objects: Vec<Object>) {
        // What an earlier process told isn't told again.
        for object in objects.iter().filter(|object| *object.node == *self.node.as_str()) {
            match &object.subject {
                Subject::ServiceBgp(key) => drop(self.assigned.insert(key.clone())),
                Subject::ServiceL2(key) => drop(self.answered.insert(key.clone())),
                Subject::Configuration | Subject::Session(..) => {}
            }
            self.early.remove(&object.subject);
        }
        self.ledger.listed(kind, objects);
        self.listed.insert(kind);
        for subject in self.early.extract_if(.., |subject| subject.kind() == kind).collect::<Vec<_>>() {
            self.tell_assigned(&subject);
        }
    }

    /// This node announces a Service now, and didn't.
    fn announced(&mut self, subject: Subject) {
        if self.listed.contains(&subject.kind()) {
            self.tell_assigned(&subject);
        } else {
            self.early.insert(subject);
        }
    }

    fn tell_assigned(&mut self, subject: &Subject) {
        let (key, protocol) = match subject {
            Subject::ServiceBgp(key) => (key, "bgp"),
            Subject::ServiceL2(key) => (key, "layer2"),
            Subject::Configuration | Subject::Session(..) => return,
        };
        let message = format!("announcing from node \"{}\" with protocol \"{protocol}\"", self.node);
        self.event(key, Occasion::Own, Told::normal("nodeAssigned", message));
    }

    /// The UID of a Service; `None`: it is gone.
    pub fn service(&mut self, key: ServiceKey, uid: Option<Uid>) {
        match uid {
            Some(uid) => drop(self.uids.insert(key, uid)),
            None => {
                self.uids.remove(&key);
                self.left.remove(&key);
            }
        }
    }

    /// Everything was decided for the first time, and the wire thread knows.
    pub fn start(&mut self, now: Instant, engine: &Engine) {
        self.generation = self.generation.wrapping_add(1);
        self.configured(now, engine);
        self.look_at_all(now, engine);
    }

    /// After a time in which nothing was announced, and nothing told, as at the start.
    pub fn begin_again(&mut self, now: Instant, engine: &Engine) {
        self.sessions.clear();
        self.start(now, engine);
    }

    /// Something was decided, and the wire thread knows.
    pub fn decided(&mut self, now: Instant, engine: &Engine, outcome: &Outcome) {
        if outcome.reconfigured {
            self.start(now, engine);
        } else if !outcome.decided.is_empty() {
            self.decided.extend(outcome.decided.iter().cloned());
            self.unseen.extend(outcome.decided.iter().cloned());
            self.look_again(now, FIRST_LOOK);
        }
    }

    /// What is answered for on layer 2 has changed.
    pub fn layer2_decided(&mut self, engine: &Engine, outcome: &Outcome) {
        let addresses = engine.addresses();
        let mut touched: BTreeSet<&ServiceKey> =
            outcome.layer2_announcements.iter().map(|(key, _)| key).collect();
        touched.extend(outcome.addresses.iter().flat_map(|change| addresses.services(change.address)));
        for key in touched {
            let subject = Subject::ServiceL2(key.clone());
            if addresses.reason(key) != Some(None) {
                self.answered.remove(key);
                if self.ledger.wanted(&subject).is_some() && engine.world().service(key).is_some() {
                    self.left.insert(key.clone());
                }
                self.early.remove(&subject);
                self.ledger.want(subject, None);
                continue;
            }
            let allocation = engine.allocator().get(key);
            let ips = allocation.map(|a| &*a.ips).unwrap_or_default();
            let interfaces =
                ips.iter().filter_map(|ip| addresses.interfaces(*ip)).reduce(InterfaceSet::union);
            let interfaces = match interfaces {
                Some(InterfaceSet::Only(names)) => names,
                Some(InterfaceSet::Any) | None => BTreeSet::new(),
            };
            self.ledger
                .want(subject.clone(), Some(Wanted::Content(Content::ServiceL2(Arc::new(interfaces)))));
            if self.answered.insert(key.clone()) {
                self.announced(subject);
            }
        }
    }

    /// It is known which speakers are alive, and what follows from that was told: from now on, what an earlier process claimed
    /// and this one doesn't is deleted.
    pub fn layer2_settled(&mut self) {
        self.ledger.complete(Kind::ServiceL2Status);
    }

    /// An address has no interface to be answered for on.
    pub fn layer2_happened(&mut self, engine: &Engine, event: &layer2::Event) {
        let layer2::Event::NoInterface { address, from_the_first, .. } = event else { return };
        let message = format!(
            "interfaces for LB IP \"{address}\" absent on node \"{}\" with protocol \"layer2\"",
            self.node
        );
        let services: Vec<ServiceKey> = engine.addresses().services(*address).cloned().collect();
        for key in services {
            // A speaker that starts anew finds the same again.
            let found = *from_the_first && !self.left.contains(&key);
            let occasion = if found { Occasion::Found } else { Occasion::Seen(0) };
            self.event(&key, occasion, Told::warning("announceFailed", message.clone()));
        }
    }

    fn configured(&mut self, now: Instant, engine: &Engine) {
        let node = engine.nodes().iter().find(|n| n.name == self.node);
        let errors = &engine.config().errors;
        let errors = report::speaker_errors(errors, engine.world(), node.map(|n| &n.labels));
        let errors = errors.map(ToString::to_string).collect();
        let wanted = Wanted::Content(Content::Configuration(errors));
        self.ledger.want(Subject::Configuration, Some(wanted));
        self.ledger.complete(Kind::ConfigurationState);
        let peers = engine.routes().peers();
        let specs = peers
            .iter()
            .filter_map(|(name, group)| SessionSpec::of(engine.config().peer(name)?, *group).ok());
        let mut before = std::mem::take(&mut self.sessions);
        for spec in specs {
            let remote = spec.remote.ip();
            let known = before.remove(&spec.name).filter(|known| known.remote == remote);
            let session = known.unwrap_or_else(|| Session { remote, standing: Standing::new(now) });
            self.sessions.insert(spec.name, session);
        }
        self.tell_sessions();
    }

    /// Something happened to a session.
    pub fn happened(&mut self, now: Instant, engine: &Engine, event: &Event) {
        let Event::SessionChanged { peer, new, .. } = event else { return };
        let Some(session) = self.sessions.get_mut(peer) else { return };
        session.standing.set(now, *new == State::Established);
        if *new == State::Established {
            session.standing.settle(now);
            self.tell_sessions();
            self.look_at_all(now, engine);
        }
    }

    /// Tells of sessions what has stood for long enough.
    pub fn handle_timeout(&mut self, now: Instant, engine: &Engine) {
        let mut any = false;
        for session in self.sessions.values_mut() {
            any |= session.standing.settle(now);
        }
        if any {
            self.tell_sessions();
            self.look_at_all(now, engine);
        }
    }

    /// When there is something to do, if nothing happens before.
    pub fn next_timeout(&self, now: Instant, asking: bool) -> Option<Instant> {
        let sessions = self.sessions.values().filter_map(|s| s.standing.due()).min();
        let look = self.look_at.filter(|_| !asking);
        [sessions, look, self.ledger.next_timeout(now)].into_iter().flatten().min()
    }

    /// The next question to the wire thread, where its time has come.
    pub fn question(&mut self, now: Instant, engine: &Engine) -> Option<Question> {
        self.look_at.take_if(|due| *due <= now)?;
        let mut question =
            Question { prefixes: Vec::new(), services: Vec::new(), generation: self.generation };
        self.decided.clear();
        let mut places: BTreeMap<IpNet, usize> = BTreeMap::new();
        while question.services.len() < AT_ONCE {
            let Some(key) = self.unseen.pop_first() else { break };
            let mut peers = BTreeMap::new();
            for (peer, prefixes) in engine.routes().prefixes(&key) {
                let place = |prefix: IpNet| {
                    *places.entry(prefix).or_insert_with(|| {
                        question.prefixes.push(prefix);
                        question.prefixes.len() - 1
                    })
                };
                peers.insert(peer.clone(), prefixes.into_iter().map(place).collect());
            }
            question.services.push((key, peers));
        }
        Some(question)
    }

    /// What the wire thread said to it.
    pub fn answered(&mut self, now: Instant, question: Question, holdings: &[Holding]) {
        if question.generation != self.generation {
            // It is about prefixes that may not be wanted any more.
            self.unseen.extend(question.services.into_iter().map(|(key, _)| key));
            self.look_again(now, FIRST_LOOK);
            return;
        }
        let more = !self.unseen.is_empty();
        let holdings: BTreeMap<&Arc<str>, &Holding> = holdings.iter().map(|h| (&h.peer, h)).collect();
        for (key, peers) in question.services {
            if self.decided.contains(&key) {
                continue;
            }
            if peers.is_empty() {
                // As long as it is to be announced, a session that ends and comes back is no news of the service.
                self.assigned.remove(&key);
            }
            let (mut sent, mut unsettled) = (BTreeSet::new(), BTreeSet::new());
            for (peer, prefixes) in peers {
                let view = self.sessions.get(&peer).map(|session| session.standing.view());
                let holding = holdings.get(&peer);
                let has = |place: &usize| holding.and_then(|h| h.has.get(*place)).is_some_and(|has| *has);
                match view {
                    None | Some(View::Down) => {}
                    Some(View::Up) if prefixes.iter().any(has) => drop(sent.insert(peer)),
                    Some(View::Up) if holding.is_some_and(|h| h.settled) => {}
                    Some(View::Up) => {
                        self.unseen.insert(key.clone());
                        unsettled.insert(peer);
                    }
                    Some(View::Unsettled) => drop(unsettled.insert(peer)),
                }
            }
            self.tell_service(key, sent, unsettled);
        }
        if more {
            self.look_at = Some(now);
        } else {
            if !self.unseen.is_empty() {
                self.look_again(now, NEXT_LOOK);
            }
            if !self.complete {
                self.complete = true;
                self.ledger.complete(Kind::ServiceBgpStatus);
            }
        }
    }

    fn tell_service(&mut self, key: ServiceKey, sent: BTreeSet<Arc<str>>, unsettled: BTreeSet<Arc<str>>) {
        let subject = Subject::ServiceBgp(key.clone());
        if sent.is_empty() && unsettled.is_empty() {
            self.early.remove(&subject);
            self.ledger.want(subject, None);
            return;
        }
        if !sent.is_empty() && self.assigned.insert(key) {
            self.announced(subject.clone());
        }
        let (sent, unsettled) = (Arc::new(sent), Arc::new(unsettled));
        self.ledger.want(subject, Some(Wanted::Peers { sent, unsettled }));
    }

    /// No node announces a Service. Whoever leads next finds the same again.
    pub fn not_announced(&mut self, telling: &Telling) {
        let Telling { service, why, stood } = telling;
        let Some((_, reason)) = why.first() else { return };
        let message = format!("no node announces it: {}", telling.text());
        info!(event = "notAnnounced", %service, "{message}");
        let occasion = if *stood { Occasion::Found } else { Occasion::Seen(0) };
        self.event(service, occasion, Told::warning(reason.code(), message));
    }

    fn event(&mut self, key: &ServiceKey, occasion: Occasion, event: Told) {
        let (service, uid) = (key.clone(), self.uids.get(key).cloned());
        self.ledger.tell(ServiceEvent { service, uid, version: None, event, occasion, at: Timestamp::now() });
    }

    /// Makes the objects of sessions say how they stand; of what is unsettled they go on saying what they did.
    fn tell_sessions(&mut self) {
        let mut views: BTreeMap<IpAddr, View> = BTreeMap::new();
        for Session { remote, standing } in self.sessions.values() {
            let view = standing.view();
            let known = views.entry(*remote).or_insert(view);
            // Of several with one router, the one that stands is its session.
            if *known == View::Down || view == View::Up {
                *known = view;
            }
        }
        let gone = |subject: &&Subject| match subject {
            Subject::Session(session) => !views.contains_key(&session.0),
            _ => false,
        };
        let gone: Vec<Subject> = self.ledger.wanted_of(Kind::BgpSessionState).filter(gone).cloned().collect();
        for subject in gone {
            self.ledger.want(subject, None);
        }
        let mut complete = true;
        for (remote, view) in views {
            let subject = Subject::session(remote, "");
            match view {
                View::Unsettled => complete &= self.ledger.wanted(&subject).is_some(),
                View::Up | View::Down => {
                    let content = Content::Session(view == View::Up);
                    self.ledger.want(subject, Some(Wanted::Content(content)));
                }
            }
        }
        if complete {
            self.ledger.complete(Kind::BgpSessionState);
        }
    }

    fn look_at_all(&mut self, now: Instant, engine: &Engine) {
        self.unseen.extend(engine.routes().reasons().keys().cloned());
        let known = self.ledger.wanted_of(Kind::ServiceBgpStatus).filter_map(|subject| match subject {
            Subject::ServiceBgp(key) => Some(key.clone()),
            _ => None,
        });
        self.unseen.extend(known);
        self.look_again(now, FIRST_LOOK);
    }

    fn look_again(&mut self, now: Instant, after: Duration) {
        if let Some(due) = now.checked_add(after) {
            self.look_at = Some(self.look_at.map_or(due, |set| set.min(due)));
        }
    }
}

#[cfg(test)]
mod tests;
