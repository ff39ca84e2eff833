//! `BGPPeer` objects: their own rules, what they refer to, and two peers at one place on one node.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_api::duration::parse_go_duration;

use super::addresses::{ADDRESS_REMEDY, parse_address};
use super::form::{Field, Form};
use super::judge::{Judge, Verdict};
use super::nodes::NodeSet;
use super::profiles::Profiles;
use super::schema::Code;
use super::{Peer, PeerTarget, Settings, selectors};
use crate::types::{Asn, Password, RemoteAs, RouterId};
use crate::world::World;

const DEFAULT_PORT: u16 = 179;
const LONGEST_PASSWORD: usize = 80;
/// The hold time is 16 bits on the wire (RFC 4271 section 4.2).
const LONGEST_HOLD_TIME_S: i128 = 65535;
const NANOSECONDS: i128 = 1_000_000_000;

/// Judges all peers. The node set is that of the peer's selectors.
pub(super) fn compile(
    judge: &mut Judge<'_>,
    world: &World,
    settings: &Settings,
    profiles: &Profiles,
) -> Vec<(Peer, NodeSet)> {
    let mut peers: Vec<(Peer, NodeSet)> = Vec::new();
    let mut by_place: HashMap<(PeerTarget, Option<Arc<str>>), Vec<usize>> = HashMap::new();
    judge.each("BGPPeer", |form| {
        let peer = read_peer(form, world, &settings.system_namespace, profiles);
        let Some(peer) = peer.filter(|_| !form.has_errors()) else { return Verdict::Rejected };
        let nodes = NodeSet::matching(&settings.nodes, &peer.nodes);
        let same_place = by_place.entry((peer.target.clone(), peer.vrf.clone())).or_default();
        for (older, older_nodes) in same_place.iter().filter_map(|i| peers.get(*i)) {
            // Without known nodes they may share one.
            if settings.nodes.is_empty() || nodes.shares_with(older_nodes) {
                note_same_place(form, &peer, older);
            }
        }
        if form.has_errors() {
            return Verdict::Rejected;
        }
        same_place.push(peers.len());
        peers.push((peer, nodes));
        Verdict::Accepted
    });
    peers.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    peers
}

fn note_same_place(form: &mut Form<'_>, peer: &Peer, older: &Peer) {
    let (field, place) = match &peer.target {
        PeerTarget::Address(address) => ("spec.peerAddress", address.to_string()),
        PeerTarget::Interface(name) => ("spec.interface", name.to_string()),
    };
    let text = format!(
        "the older BGPPeer {:?} is at {place} too, in the same VRF and on a node of both: remove one of them, or keep \
         them apart with nodeSelectors",
        &*older.name
    );
    form.error_by(Code::SamePlace, field, text);
}

/// `None` where something is missing without which there is no peer; the form says what.
fn read_peer(
    form: &mut Form<'_>,
    world: &World,
    system_namespace: &str,
    profiles: &Profiles,
) -> Option<Peer> {
    let spec = form.spec();
    let my_asn = read_my_asn(form, &spec);
    let remote_as = read_remote_as(form, &spec);
    let target = read_target(form, &spec);
    let timers = read_timers(form, &spec);
    let local_asn = asn(&spec.get("localASN"));
    let router_id = read_router_id(form, &spec);
    let source_address = read_source_address(form, &spec, target.as_ref());
    let nodes = selectors::any_of(form, &spec.get("nodeSelectors"));
    let password = read_password(form, &spec, world, system_namespace);
    let bfd_profile = read_bfd_profile(form, &spec, profiles);
    let vrf = read_line(form, &spec.get("vrf"));
    let connect_time = read_connect_time(form, &spec);
    let ebgp_multi_hop = spec.get("ebgpMultiHop");
    if ebgp_multi_hop.boolean() == Some(true)
        && let (Some(ours), Some(RemoteAs::Number(theirs))) = (my_asn, remote_as)
        && ours == theirs
    {
        let text = "peerASN equals myASN, and only eBGP sessions are multihop this way: remove it, since an iBGP peer may \
                    be any number of hops away";
        form.error(&ebgp_multi_hop.path, text);
    }
    let graceful_restart = spec.get("enableGracefulRestart");
    warn_of_unbuilt(form, &spec);
    Some(Peer {
        name: form.object.key.name.as_str().into(),
        created: form.object.created,
        target: target?,
        // 0 is unset: v1beta1 has no default, and v1beta2 refuses it.
        port: spec
            .get("peerPort")
            .integer()
            .and_then(|p| p.try_into().ok())
            .filter(|p| *p != 0)
            .unwrap_or(DEFAULT_PORT),
        my_asn: my_asn?,
        local_asn,
        remote_as: remote_as?,
        source_address,
        hold_time: timers.hold_time,
        keepalive_time: timers.keepalive_time,
        connect_time,
        router_id,
        nodes,
        password,
        bfd_profile,
        graceful_restart: graceful_restart.boolean().unwrap_or(false),
        ebgp_multi_hop: ebgp_multi_hop.boolean().unwrap_or(false),
        vrf,
        dual_stack_address_family: spec.get("dualStackAddressFamily").boolean().unwrap_or(false),
    })
}

fn asn(field: &Field<'_>) -> Option<Asn> {
    field.integer().and_then(|n| u32::try_from(n).ok()).and_then(Asn::new)
}

fn read_my_asn(form: &mut Form<'_>, spec: &Field<'_>) -> Option<Asn> {
    let field = spec.get("myASN");
    let value = asn(&field);
    if value.is_none() {
        form.error(&field.path, "our AS number is missing or out of range: write one of 1 to 4294967295");
    }
    value
}

fn read_remote_as(form: &mut Form<'_>, spec: &Field<'_>) -> Option<RemoteAs> {
    let (number, dynamic) = (spec.get("peerASN"), spec.get("dynamicASN"));
    let fixed = asn(&number);
    let kind = match dynamic.nonempty() {
        None => None,
        Some("internal") => Some(RemoteAs::Internal),
        Some("external") => Some(RemoteAs::External),
        Some(other) => {
            form.error(&dynamic.path, format!("{other:?} isn't known: write internal or external"));
            return None;
        }
    };
    match (fixed, kind) {
        (Some(asn), None) => Some(RemoteAs::Number(asn)),
        (None, Some(kind)) => Some(kind),
        (Some(_), Some(_)) => {
            form.error(&dynamic.path, "peerASN is set too: remove one of the two");
            None
        }
        (None, None) => {
            form.error(&number.path, "the peer's AS number is missing: set peerASN, or dynamicASN");
            None
        }
    }
}

fn read_target(form: &mut Form<'_>, spec: &Field<'_>) -> Option<PeerTarget> {
    let (address, interface) = (spec.get("peerAddress"), spec.get("interface"));
    let by_name = read_line(form, &interface).map(PeerTarget::Interface);
    let by_address = read_address(form, &address).map(PeerTarget::Address);
    match (address.nonempty(), interface.nonempty()) {
        (Some(_), Some(_)) => {
            form.error(&interface.path, "peerAddress is set too: remove one of the two");
            None
        }
        (None, None) => {
            form.error(&address.path, "where the peer is isn't said: set peerAddress, or interface");
            None
        }
        (Some(_), None) => by_address,
        (None, Some(_)) => by_name,
    }
}

/// An address; `None` where it is unset, and where it can't be read, which the form says.
fn read_address(form: &mut Form<'_>, field: &Field<'_>) -> Option<IpAddr> {
    let text = field.nonempty()?;
    let address = parse_address(text);
    if address.is_none() {
        form.error(&field.path, format!("{text:?} is no address: {ADDRESS_REMEDY}"));
    }
    address
}

/// Text of one line; empty is unset.
fn read_line(form: &mut Form<'_>, field: &Field<'_>) -> Option<Arc<str>> {
    let text = field.nonempty()?;
    if text.contains(['\n', '\r']) {
        form.error(&field.path, "it has a line break: remove it");
    }
    Some(text.into())
}

fn read_source_address(form: &mut Form<'_>, spec: &Field<'_>, target: Option<&PeerTarget>) -> Option<IpAddr> {
    let field = spec.get("sourceAddress");
    let source = read_address(form, &field)?;
    if let Some(PeerTarget::Address(peer)) = target
        && peer.is_ipv4() != source.is_ipv4()
    {
        form.warning(
            &field.path,
            "it is of another family than peerAddress, so that no session comes up: correct one of them",
        );
    }
    Some(source)
}

fn read_router_id(form: &mut Form<'_>, spec: &Field<'_>) -> Option<RouterId> {
    let field = spec.get("routerID");
    let id = match read_address(form, &field)? {
        IpAddr::V4(v4) => RouterId::new(v4),
        IpAddr::V6(_) => None,
    };
    if id.is_none() {
        let text = "a router ID is written as an IPv4 address other than 0.0.0.0: until it is corrected, the session \
                    chooses its own";
        form.warning(&field.path, text);
    }
    id
}

#[derive(Default)]
struct Timers {
    hold_time: Option<u16>,
    keepalive_time: Option<Duration>,
}

/// The rules are about nanoseconds; what the session uses is whole seconds of hold time.
fn read_timers(form: &mut Form<'_>, spec: &Field<'_>) -> Timers {
    let (hold_field, keepalive_field) = (spec.get("holdTime"), spec.get("keepaliveTime"));
    let hold = read_duration(form, &hold_field);
    let keepalive = read_duration(form, &keepalive_field);
    let (hold_ns, field) = match (hold, keepalive) {
        (Some(hold), _) => (hold, &hold_field.path),
        // A hold time that can't be read isn't derived either.
        (None, Some(keepalive)) if !hold_field.is_set() => {
            (keepalive.saturating_mul(3), &keepalive_field.path)
        }
        _ => return Timers::default(),
    };
    let seconds = hold_ns / NANOSECONDS;
    let name = if hold.is_some() { "the hold time" } else { "the hold time, three times keepaliveTime," };
    if hold_ns < 0 || (1..3).contains(&seconds) {
        form.error(field, format!("{name} has to be 0s, or 3s and more: correct it"));
    } else if seconds > LONGEST_HOLD_TIME_S {
        form.error(field, format!("{name} is above 65535s, which is the longest there is: shorten it"));
    }
    if let Some(keepalive) = keepalive {
        if keepalive < 0 {
            form.error(&keepalive_field.path, "it is negative: write 0s or more");
        } else if keepalive > hold_ns && hold_ns >= 0 {
            form.error(
                &keepalive_field.path,
                "it is longer than the hold time: shorten it to a third of that",
            );
        }
    }
    // No keepalives at all would end every session that has a hold time; 0 leaves the interval to the session.
    let explicit = keepalive.filter(|k| *k > 0).map(|k| k.min(seconds.saturating_mul(NANOSECONDS)));
    let milliseconds = explicit.and_then(|k| u64::try_from(k / 1_000_000).ok());
    Timers {
        hold_time: u16::try_from(seconds).ok(),
        keepalive_time: milliseconds.filter(|ms| *ms > 0).map(Duration::from_millis),
    }
}

/// A Go duration in nanoseconds; `None` where it is unset, and where it can't be read, which the form says.
fn read_duration(form: &mut Form<'_>, field: &Field<'_>) -> Option<i128> {
    let text = field.text()?;
    match parse_go_duration(text) {
        Ok(nanoseconds) => Some(nanoseconds.into()),
        Err(problem) => {
            form.error(&field.path, problem);
            None
        }
    }
}

fn read_connect_time(form: &mut Form<'_>, spec: &Field<'_>) -> Option<Duration> {
    let field = spec.get("connectTime");
    let nanoseconds = read_duration(form, &field)?;
    let seconds = u64::try_from(nanoseconds / NANOSECONDS).ok().filter(|s| (1..=65535).contains(s));
    let seconds = seconds.filter(|_| nanoseconds % NANOSECONDS == 0);
    if seconds.is_none() {
        form.error(&field.path, "it has to be whole seconds from 1s to 65535s: correct it");
    }
    seconds.map(Duration::from_secs)
}

fn read_bfd_profile(form: &mut Form<'_>, spec: &Field<'_>, profiles: &Profiles) -> Option<Arc<str>> {
    let field = spec.get("bfdProfile");
    let name = field.nonempty()?;
    if !profiles.has(name) {
        let text =
            format!("there is no valid BFDProfile {name:?}: create or correct it, or remove the reference");
        form.missing(&field.path, text);
    }
    Some(name.into())
}

/// No message of these says anything of the password itself.
fn read_password(
    form: &mut Form<'_>,
    spec: &Field<'_>,
    world: &World,
    system_namespace: &str,
) -> Option<Password> {
    let (inline, reference) = (spec.get("password"), spec.get("passwordSecret"));
    let (name, namespace) = (reference.get("name"), reference.get("namespace"));
    let password = inline.nonempty().map(str::as_bytes);
    if let (true, Some(remembered), Some(name)) = (form.was_valid, password, name.nonempty()) {
        // What the Secret said when the form was valid, for as long as it says nothing better.
        let secret = world.secret(system_namespace, name).filter(|s| s.type_ == "kubernetes.io/basic-auth");
        let current = secret.and_then(|s| s.password.as_deref());
        let current = current.filter(|p| !p.is_empty() && flaws(p).next().is_none());
        return Some(Password::new(current.unwrap_or(remembered)));
    }
    if let Some(password) = password {
        check_password(form, &inline.path, password);
        if name.nonempty().is_some() || namespace.nonempty().is_some() {
            form.error(&reference.path, "password is set too: remove one of the two");
        }
        return Some(Password::new(password));
    }
    let Some(name) = name.nonempty() else {
        if namespace.nonempty().is_some() {
            form.warning(
                &reference.path,
                "it has no name, so that the session runs without a password: add the name",
            );
        }
        return None;
    };
    if form.trusting {
        return None;
    }
    let Some(secret) = world.secret(system_namespace, name) else {
        let text =
            format!("there is no Secret {name:?} in the namespace {system_namespace:?}: create it there");
        form.error(&reference.path, text);
        return None;
    };
    if secret.type_ != "kubernetes.io/basic-auth" {
        let text = format!(
            "the Secret {name:?} isn't of type kubernetes.io/basic-auth: create it anew with that type"
        );
        form.error(&reference.path, text);
    }
    let Some(password) = secret.password.as_deref() else {
        form.error(&reference.path, format!("the Secret {name:?} has no key \"password\": add it"));
        return None;
    };
    if password.is_empty() {
        let text = format!(
            "the password in the Secret {name:?} is empty, so that the session runs without one: fill it in"
        );
        form.warning(&reference.path, text);
        form.write_out("passwordSecret", None);
        return None;
    }
    check_password(form, &reference.path, password);
    // No JSON could hold another password.
    if let Ok(text) = std::str::from_utf8(password) {
        form.write_out("password", Some(text.into()));
    }
    Some(Password::new(password))
}

fn check_password(form: &mut Form<'_>, field: &str, password: &[u8]) {
    flaws(password).for_each(|flaw| form.error(field, flaw));
}

/// Why a password can't be one.
fn flaws(password: &[u8]) -> impl Iterator<Item = &'static str> {
    let broken = password.iter().any(|b| matches!(b, b'\n' | b'\r'));
    let flaws = [
        (broken, "the password has a line break, often one at its end: remove it"),
        (
            password.len() > LONGEST_PASSWORD,
            "the password is longer than the 80 octets that TCP MD5 takes: shorten it",
        ),
    ];
    flaws.into_iter().filter_map(|(is_so, text)| is_so.then_some(text))
}

fn warn_of_unbuilt(form: &mut Form<'_>, spec: &Field<'_>) {
    let bfd = spec.get("bfdProfile");
    if bfd.nonempty().is_some() {
        form.warning(
            &bfd.path,
            "BFD isn't built yet: the session runs without it, and its hold time finds failures",
        );
    }
    let graceful_restart = spec.get("enableGracefulRestart");
    if graceful_restart.boolean() == Some(true) {
        form.warning(&graceful_restart.path, "graceful restart isn't built yet: the session runs without it");
    }
    let interface = spec.get("interface");
    if interface.nonempty().is_some() {
        form.warning(&interface.path, "unnumbered sessions aren't built yet: this peer isn't dialled");
    }
    let vrf = spec.get("vrf");
    if vrf.nonempty().is_some() {
        form.warning(&vrf.path, "VRFs aren't built yet: this peer isn't dialled");
    }
    let disable_mp = spec.get("disableMP");
    if disable_mp.boolean() == Some(true) {
        form.warning(&disable_mp.path, "it is deprecated and does nothing: remove it");
    }
}
