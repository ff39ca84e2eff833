//! When which address is announced on one link, and how many frames that link may get.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many announcing frames a second a link gets at the most, over the long run.
pub const GRATUITOUS_PER_SECOND: u32 = 1000;
/// How many it may get at once: within any `t` seconds never more than this and [`GRATUITOUS_PER_SECOND`] times `t`.
pub const GRATUITOUS_BURST: u32 = 64;

/// MetalLB: an address that is taken is announced at once, and then as often as fits into 5 s.
const REPEAT: Duration = Duration::from_millis(1100);
/// The last of the rounds, which begin with 0: at 0, 1.1, 2.2, 3.3 and 4.4 s.
const LAST: usize = 4;
/// The round of those that are repeated for as long as they are owned.
const PERIODIC: usize = 5;

/// The announcements that are due on one link. Lower rounds go first where many are due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: [BTreeSet<(Instant, IpAddr)>; PERIODIC + 1],
    entries: BTreeMap<IpAddr, (usize, Instant)>,
}

impl Schedule {
    /// All rounds from now on.
    pub(super) fn restart(&mut self, address: IpAddr, now: Instant) {
        self.put(address, 0, now);
    }

    /// One round now, and what was to come anyway.
    pub(super) fn once(&mut self, address: IpAddr, now: Instant) {
        let round = self.entries.get(&address).map_or(LAST, |(round, _)| (*round).min(LAST));
        self.put(address, round, now);
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        if let Some((round, due)) = self.entries.remove(&address)
            && let Some(set) = self.due.get_mut(round)
        {
            set.remove(&(due, address));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Schedule::default();
    }

    /// An address whose time has come.
    pub(super) fn due(&self, now: Instant) -> Option<IpAddr> {
        let first = self.due.iter().filter_map(BTreeSet::first).find(|(due, _)| *due <= now);
        first.map(|(_, address)| *address)
    }

    /// It has been announced: what comes next for it.
    pub(super) fn announced(&mut self, address: IpAddr, now: Instant, interval: Option<Duration>) {
        let Some((round, _)) = self.entries.get(&address) else { return };
        if *round < LAST {
            self.put(address, round.saturating_add(1), later(now, REPEAT));
        } else if let Some(interval) = interval {
            self.put(address, PERIODIC, later(now, interval));
        } else {
            self.remove(address);
        }
    }

    /// When the next announcement is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.iter().filter_map(|round| round.first().map(|(due, _)| *due)).min()
    }

    fn put(&mut self, address: IpAddr, round: usize, due: Instant) {
        self.remove(address);
        if let Some(set) = self.due.get_mut(round) {
            set.insert((due, address));
            self.entries.insert(address, (round, due));
        }
    }
}

/// A time so far off that the clock can't tell it never comes.
fn later(now: Instant, wait: Duration) -> Instant {
    const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    now.checked_add(wait.min(FOREVER)).unwrap_or(now)
}

/// Holds the rate: a frame each millisecond, and a burst that is saved up.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When all frames so far would have gone, one each [`TICK`].
    paid: Option<Instant>,
}

const TICK: Duration = Duration::from_micros(1_000_000 / GRATUITOUS_PER_SECOND as u64);
/// A link that has used up its burst is left until this many frames may go again: so they don't cost a wake-up each.
const BATCH: u32 = GRATUITOUS_BURST / 2;

impl Pace {
    /// Whether `frames` may go now; if so, they count as gone.
    pub(super) fn take(&mut self, now: Instant, frames: u32) -> bool {
        if self.free_at(frames).is_some_and(|free| free > now) {
            return false;
        }
        let paid = self.paid.map_or(now, |paid| paid.max(now));
        self.paid = paid.checked_add(TICK.saturating_mul(frames));
        true
    }

    /// When a batch may go; `None`: at any time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.free_at(BATCH)
    }

    fn free_at(&self, frames: u32) -> Option<Instant> {
        let room = TICK.saturating_mul(GRATUITOUS_BURST.saturating_sub(frames));
        self.paid?.checked_sub(room)
    }
}
