//! From decisions to the wire thread: which sessions are to stand, what they carry, and what they tell.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ferrolb_core::bgp::fsm::{Reason, State};
use ferrolb_core::bgp::refusal::TELLING;
use ferrolb_core::decide::RouteChange;
use ferrolb_core::engine::Engine;
use ferrolb_core::types::{FamilySet, GroupId, NodeName};
use tracing::{debug, info, warn};

use crate::shell::bgp::{Event, GroupChange, SessionSpec, SessionStatus, Update};

/// The complete desired state of a node, whatever the wire thread has; `known` are the groups that it was told of, and is
/// brought up to date.
pub fn everything(engine: &Engine, node: &NodeName, known: &mut BTreeSet<GroupId>) -> Update {
    let config = engine.config();
    let routes = engine.routes();
    let mut groups: Vec<(GroupId, GroupChange)> = Vec::new();
    let mut current = BTreeSet::new();
    for (id, routes) in routes.groups() {
        current.insert(id);
        let all = routes.iter().map(|(prefix, route)| (*prefix, route.attributes.clone())).collect();
        groups.push((id, GroupChange::Replace(all)));
    }
    groups.extend(known.difference(&current).map(|gone| (*gone, GroupChange::Drop)));
    *known = current;
    let (mut sessions, mut not_dialled) = (Vec::new(), BTreeMap::new());
    for (name, group) in routes.peers() {
        match config.peer(name).map(|peer| SessionSpec::of(peer, *group)) {
            Some(Ok(spec)) => sessions.push(spec),
            Some(Err(field)) => {
                not_dialled.insert(name.clone(), field);
            }
            None => {}
        }
    }
    Update {
        sessions: Some(sessions),
        not_dialled,
        groups,
        service_ranges: Some(config.pools.iter().flat_map(|p| p.ranges.iter().copied()).collect()),
        internal_ipv4: Some(internal_ipv4(engine, node)),
        noticed: None,
    }
}

/// No session and no route, whatever the wire thread has.
pub fn nothing(known: &mut BTreeSet<GroupId>) -> Update {
    let groups = std::mem::take(known).into_iter().map(|gone| (gone, GroupChange::Drop));
    Update { sessions: Some(vec![]), groups: groups.collect(), ..Update::default() }
}

/// Only what differs.
pub fn changes(routes: &[RouteChange]) -> Update {
    let mut groups: BTreeMap<GroupId, Vec<_>> = BTreeMap::new();
    for change in routes {
        groups.entry(change.group).or_default().push((change.prefix, change.attributes.clone()));
    }
    Update {
        groups: groups.into_iter().map(|(id, c)| (id, GroupChange::Changes(c))).collect(),
        ..Update::default()
    }
}

/// The first IPv4 InternalIP of the Node.
pub fn internal_ipv4(engine: &Engine, node: &NodeName) -> Option<Ipv4Addr> {
    let node = engine.nodes().iter().find(|n| n.name == *node)?;
    node.internal_ips.iter().find_map(|ip| match ip {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    })
}

/// One line for each event: a session that came up or went down, with states and reason.
pub fn log(event: &Event) {
    match event {
        Event::SessionChanged { peer, old, new, reason } => match (old, new) {
            (_, State::Established) => {
                info!(event = "sessionUp", %peer, %old, %new, %reason, "BGP session established");
            }
            (State::Established, _) => {
                warn!(event = "sessionDown", %peer, %old, %new, %reason, "BGP session ended");
            }
            // Once, though the attempts go on.
            (_, State::Idle | State::Active)
                if matches!(reason, Reason::Refused { in_a_row: TELLING, .. }) =>
            {
                warn!(
                    event = "sessionRefused", %peer, %old, %new, %reason,
                    "the router refuses the session; if another BGP speaker on this node has one with it, give the BGPPeer a sourceAddress of its own"
                )
            }
            (_, State::Idle | State::Active) => {
                info!(event = "sessionState", %peer, %old, %new, %reason, "BGP session not established");
            }
            _ => debug!(event = "sessionState", %peer, %old, %new, %reason, "BGP session"),
        },
        Event::NoNextHop { peer, family, cleared: false } => warn!(
            event = "noNextHop", %peer, %family, reason = "noNextHop",
            "routes of this family aren't sent: the interface of the session has no address of the family to be their next hop"
        ),
        Event::NoNextHop { peer, family, cleared: true } => {
            info!(event = "noNextHopCleared", %peer, %family, "there is a next hop again");
        }
    }
}

/// Where every session stands, one line each: what SIGUSR1 asks for.
pub fn log_all(sessions: &[SessionStatus]) {
    for session in sessions {
        let SessionStatus {
            peer,
            remote,
            state,
            since,
            last_error,
            agreed,
            counters,
            pending,
            waiting,
            no_next_hop,
            routes,
            ..
        } = session;
        let agreed = agreed.as_ref();
        info!(
            event = "sessionStatus",
            %peer,
            %remote,
            %state,
            seconds = since.elapsed().as_secs(),
            local = agreed.map(|a| a.local.to_string()),
            remote_asn = agreed.map(|a| a.remote_asn.get()),
            remote_id = agreed.map(|a| a.remote_id.to_string()),
            hold_seconds = agreed.map(|a| a.hold_time.map_or(0, |h| h.as_secs())),
            families = agreed.map(|a| families(a.families)),
            routes = routes.as_ref().map(|r| r.len() as u64),
            updates_sent = counters.updates_sent,
            announced = counters.announced,
            withdrawn = counters.withdrawn,
            refused = counters.refused,
            updates_received = counters.updates_received,
            end_of_rib = families(counters.end_of_rib),
            pending = pending.join(","),
            waiting_octets = *waiting as u64,
            no_next_hop = families(*no_next_hop),
            last_error = last_error.as_ref().map(ToString::to_string),
            "BGP session"
        );
    }
}

fn families(set: FamilySet) -> String {
    set.iter().map(|f| f.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use ferrolb_core::alloc::{Allocator, Mode};
    use ferrolb_core::config::LastValid;
    use ferrolb_core::decide::Options;
    use ferrolb_core::engine::{EngineOptions, SourceChange};
    use ferrolb_core::manifest;

    use super::*;

    #[test]
    fn a_peer_that_is_not_dialled_is_told_with_the_field() {
        let node = NodeName::new("n1");
        let options = EngineOptions {
            system_namespace: "metallb-system".into(),
            class: None,
            decide: Options::default(),
            node: node.clone(),
            speaker: false,
            keep_routes: true,
            allocate_for_many: false,
        };
        let allocator = Allocator::new(Mode::Allocate, None);
        let mut engine = Engine::new(options, allocator, LastValid::new(), BTreeMap::new());
        let peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: tor, namespace: metallb-system}\n";
        for (fields, field) in [
            ("peerAddress: 10.0.0.1", None),
            ("peerAddress: 10.0.0.1, vrf: red", Some("vrf")),
            ("interface: eth0", Some("interface")),
        ] {
            let text = format!("{peer}spec: {{myASN: 64512, peerASN: 64513, {fields}}}\n");
            let parsed = manifest::parse("peer.yaml", text.as_bytes());
            assert_eq!(parsed.errors, []);
            engine.apply(parsed.objects.into_iter().map(|o| SourceChange::Apply(o.object)).collect(), None);
            let update = everything(&engine, &node, &mut BTreeSet::new());
            assert_eq!(update.sessions.map(|all| all.len()), Some(usize::from(field.is_none())));
            assert_eq!(update.not_dialled.get("tor").copied(), field);
        }
    }
}
