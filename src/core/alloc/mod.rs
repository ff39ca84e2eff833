//! Allocation: which addresses each service gets, or why it gets none.
//!
//! In: a [`Config`], the [`World`]'s Services, and what they hold (`status`, Allocations, or what this allocator gave them).
//! Out: an [`Allocation`] for each Service of `type: LoadBalancer` that this load balancer class manages. Pure, deterministic
//! and incremental: a changed service costs its own work and that of those who wait for what it frees.
//!
//! First all holders keep what they still may have, older first. Then the others, and those who ask for something else, are
//! served in one order: older first, then by namespace and name. Whenever an address is freed, those who couldn't be served
//! and whom it could help are asked again in that order, until nothing changes.
//!
//! What it doesn't do: it reads no endpoints and no advertisements (a service gets an address with or without them), and it
//! writes nothing.

mod book;
#[cfg(test)]
mod fixtures;
mod holdings;
mod pools;
#[cfg(test)]
mod properties;
mod refusal;
mod settle;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_running;
mod waiting;
mod want;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

pub use holdings::{Holding, Holdings};

use self::book::Book;
use self::pools::{PoolId, Pools, takes};
use self::settle::{Held, Outcome, Wait, claim, settle, told};
use self::waiting::{Freed, Waiting};
use self::want::{Order, Want};
use crate::config::{Config, PoolState};
use crate::types::{Family, ServiceKey, shared};
use crate::world::{Service, World};

/// Whether addresses are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Services that hold none and ask for none are given one. What was given stays held.
    Allocate,
    /// Only addresses that `status`, Allocations or a request by address gives; none is ever chosen. The result depends on the
    /// manifests alone and not on their history, so that several nodes agree.
    HeldOnly,
    /// What `status` says is what a service has, as far as pools contain it; whoever wrote that has judged the rest: requests,
    /// families, sharing, and for whom a pool is.
    StatusOnly,
}

/// What a service gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Its addresses: none, one, or one of each family, in the order of its status (IPv4 first where they are new).
    pub ips: Arc<[IpAddr]>,
    /// The pool that they are from; `None` without addresses, and where that pool is invalid.
    pub pool: Option<Arc<str>>,
    /// Why it has no address, or not the one that it asks for: a sentence with the remedy.
    pub error: Option<String>,
    /// Whether its addresses may be announced: not those held from an invalid pool.
    pub announce: bool,
}

/// Gives addresses to services and remembers who has which.
#[derive(Clone, Debug)]
pub struct Allocator {
    mode: Mode,
    class: Option<String>,
    pools: Pools,
    book: Book,
    waiting: Waiting,
    /// Each apart, so that the room to grow costs little.
    entries: BTreeMap<ServiceKey, Box<Entry>>,
    /// In [`Mode::HeldOnly`]: which services name an address, in what they hold or ask for. In [`Mode::StatusOnly`]: which
    /// have it.
    namers: BTreeSet<(IpAddr, ServiceKey)>,
    restored: BTreeMap<ServiceKey, Holding>,
    visited: u64,
}

/// A service that is managed.
#[derive(Clone, Debug)]
struct Entry {
    want: Arc<Want>,
    /// What `status` or Allocations says that it holds, as last seen.
    source: Arc<[IpAddr]>,
    held: Held,
    /// The name of the pool that it holds its addresses from, valid or not.
    home: Option<Arc<str>>,
    waits: Box<[Wait]>,
    allocation: Allocation,
}

impl Entry {
    /// The addresses that it names: what it is said to hold, and what it asks for.
    fn named(&self) -> impl Iterator<Item = IpAddr> {
        let asked = self.want.addresses.iter().flatten().flatten();
        self.source.iter().chain(asked).copied()
    }
}

/// One run from a change to the next state in which nothing more happens.
#[derive(Debug, Default)]
struct Pass {
    /// What was there before, of every service that was touched.
    before: BTreeMap<ServiceKey, Option<Allocation>>,
    /// Who keeps what, in the order in which they are asked.
    claims: BTreeMap<(Rank, Order), Claim>,
    /// Who is to be judged.
    queue: BTreeSet<Order>,
    freed: Freed,
    /// Addresses that someone has more company on: those who failed to get them are told the new users' names.
    joined: BTreeSet<IpAddr>,
    /// Given back at the start, by whom.
    lifted: BTreeSet<(IpAddr, ServiceKey)>,
}

/// Of services that can't all keep what they hold, the first of these can; in each, the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Those whose Service is as it was when they got it.
    Same,
    /// Those who were edited, or are new: of two who may no longer share, the one whose edit made it so moves.
    Edited,
    /// Those who are newly said to hold something else.
    News,
}

/// What a service wishes to keep.
#[derive(Debug)]
struct Claim {
    /// What it is newly said to hold: taken if it may have all of it.
    newly: Option<Arc<[IpAddr]>>,
    /// What it held.
    held: Arc<[IpAddr]>,
    /// Whether those who share with it see no difference.
    same: bool,
}

impl Allocator {
    /// An allocator for the services of load balancer class `class` (`None`: those without a class), without pools yet.
    pub fn new(mode: Mode, class: Option<String>) -> Allocator {
        Allocator {
            mode,
            class,
            pools: Pools::default(),
            book: Book::default(),
            waiting: Waiting::default(),
            entries: BTreeMap::new(),
            namers: BTreeSet::new(),
            restored: BTreeMap::new(),
            visited: 0,
        }
    }

    /// Whether addresses are chosen.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Chooses addresses from now on, or no more; takes effect at the next [`reconfigure`](Self::reconfigure).
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// What services held when `holdings` were taken: to be called before the first [`reconfigure`](Self::reconfigure), which
    /// forgets those whose service isn't there. It counts in [`Mode::Allocate`] only.
    pub fn restore(&mut self, holdings: &Holdings) {
        self.restored = holdings.services.iter().map(|h| (h.service(), h.clone())).collect();
    }

    /// Everything again under a new configuration: what is held stays where that allows it. Returns the services whose result
    /// changed, sorted.
    pub fn reconfigure(&mut self, config: Arc<Config>, world: &World) -> Vec<ServiceKey> {
        self.pools = Pools::new(config);
        self.book = Book::default();
        self.waiting = Waiting::default();
        self.namers.clear();
        let mut old = mem::take(&mut self.entries);
        if self.mode == Mode::StatusOnly {
            return self.read_all(world, old);
        }
        let mut pass = Pass::default();
        let class = self.class.clone();
        for service in world.services().filter(|s| s.managed_by(class.as_deref())) {
            let entry = old.remove(&service.key);
            pass.remember(&service.key, entry.as_deref());
            self.enter(service, world, entry, &mut pass);
        }
        for (key, entry) in &old {
            pass.remember(key, Some(entry));
        }
        self.restored.clear();
        self.run(pass)
    }

    /// After `changed` services were applied to or deleted from the world. Returns the services whose result changed, sorted:
    /// others too, who got an address that was freed.
    pub fn update(&mut self, world: &World, changed: &[ServiceKey]) -> Vec<ServiceKey> {
        let mut pass = Pass::default();
        let mut named = BTreeSet::new();
        let mut read = Vec::new();
        for key in changed.iter().collect::<BTreeSet<_>>() {
            let service = world.service(key).filter(|s| s.managed_by(self.class.as_deref()));
            if let (Some(service), Some(entry)) = (service, self.entries.get(key))
                && *entry.want == Want::of(service)
                && entry.source == source(service, world)
            {
                continue;
            }
            let old = self.entries.remove(key);
            if self.mode == Mode::StatusOnly {
                if self.read(key, service, world, old) {
                    read.push(key.clone());
                }
                continue;
            }
            pass.remember(key, old.as_deref());
            if let Some(entry) = &old {
                named.extend(entry.named());
                self.lift(entry, &mut pass);
            }
            match service {
                Some(service) => self.enter(service, world, old, &mut pass),
                None => self.visited = self.visited.saturating_add(1),
            }
            named.extend(self.entries.get(key).into_iter().flat_map(|entry| entry.named()));
        }
        match self.mode {
            Mode::StatusOnly => return read,
            Mode::HeldOnly => self.lift_related(named, &mut pass),
            Mode::Allocate => {}
        }
        self.run(pass)
    }

    /// What a service gets; `None`: it isn't managed here, or isn't there.
    pub fn get(&self, service: &ServiceKey) -> Option<&Allocation> {
        self.entries.get(service).map(|e| &e.allocation)
    }

    /// What all managed services get, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Allocation)> {
        self.entries.iter().map(|(key, e)| (key, &e.allocation))
    }

    /// The services that have this address, by namespace and name.
    pub fn users_of(&self, ip: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        let told = (self.mode == Mode::StatusOnly).then(|| self.namers_of(ip));
        self.book.users(ip).chain(told.into_iter().flatten())
    }

    /// How many services were processed so far: a changed service counts once, and so does each that was asked again because an
    /// address was freed.
    pub fn visited(&self) -> u64 {
        self.visited
    }

    /// What a running role has to keep, so that after a restart nothing changes: see [`restore`](Self::restore).
    pub fn holdings(&self) -> Holdings {
        let services = self
            .entries
            .iter()
            .map(|(key, e)| Holding {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                ips: e.held.ips.to_vec(),
                pool: e.home.clone(),
                source: e.source.to_vec(),
            })
            .collect();
        Holdings { services }
    }

    /// Everything again under a new configuration, where `status` counts alone.
    fn read_all(&mut self, world: &World, mut old: BTreeMap<ServiceKey, Box<Entry>>) -> Vec<ServiceKey> {
        let class = self.class.clone();
        let mut changed = BTreeSet::new();
        for service in world.services().filter(|s| s.managed_by(class.as_deref())) {
            let entry = old.remove(&service.key);
            if self.read(&service.key, Some(service), world, entry) {
                changed.insert(service.key.clone());
            }
        }
        changed.extend(old.into_keys());
        changed.into_iter().collect()
    }

    /// What the status of a service says, which is `None` where it isn't managed any more; whether that differs from `old`.
    fn read(
        &mut self,
        key: &ServiceKey,
        service: Option<&Arc<Service>>,
        world: &World,
        old: Option<Box<Entry>>,
    ) -> bool {
        self.visited = self.visited.saturating_add(1);
        for ip in old.iter().flat_map(|entry| &*entry.held.ips) {
            self.namers.remove(&(*ip, key.clone()));
        }
        let Some(service) = service else { return old.is_some() };
        let mut entry = Entry {
            want: Arc::new(Want::of(service)),
            source: source(service, world),
            held: Held::default(),
            home: None,
            waits: Box::default(),
            allocation: Allocation::default(),
        };
        let before = old.as_ref().map(|entry| entry.held.ips.clone()).unwrap_or_default();
        entry.record(told(&self.pools, &entry.want, &entry.source), &before, &self.pools);
        self.namers.extend(entry.held.ips.iter().map(|ip| (*ip, key.clone())));
        let differs = old.is_none_or(|old| old.allocation != entry.allocation);
        self.entries.insert(key.clone(), Box::new(entry));
        differs
    }

    /// Enters a service that is new or was changed; what it keeps is to be decided in `pass`.
    fn enter(&mut self, service: &Service, world: &World, old: Option<Box<Entry>>, pass: &mut Pass) {
        let want = Arc::new(Want::of(service));
        let source = source(service, world);
        let restored = self.restored.get(&service.key).filter(|_| self.mode == Mode::Allocate);
        let same = old.as_ref().is_some_and(|e| e.want.shares_like(&want));
        let edited = old.as_ref().is_none_or(|e| *e.want != *want) && restored.is_none();
        // What it held, what was said about that, and from where it was.
        let known = match (old, restored) {
            _ if self.mode == Mode::HeldOnly => None,
            (Some(e), _) => Some((e.held.ips, e.source, e.home)),
            (None, Some(r)) => Some((r.ips.clone().into(), r.source.clone().into(), r.pool.clone())),
            (None, None) => None,
        };
        let mut claim = Claim { newly: None, held: source.clone(), same };
        let mut home = None;
        if let Some((held, seen, from)) = known {
            // A part of what it holds is what was written before the rest was added: no wish to give that up. All of it in
            // another order is kept in that order.
            let part = source.iter().all(|ip| held.contains(ip));
            let whole = part && held.iter().all(|ip| source.contains(ip));
            if source == seen || !whole {
                claim.newly = (source != seen && !part).then(|| source.clone());
                claim.held = held;
            }
            home = from;
        }
        let rank = match (&claim.newly, edited) {
            (Some(_), _) => Rank::News,
            (None, true) if self.mode == Mode::Allocate => Rank::Edited,
            (None, _) => Rank::Same,
        };
        pass.claims.insert((rank, want.order.clone()), claim);
        let entry = Entry {
            want,
            source,
            held: Held::default(),
            home,
            waits: Box::default(),
            allocation: Allocation::default(),
        };
        if self.mode == Mode::HeldOnly {
            for ip in entry.named() {
                self.namers.insert((ip, service.key.clone()));
            }
        }
        self.entries.insert(service.key.clone(), Box::new(entry));
    }

    /// Takes a service's addresses back for now.
    fn lift(&mut self, entry: &Entry, pass: &mut Pass) {
        let key = entry.want.key();
        for ip in &*entry.held.ips {
            self.book.remove(*ip, &entry.want);
            self.pools.freed(*ip);
            pass.lifted.insert((*ip, key.clone()));
        }
        self.waiting.remove(&entry.want.order, &entry.waits);
        if self.mode == Mode::HeldOnly {
            for ip in entry.named() {
                self.namers.remove(&(ip, key.clone()));
            }
        }
    }

    /// The services that name an address.
    fn namers_of(&self, ip: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        let first = (ip, ServiceKey::new("", ""));
        self.namers.range(first..).take_while(move |(named, _)| *named == ip).map(|(_, key)| key)
    }

    /// Lifts all who name one of these addresses, or one that they name, and so on: who gets what among them is decided again.
    fn lift_related(&mut self, mut addresses: BTreeSet<IpAddr>, pass: &mut Pass) {
        let mut done = BTreeSet::new();
        while let Some(ip) = addresses.pop_first() {
            if !done.insert(ip) {
                continue;
            }
            for key in self.namers_of(ip).cloned().collect::<Vec<_>>() {
                let Some(entry) = self.entries.get_mut(&key) else { continue };
                addresses.extend(entry.named().filter(|ip| !done.contains(ip)));
                let rank = (Rank::Same, entry.want.order.clone());
                if pass.claims.contains_key(&rank) {
                    continue;
                }
                pass.claims.insert(rank, Claim { newly: None, held: entry.source.clone(), same: true });
                pass.before.entry(key.clone()).or_insert_with(|| Some(entry.allocation.clone()));
                for ip in &*mem::take(&mut entry.held).ips {
                    self.book.remove(*ip, &entry.want);
                    self.pools.freed(*ip);
                    pass.lifted.insert((*ip, key.clone()));
                }
                self.waiting.remove(&entry.want.order, &mem::take(&mut entry.waits));
                entry.home = None;
            }
        }
    }

    fn run(&mut self, mut pass: Pass) -> Vec<ServiceKey> {
        for ((_, order), wish) in mem::take(&mut pass.claims) {
            self.claim(&order, &wish, &mut pass);
            pass.queue.insert(order);
        }
        for (ip, _) in mem::take(&mut pass.lifted) {
            self.free(ip, &mut pass);
        }
        while let Some(order) = self.next(&mut pass) {
            self.judge(&order, &mut pass);
        }
        let after = |key: &ServiceKey| self.entries.get(key).map(|e| &e.allocation);
        pass.before
            .iter()
            .filter(|(key, old)| after(key) != old.as_ref())
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Lets a service keep what it may.
    fn claim(&mut self, order: &Order, wish: &Claim, pass: &mut Pass) {
        let Some(entry) = self.entries.get_mut(&order.1) else { return };
        let want = entry.want.clone();
        let from = entry.home.as_deref().or(want.from_pool.as_deref());
        let has_family =
            |ip: &&IpAddr| want.families.as_ref().is_ok_and(|set| set.contains(Family::of(**ip)));
        let newly = wish.newly.as_ref().and_then(|ips| {
            let held = claim(&self.pools, &self.book, &want, ips, from);
            (!held.ips.is_empty() && held.ips.len() == ips.iter().filter(has_family).count()).then_some(held)
        });
        let held = newly.unwrap_or_else(|| claim(&self.pools, &self.book, &want, &wish.held, from));
        for ip in &*held.ips {
            self.book.add(*ip, &want);
            let unchanged = wish.same && pass.lifted.remove(&(*ip, order.1.clone()));
            if !unchanged {
                pass.joined.insert(*ip);
            }
        }
        entry.held = held;
    }

    /// `ip` has fewer users, or others: who may be helped is asked again.
    fn free(&self, ip: IpAddr, pass: &mut Pass) {
        pass.queue.extend(self.waiting.for_address(ip).cloned());
        if let Some((id, _)) = self.pools.accepted(ip)
            && self.book.open(ip)
        {
            pass.freed.add((id, Family::of(ip)), ip);
        }
    }

    /// Who is to be judged next: the first in order of those queued and those whom a freed address could help.
    fn next(&self, pass: &mut Pass) -> Option<Order> {
        loop {
            let mut first = pass.queue.first().cloned();
            let freed: Vec<_> = pass.freed.pools().map(|(id, _)| id).collect();
            let mut asked = vec![];
            for id in freed {
                let next = self.next_helped(id, &pass.freed);
                if let Some(order) = &next
                    && first.as_ref().is_none_or(|f| order < f)
                {
                    first = next.clone();
                }
                asked.push((id, next));
            }
            for (id, next) in asked {
                if next.is_none() || next == first {
                    pass.freed.asked(id, next);
                }
            }
            if let Some(order) = first {
                pass.queue.remove(&order);
                return Some(order);
            }
            if pass.joined.is_empty() {
                return None;
            }
            for ip in mem::take(&mut pass.joined) {
                pass.queue.extend(self.waiting.for_address(ip).cloned());
            }
        }
    }

    /// The next who waits for an address of this pool and family and may be helped by those that were freed.
    fn next_helped(&self, id: (PoolId, Family), freed: &Freed) -> Option<Order> {
        let freed = freed.get(id)?;
        let pool = self.pools.get(id.0)?;
        let mut after = freed.asked.clone();
        loop {
            let order = self.waiting.next_for_pool(id, after.as_ref())?;
            if let Some(entry) = self.entries.get(&order.1) {
                let automatic = || {
                    pool.auto_assign
                        && entry.want.families.as_ref().is_ok_and(|f| f.contains(id.1))
                        && takes(pool, &entry.want)
                };
                let fits = freed.ips.iter().any(|ip| self.book.fits(*ip, &entry.want));
                if fits && (self.waiting.waits_for_pool(id, &order) || automatic()) {
                    return Some(order);
                }
            }
            after = Some(order);
        }
    }

    /// Decides what a service gets now.
    fn judge(&mut self, order: &Order, pass: &mut Pass) {
        self.visited = self.visited.saturating_add(1);
        let Some(entry) = self.entries.get_mut(&order.1) else { return };
        let want = entry.want.clone();
        let mut outcome = settle(&mut self.pools, &mut self.book, self.mode, &want, &entry.held);
        if entry.held.ips.is_empty() || outcome.ips.is_empty() {
            // It has nothing, or loses it: what it is said to hold comes first, if that can be had by now.
            let said = claim(&self.pools, &self.book, &want, &entry.source, want.from_pool.as_deref());
            if !said.ips.is_empty() {
                outcome = settle(&mut self.pools, &mut self.book, self.mode, &want, &said);
            }
            if outcome.ips.is_empty() {
                outcome.waits.extend(entry.source.iter().copied().map(Wait::Address));
            }
        }
        outcome.waits.sort();
        outcome.waits.dedup();
        self.waiting.remove(order, &entry.waits);
        self.waiting.add(order, &outcome.waits);
        let before = mem::take(&mut entry.held).ips;
        let gone: Vec<IpAddr> = before.iter().copied().filter(|ip| !outcome.ips.contains(ip)).collect();
        let got: Vec<IpAddr> = outcome.ips.iter().copied().filter(|ip| !before.contains(ip)).collect();
        pass.before.entry(order.1.clone()).or_insert_with(|| Some(entry.allocation.clone()));
        entry.record(outcome, &before, &self.pools);
        for ip in gone {
            self.book.remove(ip, &want);
            self.pools.freed(ip);
            self.free(ip, pass);
        }
        for ip in got {
            self.book.add(ip, &want);
            pass.joined.insert(ip);
            if let Some((id, _)) = self.pools.accepted(ip)
                && !self.book.open(ip)
            {
                pass.freed.taken((id, Family::of(ip)), ip);
            }
        }
    }
}

impl Entry {
    /// `before` is what it held.
    fn record(&mut self, outcome: Outcome, before: &Arc<[IpAddr]>, pools: &Pools) {
        let home = outcome.home.and_then(|id| pools.get(id));
        let valid = home.filter(|p| p.state != PoolState::Invalid);
        self.home = home.map(|p| p.name.clone());
        // Mostly what it is given is what it held or is said to hold: one list then.
        let known = [before, &self.source].into_iter().find(|known| ***known == *outcome.ips);
        let ips = known.cloned().unwrap_or_else(|| shared(outcome.ips));
        self.allocation = Allocation {
            ips: ips.clone(),
            pool: valid.map(|p| p.name.clone()),
            error: outcome.error.map(|e| e.to_string()),
            announce: valid.is_some(),
        };
        self.held = Held { ips, home: outcome.home, lost: false };
        self.waits = outcome.waits.into();
    }
}

impl Pass {
    fn remember(&mut self, key: &ServiceKey, entry: Option<&Entry>) {
        self.before.entry(key.clone()).or_insert_with(|| entry.map(|e| e.allocation.clone()));
    }
}

/// What `service` is said to hold: an Allocations entry stands for the whole of its status.
fn source(service: &Service, world: &World) -> Arc<[IpAddr]> {
    match world.allocation(&service.key) {
        Some(ips) => ips.iter().map(IpAddr::to_canonical).collect(),
        None => service.ingress.clone(),
    }
}
