//! What the engine knew at one moment.

use std::sync::Arc;

use crate::alloc::Allocator;
use crate::config::Config;
use crate::decide::{Coverage, Decisions, Options};
use crate::world::{Node, World};

/// World, configuration and allocation at one moment; other threads can look at it while the engine goes on.
///
/// It shares with the engine what hasn't changed since, so that taking one costs next to nothing. The first change while
/// one lasts copies what it changes, the index of the objects and not the objects themselves.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) world: Arc<World>,
    pub(super) config: Arc<Config>,
    pub(super) coverage: Arc<Coverage>,
    pub(super) allocator: Arc<Allocator>,
    pub(super) options: Options,
    pub(super) nodes: Vec<Arc<Node>>,
}

impl Snapshot {
    /// What every node did, as things stood.
    pub fn decisions(&self) -> Decisions<'_> {
        Decisions {
            world: &self.world,
            config: &self.config,
            coverage: &self.coverage,
            allocator: &self.allocator,
            options: &self.options,
            nodes: &self.nodes,
        }
    }

    /// The configuration that was in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }
}
