//! Which nodes two objects have in common.

use std::sync::Arc;

use crate::types::AnyOf;
use crate::world::Node;

/// A set of the nodes of one compilation, one bit each.
#[derive(Clone, Debug)]
pub(super) struct NodeSet(Vec<u64>);

impl NodeSet {
    /// The nodes that match.
    pub fn matching(nodes: &[Arc<Node>], selectors: &AnyOf) -> NodeSet {
        let word = |chunk: &[Arc<Node>]| {
            chunk.iter().rev().fold(0, |word, node| word << 1 | u64::from(selectors.matches(&node.labels)))
        };
        NodeSet(nodes.chunks(64).map(word).collect())
    }

    /// Whether a node is in both.
    pub fn shares_with(&self, other: &NodeSet) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }
}
