//! How each watch is doing: for `/readyz`, for the metrics, and, once for each change, for the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::kinds::Kind;
use super::source::WatchId;

/// How a watch is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has no complete list yet.
    Starting,
    /// It has, and follows.
    Synced,
    /// The API server doesn't know the kind; it counts as a kind without objects.
    NotServed,
    /// It isn't allowed; in the API server's words.
    Forbidden(String),
    /// It can't be done at present, for this reason; what was known before stands.
    Failing(String),
}

/// How all watches are doing; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Watches(Arc<Mutex<BTreeMap<WatchId, Entry>>>);

#[derive(Debug)]
struct Entry {
    kind: &'static Kind,
    standing: Standing,
    /// Whether it ever had a complete list, or was found not to be served.
    synced: bool,
    /// Since when it can't be followed.
    cut: Option<Instant>,
    delays: Delays,
}

/// The bounds, in seconds, that delays are counted by. Below two seconds there is nothing to see: what an API server writes
/// down of the time of a change has whole seconds.
pub const DELAYS: [f64; 6] = [2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// How late changes were told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delays {
    /// How many were at most as late as each of [`DELAYS`], those of the bounds before included.
    pub at_most: [u64; DELAYS.len()],
    /// How many there were.
    pub count: u64,
    /// How late all together were, in seconds.
    pub sum: f64,
}

impl Delays {
    fn count(&mut self, delay: Duration) {
        let delay = delay.as_secs_f64();
        self.count += 1;
        self.sum += delay;
        for (count, bound) in self.at_most.iter_mut().zip(DELAYS) {
            *count += u64::from(delay <= bound);
        }
    }

    fn add(&mut self, other: &Delays) {
        self.count += other.count;
        self.sum += other.sum;
        self.at_most.iter_mut().zip(other.at_most).for_each(|(count, more)| *count += more);
    }
}

/// How far the watches of one kind are behind the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchStatus {
    /// Plural and group, as RBAC names them.
    pub resource: String,
    /// How long it hasn't been possible to follow it; zero while it is, and while the kind isn't served.
    pub behind: Duration,
    /// How late changes were told.
    pub delays: Delays,
}

impl Watches {
    pub(super) fn add(&self, id: WatchId, kind: &'static Kind) {
        let entry = Entry {
            kind,
            standing: Standing::Starting,
            synced: false,
            cut: Some(Instant::now()),
            delays: Delays::default(),
        };
        self.lock().insert(id, entry);
    }

    /// A change was told this long after it was made.
    pub(super) fn told(&self, id: WatchId, delay: Duration) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.delays.count(delay);
        }
    }

    /// How far each kind is behind.
    pub fn status(&self, now: Instant) -> Vec<WatchStatus> {
        let mut kinds: BTreeMap<String, WatchStatus> = BTreeMap::new();
        for entry in self.lock().values() {
            let resource = entry.kind.resource();
            let behind = entry.cut.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            let status = kinds.entry(resource.clone()).or_insert_with(|| WatchStatus {
                resource,
                behind,
                delays: Delays::default(),
            });
            status.behind = status.behind.max(behind);
            status.delays.add(&entry.delays);
        }
        kinds.into_values().collect()
    }

    pub(super) fn remove(&self, id: WatchId) {
        self.lock().remove(&id);
    }

    /// A watch goes on from what it knows. What came between, if anything, follows.
    pub(super) fn resumed(&self, id: WatchId) {
        let cut = |e: &Entry| e.synced && matches!(e.standing, Standing::Forbidden(_) | Standing::Failing(_));
        let was_cut = self.lock().get(&id).is_some_and(cut);
        if was_cut {
            self.set(id, Standing::Synced);
        }
    }

    /// A watch's standing is now this; told where it wasn't.
    pub(super) fn set(&self, id: WatchId, standing: Standing) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&id) else { return };
        if entry.standing == standing {
            return;
        }
        let before = std::mem::replace(&mut entry.standing, standing.clone());
        let (kind, resource, synced) = (entry.kind.kind, entry.kind.resource(), entry.synced);
        let followed = matches!(standing, Standing::Synced | Standing::NotServed);
        entry.synced |= followed;
        entry.cut = if followed { None } else { entry.cut.or_else(|| Some(Instant::now())) };
        drop(entries);
        match standing {
            Standing::Starting => {}
            Standing::Synced if before == Standing::Starting => {
                info!(event = "watchSynced", kind, "the first list is complete");
            }
            Standing::Synced => info!(event = "watchResumed", kind, "the API server can be followed again"),
            Standing::NotServed => {
                warn!(
                    event = "kindNotServed",
                    kind,
                    resource,
                    "the API server doesn't know this kind: it counts as a kind without objects until the CustomResourceDefinition is applied (`ferrolb crds` prints it)"
                );
            }
            Standing::Forbidden(why) if synced => {
                warn!(event = "watchForbidden", kind, resource, error = %why, "this can't be watched any more, and what was known stands: allow the service account to get, list and watch it (an API server that has just started may say so for a second)");
            }
            Standing::Forbidden(why) => {
                error!(event = "watchForbidden", kind, resource, error = %why, "this can't be watched, so nothing that needs it is decided: allow the service account to get, list and watch it");
            }
            Standing::Failing(why) if synced => {
                warn!(event = "watchInterrupted", kind, error = %why, "the API server can't be followed: what was known stands");
            }
            Standing::Failing(why) => {
                warn!(event = "watchNotSynced", kind, error = %why, "no complete list yet: nothing that needs it is decided before there is one");
            }
        }
    }

    /// The kinds that nothing is known of yet, or that are forbidden, and why: while there are any, nobody is ready. An API
    /// server that is away after everything was known is none of that.
    pub fn missing(&self) -> Vec<(&'static Kind, String)> {
        let entries = self.lock();
        let missing = |e: &Entry| match &e.standing {
            Standing::Forbidden(why) => {
                Some(format!("{why}; allow the service account to get, list and watch {}", e.kind.resource()))
            }
            Standing::Failing(why) if !e.synced => Some(format!("no complete list yet: {why}")),
            Standing::Starting if !e.synced => Some("no complete list yet".to_owned()),
            _ => None,
        };
        entries.values().filter_map(|e| Some((e.kind, missing(e)?))).collect()
    }

    /// How each is doing, in the order in which they were begun.
    #[cfg(test)]
    pub fn all(&self) -> Vec<(&'static Kind, Standing)> {
        self.lock().values().map(|e| (e.kind, e.standing.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WatchId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::kube::fake::Fake;
    use crate::shell::kube::kinds::NODE;
    use crate::shell::kube::{Source, Watch};

    #[tokio::test]
    async fn a_kind_is_behind_for_as_long_as_any_of_its_watches_is() {
        let mut source = Source::new(Fake::start().await.client(), []);
        let watches = source.watches();
        let ids = [source.begin(Watch::all(&NODE)), source.begin(Watch::all(&NODE))];
        let later = || Instant::now() + Duration::from_secs(60);
        let behind = |at| watches.status(at)[0].behind;
        assert!(behind(later()) >= Duration::from_secs(60), "no list yet");
        watches.set(ids[0], Standing::Synced);
        assert!(behind(later()) >= Duration::from_secs(60));
        watches.set(ids[1], Standing::NotServed);
        assert_eq!(behind(later()), Duration::ZERO);
        watches.set(ids[1], Standing::Failing("away".into()));
        let cut = watches.lock().get(&ids[1]).and_then(|entry| entry.cut).expect("it is cut off");
        watches.set(ids[1], Standing::Failing("still away".into()));
        assert_eq!(behind(cut + Duration::from_secs(7)), Duration::from_secs(7), "from the first failure on");
        watches.set(ids[1], Standing::Synced);
        assert_eq!(behind(later()), Duration::ZERO);

        for (id, seconds) in [(ids[0], 0.5), (ids[0], 4.0), (ids[1], 301.0)] {
            watches.told(id, Duration::from_secs_f64(seconds));
        }
        let status = watches.status(later());
        assert_eq!((status.len(), status[0].resource.as_str()), (1, "nodes"));
        let expected = Delays { at_most: [1, 2, 2, 2, 2, 2], count: 3, sum: 305.5 };
        assert_eq!(status[0].delays, expected);
    }
}
