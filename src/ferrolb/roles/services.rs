//! What the log says of services: a line each, or one for all where many change at once.

use std::collections::{BTreeMap, BTreeSet};

use ferrolb_core::alloc::Allocator;
use ferrolb_core::engine::{Announcement, Outcome};
use ferrolb_core::types::ServiceKey;
use tracing::{debug, info, warn};

/// For how many lines of a batch each stands by itself.
const LINES: usize = 50;

/// A line that is only for those who want to know everything where there are many of them.
macro_rules! line {
    ($many:expr, $level:ident, $($rest:tt)*) => {
        if $many { debug!($($rest)*) } else { $level!($($rest)*) }
    };
}

/// Tells what a batch has changed of services. `told` is of which services it was told that they have no address, and why;
/// `None` where another role gives the addresses, and tells.
pub fn log(outcome: &Outcome, allocator: &Allocator, told: Option<&mut BTreeMap<ServiceKey, String>>) {
    let nothing = (BTreeSet::new(), &mut BTreeMap::new());
    let (allocations, told) = told.map_or((&nothing.0, nothing.1), |told| (&outcome.allocations, told));
    let announcements = [("bgp", &outcome.announcements), ("layer2", &outcome.layer2_announcements)];
    let lines = announcements.iter().map(|(_, changed)| changed.len()).sum::<usize>();
    let many = allocations.len() + lines > LINES;
    let (mut allocated, mut failed, mut announced, mut withdrawn) = (0_usize, 0_usize, 0_usize, 0_usize);
    for key in allocations {
        let allocation = allocator.get(key);
        match allocation.and_then(|a| a.error.as_ref()) {
            Some(reason) if told.get(key) != Some(reason) => {
                failed += 1;
                line!(failed > LINES, warn, event = "allocationFailed", service = %key, error = %reason, "no address, or not the one asked for");
                told.insert(key.clone(), reason.clone());
            }
            Some(_) => {}
            None => drop(told.remove(key)),
        }
        if let Some(a) = allocation.filter(|a| !a.ips.is_empty()) {
            allocated += 1;
            let pool = a.pool.as_deref().unwrap_or_default();
            line!(many, info, event = "ipAllocated", service = %key, ips = ?a.ips, pool, "addresses of the service");
        }
    }
    let announcements =
        announcements.into_iter().flat_map(|(protocol, changed)| changed.iter().map(move |c| (protocol, c)));
    for (protocol, (key, announcement)) in announcements {
        let reason = match announcement {
            Announcement::Announced => {
                announced += 1;
                line!(many, info, event = "serviceAnnounced", service = %key, protocol, "announcing");
                continue;
            }
            Announcement::NoAddress => "noIPAllocated".to_owned(),
            Announcement::NotAnnounced(reason) => reason.to_string(),
        };
        withdrawn += 1;
        line!(many, info, event = "serviceWithdrawn", service = %key, protocol, reason, "not announcing");
    }
    if many {
        info!(
            event = "servicesChanged",
            allocated,
            failed,
            announced,
            withdrawn,
            "many services at once; --log-level debug has a line for each"
        );
    }
}
