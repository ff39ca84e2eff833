//! Many routes, bursts, and peers that don't read.

use std::time::Instant;

use ferrolb_core::bgp::wire::MAX_MESSAGE;

use super::super::session::BURST;
use super::*;

/// Half of them are no longer.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn change(n: u32) -> Vec<(GroupId, GroupChange)> {
    let (prefix, attributes) = many(100_000 + n + 1).pop().unwrap();
    vec![(GROUP, GroupChange::Changes(vec![(prefix, Some(attributes))]))]
}

/// How long changes take to reach a peer, each by itself.
async fn times_to(peer: &mut ScriptedPeer, bench: &Bench, numbers: std::ops::Range<u32>) -> Vec<Duration> {
    let mut times = Vec::new();
    for n in numbers {
        let before = Instant::now();
        bench.apply(None, change(n)).await;
        peer.update().await;
        times.push(before.elapsed());
    }
    times
}

/// One peer's window is shut with 100,000 routes to come; the other one gets its changes as soon as without it, and all it
/// asks for. What is made for the first one is a burst, and no more.
#[tokio::test]
async fn a_shut_window_costs_the_others_nothing() {
    let mut bench = Bench::new().await;
    let other = std::mem::replace(&mut bench.listener, narrow());
    let deaf = bench.spec(FamilySet::only(Family::V4));
    let mut spec = deaf.clone();
    spec.name = "other".into();
    spec.remote = other.local_addr().unwrap();
    let routes = vec![(GROUP, GroupChange::Replace(many(100_000)))];
    bench.apply(Some(vec![spec.clone()]), routes).await;
    let mut peer = ScriptedPeer::established(&other).await;
    bench.until(State::Established).await;
    while peer.ends_of_rib == 0 {
        peer.update().await;
    }
    let alone = median(times_to(&mut peer, &bench, 0..40).await);

    bench.apply(Some(vec![deaf, spec]), vec![]).await;
    let deaf = ScriptedPeer::established(&bench.listener).await;
    bench.until(State::Established).await;
    let mut looks = 0;
    let mut stuck = bench.status("tor").await.counters;
    // Its kernel takes more now and then before it takes nothing any more.
    while looks < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let status = bench.status("tor").await;
        looks = if status.waiting > 0 && status.counters == stuck { looks + 1 } else { 0 };
        stuck = status.counters;
    }
    assert!(stuck.announced < 100_000 && stuck.end_of_rib.is_empty());
    let beside = median(times_to(&mut peer, &bench, 40..80).await);
    assert!(beside < alone * 5 + Duration::from_millis(5), "{beside:?} instead of {alone:?}");

    // Refreshes come while changes go on.
    let mut refresh = Vec::new();
    RouteRefresh::request(Family::V4).encode(&mut refresh);
    peer.stream.write_all(&refresh).await.unwrap();
    for n in 80..100 {
        bench.apply(None, change(n)).await;
    }
    while peer.announced < 200_180
        || peer.routes.len() < 100_100
        || peer.updates as u64 != bench.status("other").await.counters.updates_sent
    {
        peer.update().await;
    }
    peer.silence().await;
    times_to(&mut peer, &bench, 100..110).await;
    // What has come is what is counted.
    let counters = bench.status("other").await.counters;
    assert_eq!(counters.updates_sent, peer.updates as u64);
    assert_eq!((counters.announced, counters.withdrawn), (peer.announced as u64, peer.withdrawn as u64));
    let status = bench.status("tor").await;
    assert_eq!(status.counters, stuck);
    assert!((1..=BURST + MAX_MESSAGE).contains(&status.waiting), "{} octets", status.waiting);
    drop(deaf);
    within(bench.handle.shutdown("")).await;
}

/// 1,000 changes in one go are a handful of UPDATEs, and those of a second go wait for the second.
#[tokio::test]
async fn a_burst_is_few_updates() {
    let mut bench = Bench::new().await;
    let spec = bench.spec(FamilySet::only(Family::V4));
    bench.apply(Some(vec![spec]), vec![(GROUP, GroupChange::Replace(many(10_000)))]).await;
    let mut peer = ScriptedPeer::established(&bench.listener).await;
    bench.until(State::Established).await;
    peer.updates(14).await;
    let marked = |community| {
        let communities = [StandardCommunity(community)].into();
        Arc::new(RouteAttributes { communities, ..RouteAttributes::default() })
    };
    // Every third goes, every third is new, every third changes, in sixteen ways.
    let changes = |turn: u32| -> Vec<_> {
        let routes = many(11_000);
        let change = |n: u32| match n % 3 {
            0 => (routes[n as usize].0, None),
            1 => (routes[10_000 + n as usize].0, Some(marked(n % 16))),
            _ => (routes[n as usize].0, Some(marked(turn * 16 + n % 16))),
        };
        (0..1000).map(change).collect()
    };
    peer.updates = 0;
    let before = Instant::now();
    bench.apply(None, vec![(GROUP, GroupChange::Changes(changes(1)))]).await;
    while peer.withdrawn + peer.announced < 11_000 {
        peer.update().await;
    }
    assert!(peer.updates <= 34, "{}", peer.updates);
    bench.apply(None, vec![(GROUP, GroupChange::Changes(changes(2)))]).await;
    bench.apply(None, vec![(GROUP, GroupChange::Changes(changes(3)))]).await;
    peer.silence().await;
    while peer.announced < 10_000 + 666 + 333 {
        peer.update().await;
    }
    let waited = before.elapsed();
    assert!((1000..2000).contains(&waited.as_millis()), "{waited:?}");
    assert!(peer.updates <= 34 + 17, "{}", peer.updates);
    peer.silence().await;
    within(bench.handle.shutdown("")).await;
}

#[tokio::test]
async fn a_change_is_measured_until_the_first_session_has_written_it() {
    let mut bench = Bench::new().await;
    let change = |n: u32, noticed| {
        let groups =
            vec![(GROUP, GroupChange::Changes(vec![(many(n + 1)[n as usize].0, Some(Arc::default()))]))];
        Update { groups, noticed, ..Update::default() }
    };
    let long_ago = || Instant::now().checked_sub(Duration::from_secs(7));
    let spec = bench.spec(FamilySet::only(Family::V4));
    // Nobody is connected, so nothing is written.
    bench.apply(Some(vec![spec]), vec![(GROUP, GroupChange::Replace(many(3)))]).await;
    bench.handle.apply(change(3, long_ago())).await.unwrap();
    let mut peer = ScriptedPeer::established(&bench.listener).await;
    bench.until(State::Established).await;
    peer.updates(2).await;
    assert_eq!(peer.routes.len(), 4);
    // What is the same as before, and what nobody wants to know of.
    bench.handle.apply(change(3, long_ago())).await.unwrap();
    bench.handle.apply(change(4, None)).await.unwrap();
    peer.update().await;
    bench.status("tor").await;
    assert!(bench.written.try_recv().is_err());
    bench.handle.apply(change(5, long_ago())).await.unwrap();
    peer.update().await;
    // It was told before the question could be answered.
    bench.status("tor").await;
    let after = bench.written.try_recv().unwrap();
    assert!(after >= Duration::from_secs(7) && after < Duration::from_secs(37), "{after:?}");
    assert!(bench.written.try_recv().is_err());
    bench.handle.shutdown("").await;
}
