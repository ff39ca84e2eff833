//! Who uses which address, and which addresses are free.
//!
//! All users of an address may share it: whoever joins is checked here first. Free addresses are found in logarithmic time:
//! used ones are kept as maximal runs, and what follows a run is free.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::refusal::Refusal;
use super::want::{ShareKey, Want};
use crate::config::is_buggy;
use crate::types::{AddressRange, Family, ServiceKey};
use crate::world::ServicePort;

/// How many users an error names at most.
const NAMED_USERS: usize = 3;

/// The users of all addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    slots: HashMap<IpAddr, Slot>,
    v4: Runs,
    v6: Runs,
    shared: HashMap<Arc<ShareKey>, Shared>,
}

/// The users of one address.
#[derive(Clone, Debug)]
struct Slot {
    /// What all of its users have in common; `None`: it has one user, who shares with nobody.
    share: Option<Arc<ShareKey>>,
    ports: BTreeMap<ServicePort, ServiceKey>,
    users: BTreeSet<ServiceKey>,
}

/// The addresses in use under one sharing key.
#[derive(Clone, Debug, Default)]
struct Shared {
    addresses: BTreeSet<IpAddr>,
    /// By range and ports: below this address none in the range admits these ports. So that many services with one key and one
    /// port don't ask the same full addresses over and over.
    full_below: HashMap<(AddressRange, Vec<ServicePort>), IpAddr>,
}

impl Shared {
    /// `ip` may admit more than before.
    fn opened(&mut self, ip: IpAddr) {
        for below in self.full_below.values_mut() {
            *below = ip.min(*below);
        }
    }
}

impl Book {
    /// Whether `want` may use `ip`, beside those who do already.
    pub(super) fn admits(&self, ip: IpAddr, want: &Want) -> Result<(), Refusal> {
        let Some(slot) = self.slots.get(&ip) else { return Ok(()) };
        // Its own entry is current: an edited service is taken out before it is judged again.
        if slot.users.contains(want.key()) {
            return Ok(());
        }
        if want.share.is_none() || slot.share != want.share {
            let users = slot.users.iter().take(NAMED_USERS).cloned().collect();
            return Err(Refusal::Shared { ip, users });
        }
        match want.ports.iter().find_map(|p| slot.ports.get(p).map(|user| (p, user))) {
            Some((port, user)) => Err(Refusal::Port { ip, port: port.clone(), user: user.clone() }),
            None => Ok(()),
        }
    }

    /// The same without saying why not.
    pub(super) fn fits(&self, ip: IpAddr, want: &Want) -> bool {
        self.slots.get(&ip).is_none_or(|slot| {
            slot.users.contains(want.key())
                || (want.share.is_some()
                    && slot.share == want.share
                    && !want.ports.iter().any(|p| slot.ports.contains_key(p)))
        })
    }

    /// Whether somebody could still use `ip`: nobody does, or its users share.
    pub(super) fn open(&self, ip: IpAddr) -> bool {
        self.slots.get(&ip).is_none_or(|s| s.share.is_some())
    }

    /// The users of `ip`, by name.
    pub(super) fn users(&self, ip: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.slots.get(&ip).into_iter().flat_map(|s| &s.users)
    }

    /// Adds a user who was admitted.
    pub(super) fn add(&mut self, ip: IpAddr, want: &Want) {
        if !self.slots.contains_key(&ip) {
            self.runs(ip).add(number(ip));
            if let Some(key) = &want.share {
                let shared = self.shared.entry(key.clone()).or_default();
                shared.addresses.insert(ip);
                shared.opened(ip);
            }
        }
        let slot = self.slots.entry(ip).or_insert_with(|| Slot {
            share: want.share.clone(),
            ports: BTreeMap::new(),
            users: BTreeSet::new(),
        });
        slot.users.insert(want.key().clone());
        slot.ports.extend(want.ports.iter().map(|p| (p.clone(), want.key().clone())));
    }

    /// Removes a user, with the ports that it was added with.
    pub(super) fn remove(&mut self, ip: IpAddr, want: &Want) {
        let Some(slot) = self.slots.get_mut(&ip) else { return };
        if !slot.users.remove(want.key()) {
            return;
        }
        for port in &want.ports {
            if slot.ports.get(port) == Some(want.key()) {
                slot.ports.remove(port);
            }
        }
        let share = slot.share.clone();
        let last = slot.users.is_empty();
        if last {
            self.slots.remove(&ip);
            self.runs(ip).remove(number(ip));
        }
        let Some(key) = share else { return };
        if let Some(shared) = self.shared.get_mut(&key) {
            shared.opened(ip);
            if last {
                shared.addresses.remove(&ip);
                if shared.addresses.is_empty() {
                    self.shared.remove(&key);
                }
            }
        }
    }

    /// The lowest address of `range` that `want` may use: a free one, or one to share. It uses none there so far.
    pub(super) fn lowest(&mut self, range: &AddressRange, avoid_buggy: bool, want: &Want) -> Option<IpAddr> {
        let usable = |ip: IpAddr| !(avoid_buggy && is_buggy(ip));
        let free = self.lowest_free(range, usable);
        let Some(key) = &want.share else { return free };
        let end = free.unwrap_or(range.last());
        let hint = (*range, want.ports.clone());
        let Some(shared) = self.shared.get(key) else { return free };
        let start = shared.full_below.get(&hint).copied().unwrap_or(range.first()).max(range.first());
        if start > end {
            return free;
        }
        let found =
            shared.addresses.range(start..=end).copied().find(|ip| usable(*ip) && self.fits(*ip, want));
        if let Some(shared) = self.shared.get_mut(key) {
            shared.full_below.insert(hint, found.unwrap_or(end));
        }
        found.or(free)
    }

    fn lowest_free(&self, range: &AddressRange, usable: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let runs = match range.family() {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let last = number(range.last());
        let mut next = number(range.first());
        loop {
            let free = runs.next_free(next)?;
            if free > last {
                return None;
            }
            let ip = address(range.family(), free)?;
            if usable(ip) {
                return Some(ip);
            }
            next = free.checked_add(1)?;
        }
    }

    fn runs(&mut self, ip: IpAddr) -> &mut Runs {
        match Family::of(ip) {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// A set of numbers, as maximal runs: first to last.
#[derive(Clone, Debug, Default)]
struct Runs(BTreeMap<u128, u128>);

impl Runs {
    /// The run that `n` is in.
    fn around(&self, n: u128) -> Option<(u128, u128)> {
        let (first, last) = self.0.range(..=n).next_back()?;
        (*last >= n).then_some((*first, *last))
    }

    /// The lowest number from `n` on that isn't in the set.
    fn next_free(&self, n: u128) -> Option<u128> {
        match self.around(n) {
            Some((_, last)) => last.checked_add(1),
            None => Some(n),
        }
    }

    fn add(&mut self, n: u128) {
        if self.around(n).is_some() {
            return;
        }
        let (mut first, mut last) = (n, n);
        if let Some(before) = n.checked_sub(1).and_then(|b| self.around(b)) {
            first = before.0;
        }
        if let Some(after) = n.checked_add(1).and_then(|a| self.around(a)) {
            last = after.1;
            self.0.remove(&after.0);
        }
        self.0.insert(first, last);
    }

    fn remove(&mut self, n: u128) {
        let Some((first, last)) = self.around(n) else { return };
        self.0.remove(&first);
        if let Some(before) = n.checked_sub(1).filter(|b| *b >= first) {
            self.0.insert(first, before);
        }
        if let Some(after) = n.checked_add(1).filter(|a| *a <= last) {
            self.0.insert(after, last);
        }
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn address(family: Family, n: u128) -> Option<IpAddr> {
    match family {
        Family::V4 => u32::try_from(n).ok().map(|n| Ipv4Addr::from(n).into()),
        Family::V6 => Some(Ipv6Addr::from(n).into()),
    }
}
