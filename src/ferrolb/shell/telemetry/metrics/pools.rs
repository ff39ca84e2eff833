//! How many addresses a pool may give, and how many of them are used.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ferrolb_core::config::Pool;
use ferrolb_core::types::Family;

/// How many addresses a pool may give.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) v4: u128,
    pub(super) v6: u128,
}

/// A pool, as a scrape shows it.
pub(super) struct Usage {
    pub(super) size: Size,
    pub(super) used: BTreeSet<IpAddr>,
}

impl Size {
    /// Of this pool.
    pub(super) fn of(pool: &Pool) -> Size {
        let mut ranges = pool.ranges.clone();
        ranges.sort();
        let mut size = Size::default();
        // The highest address counted so far: entries of a pool may overlap.
        let mut counted: Option<IpAddr> = None;
        for range in ranges {
            let known = counted.filter(|last| Family::of(*last) == range.family());
            let last = number(range.last());
            let first = known.map_or(number(range.first()), |last| {
                number(range.first()).max(number(last).saturating_add(1))
            });
            if first > last {
                continue;
            }
            counted = Some(range.last());
            let all = (last - first).saturating_add(1);
            match range.family() {
                Family::V4 if pool.avoid_buggy_ips => {
                    let buggy = buggy_up_to(last) - first.checked_sub(1).map_or(0, buggy_up_to);
                    size.v4 = size.v4.saturating_add(all - buggy);
                }
                Family::V4 => size.v4 = size.v4.saturating_add(all),
                Family::V6 => size.v6 = size.v6.saturating_add(all),
            }
        }
        size
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// How many IPv4 addresses up to this one end in .0 or .255.
fn buggy_up_to(address: u128) -> u128 {
    (address >> 8) * 2 + 1 + u128::from(address & 0xff == 0xff)
}

/// MetalLB: counts of addresses are signed 64-bit numbers, and stop at the greatest of them.
pub(super) fn bounded(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs())
}
