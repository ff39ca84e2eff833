use std::sync::Arc;

use crate::config::BgpAdvertisement;
use crate::types::RouteAttributes;

/// An advertisement whose value for a route lost against an older one's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Disagreement {
    /// The younger advertisement.
    pub name: Arc<str>,
    /// The field that lost.
    pub field: &'static str,
    /// The older one, whose value stands.
    pub older: Arc<str>,
}

/// The attributes of a route that several advertisements make: communities are united; of different local preferences or
/// prepends the older advertisement's stands, an unset one too. Towards an iBGP peer there is no prepending, towards an
/// eBGP peer no local preference.
pub fn merge<'a>(
    advertisements: impl IntoIterator<Item = &'a BgpAdvertisement>,
    ibgp: bool,
    mut disagree: impl FnMut(Disagreement),
) -> RouteAttributes {
    let mut merged = RouteAttributes::default();
    let mut all: Vec<&BgpAdvertisement> = advertisements.into_iter().collect();
    all.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let Some(oldest) = all.first().copied() else { return merged };
    if ibgp {
        merged.local_pref = oldest.attributes.local_pref;
    } else {
        merged.as_path_prepend = oldest.attributes.as_path_prepend;
    }
    for a in all {
        let differs = if ibgp {
            a.attributes.local_pref.unwrap_or(0) != merged.local_pref.unwrap_or(0)
        } else {
            a.attributes.as_path_prepend != merged.as_path_prepend
        };
        if differs {
            let field = if ibgp { "spec.localPref" } else { "spec.asPathPrepend" };
            disagree(Disagreement { name: a.name.clone(), field, older: oldest.name.clone() });
        }
        merged.communities.extend(&a.attributes.communities);
        merged.large_communities.extend(&a.attributes.large_communities);
    }
    merged
}
