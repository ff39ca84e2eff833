//! Why some addresses aren't announced: one sentence in terms of the objects involved.

use std::net::IpAddr;

use super::case::{Case, listed, mismatch};
use crate::config::{BgpAdvertisement, PeerTarget};
use crate::decide::{Candidate, Election, Protocol, Reason, conflicts};
use crate::types::Issue;

/// The sentence, without a full stop.
pub(super) fn why(case: &Case<'_>) -> String {
    let ips = listed(case.ips);
    let is = if case.ips.len() == 1 { "is" } else { "are" };
    match case.reason {
        Reason::AddressFamilyNotCarried => family_not_carried(case),
        Reason::ConflictingAdvertisements => conflicting(case),
        Reason::IpNotAllowed => {
            let home = case.subject.home.as_deref().unwrap_or_default();
            let errors = case.errors_of("IPAddressPool").filter(|e| e.name == home);
            format!("{ips} {is} held from IPAddressPool {home}, which is invalid: {}", issues(errors, false))
        }
        Reason::NoAdvertisement => no_advertisement(case),
        Reason::NoEndpoints => format!("{} has no ready endpoint for {ips} on any node", case.service()),
        Reason::NoLocalEndpoints => format!(
            "{} has externalTrafficPolicy Local, and no ready endpoint for {ips} on {}",
            case.service(),
            case.node()
        ),
        Reason::NoMatchingAdvertisement => no_matching(case),
        Reason::NoNextHop => format!("the session has no next hop for {ips}"),
        Reason::NoPeer => no_peer(case),
        Reason::NodeLabeledExcludeBalancers => {
            format!("{} has the label {}", case.node(), crate::world::EXCLUDE_LABEL)
        }
        Reason::NodeNetworkUnavailable => format!("{} has the condition NetworkUnavailable", case.node()),
        Reason::NotOwner => match case.protocol {
            Protocol::Bgp => selects_no_node(case),
            Protocol::Layer2 => other_owner(case),
        },
        Reason::PeerNotSelected => {
            let lists =
                case.bgp_applying().into_iter().map(|(_, a)| format!("{} ({})", a.name, listed(&a.peers)));
            format!(
                "spec.peers of each BGPAdvertisement that applies leaves BGPPeer {} out: {}",
                case.peer.map_or("", |p| &p.name),
                listed(lists)
            )
        }
        Reason::SharedIpWithServiceSelector => {
            let applying = case.decisions.l2_applying(case.subject.service, case.subject.allocation);
            let with = applying.iter().filter(|a| !a.services.0.is_empty()).map(|a| &a.name);
            format!(
                "{} may share its address (metallb.io/allow-shared-ip), and then no L2Advertisement for it may have \
                 spec.serviceSelectors, as has {}",
                case.service(),
                listed(with)
            )
        }
    }
}

/// Errors with their fields, after the name of their object where `named`.
pub(super) fn issues<'i>(issues: impl IntoIterator<Item = &'i Issue>, named: bool) -> String {
    let text = |issue: &Issue| {
        let name = if named { format!("{} {}: ", issue.kind, issue.name) } else { String::new() };
        let field = issue.field.as_ref().map_or(String::new(), |f| format!("{f}: "));
        format!("{name}{field}{}", issue.message)
    };
    let texts: Vec<String> = issues.into_iter().map(text).collect();
    texts.join("; ")
}

fn no_advertisement(case: &Case<'_>) -> String {
    let kind = case.kind();
    let rejected = issues(case.errors_of(kind), true);
    let also = if rejected.is_empty() { String::new() } else { format!("; rejected: {rejected}") };
    if case.advertisements().is_empty() && rejected.is_empty() {
        return format!("there is no {kind}");
    }
    format!("no valid {kind} covers IPAddressPool {}{also}", case.pool_name())
}

fn selects_no_node(case: &Case<'_>) -> String {
    let each = case.covering().into_iter().filter_map(|a| {
        let text = mismatch("spec.nodeSelectors", a.nodes, &case.node.labels, &case.node())?;
        Some(format!("{}: {text}", a.name))
    });
    format!(
        "no BGPAdvertisement for IPAddressPool {} selects {}: {}",
        case.pool_name(),
        case.node(),
        several(each)
    )
}

fn no_matching(case: &Case<'_>) -> String {
    let (node, service) = (&case.node.labels, &case.subject.service.labels);
    let bgp = case.protocol == Protocol::Bgp;
    let considered = case.covering().into_iter().filter(|a| !bgp || a.nodes.matches(node));
    let each = considered.map(|a| {
        let texts = [
            mismatch("spec.serviceSelectors", a.services, service, &case.service()),
            mismatch("spec.nodeSelectors", a.nodes, node, &case.node()),
        ];
        format!("{}: {}", a.name, texts.into_iter().flatten().collect::<Vec<_>>().join(", and "))
    });
    let what = if bgp {
        format!("IPAddressPool {} and {} selects {}", case.pool_name(), case.node(), case.service())
    } else {
        format!("IPAddressPool {} selects both {} and {}", case.pool_name(), case.service(), case.node())
    };
    format!("no {} for {what}: {}", case.kind(), several(each))
}

/// Whole clauses, the first few.
fn several(clauses: impl Iterator<Item = String>) -> String {
    const MOST: usize = 4;
    let all: Vec<String> = clauses.collect();
    let mut text = all.iter().take(MOST).cloned().collect::<Vec<_>>().join("; ");
    if all.len() > MOST {
        text.push_str("; and so on");
    }
    text
}

fn conflicting(case: &Case<'_>) -> String {
    let applying = case.bgp_applying();
    let Some((a, b)) = case.pool().and_then(|pool| conflicts(&applying, pool).next()) else {
        return "two BGPAdvertisements that apply want different values".to_owned();
    };
    format!(
        "BGPAdvertisement {} ({}) and {} ({}) both apply to {} on {}, and want different values for one prefix",
        a.name,
        values(a),
        b.name,
        values(b),
        case.service(),
        case.node()
    )
}

fn values(advertisement: &BgpAdvertisement) -> String {
    let attributes = &advertisement.attributes;
    let local_pref = attributes.local_pref.map_or("unset".to_owned(), |v| v.to_string());
    let prepend = match attributes.as_path_prepend {
        0 => "unset".to_owned(),
        n => n.to_string(),
    };
    format!("localPref {local_pref}, asPathPrepend {prepend}")
}

fn no_peer(case: &Case<'_>) -> String {
    let rejected = issues(case.errors_of("BGPPeer"), true);
    let also = if rejected.is_empty() { String::new() } else { format!("; rejected: {rejected}") };
    let each = case.decisions.config.peers.iter().filter_map(|p| {
        let text = mismatch("spec.nodeSelectors", &p.nodes, &case.node.labels, &case.node())?;
        Some(format!("{}: {text}", p.name))
    });
    let each = several(each);
    if !each.is_empty() {
        return format!("no valid BGPPeer selects {}: {each}{also}", case.node());
    }
    if rejected.is_empty() {
        "there is no BGPPeer".to_owned()
    } else {
        format!("there is no valid BGPPeer{also}")
    }
}

fn family_not_carried(case: &Case<'_>) -> String {
    let Some(peer) = case.peer else { return "the session doesn't carry its family".to_owned() };
    let target = match &peer.target {
        PeerTarget::Address(address) => address.to_string(),
        PeerTarget::Interface(name) => name.to_string(),
    };
    format!(
        "the session with BGPPeer {} ({target}) carries {} only, which {} {}n't",
        peer.name,
        listed(peer.families().iter()),
        listed(case.ips),
        if case.ips.len() == 1 { "is" } else { "are" }
    )
}

fn other_owner(case: &Case<'_>) -> String {
    // Both addresses of a dual-stack service mostly have one election.
    let mut elections: Vec<(Option<Election>, Vec<IpAddr>)> = Vec::new();
    for ip in case.ips {
        let election = case.decisions.layer2_election(*ip);
        match elections.iter_mut().find(|(other, _)| *other == election) {
            Some((_, ips)) => ips.push(*ip),
            None => elections.push((election, vec![*ip])),
        }
    }
    several(elections.iter().map(|(election, ips)| owner(case, election.as_ref(), &listed(ips))))
}

fn owner(case: &Case<'_>, election: Option<&Election>, ips: &str) -> String {
    let found = election.and_then(|e| Some((e, e.owner()?)));
    let Some((election, owner)) = found else { return format!("no node can answer for {ips}") };
    let elects = if election.service == case.subject.service.key {
        String::new()
    } else {
        format!(" (Service {} elects, the first by name of those that share it)", election.service)
    };
    let how = match election.candidates.iter().find(|c| c.node == case.node.name) {
        None => format!(
            "and {} isn't a candidate, having no ready endpoint of Service {} for {}, or no advertisement",
            case.node(),
            election.service,
            election.electing
        ),
        Some(ours) if ours.score < owner.score => {
            format!(
                "since its preferredNodeSelectors score {}, those of {} {}",
                owner.score,
                case.node(),
                ours.score
            )
        }
        Some(ours) => format!(
            "since both score {}, and of the hashes of NODE#{} its {} is lower than {} of {}",
            owner.score,
            election.electing,
            short_hash(owner),
            short_hash(ours),
            case.node()
        ),
    };
    format!("Node {} answers for {ips}{elects}, {how}", owner.node)
}

/// The first four octets.
fn short_hash(candidate: &Candidate) -> String {
    candidate.hash.iter().take(4).map(|octet| format!("{octet:02x}")).collect()
}
