//! Configuration: `metallb.io` objects in, a [`Config`] that cannot be wrong out, with every error by object and field.
//!
//! An object is valid or not by itself; what refers to an invalid or missing one is rejected itself; of two in conflict the
//! older one stands. A rejected object never touches another. MetalLB: there the whole configuration is valid or not.
//!
//! [`compile`] goes through the kinds in the order in which they depend on one another: pools, BFD profiles, community
//! aliases, peers, advertisements. The policy for all kinds is in `judge`, the rules are in one file a kind.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod addresses;
mod advertisements;
mod communities;
mod coverage;
mod form;
mod judge;
mod l2;
mod model;
mod nodes;
mod peers;
mod pools;
mod profiles;
pub mod schema;
mod selectors;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use model::*;

use crate::types::{AnyOf, Issue, ObjectKey};
use crate::world::{ConfigObject, Node, World};
use form::Form;
use judge::Judge;

/// What besides the objects decides about a configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace in which configuration objects live.
    pub system_namespace: Arc<str>,
    /// The nodes there are, by their labels: two objects are in conflict only on a node of both.
    pub nodes: Vec<Arc<Node>>,
    /// Whether the Namespaces are known. Without them nothing is said of selectors that take none.
    pub namespaces: bool,
}

/// The last valid form of each object that is still there, kept by running roles; empty otherwise.
///
/// A BGPPeer's form may hold its password: it is for memory, and for files only without that.
pub type LastValid = BTreeMap<ObjectKey, Arc<ConfigObject>>;

/// The outcome of [`compile`].
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The configuration.
    pub config: Config,
    /// The last valid forms for the next compilation.
    pub valid: LastValid,
    /// The objects in `config.errors` that go on in their last valid form, sorted.
    pub kept: Vec<ObjectKey>,
    /// The codes of those errors whose words tell of more than the field they are about.
    pub codes: BTreeMap<Issue, schema::Code>,
}

/// The `spec.nodeSelectors` of an object of any kind, whatever else is wrong with it; `None` where they can't be read.
pub fn node_selectors(object: &ConfigObject) -> Option<AnyOf> {
    let mut form = Form::new(object);
    let field = form.spec().get("nodeSelectors");
    let selectors = selectors::any_of(&mut form, &field);
    let broken = form.errors.iter().filter_map(|e| e.field.as_deref()).any(|f| f.starts_with(&field.path));
    (!broken).then_some(selectors)
}

/// Compiles the configuration objects of the world.
///
/// An object that was edited into an invalid form is in the errors, and its last valid form takes its place where that
/// still holds. Not so a pool that is invalid only for overlapping an older one: that is frozen as it is now.
pub fn compile(world: &World, settings: &Settings, last_valid: &LastValid) -> Compiled {
    compile_by(Judge::new(world, &settings.system_namespace, last_valid), world, settings)
}

/// As [`compile`], but what an object refers to and isn't there, or isn't valid, is a warning; Secrets aren't looked at.
/// For who judges an edit: the rest may be still to come.
pub fn compile_trusting(world: &World, settings: &Settings) -> Compiled {
    let last_valid = LastValid::new();
    let mut judge = Judge::new(world, &settings.system_namespace, &last_valid);
    judge.trusting = true;
    compile_by(judge, world, settings)
}

fn compile_by(mut judge: Judge<'_>, world: &World, settings: &Settings) -> Compiled {
    let system = &*settings.system_namespace;
    report_others(&mut judge, world, system);

    let namespaces = settings.namespaces.then(|| world.namespaces(system));
    let pools = pools::compile(&mut judge, namespaces.as_ref());
    let profiles = profiles::compile(&mut judge);
    let aliases = communities::compile(&mut judge);
    let peers = peers::compile(&mut judge, world, settings, &profiles);
    let peer_names: BTreeSet<&str> = judge.objects("BGPPeer").map(|o| o.key.name.as_str()).collect();
    let context = advertisements::Context {
        settings,
        pools: &pools,
        peers: &peers,
        peer_names: &peer_names,
        profiles: &profiles,
        aliases: &aliases,
    };
    let bgp_advertisements = advertisements::compile(&mut judge, &context);
    let l2_advertisements = l2::compile(&mut judge, &pools);

    let has_bgp_advertisements = judge.objects("BGPAdvertisement").next().is_some();
    let has_l2_advertisements = judge.objects("L2Advertisement").next().is_some();
    let Judge { valid, mut kept, mut errors, mut warnings, codes, .. } = judge;
    kept.sort();
    for issues in [&mut errors, &mut warnings] {
        issues.sort();
        issues.dedup();
    }
    let peers = peers.into_iter().map(|(peer, _)| peer).collect();
    let config = Config {
        pools: pools.pools,
        peers,
        bgp_advertisements,
        l2_advertisements,
        has_bgp_advertisements,
        has_l2_advertisements,
        errors,
        warnings,
    };
    Compiled { config, valid, kept, codes }
}

/// The kinds of configuration; the other kinds of the group are what FerroLB itself writes.
const KINDS: [&str; 6] =
    ["BFDProfile", "BGPAdvertisement", "BGPPeer", "Community", "IPAddressPool", "L2Advertisement"];

/// Warns of configuration outside the system namespace, and checks the objects that aren't configuration.
fn report_others(judge: &mut Judge<'_>, world: &World, system: &str) {
    for object in world.config_objects() {
        if !KINDS.contains(&object.key.kind.as_str()) {
            judge.check_only(object);
        } else if object.key.namespace != system {
            let text = format!(
                "configuration counts in the namespace {system:?} only, so that this is ignored: move it there"
            );
            judge.warnings.push(Issue::new(&object.key, None, text));
        }
    }
}

#[cfg(test)]
mod tests;
