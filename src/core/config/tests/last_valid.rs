use super::*;
use crate::config::PoolState;

const POOL: &str = "IPAddressPool p@5 {addresses: [10.0.0.0/24]}";

#[test]
fn an_object_edited_into_an_invalid_form_goes_on_in_the_last_valid_one() {
    let objects = |asn: u32, pref: &str, alias: &str, pools: &str| {
        format!(
            "{POOL}
             BFDProfile b {{echoMode: false}}
             Community c {{communities: [{{name: x, value: '{alias}'}}]}}
             BGPPeer tor {{myASN: {asn}, peerASN: 2, peerAddress: 10.0.0.1}}
             BGPAdvertisement a {{localPref: {pref}, communities: [x]}}
             L2Advertisement l {{ipAddressPools: {pools}}}"
        )
    };
    let (good, bad) = (objects(1, "7", "1:1", "[p]"), objects(0, "high", "no", "p"));
    let before = compiled(&good);
    assert_eq!((before.config.errors.len(), before.valid.len(), before.kept.len()), (0, 6, 0));
    let after = compiled_after(&bad, &before.valid);
    assert_eq!(after.config.errors.len(), 4);
    assert_eq!((&after.valid, after.kept.len()), (&before.valid, 4));
    assert_eq!(after.config.peers, before.config.peers);
    assert_eq!(after.config.bgp_advertisements, before.config.bgp_advertisements);
    assert_eq!(after.config.l2_advertisements, before.config.l2_advertisements);
    // Offline nothing is kept.
    assert!(compiled(&bad).config.peers.is_empty());
}

#[test]
fn an_invalid_pool_gives_addresses_in_its_last_valid_form_and_an_overlapping_one_is_frozen_as_it_is() {
    let before = compiled(POOL);
    let invalid = compiled_after("IPAddressPool p@5 {addresses: [10.0.0.0/24, oops]}", &before.valid);
    assert_eq!(places(&invalid.config.errors), ["p: spec.addresses[1]"]);
    assert_eq!(invalid.config.pools, before.config.pools);

    let frozen = "IPAddressPool old@1 {addresses: [10.0.1.0/24]}
        IPAddressPool p@5 {addresses: [10.0.0.0-10.0.1.9]}";
    let frozen = compiled_after(frozen, &before.valid);
    assert_eq!(places(&frozen.config.errors), ["p: spec.addresses[0]"]);
    assert_eq!(frozen.config.pools[1].state, PoolState::Frozen);
    assert_eq!(frozen.config.pools[1].ranges[0].to_string(), "10.0.0.0-10.0.1.9");
    let key = ObjectKey::new("IPAddressPool", SYSTEM, "p");
    assert_eq!(frozen.valid.get(&key), before.valid.get(&key));
}

#[test]
fn the_last_valid_form_takes_part_in_conflicts_with_its_age() {
    let before = compiled(POOL);
    let after = compiled_after(
        "IPAddressPool p@5 {addresses: [oops]}
         IPAddressPool young@9 {addresses: [10.0.0.128/25]}",
        &before.valid,
    );
    assert_eq!(places(&after.config.errors), ["p: spec.addresses[0]", "young: spec.addresses[0]"]);
    let after = compiled_after(
        "IPAddressPool p@5 {addresses: [oops]}
         IPAddressPool older@1 {addresses: [10.0.0.128/25]}",
        &before.valid,
    );
    assert_eq!(places(&after.config.errors), ["p: spec.addresses[0]"]);
    // It may still have given addresses, which stay announced.
    assert_eq!(after.config.pools[1].state, PoolState::Frozen);
}

#[test]
fn an_edit_into_a_conflict_keeps_the_form_before() {
    let peers = |address: &str| {
        format!(
            "BGPPeer a@1 {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}}
             BGPPeer b@2 {{myASN: 1, peerASN: 2, peerAddress: {address}}}"
        )
    };
    let before = compiled(&peers("10.0.0.2"));
    let after = compiled_after(&peers("10.0.0.1"), &before.valid);
    assert_eq!(places(&after.config.errors), ["b: spec.peerAddress"]);
    assert_eq!(after.config.peers, before.config.peers);
    assert_eq!(after.kept, [ObjectKey::new("BGPPeer", SYSTEM, "b")]);
}

#[test]
fn a_form_that_no_longer_holds_is_left_out_without_a_second_error() {
    let objects = |second: &str| {
        format!(
            "BGPPeer a@1 {{myASN: 1, peerASN: 2, peerAddress: {second}}}
             BGPPeer b@2 {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}}"
        )
    };
    let before = compiled(&objects("10.0.0.2"));
    let after = compiled_after(&objects("10.0.0.1"), &before.valid);
    assert_eq!(places(&after.config.errors), ["b: spec.peerAddress"]);
    assert_eq!((after.config.peers.len(), after.kept.len()), (1, 0));
    // Once the place is free, so is the form.
    let back = compiled_after(&objects("10.0.0.2"), &after.valid);
    assert_eq!(back.config.peers, before.config.peers);
}

#[test]
fn what_a_valid_form_refers_to_counts_as_it_was_when_that_goes() {
    let peer = "BGPPeer tor {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, passwordSecret: {name: pw}, bfdProfile: fast}";
    let route = "BGPAdvertisement a {communities: [red, rot, wide, '64512:7']}";
    let all = format!(
        "Secret pw {{password: x}}
         BFDProfile fast {{}}
         Community c {{communities: [{{name: red, value: '64512:1'}}, {{name: rot, value: '64512:1'}},
           {{name: wide, value: 'large:1:2:3'}}]}}
         {peer}\n{route}"
    );
    let before = compiled(&all);
    assert_eq!(places(&before.config.errors), [""; 0]);
    let bare = format!("{peer}\n{route}");
    let mut after = compiled_after(&bare, &before.valid);
    let missing =
        ["spec.communities[0]", "spec.communities[1]", "spec.communities[2]"].map(|f| format!("a: {f}"));
    let missing =
        missing.into_iter().chain(["tor: spec.bfdProfile", "tor: spec.passwordSecret"].map(Into::into));
    assert_eq!(places(&after.config.errors), missing.collect::<Vec<String>>());
    for _ in 0..2 {
        assert_eq!(after.config.peers, before.config.peers);
        assert_eq!(after.config.bgp_advertisements, before.config.bgp_advertisements);
        assert_eq!(after.kept.len(), 2);
        after = compiled_after(&bare, &after.valid);
    }
    // An edit that breaks more doesn't end it either, and nothing remains of it once all is back.
    let worse = compiled_after(&bare.replace("myASN: 1,", "myASN: 1, holdTime: soon,"), &after.valid);
    assert_eq!(worse.config.peers, before.config.peers);
    // A Secret that is changed meanwhile counts.
    let rotated =
        all.replace("password: x", "password: other").replace("myASN: 1,", "myASN: 1, holdTime: soon,");
    let standing = compiled_after(&rotated, &worse.valid).config.peers.swap_remove(0);
    assert_eq!(standing.password, Some(crate::types::Password::new(b"other")));
    let changed = all.replace("password: x", "password: other").replace("64512:1", "64512:2");
    let back = compiled_after(&changed, &worse.valid);
    assert_eq!(back.config, compiled(&changed).config);
    assert_ne!(back.config.peers, before.config.peers);
}

#[test]
fn deletion_is_not_invalidity() {
    let before = compiled(POOL);
    let gone = compiled_after("", &before.valid);
    assert!(gone.config.pools.is_empty() && gone.valid.is_empty());
}

#[test]
fn the_last_valid_form_has_the_age_of_its_object() {
    let before = compiled("IPAddressPool p {addresses: [10.0.0.0/24]}");
    let after = compiled_after("IPAddressPool p@7 {addresses: [oops]}", &before.valid);
    assert_eq!(after.config.pools[0].created, jiff::Timestamp::from_second(7).ok());
}
