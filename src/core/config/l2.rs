//! `L2Advertisement` objects. They are never in conflict with one another.

use super::coverage::{Coverage, covered_pools};
use super::judge::{Judge, Verdict};
use super::pools::Pools;
use super::{L2Advertisement, selectors};

/// Judges all layer-2 advertisements.
pub(super) fn compile(judge: &mut Judge<'_>, all_pools: &Pools) -> Vec<L2Advertisement> {
    let mut accepted = Vec::new();
    judge.each("L2Advertisement", |form| {
        let spec = form.spec();
        let Coverage { pools, nodes, services } = covered_pools(form, all_pools);
        let mut preferred_nodes = Vec::new();
        for entry in spec.get("preferredNodeSelectors").items() {
            let selector = selectors::one(form, &entry.get("preference"));
            // The schema refuses weights outside 1 to 100.
            let weight = entry.get("weight").integer().and_then(|w| u32::try_from(w).ok()).unwrap_or(0);
            preferred_nodes.push((weight, selector));
        }
        if form.has_errors() {
            return Verdict::Rejected;
        }
        accepted.push(L2Advertisement {
            name: form.object.key.name.as_str().into(),
            created: form.object.created,
            pools,
            nodes,
            interfaces: spec.get("interfaces").texts().into_iter().map(|(_, name)| name.into()).collect(),
            services,
            preferred_nodes,
        });
        Verdict::Accepted
    });
    accepted.sort_by(|a, b| a.name.cmp(&b.name));
    accepted
}
