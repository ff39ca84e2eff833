//! Tables, one a rule: given pools and services, which addresses or errors.

use std::sync::Arc;

use super::Mode;
use super::fixtures::{PoolExt, Running, ServiceExt, check, ip, pool, service};
use super::want::parse_address;
use crate::config::PoolState::{Frozen, Invalid};
use crate::types::Family;
use crate::world::{IpFamilyPolicy, families};

/// An error's sentence must name all of these.
pub(super) fn mentions(running: &Running, name: &str, words: &[&str]) {
    for word in words {
        assert!(running.error(name).contains(word), "{name}: {word:?} isn't in {:?}", running.error(name));
    }
}

#[test]
fn addresses_are_read_as_go_reads_them() {
    let rows = [
        ("1.2.3.4", Some("1.2.3.4")),
        ("::ffff:1.2.3.4", Some("1.2.3.4")),
        ("2001:db8::1", Some("2001:db8::1")),
        ("01.2.3.4", None),
        ("1.2.3", None),
        ("fe80::1%eth0", None),
        ("1.2.3.4/32", None),
        (" 1.2.3.4", None),
        ("", None),
    ];
    for (text, expected) in rows {
        assert_eq!(parse_address(text), expected.map(ip), "{text:?}");
    }
}

#[test]
fn entries_in_order_lowest_first() {
    let p = || pool("p", "1.2.3.10-1.2.3.11 1.2.3.4/31");
    let services = (1..=5).map(|n| service(&format!("s{n}"), n));
    check(
        [p()],
        services,
        &[
            ("s1", "1.2.3.10 @p"),
            ("s2", "1.2.3.11 @p"),
            ("s3", "1.2.3.4 @p"),
            ("s4", "1.2.3.5 @p"),
            ("s5", "!"),
        ],
    );
    check([pool("p", "1.2.3.254/31")], [service("a", 1), service("b", 2)], &[("b", "1.2.3.255 @p")]);
}

#[test]
fn older_first_then_by_name() {
    let undated = service("z", 0).with(|s| s.created = None);
    check(
        [pool("p", "1.2.3.4/31")],
        [service("omega/alpha", 5), service("alpha/zeta", 5), undated],
        &[("z", "1.2.3.4 @p"), ("alpha/zeta", "1.2.3.5 @p"), ("omega/alpha", "!")],
    );
}

#[test]
fn buggy_addresses_are_left_out_of_ipv4_only() {
    let p = || pool("p", "1.2.3.254-1.2.4.1 1000::/127").no_buggy();
    check(
        [p()],
        [service("a", 1), service("b", 2), service("c", 3), service("d", 4).v6()],
        &[("a", "1.2.3.254 @p"), ("b", "1.2.4.1 @p"), ("c", "!"), ("d", "1000:: @p")],
    );
    check(
        [p()],
        [service("asks", 1).asks("1.2.3.255"), service("held", 2).holds("1.2.4.0")],
        &[("asks", "!"), ("held", "1.2.3.254 @p")],
    );
}

#[test]
fn pools_by_priority_then_those_for_everybody() {
    let pools = || {
        [
            pool("a", "1.0.0.0/32"),
            pool("last", "2.0.0.0/32").pinned(0, &["ns"], None),
            pool("ten", "3.0.0.0/32").pinned(10, &["ns"], None),
            pool("nine-b", "4.0.0.0/32").pinned(9, &[], Some("web")),
            pool("nine-a", "5.0.0.0/32").pinned(9, &["ns"], Some("web")),
            pool("manual", "6.0.0.0/32").pinned(1, &["ns"], None).manual(),
        ]
    };
    let services = (1..=7).map(|n| service(&format!("ns/s{n}"), n).app("web"));
    check(
        pools(),
        services,
        &[
            ("ns/s1", "5.0.0.0 @nine-a"),
            ("ns/s2", "4.0.0.0 @nine-b"),
            ("ns/s3", "3.0.0.0 @ten"),
            ("ns/s4", "2.0.0.0 @last"),
            ("ns/s5", "1.0.0.0 @a"),
            ("ns/s6", "!"),
        ],
    );
    check(
        pools(),
        [service("ns/s", 1), service("other/s", 2)],
        &[("ns/s", "3.0.0.0 @ten"), ("other/s", "1.0.0.0 @a")],
    );
    // A pool that isn't for a service gives it nothing by request either.
    check(
        pools(),
        [service("x/s", 1).asks("3.0.0.0"), service("x/t", 2).from("ten"), service("ns/u", 3).from("manual")],
        &[("x/s", "!"), ("x/t", "!"), ("ns/u", "6.0.0.0 @manual")],
    );
}

#[test]
fn a_pool_for_no_namespace_keeps_its_holders_only() {
    let pools = || {
        [
            pool("nobody", "1.2.3.0/24 1000::/120").pinned(0, &[], Some("web")).for_nobody(),
            pool("q", "5.6.7.0/24"),
        ]
    };
    check(
        pools(),
        [
            service("same", 1).app("web").holds("1.2.3.9").asks("1.2.3.9").from("nobody"),
            service("other", 2).app("web").holds("1.2.3.10").asks("1.2.3.11"),
            service("leaves", 3).app("web").holds("1.2.3.12").from("q"),
            service("new", 4).app("web").from("nobody"),
            service("unlabelled", 5).holds("1.2.3.13"),
            service("half", 6).app("web").prefer().holds("1.2.3.14"),
        ],
        &[
            ("same", "1.2.3.9 @nobody"),
            ("other", "1.2.3.10 @nobody !"),
            ("leaves", "5.6.7.0 @q"),
            ("new", "!"),
            ("unlabelled", "5.6.7.1 @q"),
            ("half", "1.2.3.14 @nobody"),
        ],
    );
}

#[test]
fn requests_by_address() {
    let pools = || [pool("p", "1.2.3.0/24 1000::/120"), pool("q", "5.6.7.8/32 5000::/128").manual()];
    let rows: &[(&str, &str, &str)] = &[
        ("1.2.3.9", "1.2.3.9 @p", ""),
        ("::ffff:1.2.3.9", "1.2.3.9 @p", ""),
        ("5.6.7.8", "5.6.7.8 @q", ""),
        ("", "1.2.3.0 @p", ""),
        ("9.9.9.9", "!", "not allowed in config"),
        ("please sir", "!", "invalid IP"),
        ("1.2.3.9,", "!", "invalid IP"),
        ("1000::1", "!", "do not match the service family"),
        ("1.2.3.9,1000::1", "!", "do not match the service family"),
        ("1.2.3.9, 1.2.3.8", "!", "same family"),
        ("1.2.3.9,1000::1,1.2.3.8", "!", "more than two addresses"),
    ];
    for (asks, show, word) in rows {
        let r = Running::new(Mode::Allocate, pools(), [service("s", 1).asks(asks)]);
        assert_eq!(r.show("s"), *show, "{asks}");
        mentions(&r, "s", &[word]);
    }
    let dual: &[(&str, &str, &str)] = &[
        ("1000::1, 1.2.3.9", "1.2.3.9 1000::1 @p", ""),
        ("1.2.3.9", "!", "do not match the service family"),
        ("1.2.3.9,5000::", "!", "no IPAddressPool contains both together"),
    ];
    for (asks, show, word) in dual {
        for s in [service("s", 1).prefer(), service("s", 1).require()] {
            let r = Running::new(Mode::Allocate, pools(), [s.asks(asks)]);
            assert_eq!(r.show("s"), *show, "{asks}");
            mentions(&r, "s", &[word]);
        }
    }
    let field = |text: &str| service("s", 1).with(|s| s.load_balancer_ip = Some(text.into()));
    check(pools(), [field("5.6.7.8")], &[("s", "5.6.7.8 @q")]);
    let r = Running::new(Mode::Allocate, pools(), [field("1.2.3.4").asks("1.2.3.4")]);
    mentions(&r, "s", &["both the annotation", "spec.loadBalancerIP"]);
}

#[test]
fn requests_by_pool() {
    let pools = || [pool("p", "1.2.3.0/24"), pool("q", "5.6.7.8/32").manual(), pool("six", "1000::/127")];
    check(
        pools(),
        [service("a", 1).from("q"), service("b", 2).from("q"), service("c", 3).from("none")],
        &[("a", "5.6.7.8 @q"), ("b", "!"), ("c", "!")],
    );
    let r = Running::new(
        Mode::Allocate,
        pools(),
        [
            service("a", 1).from("q").asks("1.2.3.4"),
            service("b", 2).from("six"),
            service("c", 3).from("none").asks("1.2.3.5"),
            service("d", 4).from("p").asks("1.2.3.6"),
        ],
    );
    mentions(&r, "a", &["not compatible with the requested pool", "\"q\"", "\"p\""]);
    mentions(&r, "b", &["no available IPs in pool \"six\"", "IPv4"]);
    mentions(&r, "c", &["unknown pool", "none"]);
    assert_eq!(r.show("d"), "1.2.3.6 @p");
}

#[test]
fn a_refused_request_takes_nothing_away() {
    let pools = || [pool("p", "1.2.3.0/24 1000::/120"), pool("q", "5.6.7.8/32").manual()];
    check(
        pools(),
        [
            service("full", 9).holds("5.6.7.8"),
            service("a", 1).from("q").holds("1.2.3.9"),
            service("b", 2).asks("typo").holds("1.2.3.10"),
            service("c", 3).asks("1.2.3.9").holds("1.2.3.11"),
            service("d", 4).prefer().asks("1.2.3.12").holds("1.2.3.12 1000::9"),
            service("e", 5).with(|s| s.families = families(&["broken"], &[])).holds("1.2.3.13"),
            service("f", 6).asks("1.2.3.14").from("q").holds("1.2.3.14"),
            service("g", 7).from("unknown").holds("1.2.3.15"),
            service("h", 8)
                .with(|s| s.families = families(&["10.96.0.1", "10.96.0.2"], &[]))
                .holds("1.2.3.16"),
        ],
        &[
            ("a", "1.2.3.9 @p !"),
            ("b", "1.2.3.10 @p !"),
            ("c", "1.2.3.11 @p !"),
            ("d", "1.2.3.12 1000::9 @p !"),
            ("e", "1.2.3.13 @p !"),
            ("f", "1.2.3.14 @p !"),
            ("g", "1.2.3.15 @p !"),
            ("h", "1.2.3.16 @p !"),
            ("full", "5.6.7.8 @q"),
        ],
    );
}

#[test]
fn a_request_for_what_is_held_is_met() {
    let pools = || [pool("p", "1.2.3.0/24 1000::/120"), pool("f", "7.0.0.0/24").state(Frozen)];
    check(
        pools(),
        [
            service("a", 1).asks("1.2.3.9").holds("1.2.3.9"),
            service("b", 2).prefer().asks("1.2.3.10").holds("1.2.3.10"),
            service("c", 3).prefer().asks("1.2.3.11,1000::1").holds("1000::1 1.2.3.11"),
            service("d", 4).require().asks("1.2.3.12").holds("1.2.3.12"),
            service("e", 5).from("f").holds("7.0.0.1"),
            service("g", 6).asks("7.0.0.2").holds("7.0.0.2"),
            service("h", 7).prefer().from("p").holds("1.2.3.13"),
        ],
        &[
            ("a", "1.2.3.9 @p"),
            ("b", "1.2.3.10 @p"),
            ("c", "1000::1 1.2.3.11 @p"),
            ("d", "!"),
            ("e", "7.0.0.1 @f"),
            ("g", "7.0.0.2 @f"),
            ("h", "1.2.3.13 1000:: @p"),
        ],
    );
}

#[test]
fn sharing() {
    let p = || pool("p", "1.2.3.4/32");
    // (first, second, whether the second may join)
    let base = |name: &str, n| service(name, n).share("k");
    let rows = [
        (base("a", 1), base("b", 2).ports("443"), true),
        (base("a", 1), base("x/b", 2).ports("443"), true),
        (base("a", 1), base("b", 2), false),
        (base("a", 1).ports("TCP/53"), base("b", 2).ports("UDP/53"), true),
        (base("a", 1), base("b", 2).share("other").ports("443"), false),
        (base("a", 1), service("b", 2).ports("443"), false),
        (service("a", 1), base("b", 2).ports("443"), false),
        (base("a", 1).share(""), base("b", 2).share("").ports("443"), false),
        (base("a", 1).local("x"), base("b", 2).local("x").ports("443"), true),
        (base("a", 1).local("x"), base("b", 2).local("y").ports("443"), false),
        (base("a", 1).local("x"), base("b", 2).ports("443"), false),
        (base("a", 1).with(|s| s.local = true), base("b", 2).ports("443"), true),
    ];
    for (first, second, joins) in rows {
        let name = second.key.to_string();
        let ask = [first.clone(), second.clone().asks("1.2.3.4")];
        let r = Running::new(Mode::Allocate, [p()], ask);
        assert_eq!(r.show(&name), if joins { "1.2.3.4 @p" } else { "!" }, "{first:?} {second:?}");
        let users: Vec<String> = r.allocator.users_of(ip("1.2.3.4")).map(|k| k.to_string()).collect();
        assert_eq!(users.len(), if joins { 2 } else { 1 });
        if !joins {
            mentions(&r, &name, &["1.2.3.4", "default/a"]);
        }
        // And without asking for it.
        check([p()], [first, second], &[(&name, if joins { "1.2.3.4 @p" } else { "!" })]);
    }
}

#[test]
fn a_sharable_address_counts_as_free_and_is_not_preferred() {
    let s = |n: i64| service(&format!("s{n}"), n);
    check(
        [pool("p", "1.2.3.4/30")],
        [
            s(1),
            s(2).share("x"),
            s(3).share("x").ports("443"),
            s(4).share("x").ports("443"),
            s(5).share("x").ports("22"),
            s(6).share("x").ports("80"),
        ],
        &[
            ("s2", "1.2.3.5 @p"),
            ("s3", "1.2.3.5 @p"),
            ("s4", "1.2.3.6 @p"),
            ("s5", "1.2.3.5 @p"),
            ("s6", "1.2.3.6 @p"),
        ],
    );
    let dual = |n: i64| s(n).require().share("x");
    check(
        [pool("p", "1.2.3.4/31 1000::/127")],
        [dual(1), dual(2).ports("443"), s(3).share("x").ports("80"), s(4).v6().ports("443")],
        &[
            ("s1", "1.2.3.4 1000:: @p"),
            ("s2", "1.2.3.4 1000:: @p"),
            ("s3", "1.2.3.5 @p"),
            ("s4", "1000::1 @p"),
        ],
    );
}

#[test]
fn two_holders_of_one_address() {
    let p = || pool("p", "1.2.3.4/30");
    check(
        [p()],
        [service("young", 9).holds("1.2.3.6"), service("older", 3).holds("1.2.3.6")],
        &[("older", "1.2.3.6 @p"), ("young", "1.2.3.4 @p")],
    );
    check(
        [p()],
        [
            service("young", 9).holds("1.2.3.6").share("k"),
            service("older", 3).holds("1.2.3.6").share("k").ports("443"),
        ],
        &[("older", "1.2.3.6 @p"), ("young", "1.2.3.6 @p")],
    );
}

#[test]
fn what_is_held_stays_where_it_may() {
    check(
        [pool("p", "1.2.3.2/31 1000::/126"), pool("manual", "4.0.0.0/31").manual()],
        [
            service("gone", 1).holds("1.2.3.0"),
            service("six", 2).v6().holds("1000::"),
            service("manual", 3).holds("4.0.0.1"),
            service("wrong-family", 4).v6().holds("1.2.3.3"),
            service("both", 5).holds("1000::2 4.0.0.0"),
            service("mapped", 6).holds("::ffff:1.2.3.3"),
        ],
        &[
            ("gone", "1.2.3.2 @p"),
            ("six", "1000:: @p"),
            ("manual", "4.0.0.1 @manual"),
            ("wrong-family", "1000::1 @p"),
            ("both", "4.0.0.0 @manual"),
            ("mapped", "1.2.3.3 @p"),
        ],
    );
    let pinned = || pool("p", "1.2.3.0/24").pinned(0, &["ns"], None);
    check(
        [pinned(), pool("q", "5.0.0.0/24")],
        [service("other/s", 1).holds("1.2.3.9")],
        &[("other/s", "5.0.0.0 @q")],
    );
}

#[test]
fn frozen_pools() {
    let pools =
        || [pool("was", "10.0.0.0/24"), pool("edited", "10.0.0.128-10.0.1.127 1000::/64").state(Frozen)];
    check(
        pools(),
        [
            service("held", 1).holds("10.0.1.5"),
            service("overlap", 2).holds("10.0.0.200"),
            service("dual", 3).prefer().holds("10.0.0.201 1000::1"),
            service("half", 4).prefer().holds("10.0.1.6"),
            service("require", 5).require().holds("10.0.1.7"),
            service("named", 6).prefer().from("edited").holds("10.0.1.8"),
        ],
        &[
            ("held", "10.0.1.5 @edited"),
            ("overlap", "10.0.0.200 @was"),
            ("dual", "10.0.0.201 1000::1 @edited"),
            ("half", "10.0.1.6 @edited"),
            ("require", "!"),
            ("named", "10.0.1.8 @edited"),
        ],
    );
    let r = Running::new(
        Mode::Allocate,
        pools(),
        [service("pool", 1).from("edited"), service("ip", 2).asks("10.0.1.9"), service("six", 3).v6()],
    );
    mentions(&r, "pool", &["\"edited\"", "overlaps"]);
    mentions(&r, "ip", &["\"edited\"", "overlaps"]);
    mentions(&r, "six", &["no available IPs"]);
}

#[test]
fn invalid_pools() {
    let pools = || {
        [
            pool("broken", "10.0.0.0/24").state(Invalid),
            pool("unread", "").state(Invalid),
            pool("fine", "10.9.0.0/24 1000::/64"),
        ]
    };
    let annotated = |s: crate::world::Service, name: &str| {
        s.with(|s| Arc::make_mut(&mut s.annotations).allocated_from_pool = Some(name.into()))
    };
    let r = Running::new(
        Mode::Allocate,
        pools(),
        [
            service("held", 1).holds("10.0.0.7").from("fine"),
            annotated(service("annotated", 2).holds("10.20.0.1"), "unread"),
            annotated(service("gone", 3).holds("10.20.0.2"), "nowhere"),
            annotated(service("elsewhere", 4).holds("10.9.0.9"), "broken"),
            service("require", 5).require().holds("10.0.0.8"),
            service("dual", 6).require().holds("10.0.0.9 2000::1"),
            service("pool", 7).from("broken"),
            service("ip", 8).asks("10.0.0.10"),
        ],
    );
    for (name, show) in [
        ("held", "10.0.0.7 !"),
        ("annotated", "10.20.0.1 !"),
        ("gone", "10.9.0.0 @fine"),
        ("elsewhere", "10.9.0.9 @fine"),
        ("require", "10.0.0.8 !"),
        ("dual", "10.0.0.9 2000::1 !"),
        ("pool", "!"),
        ("ip", "!"),
    ] {
        assert_eq!(r.show(name), show, "{name}");
    }
    assert!(!r.get("held").announce && r.get("gone").announce);
    mentions(&r, "held", &["broken", "10.0.0.7"]);
    mentions(&r, "annotated", &["unread"]);
    mentions(&r, "pool", &["broken", "invalid"]);
    mentions(&r, "ip", &["broken", "invalid"]);
}

#[test]
fn dual_stack_from_scratch() {
    let (v4, v6, both) =
        (|| pool("b-v4", "4.0.0.0/31"), || pool("a-v6", "4000::/127"), || pool("c", "5.0.0.0/32 5000::/127"));
    let six_first = service("s", 1).prefer().with(|s| s.first_family = Family::V6);
    check([v4(), v6()], [service("s", 1).prefer()], &[("s", "4.0.0.0 @b-v4")]);
    check([v4(), v6()], [six_first.clone()], &[("s", "4000:: @a-v6")]);
    check([v4()], [six_first.clone()], &[("s", "4.0.0.0 @b-v4")]);
    check([v4(), v6()], [service("s", 1).require()], &[("s", "!")]);
    check(
        [v4(), v6(), both()],
        [service("s", 1).require(), service("t", 2).prefer(), service("u", 3).require()],
        &[("s", "5.0.0.0 5000:: @c"), ("t", "4.0.0.0 @b-v4"), ("u", "!")],
    );
    // Decided for each list: a pinned pool of one family comes before a dual one for everybody.
    check(
        [v4().pinned(0, &["default"], None), both()],
        [service("s", 1).prefer()],
        &[("s", "4.0.0.0 @b-v4")],
    );
    check(
        [v4().pinned(0, &["default"], None), both()],
        [service("s", 1).require()],
        &[("s", "5.0.0.0 5000:: @c")],
    );
    // A named pool falls back to IPv4 first.
    check(
        [both()],
        [service("r", 0).v6().from("c"), six_first.clone().from("c")],
        &[("s", "5.0.0.0 5000::1 @c")],
    );
    check(
        [pool("c", "5.0.0.0/32 5000::/128"), v4()],
        [service("r", 0).v6().from("c"), six_first.from("c")],
        &[("s", "5.0.0.0 @c")],
    );
    // One family only, whatever the policy says.
    check(
        [both()],
        [service("s", 1).with(|s| s.ip_family_policy = IpFamilyPolicy::PreferDualStack)],
        &[("s", "5.0.0.0 @c")],
    );
    let r = Running::new(
        Mode::Allocate,
        [both()],
        [service("s", 1).holds("5.0.0.0").with(|s| s.ip_family_policy = IpFamilyPolicy::RequireDualStack)],
    );
    assert_eq!(r.show("s"), "!");
    mentions(&r, "s", &["RequireDualStack", "not enough cluster IPs"]);
    let bare = |list: &[Family]| service("s", 1).with(|s| s.families = families(&[], list));
    check([both()], [bare(&[Family::V6])], &[("s", "5000:: @c")]);
    check([both()], [bare(&[])], &[("s", "5.0.0.0 @c")]);
}

#[test]
fn the_second_address_comes_from_the_own_pool() {
    let (p, a) = (|| pool("p", "1.2.3.0/24 1000::/120"), || pool("a", "5.6.7.0/31 5000::/127"));
    check([p(), a()], [service("s", 1).require().holds("1.2.3.9")], &[("s", "1.2.3.9 1000:: @p")]);
    check([p(), a()], [service("s", 1).prefer().holds("1000::9")], &[("s", "1000::9 1.2.3.0 @p")]);
    check([p().manual(), a()], [service("s", 1).prefer().holds("1000::9")], &[("s", "1000::9 1.2.3.0 @p")]);
    // It doesn't jump; one that requires both does.
    let one = || pool("p", "1.2.3.0/24");
    check([one(), a()], [service("s", 1).prefer().holds("1.2.3.9")], &[("s", "1.2.3.9 @p")]);
    check([one(), a()], [service("s", 1).require().holds("1.2.3.9")], &[("s", "5.6.7.0 5000:: @a")]);
    check(
        [one()],
        [service("s", 1).require().holds("1.2.3.9"), service("t", 2).asks("1.2.3.9")],
        &[("s", "!"), ("t", "1.2.3.9 @p")],
    );
    // Its pool lost a family.
    check([one(), a()], [service("s", 1).prefer().holds("1.2.3.9 1000::9")], &[("s", "5.6.7.0 5000:: @a")]);
    check(
        [one(), a()],
        [service("s", 1).prefer().from("p").holds("1.2.3.9 1000::9")],
        &[("s", "1.2.3.9 @p")],
    );
    check([one()], [service("s", 1).prefer().holds("1.2.3.9 1000::9")], &[("s", "1.2.3.9 @p")]);
    check([one()], [service("s", 1).require().holds("1.2.3.9 1000::9")], &[("s", "!")]);
    check([p(), a()], [service("s", 1).prefer().holds("1.2.3.9 7000::9")], &[("s", "1.2.3.9 1000:: @p")]);
}

#[test]
fn freed_addresses_go_round() {
    let p = || pool("p", "1.2.3.4/30");
    check(
        [p()],
        [
            service("a", 1).holds("1.2.3.4").asks("1.2.3.5"),
            service("b", 2).holds("1.2.3.5").asks("1.2.3.6"),
            service("c", 0).asks("1.2.3.4"),
        ],
        &[("a", "1.2.3.5 @p"), ("b", "1.2.3.6 @p"), ("c", "1.2.3.4 @p")],
    );
    // Two that want each other's stay as they are.
    check(
        [p()],
        [service("a", 1).holds("1.2.3.4").asks("1.2.3.5"), service("b", 2).holds("1.2.3.5").asks("1.2.3.4")],
        &[("a", "1.2.3.4 @p !"), ("b", "1.2.3.5 @p !")],
    );
    // The older one that waits comes before a younger new one.
    check(
        [pool("p", "1.2.3.4/32"), pool("q", "5.6.7.8/32").manual()],
        [service("waits", 1), service("mover", 2).holds("1.2.3.4").from("q"), service("new", 3)],
        &[("waits", "1.2.3.4 @p"), ("mover", "5.6.7.8 @q"), ("new", "!")],
    );
}
