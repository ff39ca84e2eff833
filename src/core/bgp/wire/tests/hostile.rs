//! Octets that nobody should send: nothing may panic, and nothing outside the message may be read.

use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::strategies::{announcement, notification, open, refresh};
use super::*;

/// Any session, so that a mutation meets each way of reading it.
fn sessions() -> [Session; 4] {
    let long = Session { max_receive: MAX_EXTENDED_MESSAGE, ..FULL };
    let old = Session { four_octet_as: false, extended_next_hop: false, ..FULL };
    [Session::BEFORE_OPEN, FULL, long, old]
}

/// Reads all that can be read; everything that accepts a message has to survive what it accepted.
fn swallow(mut input: &[u8], session: &Session) {
    while let Ok(Some(frame)) = frame(input, session) {
        match Message::decode(&frame, session) {
            Ok(Message::Update(update)) => {
                let _ = update.end_of_rib();
                let _ = update.attributes.merged_as_path();
                for internal in [false, true] {
                    let judgement = update.judge(internal);
                    assert!(judgement.error.is_some() || judgement.verdict <= Verdict::DiscardAttribute);
                    judgement.error.iter().for_each(check_error);
                }
            }
            Ok(Message::Open(open)) => {
                let (mut again, _) = (Vec::new(), (open.asn(), open.families()));
                if open.encode(&mut again).is_ok() {
                    assert_eq!(decode_one(&again, session), Ok(Message::Open(open)));
                }
            }
            Ok(Message::Notification(notification)) => {
                let _ = notification.to_string();
            }
            Ok(_) => {}
            Err(error) => check_error(&error),
        }
        input = &input[frame.total_len..];
    }
}

fn check_error(error: &WireError) {
    let mut out = Vec::new();
    let _ = error.to_string();
    error.notification().encode(&mut out);
    assert!(matches!(decode_one(&out, &FULL), Ok(Message::Notification(_))));
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn any_octets_are_survived(octets in vec(any::<u8>(), 0..200)) {
        for session in &sessions() {
            swallow(&octets, session);
        }
    }

    #[test]
    fn any_body_is_survived(kind in 1..=5_u8, body in vec(prop_oneof![any::<u8>(), 0..8_u8, Just(0xff)], 0..120)) {
        for session in &sessions() {
            swallow(&message(kind, &body), session);
        }
    }

    /// What follows a message changes nothing in how it is read.
    #[test]
    fn nothing_beyond_the_message_is_read(
        kind in 1..=5_u8,
        body in vec(prop_oneof![any::<u8>(), 0..8_u8], 0..60),
        tail in vec(any::<u8>(), 1..40),
    ) {
        let alone = message(kind, &body);
        let followed = [alone.clone(), tail].concat();
        for session in &sessions() {
            let read = |octets: &[u8]| frame(octets, session).map(|f| f.map(|f| Message::decode(&f, session)));
            prop_assert_eq!(read(&alone), read(&followed));
        }
    }
}

/// 10,000 mutations of valid sessions, the same in every run.
#[test]
fn mutations_of_valid_sessions_are_survived() {
    let mut runner = TestRunner::deterministic();
    let mut draw = |below: usize| (0..below.max(1)).new_tree(&mut runner).unwrap().current();
    let seeds = seeds();
    for _ in 0..10_000 {
        let mut octets = seeds[draw(seeds.len())].clone();
        for _ in 0..=draw(4) {
            let at = draw(octets.len());
            match draw(6) {
                0 => octets[at] ^= 1 << draw(8),
                1 => octets[at] = [0, 1, 0x7f, 0x80, 0xff][draw(5)],
                2 => octets[at] = draw(256) as u8,
                3 => octets.insert(at, draw(256) as u8),
                4 if octets.len() > 1 => {
                    octets.remove(at);
                }
                _ => octets.truncate(at.max(1)),
            }
        }
        for session in &sessions() {
            swallow(&octets, session);
            // The same with a header that fits again, so that the mutation reaches the body's decoder.
            if let (Some(kind), Some(body)) = (octets.get(18), octets.get(19..4096.min(octets.len()))) {
                swallow(&message(*kind, body), session);
            }
        }
    }
}

/// Short sessions as they may be seen on the wire, and each of their messages.
fn seeds() -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    let mut seeds = Vec::new();
    for _ in 0..24 {
        let mut octets = Vec::new();
        let open = open().new_tree(&mut runner).unwrap().current();
        open.encode(&mut octets).unwrap();
        seeds.push(octets.clone());
        keepalive(&mut octets);
        let mut sent = announcement().new_tree(&mut runner).unwrap().current();
        sent.prefixes.truncate(5);
        sent.session.max_send = MAX_MESSAGE;
        let update = announce_all(&sent.block(), sent.prefixes.iter().copied());
        octets.extend_from_slice(&update);
        seeds.push(update);
        let start = octets.len();
        withdraw(&sent.session, sent.family, &mut sent.prefixes.iter().copied().peekable(), &mut octets);
        end_of_rib(sent.family, &mut octets);
        refresh().new_tree(&mut runner).unwrap().current().encode(&mut octets);
        notification().new_tree(&mut runner).unwrap().current().encode(&mut octets);
        seeds.push(octets[start..].to_vec());
        seeds.push(octets);
    }
    seeds
}
