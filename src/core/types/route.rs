use std::collections::BTreeSet;

use super::{LargeCommunity, StandardCommunity};

/// What is announced with a route, whoever it goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteAttributes {
    /// LOCAL_PREF where asked for; 0 counts as unset.
    pub local_pref: Option<u32>,
    /// How many more copies of our AS; 0 to 10.
    pub as_path_prepend: u8,
    /// Standard communities.
    pub communities: BTreeSet<StandardCommunity>,
    /// Large communities.
    pub large_communities: BTreeSet<LargeCommunity>,
}

/// Names a set of routes that one or several peers get; stays the same while the peers that share it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);
