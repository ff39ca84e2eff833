//! The outgoing RIB: what peers are to have, what each has, and the UPDATEs in between.
//!
//! Peers that get the same routes share a **group**: one table of prefixes and attribute sets, whatever the number of peers.
//! What differs from peer to peer (next hop, AS width, message size, families) belongs to the **session** and is worked
//! in when its UPDATEs are encoded, which happens when its socket can be written ([`RibOut::fill`]). A session holds
//! no messages and no table, only what it still has to be sent (see `pending`). So a peer that reads slowly costs
//! bounded memory, and what changes several times meanwhile is sent once.
//!
//! Memory (`examples/rib_memory.rs`): some 90 octets a route and group, nothing a session at rest, and at most some 100
//! octets a session for each route that has changed and that its peer hasn't been sent; it is given back after.
//!
//! A prefix that flaps is damped for its group (see `damping`); the owner calls [`RibOut::handle_timeout`] when
//! [`RibOut::next_timeout`] says so.
//!
//! Order: withdrawals before announcements; changes before the rest of a dump; routes with equal attributes together, in
//! as few UPDATEs as they fit into; End-of-RIB (RFC 4724 section 2) of each negotiated family once everything
//! else has been sent.
//!
//! What this doesn't do: keep sessions (see `fsm`), choose next hops (see `local`), write sockets.

mod damping;
mod pending;
mod resolve;
mod table;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use self::damping::Damping;
use self::pending::Pending;
use self::table::{Attributes, Interner, Table};
use super::wire;
use crate::types::{Family, FamilySet, GroupId, RouteAttributes};

pub use resolve::{Facts, PerFamily};

/// Names a session that is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// What [`RibOut::fill`] has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// UPDATEs, End-of-RIBs included.
    pub updates: usize,
    /// Prefixes announced.
    pub announced: usize,
    /// Prefixes withdrawn.
    pub withdrawn: usize,
    /// Prefixes left out, since their attributes don't fit into a message.
    pub refused: usize,
    /// The families whose End-of-RIB is among it.
    pub end_of_rib: FamilySet,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Prefixes that the peer has been sent and still has.
    pub sent: usize,
    /// Prefixes that have still to be announced or withdrawn, or announced once more.
    pub pending: usize,
}

/// The outgoing RIB of all sessions.
#[derive(Debug, Default)]
pub struct RibOut {
    interner: Interner,
    groups: HashMap<GroupId, Group>,
    sessions: BTreeMap<SessionId, Session>,
}

#[derive(Debug, Default)]
struct Group {
    tables: PerFamily<Table>,
    damping: PerFamily<Damping>,
    members: BTreeSet<SessionId>,
}

#[derive(Debug)]
struct Session {
    group: GroupId,
    facts: Facts,
    pending: PerFamily<Pending>,
    /// The families whose End-of-RIB is still to come.
    end_of_rib: FamilySet,
}

impl RibOut {
    /// Sets one route of a group, or removes it. The host bits of `prefix` don't count. A route that flaps may be set later.
    pub fn set(
        &mut self,
        now: Instant,
        group: GroupId,
        prefix: IpNet,
        attributes: Option<&Arc<RouteAttributes>>,
    ) {
        let prefix = prefix.trunc();
        let family = Family::of(prefix.addr());
        let new = attributes.map(|attributes| self.interner.intern(attributes));
        if new.is_none() && !self.groups.contains_key(&group) {
            return;
        }
        let group = self.groups.entry(group).or_default();
        let damping = group.damping.get_mut(family);
        let new = match new {
            Some(new) if !group.members.is_empty() && group.tables.get(family).get(&prefix) != Some(&new) => {
                match damping.admit(now, prefix, new) {
                    Some(new) => Some(new),
                    None => return,
                }
            }
            new => {
                damping.forget(&prefix);
                new
            }
        };
        group.release(&mut self.sessions, prefix, new);
    }

    /// Makes these the routes of a group, all of them; of a prefix that comes twice the last counts.
    pub fn replace(
        &mut self,
        now: Instant,
        group: GroupId,
        routes: impl IntoIterator<Item = (IpNet, Arc<RouteAttributes>)>,
    ) {
        let mut left: HashSet<IpNet> = match self.groups.get(&group) {
            Some(group) => Family::ALL
                .into_iter()
                .flat_map(|family| {
                    group.tables.get(family).prefixes().chain(group.damping.get(family).held())
                })
                .copied()
                .collect(),
            None => HashSet::new(),
        };
        for (prefix, attributes) in routes {
            left.remove(&prefix.trunc());
            self.set(now, group, prefix, Some(&attributes));
        }
        for prefix in left {
            self.set(now, group, prefix, None);
        }
    }

    /// Removes a group with all its routes. Sessions that are in it stay, with nothing to announce.
    pub fn drop_group(&mut self, now: Instant, group: GroupId) {
        self.replace(now, group, []);
        self.tidy(group);
    }

    /// Sets what has waited until `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for group in self.groups.values_mut() {
            for family in Family::ALL {
                while let Some((prefix, attributes)) = group.damping.get_mut(family).pop_due(now) {
                    if let Some(attributes) = group.damping.get_mut(family).admit(now, prefix, attributes) {
                        group.release(&mut self.sessions, prefix, Some(attributes));
                    }
                }
                group.damping.get_mut(family).expire(now);
            }
        }
    }

    /// When to call `handle_timeout` next; `None`: not before the next change.
    pub fn next_timeout(&self) -> Option<Instant> {
        let damping = self.groups.values().flat_map(|group| [&group.damping.v4, &group.damping.v6]);
        damping.filter_map(Damping::next_timeout).min()
    }

    /// How many routes a group has.
    pub fn len(&self, group: GroupId) -> usize {
        self.groups.get(&group).map_or(0, |group| group.tables.v4.len() + group.tables.v6.len())
    }

    /// A session is Established: its peer has nothing yet. A group that doesn't exist yet is an empty one.
    pub fn attach(&mut self, id: SessionId, group: GroupId, facts: Facts) {
        self.detach(id);
        let pending = |family| if facts.carries(family) { Pending::first() } else { Pending::closed() };
        let pending = PerFamily { v4: pending(Family::V4), v6: pending(Family::V6) };
        let end_of_rib = facts.session.families;
        self.groups.entry(group).or_default().members.insert(id);
        self.sessions.insert(id, Session { group, facts, pending, end_of_rib });
    }

    /// A session has ended.
    pub fn detach(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            self.leave(id, session.group);
        }
    }

    /// A session is to have the routes of another group; only differences go out.
    pub fn change_group(&mut self, id: SessionId, new: GroupId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let old = std::mem::replace(&mut session.group, new);
        if old == new {
            return;
        }
        self.groups.entry(new).or_default().members.insert(id);
        if let (Some(old), Some(new)) = (self.groups.get(&old), self.groups.get(&new)) {
            for family in Family::ALL.into_iter().filter(|family| session.facts.carries(*family)) {
                let pending = session.pending.get_mut(family);
                pending.follow(old.tables.get(family), Some(new.tables.get(family)));
            }
        }
        self.leave(id, old);
    }

    /// A session's next hop for a family is now this one, or there is none any more.
    pub fn set_next_hop(&mut self, id: SessionId, family: Family, next_hop: Option<IpAddr>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let before = session.facts.carries(family);
        let old = std::mem::replace(session.facts.next_hops.get_mut(family), next_hop);
        let Some(group) = self.groups.get(&session.group).filter(|_| old != next_hop) else { return };
        let table = group.tables.get(family);
        let pending = session.pending.get_mut(family);
        match (before, session.facts.carries(family)) {
            (true, true) => pending.again(),
            (true, false) => pending.follow(table, None),
            (false, true) => pending.follow(table, Some(table)),
            (false, false) => {}
        }
    }

    /// A peer asks for all routes of a family once more (RFC 2918).
    pub fn refresh(&mut self, id: SessionId, family: Family) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.pending.get_mut(family).again();
        }
    }

    /// The negotiated families that a session can't send, for want of a next hop.
    pub fn without_next_hop(&self, id: SessionId) -> FamilySet {
        let Some(session) = self.sessions.get(&id) else { return FamilySet::NONE };
        session.facts.session.families.iter().filter(|family| !session.facts.carries(*family)).collect()
    }

    /// Whether `fill` would write something.
    pub fn has_work(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| {
            !session.end_of_rib.is_empty()
                || Family::ALL.iter().any(|family| !session.pending.get(*family).is_quiet())
        })
    }

    /// What the peer of a session has been sent and still has, by prefix; UPDATEs that `fill` has written count as sent.
    pub fn sent(&self, id: SessionId) -> BTreeMap<IpNet, Arc<RouteAttributes>> {
        let Some(session) = self.sessions.get(&id) else { return BTreeMap::new() };
        let Some(group) = self.groups.get(&session.group) else { return BTreeMap::new() };
        Family::ALL
            .into_iter()
            .flat_map(|family| session.pending.get(family).all_sent(group.tables.get(family)))
            .map(|(prefix, attributes)| (prefix, attributes.shared().clone()))
            .collect()
    }

    /// Whether the peer of a session has been sent a prefix and still has it.
    pub fn has(&self, id: SessionId, prefix: &IpNet) -> bool {
        let Some(session) = self.sessions.get(&id) else { return false };
        let Some(group) = self.groups.get(&session.group) else { return false };
        let family = Family::of(prefix.addr());
        session.pending.get(family).sent(prefix, group.tables.get(family).get(prefix)).is_some()
    }

    /// Whether the peer of a session has all that it is to have, with nothing left to send and nothing damped.
    pub fn is_settled(&self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get(&id) else { return false };
        let damped = self.groups.get(&session.group).is_some_and(|group| {
            Family::ALL.iter().any(|family| group.damping.get(*family).held().next().is_some())
        });
        !damped && !self.has_work(id)
    }

    /// How far a session has come, in both families: how many prefixes `sent` would give, and how many `fill` has to send.
    pub fn progress(&self, id: SessionId) -> Progress {
        let mut total = Progress::default();
        let Some(session) = self.sessions.get(&id) else { return total };
        let Some(group) = self.groups.get(&session.group) else { return total };
        for family in Family::ALL {
            let Progress { sent, pending } = session.pending.get(family).progress(group.tables.get(family));
            total.sent += sent;
            total.pending += pending;
        }
        total
    }

    /// Appends UPDATEs for a session, until nothing is left to send or `budget` octets have been written; the last one
    /// may pass over it.
    pub fn fill(&mut self, now: Instant, id: SessionId, out: &mut Vec<u8>, budget: usize) -> Filled {
        let mut filled = Filled::default();
        let limit = out.len().saturating_add(budget);
        let Some(session) = self.sessions.get_mut(&id) else { return filled };
        let Some(group) = self.groups.get_mut(&session.group) else { return filled };
        for family in Family::ALL {
            session.withdraw(family, group.tables.get(family), out, limit, &mut filled);
        }
        for family in Family::ALL {
            let mut sent = |prefix: &IpNet| group.damping.get_mut(family).announced(now, prefix);
            session.announce(family, group.tables.get(family), out, limit, &mut filled, &mut sent);
        }
        if Family::ALL.iter().all(|family| session.pending.get(*family).is_quiet()) {
            for family in std::mem::take(&mut session.end_of_rib).iter() {
                wire::end_of_rib(family, out);
                filled.updates += 1;
                filled.end_of_rib.insert(family);
            }
        }
        filled
    }

    fn leave(&mut self, id: SessionId, group: GroupId) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.members.remove(&id);
            if group.members.is_empty() {
                for family in Family::ALL {
                    for (prefix, attributes) in group.damping.get_mut(family).end() {
                        group.release(&mut self.sessions, prefix, Some(attributes));
                    }
                }
            }
        }
        self.tidy(group);
    }

    /// A group that has neither routes nor members needn't be there.
    fn tidy(&mut self, group: GroupId) {
        if self.len(group) == 0 && self.groups.get(&group).is_some_and(|group| group.members.is_empty()) {
            self.groups.remove(&group);
        }
    }
}

impl Group {
    /// A route is now this one, and the members are to have it.
    fn release(
        &mut self,
        sessions: &mut BTreeMap<SessionId, Session>,
        prefix: IpNet,
        new: Option<Attributes>,
    ) {
        let family = Family::of(prefix.addr());
        let old = self.tables.get_mut(family).set(prefix, new.clone());
        if old == new {
            return;
        }
        for member in &self.members {
            if let Some(session) = sessions.get_mut(member) {
                session.pending.get_mut(family).changed(prefix, old.as_ref(), new.as_ref());
            }
        }
    }
}

impl Session {
    fn withdraw(
        &mut self,
        family: Family,
        table: &Table,
        out: &mut Vec<u8>,
        limit: usize,
        filled: &mut Filled,
    ) {
        let pending = self.pending.get_mut(family);
        let mut total = 0;
        let mut prefixes = pending.withdrawals().copied().peekable();
        while out.len() < limit {
            match wire::withdraw(&self.facts.session, family, &mut prefixes, out) {
                0 => break,
                count => {
                    total += count;
                    filled.updates += 1;
                }
            }
        }
        drop(prefixes);
        pending.withdrawn(total, table);
        filled.withdrawn += total;
    }

    fn announce(
        &mut self,
        family: Family,
        table: &Table,
        out: &mut Vec<u8>,
        limit: usize,
        filled: &mut Filled,
        sent: &mut dyn FnMut(&IpNet),
    ) {
        let pending = self.pending.get_mut(family);
        while out.len() < limit {
            let Some((attributes, prefixes)) = pending.announcements(table) else {
                if pending.exhausted() {
                    continue;
                }
                return;
            };
            let Ok(block) = self.facts.encode(family, attributes.shared()) else {
                drop(prefixes);
                filled.refused += pending.refused(table);
                continue;
            };
            let mut total = 0;
            let mut prefixes = prefixes.copied().peekable();
            while out.len() < limit {
                match block.announce(&mut prefixes, out) {
                    0 => break,
                    count => {
                        total += count;
                        filled.updates += 1;
                    }
                }
            }
            drop(prefixes);
            pending.announced(total, table, sent);
            filled.announced += total;
        }
    }
}
