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

/// The users of one address. Nearly all addresses have one, whose maps would be most of what an allocator keeps.
#[derive(Clone, Debug)]
enum Slot {
    /// One, who shares with nobody.
    Alone(ServiceKey),
    /// Those who share.
    Together(Box<Together>),
}

/// Users who share an address.
#[derive(Clone, Debug)]
struct Together {
    /// What they have in common.
    share: Arc<ShareKey>,
    ports: BTreeMap<ServicePort, ServiceKey>,
    users: BTreeSet<ServiceKey>,
}

impl Slot {
    fn users(&self) -> impl Iterator<Item = &ServiceKey> {
        let (one, several) = match self {
            Slot::Alone(user) => (Some(user), None),
            Slot::Together(together) => (None, Some(&together.users)),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    fn is_used_by(&self, service: &ServiceKey) -> bool {
        match self {
            Slot::Alone(user) => user == service,
            Slot::Together(together) => together.users.contains(service),
        }
    }

    /// Those who are there, where `want` shares with them, whatever its ports.
    fn shared_with(&self, want: &Want) -> Option<&Together> {
        match self {
            Slot::Together(together) if want.share.as_ref() == Some(&together.share) => Some(together),
            Slot::Alone(_) | Slot::Together(_) => None,
        }
    }
}

/// The addresses in use under one sharing key.
#[derive(Clone, Debug, Default)]
struct Shared {
    addresses: BTreeSet<IpAddr>,
    /// By range and ports: below this address none in the range admits these ports. So that many services with one key and one
    /// port don't ask the same full addresses over and over.
    full_below: HashMap<(AddressRange, Arc<[ServicePort]>), IpAddr>,
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
        if slot.is_used_by(want.key()) {
            return Ok(());
        }
        let Some(together) = slot.shared_with(want) else {
            let users = slot.users().take(NAMED_USERS).cloned().collect();
            return Err(Refusal::Shared { ip, users });
        };
        match want.ports.iter().find_map(|p| together.ports.get(p).map(|user| (p, user))) {
            Some((port, user)) => Err(Refusal::Port { ip, port: port.clone(), user: user.clone() }),
            None => Ok(()),
        }
    }

    /// The same without saying why not.
    pub(super) fn fits(&self, ip: IpAddr, want: &Want) -> bool {
        self.slots.get(&ip).is_none_or(|slot| {
            slot.is_used_by(want.key())
                || slot
                    .shared_with(want)
                    .is_some_and(|together| !want.ports.iter().any(|p| together.ports.contains_key(p)))
        })
    }

    /// Whether somebody could still use `ip`: nobody does, or its users share.
    pub(super) fn open(&self, ip: IpAddr) -> bool {
        self.slots.get(&ip).is_none_or(|s| matches!(s, Slot::Together(_)))
    }

    /// The users of `ip`, by name.
    pub(super) fn users(&self, ip: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.slots.get(&ip).into_iter().flat_map(Slot::users)
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
        let slot = self.slots.entry(ip).or_insert_with(|| match &want.share {
            None => Slot::Alone(want.key().clone()),
            Some(share) => Slot::Together(Box::new(Together {
                share: share.clone(),
                ports: BTreeMap::new(),
                users: BTreeSet::new(),
            })),
        });
        if let Slot::Together(together) = slot {
            together.users.insert(want.key().clone());
            together.ports.extend(want.ports.iter().map(|p| (p.clone(), want.key().clone())));
        }
    }

    /// Removes a user, with the ports that it was added with.
    pub(super) fn remove(&mut self, ip: IpAddr, want: &Want) {
        let Some(slot) = self.slots.get_mut(&ip) else { return };
        if !slot.is_used_by(want.key()) {
            return;
        }
        let (share, last) = match slot {
            Slot::Alone(_) => (None, true),
            Slot::Together(together) => {
                together.users.remove(want.key());
                for port in &*want.ports {
                    if together.ports.get(port) == Some(want.key()) {
                        together.ports.remove(port);
                    }
                }
                (Some(together.share.clone()), together.users.is_empty())
            }
        };
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
