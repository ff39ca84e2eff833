//! `BGPAdvertisement` objects: their own rules, what they refer to, and two that want different attributes for one route.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::communities::{Aliases, Unresolved};
use super::coverage::{Coverage, covered_pools};
use super::form::{Field, Form};
use super::judge::{Judge, Verdict};
use super::nodes::NodeSet;
use super::pools::Pools;
use super::profiles::Profiles;
use super::schema::Code;
use super::{BgpAdvertisement, Peer, Pool, PoolState, Settings};
use crate::types::{Community, Family, RouteAttributes};

/// An UPDATE of MetalLB's backends carries no more on one route, both kinds together.
const MOST_COMMUNITIES: usize = 63;

/// What advertisements are judged against.
pub(super) struct Context<'a> {
    pub settings: &'a Settings,
    pub pools: &'a Pools,
    pub peers: &'a [(Peer, NodeSet)],
    /// The names of all BGPPeer objects, valid or not.
    pub peer_names: &'a BTreeSet<&'a str>,
    pub profiles: &'a Profiles,
    pub aliases: &'a Aliases,
}

/// Judges all BGP advertisements.
pub(super) fn compile(judge: &mut Judge<'_>, context: &Context<'_>) -> Vec<BgpAdvertisement> {
    let mut accepted: Vec<(BgpAdvertisement, NodeSet)> = Vec::new();
    let mut by_pool: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    judge.each("BGPAdvertisement", |form| {
        let new = read(form, context);
        check_aggregation(form, context, &new);
        check_echo(form, context, &new);
        if form.has_errors() {
            return Verdict::Rejected;
        }
        let nodes = NodeSet::matching(&context.settings.nodes, &new.nodes);
        for (index, pools) in pools_in_common(context, &by_pool, &new) {
            if let Some((older, older_nodes)) = accepted.get(index)
                && nodes.shares_with(older_nodes)
            {
                check_conflict(form, &new, older, &pools);
            }
        }
        if form.has_errors() {
            return Verdict::Rejected;
        }
        warn_of_prepend_within_as(form, context, &new, &nodes);
        for pool in &new.pools.0 {
            by_pool.entry(pool.clone()).or_default().push(accepted.len());
        }
        accepted.push((new, nodes));
        Verdict::Accepted
    });
    let mut accepted: Vec<_> = accepted.into_iter().map(|(a, _)| a).collect();
    accepted.sort_by(|a, b| a.name.cmp(&b.name));
    accepted
}

fn read(form: &mut Form<'_>, context: &Context<'_>) -> BgpAdvertisement {
    let spec = form.spec();
    let Coverage { pools, nodes, services } = covered_pools(form, context.pools);
    let peers = form.distinct_texts(&spec.get("peers"));
    for (path, peer) in peers.iter().filter(|(_, p)| !context.peer_names.contains(p)) {
        form.warning(path, format!("there is no BGPPeer {peer:?}: create it, or correct the name"));
    }
    BgpAdvertisement {
        name: form.object.key.name.as_str().into(),
        created: form.object.created,
        aggregation_length: read_length(form, &spec.get("aggregationLength"), Family::V4),
        aggregation_length_v6: read_length(form, &spec.get("aggregationLengthV6"), Family::V6),
        attributes: read_attributes(form, &spec, context.aliases),
        pools,
        nodes,
        peers: peers.into_iter().map(|(_, peer)| peer.into()).collect(),
        services,
    }
}

fn read_length(form: &mut Form<'_>, field: &Field<'_>, family: Family) -> u8 {
    let max = family.max_prefix_len();
    let Some(written) = field.integer() else { return max };
    let min = match family {
        Family::V4 => 1,
        Family::V6 => 0,
    };
    match u8::try_from(written).ok().filter(|l| (min..=max).contains(l)) {
        Some(length) => length,
        None => {
            form.error(
                &field.path,
                format!("{written} is no {family} prefix length: write one of {min} to {max}"),
            );
            max
        }
    }
}

fn read_attributes<'a>(form: &mut Form<'a>, spec: &Field<'a>, aliases: &Aliases) -> RouteAttributes {
    let mut attributes = RouteAttributes::default();
    let (local_pref, prepend) = (spec.get("localPref"), spec.get("asPathPrepend"));
    if let Some(written) = local_pref.integer() {
        match u32::try_from(written) {
            Ok(value) => attributes.local_pref = Some(value).filter(|v| *v != 0),
            Err(_) => {
                form.error(&local_pref.path, format!("{written} is out of range: write 0 to {}", u32::MAX))
            }
        }
    }
    if let Some(written) = prepend.integer() {
        match u8::try_from(written).ok().filter(|n| (1..=10).contains(n)) {
            Some(value) => attributes.as_path_prepend = value,
            None => form.error(&prepend.path, format!("{written} is out of range: write 1 to 10")),
        }
    }
    let field = spec.get("communities");
    let mut unresolved = 0usize;
    let texts = form.distinct_texts(&field);
    let has_aliases = texts.iter().any(|(_, text)| aliases.defines(text));
    for (path, text) in texts {
        match aliases.resolve(text) {
            Ok(Community::Standard(community)) => _ = attributes.communities.insert(community),
            Ok(Community::Large(community)) => _ = attributes.large_communities.insert(community),
            Err(Unresolved { problem, missing }) => {
                unresolved = unresolved.saturating_add(1);
                if missing {
                    form.missing(&path, problem);
                } else {
                    form.error(&path, problem);
                }
            }
        }
    }
    let counts = [attributes.communities.len(), attributes.large_communities.len(), unresolved];
    let count = counts.into_iter().fold(0, usize::saturating_add);
    if count > MOST_COMMUNITIES {
        let text = format!(
            "{count} communities are more than the {MOST_COMMUNITIES} that one route may have: remove some"
        );
        form.error_by(Code::TooMany, &field.path, text);
    }
    if has_aliases {
        let standard = attributes.communities.iter().copied().map(Community::Standard);
        let large = attributes.large_communities.iter().copied().map(Community::Large);
        form.write_out("communities", Some(standard.chain(large).map(|c| c.to_string()).collect()));
    }
    attributes
}

/// Its accepted pools; a frozen or invalid one never makes an advertisement an error.
fn accepted_pools<'c>(context: &'c Context<'_>, ad: &'c BgpAdvertisement) -> impl Iterator<Item = &'c Pool> {
    ad.pools.0.iter().filter_map(|name| context.pools.get(name)).filter(|p| p.state == PoolState::Accepted)
}

/// An aggregate must not reach beyond the entry that the address is from.
fn check_aggregation(form: &mut Form<'_>, context: &Context<'_>, ad: &BgpAdvertisement) {
    let lengths = [
        ("spec.aggregationLength", Family::V4, ad.aggregation_length),
        ("spec.aggregationLengthV6", Family::V6, ad.aggregation_length_v6),
    ];
    for (field, family, length) in lengths.into_iter().filter(|(_, f, l)| *l < f.max_prefix_len()) {
        for pool in accepted_pools(context, ad) {
            if let Some(shortest) = context.pools.shortest_aggregation(pool, family).filter(|s| length < *s) {
                let text = format!(
                    "/{length} is wider than an entry of the IPAddressPool {:?}: write {shortest} or more, or leave the \
                     pool out",
                    &*pool.name
                );
                form.error_by(Code::TooWide, field, text);
            }
        }
    }
}

/// MetalLB's BFD echo works for IPv4 only.
fn check_echo(form: &mut Form<'_>, context: &Context<'_>, ad: &BgpAdvertisement) {
    let Some(pool) = accepted_pools(context, ad).find(|p| p.families().v6) else { return };
    let uses_echo = |peer: &Peer| peer.bfd_profile.as_deref().is_some_and(|p| context.profiles.uses_echo(p));
    for (peer, _) in context.peers.iter().filter(|(p, _)| ad.selects_peer(&p.name) && uses_echo(p)) {
        let profile = peer.bfd_profile.as_deref().unwrap_or_default();
        let text = format!(
            "the BGPPeer {:?} uses BFD echo (BFDProfile {profile:?}), which doesn't go with IPv6, and the IPAddressPool \
             {:?} has IPv6 addresses: leave out one of them, or turn echoMode off",
            &*peer.name, &*pool.name
        );
        form.error_by(Code::Echo, "spec.peers", text);
    }
}

/// The accepted advertisements with which it has pools in common from which addresses may be announced, and those pools.
fn pools_in_common<'c>(
    context: &'c Context<'_>,
    by_pool: &BTreeMap<Arc<str>, Vec<usize>>,
    ad: &BgpAdvertisement,
) -> BTreeMap<usize, Vec<&'c Pool>> {
    let mut common: BTreeMap<usize, Vec<&Pool>> = BTreeMap::new();
    // A frozen pool's addresses are still announced.
    let pools = ad.pools.0.iter().filter_map(|name| context.pools.get(name));
    for pool in pools.filter(|p| p.state != PoolState::Invalid) {
        for index in by_pool.get(&pool.name).into_iter().flatten() {
            common.entry(*index).or_default().push(pool);
        }
    }
    common
}

/// Notes where two advertisements that share a node want different values for one prefix and peer.
fn check_conflict(form: &mut Form<'_>, new: &BgpAdvertisement, older: &BgpAdvertisement, pools: &[&Pool]) {
    let (a, b) = (&new.attributes, &older.attributes);
    let (other_pref, other_prepend) = (a.local_pref != b.local_pref, a.as_path_prepend != b.as_path_prepend);
    if !(other_pref || other_prepend) {
        return;
    }
    // What such advertisements are about depends on the service; the decisions see to them.
    if !(new.services.0.is_empty() && older.services.0.is_empty()) {
        return;
    }
    if !new.peers.is_empty() && !older.peers.is_empty() && new.peers.is_disjoint(&older.peers) {
        return;
    }
    let Some(pool) = pools.iter().find(|pool| may_share_prefix(new, older, pool)) else { return };
    let mut note = |field: &str, what: &str, ours: u32, theirs: u32| {
        let text = format!(
            "{what} {ours} conflicts with {theirs} of the older BGPAdvertisement {:?} (0: unset), which is for the \
             IPAddressPool {:?}, a node and a peer of both too: give both the same, or keep their peers, nodes or pools \
             apart",
            &*older.name, &*pool.name
        );
        form.error_by(Code::Conflict, field, text);
    };
    if other_pref {
        let (ours, theirs) = (a.local_pref.unwrap_or(0), b.local_pref.unwrap_or(0));
        note("spec.localPref", "local preference", ours, theirs);
    }
    if other_prepend {
        note("spec.asPathPrepend", "path prepending", a.as_path_prepend.into(), b.as_path_prepend.into());
    }
}

/// Whether both announce prefixes of one length for addresses of the pool: in a dual-stack pool, both lengths must differ
/// to keep them apart.
fn may_share_prefix(a: &BgpAdvertisement, b: &BgpAdvertisement, pool: &Pool) -> bool {
    let families = pool.families();
    families.v4 && a.aggregation_length == b.aggregation_length
        || families.v6 && a.aggregation_length_v6 == b.aggregation_length_v6
}

fn warn_of_prepend_within_as(
    form: &mut Form<'_>,
    context: &Context<'_>,
    ad: &BgpAdvertisement,
    nodes: &NodeSet,
) {
    if ad.attributes.as_path_prepend == 0 {
        return;
    }
    let reaches = |peer: &Peer, peer_nodes| ad.selects_peer(&peer.name) && nodes.shares_with(peer_nodes);
    let within = context.peers.iter().filter(|(p, n)| p.is_ibgp() && reaches(p, n));
    let names: Vec<&str> = within.map(|(p, _)| &*p.name).collect();
    if !names.is_empty() {
        let text = format!(
            "it does nothing towards peers in our own AS, such as {}: there the AS path stays empty",
            names.join(", ")
        );
        form.warning("spec.asPathPrepend", text);
    }
}
