//! `IPAddressPool` objects: their own rules, and overlap, in which the older pool stands and the younger is frozen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::addresses::{parse_entry, widest_prefix};
use super::form::{Field, Form};
use super::judge::{Judge, Verdict};
use super::schema::Code;
use super::{Pool, PoolAllocation, PoolState, selectors};
use crate::types::{AddressRange, Family, Labels};

type Namespaces = BTreeMap<Arc<str>, Labels>;

/// All pools, by name, with what advertisements are checked against.
pub(super) struct Pools {
    pub pools: Vec<Pool>,
    /// The narrowest that an aggregation length may be, for accepted pools.
    shortest: BTreeMap<(Arc<str>, Family), u8>,
}

impl Pools {
    /// The pool of this name, whatever its state: every pool object has one.
    pub fn get(&self, name: &str) -> Option<&Pool> {
        let index = self.pools.binary_search_by(|p| (*p.name).cmp(name)).ok()?;
        self.pools.get(index)
    }

    /// The shortest prefix length that an advertisement may aggregate to, where the pool is accepted and has the family:
    /// each of its entries has to contain a prefix of that length.
    pub fn shortest_aggregation(&self, pool: &Pool, family: Family) -> Option<u8> {
        self.shortest.get(&(pool.name.clone(), family)).copied()
    }
}

/// Judges all pools. `namespaces` are all there are, with their labels; `None`: that isn't known.
pub(super) fn compile(judge: &mut Judge<'_>, namespaces: Option<&Namespaces>) -> Pools {
    let mut pools = Vec::new();
    let mut taken = Taken::default();
    let left_out = judge.each("IPAddressPool", |form| {
        let entries = read_entries(form);
        let mut pool = read_pool(form, &entries, namespaces);
        if form.has_errors() {
            return Verdict::Rejected;
        }
        if taken.overlaps(form, &entries) {
            pool.state = PoolState::Frozen;
            pools.push(pool);
            return Verdict::Frozen;
        }
        taken.add(&pool);
        pools.push(pool);
        Verdict::Accepted
    });
    for object in left_out {
        // What services hold from it stays theirs, so its addresses have to be known as far as they can be read.
        let mut form = Form::new(object);
        let entries = read_entries(&mut form);
        pools.push(Pool { state: PoolState::Invalid, ..read_pool(&mut form, &entries, namespaces) });
    }
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    let mut shortest = BTreeMap::new();
    for pool in pools.iter().filter(|p| p.state == PoolState::Accepted) {
        for range in &pool.ranges {
            let length = shortest.entry((pool.name.clone(), range.family())).or_default();
            *length = widest_prefix(range).max(*length);
        }
    }
    Pools { pools, shortest }
}

/// An entry of `addresses` that could be read.
struct Entry<'a> {
    path: String,
    text: &'a str,
    range: AddressRange,
}

fn read_entries<'a>(form: &mut Form<'a>) -> Vec<Entry<'a>> {
    let addresses = form.spec().get("addresses");
    if addresses.items().is_empty() {
        form.error(&addresses.path, "a pool needs addresses: list a prefix or a range");
    }
    let mut entries = Vec::new();
    for (path, text) in addresses.texts() {
        match parse_entry(text) {
            Ok(range) => entries.push(Entry { path, text, range }),
            Err(message) => form.error(&path, message),
        }
    }
    check_overlap_within(form, &entries);
    entries
}

/// Walks the entries by their first address; one that starts before the furthest end so far overlaps the entry with it.
fn check_overlap_within<'a>(form: &mut Form<'a>, entries: &[Entry<'a>]) {
    let mut order: Vec<(usize, &Entry<'_>)> = entries.iter().enumerate().collect();
    order.sort_by_key(|(index, e)| (e.range, *index));
    let mut furthest: Option<(usize, &Entry<'_>)> = None;
    for (index, entry) in order {
        if let Some((other_index, other)) = furthest
            && other.range.overlaps(&entry.range)
        {
            let (later, earlier) = if index > other_index { (entry, other) } else { (other, entry) };
            let text =
                format!("{:?} overlaps {:?} of the same pool: remove one of them", later.text, earlier.text);
            form.error_by(Code::OverlapWithin, &later.path, text);
            if other.range.last() >= entry.range.last() {
                continue;
            }
        }
        furthest = Some((index, entry));
    }
}

fn read_pool<'a>(form: &mut Form<'a>, entries: &[Entry<'a>], namespaces: Option<&Namespaces>) -> Pool {
    let spec = form.spec();
    let allocation = spec.get("serviceAllocation");
    Pool {
        name: form.object.key.name.as_str().into(),
        created: form.object.created,
        labels: form.object.labels.clone(),
        state: PoolState::Accepted,
        ranges: entries.iter().map(|e| e.range).collect(),
        auto_assign: spec.get("autoAssign").boolean().unwrap_or(true),
        avoid_buggy_ips: spec.get("avoidBuggyIPs").boolean().unwrap_or(false),
        allocation: allocation.is_object().then(|| read_allocation(form, &allocation, namespaces)),
    }
}

fn read_allocation<'a>(
    form: &mut Form<'a>,
    allocation: &Field<'a>,
    namespaces: Option<&Namespaces>,
) -> PoolAllocation {
    let named = form.distinct_texts(&allocation.get("namespaces"));
    let selectors_field = allocation.get("namespaceSelectors");
    let selecting = selectors::any_of(form, &selectors_field);
    let services = selectors::any_of(form, &allocation.get("serviceSelectors"));
    let priority = allocation.get("priority").integer().unwrap_or(0);
    let mut chosen: BTreeSet<Arc<str>> = named.iter().map(|(_, name)| Arc::from(*name)).collect();
    if !selecting.0.is_empty() {
        let selected = namespaces.into_iter().flatten().filter(|(_, labels)| selecting.matches(labels));
        chosen.extend(selected.map(|(name, _)| name.clone()));
    }
    let for_nobody = namespaces.is_some() && !selecting.0.is_empty() && chosen.is_empty();
    if for_nobody {
        let text = "no namespace matches, so the pool gives no new address to anybody: label a namespace, or correct the \
                    selectors";
        form.warning(&selectors_field.path, text);
    }
    let for_all = named.is_empty() && selecting.0.is_empty();
    // A negative priority counts as unset, as does one beyond all use.
    let priority = u64::try_from(priority).unwrap_or(0);
    PoolAllocation { priority, namespaces: (!for_all).then_some(chosen), for_nobody, services }
}

/// The ranges of the accepted pools, by their first address; no two overlap.
#[derive(Default)]
struct Taken(BTreeMap<IpAddr, (AddressRange, Arc<str>)>);

impl Taken {
    fn add(&mut self, pool: &Pool) {
        for range in &pool.ranges {
            self.0.insert(range.first(), (*range, pool.name.clone()));
        }
    }

    /// Notes each entry that overlaps an accepted pool, once for each such pool, and says whether there are any.
    fn overlaps<'a>(&self, form: &mut Form<'a>, entries: &[Entry<'a>]) -> bool {
        let before = form.errors.len();
        for entry in entries {
            let up_to_its_end = self.0.range(..=entry.range.last()).rev();
            // As they don't overlap one another, those that reach into the entry come first from behind.
            let overlapping = up_to_its_end.take_while(|(_, (taken, _))| taken.overlaps(&entry.range));
            let pools: BTreeSet<_> = overlapping.map(|(_, (_, pool))| pool).collect();
            for pool in pools {
                let text = format!(
                    "{:?} overlaps the older IPAddressPool {pool:?}, so that this pool gives no new address: take it out \
                     of one of them",
                    entry.text
                );
                form.error_by(Code::Overlap, &entry.path, text);
            }
        }
        form.errors.len() > before
    }
}
