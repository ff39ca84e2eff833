//! The other Nodes: how much of them decisions need, and what waits for them.
//!
//! Their list takes a while, and may be forbidden. Until it is complete everything is decided on the Nodes that are known;
//! only an object of the configuration that can't be judged without the others is withheld, and stays in force as it was
//! before. With the list it is released, as one change: nobody is elected on half a list.
//!
//! Where nothing needs them any more they go on to be watched for a while: an edit back and forth doesn't list thousands of
//! Nodes twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ferrolb_core::engine::{Engine, SourceChange};
use ferrolb_core::types::ObjectKey;
use ferrolb_core::world::{ConfigObject, Object, ObjectId};
use serde_json::Value;
use tracing::info;

/// How much of the other Nodes is watched, known or needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Others {
    /// Nothing.
    None,
    /// Their labels.
    Labels,
    /// All that there is to know.
    Full,
}

/// See the module.
#[derive(Debug)]
pub struct OtherNodes {
    /// How long they are watched after they were needed.
    pub(super) linger: Duration,
    /// What is watched, listed completely or not yet.
    watched: Others,
    /// What decisions can rest on.
    known: Others,
    /// What the configuration in force needs.
    configured: Others,
    /// Whether this speaker tells of Services: see [`Teller`](super::Teller).
    telling: bool,
    /// Whether what is decided is announced; before that, nothing needs to be withheld.
    announces: bool,
    /// What waits for more to be known.
    withheld: BTreeMap<ObjectKey, ConfigObject>,
    /// To what less is to be watched, and from when on.
    narrowing: Option<(Others, Instant)>,
}

impl OtherNodes {
    /// Nothing is watched, and nothing withheld.
    pub fn new(linger: Duration) -> OtherNodes {
        OtherNodes {
            linger,
            watched: Others::None,
            known: Others::None,
            configured: Others::None,
            telling: false,
            announces: false,
            withheld: BTreeMap::new(),
            narrowing: None,
        }
    }

    /// What decisions can rest on.
    pub fn known(&self) -> Others {
        self.known
    }

    /// Whether as much is known as is watched.
    pub fn is_complete(&self) -> bool {
        self.known >= self.watched
    }

    /// What is decided is announced from now on.
    pub fn announces(&mut self) {
        self.announces = true;
    }

    /// Takes what the configuration in force needs. An object that was edited into an invalid one is in force as it was.
    pub fn follow(&mut self, engine: &Engine) {
        let objects = engine.world().config_objects().chain(engine.last_valid().values());
        self.configured = objects.map(|object| needed_by(object)).max().unwrap_or(Others::None);
    }

    /// Whether this speaker tells of Services, for which it has to know all Nodes.
    pub fn tells(&mut self, telling: bool) {
        self.telling = telling;
    }

    /// What of these changes can be decided, with what was withheld and can be now; `listed`: all that is watched is known
    /// with them.
    pub fn sift(&mut self, changes: Vec<SourceChange>, listed: bool) -> Vec<SourceChange> {
        if listed {
            self.known = self.watched;
        }
        let mut given = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                SourceChange::Apply(Object::Config(object)) => {
                    let waited = self.withheld.remove(&object.key).is_some();
                    if !self.announces || needed_by(&object) <= self.known {
                        given.push(SourceChange::Apply(Object::Config(object)));
                        continue;
                    }
                    if !waited {
                        info!(event = "configWaits", object = %object.key, "this isn't decided before all Nodes are known: until then what was before stays");
                    }
                    self.withheld.insert(object.key.clone(), object);
                }
                SourceChange::Delete(ObjectId::Config(key)) => {
                    self.withheld.remove(&*key);
                    given.push(SourceChange::Delete(ObjectId::Config(key)));
                }
                other => given.push(other),
            }
        }
        let known = self.known;
        let released = self.withheld.extract_if(.., |_, object| needed_by(object) <= known);
        given.extend(released.map(|(_, object)| SourceChange::Apply(Object::Config(object))));
        given
    }

    /// What is to be watched from now on, where that is something else than before.
    pub fn step(&mut self, now: Instant) -> Option<Others> {
        let needed = self.needed();
        if needed < self.watched {
            match self.narrowing {
                Some((to, at)) if to == needed && at <= now => self.known = self.known.min(needed),
                Some((to, _)) if to == needed => return None,
                _ => {
                    self.narrowing = now.checked_add(self.linger).map(|at| (needed, at));
                    return None;
                }
            }
        }
        self.narrowing = None;
        if needed == self.watched {
            return None;
        }
        self.watched = needed;
        Some(needed)
    }

    /// When to [`step`](Self::step) again, if nothing happens before.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.narrowing.map(|(_, at)| at)
    }

    fn needed(&self) -> Others {
        let withheld = self.withheld.values().map(needed_by).max().unwrap_or(Others::None);
        let telling = if self.telling { Others::Full } else { Others::None };
        self.configured.max(withheld).max(telling)
    }
}

/// How much of the other Nodes an object makes necessary.
fn needed_by(object: &ConfigObject) -> Others {
    let selects = || {
        let selectors = object.raw.pointer("/spec/nodeSelectors").and_then(Value::as_array);
        selectors.is_some_and(|selectors| !selectors.is_empty())
    };
    match object.key.kind.as_str() {
        "L2Advertisement" => Others::Full,
        "BGPPeer" | "BGPAdvertisement" if selects() => Others::Labels,
        _ => Others::None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferrolb_core::types::Labels;
    use serde_json::json;

    use super::*;

    const LINGER: Duration = Duration::from_secs(60);

    fn object(kind: &str, name: &str, spec: Value) -> ConfigObject {
        ConfigObject {
            key: ObjectKey::new(kind, "metallb-system", name),
            version: "v1beta1".to_owned(),
            created: None,
            labels: Labels::new(),
            raw: Arc::new(json!({ "spec": spec })),
        }
    }

    fn selectors() -> Value {
        json!({"nodeSelectors": [{"matchLabels": {"rack": "1"}}]})
    }

    fn apply(kind: &str, name: &str, spec: Value) -> SourceChange {
        SourceChange::Apply(Object::Config(object(kind, name, spec)))
    }

    fn delete(kind: &str, name: &str) -> SourceChange {
        SourceChange::Delete(ObjectId::Config(Box::new(ObjectKey::new(kind, "metallb-system", name))))
    }

    /// Of a speaker that announces.
    fn announcing() -> OtherNodes {
        let mut nodes = OtherNodes::new(LINGER);
        nodes.announces();
        nodes
    }

    /// With this need, as the configuration has it, watched and known.
    fn knowing(others: Others) -> OtherNodes {
        let mut nodes = announcing();
        nodes.configured = others;
        assert_eq!(nodes.step(Instant::now()), Some(others));
        nodes.sift(vec![], true);
        nodes
    }

    #[test]
    fn other_nodes_are_watched_only_where_something_depends_on_them() {
        for (kind, spec, needed) in [
            ("BGPPeer", json!({}), Others::None),
            ("BGPPeer", json!({"nodeSelectors": []}), Others::None),
            ("BGPPeer", selectors(), Others::Labels),
            ("BGPAdvertisement", selectors(), Others::Labels),
            ("L2Advertisement", json!({}), Others::Full),
            ("L2Advertisement", selectors(), Others::Full),
            ("IPAddressPool", selectors(), Others::None),
        ] {
            assert_eq!(needed_by(&object(kind, "x", spec.clone())), needed, "{kind} {spec}");
        }
    }

    #[test]
    fn only_what_needs_more_nodes_than_are_known_waits_and_comes_with_them() {
        let mut nodes = announcing();
        let (peer, layer2) =
            (apply("BGPPeer", "here", selectors()), apply("L2Advertisement", "x", json!({})));
        let other = [apply("BGPPeer", "all", json!({})), delete("BGPAdvertisement", "old")];
        let all = other.iter().chain([&peer, &layer2]).cloned().collect();
        assert_eq!(nodes.sift(all, false), other);
        let now = Instant::now();
        assert_eq!(nodes.step(now), Some(Others::Full));
        assert!(!nodes.is_complete());
        assert_eq!(nodes.step(now), None, "it is under way");
        assert_eq!(nodes.sift(vec![], false), []);
        // In the order of their keys, after all else.
        assert_eq!(nodes.sift(vec![other[0].clone()], true), [other[0].clone(), peer, layer2.clone()]);
        assert!(nodes.is_complete());
        assert_eq!(nodes.sift(vec![layer2.clone()], false), [layer2], "known is known");
    }

    #[test]
    fn a_list_of_labels_releases_no_layer_2() {
        let mut nodes = announcing();
        let peer = apply("BGPPeer", "here", selectors());
        nodes.sift(vec![peer.clone()], false);
        assert_eq!(nodes.step(Instant::now()), Some(Others::Labels));
        // With the labels comes what needs more than them.
        let layer2 = apply("L2Advertisement", "x", json!({}));
        assert_eq!(nodes.sift(vec![layer2.clone()], true), [peer]);
        assert_eq!(nodes.step(Instant::now()), Some(Others::Full));
        assert_eq!((nodes.known(), nodes.is_complete()), (Others::Labels, false));
        assert_eq!(nodes.sift(vec![], true), [layer2]);
    }

    #[test]
    fn the_last_word_on_an_object_counts() {
        let mut nodes = announcing();
        nodes.sift(vec![apply("BGPPeer", "a", selectors()), apply("BGPPeer", "b", selectors())], false);
        let plain = apply("BGPPeer", "a", json!({}));
        assert_eq!(nodes.sift(vec![plain.clone()], false), [plain]);
        assert_eq!(nodes.sift(vec![delete("BGPPeer", "b")], false), [delete("BGPPeer", "b")]);
        assert_eq!(nodes.step(Instant::now()), None, "nothing waits any more");
        assert_eq!(nodes.sift(vec![], true), []);
    }

    #[test]
    fn before_anything_is_announced_nothing_is_withheld() {
        let mut nodes = OtherNodes::new(LINGER);
        let layer2 = apply("L2Advertisement", "x", json!({}));
        assert_eq!(nodes.sift(vec![layer2.clone()], false), [layer2]);
    }

    #[test]
    fn less_is_watched_once_nothing_has_needed_more_for_a_while() {
        let mut nodes = knowing(Others::Full);
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        nodes.configured = Others::None;
        assert_eq!((nodes.step(begun), nodes.next_timeout()), (None, Some(after(60))));
        assert_eq!(nodes.step(after(59)), None);
        // It is needed again, and then once more not.
        nodes.configured = Others::Full;
        assert_eq!((nodes.step(after(59)), nodes.next_timeout()), (None, None));
        nodes.configured = Others::None;
        assert_eq!(nodes.step(after(70)), None);
        // Of less, less is left: it is a while since that.
        nodes.configured = Others::Labels;
        assert_eq!((nodes.step(after(80)), nodes.next_timeout()), (None, Some(after(140))));
        assert_eq!(nodes.known(), Others::Full);
        assert_eq!(nodes.step(after(140)), Some(Others::Labels));
        assert_eq!((nodes.known(), nodes.is_complete(), nodes.next_timeout()), (Others::Labels, true, None));
        nodes.configured = Others::None;
        nodes.step(after(150));
        assert_eq!(nodes.step(after(210)), Some(Others::None));
        assert_eq!((nodes.known(), nodes.is_complete()), (Others::None, true));
        // From now on it has to be listed again.
        assert_eq!(nodes.sift(vec![apply("L2Advertisement", "x", json!({}))], false), []);
        assert_eq!(nodes.step(after(210)), Some(Others::Full));
    }

    #[test]
    fn who_tells_of_services_needs_all_nodes_as_long_as_it_does() {
        let mut nodes = knowing(Others::Labels);
        let now = Instant::now();
        nodes.tells(true);
        assert_eq!((nodes.step(now), nodes.known()), (Some(Others::Full), Others::Labels));
        // It is told off before the list is complete: the labels are known as before.
        nodes.tells(false);
        assert_eq!(nodes.step(now), None);
        assert_eq!((nodes.step(now + LINGER), nodes.known()), (Some(Others::Labels), Others::Labels));
    }
}
