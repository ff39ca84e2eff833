use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Content, Identity, Kind, Object, Subject, Wanted};
use crate::event::ServiceEvent;
use crate::types::{Copies, Json, Uid};

/// How much a ledger may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Writes a second; as many as in two seconds may come at once. 0: nothing is ever written.
    pub rate: u32,
    /// How many writes may be under way.
    pub parallel: usize,
}

/// A write to be made.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Make this object; its status comes in a write of its own.
    Create {
        /// What it is about: whose outcome is to be told.
        subject: Subject,
        /// The object.
        body: Json,
    },
    /// Merge this into the `status` subresource of the object.
    Status {
        /// What it is about.
        subject: Subject,
        /// The object's name.
        name: Arc<str>,
        /// The patch.
        patch: Json,
    },
    /// Delete the object, if it still has this UID.
    Delete {
        /// What it is about.
        subject: Subject,
        /// The object's name.
        name: Arc<str>,
        /// Its UID.
        uid: Uid,
    },
    /// Make this Event.
    Event {
        /// What is told.
        event: Box<ServiceEvent>,
        /// The object.
        body: Json,
    },
}

impl Write {
    /// What it is about, unless it is an event.
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Write::Create { subject, .. } | Write::Status { subject, .. } | Write::Delete { subject, .. } => {
                Some(subject)
            }
            Write::Event { .. } => None,
        }
    }
}

/// What became of a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The API server has this object now.
    Stands(Object),
    /// The object is gone.
    Gone,
    /// It was refused: it is tried again later, but for an event.
    Failed,
    /// There is an Event of that name already.
    Told,
    /// The kind isn't served: all of the kind are tried again later.
    Unserved,
    /// Nobody answered: everything is tried again later.
    Unreachable,
}

/// How many events may wait; of more the oldest are dropped.
const EVENTS: usize = 10_000;
/// For so many subjects, and events, there may always be room to wait in.
const ROOM: usize = 256;
/// The pause after nobody answered.
const SILENCE: Duration = Duration::from_secs(2);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    identity: Identity,
    settings: Settings,
    wanted: BTreeMap<Subject, Wanted>,
    /// What the watches have shown, and what was written since: by name, mostly one, and there may be one for each service.
    seen: BTreeMap<Subject, Vec<Object>>,
    /// What each object is about, by kind and name.
    names: HashMap<(Kind, Arc<str>), Subject>,
    /// Kinds whose objects are all known, and kinds of which all that is wanted is known.
    listed: BTreeSet<Kind>,
    complete: BTreeSet<Kind>,
    /// Subjects to look at: in order, and as a set.
    queue: VecDeque<Subject>,
    queued: HashSet<Subject>,
    /// The content that a write under way gives, where it does.
    busy: HashMap<Subject, Option<Content>>,
    /// Events that wait. They come after all else, once, whatever becomes of them; but that of which the name is taken may have
    /// another one.
    events: VecDeque<ServiceEvent>,
    events_under_way: usize,
    messages: Copies<str>,
    /// How often in a row, and until when it is left alone.
    failed: BTreeMap<Subject, (u32, Option<Instant>)>,
    paused: BTreeMap<Kind, Instant>,
    /// Writes that may be made, in millionths, as of a time.
    tokens: (u64, Option<Instant>),
    sets: Copies<BTreeSet<Arc<str>>>,
}

impl Ledger {
    /// In which nothing is wanted, and nothing known.
    pub fn new(identity: Identity, settings: Settings) -> Ledger {
        Ledger {
            identity,
            settings,
            wanted: BTreeMap::new(),
            seen: BTreeMap::new(),
            names: HashMap::new(),
            listed: BTreeSet::new(),
            complete: BTreeSet::new(),
            queue: VecDeque::new(),
            queued: HashSet::new(),
            busy: HashMap::new(),
            events: VecDeque::new(),
            events_under_way: 0,
            messages: Copies::default(),
            failed: BTreeMap::new(),
            paused: BTreeMap::new(),
            tokens: (full(settings.rate), None),
            sets: Copies::default(),
        }
    }

    /// This is wanted of a subject now; `None`: no object.
    pub fn want(&mut self, subject: Subject, mut wanted: Option<Wanted>) {
        if let Some(wanted) = &mut wanted {
            self.share(wanted);
        }
        let differs = match &wanted {
            Some(new) => self.wanted.get(&subject) != Some(new),
            None => self.wanted.contains_key(&subject),
        };
        match wanted {
            Some(new) if differs => drop(self.wanted.insert(subject.clone(), new)),
            Some(_) => {}
            None => drop(self.wanted.remove(&subject)),
        }
        if differs {
            self.failed.remove(&subject);
            self.look_at(subject);
        }
    }

    /// What is wanted of a subject.
    pub fn wanted(&self, subject: &Subject) -> Option<&Wanted> {
        self.wanted.get(subject)
    }

    /// The subjects of a kind of which something is wanted.
    pub fn wanted_of(&self, kind: Kind) -> impl Iterator<Item = &Subject> {
        self.wanted.keys().filter(move |subject| subject.kind() == kind)
    }

    /// The Node object has this UID: it owns what is made from now on.
    pub fn owned_by(&mut self, node_uid: Uid) {
        self.identity.node_uid = node_uid;
    }

    /// All that is wanted of a kind is known: from now on, own objects that nobody wants are deleted.
    pub fn complete(&mut self, kind: Kind) {
        if self.complete.insert(kind) {
            self.look_at_all(kind);
        }
    }

    /// These are all objects of a kind, as the API server has listed them.
    pub fn listed(&mut self, kind: Kind, objects: Vec<Object>) {
        let there: HashSet<Arc<str>> = objects.iter().map(|o| o.name.clone()).collect();
        let known = self.names.keys().filter(|(k, name)| *k == kind && !there.contains(name));
        let gone: Vec<Arc<str>> = known.map(|(_, name)| name.clone()).collect();
        for name in gone {
            self.gone(kind, &name);
        }
        for object in objects {
            self.saw_listed(kind, object);
        }
        self.listed.insert(kind);
        self.look_at_all(kind);
    }

    /// An object was in a list: it is so, though its version be older than what is known, since versions go back where the API server's
    /// data was restored. A list that was asked for before an own write costs that write once more.
    pub fn saw_listed(&mut self, kind: Kind, object: Object) {
        self.gone(kind, &object.name);
        self.file(kind, object);
    }

    /// An object was seen. One older than what is known of it doesn't count: own writes are known before the watch shows them.
    pub fn saw(&mut self, kind: Kind, object: Object) {
        let key = (kind, object.name.clone());
        if let Some(subject) = self.names.get(&key) {
            let all = self.seen.get(subject).map(Vec::as_slice).unwrap_or_default();
            let known = all.iter().find(|known| known.name == object.name);
            if known.is_some_and(|known| known.uid == object.uid && known.version > object.version) {
                return;
            }
            if *subject != object.subject {
                self.gone(kind, &object.name);
            }
        }
        self.file(kind, object);
    }

    /// An object is gone.
    pub fn gone(&mut self, kind: Kind, name: &Arc<str>) {
        let Some(subject) = self.names.remove(&(kind, name.clone())) else { return };
        if let Some(all) = self.seen.get_mut(&subject) {
            all.retain(|object| object.name != *name);
            if all.is_empty() {
                self.seen.remove(&subject);
            }
        }
        self.look_at(subject);
    }

    /// Whether an own object of the subject was seen.
    pub fn has(&self, subject: &Subject) -> bool {
        self.own(subject).is_some()
    }

    /// An Event is to be made.
    pub fn tell(&mut self, mut event: ServiceEvent) {
        if self.settings.rate == 0 {
            return;
        }
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        event.event.message = self.messages.share(event.event.message);
        self.events.push_back(event);
    }

    /// The next write that may be made; the object's texts are dated `date`.
    pub fn next(&mut self, now: Instant, date: Timestamp) -> Option<Write> {
        self.wake(now);
        while self.has_room() {
            let Some(subject) = self.queue.front().cloned() else {
                self.forget_room();
                return self.next_event(now);
            };
            let difference = if self.is_held(&subject) { None } else { self.difference(&subject, date) };
            if difference.is_some() && !self.has_token(now) {
                return None;
            }
            self.queue.pop_front();
            self.queued.remove(&subject);
            if let Some((write, content)) = difference {
                self.busy.insert(subject, content);
                self.tokens.0 = self.tokens.0.saturating_sub(ONE);
                return Some(write);
            }
        }
        None
    }

    /// What became of a write.
    pub fn done(&mut self, now: Instant, write: &Write, outcome: Outcome) {
        let Some(subject) = write.subject() else {
            self.events_under_way = self.events_under_way.saturating_sub(1);
            if let (Write::Event { event, .. }, Outcome::Told) = (write, outcome)
                && let Some(occasion) = event.occasion.next()
            {
                self.tell(ServiceEvent { occasion, ..ServiceEvent::clone(event) });
            }
            return;
        };
        let Some(content) = self.busy.remove(subject) else { return };
        let kind = subject.kind();
        match outcome {
            Outcome::Stands(mut object) => {
                // The answer may be in other words than what was sent; it was taken all the same.
                if let Some(content) = content {
                    object.content = content;
                }
                self.failed.remove(subject);
                self.file(kind, object);
            }
            Outcome::Gone => {
                if let Write::Status { name, .. } | Write::Delete { name, .. } = write {
                    self.gone(kind, name);
                }
            }
            Outcome::Failed | Outcome::Told => {
                let count = self.failed.get(subject).map_or(0, |(count, _)| *count).saturating_add(1);
                let pause = Duration::from_secs(1 << count.min(6)).min(LONGEST_PAUSE);
                self.failed.insert(subject.clone(), (count, now.checked_add(pause)));
            }
            Outcome::Unserved => {
                if let Some(until) = now.checked_add(LONGEST_PAUSE) {
                    self.paused.insert(kind, until);
                }
            }
            Outcome::Unreachable => {
                if let Some(until) = now.checked_add(SILENCE) {
                    for kind in Kind::ALL {
                        self.paused.entry(kind).or_insert(until);
                    }
                }
            }
        }
        self.look_at(subject.clone());
    }

    /// When [`next`](Ledger::next) may give something that it doesn't now; `None`: not before something changes.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let retries =
            self.failed.values().filter_map(|(_, until)| *until).chain(self.paused.values().copied()).min();
        let refill = (self.has_work() && self.settings.rate > 0 && self.has_room())
            .then(|| {
                let missing = ONE.saturating_sub(self.tokens_at(now));
                now.checked_add(Duration::from_micros(missing.div_ceil(u64::from(self.settings.rate))))
            })
            .flatten();
        [retries, refill].into_iter().flatten().min()
    }

    /// No subject waits: gives the memory back in which thousands did, and so with events.
    fn forget_room(&mut self) {
        if self.queue.capacity() > ROOM {
            self.queue.shrink_to(ROOM);
            self.queued.shrink_to(ROOM);
        }
        if self.events.is_empty() && self.events.capacity() > ROOM {
            self.events.shrink_to(ROOM);
        }
    }

    fn next_event(&mut self, now: Instant) -> Option<Write> {
        if self.events.is_empty() || !self.has_token(now) {
            return None;
        }
        let event = self.events.pop_front()?;
        self.events_under_way = self.events_under_way.saturating_add(1);
        self.tokens.0 = self.tokens.0.saturating_sub(ONE);
        let body = event.object(self.identity.reporter()).into();
        Some(Write::Event { event: Box::new(event), body })
    }

    fn has_room(&self) -> bool {
        self.busy.len().saturating_add(self.events_under_way) < self.settings.parallel
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || !self.events.is_empty()
    }

    /// What differs of one subject, and the content that the write gives.
    fn difference(&self, subject: &Subject, date: Timestamp) -> Option<(Write, Option<Content>)> {
        let all = self.seen.get(subject).map(Vec::as_slice).unwrap_or_default();
        let own = self.own(subject);
        let Some(content) = self.content(subject, own) else {
            let own = own.filter(|_| self.complete.contains(&subject.kind()))?;
            return Some((delete(own), None));
        };
        let Some(own) = own else {
            return Some((
                Write::Create { subject: subject.clone(), body: self.identity.body(subject).into() },
                Some(Content::Unset),
            ));
        };
        if own.content != content {
            let patch = self.identity.status(subject, &content, date).into();
            let write = Write::Status { subject: subject.clone(), name: own.name.clone(), patch };
            return Some((write, Some(content)));
        }
        // A component has one object of its configuration, of one name.
        let may_be_twice = *subject != Subject::Configuration;
        let surplus = all.iter().filter(|_| may_be_twice).find(|other| {
            other.name != own.name
                && (other.node == self.identity.node || matches!(subject, Subject::ServiceL2(_)))
        });
        surplus.map(|other| (delete(other), None))
    }

    /// What the object is to say; `None`: it is not to be there.
    fn content(&self, subject: &Subject, own: Option<&Object>) -> Option<Content> {
        match self.wanted.get(subject)? {
            Wanted::Content(content) => Some(content.clone()),
            Wanted::Peers { sent, unsettled } => {
                let mut peers = BTreeSet::clone(sent);
                if let Some(Object { content: Content::ServiceBgp(named), .. }) = own {
                    peers.extend(named.intersection(unsettled).cloned());
                }
                (!peers.is_empty()).then(|| Content::ServiceBgp(Arc::new(peers)))
            }
        }
    }

    /// Of the own objects of a subject the oldest.
    fn own(&self, subject: &Subject) -> Option<&Object> {
        let all = self.seen.get(subject)?.iter().filter(|object| object.node == self.identity.node);
        all.min_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)))
    }

    fn share(&mut self, wanted: &mut Wanted) {
        match wanted {
            Wanted::Content(content) => self.share_content(content),
            Wanted::Peers { sent, unsettled } => {
                for names in [sent, unsettled] {
                    *names = self.sets.share(names.clone());
                }
            }
        }
    }

    fn share_content(&mut self, content: &mut Content) {
        match content {
            Content::ServiceBgp(names) | Content::ServiceL2(names) => *names = self.sets.share(names.clone()),
            Content::Unset | Content::Configuration(_) | Content::Session(_) => {}
        }
    }

    fn file(&mut self, kind: Kind, mut object: Object) {
        // What is known under the same words is kept once.
        if let Some((wanted, _)) = self.wanted.get_key_value(&object.subject) {
            object.subject = wanted.clone();
        }
        if object.node == self.identity.node {
            object.node = self.identity.node.clone();
        }
        self.share_content(&mut object.content);
        let subject = object.subject.clone();
        self.names.insert((kind, object.name.clone()), subject.clone());
        let all = self.seen.entry(subject.clone()).or_insert_with(|| Vec::with_capacity(1));
        match all.binary_search_by(|other| other.name.cmp(&object.name)) {
            Ok(place) => {
                if let Some(known) = all.get_mut(place) {
                    *known = object;
                }
            }
            Err(place) => all.insert(place, object),
        }
        self.look_at(subject);
    }

    fn look_at(&mut self, subject: Subject) {
        if self.queued.insert(subject.clone()) {
            self.queue.push_back(subject);
        }
    }

    fn look_at_all(&mut self, kind: Kind) {
        let of_kind = |subject: &&Subject| subject.kind() == kind;
        let all: BTreeSet<Subject> =
            self.wanted.keys().chain(self.seen.keys()).filter(of_kind).cloned().collect();
        all.into_iter().for_each(|subject| self.look_at(subject));
    }

    /// Whether a subject has to wait: what it waits for has it looked at again.
    fn is_held(&self, subject: &Subject) -> bool {
        let kind = subject.kind();
        !self.listed.contains(&kind)
            || self.busy.contains_key(subject)
            || self.failed.get(subject).is_some_and(|(_, until)| until.is_some())
            || self.paused.contains_key(&kind)
    }

    /// What has waited long enough is looked at again.
    fn wake(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (subject, (_, until)) in &mut self.failed {
            if until.is_some_and(|until| until <= now) {
                *until = None;
                due.push(subject.clone());
            }
        }
        due.into_iter().for_each(|subject| self.look_at(subject));
        let over: Vec<Kind> =
            self.paused.iter().filter(|(_, until)| **until <= now).map(|(kind, _)| *kind).collect();
        for kind in over {
            self.paused.remove(&kind);
            self.look_at_all(kind);
        }
    }

    fn tokens_at(&self, now: Instant) -> u64 {
        let (tokens, as_of) = self.tokens;
        let passed = as_of.map_or(Duration::ZERO, |as_of| now.saturating_duration_since(as_of));
        let gained = passed.as_micros().saturating_mul(u128::from(self.settings.rate));
        let full = full(self.settings.rate);
        tokens.saturating_add(u64::try_from(gained).unwrap_or(full)).min(full)
    }

    fn has_token(&mut self, now: Instant) -> bool {
        self.tokens = (self.tokens_at(now), Some(now));
        self.tokens.0 >= ONE
    }
}

/// One write.
const ONE: u64 = 1_000_000;

/// As many writes as may come at once: those of two seconds.
fn full(rate: u32) -> u64 {
    u64::from(rate).saturating_mul(2 * ONE)
}

fn delete(object: &Object) -> Write {
    Write::Delete { subject: object.subject.clone(), name: object.name.clone(), uid: object.uid.clone() }
}
