//! Which speakers are alive for layer 2, by the Lease that each of them renews.
//!
//! A lease counts as renewed when it is seen to change, by our clock; what time stands in it doesn't matter. It is judged
//! stale when it hasn't changed for its duration, and only while we can tell: our own renewals succeed, and the watch
//! is live, which its showing us these renewals proves. Away from the API the set of members stays as it was; and once that is over nobody is judged for one full lease
//! time, since all have to be heard again first. A speaker that gives its lease up (no holder, or no lease) is gone at
//! once.
//!
//! What this doesn't do: renew the own lease, or decide who owns an address (see `decide`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::types::NodeName;

/// How long a speaker's lease lasts.
pub const LEASE_DURATION: Duration = Duration::from_secs(6);
/// How often it is renewed.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);
/// For how long one renewal shows that the API answers: longer than the time between two, and shorter than what a lease
/// lasts beyond that, so that an API server that falls silent is noticed before anybody's lease has run out.
pub const TRUST: Duration = Duration::from_millis(3_500);
const _: () = assert!(
    TRUST.as_millis() > RENEW_EVERY.as_millis()
        && TRUST.as_millis() < LEASE_DURATION.as_millis() - RENEW_EVERY.as_millis()
);

/// A lease, as the watch shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whether it has a holder.
    pub held: bool,
    /// Changes with each renewal: the resource version, or the time of renewal.
    pub mark: String,
    /// How long it lasts.
    pub duration: Duration,
}

/// Who is alive.
#[derive(Clone, Debug)]
pub struct Members {
    me: NodeName,
    leases: BTreeMap<NodeName, Known>,
    alive: BTreeSet<NodeName>,
    /// When the API server took our own renewal, and when the watch showed it.
    renewed: Option<Instant>,
    shown: Option<Instant>,
    /// Since when both our renewals and the watch have shown that the API answers.
    judging_since: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Known {
    lease: Lease,
    changed: Instant,
}

impl Members {
    /// Nobody yet.
    pub fn new(me: NodeName) -> Members {
        Members {
            me,
            leases: BTreeMap::new(),
            alive: BTreeSet::new(),
            renewed: None,
            shown: None,
            judging_since: None,
        }
    }

    /// The speakers that are alive, this one included once its lease was taken.
    pub fn alive(&self) -> &BTreeSet<NodeName> {
        &self.alive
    }

    /// The API server took our own renewal.
    pub fn renewed(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.renewed = Some(now);
        self.alive.insert(self.me.clone());
        self.see_whether_to_judge(now);
    }

    /// The API server didn't take our own renewal, or didn't answer.
    pub fn not_renewed(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.renewed = None;
        self.judging_since = None;
    }

    /// A lease is there, in this form.
    pub fn saw(&mut self, now: Instant, node: &NodeName, lease: Lease) {
        let known = self.leases.get(node);
        if known.is_some_and(|known| known.lease == lease) {
            return;
        }
        if lease.held {
            self.alive.insert(node.clone());
        } else {
            self.alive.remove(node);
        }
        self.leases.insert(node.clone(), Known { lease, changed: now });
        if *node == self.me {
            self.handle_timeout(now);
            self.shown = Some(now);
            self.see_whether_to_judge(now);
        }
    }

    /// A lease isn't there any more.
    pub fn gone(&mut self, node: &NodeName) {
        self.leases.remove(node);
        self.alive.remove(node);
    }

    /// Judges the leases that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_trust_over(now) {
            self.judging_since = None;
        }
        let Some(since) = self.judging_since else { return };
        for (node, known) in &self.leases {
            if *node != self.me && stale_at(known, since).is_some_and(|stale| stale <= now) {
                self.alive.remove(node);
            }
        }
    }

    /// When to call `handle_timeout` next; `None`: not before something happens.
    pub fn next_timeout(&self) -> Option<Instant> {
        let since = self.judging_since?;
        let others = self.leases.iter().filter(|(node, _)| **node != self.me && self.alive.contains(*node));
        others.filter_map(|(_, known)| stale_at(known, since)).min()
    }

    fn is_trust_over(&self, now: Instant) -> bool {
        [self.renewed, self.shown]
            .into_iter()
            .any(|time| time.is_none_or(|time| now.saturating_duration_since(time) > TRUST))
    }

    fn see_whether_to_judge(&mut self, now: Instant) {
        if self.is_trust_over(now) {
            self.judging_since = None;
        } else if self.judging_since.is_none() {
            self.judging_since = Some(now);
        }
    }
}

fn stale_at(known: &Known, since: Instant) -> Option<Instant> {
    known.changed.max(since).checked_add(known.lease.duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three speakers and an API server, half a second a step.
    struct Lab {
        now: Instant,
        step: u32,
        members: Members,
        api: bool,
        watch: bool,
        dead: BTreeSet<&'static str>,
        renewals: u32,
    }

    impl Lab {
        fn new() -> Lab {
            let members = Members::new(NodeName::new("n1"));
            let now = Instant::now();
            let dead = BTreeSet::new();
            let mut lab = Lab { now, step: 0, members, api: true, watch: true, dead, renewals: 0 };
            lab.run(2);
            lab
        }

        fn run(&mut self, seconds: u32) {
            for _ in 0..seconds * 2 {
                self.step();
            }
        }

        fn step(&mut self) {
            self.now += Duration::from_millis(500);
            self.step += 1;
            self.members.handle_timeout(self.now);
            if !self.step.is_multiple_of(4) {
                return;
            }
            if !self.api {
                self.members.not_renewed(self.now);
                return;
            }
            self.renewals += 1;
            self.members.renewed(self.now);
            for node in ["n1", "n2", "n3"] {
                if self.watch && !self.dead.contains(node) {
                    let mark = format!("{}", self.renewals);
                    let lease = Lease { held: true, mark, duration: LEASE_DURATION };
                    self.members.saw(self.now, &NodeName::new(node), lease);
                }
            }
        }

        fn alive(&self) -> String {
            self.members.alive().iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ")
        }

        /// How many half seconds it takes until someone has gone.
        fn until_changed(&mut self, limit: u32) -> Option<u32> {
            let before = self.alive();
            (1..=limit).find(|_| {
                self.step();
                self.alive() != before
            })
        }
    }

    #[test]
    fn a_speaker_that_falls_silent_is_gone_after_its_lease() {
        let mut lab = Lab::new();
        assert_eq!(lab.alive(), "n1 n2 n3");
        lab.run(60);
        assert_eq!(lab.alive(), "n1 n2 n3");
        lab.dead.insert("n2");
        let took = lab.until_changed(40).unwrap();
        assert!((8..=12).contains(&took), "{took} half seconds");
        assert_eq!(lab.alive(), "n1 n3");
        lab.dead.clear();
        lab.run(2);
        assert_eq!(lab.alive(), "n1 n2 n3");
    }

    #[test]
    fn what_is_given_up_is_gone_at_once() {
        let mut lab = Lab::new();
        let (n2, n3) = (NodeName::new("n2"), NodeName::new("n3"));
        lab.dead.extend(["n2", "n3"]);
        let given_up = Lease { held: false, mark: "x".to_owned(), duration: LEASE_DURATION };
        lab.members.saw(lab.now, &n2, given_up);
        assert_eq!(lab.alive(), "n1 n3");
        lab.members.gone(&n3);
        assert_eq!(lab.alive(), "n1");
        lab.run(60);
        assert_eq!(lab.alive(), "n1");
    }

    #[test]
    fn while_the_api_is_away_nobody_is_judged() {
        let mut lab = Lab::new();
        lab.run(10);
        lab.api = false;
        lab.dead.insert("n3");
        assert_eq!(lab.until_changed(1000), None);
        lab.api = true;
        // After its return nobody is judged for one full lease time, and then the dead one is.
        let took = lab.until_changed(40).unwrap();
        assert!((12..=16).contains(&took), "{took} half seconds");
        assert_eq!(lab.alive(), "n1 n2");
    }

    #[test]
    fn a_request_that_hangs_is_no_renewal() {
        let mut lab = Lab::new();
        lab.run(10);
        // The API server answers nobody, and our own request hangs: nothing is told for minutes.
        let last = lab.now;
        while let Some(due) = lab.members.next_timeout() {
            assert!(due > lab.now);
            lab.now = due;
            lab.members.handle_timeout(lab.now);
            assert_eq!(lab.alive(), "n1 n2 n3");
        }
        assert!(lab.now - last <= LEASE_DURATION);
    }

    #[test]
    fn while_the_watch_is_broken_nobody_is_judged() {
        let mut lab = Lab::new();
        lab.run(10);
        lab.watch = false;
        lab.dead.extend(["n2", "n3"]);
        assert_eq!(lab.until_changed(200), None);
        lab.watch = true;
        let took = lab.until_changed(40).unwrap();
        assert!((12..=16).contains(&took), "{took} half seconds");
        assert_eq!(lab.alive(), "n1");
    }
}
