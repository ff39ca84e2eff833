use std::collections::BTreeSet;
use std::sync::Arc;

/// Which interfaces of a node answer for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceSet {
    /// All of them.
    Any,
    /// Those of these names, as far as they are there.
    Only(BTreeSet<Arc<str>>),
}

impl InterfaceSet {
    /// Whether the interface of this name is one of them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            InterfaceSet::Any => true,
            InterfaceSet::Only(names) => names.contains(name),
        }
    }

    /// Those of either.
    pub fn union(self, other: InterfaceSet) -> InterfaceSet {
        match (self, other) {
            (InterfaceSet::Only(mut names), InterfaceSet::Only(more)) => {
                names.extend(more);
                InterfaceSet::Only(names)
            }
            _ => InterfaceSet::Any,
        }
    }
}
