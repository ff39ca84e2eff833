//! What advertisements of both protocols say alike: the pools that they cover, the nodes and the services.

use std::collections::BTreeSet;

use super::form::Form;
use super::pools::Pools;
use super::{PoolSet, selectors};
use crate::types::AnyOf;

/// For which pools, nodes and services an advertisement is.
pub(super) struct Coverage {
    pub pools: PoolSet,
    pub nodes: AnyOf,
    pub services: AnyOf,
}

/// Reads it from the fields of these names. A pool that doesn't exist is a warning, one that is rejected isn't.
pub(super) fn covered_pools(form: &mut Form<'_>, pools: &Pools) -> Coverage {
    let spec = form.spec();
    let named = form.distinct_texts(&spec.get("ipAddressPools"));
    let mut covered = BTreeSet::new();
    for (path, name) in &named {
        match pools.get(name) {
            Some(pool) => _ = covered.insert(pool.name.clone()),
            None => {
                form.warning(
                    path,
                    format!("there is no IPAddressPool {name:?}: create it, or correct the name"),
                );
            }
        }
    }
    let selecting = selectors::any_of(form, &spec.get("ipAddressPoolSelectors"));
    // An empty list of selectors would match every pool, but beside names it matches none.
    if named.is_empty() || !selecting.0.is_empty() {
        let selected = pools.pools.iter().filter(|p| selecting.matches(&p.labels));
        covered.extend(selected.map(|p| p.name.clone()));
    }
    Coverage {
        pools: PoolSet(covered),
        nodes: selectors::any_of(form, &spec.get("nodeSelectors")),
        services: selectors::any_of(form, &spec.get("serviceSelectors")),
    }
}
