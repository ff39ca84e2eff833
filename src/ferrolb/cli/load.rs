//! Objects, of manifests from the command line or of a cluster, into an engine, for the commands that decide once.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ferrolb_core::alloc::{Allocator, Mode};
use ferrolb_core::config::LastValid;
use ferrolb_core::decide::Options;
use ferrolb_core::engine::{Engine, EngineOptions, SourceChange};
use ferrolb_core::manifest::Located;
use ferrolb_core::types::{Issue, NodeName, ObjectKey};
use ferrolb_core::world::Object;

use super::args::{InputArgs, NodeArgs};
use crate::shell::source;

/// The node that there is where the manifests have none and none is named.
const LONE_NODE: &str = "local";

/// What was read, and what the one engine makes of it.
pub struct Offline {
    /// The chain from objects to decisions.
    pub engine: Engine,
    /// The node that the output is limited to.
    pub only: Option<NodeName>,
    /// Warnings of reading.
    pub warnings: Vec<Issue>,
    /// Where each object was read.
    pub objects: Vec<Located>,
}

/// Reads `paths` and decides.
///
/// # Errors
/// One line, where the input can't be read or names an unknown node or peer.
pub fn load(input: &InputArgs, more: &[PathBuf], nodes: &NodeArgs) -> Result<Offline, String> {
    let paths: Vec<PathBuf> = input.files.iter().chain(more).cloned().collect();
    let loaded = source::load(&paths).map_err(|e| e.to_string())?;
    let objects = loaded.objects.iter().map(|l| l.object.clone()).collect();
    let (engine, only) = decide(input, nodes, objects, "the manifests")?;
    Ok(Offline { engine, only, warnings: loaded.warnings, objects: loaded.objects })
}

/// Decides about these objects, which are from `place`. Beside the engine: the node that the output is limited to.
///
/// # Errors
/// One line, where the arguments name an unknown node or peer.
pub fn decide(
    input: &InputArgs,
    nodes: &NodeArgs,
    objects: Vec<Object>,
    place: &str,
) -> Result<(Engine, Option<NodeName>), String> {
    let node = NodeName::new(nodes.node.as_deref().unwrap_or(LONE_NODE));
    let down: BTreeSet<NodeName> = nodes.down.iter().map(|n| NodeName::new(n)).collect();
    let options = EngineOptions {
        system_namespace: input.namespace.as_str().into(),
        class: input.class().map(Into::into),
        decide: Options { ignore_exclude_lb: nodes.ignore_exclude_lb, down: down.clone(), live: None },
        node: node.clone(),
        speaker: false,
        keep_routes: false,
        allocate_for_many: true,
    };
    let allocator = Allocator::new(Mode::Allocate, input.class().map(Into::into));
    let mut engine = Engine::new(options, allocator, LastValid::default(), Default::default());
    engine.apply(objects.into_iter().map(SourceChange::Apply).collect(), None);

    let known = |name: &str| engine.nodes().iter().any(|n| n.name.as_str() == name);
    let names = || engine.nodes().iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(", ");
    for (flag, name) in
        nodes.node.iter().map(|n| ("--node", n)).chain(nodes.down.iter().map(|n| ("--down", n)))
    {
        if !known(name) {
            return Err(format!(
                "{flag} names the node {name:?}, which isn't in {place} (there: {})",
                names()
            ));
        }
    }
    for pair in &nodes.bgp_down {
        let Some((node, peer)) = pair.split_once('/') else {
            return Err(format!("--bgp-down takes NODE/PEER, not {pair:?}"));
        };
        if !known(node) {
            return Err(format!(
                "--bgp-down names the node {node:?}, which isn't in {place} (there: {})",
                names()
            ));
        }
        let key = ObjectKey::new("BGPPeer", &input.namespace, peer);
        if engine.world().config_object(&key).is_none() {
            return Err(format!(
                "--bgp-down names the peer {peer:?}, and there is no such BGPPeer in {place}"
            ));
        }
    }
    Ok((engine, nodes.node.is_some().then_some(node)))
}
