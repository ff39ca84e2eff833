//! Who waits for what: services whose request couldn't be met, by what could help them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::Bound;

use super::pools::PoolId;
use super::settle::Wait;
use super::want::Order;
use crate::types::Family;

/// The services that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    address: HashMap<IpAddr, BTreeSet<Order>>,
    pool: HashMap<(PoolId, Family), BTreeSet<Order>>,
    automatic: BTreeSet<Order>,
}

impl Waiting {
    /// `order` waits for `waits`.
    pub(super) fn add(&mut self, order: &Order, waits: &[Wait]) {
        for wait in waits {
            match wait {
                Wait::Address(ip) => self.address.entry(*ip).or_default().insert(order.clone()),
                Wait::Pool(id, family) => self.pool.entry((*id, *family)).or_default().insert(order.clone()),
                Wait::Automatic => self.automatic.insert(order.clone()),
            };
        }
    }

    /// `order` doesn't any more.
    pub(super) fn remove(&mut self, order: &Order, waits: &[Wait]) {
        for wait in waits {
            match wait {
                Wait::Address(ip) => remove_from(&mut self.address, ip, order),
                Wait::Pool(id, family) => remove_from(&mut self.pool, &(*id, *family), order),
                Wait::Automatic => {
                    self.automatic.remove(order);
                }
            }
        }
    }

    /// Those who ask for this very address.
    pub(super) fn for_address(&self, ip: IpAddr) -> impl Iterator<Item = &Order> {
        self.address.get(&ip).into_iter().flatten()
    }

    /// Whether `order` waits for an address of this very pool.
    pub(super) fn waits_for_pool(&self, id: (PoolId, Family), order: &Order) -> bool {
        self.pool.get(&id).is_some_and(|set| set.contains(order))
    }

    /// The first after `after` who waits for an address of this pool, or of any.
    pub(super) fn next_for_pool(&self, id: (PoolId, Family), after: Option<&Order>) -> Option<Order> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let named = self.pool.get(&id).and_then(|set| set.range::<Order, _>(range).next());
        let automatic = self.automatic.range::<Order, _>(range).next();
        named.into_iter().chain(automatic).min().cloned()
    }
}

fn remove_from<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<Order>>, key: &K, order: &Order) {
    if let Some(set) = map.get_mut(key) {
        set.remove(order);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

/// Addresses that were freed during a pass, by pool and family, and how far those who wait for one were asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Freed(BTreeMap<(PoolId, Family), FreedOfPool>);

/// The same of one pool and family.
#[derive(Clone, Debug, Default)]
pub(super) struct FreedOfPool {
    /// Those that somebody may still take or share.
    pub(super) ips: BTreeSet<IpAddr>,
    /// Who was asked last.
    pub(super) asked: Option<Order>,
}

impl Freed {
    /// `ip` of this pool was freed: all who wait are asked again, from the first.
    pub(super) fn add(&mut self, id: (PoolId, Family), ip: IpAddr) {
        let pool = self.0.entry(id).or_default();
        pool.ips.insert(ip);
        pool.asked = None;
    }

    /// `ip` was taken by one who doesn't share.
    pub(super) fn taken(&mut self, id: (PoolId, Family), ip: IpAddr) {
        if let Some(pool) = self.0.get_mut(&id) {
            pool.ips.remove(&ip);
            if pool.ips.is_empty() {
                self.0.remove(&id);
            }
        }
    }

    /// What was freed of this one.
    pub(super) fn get(&self, id: (PoolId, Family)) -> Option<&FreedOfPool> {
        self.0.get(&id)
    }

    /// The pools with freed addresses.
    pub(super) fn pools(&self) -> impl Iterator<Item = ((PoolId, Family), &FreedOfPool)> {
        self.0.iter().map(|(id, pool)| (*id, pool))
    }

    /// `order` was asked on account of this pool; `None`: all were.
    pub(super) fn asked(&mut self, id: (PoolId, Family), order: Option<Order>) {
        match order {
            None => {
                self.0.remove(&id);
            }
            Some(order) => {
                if let Some(pool) = self.0.get_mut(&id) {
                    pool.asked = Some(order);
                }
            }
        }
    }
}
