//! What is to be written, and when: one write of each object at a time, the latest wanted wins, failures are tried again.
//!
//! Sans-IO: whoever writes takes what is [`due`](Outbox::due), and says what became of it. Times are readings of a clock that
//! only goes forward. While nobody answers, one write is tried after each pause, so that thousands of waiting writes cost
//! nothing, and all go out when somebody does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The first pause after a failure, which doubles up to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was written, or will never be: the object is gone, or the write is wrong.
    Settled,
    /// It was refused, perhaps for now: again after a pause, if nothing else is wanted by then.
    Refused,
    /// Nobody answered: again, and everything else too, after a pause.
    Unreachable,
}

/// See the module. `K` names an object, in the order in which writes that came together go out; `W` is a write.
#[derive(Debug)]
pub struct Outbox<K, W> {
    limit: usize,
    /// The writes that wait, by when they may go out and in the order in which they came.
    queue: BTreeMap<(Duration, u64), K>,
    waiting: BTreeMap<K, Waiting<W>>,
    flying: BTreeMap<K, Flying>,
    /// How often in a row nobody answered, and until when nothing is tried.
    silence: u32,
    silent_until: Duration,
    next: u64,
}

#[derive(Debug)]
struct Waiting<W> {
    write: W,
    place: Option<(Duration, u64)>,
    failures: u32,
}

/// Of a write that is under way.
#[derive(Clone, Copy, Debug, Default)]
struct Flying {
    /// How often it was refused before.
    failures: u32,
    /// The silence in which it began.
    silence: u32,
    /// Whether it isn't wanted any more.
    withdrawn: bool,
}

impl<K: Ord + Clone, W: Clone> Outbox<K, W> {
    /// With at most `limit` writes under way at a time.
    pub fn new(limit: usize) -> Outbox<K, W> {
        Outbox {
            limit,
            queue: BTreeMap::new(),
            waiting: BTreeMap::new(),
            flying: BTreeMap::new(),
            silence: 0,
            silent_until: Duration::ZERO,
            next: 0,
        }
    }

    /// Wants this written of `key`, and nothing that was wanted before.
    pub fn put(&mut self, key: K, write: W) {
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.write = write;
            return;
        }
        let place = (!self.flying.contains_key(&key)).then(|| self.queue(Duration::ZERO, &key));
        self.waiting.insert(key, Waiting { write, place, failures: 0 });
    }

    /// Wants nothing written of `key` any more; what is under way may be, and isn't tried again.
    pub fn withdraw(&mut self, key: &K) {
        if let Some(flying) = self.flying.get_mut(key) {
            flying.withdrawn = true;
        }
        if let Some(place) = self.waiting.remove(key).and_then(|w| w.place) {
            self.queue.remove(&place);
        }
    }

    /// Everything that waits is dropped.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.waiting.clear();
    }

    /// A write to begin at `now`, if any.
    pub fn due(&mut self, now: Duration) -> Option<(K, W)> {
        if now < self.silent_until || self.flying.len() >= self.limit {
            return None;
        }
        let first = self.queue.first_entry().filter(|first| first.key().0 <= now)?;
        let key = first.remove();
        let waiting = self.waiting.remove(&key)?;
        let flying = Flying { failures: waiting.failures, silence: self.silence, withdrawn: false };
        self.flying.insert(key.clone(), flying);
        if self.silence > 0 {
            // Not until this one is answered: perhaps it alone isn't, whose webhook hangs.
            self.silent_until = now.saturating_add(pause(self.silence));
        }
        Some((key, waiting.write))
    }

    /// When the next write may be due, if none ends before; `None`: nothing waits for time to pass.
    pub fn wake(&self) -> Option<Duration> {
        if self.flying.len() >= self.limit {
            return None;
        }
        self.queue.keys().next().map(|(at, _)| (*at).max(self.silent_until))
    }

    /// The write of `key` ended so at `now`; `write` is what was written.
    pub fn done(&mut self, key: K, write: W, done: Done, now: Duration) {
        let flying = self.flying.remove(&key).unwrap_or_default();
        let failures = match done {
            Done::Settled => 0,
            Done::Refused => flying.failures.saturating_add(1),
            Done::Unreachable => flying.failures,
        };
        match done {
            // One lost connection takes all that is under way with it: that is one outage, however many tell of it.
            Done::Unreachable if flying.silence != self.silence => {}
            Done::Unreachable => {
                self.silent_until = now.saturating_add(pause(self.silence));
                self.silence = self.silence.saturating_add(1);
            }
            Done::Settled | Done::Refused => {
                self.silence = 0;
                self.silent_until = Duration::ZERO;
            }
        }
        let at =
            if done == Done::Refused { now.saturating_add(pause(failures.saturating_sub(1))) } else { now };
        if self.waiting.contains_key(&key) {
            // Something else is wanted by now.
            let place = self.queue(at, &key);
            if let Some(waiting) = self.waiting.get_mut(&key) {
                waiting.place = Some(place);
                waiting.failures = failures;
            }
        } else if done != Done::Settled && !flying.withdrawn {
            let place = self.queue(at, &key);
            self.waiting.insert(key, Waiting { write, place: Some(place), failures });
        }
    }

    /// How many writes wait or are under way.
    pub fn len(&self) -> usize {
        let keys: BTreeSet<&K> = self.waiting.keys().chain(self.flying.keys()).collect();
        keys.len()
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_empty()
    }

    /// Whether a write of `key` is under way.
    pub fn is_flying(&self, key: &K) -> bool {
        self.flying.contains_key(key)
    }

    fn queue(&mut self, at: Duration, key: &K) -> (Duration, u64) {
        let place = (at, self.next);
        self.next = self.next.wrapping_add(1);
        self.queue.insert(place, key.clone());
        place
    }
}

fn pause(failures: u32) -> Duration {
    PAUSE.0.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(PAUSE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn writes_go_out_in_order_up_to_the_limit() {
        let mut outbox = Outbox::new(2);
        for key in ["c", "a", "b"] {
            outbox.put(key, 1);
        }
        assert_eq!(outbox.due(at(0)), Some(("c", 1)));
        assert_eq!(outbox.due(at(0)), Some(("a", 1)));
        assert_eq!((outbox.due(at(0)), outbox.wake()), (None, None));
        outbox.done("a", 1, Done::Settled, at(1));
        assert_eq!(outbox.due(at(1)), Some(("b", 1)));
        outbox.done("b", 1, Done::Settled, at(2));
        outbox.done("c", 1, Done::Settled, at(2));
        assert!(outbox.is_empty() && outbox.wake().is_none());
    }

    #[test]
    fn the_latest_wins_and_one_object_has_one_write_at_a_time() {
        let mut outbox = Outbox::new(8);
        outbox.put("a", 1);
        outbox.put("a", 2);
        assert_eq!(outbox.due(at(0)), Some(("a", 2)));
        outbox.put("a", 3);
        outbox.put("a", 4);
        assert!(outbox.is_flying(&"a"));
        assert_eq!((outbox.due(at(0)), outbox.len()), (None, 1));
        outbox.done("a", 2, Done::Settled, at(5));
        assert_eq!(outbox.due(at(5)), Some(("a", 4)));
        outbox.done("a", 4, Done::Settled, at(6));
        outbox.put("a", 5);
        outbox.withdraw(&"a");
        assert_eq!(outbox.due(at(6)), None);
    }

    #[test]
    fn what_was_refused_is_tried_again_later_and_later_and_holds_up_nobody() {
        let mut outbox = Outbox::new(8);
        outbox.put("a", 1);
        let mut now = at(0);
        for pause in [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            assert_eq!(outbox.due(now), Some(("a", 1)));
            outbox.done("a", 1, Done::Refused, now);
            outbox.put("b", 1);
            assert_eq!(outbox.due(now), Some(("b", 1)));
            outbox.done("b", 1, Done::Settled, now);
            now += at(pause);
            assert_eq!(outbox.wake(), Some(now));
            assert_eq!(outbox.due(now - at(1)), None);
        }
    }

    #[test]
    fn what_is_withdrawn_while_it_is_under_way_is_not_tried_again() {
        for done in [Done::Refused, Done::Unreachable] {
            let mut outbox = Outbox::new(8);
            outbox.put("a", 1);
            assert_eq!(outbox.due(at(0)), Some(("a", 1)));
            outbox.withdraw(&"a");
            outbox.done("a", 1, done, at(1));
            assert!(outbox.is_empty(), "{done:?}");
            // What is wanted after that is.
            outbox.put("a", 2);
            assert_eq!(outbox.due(at(60)), Some(("a", 2)));
            outbox.withdraw(&"a");
            outbox.put("a", 3);
            outbox.done("a", 2, done, at(61));
            assert_eq!(outbox.due(at(10_000)), Some(("a", 3)));
            outbox.done("a", 3, done, at(10_001));
            assert_eq!(outbox.len(), 1);
        }
    }

    #[test]
    fn what_is_wanted_meanwhile_replaces_what_failed() {
        let mut outbox = Outbox::new(8);
        outbox.put("a", 1);
        outbox.due(at(0));
        outbox.put("a", 2);
        outbox.done("a", 1, Done::Refused, at(0));
        assert_eq!(outbox.due(at(49)), None);
        assert_eq!(outbox.due(at(50)), Some(("a", 2)));
    }

    #[test]
    fn a_lost_connection_is_one_outage_however_many_writes_it_takes_along() {
        let mut outbox = Outbox::new(16);
        for key in 0..17 {
            outbox.put(key, ());
        }
        let first: Vec<i32> = std::iter::from_fn(|| outbox.due(at(0)).map(|(key, ())| key)).collect();
        assert_eq!(first.len(), 16);
        for key in &first[..15] {
            outbox.done(*key, (), Done::Unreachable, at(1));
        }
        assert_eq!(outbox.wake(), Some(at(51)));
        // The last one tells of it when a next try has begun; that one counts.
        assert_eq!(outbox.due(at(51)), Some((16, ())));
        outbox.done(first[15], (), Done::Unreachable, at(52));
        outbox.done(16, (), Done::Unreachable, at(60));
        assert_eq!(outbox.wake(), Some(at(160)));
        // And it is over with the first answer.
        let (key, ()) = outbox.due(at(160)).expect("one is tried");
        outbox.done(key, (), Done::Refused, at(161));
        assert_eq!(std::iter::from_fn(|| outbox.due(at(161))).count(), 16);
    }

    #[test]
    fn one_write_that_is_never_answered_holds_up_nobody() {
        let mut outbox = Outbox::new(4);
        outbox.put("a", ());
        assert_eq!(outbox.due(at(0)), Some(("a", ())));
        outbox.done("a", (), Done::Unreachable, at(5_000));
        assert_eq!(outbox.due(at(5_050)), Some(("a", ())));
        outbox.put("b", ());
        assert_eq!(outbox.wake(), Some(at(5_150)));
        assert_eq!(outbox.due(at(5_150)), Some(("b", ())));
        outbox.done("b", (), Done::Settled, at(5_151));
        for key in ["c", "d", "e"] {
            outbox.put(key, ());
            assert_eq!(outbox.due(at(5_151)), Some((key, ())));
        }
    }

    #[test]
    fn while_nobody_answers_one_write_is_tried_and_then_all_go_out() {
        let mut outbox = Outbox::new(4);
        for key in 0..100 {
            outbox.put(key, ());
        }
        let first: Vec<i32> = std::iter::from_fn(|| outbox.due(at(0)).map(|(key, ())| key)).collect();
        assert_eq!(first.len(), 4);
        for key in first {
            outbox.done(key, (), Done::Unreachable, at(1));
        }
        let mut tries = 0;
        for now in 1..60_000 {
            while let Some((key, ())) = outbox.due(at(now)) {
                tries += 1;
                outbox.done(key, (), Done::Unreachable, at(now));
            }
        }
        assert!((10..=20).contains(&tries), "{tries} tries in a minute");
        let mut now = outbox.wake().expect("a next try");
        let mut written = 0;
        while !outbox.is_empty() {
            while let Some((key, ())) = outbox.due(now) {
                outbox.done(key, (), Done::Settled, now);
                written += 1;
            }
            now += at(1);
        }
        assert_eq!(written, 100);
    }
}
