//! What a running allocator does as things change.

use super::Mode;
use super::fixtures::{PoolExt, Running, ServiceExt, ip, ips, key, pool, service};
use super::tests::mentions;
use crate::config::PoolState;

#[test]
fn a_running_allocator_keeps_what_it_gave() {
    let mut r = Running::new(Mode::Allocate, [pool("p", "1.2.3.4/30")], [service("b", 5)]);
    assert_eq!(r.show("b"), "1.2.3.4 @p");
    assert_eq!(r.apply(service("a", 1)), [key("a")], "an older one takes nothing away");
    assert_eq!(r.show("a"), "1.2.3.5 @p");
    assert_eq!(r.apply(service("a", 1).holds("1.2.3.5")), [], "the status that was written is no change");
    assert_eq!(r.reconfigure([pool("p", "1.2.3.4/30"), pool("a", "9.9.9.0/24")]), []);
    assert_eq!(r.reconfigure([pool("p", "1.2.3.5/32"), pool("z", "9.9.9.0/24")]), [key("b")]);
    assert_eq!(r.show("b"), "9.9.9.0 @z");
    assert_eq!(r.delete("b"), [key("b")]);
    assert_eq!(r.apply(service("a", 1).with(|s| s.class = Some("other".into()))), [key("a")]);
    assert!(r.allocator.get(&key("a")).is_none());
}

#[test]
fn the_one_whose_edit_ends_the_sharing_moves() {
    let a = || service("a", 1).share("k");
    let mut r = Running::new(
        Mode::Allocate,
        [pool("p", "1.2.3.4/30")],
        [a(), service("b", 2).share("k").ports("443")],
    );
    assert_eq!((r.show("a"), r.show("b")), ("1.2.3.4 @p".into(), "1.2.3.4 @p".into()));
    assert_eq!(r.apply(a().share("other")), [key("a")]);
    assert_eq!((r.show("a"), r.show("b")), ("1.2.3.5 @p".into(), "1.2.3.4 @p".into()));
    // Read again after that edit and a new configuration, all is the same.
    assert_eq!(r.reconfigure([pool("p", "1.2.3.4/30")]), []);
    // Alone, the key may change freely.
    assert_eq!(r.apply(a().share("third")), []);
}

#[test]
fn news_of_what_is_held_is_a_wish() {
    let mut r = Running::new(Mode::Allocate, [pool("p", "1.2.3.0/24")], [service("a", 1), service("b", 2)]);
    assert_eq!(r.allocations(&[("a", "1.2.3.9")]), [key("a")]);
    assert_eq!(r.show("a"), "1.2.3.9 @p");
    assert_eq!(r.allocations(&[("a", "1.2.3.1"), ("b", "1.2.3.1")]), [], "taken: it keeps what it has");
    assert_eq!(r.allocations(&[]), [], "no news is no wish");
    assert_eq!(r.apply(service("a", 1).holds("7.7.7.7")), [], "not allowed");
    assert_eq!(r.apply(service("a", 1).holds("1.2.3.77")), [key("a")]);
}

#[test]
fn a_status_that_could_not_be_kept_is_tried_again() {
    let mut r =
        Running::new(Mode::Allocate, [pool("q", "5.0.0.0/32").manual()], [service("a", 1).holds("1.2.3.9")]);
    assert_eq!(r.show("a"), "!");
    r.reconfigure([pool("p", "1.2.3.0/24")]);
    assert_eq!(r.show("a"), "1.2.3.9 @p");
}

#[test]
fn several_nodes_choose_nothing() {
    let p = || pool("p", "1.2.3.0/24 1000::/120");
    let services = [
        service("none", 1),
        service("status", 2).holds("1.2.3.5"),
        service("asks", 3).asks("1.2.3.6"),
        service("pool", 4).from("p"),
        service("prefer", 5).prefer().holds("1.2.3.7"),
        service("require", 6).require().holds("1.2.3.8"),
    ];
    let mut r = Running::new(Mode::HeldOnly, [p()], services);
    for (name, show) in [
        ("none", "!"),
        ("status", "1.2.3.5 @p"),
        ("asks", "1.2.3.6 @p"),
        ("pool", "!"),
        ("prefer", "1.2.3.7 @p"),
        ("require", "!"),
    ] {
        assert_eq!(r.show(name), show, "{name}");
    }
    mentions(&r, "none", &["ferrolb allocate"]);
    mentions(&r, "pool", &["ferrolb allocate"]);
    assert_eq!(r.allocations(&[("none", "1.2.3.9")]), [key("none")]);
    assert_eq!(r.show("none"), "1.2.3.9 @p");
    // The history doesn't count: whoever starts now says the same.
    assert_eq!(r.allocations(&[]), [key("none")]);
    assert_eq!(r.apply(service("older", 0).asks("1.2.3.6")), [key("asks"), key("older")]);
    assert_eq!((r.show("asks"), r.show("older")), ("!".into(), "1.2.3.6 @p".into()));
    assert_eq!(r.delete("older"), [key("asks"), key("older")]);
    assert_eq!(r.show("asks"), "1.2.3.6 @p");
}

/// A speaker: who wrote the status has judged all else.
#[test]
fn where_status_counts_alone_it_is_what_a_service_has() {
    let pools = || {
        [
            pool("p", "1.2.3.0/24 1000::/120").no_buggy(),
            pool("q", "5.0.0.0/24").pinned(1, &["elsewhere"], Some("other")),
            pool("frozen", "6.0.0.0/24 1.2.3.0/25").state(PoolState::Frozen),
            pool("bad", "7.0.0.0/24").state(PoolState::Invalid),
        ]
    };
    let services = [
        service("none", 1),
        service("asks", 2).asks("1.2.3.6"),
        service("asks-anew", 3).asks("1.2.3.7").holds("1.2.3.8"),
        service("buggy", 4).holds("1.2.3.255"),
        service("not-its-pool", 5).holds("5.0.0.1"),
        service("both", 6).holds("1000::5 1.2.3.9"),
        service("twice", 7).holds("1.2.3.9"),
        service("one-family", 8).require().holds("1.2.3.10"),
        service("frozen", 9).holds("6.0.0.1"),
        service("bad", 10).holds("7.0.0.1"),
        service("nowhere", 11).holds("8.0.0.1"),
        service("half", 12).prefer().holds("8.0.0.1 1000::6"),
        service("half-bad", 13).prefer().holds("7.0.0.2 1000::7"),
        service("text", 14).asks("nowhere").holds("1.2.3.11"),
    ];
    let mut r = Running::new(Mode::StatusOnly, pools(), services);
    for (name, show) in [
        ("none", "!"),
        ("asks", "!"),
        ("asks-anew", "1.2.3.8 @p"),
        ("buggy", "1.2.3.255 @p"),
        ("not-its-pool", "5.0.0.1 @q"),
        ("both", "1000::5 1.2.3.9 @p"),
        ("twice", "1.2.3.9 @p"),
        ("one-family", "1.2.3.10 @p"),
        ("frozen", "6.0.0.1 @frozen"),
        ("nowhere", "!"),
        ("half", "1000::6 @p !"),
        ("half-bad", "1000::7 @p !"),
        ("text", "1.2.3.11 @p"),
    ] {
        assert_eq!(r.show(name), show, "{name}");
    }
    let bad = r.get("bad");
    assert_eq!((&*bad.ips, bad.announce, &bad.pool), (&*ips("7.0.0.1"), false, &None));
    mentions(&r, "none", &["status has no address"]);
    mentions(&r, "nowhere", &["no IPAddressPool contains it"]);
    mentions(&r, "half", &["not allowed in config"]);
    assert_eq!((r.error("asks-anew"), r.error("one-family")), ("", ""));
    let users = |r: &Running, text: &str| r.allocator.users_of(ip(text)).cloned().collect::<Vec<_>>();
    assert_eq!(users(&r, "1.2.3.9"), [key("both"), key("twice")]);

    // Nothing but a status, or the pools, changes anything.
    assert_eq!(r.apply(service("asks", 2).asks("1.2.3.6").holds("1.2.3.6")), [key("asks")]);
    assert_eq!(r.apply(service("asks", 2).asks("5.0.0.5").share("k").holds("1.2.3.6")), []);
    assert_eq!(r.apply(service("both", 6).holds("1000::5")), [key("both")]);
    assert_eq!(users(&r, "1.2.3.9"), [key("twice")]);
    assert_eq!(r.delete("twice"), [key("twice")]);
    assert_eq!(users(&r, "1.2.3.9"), []);
    assert_eq!(r.delete("twice"), []);
    assert_eq!(r.reconfigure(pools()), []);
    let changed = ["bad", "frozen", "half", "not-its-pool", "nowhere"].map(key);
    assert_eq!(r.reconfigure([pool("p", "1.2.3.0/24 1000::/120"), pool("bad", "8.0.0.0/24")]), changed);
    assert_eq!((r.show("nowhere"), r.show("frozen")), ("8.0.0.1 @bad".into(), "!".into()));
}

#[test]
fn errors_follow_who_uses_the_address() {
    let mut r = Running::new(
        Mode::Allocate,
        [pool("p", "1.2.3.4/32")],
        [service("m", 1).share("k").ports("443"), service("w", 2).share("k").asks("1.2.3.4").ports("80 443")],
    );
    mentions(&r, "w", &["TCP/443", "default/m"]);
    assert_eq!(r.apply(service("b", 3).share("k").asks("1.2.3.4")), [key("b"), key("w")]);
    mentions(&r, "w", &["TCP/80", "default/b"]);
}

#[test]
fn one_changed_service_costs_one_services_work() {
    let services = (0..500).map(|n| service(&format!("s{n}"), n));
    let mut r = Running::new(Mode::Allocate, [pool("p", "10.0.0.0/16")], services);
    let visits = |r: &Running, before: u64| r.allocator.visited() - before;
    assert_eq!(r.allocator.visited(), 500);
    r.apply(service("s7", 7).ports("443"));
    assert_eq!(visits(&r, 500), 1);
    r.apply(service("s7", 7).ports("443"));
    assert_eq!(visits(&r, 501), 0);
    r.delete("s7");
    r.apply(service("new", 1000));
    assert_eq!(visits(&r, 501), 2);
    assert_eq!(r.show("new"), "10.0.0.7 @p");
    // A freed address is taken by the first that waits; the others aren't asked.
    let many = (0..500).map(|n| service(&format!("s{n}"), n));
    let mut r = Running::new(Mode::Allocate, [pool("p", "10.0.0.0/32")], many);
    let before = r.allocator.visited();
    assert_eq!(r.delete("s0"), [key("s0"), key("s1")]);
    assert_eq!(visits(&r, before), 2);
}
