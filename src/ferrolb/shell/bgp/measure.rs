//! How long changes take until they are written.

use std::time::Instant;

use ferrolb_core::bgp::rib_out::SessionId;

/// How many changes may be under way and be measured; of those that find no room nothing is told.
const CHANGES: usize = 64;

/// The changes that are under way: nothing, most of the time.
#[derive(Debug, Default)]
pub(super) struct Measured(Vec<UnderWay>);

#[derive(Debug)]
struct UnderWay {
    noticed: Instant,
    /// The sessions that have something to send for it; one at least.
    sessions: Vec<SessionId>,
}

impl Measured {
    /// A change that was noticed at `noticed` has given these sessions something to send.
    pub(super) fn begin(&mut self, noticed: Instant, sessions: Vec<SessionId>) {
        if !sessions.is_empty() && self.0.len() < CHANGES {
            self.0.push(UnderWay { noticed, sessions });
        }
    }

    /// Whether there is nothing to be told of.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The socket of a session has taken all that there was to send; gives when the changes were noticed that it is the
    /// first one for.
    pub(super) fn written(&mut self, session: SessionId) -> Vec<Instant> {
        let done = self.0.extract_if(.., |change| change.sessions.contains(&session));
        done.map(|change| change.noticed).collect()
    }

    /// A session has ended, and sends no more.
    pub(super) fn ended(&mut self, session: SessionId) {
        self.0.retain_mut(|change| {
            change.sessions.retain(|other| *other != session);
            !change.sessions.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_session_counts_and_those_that_end_do_not() {
        let (mut measured, now) = (Measured::default(), Instant::now());
        let [a, b] = [SessionId(1), SessionId(2)];
        measured.begin(now, vec![]);
        assert!(measured.is_empty());
        measured.begin(now, vec![a, b]);
        measured.begin(now, vec![b]);
        assert_eq!(measured.written(a), [now]);
        assert!(measured.written(a).is_empty());
        measured.ended(b);
        assert!(measured.is_empty());
        for _ in 0..1000 {
            measured.begin(now, vec![a]);
        }
        assert_eq!(measured.written(a).len(), CHANGES);
    }
}
