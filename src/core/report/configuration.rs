use crate::config::node_selectors;
use crate::types::{Issue, Labels};
use crate::world::World;

/// The errors that the speaker of a node tells of: those of peers, advertisements and BFD profiles that select the node, by
/// its labels. An object that is gone, or whose selectors can't be read, counts as selecting it.
pub fn speaker_errors<'a>(
    errors: &'a [Issue],
    world: &'a World,
    node: Option<&'a Labels>,
) -> impl Iterator<Item = &'a Issue> {
    errors.iter().filter(|issue| !is_controllers(issue)).filter(move |issue| {
        let Some(object) = world.config_object(&issue.object()) else { return true };
        let Some(selectors) = node_selectors(object) else { return true };
        selectors.0.is_empty() || node.is_some_and(|labels| selectors.matches(labels))
    })
}

/// The errors that the controller tells of: those of pools and communities.
pub fn controller_errors(errors: &[Issue]) -> impl Iterator<Item = &Issue> {
    errors.iter().filter(|issue| is_controllers(issue))
}

fn is_controllers(issue: &Issue) -> bool {
    matches!(issue.kind.as_str(), "IPAddressPool" | "Community")
}
