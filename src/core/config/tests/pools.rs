use super::*;
use crate::config::addresses::{parse_entry, widest_prefix};
use crate::config::{Pool, PoolState};

#[test]
fn entries_are_prefixes_or_ranges_in_go_syntax() {
    for (text, expected) in [
        ("192.168.1.5/24", "192.168.1.0-192.168.1.255"),
        ("10.0.0.0/024", "10.0.0.0-10.0.0.255"),
        ("0.0.0.0/0", "0.0.0.0-255.255.255.255"),
        ("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9"),
        (" 10.0.0.1 -\t10.0.0.1 ", "10.0.0.1-10.0.0.1"),
        ("::ffff:1.2.3.0/120", "1.2.3.0-1.2.3.255"),
        ("::ffff:1.2.3.4-1.2.3.9", "1.2.3.4-1.2.3.9"),
        ("2001:DB8::/126", "2001:db8::-2001:db8::3"),
        ("::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ] {
        assert_eq!(parse_entry(text).map(|r| r.to_string()).as_deref(), Ok(expected), "{text}");
    }
    for text in [
        "",
        "-",
        "/",
        "10.0.0.0",
        "2001:db8::1",
        " 10.0.0.0/24",
        "10.0.0.0/24 ",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0.0/33",
        "10.0.0.0/256",
        "2001:db8::/129",
        "010.0.0.0/8",
        "100.200.300.400/24",
        "fe80::%eth0/64",
        "fe80::1%eth0-fe80::2%eth0",
        "10.0.0.9-10.0.0.1",
        "10.0.0.0/24-10.0.1.0",
        "1.2.3.4-2001:db8::1",
        "10.0.0.1-10.0.0.2-10.0.0.3",
    ] {
        assert!(parse_entry(text).is_err(), "{text}");
    }
}

#[test]
fn the_widest_prefix_of_a_range_is_its_largest_aligned_block() {
    for (text, expected) in [
        ("10.0.0.0/24", 24),
        ("3.3.3.2-3.3.3.254", 26),
        ("10.0.0.240-10.0.1.15", 28),
        ("10.0.0.1-10.0.0.2", 32),
        ("10.0.0.1-10.0.0.1", 32),
        ("0.0.0.0/0", 0),
        ("255.255.255.255/32", 32),
        ("::/0", 0),
        ("2001:db8::1-2001:db8::ffff", 113),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", 128),
    ] {
        assert_eq!(parse_entry(text).map(|r| widest_prefix(&r)), Ok(expected), "{text}");
    }
}

#[test]
fn own_rules() {
    check_fields(
        "IPAddressPool",
        &[
            ("{addresses: [10.0.0.0/24], serviceAllocation: {priority: -1}}", &[]),
            ("{addresses: []}", &["spec.addresses"]),
            ("{addresses: [10.0.0.0/24, 10.0.0.0/24]}", &["spec.addresses[1]"]),
            ("{addresses: [10.0.0.128/25, 10.0.0.0/24]}", &["spec.addresses[1]"]),
            ("{addresses: [10.0.0.0-10.0.0.9, 10.0.1.0/24, 10.0.0.9/32]}", &["spec.addresses[2]"]),
            (
                "{addresses: ['10.0.0.0/8', 10.1.0.0/16, 10.2.0.0/16]}",
                &["spec.addresses[1]", "spec.addresses[2]"],
            ),
            ("{addresses: [10.0.0.0/24, '::ffff:10.0.0.0/126']}", &["spec.addresses[1]"]),
            ("{addresses: [10.0.0.0/24, '::/0']}", &[]),
            (
                "{addresses: [10.0.0.0/24], serviceAllocation: {namespaces: [a, b, a]}}",
                &["spec.serviceAllocation.namespaces[2]"],
            ),
            (
                "{addresses: [10.0.0.0/24], serviceAllocation: {namespaceSelectors: [{}, {}],
                  serviceSelectors: [{matchExpressions: [{key: foo, operator: Near, values: [bar]}]}]}}",
                &[
                    "spec.serviceAllocation.namespaceSelectors[1]",
                    "spec.serviceAllocation.serviceSelectors[0].matchExpressions[0].operator",
                ],
            ),
        ],
    );
}

fn only_pool(objects: &str) -> Pool {
    let mut pools = compiled(objects).config.pools;
    assert_eq!(pools.len(), 1);
    pools.remove(0)
}

#[test]
fn an_invalid_pool_keeps_the_addresses_that_can_be_read() {
    for (spec, ranges) in [
        ("{addresses: [10.0.0.0/24, 5, oops, '10.1.0.1-10.1.0.2']}", 2),
        ("{addresses: [10.0.0.0/24], serviceAllocation: {namespaces: [a, a]}}", 1),
        ("{addresses: 10.0.0.0/24}", 0),
        ("{addresses: [10.0.0.0/24, 10.0.0.0/25]}", 2),
        ("null", 0),
    ] {
        let pool = only_pool(&format!("IPAddressPool p {spec}"));
        assert_eq!((pool.state, pool.ranges.len()), (PoolState::Invalid, ranges), "{spec}");
    }
}

#[test]
fn who_a_pool_is_for() {
    let pool = |allocation: &str| {
        let objects = format!(
            "IPAddressPool p {{addresses: [10.0.0.0/24], serviceAllocation: {allocation}}}
             Namespace red | {{team: red}}
             Namespace blue | {{team: blue}}"
        );
        only_pool(&objects).allocation.unwrap_or_else(|| panic!("{allocation}"))
    };
    let names = |allocation: &str| {
        pool(allocation).namespaces.map(|n| n.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(only_pool("IPAddressPool p {addresses: [10.0.0.0/24]}").allocation, None);
    assert_eq!(names("{}"), None);
    assert_eq!(names("{serviceSelectors: [{matchLabels: {a: b}}]}"), None);
    assert_eq!(names("{namespaces: [later, red]}").as_deref(), Some("later red"));
    assert_eq!(names("{namespaceSelectors: [{matchLabels: {team: blue}}]}").as_deref(), Some("blue"));
    assert_eq!(
        names("{namespaces: [red], namespaceSelectors: [{matchLabels: {team: green}}]}").as_deref(),
        Some("red")
    );
    // The system namespace exists without an object, and has no labels.
    let without_team = "{namespaceSelectors: [{matchExpressions: [{key: team, operator: DoesNotExist}]}]}";
    assert_eq!(names(without_team).as_deref(), Some(SYSTEM));
    assert_eq!((pool("{priority: -4}").priority, pool("{priority: 7}").priority), (0, 7));
}

#[test]
fn a_pool_for_nobody_is_a_warning() {
    let field = "p: spec.serviceAllocation.namespaceSelectors";
    let all = compiled(
        "IPAddressPool p {addresses: [10.0.0.0/24],
          serviceAllocation: {namespaceSelectors: [{matchLabels: {team: red}}]}}",
    );
    assert_eq!(places(&all.config.warnings), [field]);
    assert_eq!(all.config.errors, []);
    assert!(all.config.pools[0].allocation.as_ref().is_some_and(|a| a.for_nobody));
    let named = compiled(
        "IPAddressPool p {addresses: [10.0.0.0/24], serviceAllocation: {namespaces: [a], namespaceSelectors: [{matchLabels: {team: red}}]}}",
    );
    assert_eq!(named.config.warnings, []);
}
