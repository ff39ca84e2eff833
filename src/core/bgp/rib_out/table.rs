//! A group's routes of one family, by prefix and in the order of a dump.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use ipnet::IpNet;

use crate::types::RouteAttributes;

/// An interned set of attributes: one word. Equal ones share one allocation, so that comparing needn't look inside.
#[derive(Clone, Debug)]
pub(super) struct Attributes(Arc<Numbered>);

#[derive(Debug)]
struct Numbered {
    number: u64,
    shared: Arc<RouteAttributes>,
}

impl Attributes {
    pub(super) fn shared(&self) -> &Arc<RouteAttributes> {
        &self.0.shared
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Attributes {}

impl Ord for Attributes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.number.cmp(&other.0.number)
    }
}

impl PartialOrd for Attributes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Numbers attribute sets. A number stands for its set as long as anybody holds it, and never for another one.
#[derive(Debug, Default)]
pub(super) struct Interner {
    known: HashMap<Arc<RouteAttributes>, Attributes>,
    next_number: u64,
    /// The pair looked up last: routes come in runs that share one allocation.
    last: Option<(Arc<RouteAttributes>, Attributes)>,
    /// The size at which those that nobody holds any more are thrown out.
    sweep_at: usize,
}

impl Interner {
    const LEAST_SWEEP: usize = 64;

    pub(super) fn intern(&mut self, attributes: &Arc<RouteAttributes>) -> Attributes {
        if let Some((asked, answer)) = &self.last
            && Arc::ptr_eq(asked, attributes)
        {
            return answer.clone();
        }
        let answer = match self.known.get(attributes) {
            Some(known) => known.clone(),
            None => self.add(attributes),
        };
        self.last = Some((attributes.clone(), answer.clone()));
        answer
    }

    fn add(&mut self, attributes: &Arc<RouteAttributes>) -> Attributes {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, known| Arc::strong_count(&known.0) > 1);
            self.sweep_at = self.known.len().saturating_mul(2).max(Self::LEAST_SWEEP);
        }
        self.next_number += 1;
        let new = Attributes(Arc::new(Numbered { number: self.next_number, shared: attributes.clone() }));
        self.known.insert(attributes.clone(), new.clone());
        new
    }
}

/// A place in the order of a dump: by attribute set, then by prefix.
pub(super) type Position = (Attributes, IpNet);

/// The routes.
#[derive(Debug, Default)]
pub(super) struct Table {
    routes: HashMap<IpNet, Attributes>,
    ordered: BTreeMap<Attributes, BTreeSet<IpNet>>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }

    pub(super) fn get(&self, prefix: &IpNet) -> Option<&Attributes> {
        self.routes.get(prefix)
    }

    pub(super) fn prefixes(&self) -> impl Iterator<Item = &IpNet> {
        self.routes.keys()
    }

    /// In the order of a dump.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Attributes, &IpNet)> {
        self.ordered.iter().flat_map(|(attributes, prefixes)| prefixes.iter().map(move |p| (attributes, p)))
    }

    /// How many routes come no later than `at` in the order of a dump.
    pub(super) fn up_to(&self, at: &Position) -> usize {
        let (attributes, last) = at;
        let before: usize = self.ordered.range(..attributes).map(|(_, prefixes)| prefixes.len()).sum();
        let within = self.ordered.get(attributes).map_or(0, |prefixes| prefixes.range(..=last).count());
        before + within
    }

    /// Sets or removes a route; gives back what was there before.
    pub(super) fn set(&mut self, prefix: IpNet, new: Option<Attributes>) -> Option<Attributes> {
        let old = match &new {
            Some(new) => self.routes.insert(prefix, new.clone()),
            None => {
                let old = self.routes.remove(&prefix);
                give_back(&mut self.routes);
                old
            }
        };
        if old == new {
            return old;
        }
        if let Some(old) = &old
            && let Some(prefixes) = self.ordered.get_mut(old)
        {
            prefixes.remove(&prefix);
            if prefixes.is_empty() {
                self.ordered.remove(old);
            }
        }
        if let Some(new) = new {
            self.ordered.entry(new).or_default().insert(prefix);
        }
        old
    }

    /// The first attribute set behind `from` that has prefixes left, and those prefixes, ascending.
    pub(super) fn run_after(
        &self,
        from: Option<&Position>,
    ) -> Option<(&Attributes, impl Iterator<Item = &IpNet> + Clone)> {
        let sets = match from {
            Some((attributes, _)) => self.ordered.range(attributes..),
            None => self.ordered.range::<Attributes, _>(..),
        };
        for (attributes, prefixes) in sets {
            let start = match from {
                Some((at, prefix)) if at == attributes => Bound::Excluded(*prefix),
                _ => Bound::Unbounded,
            };
            let mut rest = prefixes.range((start, Bound::Unbounded)).peekable();
            if rest.peek().is_some() {
                return Some((attributes, rest));
            }
        }
        None
    }
}

/// Gives memory back that a map once needed and doesn't any more.
pub(super) fn give_back<V>(map: &mut HashMap<IpNet, V>) {
    const SMALL: usize = 256;
    if map.capacity() > SMALL && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len().saturating_mul(2));
    }
}
