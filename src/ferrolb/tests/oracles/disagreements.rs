//! Where an oracle is known to differ: the octets, what it makes of them, and the line that we follow. A test holds each to
//! what is written here, so that a new version of a crate shows up.

use bgpkit_parser::models::BgpMessage;
use ferrolb_core::bgp::wire::{Message, WireError};

use super::{SESSION, bgp_rs_oracle, bgpkit_oracle, netgauze_oracle, ours};

/// Error code and subcode that netgauze doesn't read, though they are in the registry.
pub const UNKNOWN_TO_NETGAUZE: [(u8, u8); 4] = [
    // Deprecated, but old routers may send it (RFC 4271 6.2).
    (2, 5),
    // Unspecific (RFC 4486).
    (6, 0),
    // Reserved (RFC 7313).
    (7, 0),
    // Send Hold Timer Expired (RFC 9687).
    (8, 0),
];

/// What an oracle makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Takes it.
    Accepts,
    /// Has an error to report.
    Refuses,
    /// Reads something that isn't there.
    Misreads,
    /// Brings its caller down.
    Panics,
}
use Verdict::{Accepts, Misreads, Panics, Refuses};

struct Disagreement {
    about: &'static str,
    rfc: &'static str,
    kind: u8,
    body: &'static str,
    ours: Verdict,
    bgp_rs: Verdict,
    bgpkit: Verdict,
    netgauze: Verdict,
}

const TABLE: [Disagreement; 10] = [
    Disagreement {
        about: "AS 256 on a session with 4-octet numbers",
        rfc: "6793 4.1: the width is what was negotiated",
        kind: 2,
        body: "0000 0014 40010100 400206 0201 00000100 400304 c0000201 20 0a000001",
        ours: Accepts,
        bgp_rs: Misreads,
        bgpkit: Accepts,
        netgauze: Accepts,
    },
    Disagreement {
        about: "a default route before another",
        rfc: "7911 3: path identifiers only where negotiated",
        kind: 2,
        body: "0000 0014 40010100 400206 0201 fa56ea01 400304 c0000201 00 18 0a0000 18 0a0001",
        ours: Accepts,
        bgp_rs: Misreads,
        bgpkit: Misreads,
        netgauze: Accepts,
    },
    Disagreement {
        about: "an identifier that is no unicast address",
        rfc: "6286 2.1: any but 0",
        kind: 1,
        body: "04 fc00 005a e0000001 00",
        ours: Accepts,
        bgp_rs: Accepts,
        bgpkit: Accepts,
        netgauze: Refuses,
    },
    Disagreement {
        about: "an ORIGIN that doesn't exist",
        rfc: "4271 6.3: Invalid ORIGIN Attribute",
        kind: 2,
        body: "0000 0014 40010103 400206 0201 fa56ea01 400304 c0000201 20 0a000001",
        ours: Refuses,
        bgp_rs: Accepts,
        bgpkit: Refuses,
        netgauze: Refuses,
    },
    Disagreement {
        about: "an OPEN with a family that isn't known",
        rfc: "5492 3: capabilities that aren't known are ignored",
        kind: 1,
        body: "04 fc00 005a c0000201 08 0206 0104 0001 00 49",
        ours: Accepts,
        bgp_rs: Refuses,
        bgpkit: Accepts,
        netgauze: Refuses,
    },
    Disagreement {
        about: "an OPEN with extended parameters",
        rfc: "9072 2",
        kind: 1,
        body: "04 fc00 005a c0000201 ff ff 0005 02 0002 0200",
        ours: Accepts,
        bgp_rs: Refuses,
        bgpkit: Accepts,
        netgauze: Refuses,
    },
    Disagreement {
        about: "an UPDATE that withdraws a VPLS route",
        rfc: "4760 4: a family that wasn't negotiated is skipped",
        kind: 2,
        body: "0000 000b 800f08 0019 41 20 0a000001",
        ours: Accepts,
        bgp_rs: Panics,
        bgpkit: Refuses,
        netgauze: Accepts,
    },
    Disagreement {
        about: "an UPDATE that announces a multicast prefix",
        rfc: "4271 4.3 and 7606 5.3: well-formed; whether it makes sense is policy",
        kind: 2,
        body: "0000 0014 40010100 400206 0201 fa56ea01 400304 c0000201 08 e0",
        ours: Accepts,
        bgp_rs: Accepts,
        bgpkit: Accepts,
        netgauze: Refuses,
    },
    Disagreement {
        about: "an AS_PATH segment without numbers",
        rfc: "7606 7.2: malformed",
        kind: 2,
        body: "0000 0010 40010100 400202 0200 400304 c0000201 20 0a000001",
        ours: Refuses,
        bgp_rs: Accepts,
        bgpkit: Accepts,
        netgauze: Refuses,
    },
    Disagreement {
        about: "a BoRR of 5 octets",
        rfc: "7313 5: Invalid Message Length",
        kind: 5,
        body: "0001 01 01 00",
        ours: Refuses,
        bgp_rs: Accepts,
        bgpkit: Refuses,
        netgauze: Refuses,
    },
];

#[test]
fn the_oracles_differ_where_they_are_known_to() {
    let mut changed = Vec::new();
    for row in &TABLE {
        let octets = message(row.kind, row.body);
        let got = (ours_says(&octets), bgp_rs_says(&octets), bgpkit_says(&octets), netgauze_says(&octets));
        if got != (row.ours, row.bgp_rs, row.bgpkit, row.netgauze) {
            changed.push(format!("{} (RFC {}): {got:?}", row.about, row.rfc));
        }
    }
    assert!(changed.is_empty(), "ours, bgp-rs, bgpkit, netgauze: {changed:#?}");
}

fn ours_says(octets: &[u8]) -> Verdict {
    let validated = ours::message(octets, &SESSION).and_then(|message| -> Result<(), WireError> {
        match message {
            // What RFC 7606 lets pass is refused all the same: routes are withdrawn, or an attribute is ignored.
            Message::Update(update) => update.judge(false).error.map_or(Ok(()), Err),
            _ => Ok(()),
        }
    });
    if validated.is_ok() { Accepts } else { Refuses }
}

fn bgp_rs_says(octets: &[u8]) -> Verdict {
    match bgp_rs_oracle::message(octets) {
        None => Panics,
        Some(Err(_)) => Refuses,
        Some(Ok(bgp_rs::Message::Update(update))) => {
            let path = update.get(bgp_rs::Identifier::AS_PATH);
            let misread =
                matches!(path, Some(bgp_rs::PathAttribute::AS_PATH(path)) if path.segments.len() > 1);
            let path_ids = update.announced_routes.iter().any(|r| !matches!(r, bgp_rs::NLRIEncoding::IP(_)));
            if misread || path_ids { Misreads } else { Accepts }
        }
        Some(Ok(_)) => Accepts,
    }
}

fn bgpkit_says(octets: &[u8]) -> Verdict {
    match bgpkit_oracle::message(octets, true) {
        Err(_) => Refuses,
        // It lists what RFC 7606 would not let pass.
        Ok(BgpMessage::Update(update)) if !update.attributes.validation_warnings().is_empty() => Refuses,
        Ok(BgpMessage::RouteRefresh(refresh)) if !refresh.validation_warnings().is_empty() => Refuses,
        Ok(BgpMessage::Update(update)) if update.announced_prefixes.iter().any(|p| p.path_id.is_some()) => {
            Misreads
        }
        Ok(_) => Accepts,
    }
}

fn netgauze_says(octets: &[u8]) -> Verdict {
    if netgauze_oracle::message(octets, true).is_ok() { Accepts } else { Refuses }
}

fn message(kind: u8, body: &str) -> Vec<u8> {
    let digits: Vec<u8> = body.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |d: u8| (d as char).to_digit(16).unwrap() as u8;
    let body: Vec<u8> = digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    let length = u16::try_from(body.len() + 19).unwrap().to_be_bytes();
    [&[0xff; 16], length.as_slice(), &[kind], &body].concat()
}
