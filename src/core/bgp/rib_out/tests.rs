use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::bgp::wire::{Message, Session as WireSession, Update, frame};
use crate::types::{Asn, StandardCommunity};

const A: GroupId = GroupId(1);
const B: GroupId = GroupId(2);
const ONE: SessionId = SessionId(1);

/// A peer that believes what it is sent, and minds UPDATEs that say nothing new.
#[derive(Debug, Default)]
struct Peer {
    routes: BTreeMap<IpNet, u32>,
    updates: usize,
    ends_of_rib: usize,
}

impl Peer {
    fn take(&mut self, session: &WireSession, mut input: &[u8]) {
        while let Some(frame) = frame(input, session).unwrap() {
            let Message::Update(update) = Message::decode(&frame, session).unwrap() else { panic!() };
            input = &input[frame.total_len..];
            self.updates += 1;
            self.ends_of_rib += usize::from(update.end_of_rib().is_some());
            for prefix in withdrawn(&update) {
                assert!(self.routes.remove(&prefix).is_some(), "{prefix} withdrawn, but never announced");
            }
            for prefix in announced(&update) {
                self.routes.insert(prefix, update.attributes.communities.first().map_or(0, |c| c.0));
            }
        }
        assert!(input.is_empty());
    }
}

fn withdrawn(update: &Update) -> Vec<IpNet> {
    let v4 = update.withdrawn.iter().copied().map(IpNet::from);
    v4.chain(update.mp_unreach.iter().flat_map(|unreach| unreach.prefixes.clone())).collect()
}

fn announced(update: &Update) -> Vec<IpNet> {
    let v4 = update.nlri.iter().copied().map(IpNet::from);
    v4.chain(update.mp_reach.iter().flat_map(|reach| reach.prefixes.clone())).collect()
}

fn facts(families: FamilySet) -> Facts {
    let session = WireSession { four_octet_as: true, families, ..WireSession::BEFORE_OPEN };
    let next_hops =
        PerFamily { v4: Some("10.0.0.1".parse().unwrap()), v6: Some("2001:db8::1".parse().unwrap()) };
    Facts { session, shown_asn: Asn::new(64512).unwrap(), internal: false, next_hops }
}

fn marked(community: u32) -> Arc<RouteAttributes> {
    let communities = (community != 0).then_some(StandardCommunity(community)).into_iter().collect();
    Arc::new(RouteAttributes { communities, ..RouteAttributes::default() })
}

fn v4(n: u32) -> IpNet {
    IpNet::from(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)))
}

fn v6(n: u32) -> IpNet {
    IpNet::from(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, (n >> 16) as u16, n as u16]))
}

fn drain(now: Instant, rib: &mut RibOut, id: SessionId, peer: &mut Peer) -> Filled {
    let session = rib.sessions[&id].facts.session;
    let mut out = Vec::new();
    let filled = rib.fill(now, id, &mut out, usize::MAX);
    peer.take(&session, &out);
    assert!(!rib.has_work(id));
    assert_eq!(rib.progress(id).pending, 0);
    assert_eq!(rib.fill(now, id, &mut out, usize::MAX), Filled::default());
    filled
}

fn group(rib: &RibOut, id: GroupId) -> BTreeMap<IpNet, u32> {
    let Some(group) = rib.groups.get(&id) else { return BTreeMap::new() };
    let all = group.tables.v4.iter().chain(group.tables.v6.iter());
    all.map(|(a, prefix)| (*prefix, a.shared().communities.first().map_or(0, |c| c.0))).collect()
}

fn believed(rib: &RibOut, id: SessionId) -> BTreeMap<IpNet, u32> {
    let sent = rib.sent(id);
    assert_eq!(rib.progress(id).sent, sent.len());
    let all = sent.keys().chain(rib.groups.values().flat_map(|g| g.tables.v4.prefixes()));
    assert!(all.into_iter().all(|prefix| rib.has(id, prefix) == sent.contains_key(prefix)));
    let sent = sent.into_iter();
    sent.map(|(prefix, a)| (prefix, a.communities.first().map_or(0, |c| c.0))).collect()
}

#[test]
fn a_dump_is_as_few_updates_as_fit() {
    let now = Instant::now();
    let mut rib = RibOut::default();
    rib.replace(now, A, (0..10_000).map(|n| (v4(n), marked(0))));
    rib.attach(ONE, A, facts(FamilySet::only(Family::V4)));
    let mut peer = Peer::default();
    let filled = drain(now, &mut rib, ONE, &mut peer);
    assert_eq!((filled.updates, filled.announced), (14, 10_000));
    assert_eq!((peer.routes.len(), peer.ends_of_rib), (10_000, 1));

    // In pieces, the same: a session that can write little at a time sends no more UPDATEs.
    rib.attach(ONE, A, facts(FamilySet::only(Family::V4)));
    let mut peer = Peer::default();
    while rib.has_work(ONE) {
        let mut out = Vec::new();
        rib.fill(now, ONE, &mut out, 1);
        peer.take(&facts(FamilySet::BOTH).session, &out);
    }
    assert_eq!((peer.updates, peer.routes.len()), (14, 10_000));

    // 236 IPv6 prefixes fit into one.
    rib.replace(now, A, (0..472).map(|n| (v6(n), marked(0))).chain([(v4(1), marked(1)), (v4(2), marked(2))]));
    rib.attach(ONE, A, facts(FamilySet::BOTH));
    let mut peer = Peer::default();
    drain(now, &mut rib, ONE, &mut peer);
    assert_eq!((peer.updates, peer.ends_of_rib), (2 + 2 + 2, 2));
    rib.replace(now, A, []);
    drain(now, &mut rib, ONE, &mut peer);
    assert_eq!((peer.updates, peer.routes.len()), (6 + 3, 0));
}

#[test]
fn what_cancels_out_is_never_sent() {
    let now = Instant::now();
    let mut rib = RibOut::default();
    rib.replace(now, A, (0..100).map(|n| (v4(n), marked(0))));
    rib.attach(ONE, A, facts(FamilySet::BOTH));
    let mut peer = Peer::default();
    drain(now, &mut rib, ONE, &mut peer);
    let before = peer.updates;
    rib.set(now, A, v4(1), None);
    rib.set(now, A, v4(1), Some(&marked(0)));
    rib.set(now, A, v4(2), Some(&marked(7)));
    rib.set(now, A, v4(2), Some(&marked(0)));
    rib.set(now, A, v4(200), Some(&marked(0)));
    rib.set(now, A, v4(200), None);
    rib.replace(now, A, (0..100).map(|n| (v4(n), marked(0))));
    rib.replace(now, B, (0..100).map(|n| (v4(n), marked(0))));
    rib.change_group(ONE, B);
    assert!(!rib.has_work(ONE));
    assert!(!rib.groups[&A].members.contains(&ONE));
    // Of two changes to different prefixes with the same attributes, one UPDATE.
    rib.set(now, B, v4(3), Some(&marked(9)));
    rib.set(now, B, v4(4), Some(&marked(9)));
    drain(now, &mut rib, ONE, &mut peer);
    assert_eq!(peer.updates, before + 1);
}

#[test]
fn attributes_that_fit_nowhere_leave_their_route_out() {
    let now = Instant::now();
    let mut rib = RibOut::default();
    let communities = (0..2000).map(StandardCommunity).collect();
    let huge = Arc::new(RouteAttributes { communities, ..RouteAttributes::default() });
    rib.set(now, A, v4(1), Some(&huge));
    rib.set(now, A, v4(2), Some(&marked(0)));
    rib.attach(ONE, A, facts(FamilySet::BOTH));
    let mut peer = Peer::default();
    assert_eq!(drain(now, &mut rib, ONE, &mut peer).refused, 1);
    assert_eq!(peer.routes, [(v4(2), 0)].into());
    rib.set(now, A, v4(2), Some(&huge));
    let mut out = Vec::new();
    rib.fill(now, ONE, &mut out, usize::MAX);
    peer.take(&facts(FamilySet::BOTH).session, &out);
    drain(now, &mut rib, ONE, &mut peer);
    assert_eq!((peer.routes.len(), believed(&rib, ONE).len()), (0, 0));
    rib.set(now, A, v4(1), Some(&marked(1)));
    drain(now, &mut rib, ONE, &mut peer);
    assert_eq!(peer.routes, [(v4(1), 1)].into());
}

#[test]
fn attributes_are_resolved_for_the_session() {
    let now = Instant::now();
    let asked = RouteAttributes {
        local_pref: Some(0),
        as_path_prepend: 2,
        communities: [StandardCommunity(7)].into(),
        ..RouteAttributes::default()
    };
    let sent = |internal, asked: &RouteAttributes| {
        let mut rib = RibOut::default();
        rib.set(now, A, v4(1), Some(&Arc::new(asked.clone())));
        rib.attach(ONE, A, Facts { internal, ..facts(FamilySet::only(Family::V4)) });
        let mut out = Vec::new();
        rib.fill(now, ONE, &mut out, 1);
        let session = facts(FamilySet::BOTH).session;
        let frame = frame(&out, &session).unwrap().unwrap();
        let Message::Update(update) = Message::decode(&frame, &session).unwrap() else { panic!() };
        update.attributes
    };
    let external = sent(false, &asked);
    let path = external.as_path.unwrap();
    assert_eq!(path.segments.iter().map(|segment| segment.numbers.len()).sum::<usize>(), 3);
    assert_eq!((external.local_pref, external.med), (None, Some(0)));
    let internal = sent(true, &asked);
    assert!(internal.as_path.unwrap().segments.is_empty());
    assert_eq!((internal.local_pref, internal.communities.len()), (Some(100), 1));
    assert_eq!(sent(true, &RouteAttributes { local_pref: Some(7), ..asked }).local_pref, Some(7));
}

/// Lets time pass in steps of its timers; gives the announcements that came on the way, with their times.
fn pass(rib: &mut RibOut, now: &mut Instant, time: Duration, peer: &mut Peer) -> Vec<(Duration, usize)> {
    let (start, end) = (*now, *now + time);
    let mut seen = Vec::new();
    while let Some(next) = rib.next_timeout().filter(|next| *next <= end) {
        *now = next.max(*now);
        rib.handle_timeout(*now);
        let filled = drain(*now, rib, ONE, peer);
        if filled != Filled::default() {
            seen.push((*now - start, filled.announced));
        }
    }
    *now = end;
    seen
}

#[test]
fn a_prefix_that_flaps_is_announced_once_a_second_with_its_latest_state() {
    let mut now = Instant::now();
    let millis = Duration::from_millis;
    let mut rib = RibOut::default();
    rib.replace(now, A, (0..10).map(|n| (v4(n), marked(0))));
    rib.attach(ONE, A, facts(FamilySet::only(Family::V4)));
    let mut peer = Peer::default();
    drain(now, &mut rib, ONE, &mut peer);
    assert_eq!(rib.next_timeout(), None);

    // The first change goes at once, also right after the dump; what is undone before it was written, with it.
    rib.set(now, A, v4(1), Some(&marked(8)));
    rib.set(now, A, v4(1), Some(&marked(1)));
    assert_eq!(drain(now, &mut rib, ONE, &mut peer).announced, 1);
    now += millis(300);
    rib.set(now, A, v4(1), Some(&marked(2)));
    // Neither other prefixes nor withdrawals nor a dump wait.
    rib.set(now, A, v4(2), Some(&marked(2)));
    rib.set(now, A, v4(3), None);
    let filled = drain(now, &mut rib, ONE, &mut peer);
    assert_eq!((filled.announced, filled.withdrawn), (1, 1));
    rib.refresh(ONE, Family::V4);
    assert_eq!(drain(now, &mut rib, ONE, &mut peer).announced, 9);
    now += millis(300);
    rib.set(now, A, v4(1), Some(&marked(3)));
    assert_eq!(pass(&mut rib, &mut now, millis(399), &mut peer), []);
    assert_eq!(peer.routes[&v4(1)], 1);
    assert_eq!(pass(&mut rib, &mut now, millis(100), &mut peer), [(millis(1), 1)]);
    assert_eq!(peer.routes[&v4(1)], 3);

    // A withdrawal takes what waits with it; the return waits from the last announcement on.
    rib.set(now, A, v4(1), Some(&marked(4)));
    rib.set(now, A, v4(1), None);
    assert_eq!(drain(now, &mut rib, ONE, &mut peer).withdrawn, 1);
    rib.set(now, A, v4(1), Some(&marked(4)));
    assert_eq!(drain(now, &mut rib, ONE, &mut peer), Filled::default());
    // What isn't asked for again doesn't come back.
    rib.replace(now, A, [(v4(2), marked(2))]);
    drain(now, &mut rib, ONE, &mut peer);
    assert_eq!(pass(&mut rib, &mut now, millis(5000), &mut peer), []);
    assert_eq!(peer.routes, [(v4(2), 2)].into());

    // Ten changes a second for ten seconds are ten announcements, and nothing is left of them.
    let before = peer.updates;
    for n in 0..100 {
        rib.set(now, A, v4(1), Some(&marked(100 + n)));
        drain(now, &mut rib, ONE, &mut peer);
        pass(&mut rib, &mut now, millis(100), &mut peer);
    }
    // That of the last moment included.
    assert_eq!(peer.updates - before, 11);
    pass(&mut rib, &mut now, millis(2000), &mut peer);
    assert_eq!((peer.updates - before, peer.routes[&v4(1)]), (11, 199));
    assert_eq!(rib.next_timeout(), None);
    assert_eq!(rib.groups[&A].damping.v4.len(), 0);
}

#[test]
fn damping_remembers_a_second_and_nobody_waits_where_nobody_listens() {
    let mut now = Instant::now();
    let mut rib = RibOut::default();
    rib.attach(ONE, A, facts(FamilySet::only(Family::V4)));
    let mut peer = Peer::default();
    drain(now, &mut rib, ONE, &mut peer);
    // 100 new prefixes a second: no more than those of two seconds are remembered.
    for n in 0..2000 {
        rib.set(now, A, v4(n), Some(&marked(0)));
        drain(now, &mut rib, ONE, &mut peer);
        now += Duration::from_millis(10);
        rib.handle_timeout(now);
        assert!(rib.groups[&A].damping.v4.len() <= 202);
    }
    // A peer that doesn't read keeps nothing waiting: what it wasn't sent isn't announced.
    rib.set(now, A, v4(1), Some(&marked(1)));
    rib.set(now, A, v4(1), Some(&marked(2)));
    assert_eq!(rib.groups[&A].tables.v4.get(&v4(1)).unwrap().shared(), &marked(2));
    drain(now, &mut rib, ONE, &mut peer);
    rib.set(now, A, v4(1), Some(&marked(3)));
    assert_eq!(rib.groups[&A].tables.v4.get(&v4(1)).unwrap().shared(), &marked(2));
    // The last one has gone: who comes next gets the latest.
    rib.detach(ONE);
    assert_eq!(rib.groups[&A].tables.v4.get(&v4(1)).unwrap().shared(), &marked(3));
    assert_eq!(rib.next_timeout(), None);
}

#[test]
fn memory_comes_back_once_all_is_written() {
    let mut now = Instant::now();
    let mut rib = RibOut::default();
    rib.replace(now, A, (0..5000).map(|n| (v4(n), marked(0))));
    rib.attach(ONE, A, facts(FamilySet::only(Family::V4)));
    let mut peer = Peer::default();
    drain(now, &mut rib, ONE, &mut peer);
    let kept = |rib: &RibOut| rib.sessions[&ONE].pending.v4.room();
    for n in 0..5000 {
        rib.set(now, A, v4(n), Some(&marked(n % 7)));
    }
    assert!(kept(&rib) > 4000);
    drain(now, &mut rib, ONE, &mut peer);
    assert!(kept(&rib) < 600);
    rib.replace(now, A, []);
    assert!(kept(&rib) > 4000);
    drain(now, &mut rib, ONE, &mut peer);
    assert!(kept(&rib) < 600);
    pass(&mut rib, &mut now, Duration::from_secs(2), &mut peer);
    assert_eq!(rib.groups[&A].damping.v4.len(), 0);
}

#[derive(Clone, Debug)]
enum Edit {
    Set { group: GroupId, prefix: IpNet, community: u32 },
    Remove { group: GroupId, prefix: IpNet },
    Replace { group: GroupId, routes: Vec<(IpNet, u32)> },
    Drop { group: GroupId },
    Attach { id: u32, group: GroupId, families: FamilySet },
    Detach { id: u32 },
    ChangeGroup { id: u32, group: GroupId },
    NextHop { id: u32, last: Option<u8> },
    Refresh { id: u32, family: Family },
    Fill { id: u32, budget: usize },
    Wait { millis: u64 },
}

fn edits() -> impl Strategy<Value = Edit> {
    let group = || prop_oneof![Just(A), Just(B)];
    let prefix = || prop_oneof![(0..40_u32).prop_map(v4), (0..40_u32).prop_map(v6)];
    let family = || prop_oneof![Just(Family::V4), Just(Family::V6)];
    let families = prop_oneof![
        Just(FamilySet::BOTH),
        Just(FamilySet::only(Family::V4)),
        Just(FamilySet::only(Family::V6))
    ];
    let id = || 0..3_u32;
    prop_oneof![
        8 => (group(), prefix(), 0..4_u32)
            .prop_map(|(group, prefix, community)| Edit::Set { group, prefix, community }),
        4 => (group(), prefix()).prop_map(|(group, prefix)| Edit::Remove { group, prefix }),
        2 => (group(), prop::collection::vec((prefix(), 0..4_u32), 0..30))
            .prop_map(|(group, routes)| Edit::Replace { group, routes }),
        1 => group().prop_map(|group| Edit::Drop { group }),
        2 => (id(), group(), families).prop_map(|(id, group, families)| Edit::Attach { id, group, families }),
        1 => id().prop_map(|id| Edit::Detach { id }),
        2 => (id(), group()).prop_map(|(id, group)| Edit::ChangeGroup { id, group }),
        2 => (id(), prop::option::of(0..3_u8)).prop_map(|(id, last)| Edit::NextHop { id, last }),
        2 => (id(), family()).prop_map(|(id, family)| Edit::Refresh { id, family }),
        8 => (id(), 1..300_usize).prop_map(|(id, budget)| Edit::Fill { id, budget }),
        4 => (1..1_500_u64).prop_map(|millis| Edit::Wait { millis }),
    ]
}

/// What the groups are to have in the end.
fn note(asked: &mut BTreeMap<GroupId, BTreeMap<IpNet, u32>>, edit: &Edit) {
    match edit {
        Edit::Set { group, prefix, community } => {
            asked.entry(*group).or_default().insert(*prefix, *community);
        }
        Edit::Remove { group, prefix } => {
            asked.entry(*group).or_default().remove(prefix);
        }
        Edit::Replace { group, routes } => {
            asked.insert(*group, routes.iter().copied().collect());
        }
        Edit::Drop { group } => {
            asked.remove(group);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is edited, and however little is written at a time: at rest each peer has its group's routes in the families
    /// that it can have, nothing was withdrawn that wasn't there, and `sent` is what the peer has at every step.
    #[test]
    fn a_peers_table_becomes_its_groups(edits in prop::collection::vec(edits(), 1..120)) {
        let mut now = Instant::now();
        let mut rib = RibOut::default();
        let mut asked: BTreeMap<GroupId, BTreeMap<IpNet, u32>> = BTreeMap::new();
        let mut peers: BTreeMap<SessionId, Peer> = BTreeMap::new();
        for edit in edits {
            note(&mut asked, &edit);
            match edit {
                Edit::Wait { millis } => {
                    now += Duration::from_millis(millis);
                    rib.handle_timeout(now);
                }
                Edit::Set { group, prefix, community } => rib.set(now, group, prefix, Some(&marked(community))),
                Edit::Remove { group, prefix } => rib.set(now, group, prefix, None),
                Edit::Replace { group, routes } => {
                    rib.replace(now, group, routes.into_iter().map(|(prefix, c)| (prefix, marked(c))));
                }
                Edit::Drop { group } => rib.drop_group(now, group),
                Edit::Attach { id, group, families } => {
                    rib.attach(SessionId(id), group, facts(families));
                    peers.insert(SessionId(id), Peer::default());
                }
                Edit::Detach { id } => {
                    rib.detach(SessionId(id));
                    peers.remove(&SessionId(id));
                }
                Edit::ChangeGroup { id, group } => rib.change_group(SessionId(id), group),
                Edit::NextHop { id, last } => {
                    let next_hop = last.map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::from(last)]));
                    rib.set_next_hop(SessionId(id), Family::V6, next_hop);
                }
                Edit::Refresh { id, family } => rib.refresh(SessionId(id), family),
                Edit::Fill { id, budget } => {
                    if let Some(peer) = peers.get_mut(&SessionId(id)) {
                        let mut out = Vec::new();
                        rib.fill(now, SessionId(id), &mut out, budget);
                        peer.take(&rib.sessions[&SessionId(id)].facts.session, &out);
                    }
                }
            }
            for (id, peer) in &peers {
                prop_assert_eq!(&believed(&rib, *id), &peer.routes);
            }
        }
        while let Some(next) = rib.next_timeout() {
            now = now.max(next);
            rib.handle_timeout(now);
            for (id, peer) in &mut peers {
                drain(now, &mut rib, *id, peer);
            }
        }
        for (id, peer) in &mut peers {
            drain(now, &mut rib, *id, peer);
            let session = &rib.sessions[id];
            let mut wanted = group(&rib, session.group);
            prop_assert_eq!(&wanted, &asked.remove(&session.group).unwrap_or_default());
            asked.insert(session.group, wanted.clone());
            wanted.retain(|prefix, _| session.facts.carries(Family::of(prefix.addr())));
            prop_assert_eq!(&peer.routes, &wanted);
            prop_assert_eq!(peer.ends_of_rib, session.facts.session.families.len());
            for family in Family::ALL {
                let pending = session.pending.get(family);
                prop_assert!(pending.is_at_rest(), "{:?}", pending);
            }
        }
    }
}
