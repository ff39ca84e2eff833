//! What one session has been sent of one family, and what it still has to be sent.
//!
//! A session keeps no table of its own. What its peer has follows from the group's table and how far the dump has come
//! (`implied`), but for the prefixes in `sent`, for which the group has moved on since: there the last state that went
//! out is kept until the new one has gone out too. So memory is bounded by the number of prefixes, whatever the
//! peer reads, and any number of changes to a prefix cost one UPDATE, or none when they cancel out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use super::Progress;
use super::table::{Attributes, Position, Table, give_back};

/// How far a session has come with its group's table.
#[derive(Debug)]
enum Dump {
    /// The family isn't carried, or has no next hop: the peer is to have nothing.
    Closed,
    /// The first one: the peer has what is up to here.
    First {
        at: Option<Position>,
        /// The peer has asked for everything once more.
        again: bool,
    },
    /// Everything once more (RFC 2918): the peer has all, and gets again what is behind here.
    Again { at: Option<Position> },
    /// The peer has all.
    Done,
}

/// One session's progress in one family.
#[derive(Debug)]
pub(super) struct Pending {
    dump: Dump,
    /// What the peer has, where that isn't what `implied` says; `None`: nothing.
    sent: HashMap<IpNet, Option<Attributes>>,
    /// To withdraw; each is in `sent`.
    withdraw: BTreeSet<IpNet>,
    /// To announce, by the attributes that they now have; each is in `sent`.
    announce: BTreeMap<Attributes, BTreeSet<IpNet>>,
}

impl Pending {
    fn with(dump: Dump) -> Pending {
        Pending { dump, sent: HashMap::new(), withdraw: BTreeSet::new(), announce: BTreeMap::new() }
    }

    /// The peer has nothing and is to have nothing.
    pub(super) fn closed() -> Pending {
        Pending::with(Dump::Closed)
    }

    /// The peer has nothing and is to have all.
    pub(super) fn first() -> Pending {
        Pending::with(Dump::First { at: None, again: false })
    }

    /// What the peer has of a prefix whose attributes in the group are `now`, going by the dump alone.
    fn implied<'a>(&self, prefix: &IpNet, now: Option<&'a Attributes>) -> Option<&'a Attributes> {
        match &self.dump {
            Dump::Closed | Dump::First { at: None, .. } => None,
            Dump::First { at: Some(at), .. } => now.filter(|now| (*now, prefix) <= (&at.0, &at.1)),
            Dump::Again { .. } | Dump::Done => now,
        }
    }

    /// What the peer has of a prefix whose attributes in the group are `now`.
    pub(super) fn sent<'a>(&'a self, prefix: &IpNet, now: Option<&'a Attributes>) -> Option<&'a Attributes> {
        match self.sent.get(prefix) {
            Some(sent) => sent.as_ref(),
            None => self.implied(prefix, now),
        }
    }

    /// How many prefixes the peer has, and how many have to be sent; without a walk over the table where no dump is on.
    pub(super) fn progress(&self, table: &Table) -> Progress {
        let dumped = match &self.dump {
            Dump::Closed | Dump::First { at: None, .. } | Dump::Again { at: None } => 0,
            Dump::First { at: Some(at), .. } | Dump::Again { at: Some(at) } => table.up_to(at),
            Dump::Done => table.len(),
        };
        let to_dump = if matches!(self.dump, Dump::Closed) { 0 } else { table.len().saturating_sub(dumped) };
        let mut sent = if matches!(self.dump, Dump::Again { .. }) { table.len() } else { dumped };
        for (prefix, has) in &self.sent {
            let implied = self.implied(prefix, table.get(prefix)).is_some();
            sent = sent.saturating_add(usize::from(has.is_some())).saturating_sub(usize::from(implied));
        }
        let changed = self.withdraw.len() + self.announce.values().map(BTreeSet::len).sum::<usize>();
        Progress { sent, pending: changed + to_dump }
    }

    /// All that the peer has, in no order.
    pub(super) fn all_sent(&self, table: &Table) -> HashMap<IpNet, Attributes> {
        let of_table = table.iter().filter_map(|(now, prefix)| {
            let sent = self.sent(prefix, Some(now))?;
            Some((*prefix, sent.clone()))
        });
        let gone = self
            .sent
            .iter()
            .filter(|(prefix, _)| table.get(prefix).is_none())
            .filter_map(|(prefix, sent)| Some((*prefix, sent.clone()?)));
        of_table.chain(gone).collect()
    }

    /// A prefix's attributes in the group have changed.
    pub(super) fn changed(&mut self, prefix: IpNet, old: Option<&Attributes>, new: Option<&Attributes>) {
        if matches!(self.dump, Dump::Closed) {
            return;
        }
        let sent = self.sent(&prefix, old).cloned();
        self.unplace(&prefix, old);
        self.settle(prefix, sent, new);
    }

    fn unplace(&mut self, prefix: &IpNet, old: Option<&Attributes>) {
        self.withdraw.remove(prefix);
        if let Some(old) = old
            && let Some(prefixes) = self.announce.get_mut(old)
        {
            prefixes.remove(prefix);
            if prefixes.is_empty() {
                self.announce.remove(old);
            }
        }
    }

    /// Notes that the peer has `sent` of a prefix and is to have `want`.
    fn settle(&mut self, prefix: IpNet, sent: Option<Attributes>, want: Option<&Attributes>) {
        let implied = self.implied(&prefix, want);
        if sent.as_ref() == implied {
            self.sent.remove(&prefix);
            give_back(&mut self.sent);
            return;
        }
        match want {
            None => {
                self.withdraw.insert(prefix);
            }
            // Behind the cursor, nobody else would come by; before it, the dump will.
            Some(want) if implied.is_some() => {
                self.announce.entry(want.clone()).or_default().insert(prefix);
            }
            Some(_) => {}
        }
        self.sent.insert(prefix, sent);
    }

    /// The session now follows `new` instead of `old`; `None`: it is to have nothing.
    pub(super) fn follow(&mut self, old: &Table, new: Option<&Table>) {
        if let Dump::First { at: None, .. } = self.dump
            && new.is_some()
        {
            return;
        }
        let mut sent = self.all_sent(old);
        let Some(new) = new else {
            *self = Pending::closed();
            for (prefix, sent) in sent {
                self.settle(prefix, Some(sent), None);
            }
            return;
        };
        if sent.is_empty() && new.len() > 0 {
            *self = Pending::first();
            return;
        }
        let owed = matches!(self.dump, Dump::First { again: true, .. } | Dump::Again { .. });
        *self = Pending::with(if owed { Dump::Again { at: None } } else { Dump::Done });
        for (want, prefix) in new.iter() {
            self.settle(*prefix, sent.remove(prefix), Some(want));
        }
        for (prefix, sent) in sent {
            self.settle(prefix, Some(sent), None);
        }
    }

    /// Everything is to be sent once more.
    pub(super) fn again(&mut self) {
        match &mut self.dump {
            Dump::Closed => {}
            Dump::First { again, at } => *again = at.is_some(),
            dump @ (Dump::Again { .. } | Dump::Done) => *dump = Dump::Again { at: None },
        }
    }

    /// Whether nothing has to be sent.
    pub(super) fn is_quiet(&self) -> bool {
        self.withdraw.is_empty() && self.announce.is_empty() && matches!(self.dump, Dump::Closed | Dump::Done)
    }

    /// Whether nothing is kept beyond the dump's progress.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_quiet() && self.sent.is_empty()
    }

    /// For how many prefixes memory is kept.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.sent.capacity()
    }

    /// What to withdraw next, ascending.
    pub(super) fn withdrawals(&self) -> impl Iterator<Item = &IpNet> {
        self.withdraw.iter()
    }

    /// The first `count` of `withdrawals` have gone out.
    pub(super) fn withdrawn(&mut self, count: usize, table: &Table) {
        for _ in 0..count {
            let Some(prefix) = self.withdraw.pop_first() else { return };
            if self.implied(&prefix, table.get(&prefix)).is_none() {
                self.sent.remove(&prefix);
            } else {
                self.sent.insert(prefix, None);
            }
        }
        give_back(&mut self.sent);
    }

    /// What to announce next, because it changed or by the dump: an attribute set and prefixes, ascending.
    pub(super) fn announcements<'a>(
        &'a self,
        table: &'a Table,
    ) -> Option<(&'a Attributes, Box<dyn Iterator<Item = &'a IpNet> + 'a>)> {
        if let Some((attributes, prefixes)) = self.announce.first_key_value() {
            return Some((attributes, Box::new(prefixes.iter())));
        }
        let (Dump::First { at, .. } | Dump::Again { at }) = &self.dump else { return None };
        let (attributes, prefixes) = table.run_after(at.as_ref())?;
        Some((attributes, Box::new(prefixes)))
    }

    /// The first `count` of `announcements` have gone out; `changed` is told those that aren't of the dump.
    pub(super) fn announced(&mut self, count: usize, table: &Table, changed: &mut dyn FnMut(&IpNet)) {
        if !self.announce.is_empty() {
            for prefix in self.take_changed(count) {
                self.sent.remove(&prefix);
                changed(&prefix);
            }
        } else if self.sent.is_empty() {
            let Some((attributes, mut prefixes)) = self.announcements(table) else { return };
            let last = count.checked_sub(1).and_then(|last| prefixes.nth(last)).copied();
            let at = last.map(|last| (attributes.clone(), last));
            drop(prefixes);
            self.advance(at);
        } else {
            let Some((attributes, prefixes)) = self.announcements(table) else { return };
            let (attributes, prefixes): (_, Vec<IpNet>) =
                (attributes.clone(), prefixes.take(count).copied().collect());
            for prefix in &prefixes {
                self.sent.remove(prefix);
            }
            self.advance(prefixes.last().map(|last| (attributes, *last)));
        }
        give_back(&mut self.sent);
    }

    /// The attribute set at the front of `announcements` can't be sent at all: the peer is to have nothing of its prefixes
    /// until they change. Gives how many they are.
    pub(super) fn refused(&mut self, table: &Table) -> usize {
        let Some((attributes, prefixes)) = self.announcements(table) else { return 0 };
        let (attributes, prefixes): (_, Vec<IpNet>) = (attributes.clone(), prefixes.copied().collect());
        for prefix in &prefixes {
            let sent = self.sent(prefix, Some(&attributes)).cloned();
            if sent.is_some() {
                self.withdraw.insert(*prefix);
            }
            self.sent.insert(*prefix, sent);
        }
        if self.announce.is_empty() {
            self.advance(prefixes.last().map(|last| (attributes, *last)));
        } else {
            self.take_changed(prefixes.len());
        }
        prefixes.len()
    }

    /// Takes the first `count` prefixes of the first attribute set that has any waiting.
    fn take_changed(&mut self, count: usize) -> Vec<IpNet> {
        let Some(mut first) = self.announce.first_entry() else { return Vec::new() };
        let taken: Vec<IpNet> = std::iter::from_fn(|| first.get_mut().pop_first()).take(count).collect();
        if first.get().is_empty() {
            first.remove();
        }
        taken
    }

    fn advance(&mut self, to: Option<Position>) {
        if let (Dump::First { at, .. } | Dump::Again { at }, Some(to)) = (&mut self.dump, to) {
            *at = Some(to);
        }
    }

    /// `announcements` has come to its end; gives whether there will be more.
    pub(super) fn exhausted(&mut self) -> bool {
        let more = matches!(self.dump, Dump::First { again: true, .. });
        self.dump = match &self.dump {
            Dump::First { again: true, .. } => Dump::Again { at: None },
            Dump::First { .. } | Dump::Again { .. } | Dump::Done => Dump::Done,
            Dump::Closed => Dump::Closed,
        };
        more
    }
}
