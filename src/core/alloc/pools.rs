//! The pools of one configuration, indexed for the questions that allocation asks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::book::Book;
use super::want::Want;
use crate::config::{Config, Pool, PoolState, is_buggy};
use crate::types::{AddressRange, Family, FamilySet};

/// A pool's place among those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PoolId(usize);

/// The pools of a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    config: Arc<Config>,
    ids: HashMap<Arc<str>, PoolId>,
    families: Vec<FamilySet>,
    /// Those kept for some services that give automatically: by priority (0 is last), then name.
    pinned: Vec<PoolId>,
    /// Those for everybody that give automatically, by name.
    unpinned: Vec<PoolId>,
    /// Ranges of accepted pools by their first address; they don't overlap.
    accepted: BTreeMap<IpAddr, (IpAddr, PoolId)>,
    frozen: Vec<PoolId>,
    invalid: Vec<PoolId>,
    /// By pool and family: the first entry that may have a free address.
    first_open: HashMap<(PoolId, Family), usize>,
}

impl Pools {
    /// The pools of `config`.
    pub(super) fn new(config: Arc<Config>) -> Pools {
        let mut pools = Pools { config, ..Pools::default() };
        let config = pools.config.clone();
        for (index, pool) in config.pools.iter().enumerate() {
            let id = PoolId(index);
            pools.ids.insert(pool.name.clone(), id);
            pools.families.push(pool.families());
            match pool.state {
                PoolState::Frozen => pools.frozen.push(id),
                PoolState::Invalid => pools.invalid.push(id),
                PoolState::Accepted => {
                    for (first, last) in merged(&pool.ranges) {
                        pools.accepted.insert(first, (last, id));
                    }
                    match (&pool.allocation, pool.auto_assign) {
                        (Some(_), true) => pools.pinned.push(id),
                        (None, true) => pools.unpinned.push(id),
                        (_, false) => {}
                    }
                }
            }
        }
        let by_name = |id: &PoolId| config.pools.get(id.0).map(|p| p.name.clone());
        pools.unpinned.sort_by_key(by_name);
        pools.pinned.sort_by_key(|id| {
            let priority =
                config.pools.get(id.0).and_then(|p| p.allocation.as_ref()).map_or(0, |a| a.priority);
            (priority == 0, priority, by_name(id))
        });
        pools
    }

    /// A pool.
    pub(super) fn get(&self, id: PoolId) -> Option<&Pool> {
        self.config.pools.get(id.0)
    }

    /// Whether a pool is none that gives or keeps anything.
    pub(super) fn is_invalid(&self, id: PoolId) -> bool {
        self.get(id).is_some_and(|pool| pool.state == PoolState::Invalid)
    }

    /// The pool of this name.
    pub(super) fn named(&self, name: &str) -> Option<(PoolId, &Pool)> {
        let id = *self.ids.get(name)?;
        Some((id, self.get(id)?))
    }

    /// The lists in which a service that asks for nothing looks for a pool: those pinned to it, then those for everybody.
    pub(super) fn lists(&self) -> [&[PoolId]; 2] {
        [&self.pinned, &self.unpinned]
    }

    /// Whether any pool is accepted.
    pub(super) fn any_accepted(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// The accepted pool that `ip` belongs to.
    pub(super) fn accepted(&self, ip: IpAddr) -> Option<(PoolId, &Pool)> {
        let (_, (last, id)) = self.accepted.range(..=ip).next_back()?;
        let same_family = Family::of(*last) == Family::of(ip);
        (same_family && ip <= *last).then_some(*id).and_then(|id| Some((id, self.get(id)?)))
    }

    /// Whether all of `ips` belong to this accepted pool.
    pub(super) fn all_accepted(&self, id: PoolId, ips: &[IpAddr]) -> bool {
        ips.iter().all(|ip| self.accepted(*ip).is_some_and(|(of, _)| of == id))
    }

    /// A rejected pool one of whose entries contains all of `ips`: a frozen one before an invalid one.
    pub(super) fn rejected(&self, ips: &[IpAddr]) -> Option<&Pool> {
        let of = |list: &[PoolId]| {
            list.iter().filter_map(|id| self.get(*id)).find(|p| ips.iter().all(|ip| p.contains(*ip)))
        };
        of(&self.frozen).or_else(|| of(&self.invalid))
    }

    /// The pool that contains all of `ips`, whoever it is for: an accepted one, a frozen one, or an invalid one. `from` is the
    /// pool that they are said to be from.
    pub(super) fn containing(&self, ips: &[IpAddr], from: Option<&str>) -> Option<PoolId> {
        let (id, _) = self.accepted(*ips.first()?).unzip();
        let contains =
            |id: &PoolId| self.get(*id).is_some_and(|pool| ips.iter().all(|ip| pool.contains(*ip)));
        id.filter(|id| self.all_accepted(*id, ips))
            .or_else(|| self.frozen.iter().copied().find(contains))
            .or_else(|| self.invalid_home(ips, from))
    }

    /// The pool that a service may go on holding all of `ips` from. `from` is the pool that they are said to be from.
    pub(super) fn home(&self, ips: &[IpAddr], want: &Want, from: Option<&str>) -> Option<PoolId> {
        self.usable_home(ips, want).or_else(|| self.invalid_home(ips, from))
    }

    /// The same among accepted and frozen pools.
    pub(super) fn usable_home(&self, ips: &[IpAddr], want: &Want) -> Option<PoolId> {
        let first = self.accepted(*ips.first()?);
        if let Some((id, pool)) = first
            && self.all_accepted(id, ips)
        {
            let avoided = pool.avoid_buggy_ips && ips.iter().any(|ip| is_buggy(*ip));
            return (!avoided && keeps(pool, want)).then_some(id);
        }
        // One address inside an overlap belongs to the accepted pool; two of which one is outside stay together.
        if let ([_], Some(_)) = (ips, first) {
            return None;
        }
        self.frozen
            .iter()
            .copied()
            .find(|id| self.get(*id).is_some_and(|p| ips.iter().all(|ip| p.may_give(*ip)) && keeps(p, want)))
    }

    /// The same among invalid pools. What one contains of itself is unsure while its entries can't be read, so addresses that
    /// no pool contains stay together with one that is from it.
    fn invalid_home(&self, ips: &[IpAddr], from: Option<&str>) -> Option<PoolId> {
        let elsewhere = |ip: IpAddr| {
            let among = |list: &[PoolId]| list.iter().any(|id| self.get(*id).is_some_and(|p| p.contains(ip)));
            self.accepted(ip).is_some() || among(&self.frozen) || among(&self.invalid)
        };
        if let [ip] = ips
            && self.accepted(*ip).is_some()
        {
            return None;
        }
        self.invalid.iter().copied().find(|id| {
            self.get(*id).is_some_and(|p| {
                let from_it = from == Some(&*p.name) || ips.iter().any(|ip| p.contains(*ip));
                from_it && ips.iter().all(|ip| p.contains(*ip) || !elsewhere(*ip))
            })
        })
    }

    /// The lowest address of `family` that a pool can give, in the order of its entries.
    pub(super) fn lowest(
        &mut self,
        id: PoolId,
        family: Family,
        want: &Want,
        book: &mut Book,
    ) -> Option<IpAddr> {
        let config = self.config.clone();
        let pool = config.pools.get(id.0)?;
        let first_open = self.first_open.entry((id, family)).or_insert(0);
        // Entries below `first_open` have nothing free, but a service with a sharing key may still share.
        let mut skip = if want.share.is_some() { 0 } else { *first_open };
        for range in pool.ranges.iter().skip(skip) {
            if range.family() == family {
                let found = book.lowest(range, pool.avoid_buggy_ips, want);
                if found.is_some() {
                    return found;
                }
            }
            skip = skip.saturating_add(1);
            // Nothing to share was found up to here either, so nothing is free.
            *first_open = skip.max(*first_open);
        }
        None
    }

    /// An address was freed: its pool's entries are looked through from the first again.
    pub(super) fn freed(&mut self, ip: IpAddr) {
        if let Some((id, _)) = self.accepted(ip) {
            self.first_open.insert((id, Family::of(ip)), 0);
        }
    }

    /// Whether a pool has addresses of these families, used or not.
    pub(super) fn has(&self, id: PoolId, need: FamilySet) -> bool {
        let has = self.families.get(id.0).copied().unwrap_or_default();
        need.iter().all(|f| has.contains(f))
    }
}

/// Whether `pool` may give `want` an address that it doesn't hold, as far as `serviceAllocation` says.
pub(super) fn takes(pool: &Pool, want: &Want) -> bool {
    pool.allocation.as_ref().is_none_or(|a| {
        !a.for_nobody
            && a.namespaces.as_ref().is_none_or(|n| n.contains(&want.key().namespace))
            && a.services.matches(&want.labels)
    })
}

/// Whether `want` may keep an address of `pool`, as far as `serviceAllocation` says.
fn keeps(pool: &Pool, want: &Want) -> bool {
    // MetalLB: selectors that take no namespace give to all; here nobody loses an address by that.
    takes(pool, want)
        || pool.allocation.as_ref().is_some_and(|a| a.for_nobody && a.services.matches(&want.labels))
}

/// The ranges in order, those that overlap as one.
fn merged(ranges: &[AddressRange]) -> Vec<(IpAddr, IpAddr)> {
    let mut all: Vec<(IpAddr, IpAddr)> = ranges.iter().map(|r| (r.first(), r.last())).collect();
    all.sort();
    let mut out: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(all.len());
    for (first, last) in all {
        match out.last_mut() {
            Some(previous) if Family::of(previous.1) == Family::of(first) && first <= previous.1 => {
                previous.1 = last.max(previous.1);
            }
            _ => out.push((first, last)),
        }
    }
    out
}
