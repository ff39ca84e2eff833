//! What a write may and may not do, by sentences and by properties.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::robustness::{TANGLE, any_tangle};
use super::*;
use crate::admission::{Operation, Verdict, respond, review};
use crate::config::compile_trusting;
use crate::config::schema::Code;
use crate::world::ObjectId;

fn config_of(line: &str) -> ConfigObject {
    match object(line) {
        Object::Config(object) => object,
        other => panic!("{other:?}"),
    }
}

/// The answer to a write of `line` where `stored` is.
fn answer(stored: &str, operation: Operation, line: &str) -> Verdict {
    review(&world(stored), &settings(), operation, &config_of(line))
}

fn creates(stored: &str, line: &str) -> Vec<String> {
    errors(answer(stored, Operation::Create, line))
}

fn updates(stored: &str, line: &str) -> Vec<String> {
    errors(answer(stored, Operation::Update, line))
}

fn errors(verdict: Verdict) -> Vec<String> {
    match verdict {
        Verdict::Allowed { .. } => vec![],
        Verdict::Denied { errors } => {
            assert!(!errors.is_empty());
            errors
        }
    }
}

#[test]
fn what_is_wrong_in_itself_is_denied_with_the_field() {
    let said = creates("", "IPAddressPool a {addresses: [10.0.0.0/24, oops]}");
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("IPAddressPool metallb-system/a: spec.addresses[1]: "), "{said:?}");
    assert_eq!(creates("", "BGPPeer p {myASN: 0, peerASN: 1, peerAddress: 10.0.0.1}").len(), 1);
    assert_eq!(creates("", "BGPPeer p {myASN: 1, peerASN: 1, peerAddress: 10.0.0.1}"), Vec::<String>::new());
    // A new object is the youngest, whatever it says of its age.
    let said = creates(
        "IPAddressPool z@9 {addresses: [10.0.0.0/24]}",
        "IPAddressPool a@1 {addresses: [10.0.0.0/25]}",
    );
    assert!(said[0].starts_with("IPAddressPool metallb-system/a: spec.addresses[0]: "), "{said:?}");
}

#[test]
fn what_was_wrong_before_keeps_nobody_from_an_edit() {
    let bad = "IPAddressPool bad@1 {addresses: [oops, 10.0.0.0/24]}";
    let none = Vec::<String>::new();
    assert_eq!(updates(bad, "IPAddressPool bad@1 {addresses: [oops, 10.0.0.0/24], autoAssign: false}"), none);
    assert_eq!(updates(bad, "IPAddressPool bad@1 {addresses: [10.0.0.0/24]}"), none);
    assert_eq!(updates(bad, "IPAddressPool bad@1 {addresses: [10.0.1.0/24, oops]}"), none);
    assert_eq!(updates(bad, "IPAddressPool bad@1 {addresses: [oops, oops]}").len(), 1);
    assert_eq!(creates(bad, "IPAddressPool good {addresses: [10.1.0.0/24]}"), none);
    assert_eq!(creates(bad, "L2Advertisement all {}"), none);
    // References to what is stored and invalid are as those to what isn't there.
    let invalid = "BFDProfile b {detectMultiplier: 1}
        Community c {communities: [{name: x, value: oops}]}";
    assert_eq!(
        creates(invalid, "BGPPeer p {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}"),
        none
    );
    assert_eq!(creates(invalid, "BGPAdvertisement a {communities: [x]}"), none);
}

#[test]
fn what_an_edit_does_to_others_counts() {
    let two = "IPAddressPool old@1 {addresses: [10.0.0.0/24]}
        IPAddressPool young@2 {addresses: [10.0.1.0/24]}";
    let said = updates(two, "IPAddressPool old@1 {addresses: [10.0.0.0/23]}");
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("IPAddressPool metallb-system/young: "), "{said:?}");
    // A pool beneath an aggregate.
    let aggregated = "IPAddressPool p@1 {addresses: [10.0.0.0/24]}
        BGPAdvertisement a@2 {aggregationLength: 24}";
    let said = updates(aggregated, "IPAddressPool p@1 {addresses: [10.0.0.0/26]}");
    assert!(said[0].starts_with("BGPAdvertisement metallb-system/a: spec.aggregationLength: "), "{said:?}");
}

#[test]
fn who_else_is_named_is_no_error_more() {
    let none = Vec::<String>::new();
    // Each is at odds with the oldest; it moves away, and the next is named.
    for (stored, moved) in [
        (
            "IPAddressPool a@1 {addresses: [10.0.0.0/24]}
             IPAddressPool b@2 {addresses: [10.0.0.0/24]}
             IPAddressPool c@3 {addresses: [10.0.0.0/24]}",
            "IPAddressPool a@1 {addresses: [10.9.0.0/24]}",
        ),
        (
            "BGPPeer p1@1 {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}
             BGPPeer p2@2 {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}
             BGPPeer p3@3 {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}",
            "BGPPeer p1@1 {myASN: 1, peerASN: 2, peerAddress: 10.0.0.9}",
        ),
        (
            "Community c1@1 {communities: [{name: x, value: '1:1'}]}
             Community c2@2 {communities: [{name: x, value: '1:2'}]}
             Community c3@3 {communities: [{name: x, value: '1:3'}]}",
            "Community c1@1 {communities: [{name: z, value: '1:1'}]}",
        ),
        (
            "IPAddressPool p {addresses: [10.0.0.0/24]}
             BGPAdvertisement a1@1 {localPref: 1}
             BGPAdvertisement a2@2 {localPref: 2}",
            "BGPAdvertisement a1@1 {localPref: 3}",
        ),
        // Whom it blocked is one, whom these block in turn were blocked before.
        (
            "IPAddressPool a@1 {addresses: [10.0.0.0/23]}
             IPAddressPool b1@2 {addresses: [10.0.0.0/24]}
             IPAddressPool b2@3 {addresses: [10.0.1.0/24]}
             IPAddressPool c@4 {addresses: [10.0.0.0/23]}",
            "IPAddressPool a@1 {addresses: [10.9.0.0/24]}",
        ),
        // An aggregate is too wide for a pool, and then by more.
        (
            "IPAddressPool a@1 {addresses: [10.0.0.0/26]}
             BGPAdvertisement wide@2 {aggregationLength: 24}",
            "IPAddressPool a@1 {addresses: [10.0.0.0/27]}",
        ),
    ] {
        assert_eq!(updates(stored, moved), none, "{stored} {moved}");
    }
    // The first of their pools is named, and a new one sorts before it.
    let conflict = "IPAddressPool p {addresses: [10.0.0.0/24]}
        BGPAdvertisement a1@1 {localPref: 1}
        BGPAdvertisement a2@2 {localPref: 2}";
    assert_eq!(creates(conflict, "IPAddressPool first {addresses: [10.1.0.0/24]}"), none);
    let echo = "BFDProfile b {echoMode: true}
        BGPPeer p {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}
        IPAddressPool p {addresses: ['2001:db8::/64']}
        BGPAdvertisement a {}";
    assert_eq!(creates(echo, "IPAddressPool first {addresses: ['2001:db8:1::/64']}"), none);
    // What an entry is the same as is told by a place.
    let twice = "L2Advertisement l {ipAddressPools: [a, b, b]}";
    assert_eq!(updates(twice, "L2Advertisement l {ipAddressPools: [b, b]}"), none);
}

#[test]
fn an_error_more_of_a_rule_that_was_broken_already_is_denied() {
    let pools = "IPAddressPool a@1 {addresses: [10.0.0.0/24]}
        IPAddressPool b@2 {addresses: [10.1.0.0/24]}
        IPAddressPool c@3 {addresses: [10.0.0.0/25, 10.2.0.0/24]}";
    // Another entry, and the same one with another pool.
    for worse in ["[10.0.0.0/25, 10.1.0.0/25]", "[10.0.0.0-10.1.0.9]"] {
        let said = updates(pools, &format!("IPAddressPool c@3 {{addresses: {worse}}}"));
        let last = said.last().unwrap();
        assert!(last.contains("overlaps the older IPAddressPool \"b\""), "{said:?}");
    }
    let said = updates(pools, "IPAddressPool b@2 {addresses: [10.1.0.0/24, 10.2.0.0/25]}");
    assert!(said[0].starts_with("IPAddressPool metallb-system/c: spec.addresses[1]: "), "{said:?}");
    // One that becomes invalid counts, whoever else becomes valid.
    let chain = "IPAddressPool a@1 {addresses: [10.0.0.0/24]}
        IPAddressPool b@2 {addresses: [10.0.0.0-10.0.1.255]}
        IPAddressPool c@3 {addresses: [10.0.1.0/24]}";
    let said = updates(chain, "IPAddressPool a@1 {addresses: [10.9.0.0/24]}");
    assert!(said[0].starts_with("IPAddressPool metallb-system/c: "), "{said:?}");
}

#[test]
fn an_object_that_stays_at_odds_may_come_closer_to_valid() {
    let pools = "IPAddressPool a@1 {addresses: [10.0.0.0/24]}
        IPAddressPool b@2 {addresses: [10.0.1.0/24]}
        IPAddressPool c@3 {addresses: [10.0.0.0/23]}";
    let verdict = answer(pools, Operation::Update, "IPAddressPool c@3 {addresses: [10.0.1.0/25]}");
    let Verdict::Allowed { warnings } = verdict else { panic!("{verdict:?}") };
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("spec.addresses[0]: \"10.0.1.0/25\" overlaps the older"), "{warnings:?}");
    // A value that is wrong by itself is another error than the one before.
    assert_eq!(
        updates("IPAddressPool p {addresses: [oops]}", "IPAddressPool p {addresses: [ouch]}").len(),
        1
    );
}

#[test]
fn what_is_not_there_yet_is_a_warning() {
    let peer =
        "BGPPeer p {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b, passwordSecret: {name: s}}";
    let Verdict::Allowed { warnings } = answer("", Operation::Create, peer) else { panic!() };
    assert!(
        warnings.iter().any(|w| w.starts_with("spec.bfdProfile: there is no valid BFDProfile")),
        "{warnings:?}"
    );
    assert!(!warnings.iter().any(|w| w.contains("Secret")), "{warnings:?}");
    let advertisement = "BGPAdvertisement a {ipAddressPools: [none], peers: [none], communities: [none]}";
    let Verdict::Allowed { warnings } = answer("", Operation::Create, advertisement) else { panic!() };
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    // They were there before.
    let again = answer(advertisement, Operation::Update, advertisement);
    assert_eq!(again, Verdict::Allowed { warnings: vec![] });
    // What is no alias is no missing one.
    assert_eq!(creates("", "BGPAdvertisement a {communities: ['1:70000']}").len(), 1);
}

#[test]
fn other_namespaces_and_profiles_in_use() {
    let elsewhere = "IPAddressPool other/p {addresses: [oops]}";
    assert_eq!(creates("", elsewhere).len(), 1);
    assert!(creates("", elsewhere)[0].contains("\"metallb-system\" only"));
    assert_eq!(updates(elsewhere, elsewhere), Vec::<String>::new());
    let used = "BFDProfile b {}
        BGPPeer p {myASN: 0, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}";
    let said = errors(answer(used, Operation::Delete, "BFDProfile b {}"));
    assert!(said[0].contains("the BGPPeers p refer to it"), "{said:?}");
    assert_eq!(errors(answer(used, Operation::Delete, "BFDProfile other {}")), Vec::<String>::new());
    assert_eq!(errors(answer(used, Operation::Delete, "BGPPeer b {}")), Vec::<String>::new());
}

#[test]
fn reviews_are_answered_as_the_api_server_asks() {
    let pool = |addresses: Value| {
        json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
               "metadata": {"name": "p", "namespace": SYSTEM}, "spec": {"addresses": addresses}})
    };
    let ask = |request: Value| respond(&world(""), &settings(), &json!({"request": request}));
    let good =
        ask(json!({"uid": "u", "operation": "CREATE", "object": pool(json!(["10.0.0.0/24"]))})).unwrap();
    assert_eq!(good["kind"], "AdmissionReview");
    assert_eq!(good["response"], json!({"uid": "u", "allowed": true}));
    let bad = ask(json!({"uid": "u", "operation": "CREATE", "object": pool(json!(["oops"]))})).unwrap();
    assert_eq!(
        (&bad["response"]["allowed"], &bad["response"]["status"]["code"]),
        (&json!(false), &json!(403))
    );
    assert!(bad["response"]["status"]["message"].as_str().unwrap().contains("spec.addresses[0]"));
    // What it was is what the API server says it was.
    let update = json!({"uid": "u", "operation": "UPDATE", "object": pool(json!(["oops", "10.0.0.0/24"])), "oldObject": pool(json!(["oops"]))});
    assert_eq!(ask(update).unwrap()["response"]["allowed"], true);
    // Without a name, or without anything, it is no object.
    for object in
        [json!({"kind": "IPAddressPool", "apiVersion": "metallb.io/v1beta1"}), json!(3), Value::Null]
    {
        let answer = ask(json!({"uid": "u", "operation": "UPDATE", "object": object})).unwrap();
        assert_eq!(
            (&answer["response"]["allowed"], &answer["response"]["status"]["code"]),
            (&json!(false), &json!(400))
        );
    }
    let deleted =
        ask(json!({"uid": "u", "operation": "DELETE", "oldObject": pool(json!([])), "object": null}))
            .unwrap();
    assert_eq!(deleted["response"]["allowed"], true);
    assert!(respond(&world(""), &settings(), &json!({})).is_err());
    assert!(ask(json!({"operation": "CREATE"})).is_err());
}

/// Writes one object after the other as an API server would, each only where it is allowed.
fn written(lines: &[&str]) -> World {
    let mut world = World::default();
    for (age, line) in lines.iter().enumerate() {
        let mut object = config_of(line);
        let stored = world.config_object(&object.key).cloned();
        let operation = if stored.is_some() { Operation::Update } else { Operation::Create };
        object.created = match stored {
            Some(stored) => stored.created,
            None => jiff::Timestamp::from_second(i64::try_from(age).unwrap()).ok(),
        };
        if let Verdict::Allowed { .. } = review(&world, &settings(), operation, &object) {
            world.apply(Object::Config(object));
        }
    }
    world
}

/// Object, field without places, and rule: what its code is, or its words.
type What = (ObjectKey, String, Result<Code, String>);

fn counts(compiled: &Compiled) -> BTreeMap<What, usize> {
    let mut counts = BTreeMap::new();
    for error in &compiled.config.errors {
        let field = error.field.iter().flat_map(|f| f.chars()).filter(|c| !c.is_ascii_digit()).collect();
        let rule = compiled.codes.get(error).copied().ok_or_else(|| error.message.clone());
        *counts.entry((error.object(), field, rule)).or_default() += 1;
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_all_admitted_has_no_errors_but_missing_references(
        lines in proptest::collection::vec(proptest::sample::select(&TANGLE[..]), 0..24)
    ) {
        let all = compile_trusting(&written(&lines), &settings());
        prop_assert_eq!(all.config.errors, vec![]);
    }

    #[test]
    fn a_write_that_changes_nothing_is_always_allowed(tangle in any_tangle()) {
        for object in tangle.config_objects() {
            let verdict = review(&tangle, &settings(), Operation::Update, object);
            prop_assert_eq!(verdict, Verdict::Allowed { warnings: vec![] });
        }
    }

    #[test]
    fn what_is_denied_is_an_error_of_what_would_be(
        tangle in any_tangle(), line in proptest::sample::select(&TANGLE[..])
    ) {
        let object = config_of(line);
        let stored = tangle.config_object(&object.key).cloned();
        let operation = if stored.is_some() { Operation::Update } else { Operation::Create };
        let before = compile_trusting(&tangle, &settings());
        let mut with = tangle.clone();
        let created = stored.map_or(Some(jiff::Timestamp::MAX), |s| s.created);
        with.apply(Object::Config(ConfigObject { created, ..object.clone() }));
        let after = compile_trusting(&with, &settings());
        let (known, now) = (counts(&before), counts(&after));
        let was = |what: &What| known.get(what).copied().unwrap_or(0);
        let more: Vec<&What> = now.iter().filter(|(what, count)| **count > was(what)).map(|(what, _)| what).collect();
        match review(&tangle, &settings(), operation, &object) {
            Verdict::Allowed { .. } => {
                let is_added = |what: &&What| what.0 == object.key || was(what) == 0;
                prop_assert_eq!(more.into_iter().find(is_added), None);
            }
            Verdict::Denied { errors } => {
                let sentences: Vec<String> = after.config.errors.iter().map(Issue::to_string).collect();
                prop_assert!(errors.iter().all(|e| sentences.contains(e)), "{errors:?} {sentences:?}");
                prop_assert!(!more.is_empty(), "{errors:?} {:?}", before.config.errors);
            }
        }
    }

    #[test]
    fn a_stranger_is_admitted_whatever_is_stored(tangle in any_tangle()) {
        for line in ["IPAddressPool stranger {addresses: [203.0.113.0/24]}", "BGPPeer stranger {myASN: 1, peerASN: 2, peerAddress: 203.0.113.1}"] {
            let mut tangle = tangle.clone();
            // An aggregate, or a profile with echo, of all pools would truly be at odds with it.
            let advertisements: Vec<_> = tangle.config_objects().filter(|o| o.key.kind == "BGPAdvertisement").map(|o| o.key.clone()).collect();
            for key in advertisements {
                tangle.delete(&ObjectId::Config(key.into()));
            }
            let verdict = review(&tangle, &settings(), Operation::Create, &config_of(line));
            prop_assert!(matches!(verdict, Verdict::Allowed { .. }), "{verdict:?}");
        }
    }
}
