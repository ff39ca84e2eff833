//! Tests of the whole codec: octets written down by hand both ways, then properties, then hostile input.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test that panics is a test that fails"
)]

mod hostile;
mod properties;
mod strategies;
mod vectors;
mod verdicts;

use std::iter::Peekable;

use ipnet::IpNet;
use proptest::test_runner::Config;

use super::*;
use crate::types::FamilySet;

/// A session on which everything was negotiated but extended messages.
const FULL: Session = Session {
    four_octet_as: true,
    families: FamilySet::BOTH,
    extended_next_hop: true,
    max_send: MAX_MESSAGE,
    max_receive: MAX_MESSAGE,
};

/// That many cases. A failing input is printed; a file of them would land beside the crate.
fn cases(count: u32) -> Config {
    Config { failure_persistence: None, ..Config::with_cases(count) }
}

/// The octets of a hexadecimal text; blanks don't count.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |d: u8| (d as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// A whole message: marker, length, type and this body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff; 16];
    out.extend_from_slice(&u16::try_from(body.len() + HEADER_LEN).unwrap().to_be_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    out
}

/// All messages of a stream that has to consist of whole ones.
fn decode_all(mut input: &[u8], session: &Session) -> Result<Vec<Message>, WireError> {
    let mut messages = Vec::new();
    while let Some(frame) = frame(input, session)? {
        messages.push(Message::decode(&frame, session)?);
        input = &input[frame.total_len..];
    }
    assert!(input.is_empty(), "a message is cut off");
    Ok(messages)
}

fn decode_one(input: &[u8], session: &Session) -> Result<Message, WireError> {
    decode_all(input, session).map(|mut all| {
        assert_eq!(all.len(), 1);
        all.pop().unwrap()
    })
}

fn decode_update(input: &[u8], session: &Session) -> Update {
    match decode_one(input, session) {
        Ok(Message::Update(update)) => *update,
        other => panic!("{other:?}"),
    }
}

/// The judgement on an UPDATE from a peer for whom its LOCAL_PREF is right.
fn judged(update: &Update) -> Judgement {
    update.judge(update.attributes.local_pref.is_some())
}

/// All UPDATEs that announce these prefixes.
fn announce_all(block: &AttributeBlock, prefixes: impl IntoIterator<Item = IpNet>) -> Vec<u8> {
    let (mut out, mut prefixes) = (Vec::new(), prefixes.into_iter().peekable());
    while block.announce(&mut prefixes, &mut out) != 0 {}
    assert_eq!(prefixes.peek(), None);
    out
}

fn peekable(prefixes: &[&str]) -> Peekable<impl Iterator<Item = IpNet>> {
    prefixes.iter().map(|prefix| prefix.parse().unwrap()).peekable()
}
