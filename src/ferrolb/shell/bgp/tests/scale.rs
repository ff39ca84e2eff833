//! Many routes, bursts, and peers that don't read.

use std::time::Instant;

use super::*;

/// One peer's window is shut with 100,000 routes to come; the other one gets its changes at once, and all it asks for.
#[tokio::test]
async fn a_shut_window_costs_the_others_nothing() {
    let mut bench = Bench::new().await;
    let other = std::mem::replace(&mut bench.listener, narrow());
    let deaf = bench.spec(FamilySet::only(Family::V4));
    let mut spec = deaf.clone();
    spec.name = "other".into();
    spec.remote = other.local_addr().unwrap();
    bench.apply(Some(vec![deaf, spec]), vec![(GROUP, GroupChange::Replace(many(100_000)))]).await;
    let (deaf, mut peer) =
        tokio::join!(ScriptedPeer::established(&bench.listener), ScriptedPeer::established(&other));
    bench.until(State::Established).await;
    while peer.ends_of_rib == 0 {
        peer.update().await;
    }
    let stuck = bench.status("tor").await.counters;
    assert!(stuck.announced < 100_000 && stuck.end_of_rib.is_empty());

    // Refreshes come while changes go on.
    let mut refresh = Vec::new();
    RouteRefresh::request(Family::V4).encode(&mut refresh);
    let change = |n: u32| {
        let (prefix, attributes) = many(100_000 + n + 1).pop().unwrap();
        vec![(GROUP, GroupChange::Changes(vec![(prefix, Some(attributes))]))]
    };
    peer.stream.write_all(&refresh).await.unwrap();
    for n in 0..20 {
        bench.apply(None, change(n)).await;
    }
    while peer.announced < 200_020
        || peer.routes.len() < 100_020
        || peer.updates as u64 != bench.status("other").await.counters.updates_sent
    {
        peer.update().await;
    }
    peer.silence().await;
    for n in 20..30 {
        let before = Instant::now();
        bench.apply(None, change(n)).await;
        peer.update().await;
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    }
    // What has come is what is counted.
    let counters = bench.status("other").await.counters;
    assert_eq!(counters.updates_sent, peer.updates as u64);
    assert_eq!((counters.announced, counters.withdrawn), (peer.announced as u64, peer.withdrawn as u64));
    assert_eq!(bench.status("tor").await.counters, stuck);
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
