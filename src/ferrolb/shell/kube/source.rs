//! All watches of a role together.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Instant;

use ferrolb_core::engine::SourceChange;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fold::{Folded, Name, Seen};
use super::kinds::{Kind, Watch};
use super::standing::Watches;
use super::watching::{NotServed, Task, Told};

/// How many words of watches may wait; beyond, they stop reading, and the API server holds the rest.
const WAITING: usize = 1024;
/// After how many changes a batch is given as it is.
const BATCH: usize = 10_000;

/// Names a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

/// A part of an object that a watch keeps: as it is now, or `None` where the object is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// The object's kind.
    pub kind: &'static Kind,
    /// The object.
    pub name: Name,
    /// What is kept.
    pub seen: Option<Seen>,
}

/// An object that can't be read; it stands as it was before, or is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectProblem {
    /// Its kind.
    pub kind: &'static str,
    /// Namespace and name.
    pub name: Name,
    /// What is wrong, with kind, namespace and name.
    pub message: String,
}

impl fmt::Display for ObjectProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What changed together.
#[derive(Debug)]
pub struct Batch {
    /// Whether this is all there is: the first batch of a source.
    pub initial: bool,
    /// At most one change of each object.
    pub changes: Vec<SourceChange>,
    /// What is kept of objects beside that; at most one of each object.
    pub sides: Vec<Side>,
    /// The problems that weren't there before.
    pub problems: Vec<ObjectProblem>,
    /// The problems that are there no more.
    pub cleared: Vec<ObjectProblem>,
    /// The watches whose objects are all known with this, for the first time or for the first time since they were to
    /// [list again](Source::list_again): those that were given so far, in this batch and before it.
    pub completed: Vec<WatchId>,
    /// When the API server's first word of all this arrived.
    pub noticed: Instant,
}

/// See the module `kube`. All watches end when this is dropped.
pub struct Source {
    client: Client,
    sender: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    watches: Watches,
    /// Of the watches that begin from now on.
    pub(super) not_served: NotServed,
    running: BTreeMap<WatchId, Running>,
    next: u64,
    /// The watches that have no complete list yet, as long as nothing was given.
    awaited: Option<BTreeSet<WatchId>>,
    /// The watches that had a complete list; where they were to list again, one that was asked for after that.
    complete: BTreeSet<WatchId>,
    pending: Pending,
}

struct Running {
    kind: &'static Kind,
    /// How many lists were asked for beyond those that the watch makes by itself.
    lists: watch::Sender<u64>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Pending {
    changes: Vec<Option<SourceChange>>,
    sides: Vec<Option<Side>>,
    /// Where each object's change and side are in those.
    places: HashMap<(&'static str, Name), Place>,
    problems: Vec<ObjectProblem>,
    cleared: Vec<ObjectProblem>,
    completed: Vec<WatchId>,
    noticed: Option<Instant>,
}

/// Where an object's change and side are in a batch.
#[derive(Default)]
struct Place {
    change: Option<usize>,
    side: Option<usize>,
}

impl Source {
    /// With these watches, which begin now.
    pub fn new(client: Client, watches: impl IntoIterator<Item = Watch>) -> Source {
        let (sender, told) = mpsc::channel(WAITING);
        let mut source = Source {
            client,
            sender,
            told,
            watches: Watches::default(),
            not_served: NotServed::default(),
            running: BTreeMap::new(),
            next: 0,
            awaited: Some(BTreeSet::new()),
            complete: BTreeSet::new(),
            pending: Pending::default(),
        };
        for watch in watches {
            source.begin(watch);
        }
        source
    }

    /// How the watches are doing.
    pub fn watches(&self) -> Watches {
        self.watches.clone()
    }

    /// Begins a further watch. After the first batch its objects come as they are listed.
    pub fn begin(&mut self, watch: Watch) -> WatchId {
        let id = WatchId(self.next);
        self.next = self.next.wrapping_add(1);
        self.watches.add(id, watch.kind);
        if let Some(awaited) = &mut self.awaited {
            awaited.insert(id);
        }
        let stop = CancellationToken::new();
        let (asking, lists) = watch::channel(0);
        let running = Running { kind: watch.kind, lists: asking, _stop: stop.clone().drop_guard() };
        self.running.insert(id, running);
        let (client, out, watches) = (self.client.clone(), self.sender.clone(), self.watches.clone());
        let not_served = self.not_served;
        tokio::spawn(Task { client, watch, id, out, watches, not_served, lists, stop }.run());
        id
    }

    /// Has a watch list again. It may be behind by any time; once it is [completed](Batch::completed) again, everything was given
    /// that was written before this was asked for.
    pub fn list_again(&mut self, id: WatchId) {
        if let Some(running) = self.running.get(&id) {
            running.lists.send_modify(|lists| *lists = lists.wrapping_add(1));
            self.complete.remove(&id);
        }
    }

    /// Ends a watch, without a word on its objects: another one has them too, or whoever knows them forgets them.
    pub fn forget(&mut self, id: WatchId) {
        self.running.remove(&id);
        self.complete.remove(&id);
        self.watches.remove(id);
    }

    /// How many words of watches wait to be taken.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.told.len()
    }

    /// What changed since the last time; first, all there is. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Batch {
        loop {
            match self.told.recv().await {
                Some(told) => self.take(told),
                // There is a sender here.
                None => std::future::pending().await,
            }
            while self.pending.places.len() < BATCH {
                let Ok(told) = self.told.try_recv() else { break };
                self.take(told);
            }
            let initial = match &self.awaited {
                Some(awaited) if !awaited.is_empty() => continue,
                Some(_) => true,
                None => false,
            };
            self.awaited = None;
            if initial || !self.pending.is_empty() {
                return std::mem::take(&mut self.pending).batch(initial);
            }
        }
    }

    fn take(&mut self, told: Told) {
        let Some(running) = self.running.get(&told.id) else { return };
        let kind = running.kind;
        if let Some(awaited) = &mut self.awaited {
            awaited.remove(&told.id);
        }
        if told.lists == *running.lists.borrow() && self.complete.insert(told.id) {
            self.pending.completed.push(told.id);
        }
        if !told.changes.is_empty() {
            self.pending.noticed.get_or_insert(told.noticed);
        }
        for folded in told.changes {
            self.pending.take(kind, folded);
        }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.places.is_empty() && self.completed.is_empty()
    }

    /// The later change of an object takes the place of the earlier.
    fn take(&mut self, kind: &'static Kind, folded: Folded) {
        let Folded { name, change, side, mended, arose } = folded;
        let place = match self.places.entry((kind.kind, name.clone())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Place::default()),
        };
        if let Some(change) = change {
            if let Some(earlier) = place.change.and_then(|at| self.changes.get_mut(at)) {
                *earlier = None;
            }
            place.change = Some(self.changes.len());
            self.changes.push(Some(change));
        }
        if let Some(mut seen) = side {
            if let Some(earlier) = place.side.and_then(|at| self.sides.get_mut(at)) {
                // What comes after a list counts as that does, whatever was known before.
                let earlier = earlier.take().and_then(|side| side.seen);
                if let (Some(seen), Some(earlier)) = (&mut seen, earlier) {
                    seen.listed = seen.listed.or(earlier.listed);
                }
            }
            place.side = Some(self.sides.len());
            self.sides.push(Some(Side { kind, name: name.clone(), seen }));
        }
        let problem = |message| ObjectProblem { kind: kind.kind, name: name.clone(), message };
        if let Some(problem) = mended.map(problem) {
            match self.problems.iter().position(|p| *p == problem) {
                // It came and went within the batch.
                Some(at) => drop(self.problems.remove(at)),
                None => self.cleared.push(problem),
            }
        }
        self.problems.extend(arose.map(problem));
    }

    fn batch(self, initial: bool) -> Batch {
        Batch {
            initial,
            changes: self.changes.into_iter().flatten().collect(),
            sides: self.sides.into_iter().flatten().collect(),
            problems: self.problems,
            cleared: self.cleared,
            completed: self.completed,
            noticed: self.noticed.unwrap_or_else(Instant::now),
        }
    }
}
