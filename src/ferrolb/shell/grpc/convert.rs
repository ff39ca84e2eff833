//! From what the core and the wire thread know to the API's messages.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::alloc::Allocation;
use ferrolb_core::bgp::fsm::State;
use ferrolb_core::bgp::negotiate;
use ferrolb_core::bgp::wire::{AfiSafi, Capability, Notification};
use ferrolb_core::config::Peer;
use ferrolb_core::layer2::Counters;
use ferrolb_core::types::{FamilySet, GroupId, Issue, RouteAttributes, RouterId, ServiceKey};
use ipnet::IpNet;

use super::api;
use super::api::watch_event::Change;
use crate::shell::bgp::{Event, Messages, SessionSpec, SessionStatus, Verdicts};
use crate::shell::layer2::AddressStatus;

/// A session; `peer` is its configuration, `routes` asks for each route that it was sent.
pub(super) fn session(
    status: &SessionStatus,
    peer: Option<&Peer>,
    routes: bool,
    now: Instant,
) -> api::Session {
    let agreed = status.agreed.as_ref();
    let opens = status.opens.as_deref();
    let spec = peer.and_then(|p| SessionSpec::of(p, GroupId(0)).ok());
    let counters = &status.counters;
    let since = |(notification, then): &(Notification, Instant)| api::LastNotification {
        message: notification.to_string(),
        ago_ms: milliseconds(now.saturating_duration_since(*then)),
    };
    api::Session {
        peer: status.peer.to_string(),
        remote: status.remote.to_string(),
        state: state(status.state).into(),
        state_ms: milliseconds(now.saturating_duration_since(status.since)),
        local: agreed.map(|a| a.local.to_string()),
        local_asn: peer.map(|p| p.shown_asn().get()),
        remote_asn: agreed.map(|a| a.remote_asn.get()),
        remote_id: agreed.map(|a| a.remote_id.to_string()),
        families: agreed.map(|a| families(a.families)).unwrap_or_default(),
        no_next_hop: families(status.no_next_hop),
        timers: spec.as_ref().map(|s| api::Timers {
            hold_configured: u32::from(s.session.hold_time),
            hold: agreed.map(|a| a.hold_time.map_or(0, |h| u32::try_from(h.as_secs()).unwrap_or(u32::MAX))),
            keepalive_configured_ms: s.session.keepalive_time.map(timer),
            keepalive_ms: agreed.map(|a| a.keepalive_time.map_or(0, timer)),
            connect_ms: timer(s.session.connect_cap),
            hold_offered: opens.map(|o| u32::from(o.ours.hold_time)),
        }),
        capabilities_sent: match opens {
            Some(opens) => capabilities(&opens.ours.capabilities),
            None => spec.as_ref().map(offered).unwrap_or_default(),
        },
        capabilities_received: opens.map(|o| capabilities(&o.theirs.capabilities)).unwrap_or_default(),
        counters: Some(api::Counters {
            updates_sent: counters.updates_sent,
            updates_received: counters.updates_received,
            announced: counters.announced,
            withdrawn: counters.withdrawn,
            refused: counters.refused,
            end_of_rib: families(counters.end_of_rib),
            verdicts: Some(verdicts(Verdicts::of(&counters.received))),
        }),
        last_error: status.last_error.as_ref().map(ToString::to_string),
        last_sent: status.notifications.sent.as_ref().map(since),
        last_received: status.notifications.received.as_ref().map(since),
        pending: status.pending.iter().map(ToString::to_string).collect(),
        route_count: Some(status.progress.sent as u64),
        routes: status.routes.iter().flatten().filter(|_| routes).map(route).collect(),
        routes_pending: Some(status.progress.pending as u64),
        totals: Some(api::Totals {
            established: status.totals.established,
            sent: Some(messages(&status.totals.sent)),
            received: Some(messages(&status.totals.received)),
            verdicts: Some(verdicts(status.totals.verdicts)),
        }),
    }
}

fn verdicts(verdicts: Verdicts) -> api::Verdicts {
    let Verdicts { accepted, attribute_discarded, treated_as_withdraw, reset } = verdicts;
    api::Verdicts { accepted, attribute_discarded, treated_as_withdraw, session_reset: reset }
}

fn messages(messages: &Messages) -> api::Messages {
    let Messages { opens, updates, notifications, keepalives, route_refreshes } = *messages;
    api::Messages { opens, updates, notifications, keepalives, route_refreshes }
}

/// What a peer was sent that carries one of the addresses.
pub(super) fn sent(status: &SessionStatus, ips: &[IpAddr]) -> api::SentToPeer {
    let carries = |prefix: &IpNet| ips.iter().any(|ip| prefix.contains(ip));
    api::SentToPeer {
        peer: status.peer.to_string(),
        state: state(status.state).into(),
        routes: status.routes.iter().flatten().filter(|(prefix, _)| carries(prefix)).map(route).collect(),
    }
}

/// A session's state, as the beginning of a watch.
pub(super) fn session_now(status: &SessionStatus) -> Change {
    Change::Session(api::SessionChange {
        peer: status.peer.to_string(),
        old: None,
        new: state(status.state).into(),
        reason: status.last_error.as_ref().map(ToString::to_string).unwrap_or_default(),
    })
}

pub(super) fn session_event(event: &Event) -> Change {
    match event {
        Event::SessionChanged { peer, old, new, reason } => Change::Session(api::SessionChange {
            peer: peer.to_string(),
            old: Some(state(*old).into()),
            new: state(*new).into(),
            reason: reason.to_string(),
        }),
        Event::NoNextHop { peer, family, cleared } => Change::NextHop(api::NextHopChange {
            peer: peer.to_string(),
            family: family.to_string(),
            present: *cleared,
        }),
    }
}

pub(super) fn allocation(service: &ServiceKey, allocation: &Allocation) -> api::Allocation {
    api::Allocation {
        service: service.to_string(),
        ips: allocation.ips.iter().map(ToString::to_string).collect(),
        pool: allocation.pool.as_ref().map(ToString::to_string),
        error: allocation.error.clone(),
    }
}

pub(super) fn layer2_address(status: &AddressStatus) -> api::Layer2Address {
    let Counters { requests, responses, gratuitous } = status.counters;
    api::Layer2Address {
        ip: status.address.to_string(),
        interfaces: status.interfaces.iter().map(ToString::to_string).collect(),
        requests,
        responses,
        gratuitous,
    }
}

pub(super) fn issue(issue: &Issue) -> api::Issue {
    let Issue { kind, namespace, name, field, message } = issue.clone();
    api::Issue { kind, namespace, name, field, message }
}

pub(super) fn issue_change(error: bool, issue: &Issue, cleared: bool) -> api::IssueChange {
    api::IssueChange { issue: Some(self::issue(issue)), error, cleared }
}

fn state(state: State) -> api::SessionState {
    match state {
        State::Idle => api::SessionState::Idle,
        State::Connect => api::SessionState::Connect,
        State::Active => api::SessionState::Active,
        State::OpenSent => api::SessionState::OpenSent,
        State::OpenConfirm => api::SessionState::OpenConfirm,
        State::Established => api::SessionState::Established,
    }
}

fn route((prefix, attributes): &(IpNet, Arc<RouteAttributes>)) -> api::Route {
    api::Route {
        prefix: prefix.to_string(),
        local_pref: attributes.local_pref,
        communities: attributes.communities.iter().map(ToString::to_string).collect(),
        large_communities: attributes.large_communities.iter().map(ToString::to_string).collect(),
        as_path_prepend: u32::from(attributes.as_path_prepend),
    }
}

fn families(set: FamilySet) -> Vec<String> {
    set.iter().map(|f| f.to_string()).collect()
}

/// The capabilities of our OPEN, which don't depend on the router ID.
fn offered(spec: &SessionSpec) -> Vec<String> {
    let router_id = spec.router_id.unwrap_or_else(|| RouterId::from_hash([0, 0, 0, 1]));
    capabilities(&negotiate::open(&spec.session, router_id).capabilities)
}

fn capabilities(all: &[Capability]) -> Vec<String> {
    all.iter().map(capability).collect()
}

fn capability(capability: &Capability) -> String {
    match (capability, capability.name()) {
        (Capability::MultiProtocol(family), _) => match family.family() {
            Some(known) => format!("{known} unicast"),
            None => {
                let AfiSafi { afi, safi } = family;
                format!("AFI {afi} SAFI {safi}")
            }
        },
        (Capability::FourOctetAs(asn), _) => format!("4-octet AS {asn}"),
        (_, Some(name)) => name.to_owned(),
        (_, None) => format!("capability {}", capability.code()),
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn timer(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
