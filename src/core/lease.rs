//! Leader election by a Lease (`coordination.k8s.io/v1`): who may write.
//!
//! Sans-IO: what the API server has is handed in ([`Election::observe`]), what to do comes out ([`Election::decide`]). Times
//! are readings of any clock of this process that only goes forward. What others wrote as *their* time is compared with what
//! it was before and with nothing else: a lease is stale when it didn't change for its whole duration, by the own clock.
//!
//! The Lease is written as other controllers write it, so that `kubectl get lease` shows it as usual. A holder that ends
//! gives it up by emptying its name; whoever watches takes it at once.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

/// How the election is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease counts after it was last renewed.
    pub duration: Duration,
    /// How long after its last renewal the holder still takes itself for the leader: less than `duration`.
    pub deadline: Duration,
    /// How long after its last renewal the holder renews it: so much less than `deadline` that a try may fail.
    pub renewal: Duration,
    /// How long between tries that fail.
    pub retry: Duration,
}

impl Default for Timing {
    /// As Kubernetes' own controllers (15 s, 10 s, tries 2 s apart), but renewed every 5 s: each renewal is a write, and an
    /// event at everyone who watches the Leases.
    fn default() -> Timing {
        Timing {
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            renewal: Duration::from_secs(5),
            retry: Duration::from_secs(2),
        }
    }
}

/// A Lease as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// `metadata.resourceVersion`: a write says which one it replaces.
    pub resource_version: String,
    /// `spec.holderIdentity`; empty where nobody holds it.
    pub holder: String,
    /// `spec.leaseDurationSeconds`, where it is more than 0.
    pub duration: Option<Duration>,
    /// `spec.renewTime`, as text.
    pub renewed: String,
    /// `spec.leaseTransitions`.
    pub transitions: u64,
}

impl Lease {
    /// From its `spec`; what isn't there or is of a wrong type counts as empty.
    pub fn read(resource_version: &str, spec: &Value) -> Lease {
        let text = |field| spec.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |field| spec.get(field).and_then(Value::as_u64).unwrap_or_default();
        let seconds = number("leaseDurationSeconds");
        Lease {
            resource_version: resource_version.to_owned(),
            holder: text("holderIdentity"),
            duration: (seconds > 0).then(|| Duration::from_secs(seconds)),
            renewed: text("renewTime"),
            transitions: number("leaseTransitions"),
        }
    }

    /// The same from the whole object.
    pub fn of(object: &Value) -> Lease {
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        Lease::read(version.unwrap_or_default(), object.get("spec").unwrap_or(&Value::Null))
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing before this time, or before the Lease changes.
    Wait(Duration),
    /// Create the Lease with this `spec`.
    Create(Value),
    /// Patch the Lease to this `spec`, if it still has this resourceVersion.
    Patch {
        /// The one that it has to have.
        resource_version: String,
        /// A merge patch of `spec`.
        spec: Value,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Election {
    me: String,
    timing: Timing,
    /// What the API server has, as far as is known; `None` inside: there is none.
    lease: Option<Option<Lease>>,
    /// When that was first seen in this form.
    since: Duration,
    /// When the last write of ours that succeeded was begun.
    renewed: Option<Duration>,
    /// When the last try was.
    tried: Option<Duration>,
    /// A write is under way.
    writing: Option<Duration>,
}

impl Election {
    /// A candidate of this name, which no other has.
    pub fn new(me: &str, timing: Timing) -> Election {
        Election {
            me: me.to_owned(),
            timing,
            lease: None,
            since: Duration::ZERO,
            renewed: None,
            tried: None,
            writing: None,
        }
    }

    /// What was asked for as a whole at `asked`, a list or the Lease itself, says that the API server has this Lease, or none. That is
    /// so whatever was known: versions go back where the API server's data was restored from a backup. Only what was learnt
    /// since it was asked for may be newer.
    pub fn listed(&mut self, lease: Option<Lease>, asked: Duration, now: Duration) {
        if asked < self.since {
            self.observe(lease, now);
        } else {
            self.know(lease, now);
        }
    }

    /// The API server has this Lease, or none. An older word than the last one is passed over.
    pub fn observe(&mut self, lease: Option<Lease>, now: Duration) {
        let version = |l: &Option<Lease>| l.as_ref().and_then(|l| l.resource_version.parse::<u64>().ok());
        if let (Some(known), Some(told)) = (self.lease.as_ref().and_then(version), version(&lease))
            && told < known
        {
            return;
        }
        self.know(lease, now);
    }

    fn know(&mut self, lease: Option<Lease>, now: Duration) {
        let content =
            |l: &Option<Lease>| l.as_ref().map(|l| (l.holder.clone(), l.renewed.clone(), l.transitions));
        let same = self.lease.as_ref().is_some_and(|known| content(known) == content(&lease));
        if !same {
            self.since = now;
            // Somebody else has it, and that is no old word: ours was given up or ran out.
            if lease.as_ref().is_none_or(|l| l.holder != self.me) {
                self.renewed = None;
            }
            // What changed may be worth a try at once.
            self.tried = None;
        }
        self.lease = Some(lease);
    }

    /// What to do at `now`; `time` is the wall clock's, and goes into the Lease for people to read. Whatever is to be written
    /// has to be answered by [`wrote`](Self::wrote) or [`failed`](Self::failed).
    pub fn decide(&mut self, now: Duration, time: Timestamp) -> Step {
        let Some(lease) = &self.lease else { return Step::Wait(now.saturating_add(self.timing.retry)) };
        if let Some(begun) = self.writing {
            return Step::Wait(begun.saturating_add(self.timing.deadline).max(now));
        }
        let next_try = self.tried.map(|t| t.saturating_add(self.timing.retry));
        let due = match lease {
            None => Duration::ZERO,
            Some(l) if l.holder == self.me => {
                self.renewed.map_or(Duration::ZERO, |at| at.saturating_add(self.timing.renewal))
            }
            Some(l) if l.holder.is_empty() => Duration::ZERO,
            Some(l) => self.since.saturating_add(l.duration.unwrap_or(self.timing.duration)),
        };
        let due = due.max(next_try.unwrap_or_default());
        if due > now {
            return Step::Wait(due);
        }
        self.tried = Some(now);
        self.writing = Some(now);
        let stamp = format!("{time:.6}");
        let mut spec = json!({
            "holderIdentity": self.me,
            "leaseDurationSeconds": self.timing.duration.as_secs(),
            "renewTime": stamp,
        });
        let Some(lease) = lease else {
            set(&mut spec, "acquireTime", stamp.into());
            set(&mut spec, "leaseTransitions", 0.into());
            return Step::Create(spec);
        };
        if lease.holder != self.me {
            set(&mut spec, "acquireTime", stamp.into());
            set(&mut spec, "leaseTransitions", lease.transitions.saturating_add(1).into());
        }
        Step::Patch { resource_version: lease.resource_version.clone(), spec }
    }

    /// What was decided last is written, and the API server has this now.
    pub fn wrote(&mut self, lease: Lease, now: Duration) {
        let begun = self.writing.take();
        let ours = lease.holder == self.me;
        self.lease = Some(Some(lease));
        self.since = now;
        self.renewed = begun.filter(|_| ours);
    }

    /// What was decided last couldn't be written. After a conflict the Lease has to be read anew, and [`listed`](Self::listed).
    pub fn failed(&mut self) {
        self.writing = None;
    }

    /// Whether this candidate may act as leader at `now`.
    pub fn leads(&self, now: Duration) -> bool {
        self.renewed.is_some_and(|at| now < at.saturating_add(self.timing.deadline))
    }

    /// Until when it may, without a further renewal.
    pub fn leads_until(&self) -> Option<Duration> {
        self.renewed.map(|at| at.saturating_add(self.timing.deadline))
    }

    /// Who holds the Lease, as far as is known.
    pub fn holder(&self) -> Option<&str> {
        let holder = self.lease.as_ref()?.as_ref()?.holder.as_str();
        (!holder.is_empty()).then_some(holder)
    }

    /// How to give it up: the resourceVersion and a merge patch of `spec`; `None` where it isn't held. It is no leader any
    /// more from here on.
    pub fn release(&mut self, time: Timestamp) -> Option<(String, Value)> {
        // Nothing is known of it from here on, until it is seen again.
        let lease = self.lease.take_if(|l| l.as_ref().is_some_and(|l| l.holder == self.me))??;
        self.renewed = None;
        let spec =
            json!({ "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": format!("{time:.6}") });
        Some((lease.resource_version, spec))
    }
}

fn set(spec: &mut Value, field: &str, value: Value) {
    if let Some(fields) = spec.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An API server with one Lease.
    #[derive(Default)]
    struct Server {
        version: u64,
        spec: Option<Value>,
    }

    impl Server {
        fn lease(&self) -> Option<Lease> {
            self.spec.as_ref().map(|spec| Lease::read(&self.version.to_string(), spec))
        }

        /// Does what a candidate decides; whether it wrote.
        fn step(&mut self, candidate: &mut Election, now: Duration) -> bool {
            match candidate.decide(now, Timestamp::UNIX_EPOCH + now) {
                Step::Wait(_) => return false,
                Step::Create(spec) if self.spec.is_none() => self.spec = Some(spec),
                Step::Patch { resource_version, spec } if resource_version == self.version.to_string() => {
                    self.patch(&spec);
                    self.version -= 1;
                }
                _ => {
                    candidate.failed();
                    return false;
                }
            }
            self.version += 1;
            candidate.wrote(self.lease().expect("written"), now);
            true
        }

        fn patch(&mut self, patch: &Value) {
            let fields = self.spec.as_mut().and_then(Value::as_object_mut).expect("a lease");
            fields.extend(patch.as_object().expect("fields").clone());
            self.version += 1;
        }
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn candidate(name: &str) -> Election {
        Election::new(name, Timing::default())
    }

    #[test]
    fn the_first_takes_it_and_renews_and_the_second_waits() {
        let (mut server, mut a, mut b) = (Server::default(), candidate("a"), candidate("b"));
        assert_eq!(a.decide(at(0), Timestamp::UNIX_EPOCH), Step::Wait(at(2000)), "nothing is known yet");
        a.observe(None, at(0));
        assert!(server.step(&mut a, at(0)) && a.leads(at(1)));
        b.observe(server.lease(), at(1));
        assert!(!server.step(&mut b, at(14_000)) && !b.leads(at(14_000)));
        assert_eq!(b.holder(), Some("a"));
        let mut writes = 0;
        for now in (0..60_000).step_by(10) {
            let wrote = server.step(&mut a, at(now));
            writes += u32::from(wrote);
            if wrote {
                b.observe(server.lease(), at(now));
            }
            assert!(!server.step(&mut b, at(now)));
            assert!(a.leads(at(now)));
        }
        assert_eq!(writes, 11, "one each 5 s");
    }

    #[test]
    fn a_renewal_that_fails_is_tried_again_before_the_deadline() {
        let (mut server, mut a) = (Server::default(), candidate("a"));
        a.observe(None, at(0));
        server.step(&mut a, at(0));
        let mut tried = Vec::new();
        for now in (0..10_000).step_by(10) {
            if !matches!(a.decide(at(now), Timestamp::UNIX_EPOCH), Step::Wait(_)) {
                a.failed();
                tried.push(now);
            }
            assert!(a.leads(at(now)));
        }
        assert_eq!(tried, [5_000, 7_000, 9_000]);
        assert!(!a.leads(at(10_000)));
    }

    #[test]
    fn a_holder_that_ends_gives_it_up_and_the_next_has_it_at_once() {
        let (mut server, mut a, mut b) = (Server::default(), candidate("a"), candidate("b"));
        a.observe(None, at(0));
        server.step(&mut a, at(0));
        b.observe(server.lease(), at(0));
        server.step(&mut b, at(100));
        let (version, spec) = a.release(Timestamp::UNIX_EPOCH).expect("it is held");
        assert_eq!(version, server.version.to_string());
        server.patch(&spec);
        assert!(!a.leads(at(150)));
        b.observe(server.lease(), at(150));
        assert!(server.step(&mut b, at(150)) && b.leads(at(150)));
        let lease = server.lease().expect("a lease");
        assert_eq!((lease.holder.as_str(), lease.transitions), ("b", 1));
        assert_eq!(b.release(Timestamp::UNIX_EPOCH).map(|r| r.0), Some(server.version.to_string()));
        assert_eq!(a.release(Timestamp::UNIX_EPOCH), None, "it isn't held any more");
    }

    #[test]
    fn a_holder_that_vanished_is_followed_after_the_lease_ran_out_by_the_own_clock() {
        let (mut server, mut a, mut b) = (Server::default(), candidate("a"), candidate("b"));
        a.observe(None, at(0));
        server.step(&mut a, at(0));
        // Seen late: the full time counts from there.
        b.observe(server.lease(), at(9_000));
        assert!(!server.step(&mut b, at(23_999)));
        assert!(server.step(&mut b, at(24_000)));
        // The first one has known for long that it may not act.
        assert!(a.leads(at(9_999)) && !a.leads(at(10_000)));
        // And is told when it comes back.
        a.observe(server.lease(), at(25_000));
        assert!(!server.step(&mut a, at(25_000)) && !a.leads(at(25_000)));
    }

    #[test]
    fn of_two_who_try_together_one_wins() {
        let (mut server, mut a, mut b) = (Server::default(), candidate("a"), candidate("b"));
        server.spec = Some(json!({ "holderIdentity": "" }));
        a.observe(server.lease(), at(0));
        b.observe(server.lease(), at(0));
        assert!(server.step(&mut a, at(1)));
        assert!(!server.step(&mut b, at(1)), "its resourceVersion is an old one");
        assert!(a.leads(at(2)) && !b.leads(at(2)));
        // It doesn't try again before some time has passed, or something changes.
        assert!(matches!(b.decide(at(3), Timestamp::UNIX_EPOCH), Step::Wait(_)));
    }

    #[test]
    fn a_lease_that_was_deleted_is_made_again_and_the_holder_pauses_until_then() {
        let (mut server, mut a) = (Server::default(), candidate("a"));
        a.observe(None, at(0));
        server.step(&mut a, at(0));
        server.spec = None;
        a.observe(None, at(500));
        assert!(!a.leads(at(500)));
        assert!(server.step(&mut a, at(501)) && a.leads(at(501)));
    }

    #[test]
    fn a_leader_whose_own_word_comes_back_late_stays_one() {
        let (mut server, mut a) = (Server::default(), candidate("a"));
        a.observe(None, at(0));
        server.step(&mut a, at(0));
        let old = server.lease();
        server.step(&mut a, at(5_000));
        a.observe(old, at(5_001));
        assert!(a.leads(at(14_999)));
        assert!(server.step(&mut a, at(10_000)), "it renews what it wrote last");
        // Likewise of a list that was asked for before that was written.
        let old = Server { version: 1, spec: server.spec.clone() };
        a.listed(old.lease(), at(9_999), at(10_001));
        assert!(server.step(&mut a, at(15_000)));
    }

    #[test]
    fn where_versions_have_gone_back_the_lease_that_is_read_anew_is_renewed() {
        let (mut server, mut a) = (Server { version: 1_000, spec: None }, candidate("a"));
        a.observe(None, at(0));
        server.step(&mut a, at(0));
        // The API server's data is restored from a backup, in which another one holds the Lease, or this one.
        for (holder, begun) in [("b", at(5_000)), ("a", at(30_000))] {
            server.version /= 2;
            server.spec = Some(json!({ "holderIdentity": holder, "renewTime": "long ago" }));
            assert!(!server.step(&mut a, begun), "a conflict");
            a.observe(server.lease(), begun);
            assert!(!server.step(&mut a, begun + at(2_000)), "to the watch that is an old word");
            a.listed(server.lease(), begun + at(2_001), begun + at(2_002));
            if holder == "b" {
                assert!(!a.leads(begun + at(2_002)));
                assert!(!server.step(&mut a, begun + at(17_001)), "another one's, until it runs out");
                assert!(server.step(&mut a, begun + at(17_002)) && a.leads(begun + at(17_002)));
            } else {
                assert!(server.step(&mut a, begun + at(2_002)) && a.leads(begun + at(2_002)));
            }
        }
    }
}
