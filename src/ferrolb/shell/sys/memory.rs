use std::time::{Duration, Instant};

/// From so many octets on a block is mapped by itself, so that it goes back to the system when it is freed. It is glibc's first
/// value, which would grow with the first large block that is freed: after that, the text of a list lay among small blocks.
#[cfg(target_env = "gnu")]
const MAPPED: i32 = 128 * 1024;

/// Has the allocator keep less of what is freed, where it is glibc's. It would make an arena for each thread, and each keeps
/// what was once freed in it, by whichever thread: with one for all, a speaker of 10,000 services has a tenth less than with two.
/// To be called before there are threads.
pub fn frugal_allocator() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no crate offers mallopt alone")]
    // SAFETY: no pointers; a value that isn't taken leaves everything as it was.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}

/// Gives the pages that nothing uses back to the system, where the allocator is glibc's: after the start, when much was freed
/// that lies between what is kept. It takes milliseconds.
pub fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no crate offers malloc_trim alone")]
    // SAFETY: no pointers; what is in use stays where it is.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives memory back in a quiet moment after much was done: a role that has read or written thousands of objects leaves holes.
#[derive(Debug, Default)]
pub struct Tidying {
    done: usize,
    last: Option<Instant>,
}

/// From so many things on it is worth the while.
const MUCH: usize = 1000;
/// A moment without anything done is a quiet one.
const QUIET: Duration = Duration::from_millis(500);

impl Tidying {
    /// So many objects were read or written.
    pub fn did(&mut self, things: usize, now: Instant) {
        self.done = self.done.saturating_add(things);
        self.last = Some(now);
    }

    /// When it is time to [`tidy`](Self::tidy), if nothing more is done; `None`: there is no need.
    fn due(&self) -> Option<Instant> {
        self.last.filter(|_| self.done >= MUCH).map(|last| last + QUIET)
    }

    /// Waits until it is time to [`tidy`](Self::tidy). Dropping the future loses nothing.
    pub async fn wait(&self) {
        match self.due() {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Gives back what nothing uses.
    pub fn tidy(&mut self) {
        *self = Tidying::default();
        return_free_memory();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_time_once_much_was_done_and_nothing_more_happens() {
        let (mut tidying, now) = (Tidying::default(), Instant::now());
        tidying.did(MUCH - 1, now);
        assert_eq!(tidying.due(), None, "not worth the while");
        tidying.did(1, now + QUIET);
        assert_eq!(tidying.due(), Some(now + QUIET + QUIET));
        tidying.tidy();
        assert_eq!(tidying.due(), None, "it is tidy");
    }
}
