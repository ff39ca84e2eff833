//! What of a group's changes has to wait: a prefix that flaps is announced once a second.
//!
//! An announcement waits only where that prefix was announced to the group's peers less than [`INTERVAL`] before; it goes
//! out that long after it, as it is wanted by then. What was let through and hasn't been written for anybody yet
//! isn't announced: it may still change. Nothing waits while nobody is attached, dumps count as no announcement, and a
//! withdrawal goes at once and takes what waits with it.
//!
//! Memory: an entry for each prefix that was announced within the last `INTERVAL`, at most twice that many while changes go
//! on, and none once they have ended.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::table::Attributes;

/// The least time between two announcements of a prefix to a group.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// One group's damping in one family.
#[derive(Debug, Default)]
pub(super) struct Damping {
    recent: HashMap<IpNet, Recent>,
    /// What waits, by when it is due; each prefix is in `recent`, as sent `INTERVAL` before.
    held: BTreeMap<(Instant, IpNet), Attributes>,
    /// The latest time in `recent`.
    latest: Option<Instant>,
    /// The size at which entries that have expired are thrown out.
    sweep_at: usize,
}

/// A prefix that was let through.
#[derive(Clone, Copy, Debug)]
struct Recent {
    /// When, or when the first session wrote it.
    at: Instant,
    /// Whether one has.
    sent: bool,
}

impl Damping {
    const LEAST_SWEEP: usize = 64;

    /// Takes a new state of a prefix; gives it back where it may be announced at `now`, and keeps it else.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        prefix: IpNet,
        attributes: Attributes,
    ) -> Option<Attributes> {
        self.forget(&prefix);
        if let Some(recent) = self.recent.get(&prefix)
            && recent.sent
            && now < recent.at + INTERVAL
        {
            self.held.insert((recent.at + INTERVAL, prefix), attributes);
            return None;
        }
        self.sweep(now);
        self.recent.insert(prefix, Recent { at: now, sent: false });
        self.latest = self.latest.max(Some(now));
        Some(attributes)
    }

    /// A session has written what was let through last.
    pub(super) fn announced(&mut self, now: Instant, prefix: &IpNet) {
        if let Some(recent) = self.recent.get_mut(prefix)
            && !recent.sent
        {
            *recent = Recent { at: now, sent: true };
            self.latest = self.latest.max(Some(now));
        }
    }

    /// Nothing of `prefix` is to be announced any more.
    pub(super) fn forget(&mut self, prefix: &IpNet) {
        if !self.held.is_empty()
            && let Some(recent) = self.recent.get(prefix)
        {
            self.held.remove(&(recent.at + INTERVAL, *prefix));
        }
    }

    /// Takes something whose time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(IpNet, Attributes)> {
        let first = self.held.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, prefix), attributes) = first.remove_entry();
        Some((prefix, attributes))
    }

    /// Gives memory back once all has expired.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.held.is_empty() && self.latest.is_some_and(|at| at + INTERVAL <= now) {
            *self = Damping::default();
        }
    }

    /// Takes all that waits, and forgets what was announced.
    pub(super) fn end(&mut self) -> impl Iterator<Item = (IpNet, Attributes)> + use<> {
        let held = std::mem::take(self).held;
        held.into_iter().map(|((_, prefix), attributes)| (prefix, attributes))
    }

    /// What waits.
    pub(super) fn held(&self) -> impl Iterator<Item = &IpNet> {
        self.held.keys().map(|(_, prefix)| prefix)
    }

    /// When to ask `pop_due` and `expire` next.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let held = self.held.first_key_value().map(|((due, _), _)| *due);
        held.or_else(|| self.latest.map(|at| at + INTERVAL))
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.recent.len() + self.held.len()
    }

    fn sweep(&mut self, now: Instant) {
        if self.recent.len() < self.sweep_at {
            return;
        }
        let held = &self.held;
        self.recent.retain(|prefix, recent| {
            let due = recent.at + INTERVAL;
            now < due || held.contains_key(&(due, *prefix))
        });
        self.sweep_at = self.recent.len().saturating_mul(2).max(Self::LEAST_SWEEP);
    }
}
