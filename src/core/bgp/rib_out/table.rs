//! A group's routes of one family, by prefix and in the order of a dump.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use ipnet::IpNet;

use crate::types::RouteAttributes;

/// An interned set of attributes: equal ones are mostly the same allocation, so that comparing is cheap.
#[derive(Clone, Debug)]
pub(super) struct Attributes(Arc<RouteAttributes>);

impl Attributes {
    pub(super) fn shared(&self) -> &Arc<RouteAttributes> {
        &self.0
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Attributes {}

impl Ord for Attributes {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Attributes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Makes equal attribute sets one allocation.
#[derive(Debug, Default)]
pub(super) struct Interner {
    known: HashSet<Arc<RouteAttributes>>,
    /// The pair looked up last: routes come in runs that share one allocation.
    last: Option<(Arc<RouteAttributes>, Attributes)>,
    /// The size at which those that nobody uses any more are thrown out.
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
            Some(known) => Attributes(known.clone()),
            None => {
                if self.known.len() >= self.sweep_at {
                    self.known.retain(|known| Arc::strong_count(known) > 1);
                    self.sweep_at = self.known.len().saturating_mul(2).max(Self::LEAST_SWEEP);
                }
                self.known.insert(attributes.clone());
                Attributes(attributes.clone())
            }
        };
        self.last = Some((attributes.clone(), answer.clone()));
        answer
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

    /// Sets or removes a route; gives back what was there before.
    pub(super) fn set(&mut self, prefix: IpNet, new: Option<Attributes>) -> Option<Attributes> {
        let old = match &new {
            Some(new) => self.routes.insert(prefix, new.clone()),
            None => self.routes.remove(&prefix),
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
