//! What the controller knows and wants written: objects and answers in, writes out, without a cluster.
//!
//! The answer to a write is the newest form of its object, and is taken in as such; what a watch says later and is older is
//! passed over. So the engine never sees a status of before its own writes, and what isn't its own in a status is news. A list that
//! was asked for after such an answer is the truth all the same: versions go back where the API server's data was restored.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_api::ip_address_pool::IPAddressPoolStatus;
use ferrolb_core::engine::{Engine, Outcome, SourceChange};
use ferrolb_core::event::{Event, Occasion, Reporter, ServiceEvent};
use ferrolb_core::manifest;
use ferrolb_core::outbox::{Done, Outbox};
use ferrolb_core::status::{
    Answer as WarAnswer, Desired, Rewrites, ServiceStatus, complaint, configuration_state, overwritten,
    transition,
};
use ferrolb_core::types::{ServiceKey, Uid};
use ferrolb_core::world::Object;
use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use crate::shell::kube::kinds::{CONFIGURATION_STATE, EVENT, IP_ADDRESS_POOL, SERVICE};
use crate::shell::kube::{Act, Answer, Batch, Seen, Side, Write};

/// How many writes may be under way at a time.
const WRITES: usize = 16;
/// How many events may wait: beyond, they are dropped, since the statuses say the same.
const EVENTS: usize = 10_000;
/// How often one may be refused until it is given up, likewise: with the pauses between, that takes two minutes.
const REFUSALS: u32 = 30;
/// How often the pools' counters are written at most.
const COUNTERS: Duration = Duration::from_secs(1);
/// The name of the controller's ConfigurationState.
const STATE: &str = "controller";
/// Who tells events.
const REPORTER: Reporter<'_> = Reporter { component: "metallb-controller", node: None };

/// What is written about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Service(ServiceKey),
    Pool(Arc<str>),
    State,
    /// Each is written once; the number makes them distinct.
    Event(u64),
}

/// A write that waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Of a Service: what changes by it.
    Service {
        write: Write,
        uid: Uid,
        change: Change,
    },
    Event(Box<Telling>),
    Other(Write),
}

/// What a Service is to show, and what to tell once it does. However often that is tried, the number stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    number: u64,
    desired: Desired,
    events: Vec<Event>,
}

/// An event that waits, and how it went so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    event: ServiceEvent,
    refusals: u32,
    /// Whether it may have been written without that having been heard.
    unanswered: bool,
}

impl Wanted {
    /// What is to be written.
    pub fn write(&self) -> Cow<'_, Write> {
        match self {
            Wanted::Service { write, .. } | Wanted::Other(write) => Cow::Borrowed(write),
            // Thousands may wait: the object is made when its turn has come.
            Wanted::Event(telling) => {
                let act = Act::Create(telling.event.object(REPORTER).into());
                Cow::Owned(Write { kind: &EVENT, namespace: telling.event.service.namespace.clone(), act })
            }
        }
    }
}

/// A Service as it was last seen.
struct Known {
    uid: Uid,
    version: Arc<str>,
    status: ServiceStatus,
    /// When the change was seen that its next write follows from.
    noticed: Option<Instant>,
    /// What it should show and did: whatever it shows after that, without anything else being wanted, another program wrote.
    settled: Option<Desired>,
    /// The change that was last wanted, unless it was told that the Service shows it.
    awaited: Option<Change>,
    /// The number of the last change that was told: an answer may come after the watch has shown what was written, or never.
    told: u64,
    /// When the last answer to a write of it came.
    written: Option<Duration>,
    /// Whether it was judged since this controller leads: what is wrong with it after that, it has seen happen.
    judged: bool,
}

/// See the module.
pub struct Keeper {
    engine: Engine,
    class: Option<String>,
    namespace: Arc<str>,
    /// What times are counted from.
    clock: Instant,
    /// For the ConfigurationState's metadata: the own Pod.
    owner: Option<Value>,
    leading: bool,
    services: HashMap<ServiceKey, Known>,
    /// What is wrong with a Service, and was told.
    complaints: HashMap<ServiceKey, Event>,
    rewrites: HashMap<ServiceKey, Rewrites>,
    /// Services that are left alone until then.
    left: BTreeSet<(Duration, ServiceKey)>,
    pools: BTreeMap<Arc<str>, Value>,
    counters_due: Option<Duration>,
    counters_written: Option<Duration>,
    /// The status of the ConfigurationState; `None`: there is none.
    state: Option<Value>,
    outbox: Outbox<Target, Wanted>,
    changes: u64,
    events: u64,
    /// How many of them wait; those that are being written come to a few more.
    events_waiting: usize,
    /// Whether it was said since it leads that one was refused.
    events_refused: bool,
    /// The last thing that kept a write from being done.
    trouble: Option<String>,
}

impl Keeper {
    /// For services of this class; `namespace` is where configuration objects live, and `clock` what times are counted from. It
    /// doesn't lead.
    pub fn new(mut engine: Engine, class: Option<String>, namespace: Arc<str>, clock: Instant) -> Keeper {
        engine.set_choosing(false);
        Keeper {
            engine,
            class,
            namespace,
            clock,
            owner: None,
            leading: false,
            services: HashMap::new(),
            complaints: HashMap::new(),
            rewrites: HashMap::new(),
            left: BTreeSet::new(),
            pools: BTreeMap::new(),
            counters_due: None,
            counters_written: None,
            state: None,
            outbox: Outbox::new(WRITES),
            changes: 0,
            events: 0,
            events_waiting: 0,
            events_refused: false,
            trouble: None,
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The ConfigurationState, once it is made, belongs to this Pod: an entry of `ownerReferences`.
    pub fn owned_by(&mut self, owner: Value) {
        self.owner = Some(owner);
    }

    /// Takes in what changed.
    pub fn take(&mut self, batch: Batch, now: Duration) -> Outcome {
        let mut touched = BTreeSet::new();
        let mut old = HashSet::new();
        let mut state_touched = false;
        for Side { kind, name, seen } in batch.sides {
            if *kind == SERVICE {
                let key = ServiceKey::of(name.0, name.1);
                if !self.see(&key, seen) {
                    old.insert(key);
                    continue;
                }
                touched.insert(key);
            } else if *kind == IP_ADDRESS_POOL {
                match seen {
                    Some(seen) => drop(self.pools.insert(name.1, seen.kept.value())),
                    None => drop(self.pools.remove(&name.1)),
                }
                self.count_soon(now);
            } else if *kind == CONFIGURATION_STATE && &*name.1 == STATE {
                self.state = seen.map(|seen| seen.kept.value());
                state_touched = true;
            }
        }
        let mut changes = batch.changes;
        changes.retain(|change| match change {
            SourceChange::Apply(Object::Service(s)) => !old.contains(&s.key),
            _ => true,
        });
        let outcome = self.engine.apply(changes, None);
        for key in &outcome.allocations {
            if let Some(known) = self.services.get_mut(key) {
                known.noticed.get_or_insert(batch.noticed);
            }
        }
        touched.extend(outcome.allocations.iter().cloned());
        self.follow(&outcome, touched, now);
        if state_touched && !outcome.reconfigured {
            self.report();
        }
        outcome
    }

    /// Leads from now on, or no more.
    pub fn lead(&mut self, leading: bool, now: Duration) -> Outcome {
        if leading == self.leading {
            return Outcome::default();
        }
        self.leading = leading;
        self.events_refused = false;
        if !leading {
            self.outbox.clear();
            self.left.clear();
            self.rewrites.clear();
            self.events_waiting = 0;
            // Who leads now writes, and that is no rewriting.
            self.services.values_mut().for_each(|known| (known.settled, known.awaited) = (None, None));
        }
        // Who led before may have told what there is to tell now.
        self.services.values_mut().for_each(|known| known.judged = false);
        let outcome = self.engine.set_choosing(leading);
        self.count_soon(now);
        let all = self.services.keys().cloned().collect();
        self.follow(&outcome, all, now);
        self.report();
        outcome
    }

    /// The next write to begin.
    pub fn due(&mut self, now: Duration) -> Option<(Target, Wanted)> {
        let due = self.outbox.due(now)?;
        if matches!(due.0, Target::Event(_)) {
            self.events_waiting = self.events_waiting.saturating_sub(1);
        }
        Some(due)
    }

    /// When to come back without anything having happened.
    pub fn wake(&self) -> Option<Duration> {
        let left = self.left.first().map(|(until, _)| *until);
        [self.outbox.wake(), self.counters_due, left].into_iter().flatten().min()
    }

    /// What time alone brings. `counters` counts the pools.
    pub fn tick(
        &mut self,
        now: Duration,
        counters: impl FnOnce() -> BTreeMap<Arc<str>, IPAddressPoolStatus>,
    ) {
        while let Some((until, key)) = self.left.first().cloned().filter(|(until, _)| *until <= now) {
            self.left.remove(&(until, key.clone()));
            self.reconcile(&key, now);
        }
        if self.counters_due.is_some_and(|due| due <= now) {
            self.counters_due = None;
            self.counters_written = Some(now);
            self.count(&counters());
        }
    }

    /// A write ended so; what follows, and, of a Service, when the change was seen that it followed from.
    pub fn done(
        &mut self,
        target: Target,
        wanted: Wanted,
        answer: Answer,
        now: Duration,
    ) -> (Outcome, Option<Instant>) {
        let done = match &answer {
            // There is no such kind yet, and nothing tells when there is.
            Answer::Gone if target == Target::State && matches!(wanted.write().act, Act::Create(_)) => {
                Done::Refused
            }
            Answer::Written(_) | Answer::Gone => Done::Settled,
            Answer::Conflict if matches!(target, Target::Event(_) | Target::State) => Done::Settled,
            Answer::Conflict | Answer::Refused(_) => Done::Refused,
            Answer::Unreachable(_) => Done::Unreachable,
        };
        self.tell_trouble(&target, &answer);
        if let Wanted::Event(telling) = wanted {
            self.told(target, *telling, &answer, done, now);
            return (Outcome::default(), None);
        }
        self.outbox.done(target.clone(), wanted.clone(), done, now);
        if !self.leading {
            // Who leads now writes it, where it still differs.
            self.outbox.withdraw(&target);
        }
        let (Target::Service(key), Wanted::Service { uid, change, .. }) = (target, wanted) else {
            return (Outcome::default(), None);
        };
        let Some(known) = self.services.get_mut(&key).filter(|k| k.uid == uid) else {
            return (Outcome::default(), None);
        };
        let Answer::Written(object) = answer else {
            // The watch may have shown it already, or that nothing is to be written any more.
            let noticed = known.noticed.take_if(|_| known.awaited.is_none());
            return (Outcome::default(), noticed.filter(|_| known.told >= change.number));
        };
        let version: Arc<str> =
            object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().into();
        let noticed = known.noticed.take();
        known.written = Some(now);
        let newer = is_newer(&version, &known.version);
        if newer {
            known.status = ServiceStatus::read(&object);
            known.version = version;
        }
        self.tell_change(&key, change);
        let change = match manifest::object(object) {
            Ok(Some(object)) if newer => Some(SourceChange::Apply(object)),
            // The watch gives it too, and names what is wrong with it.
            _ => None,
        };
        let outcome = self.engine.apply(change.into_iter().collect(), None);
        let mut touched = outcome.allocations.clone();
        touched.insert(key);
        self.follow(&outcome, touched, now);
        (outcome, noticed)
    }

    /// An event was written, or not. It waits again unless that is done with, or would only go on: what it says the statuses say too.
    fn told(&mut self, target: Target, mut telling: Telling, answer: &Answer, done: Done, now: Duration) {
        let again = match answer {
            Answer::Written(_) | Answer::Gone => false,
            // Of an earlier process, or of a try of ours.
            Answer::Conflict => match telling.event.occasion.next().filter(|_| !telling.unanswered) {
                Some(occasion) => {
                    telling.event.occasion = occasion;
                    true
                }
                None => false,
            },
            Answer::Refused(_) => {
                telling.refusals = telling.refusals.saturating_add(1);
                telling.refusals < REFUSALS
            }
            Answer::Unreachable(_) => {
                telling.unanswered = true;
                true
            }
        };
        let wanted = Wanted::Event(Box::new(telling));
        self.outbox.done(target.clone(), wanted.clone(), done, now);
        if again && self.leading {
            self.outbox.put(target, wanted);
            self.events_waiting = self.events_waiting.saturating_add(1);
        } else {
            self.outbox.withdraw(&target);
        }
    }

    /// Whether that is news, and not from before our last write.
    fn see(&mut self, key: &ServiceKey, seen: Option<Seen>) -> bool {
        let Some(seen) = seen else {
            self.services.remove(key);
            self.complaints.remove(key);
            self.rewrites.remove(key);
            self.left.retain(|(_, left)| left != key);
            self.outbox.withdraw(&Target::Service(key.clone()));
            return true;
        };
        let status = ServiceStatus::read(&seen.kept.value());
        match self.services.get_mut(key) {
            Some(known) if known.uid == seen.uid => {
                if !is_newer(&seen.resource_version, &known.version) {
                    let asked = seen.listed.map(|asked| asked.saturating_duration_since(self.clock));
                    let is_restored = asked.is_some_and(|asked| known.written.is_none_or(|at| at < asked));
                    if !is_restored || seen.resource_version == known.version {
                        return false;
                    }
                    // No other program has rewritten what differs from it now.
                    known.settled = None;
                }
                known.version = seen.resource_version;
                known.status = status;
            }
            _ => {
                let known = Known {
                    uid: seen.uid,
                    version: seen.resource_version,
                    status,
                    noticed: None,
                    settled: None,
                    awaited: None,
                    told: 0,
                    written: None,
                    judged: false,
                };
                self.services.insert(key.clone(), known);
            }
        }
        true
    }

    fn follow(&mut self, outcome: &Outcome, touched: BTreeSet<ServiceKey>, now: Duration) {
        if !outcome.allocations.is_empty() || outcome.reconfigured {
            self.count_soon(now);
        }
        if !self.leading {
            return;
        }
        if outcome.reconfigured {
            self.report();
        }
        for key in touched {
            self.reconcile(&key, now);
        }
    }

    /// Has what differs of a Service written, and tells what is wrong with it.
    fn reconcile(&mut self, key: &ServiceKey, now: Duration) {
        let target = Target::Service(key.clone());
        let (Some(known), Some(service)) = (self.services.get_mut(key), self.engine.world().service(key))
        else {
            return self.outbox.withdraw(&target);
        };
        let allocation = self.engine.allocator().get(key);
        let desired = Desired::of(service, &known.status, self.class.as_deref(), allocation);
        let standing = allocation.and_then(|a| complaint(service, a));
        match desired.patch(&known.status) {
            None => {
                let change = known.awaited.take().filter(|change| change.desired == desired);
                known.settled = Some(desired);
                if !self.outbox.is_flying(&target) {
                    // Its next write doesn't follow from that.
                    known.noticed = None;
                }
                self.outbox.withdraw(&target);
                if let Some(change) = change {
                    self.tell_change(key, change);
                }
            }
            Some(mut patch) => {
                let ips = match &desired {
                    Desired::Addresses { ips, .. } => ips.as_ref(),
                    _ => &[],
                };
                let mut change = match known.awaited.take().filter(|change| change.desired == desired) {
                    Some(change) => change,
                    None => {
                        self.changes = self.changes.wrapping_add(1);
                        let events = transition(key, &known.status, ips);
                        Change { number: self.changes, desired: desired.clone(), events }
                    }
                };
                if known.settled.as_ref() == Some(&desired) {
                    let rewrites = self.rewrites.entry(key.clone()).or_insert_with(|| Rewrites::new(now));
                    change.events.clear();
                    match rewrites.another(now) {
                        WarAnswer::First => change.events.push(overwritten(key)),
                        WarAnswer::Again => {}
                        WarAnswer::Leave(until) => {
                            self.left.insert((until, key.clone()));
                            return;
                        }
                    }
                    known.settled = None;
                }
                if let Some(metadata) =
                    patch.as_object_mut().map(|p| p.entry("metadata").or_insert(json!({})))
                    && let Some(metadata) = metadata.as_object_mut()
                {
                    metadata.insert("resourceVersion".to_owned(), Value::from(&*known.version));
                }
                let act = Act::Patch { name: key.name.clone(), patch: patch.into(), status: true };
                let write = Write { kind: &SERVICE, namespace: key.namespace.clone(), act };
                known.awaited = Some(change.clone());
                let uid = known.uid.clone();
                self.outbox.put(target, Wanted::Service { write, uid, change });
            }
        }
        self.complain(key, standing);
    }

    /// Tells what is wrong with a Service, where that is something else than before.
    fn complain(&mut self, key: &ServiceKey, standing: Option<Event>) {
        let Some(known) = self.services.get_mut(key) else { return };
        let seen = std::mem::replace(&mut known.judged, true);
        if self.complaints.get(key) == standing.as_ref() {
            return;
        }
        let Some(event) = standing else {
            self.complaints.remove(key);
            return;
        };
        self.complaints.insert(key.clone(), event.clone());
        warn!(event = "allocationFailed", service = %key, reason = event.reason, error = %event.message, "no address, or not the one asked for");
        self.tell(key, event, if seen { Occasion::Seen(0) } else { Occasion::Found });
    }

    /// Tells that a Service shows what it was to show, once.
    fn tell_change(&mut self, key: &ServiceKey, change: Change) {
        let Some(known) = self.services.get_mut(key) else { return };
        known.awaited.take_if(|awaited| awaited.number == change.number);
        if known.told >= change.number {
            return;
        }
        known.told = change.number;
        for event in change.events {
            info!(event = "serviceEvent", service = %key, reason = event.reason, "{}", event.message);
            self.tell(key, event, Occasion::Seen(0));
        }
    }

    /// Has an event written.
    fn tell(&mut self, key: &ServiceKey, event: Event, occasion: Occasion) {
        let Some(known) = self.services.get(key) else { return };
        if self.events_waiting >= EVENTS {
            return;
        }
        let event = ServiceEvent {
            service: key.clone(),
            uid: Some(known.uid.clone()),
            version: Some(known.version.clone()),
            occasion,
            event,
            at: Timestamp::now(),
        };
        self.events = self.events.wrapping_add(1);
        self.events_waiting = self.events_waiting.saturating_add(1);
        let telling = Telling { event, refusals: 0, unanswered: false };
        self.outbox.put(Target::Event(self.events), Wanted::Event(Box::new(telling)));
    }

    fn count_soon(&mut self, now: Duration) {
        let earliest = self.counters_written.map_or(now, |at| at.saturating_add(COUNTERS));
        self.counters_due.get_or_insert(earliest.max(now));
    }

    /// Has the pools' counters written where they differ.
    fn count(&mut self, counters: &BTreeMap<Arc<str>, IPAddressPoolStatus>) {
        if !self.leading {
            return;
        }
        for (name, seen) in &self.pools {
            let target = Target::Pool(name.clone());
            let wanted = counters.get(name).and_then(|c| serde_json::to_value(c).ok());
            let Some(status) = wanted.filter(|wanted| wanted != seen) else {
                self.outbox.withdraw(&target);
                continue;
            };
            let act =
                Act::Patch { name: name.clone(), patch: json!({ "status": status }).into(), status: true };
            let write = Write { kind: &IP_ADDRESS_POOL, namespace: self.namespace.clone(), act };
            self.outbox.put(target, Wanted::Other(write));
        }
    }

    /// Has the ConfigurationState say what is wrong.
    fn report(&mut self) {
        if !self.leading {
            return;
        }
        let act = match &self.state {
            None => {
                let mut object = json!({
                    "apiVersion": CONFIGURATION_STATE.api_version(), "kind": CONFIGURATION_STATE.kind,
                    "metadata": {
                        "namespace": &*self.namespace, "name": STATE,
                        "labels": { "metallb.io/component-type": "controller" },
                    },
                });
                if let (Some(owner), Some(metadata)) = (&self.owner, object.get_mut("metadata"))
                    && let Some(metadata) = metadata.as_object_mut()
                {
                    metadata.insert("ownerReferences".to_owned(), json!([owner]));
                }
                // Its status is written once the watch shows it.
                Act::Create(object.into())
            }
            Some(seen) => {
                let errors: Vec<String> =
                    self.engine.config().errors.iter().map(ToString::to_string).collect();
                match configuration_state(&errors, Some(seen), Timestamp::now()) {
                    Some(patch) => Act::Patch { name: STATE.into(), patch: patch.into(), status: true },
                    None => return self.outbox.withdraw(&Target::State),
                }
            }
        };
        let write = Write { kind: &CONFIGURATION_STATE, namespace: self.namespace.clone(), act };
        self.outbox.put(Target::State, Wanted::Other(write));
    }

    /// Logs that writes fail, and that they don't any more; each thing once, and of refused events the first: the words name each.
    fn tell_trouble(&mut self, target: &Target, answer: &Answer) {
        if let (Target::Event(_), Answer::Refused(why)) = (target, answer) {
            if !std::mem::replace(&mut self.events_refused, true) {
                warn!(event = "eventRefused", error = %why, "events are given up after {REFUSALS} tries; this is said once");
            }
            return;
        }
        let what = match target {
            Target::Service(_) => "services/status",
            Target::Pool(_) => "ipaddresspools/status",
            Target::State => "configurationstates",
            Target::Event(_) => "events",
        };
        let why = match answer {
            Answer::Refused(why) => format!("{what}: {why}"),
            Answer::Unreachable(why) => format!("the API server doesn't answer: {why}"),
            Answer::Written(_) => {
                if let Some(before) =
                    self.trouble.take_if(|t| t.starts_with(what) || t.starts_with("the API"))
                {
                    info!(event = "writesResumed", before, "writes go through again");
                }
                return;
            }
            Answer::Gone | Answer::Conflict => return,
        };
        if self.trouble.as_ref() != Some(&why) {
            error!(event = "writeFailed", object = ?target, error = %why, "it will be tried again");
            self.trouble = Some(why);
        }
    }
}

/// Whether a resourceVersion is a later one. Where they aren't numbers, what comes later is.
fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}

#[cfg(test)]
mod tests;
