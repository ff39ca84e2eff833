//! The timer table: at most one deadline for each kind; a spurious wake-up is harmless.

use std::time::Instant;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The next attempt to connect (RFC 4271 8.1.3, ConnectRetryTimer; also IdleHoldTimer).
    Retry,
    /// The end of an attempt to connect.
    Attempt,
    /// RFC 4271 8.1.3, HoldTimer.
    Hold,
    /// RFC 4271 8.1.3, KeepaliveTimer.
    Keepalive,
    /// RFC 9687 section 3.1, SendHoldTimer.
    SendHold,
    /// The session has stood long enough for the next retry to be a first one.
    Stable,
}

impl Timer {
    const ALL: [Timer; 6] =
        [Timer::Retry, Timer::Attempt, Timer::Hold, Timer::Keepalive, Timer::SendHold, Timer::Stable];
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: [Option<Instant>; Timer::ALL.len()],
    postponed: [bool; Timer::ALL.len()],
}

#[expect(clippy::indexing_slicing, reason = "the table has a place for each timer")]
impl Timers {
    pub(super) fn set(&mut self, timer: Timer, deadline: Instant) {
        self.deadlines[timer as usize] = Some(deadline);
        self.postponed[timer as usize] = false;
    }

    /// Gives a timer that runs until `deadline` at least, once: not again before it is set anew.
    pub(super) fn postpone(&mut self, timer: Timer, deadline: Instant) {
        if self.deadlines[timer as usize].is_some_and(|old| old < deadline)
            && !std::mem::replace(&mut self.postponed[timer as usize], true)
        {
            self.deadlines[timer as usize] = Some(deadline);
        }
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = None;
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.deadlines[timer as usize].is_some()
    }

    pub(super) fn stop_all(&mut self) {
        *self = Timers::default();
    }

    /// Stops and gives one that is due at `now`: the earliest.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let due = |timer: &Timer| self.deadlines[*timer as usize].filter(|deadline| *deadline <= now);
        let timer = Timer::ALL.into_iter().filter(|t| due(t).is_some()).min_by_key(due)?;
        self.stop(timer);
        Some(timer)
    }

    pub(super) fn earliest(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }
}
