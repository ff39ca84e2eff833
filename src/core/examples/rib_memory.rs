//! What the outgoing RIB takes of memory: 8 sessions of one group with 10,000 and 100,000 routes, at rest, with a dump half
//! written, and with everything changed for a peer that doesn't read. Octets as asked of the allocator.
//!
//! `cargo run -p ferrolb-core --example rib_memory`
#![expect(unsafe_code, reason = "an allocator that counts is one")]
#![expect(clippy::unwrap_used, reason = "constants")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ferrolb_core::bgp::rib_out::{Facts, PerFamily, RibOut, SessionId};
use ferrolb_core::bgp::wire::Session;
use ferrolb_core::types::{Asn, Family, FamilySet, GroupId, RouteAttributes, StandardCommunity};
use ipnet::IpNet;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is the system allocator's; counting touches none of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const GROUP: GroupId = GroupId(1);

fn main() {
    for routes in [10_000, 100_000] {
        measure(routes);
    }
}

fn measure(count: u32) {
    let start = NOW.load(Relaxed);
    let report = |what: &str| {
        let octets = NOW.load(Relaxed) - start;
        let peak = PEAK.swap(NOW.load(Relaxed), Relaxed).saturating_sub(start);
        println!(
            "{count:>7} routes, {what:<44} {:>7} KiB, {:>4} octets a route; peak {:>7} KiB",
            octets / 1024,
            octets / count as usize,
            peak / 1024
        );
    };
    let attributes = |community: u32| {
        let communities = [StandardCommunity(community)].into();
        Arc::new(RouteAttributes { communities, ..RouteAttributes::default() })
    };
    let prefix = |n: u32| IpNet::from(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)));
    let mut now = Instant::now();
    let mut rib = RibOut::default();
    PEAK.store(start, Relaxed);
    let one = attributes(1);
    rib.replace(now, GROUP, (0..count).map(|n| (prefix(n), one.clone())));
    report("no session");
    let families = FamilySet::only(Family::V4);
    let session = Session { four_octet_as: true, families, ..Session::BEFORE_OPEN };
    let next_hops = PerFamily { v4: "10.0.0.1".parse().ok(), v6: None };
    let facts = Facts { session, shown_asn: Asn::new(64512).unwrap(), internal: false, next_hops };
    let sessions: Vec<SessionId> = (0..8).map(SessionId).collect();
    for id in &sessions {
        rib.attach(*id, GROUP, facts.clone());
        rib.fill(now, *id, &mut Vec::new(), 20_000);
    }
    report("8 sessions, dumps begun");
    let write = |rib: &mut RibOut, now, sessions: &[SessionId]| {
        for id in sessions {
            while rib.has_work(*id) {
                rib.fill(now, *id, &mut Vec::new(), 65_536);
            }
        }
    };
    write(&mut rib, now, &sessions);
    report("8 sessions at rest");
    let other = attributes(2);
    for n in 0..count {
        rib.set(now, GROUP, prefix(n), Some(&other));
    }
    report("all changed, nothing written");
    let (deaf, reading) = sessions.split_first().unwrap();
    write(&mut rib, now, reading);
    report("all changed, one doesn't read");
    now += Duration::from_secs(1);
    rib.handle_timeout(now);
    report("a second later");
    write(&mut rib, now, &[*deaf]);
    report("8 sessions at rest again");
}
