//! How each watch is doing: for `/readyz`, and, once for each change, for the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
}

impl Watches {
    pub(super) fn add(&self, id: WatchId, kind: &'static Kind) {
        self.lock().insert(id, Entry { kind, standing: Standing::Starting, synced: false });
    }

    pub(super) fn remove(&self, id: WatchId) {
        self.lock().remove(&id);
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
        entry.synced |= matches!(standing, Standing::Synced | Standing::NotServed);
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
            Standing::Forbidden(why) => {
                error!(event = "watchForbidden", kind, resource, error = %why, "this can't be watched, so nothing is decided: allow the service account to get, list and watch it");
            }
            Standing::Failing(why) if synced => {
                warn!(event = "watchInterrupted", kind, error = %why, "the API server can't be followed: what was known stands");
            }
            Standing::Failing(why) => {
                warn!(event = "watchNotSynced", kind, error = %why, "no complete list yet: nothing is decided before there is one");
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
