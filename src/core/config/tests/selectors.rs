use super::*;
use crate::config::selectors::{check_key, check_value};

#[test]
fn keys_and_values_have_kubernetes_syntax() {
    let long = |n: usize| "a".repeat(n);
    for key in ["a", "A-b_c.9", "example.com/rack", "a.b-c.d/E", &long(63), &format!("{}/x", long(63))] {
        assert!(check_key(key).is_ok(), "{key}");
    }
    for key in [
        "",
        "-a",
        "a-",
        "a b",
        "é",
        "/a",
        "a/",
        "a/b/c",
        "Example.com/a",
        "a..b/c",
        "-a/b",
        "a_b/c",
        &long(64),
    ] {
        assert!(check_key(key).is_err(), "{key}");
    }
    for value in ["", "a", "0", "A.b-c_d", &long(63)] {
        assert!(check_value(value).is_ok(), "{value}");
    }
    for value in ["-a", "a.", "a/b", "a b", &long(64)] {
        assert!(check_value(value).is_err(), "{value}");
    }
}

fn check(table: &[(&str, &[&str])]) {
    for (list, expected) in table {
        let found = fields("L2Advertisement", &format!("{{nodeSelectors: {list}}}"));
        let expected: Vec<String> = expected.iter().map(|e| format!("spec.nodeSelectors{e}")).collect();
        assert_eq!(found, expected, "{list}");
    }
}

#[test]
fn operators_and_their_values() {
    check(&[
        ("[{}, {matchLabels: {a: b}}, {matchExpressions: [{key: a, operator: In, values: ['']}]}]", &[]),
        (
            "[{matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist, values: []}]}]",
            &[],
        ),
        ("[{matchLabels: {rack: -a}}]", &["[0].matchLabels[rack]"]),
        ("[{matchLabels: {a b: c}}]", &["[0].matchLabels[a b]"]),
        (
            "[{}, {matchExpressions: [{key: a, operator: in, values: [b]}]}]",
            &["[1].matchExpressions[0].operator"],
        ),
        ("[{matchExpressions: [{key: a, operator: In}]}]", &["[0].matchExpressions[0].values"]),
        (
            "[{matchExpressions: [{key: a, operator: NotIn, values: []}]}]",
            &["[0].matchExpressions[0].values"],
        ),
        (
            "[{matchExpressions: [{key: a, operator: Exists, values: [b]}]}]",
            &["[0].matchExpressions[0].values"],
        ),
        (
            "[{matchExpressions: [{key: '', operator: In, values: [x y]}]}]",
            &["[0].matchExpressions[0].key", "[0].matchExpressions[0].values[0]"],
        ),
    ]);
}

#[test]
fn duplicates_are_textual_apart_from_the_order_of_values() {
    check(&[
        ("[{matchLabels: {a: b}}, {matchLabels: {a: b}}]", &["[1]"]),
        ("[{}, {matchLabels: {}}]", &["[1]"]),
        (
            "[{matchExpressions: [{key: a, operator: In, values: [p, q]}]},
              {matchExpressions: [{key: a, operator: In, values: [q, p]}]}]",
            &["[1]"],
        ),
        (
            "[{matchExpressions: [{key: a, operator: In, values: [p, q, p]}]}]",
            &["[0].matchExpressions[0].values[2]"],
        ),
        (
            "[{matchExpressions: [{key: a, operator: In, values: [p, q]}, {key: a, operator: In, values: [q, p]}]}]",
            &["[0].matchExpressions[1]"],
        ),
        // The same in another order, or said in another way, isn't the same text.
        (
            "[{matchExpressions: [{key: a, operator: Exists}, {key: b, operator: Exists}]},
              {matchExpressions: [{key: b, operator: Exists}, {key: a, operator: Exists}]}]",
            &[],
        ),
        ("[{matchLabels: {a: b}}, {matchExpressions: [{key: a, operator: In, values: [b]}]}]", &[]),
    ]);
}

#[test]
fn every_list_is_checked_and_preferences_may_be_there_twice() {
    let twice = "[{matchLabels: {a: b}}, {matchLabels: {a: b}}]";
    for (kind, list) in [
        ("L2Advertisement", "ipAddressPoolSelectors"),
        ("L2Advertisement", "serviceSelectors"),
        ("BGPAdvertisement", "ipAddressPoolSelectors"),
        ("BGPAdvertisement", "nodeSelectors"),
        ("BGPAdvertisement", "serviceSelectors"),
    ] {
        assert_eq!(fields(kind, &format!("{{{list}: {twice}}}")), [format!("spec.{list}[1]")], "{kind}");
    }
    check_fields(
        "L2Advertisement",
        &[
            ("{preferredNodeSelectors: [{weight: 1, preference: {}}, {weight: 1, preference: {}}]}", &[]),
            (
                "{preferredNodeSelectors: [{weight: 10, preference: {matchExpressions: [{key: x, operator: Bad}]}}]}",
                &["spec.preferredNodeSelectors[0].preference.matchExpressions[0].operator"],
            ),
            ("{preferredNodeSelectors: [{weight: 10}]}", &["spec.preferredNodeSelectors[0].preference"]),
            ("{ipAddressPools: [p, p]}", &["spec.ipAddressPools[1]"]),
            ("{interfaces: [eth0, eth0]}", &[]),
        ],
    );
}
