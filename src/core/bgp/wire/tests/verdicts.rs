//! RFC 7606: what becomes of a faulty UPDATE, and the NOTIFICATION where it ends the session.

use proptest::prelude::*;

use super::strategies::announcement;
use super::*;
use Verdict::{Accept, DiscardAttribute, Reset, TreatAsWithdraw};

const ORIGIN: &str = "40 01 01 00";
const REST: &str = "40 02 00 40 03 04 c0000201";

/// The body of an UPDATE with these attributes and this NLRI.
fn body(attributes: &str, nlri: &str) -> Vec<u8> {
    let attributes = hex(attributes);
    let mut body = vec![0, 0];
    body.extend_from_slice(&u16::try_from(attributes.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&attributes);
    body.extend_from_slice(&hex(nlri));
    body
}

/// With one route.
fn whole(attributes: &str) -> Vec<u8> {
    body(attributes, "20 0a000001")
}

/// With one route and all that is mandatory.
fn with(attribute: &str) -> Vec<u8> {
    whole(&format!("{attribute} {ORIGIN} {REST}"))
}

fn judge(body: &[u8], session: &Session, internal: bool) -> Judgement {
    match decode_one(&message(2, body), session) {
        Ok(Message::Update(update)) => update.judge(internal),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Judgement { verdict: Reset, error: Some(error) },
    }
}

fn check(cases: &[(Vec<u8>, Verdict, u8, &str)], session: &Session, internal: bool) {
    for (body, verdict, subcode, data) in cases {
        let judgement = judge(body, session, internal);
        let error = judgement.error.unwrap_or_else(|| panic!("{body:02x?}"));
        let notification = error.notification();
        let got = (notification.error.code(), notification.error.subcode(), notification.data);
        assert_eq!((judgement.verdict, got), (*verdict, (3, *subcode, hex(data))), "{body:02x?}: {error}");
    }
}

/// RFC 4271 section 5: whoever receives them is prepared for any order.
#[test]
fn attributes_may_come_in_any_order() {
    let attributes = [ORIGIN, "40 02 00", "40 03 04 c0000201", "80 04 04 00000005", "c0 08 04 fc000001"];
    for first in 0..attributes.len() {
        for second in (0..attributes.len()).filter(|second| *second != first) {
            let rest = (0..attributes.len()).rev().filter(|n| ![first, second].contains(n));
            let order: Vec<&str> = [first, second].into_iter().chain(rest).map(|n| attributes[n]).collect();
            let judgement = judge(&whole(&order.join(" ")), &Session::BEFORE_OPEN, false);
            assert_eq!((judgement.verdict, judgement.error), (Accept, None), "{order:?}");
        }
    }
}

/// RFC 8092 section 6: neither a value that is there twice nor one that is reserved is a fault.
#[test]
fn communities_of_any_value_are_accepted() {
    for attribute in [
        "c0 20 18 0000fc00 00000001 00000002 0000fc00 00000001 00000002",
        "c0 20 0c 00000000 00000000 00000000",
        "c0 20 0c ffffffff ffffffff ffffffff",
        "c0 08 08 fc000001 fc000001",
        "c0 08 08 00000000 ffffffff",
    ] {
        let judgement = judge(&with(attribute), &Session::BEFORE_OPEN, false);
        assert_eq!((judgement.verdict, judgement.error), (Accept, None), "{attribute}");
    }
}

#[test]
fn faulty_updates_get_the_verdict_of_rfc_7606() {
    check(
        &[
            // The parts' lengths don't add up.
            (hex("0005 20 0a0000"), Reset, 1, ""),
            (hex("0000 0001"), Reset, 1, ""),
            // Prefixes: too long, cut off.
            (hex("0005 21 0a000001 0000"), Reset, 10, ""),
            (hex("0000 0000 20 0a0000"), Reset, 10, ""),
            // Attribute list: the last attribute runs over.
            (whole(&format!("{ORIGIN} {REST} 80 04 05 0000")), TreatAsWithdraw, 1, ""),
            (whole(&format!("{ORIGIN} {REST} 80")), TreatAsWithdraw, 1, ""),
            // A wrong length shifts what follows; the first fault is named.
            (with("80 04 05 00000000"), TreatAsWithdraw, 5, "80 04 05 00 00 00 00 40"),
            // Twice.
            (whole(&format!("{ORIGIN} {REST} 40 01 01 00")), DiscardAttribute, 1, ""),
            (with("80 0f 03 0002 01 80 0f 03 0002 01"), Reset, 1, ""),
            (
                with(&format!("{0} {0}", "80 0e 15 0002 01 10 20010db8000000000000000000000001 00")),
                Reset,
                1,
                "",
            ),
            // Missing.
            (whole(REST), TreatAsWithdraw, 3, "01"),
            (whole("40 01 01 00 40 03 04 c0000201"), TreatAsWithdraw, 3, "02"),
            (whole("40 01 01 00 40 02 00"), TreatAsWithdraw, 3, "03"),
            // Unrecognized well-known.
            (with("40 63 01 ff"), Reset, 2, "40 63 01 ff"),
            // Flags.
            (with("c0 04 04 00000000"), TreatAsWithdraw, 4, "c0 04 04 00000000"),
            (with("80 08 04 00000000"), TreatAsWithdraw, 4, "80 08 04 00000000"),
            (with("80 06 00"), TreatAsWithdraw, 4, "80 06 00"),
            (with("c0 0f 03 0002 01"), TreatAsWithdraw, 4, "c0 0f 03 0002 01"),
            // Lengths.
            (with("80 04 03 000000"), TreatAsWithdraw, 5, "80 04 03 000000"),
            (with("40 06 01 00"), DiscardAttribute, 5, "40 06 01 00"),
            (with("c0 07 06 fc00 0a000001"), DiscardAttribute, 5, "c0 07 06 fc00 0a000001"),
            (with("c0 08 00"), TreatAsWithdraw, 5, "c0 08 00"),
            (with("c0 08 05 0000000000"), TreatAsWithdraw, 5, "c0 08 05 0000000000"),
            (with("c0 10 07 00000000000000"), TreatAsWithdraw, 5, "c0 10 07 00000000000000"),
            (with("c0 19 01 00"), TreatAsWithdraw, 5, "c0 19 01 00"),
            (with("c0 20 0b 0000000000000000000000"), TreatAsWithdraw, 5, "c0 20 0b 0000000000000000000000"),
            // Values.
            (whole(&format!("40 01 01 03 {REST}")), TreatAsWithdraw, 6, "40 01 01 03"),
            (whole(&format!("40 01 02 0000 {REST}")), TreatAsWithdraw, 5, "40 01 02 0000"),
            (whole("40 01 01 00 40 02 00 40 03 04 e0000001"), TreatAsWithdraw, 8, "40 03 04 e0000001"),
            (whole("40 01 01 00 40 02 06 02 02 0000fc00 40 03 04 c0000201"), TreatAsWithdraw, 11, ""),
            (whole("40 01 01 00 40 02 02 02 00 40 03 04 c0000201"), TreatAsWithdraw, 11, ""),
            (whole("40 01 01 00 40 02 06 05 01 0000fc00 40 03 04 c0000201"), TreatAsWithdraw, 11, ""),
            (whole("40 01 01 00 40 02 06 03 01 0000fc00 40 03 04 c0000201"), TreatAsWithdraw, 11, ""),
            // MP_REACH with a next hop of 5 octets, and too short for its head; MP_UNREACH with a prefix of 129 bits, and
            // without a family.
            (with("80 0e 0a 0002 01 05 0000000000 00"), Reset, 9, "80 0e 0a 0002 01 05 0000000000 00"),
            (with("80 0e 04 0002 01 00"), Reset, 9, "80 0e 04 0002 01 00"),
            (with("80 0f 04 0002 01 81"), Reset, 9, "80 0f 04 0002 01 81"),
            (with("80 0f 02 0002"), Reset, 9, "80 0f 02 0002"),
        ],
        &FULL,
        false,
    );
}

/// RFC 7606 section 3 (h); a field that can't be read comes after the attributes, as in RFC 4271 6.3.
#[test]
fn the_strongest_verdict_counts_and_the_first_fault_that_calls_for_it() {
    check(
        &[
            (with("40 06 01 00 80 04 03 000000 c0 08 00"), TreatAsWithdraw, 5, "80 04 03 000000"),
            (with("80 04 03 000000 40 63 00 80 0f 02 0002"), Reset, 2, "40 63 00"),
            (body(&format!("{ORIGIN} {REST} 40 63 00"), "21 0a000001"), Reset, 2, "40 63 00"),
            // No routes to withdraw can be read: section 5.2 makes the attribute's fault end the session.
            (body(&format!("{ORIGIN} {REST} 80 04 03 000000"), "21 0a000001"), Reset, 5, "80 04 03 000000"),
            (body(&format!("{ORIGIN} {REST} 40 06 01 00"), "21 0a000001"), Reset, 10, ""),
        ],
        &FULL,
        false,
    );
}

/// RFC 7606 section 5.2.
#[test]
fn faults_without_routes_end_the_session() {
    check(
        &[
            (body("40 01 01 03", ""), Reset, 6, "40 01 01 03"),
            (body("c0 08 01 00 80 0f 03 0002 01", ""), Reset, 5, "c0 08 01 00"),
            (body("40 06 01 00", ""), DiscardAttribute, 5, "40 06 01 00"),
            (body("c0 0f 03 0002 01", ""), TreatAsWithdraw, 4, "c0 0f 03 0002 01"),
        ],
        &FULL,
        false,
    );
    // Attributes of nothing, but without a fault.
    assert_eq!(judge(&body(ORIGIN, ""), &FULL, false), Judgement::ACCEPT);
}

/// RFC 7606 sections 7.5, 7.9 and 7.10.
#[test]
fn attributes_for_internal_peers_are_discarded_from_external_ones() {
    let local_pref = "40 05 04 00000064";
    for (attribute, whole) in [
        (local_pref, true),
        ("80 09 04 0a000001", true),
        ("80 0a 08 0a0000010a000002", true),
        ("40 05 00", false),
        ("80 09 03 000000", false),
        ("80 0a 00", false),
    ] {
        assert_eq!(judge(&with(attribute), &FULL, false).verdict, DiscardAttribute, "{attribute}");
        let both = if attribute.starts_with("40 05") { String::new() } else { format!(" {local_pref}") };
        let internal = judge(&with(&format!("{attribute}{both}")), &FULL, true).verdict;
        assert_eq!(internal, if whole { Accept } else { TreatAsWithdraw }, "{attribute}");
    }
    check(&[(with(""), TreatAsWithdraw, 3, "05")], &FULL, true);
}

/// RFC 7607 section 2.
#[test]
fn as_0_is_malformed_wherever_it_stands() {
    check(
        &[
            (
                whole("40 01 01 00 40 02 0a 02 02 0000fc00 00000000 40 03 04 c0000201"),
                TreatAsWithdraw,
                11,
                "",
            ),
            (with("c0 07 08 00000000 0a000001"), DiscardAttribute, 9, "c0 07 08 00000000 0a000001"),
        ],
        &FULL,
        false,
    );
    check(
        &[
            (with("c0 11 06 02 01 00000000"), DiscardAttribute, 9, "c0 11 06 02 01 00000000"),
            (with("c0 12 08 00000000 0a000001"), DiscardAttribute, 9, "c0 12 08 00000000 0a000001"),
        ],
        &Session { four_octet_as: false, ..FULL },
        false,
    );
}

/// RFC 6793 section 6.
#[test]
fn a_malformed_as4_path_is_discarded() {
    let old = Session { four_octet_as: false, ..FULL };
    let cut = "c0 11 05 02 01 000000";
    check(
        &[
            (with(cut), DiscardAttribute, 9, cut),
            (with("c0 11 02 02 00"), DiscardAttribute, 9, "c0 11 02 02 00"),
            (with("c0 11 06 07 01 0000fc00"), DiscardAttribute, 9, "c0 11 06 07 01 0000fc00"),
            (with("c0 12 07 0000fc00 0a0000"), DiscardAttribute, 5, "c0 12 07 0000fc00 0a0000"),
        ],
        &old,
        false,
    );
    // From a peer with 4-octet numbers neither counts, whatever is in it.
    assert_eq!(judge(&with(cut), &FULL, false), Judgement::ACCEPT);
    // A confederation's segments are left out.
    let octets = message(2, &with("c0 11 0c 03 01 0000fc00 02 01 0000fc01"));
    let attributes = decode_update(&octets, &old).attributes;
    let numbers: Vec<_> = attributes.as4_path.unwrap().segments.into_iter().map(|s| s.numbers).collect();
    assert_eq!(numbers, [[0xfc01]]);
}

/// RFC 6793 section 4.2.3.
#[test]
fn as4_path_completes_as_path() {
    use SegmentKind::{Sequence, Set};
    let path = |segments: &[(SegmentKind, &[u32])]| AsPath {
        segments: segments
            .iter()
            .map(|(kind, numbers)| Segment { kind: *kind, numbers: numbers.to_vec() })
            .collect(),
    };
    let merged = |two: AsPath, four: Option<AsPath>, aggregator: Option<u32>| {
        let identifier = std::net::Ipv4Addr::LOCALHOST;
        let aggregator = aggregator.map(|asn| Aggregator { asn, identifier });
        let attributes =
            Attributes { as_path: Some(two), as4_path: four, aggregator, ..Attributes::default() };
        attributes.merged_as_path().unwrap()
    };
    let two = path(&[(Sequence, &[1, 23456, 23456, 4])]);
    let four = path(&[(Sequence, &[70_000, 70_001, 4])]);
    let whole = path(&[(Sequence, &[1]), (Sequence, &[70_000, 70_001, 4])]);
    assert_eq!(merged(two.clone(), Some(four.clone()), None), whole);
    assert_eq!(merged(two.clone(), Some(four.clone()), Some(23456)), whole);
    // Someone with 2-octet numbers has aggregated since; or shortened the path; or there is none.
    assert_eq!(merged(two.clone(), Some(four.clone()), Some(9)), two);
    let short = path(&[(Sequence, &[1, 2])]);
    assert_eq!(merged(short.clone(), Some(four.clone()), None), short);
    assert_eq!(merged(two.clone(), None, None), two);
    // A set counts as one.
    let two = path(&[(Sequence, &[1]), (Set, &[5, 6, 7]), (Sequence, &[23456])]);
    let four = path(&[(Sequence, &[70_000])]);
    assert_eq!(
        merged(two, Some(four), None),
        path(&[(Sequence, &[1]), (Set, &[5, 6, 7]), (Sequence, &[70_000])])
    );
    assert_eq!(Attributes::default().merged_as_path(), None);
}

/// An UPDATE with one more attribute.
fn appended(update: &[u8], attribute: &[u8]) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([update[21], update[22]]));
    let (attributes, nlri) = update[23..].split_at(length);
    let total = u16::try_from(length + attribute.len()).unwrap().to_be_bytes();
    message(2, &[&[0, 0], &total[..], attributes, attribute, nlri].concat())
}

proptest! {
    #![proptest_config(cases(200))]

    /// RFC 7606 section 3 (h): whatever else is in the UPDATE, a fault has at least its own verdict, and no fault makes
    /// another milder.
    #[test]
    fn no_fault_is_milder_for_the_company_it_keeps(sent in announcement(), internal: bool) {
        let prefix = sent.prefixes.iter().copied().take(1);
        let good = announce_all(&sent.block(), prefix);
        let faults = [
            ("40 06 01 00", DiscardAttribute),
            ("40 01 01 00", DiscardAttribute),
            ("c0 10 01 00", TreatAsWithdraw),
            ("c0 09 04 0a000001", if internal { TreatAsWithdraw } else { DiscardAttribute }),
            ("40 63 00", Reset),
        ];
        let judge = |octets: &[u8]| decode_update(octets, &sent.session).judge(internal).verdict;
        for (one, verdict) in faults {
            let with_one = appended(&good, &hex(one));
            prop_assert!(judge(&with_one) >= verdict.max(judge(&good)));
            for (other, _) in faults {
                prop_assert!(judge(&appended(&with_one, &hex(other))) >= judge(&with_one));
            }
        }
        // A repeated attribute costs nothing but itself (section 3 (g)).
        prop_assert_eq!(judge(&appended(&good, &hex("40 01 01 02"))), judge(&good).max(DiscardAttribute));
    }

    /// RFC 6793 section 4.2.3: what an old peer passes on as it is arrives whole.
    #[test]
    fn a_path_through_old_peers_arrives_whole(mut sent in announcement()) {
        sent.session.four_octet_as = false;
        let octets = announce_all(&sent.block(), sent.prefixes.iter().copied().take(1));
        let path = decode_update(&octets, &sent.session).attributes.merged_as_path().unwrap();
        let numbers: Vec<u32> = path.segments.into_iter().flat_map(|segment| segment.numbers).collect();
        prop_assert_eq!(numbers, sent.as_path.iter().map(|asn| asn.get()).collect::<Vec<_>>());
    }
}
