//! What a watch sees, to what changed: no objects are kept, only the names of those that are there.
//!
//! A list, the first or a later one, is held back until it is complete, and is then one set of changes: what it doesn't
//! have any more is deleted first. So an API server that comes back causes no change but the true ones, and an address that
//! went from one service to another in the meantime is free before it is asked for. What is held back are summaries, made
//! as the objects come: ten thousand objects as they were sent would be most of what a role ever needs of memory.
//!
//! An object that can't be read is named, and what it was before stays.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use ferrolb_core::engine::SourceChange;
use ferrolb_core::manifest;
use ferrolb_core::types::{Json, Uid};
use ferrolb_core::world::{Common, Object};
use serde_json::{Map, Value};

use super::kinds::Watch;

/// Namespace (empty for kinds without) and name.
pub type Name = (Arc<str>, Arc<str>);

/// What is kept of an object beside its summary.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub resource_version: Arc<str>,
    /// When it was asked for all there is, where that is how it was seen: it is so then, whatever was known before.
    pub listed: Option<Instant>,
    /// What the watch's `keep` made of it.
    pub kept: Json,
}

/// What happened to one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// The object.
    pub name: Name,
    /// What that is to the world.
    pub change: Option<SourceChange>,
    /// What is kept beside it; `Some(None)`: it is gone.
    pub side: Option<Option<Seen>>,
    /// What was wrong with it and isn't any more.
    pub mended: Option<String>,
    /// What is wrong with it, and wasn't before.
    pub arose: Option<String>,
}

/// What an object says, whatever was known before.
#[derive(Debug)]
struct Read {
    name: Name,
    side: Option<Option<Seen>>,
    /// `None`: the world isn't told of such objects. `Ok(None)`: nothing depends on it. An error: what is wrong with it.
    object: Option<Result<Option<Object>, String>>,
}

/// See the module. One for each watch.
#[derive(Debug)]
pub struct Folder {
    watch: Watch,
    /// The objects that are there: by namespace their names.
    there: HashMap<Arc<str>, HashSet<Arc<str>>>,
    /// What is wrong with those of them that can't be read.
    wrong: HashMap<Name, String>,
    /// The list that is coming in, and when it was asked for.
    listed: Vec<Read>,
    asked: Option<Instant>,
    common: Common,
}

impl Folder {
    /// Without objects.
    pub fn new(watch: Watch) -> Folder {
        Folder {
            watch,
            there: HashMap::new(),
            wrong: HashMap::new(),
            listed: Vec::new(),
            asked: None,
            common: Common::default(),
        }
    }

    /// A list is asked for. One that was begun before is void.
    pub fn list_begins(&mut self, asked: Instant) {
        self.listed.clear();
        self.asked = Some(asked);
    }

    /// An object of the list.
    pub fn listed(&mut self, object: Value) {
        let read = self.read(object);
        self.listed.extend(read);
    }

    /// The list is complete.
    pub fn list_ends(&mut self) -> Vec<Folded> {
        let listed = std::mem::take(&mut self.listed);
        self.asked = None;
        let names: HashSet<&Name> = listed.iter().map(|read| &read.name).collect();
        let there =
            self.there.iter().flat_map(|(namespace, names)| names.iter().map(move |name| (namespace, name)));
        let gone: Vec<Name> = there
            .map(|(namespace, name)| (namespace.clone(), name.clone()))
            .filter(|name| !names.contains(name))
            .collect();
        drop(names);
        let mut changes: Vec<Folded> = gone.into_iter().filter_map(|name| self.delete(name)).collect();
        changes.extend(listed.into_iter().filter_map(|read| self.apply(read)));
        changes
    }

    /// An object is there, or has changed.
    pub fn applied(&mut self, object: Value) -> Option<Folded> {
        let read = self.read(object)?;
        self.apply(read)
    }

    /// An object is gone.
    pub fn deleted(&mut self, object: &Value) -> Option<Folded> {
        self.delete(name_of(object)?)
    }

    /// All objects are gone.
    pub fn clear(&mut self) -> Vec<Folded> {
        self.listed.clear();
        self.list_ends()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.there.values().map(HashSet::len).sum()
    }

    fn has(&self, (namespace, name): &Name) -> bool {
        self.there.get(namespace).is_some_and(|names| names.contains(name))
    }

    fn delete(&mut self, name: Name) -> Option<Folded> {
        let names = self.there.get_mut(&name.0)?;
        if !names.remove(&name.1) {
            return None;
        }
        if names.is_empty() {
            self.there.remove(&name.0);
        }
        let mended = self.wrong.remove(&name);
        let id = self.watch.kind.id(&name.0, &name.1).filter(|_| self.watch.world);
        let side = self.watch.keep.map(|_| None);
        Some(Folded { name, change: id.map(SourceChange::Delete), side, mended, arose: None })
    }

    /// `None`: it has no name, so that it is no object at all.
    fn read(&mut self, mut object: Value) -> Option<Read> {
        let mut name = name_of(&object)?;
        let side = self.watch.keep.map(|keep| {
            let metadata = object.get("metadata");
            let text =
                |field| metadata.and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default();
            Some(Seen {
                uid: text("uid").into(),
                resource_version: text("resourceVersion").into(),
                listed: self.asked,
                kept: keep(&object).into(),
            })
        });
        if !self.watch.world {
            return Some(Read { name, side, object: None });
        }
        if let Some(fields) = object.as_object_mut() {
            self.prepare(fields);
        }
        let mut object = manifest::object(object);
        if let Ok(Some(object)) = &mut object {
            self.common.share(object);
            // The name is in memory once.
            match object {
                Object::Service(s) => name = (s.key.namespace.clone(), s.key.name.clone()),
                Object::EndpointSlice(s) => name = (s.namespace.clone(), s.name.clone()),
                _ => {}
            }
        }
        Some(Read { name, side, object: Some(object) })
    }

    fn apply(&mut self, read: Read) -> Option<Folded> {
        let Read { name, side, object } = read;
        let (change, wrong) = match object {
            None => (None, None),
            Some(Ok(Some(object))) => (Some(SourceChange::Apply(object)), None),
            // Nothing depends on it, whatever it was before.
            Some(Ok(None)) => {
                let id = self.watch.kind.id(&name.0, &name.1);
                (id.filter(|_| self.has(&name)).map(SourceChange::Delete), None)
            }
            Some(Err(message)) => (None, Some(message)),
        };
        let before = match wrong.clone() {
            Some(wrong) => self.wrong.insert(name.clone(), wrong),
            None => self.wrong.remove(&name),
        };
        let arose = wrong.clone().filter(|now| before.as_ref() != Some(now));
        let mended = before.filter(|before| wrong.as_ref() != Some(before));
        self.there.entry(name.0.clone()).or_default().insert(name.1.clone());
        (change.is_some() || side.is_some() || arose.is_some() || mended.is_some()).then_some(Folded {
            name,
            change,
            side,
            mended,
            arose,
        })
    }

    /// Says what it is, which lists leave out, and drops what would make a write of ours to its status look like news.
    fn prepare(&self, object: &mut Map<String, Value>) {
        let kind = self.watch.kind;
        object.insert("apiVersion".to_owned(), kind.api_version().into());
        object.insert("kind".to_owned(), kind.kind.into());
        if kind.group == "metallb.io" {
            object.remove("status");
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                for field in ["resourceVersion", "generation", "managedFields"] {
                    metadata.remove(field);
                }
            }
        }
    }
}

/// `None`: it has none, so that it is no object at all.
fn name_of(object: &Value) -> Option<Name> {
    let metadata = object.get("metadata")?;
    let name = metadata.get("name")?.as_str()?;
    let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    Some((namespace.into(), name.into()))
}

#[cfg(test)]
mod tests {
    use ferrolb_core::types::ServiceKey;
    use ferrolb_core::world::ObjectId;
    use serde_json::json;

    use super::*;
    use crate::shell::kube::kinds::{IP_ADDRESS_POOL, SERVICE};

    fn service(name: &str, ports: Value) -> Value {
        json!({
            "metadata": { "namespace": "default", "name": name, "uid": "u", "resourceVersion": "7" },
            "spec": { "type": "LoadBalancer", "ports": ports },
            "status": { "loadBalancer": {} },
        })
    }

    fn good(name: &str) -> Value {
        service(name, json!([{ "port": 80 }]))
    }

    /// Each change as `+name` or `-name`.
    fn told(changes: &[Folded]) -> Vec<String> {
        let one = |folded: &Folded| match &folded.change {
            Some(SourceChange::Apply(Object::Service(s))) => format!("+{}", s.key.name),
            Some(SourceChange::Delete(ObjectId::Service(key))) => format!("-{}", key.name),
            other => format!("{other:?}"),
        };
        changes.iter().map(one).collect()
    }

    fn list(folder: &mut Folder, objects: impl IntoIterator<Item = Value>) -> Vec<Folded> {
        folder.list_begins(Instant::now());
        objects.into_iter().for_each(|object| folder.listed(object));
        folder.list_ends()
    }

    #[test]
    fn what_a_later_list_lacks_is_deleted_before_what_it_has_is_applied() {
        let mut folder = Folder::new(Watch::all(&SERVICE));
        assert_eq!(told(&list(&mut folder, [good("a"), good("b")])), ["+a", "+b"]);
        assert_eq!(told(&Vec::from_iter(folder.applied(good("c")))), ["+c"]);
        assert_eq!(told(&list(&mut folder, [good("d"), good("b"), good("c")])), ["-a", "+d", "+b", "+c"]);
        assert_eq!(folder.deleted(&good("a")), None, "it was gone already");
    }

    #[test]
    fn a_list_that_breaks_off_changes_nothing() {
        let mut folder = Folder::new(Watch::all(&SERVICE));
        list(&mut folder, [good("a")]);
        folder.list_begins(Instant::now());
        folder.listed(good("b"));
        assert_eq!(told(&list(&mut folder, [good("a")])), ["+a"]);
        assert_eq!(told(&folder.clear()), ["-a"]);
        assert_eq!(folder.len(), 0);
    }

    #[test]
    fn what_cannot_be_read_is_named_once_and_stands_as_before() {
        let mut folder = Folder::new(Watch::all(&SERVICE));
        list(&mut folder, [good("a")]);
        let bad = || service("a", json!("none"));
        let folded = folder.applied(bad()).expect("a problem");
        assert_eq!(folded.change, None);
        let message = folded.arose.expect("a message");
        assert!(message.starts_with("Service default/a: spec.ports"), "{message}");
        assert_eq!(folder.applied(bad()), None, "told already");
        let mended = folder.applied(good("a")).expect("a change");
        assert_eq!((mended.mended, mended.arose), (Some(message), None));
        folder.applied(bad());
        let gone = folder.deleted(&good("a")).expect("a change");
        let id = ObjectId::Service(ServiceKey::new("default", "a"));
        assert_eq!(gone.change, Some(SourceChange::Delete(id)));
        assert!(gone.mended.is_some());
    }

    #[test]
    fn a_part_is_kept_aside_and_writes_to_status_are_no_news_to_the_world() {
        let keep: fn(&Value) -> Value = |object| object["status"].clone();
        let mut folder = Folder::new(Watch::within(&IP_ADDRESS_POOL, &"metallb-system".into()).keeping(keep));
        let pool = |version: &str, assigned: u32| {
            json!({
                "metadata": {
                    "namespace": "metallb-system", "name": "p", "uid": "u1", "resourceVersion": version,
                    "generation": 3,
                },
                "spec": { "addresses": ["192.0.2.0/28"] },
                "status": { "assignedIPv4": assigned },
            })
        };
        let first = folder.applied(pool("1", 0)).expect("a change");
        let second = folder.applied(pool("2", 5)).expect("a change");
        assert_eq!(first.change, second.change);
        let seen = second.side.flatten().expect("kept");
        assert_eq!((&seen.uid, &*seen.resource_version), (&Uid::from("u1"), "2"));
        assert_eq!(seen.kept.value(), json!({ "assignedIPv4": 5 }));
        let gone = folder.deleted(&pool("3", 5)).expect("a change");
        assert_eq!(gone.side, Some(None));
    }

    #[test]
    fn what_was_seen_in_a_list_says_when_that_was_asked_for() {
        let mut folder = Folder::new(Watch::all(&SERVICE).aside(|_| Value::Null));
        let listed = |folded: Vec<Folded>| {
            let seen = folded.into_iter().map(|f| f.side.flatten().expect("kept").listed);
            seen.collect::<Vec<_>>()
        };
        let start = Instant::now();
        for asked in [start, start + std::time::Duration::from_secs(1)] {
            folder.list_begins(asked);
            folder.listed(good("a"));
            assert_eq!(listed(folder.list_ends()), [Some(asked)]);
            assert_eq!(listed(folder.applied(good("a")).into_iter().collect()), [None]);
        }
    }

    #[test]
    fn a_watch_aside_gives_the_world_nothing() {
        let mut folder = Folder::new(Watch::all(&SERVICE).aside(|object| object["spec"].clone()));
        let folded = folder.applied(service("a", json!("not even a list"))).expect("a side");
        assert_eq!((folded.change, folded.arose), (None, None));
        assert_eq!(
            folded.side.flatten().map(|s| s.kept.value()["ports"].clone()),
            Some(json!("not even a list"))
        );
    }
}
