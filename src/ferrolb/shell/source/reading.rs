//! Parses documents on as many threads as there are processors, where there is enough to do.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use ferrolb_core::manifest::{Parsed, RawDocument};

/// Reads all documents; the results are in their order.
pub(super) fn read_all(documents: Vec<RawDocument<'_>>) -> Vec<Parsed> {
    let size: usize = documents.iter().map(|d| d.text().len()).sum();
    map_in_parallel(documents, size >= WORTH_A_THREAD, RawDocument::read)
}

/// From this many bytes on a second thread is quicker than one.
const WORTH_A_THREAD: usize = 128 * 1024;

/// Applies `work` to each item, on several threads where `parallel`; the results are in the items' order.
pub(super) fn map_in_parallel<T: Send, R: Send>(
    items: Vec<T>,
    parallel: bool,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = threads();
    if !parallel || threads < 2 || items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    let total = items.len();
    // Parts small enough that no thread waits long for the others at the end.
    let part = total.div_ceil(threads.saturating_mul(16)).max(1);
    let mut parts = Vec::new();
    let mut items = items.into_iter();
    loop {
        let next: Vec<T> = items.by_ref().take(part).collect();
        if next.is_empty() {
            break;
        }
        parts.push(Mutex::new((next, Vec::new())));
    }
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Nobody else has this part: poisoning can't be seen here.
            let mut part = part.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let todo = std::mem::take(&mut part.0);
            part.1 = todo.into_iter().map(&work).collect();
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    let mut results = Vec::with_capacity(total);
    for part in parts {
        results.extend(part.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).1);
    }
    results
}

/// How many threads there is a processor for. The answer is kept: to ask takes as long as reading a document.
fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS))
}

const MOST_THREADS: usize = 8;
