use super::*;
use crate::config::PoolState;

/// Checks `name: field` of the errors, and that each message names `other`.
fn check(objects: &str, expected: &[&str], other: &str) -> Compiled {
    let all = compiled(objects);
    assert_eq!(places(&all.config.errors), expected, "{objects}");
    for error in &all.config.errors {
        assert!(error.message.contains(&format!("{other:?}")), "{error}");
    }
    all
}

#[test]
fn of_overlapping_pools_the_older_stands_and_the_younger_is_frozen() {
    let all = check(
        "IPAddressPool alpha@1 {addresses: [10.0.0.0/24, 10.9.0.0/24]}
         IPAddressPool omega {addresses: [10.0.0.128/25]}",
        &["alpha: spec.addresses[0]"],
        "omega",
    );
    let states: Vec<_> = all.config.pools.iter().map(|p| (&*p.name, p.state)).collect();
    assert_eq!(states, [("alpha", PoolState::Frozen), ("omega", PoolState::Accepted)]);
    check(
        "IPAddressPool a {addresses: ['fc00::/64'], autoAssign: false}
         IPAddressPool b {addresses: [10.0.0.0/8, 'fc00::10-fc00::20']}",
        &["b: spec.addresses[1]"],
        "a",
    );
}

#[test]
fn an_entry_names_each_pool_that_it_overlaps() {
    let all = compiled(
        "IPAddressPool a@1 {addresses: [10.0.0.0/24, 10.0.2.0/24]}
         IPAddressPool b@2 {addresses: [10.0.1.0/24]}
         IPAddressPool c@3 {addresses: [10.0.0.0/16]}",
    );
    assert_eq!(places(&all.config.errors), ["c: spec.addresses[0]", "c: spec.addresses[0]"]);
}

#[test]
fn a_rejected_object_makes_no_other_invalid() {
    // b is frozen by a; c overlaps b only.
    check(
        "IPAddressPool a@1 {addresses: [10.0.0.0/24]}
         IPAddressPool b@2 {addresses: [10.0.0.0-10.0.1.255]}
         IPAddressPool c@3 {addresses: [10.0.1.0/24]}",
        &["b: spec.addresses[0]"],
        "a",
    );
    let all = compiled(
        "IPAddressPool a@1 {addresses: [10.0.0.0/24, oops]}
         IPAddressPool b@2 {addresses: [10.0.0.0/24]}",
    );
    assert_eq!(places(&all.config.errors), ["a: spec.addresses[1]"]);
}

#[test]
fn two_peers_at_one_place_on_one_node() {
    let peers = |a: &str, b: &str| {
        format!(
            "BGPPeer a@2 {{myASN: 1, peerASN: 2, {a}}}\nBGPPeer b@1 {{myASN: 3, peerASN: 4, routerID: 1.1.1.1, {b}}}"
        )
    };
    let on = |node: &str| format!("nodeSelectors: [{{matchLabels: {{host: {node}}}}}]");
    check(
        &peers("peerAddress: 10.0.0.1", "peerAddress: 10.0.0.1, peerPort: 1179"),
        &["a: spec.peerAddress"],
        "b",
    );
    check(
        &peers("peerAddress: '2001:db8::1'", "peerAddress: '2001:0DB8:0::0001'"),
        &["a: spec.peerAddress"],
        "b",
    );
    check(&peers("peerAddress: 10.0.0.1", "peerAddress: '::ffff:10.0.0.1'"), &["a: spec.peerAddress"], "b");
    check(&peers("interface: eth0", "interface: eth0"), &["a: spec.interface"], "b");
    check(
        &peers("peerAddress: 10.0.0.1, vrf: red", "peerAddress: 10.0.0.1, vrf: red"),
        &["a: spec.peerAddress"],
        "b",
    );
    check(&peers("peerAddress: 10.0.0.1", "peerAddress: 10.0.0.1, vrf: red"), &[], "");
    check(&peers("peerAddress: 10.0.0.1", "peerAddress: 10.0.0.2"), &[], "");
    let apart = peers(
        &format!("peerAddress: 10.0.0.1, {}", on("n1")),
        &format!("peerAddress: 10.0.0.1, {}", on("n2")),
    );
    check(&apart, &[], "");
    let nowhere = peers(&format!("peerAddress: 10.0.0.1, {}", on("n3")), "peerAddress: 10.0.0.1");
    check(&nowhere, &[], "");
    let meeting = peers(&format!("peerAddress: 10.0.0.1, {}", on("n2")), "peerAddress: 10.0.0.1");
    check(&meeting, &["a: spec.peerAddress"], "b");
    // Without known nodes they may meet.
    let nodeless = Settings { nodes: vec![], ..settings() };
    assert_eq!(compile(&world(&apart), &nodeless, &LastValid::new()).config.errors.len(), 1);
}

#[test]
fn an_alias_is_the_older_objects() {
    let all = check(
        "Community a@2 {communities: [{name: x, value: '1:1'}, {name: mine, value: '1:2'}]}
         Community b@1 {communities: [{name: x, value: '1:1'}]}",
        &["a: spec.communities[0].name"],
        "b",
    );
    assert_eq!(all.valid.len(), 1);
    // With the object all of its aliases are gone.
    let all = compiled(
        "Community a@2 {communities: [{name: x, value: '1:1'}, {name: mine, value: '1:2'}]}
         Community b@1 {communities: [{name: x, value: '1:1'}]}
         BGPAdvertisement uses-mine {communities: [mine]}
         BGPAdvertisement uses-x {communities: [x]}",
    );
    assert_eq!(places(&all.config.errors), ["uses-mine: spec.communities[0]", "a: spec.communities[0].name"]);
}

/// Two advertisements, `old` and `young`, over a dual, an IPv4 and an IPv6 pool; the errors, which are `young`'s.
fn advertisements(old: &str, young: &str) -> Vec<String> {
    let all = compiled(&format!(
        "IPAddressPool dual {{addresses: [10.0.0.0/24, '2001:db8::/64']}}
         IPAddressPool v4 {{addresses: [10.0.1.0/24]}}
         IPAddressPool v6 {{addresses: ['2001:db8:1::/64']}}
         IPAddressPool bad {{addresses: [10.0.2.0/24, oops]}}
         BGPPeer p {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}}
         BGPAdvertisement old@1 {old}
         BGPAdvertisement young@2 {young}"
    ));
    let errors = all.config.errors.iter().filter(|e| e.kind == "BGPAdvertisement");
    errors.map(|e| format!("{}: {}", e.name, e.field.as_deref().unwrap_or("-"))).collect()
}

#[test]
fn advertisements_that_want_different_values_for_one_route() {
    let (pref, prepend) = ("young: spec.localPref", "young: spec.asPathPrepend");
    for (old, young, expected) in [
        ("{localPref: 100}", "{localPref: 200}", vec![pref]),
        ("{}", "{localPref: 200}", vec![pref]),
        ("{localPref: 0}", "{}", vec![]),
        ("{asPathPrepend: 1}", "{}", vec![prepend]),
        ("{asPathPrepend: 1}", "{localPref: 5, asPathPrepend: 2}", vec![prepend, pref]),
        // Different services, peers, nodes or pools.
        ("{localPref: 1, serviceSelectors: [{}]}", "{localPref: 2}", vec![]),
        ("{localPref: 1}", "{localPref: 2, serviceSelectors: [{matchLabels: {a: b}}]}", vec![]),
        ("{localPref: 1, peers: [p]}", "{localPref: 2, peers: [nobody]}", vec![]),
        ("{localPref: 1, peers: [q]}", "{localPref: 2, peers: [nobody, q]}", vec![pref]),
        ("{localPref: 1, peers: [p]}", "{localPref: 2}", vec![pref]),
        (
            "{localPref: 1, nodeSelectors: [{matchLabels: {host: n1}}]}",
            "{localPref: 2, nodeSelectors: [{matchLabels: {host: n2}}]}",
            vec![],
        ),
        ("{localPref: 1, nodeSelectors: [{matchLabels: {host: n1}}]}", "{localPref: 2}", vec![pref]),
        ("{localPref: 1, ipAddressPools: [v4]}", "{localPref: 2, ipAddressPools: [v6]}", vec![]),
        ("{localPref: 1, ipAddressPools: [bad]}", "{localPref: 2, ipAddressPools: [bad]}", vec![]),
        // Different lengths, in the families that the pool has.
        (
            "{localPref: 1, ipAddressPools: [v4]}",
            "{localPref: 2, ipAddressPools: [v4], aggregationLength: 24}",
            vec![],
        ),
        (
            "{localPref: 1, ipAddressPools: [v4]}",
            "{localPref: 2, ipAddressPools: [v4], aggregationLengthV6: 64}",
            vec![pref],
        ),
        (
            "{localPref: 1, ipAddressPools: [v6]}",
            "{localPref: 2, ipAddressPools: [v6], aggregationLengthV6: 64}",
            vec![],
        ),
        (
            "{localPref: 1, ipAddressPools: [dual]}",
            "{localPref: 2, ipAddressPools: [dual], aggregationLength: 24}",
            vec![pref],
        ),
        (
            "{localPref: 1, ipAddressPools: [dual]}",
            "{localPref: 2, ipAddressPools: [dual], aggregationLength: 24, aggregationLengthV6: 64}",
            vec![],
        ),
    ] {
        assert_eq!(advertisements(old, young), expected, "{old} {young}");
    }
}

#[test]
fn a_conflict_names_the_other_and_the_accepted_stand() {
    check(
        "IPAddressPool p {addresses: [10.0.0.0/24]}
         BGPAdvertisement adv1@20 {localPref: 100}
         BGPAdvertisement adv2@10 {localPref: 200}
         BGPAdvertisement adv3@30 {localPref: 200}",
        &["adv1: spec.localPref"],
        "adv2",
    );
}
