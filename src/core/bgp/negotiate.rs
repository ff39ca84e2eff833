//! Our OPEN, and what it settles together with the peer's: pure functions.

use std::time::Duration;

use super::fsm::Config;
use super::wire::{
    AfiSafi, Capability, ErrorCode, ExtendedNextHop, Notification, Open, OpenSubcode, Session,
};
use crate::types::{Asn, RemoteAs, RouterId};

/// What both OPENs settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// What decoding and encoding need.
    pub session: Session,
    /// After how long a silence the session ends; `None`: never.
    pub hold_time: Option<Duration>,
    /// The time between two KEEPALIVEs; `None`: none are sent.
    pub keepalive_time: Option<Duration>,
    /// The peer's AS.
    pub remote_asn: Asn,
    /// The peer's BGP identifier.
    pub remote_id: RouterId,
    /// Whether the peer is in the AS that we show.
    pub internal: bool,
    /// Refreshes are marked by their beginning and end (RFC 7313).
    pub enhanced_refresh: bool,
    /// Our OPEN, for people to see.
    pub our_open: Open,
    /// The peer's OPEN, for people to see.
    pub their_open: Open,
}

/// Why there is no session with this peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the peer is told.
    pub notification: Notification,
    /// What is wrong, for a person.
    pub detail: String,
}

/// The OPEN that a session sends: exactly the families that it carries.
pub fn open(config: &Config, router_id: RouterId) -> Open {
    let families = config.families.iter().map(|family| Capability::MultiProtocol(AfiSafi::unicast(family)));
    let mut capabilities: Vec<Capability> = families.collect();
    capabilities.push(Capability::RouteRefresh);
    if config.extended_next_hop {
        capabilities.push(Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]));
    }
    capabilities.push(Capability::ExtendedMessage);
    capabilities.push(Capability::FourOctetAs(config.shown_asn.get()));
    capabilities.push(Capability::EnhancedRouteRefresh);
    Open {
        my_as: config.shown_asn.two_octets(),
        hold_time: config.hold_time,
        identifier: router_id.get(),
        capabilities,
    }
}

/// Judges the peer's OPEN in the order of RFC 4271 6.2.
///
/// # Errors
/// The peer isn't one that we may have a session with.
pub fn negotiate(config: &Config, ours: &Open, theirs: &Open) -> Result<Negotiated, Refusal> {
    let remote_asn = remote_asn(config, theirs)?;
    let internal = remote_asn == config.shown_asn;
    let hold_time = match ours.hold_time.min(theirs.hold_time) {
        // 1 and 2 are refused even where ours is 0 (RFC 4271 4.2: MUST be either zero or at least three).
        _ if matches!(theirs.hold_time, 1 | 2) => {
            let detail = format!("hold time of {} s, which must be 0 or at least 3 s", theirs.hold_time);
            return Err(Refusal::new(OpenSubcode::UnacceptableHoldTime, detail));
        }
        0 => None,
        seconds => Some(Duration::from_secs(u64::from(seconds))),
    };
    let remote_id = remote_id(internal, ours, theirs)?;
    let session = Session::negotiate(ours, theirs);
    if session.families.is_empty() {
        return Err(no_common_family(config));
    }
    let keepalive_time = hold_time.map(|hold| {
        let third = hold / 3;
        // Never more often than once a second (RFC 4271 4.4); a third of any hold time is at least that.
        let own = config.keepalive_time.filter(|own| !own.is_zero());
        own.map_or(third, |own| own.max(Duration::from_secs(1)).min(third))
    });
    let enhanced = Capability::EnhancedRouteRefresh;
    Ok(Negotiated {
        session,
        hold_time,
        keepalive_time,
        remote_asn,
        remote_id,
        internal,
        enhanced_refresh: ours.offers(&enhanced) && theirs.offers(&enhanced),
        our_open: ours.clone(),
        their_open: theirs.clone(),
    })
}

fn remote_asn(config: &Config, theirs: &Open) -> Result<Asn, Refusal> {
    let bad = |detail| Err(Refusal::new(OpenSubcode::BadPeerAs, detail));
    let Some(asn) = theirs.asn() else {
        return bad("the peer's AS is 0".to_owned());
    };
    match config.remote_as {
        RemoteAs::Number(wanted) if asn != wanted => bad(format!("the peer's AS is {asn}, not {wanted}")),
        RemoteAs::Internal if asn != config.my_asn => {
            bad(format!("the peer's AS is {asn}, not ours, {}", config.my_asn))
        }
        RemoteAs::External if asn == config.my_asn => bad(format!("the peer's AS is ours, {asn}")),
        _ => Ok(asn),
    }
}

/// RFC 6286 section 2.2: not 0, and another one than ours within an AS.
fn remote_id(internal: bool, ours: &Open, theirs: &Open) -> Result<RouterId, Refusal> {
    let bad = |detail| Err(Refusal::new(OpenSubcode::BadBgpIdentifier, detail));
    let Some(id) = RouterId::new(theirs.identifier) else {
        return bad("the peer's BGP identifier is 0.0.0.0".to_owned());
    };
    if internal && theirs.identifier == ours.identifier {
        return bad(format!("the peer's BGP identifier is ours, {id}"));
    }
    Ok(id)
}

/// RFC 5492 section 3: the data lists the capabilities that are missing.
fn no_common_family(config: &Config) -> Refusal {
    let wanted = config.families.iter().map(AfiSafi::unicast);
    let data = wanted.flat_map(|AfiSafi { afi, safi }| {
        let [high, low] = afi.to_be_bytes();
        [1, 4, high, low, 0, safi]
    });
    Refusal {
        notification: Notification {
            error: ErrorCode::Open(OpenSubcode::UnsupportedCapability),
            data: data.collect(),
        },
        detail: "the peer offers no address family that the session carries".to_owned(),
    }
}

impl Refusal {
    fn new(subcode: OpenSubcode, detail: String) -> Refusal {
        Refusal { notification: Notification::new(ErrorCode::Open(subcode)), detail }
    }
}
