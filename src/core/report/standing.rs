use std::time::{Duration, Instant};

/// For how long a session may be away without anything being written about it.
pub const HOLD: Duration = Duration::from_secs(30);

/// Whether a session is established, and what was told of it.
///
/// A session that comes up is told of at once, one that goes down when it has been down for [`HOLD`]; and between two tellings
/// there is as much time at least. So a session that comes and goes costs at most two tellings a minute, and one that is away
/// for less than [`HOLD`] none.
#[derive(Clone, Debug)]
pub struct Standing {
    established: bool,
    since: Instant,
    told: Option<bool>,
    told_at: Option<Instant>,
}

/// What can be said of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// It is established.
    Up,
    /// It isn't, and hasn't been for long.
    Down,
    /// It is too early to say.
    Unsettled,
}

impl Standing {
    /// Of a session that isn't established yet, and of which nothing was told.
    pub fn new(now: Instant) -> Standing {
        Standing { established: false, since: now, told: None, told_at: None }
    }

    /// The session is established, or isn't.
    pub fn set(&mut self, now: Instant, established: bool) {
        if self.established != established {
            self.established = established;
            self.since = now;
        }
    }

    /// Tells what is due; whether that differs from what was told before.
    pub fn settle(&mut self, now: Instant) -> bool {
        if self.due().is_none_or(|due| now < due) {
            return false;
        }
        self.told = Some(self.established);
        self.told_at = Some(now);
        true
    }

    /// When [`settle`](Standing::settle) has something to do; `None`: not before the next change.
    pub fn due(&self) -> Option<Instant> {
        if self.told == Some(self.established) {
            return None;
        }
        let held = if self.established { self.since } else { self.since.checked_add(HOLD)? };
        let again = self.told_at.and_then(|told| told.checked_add(HOLD));
        Some(again.map_or(held, |again| again.max(held)))
    }

    /// What can be said.
    pub fn view(&self) -> View {
        match (self.established, self.told) {
            (true, Some(true)) => View::Up,
            (false, Some(false)) => View::Down,
            _ => View::Unsettled,
        }
    }
}
