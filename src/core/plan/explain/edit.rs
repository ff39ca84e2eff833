//! Edits of manifests: what a remedy consists of, for people and for machines.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::types::ObjectKey;

/// One change of one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "camelCase")]
pub enum Edit {
    /// Puts a value at the end of a list, which is made where it isn't there.
    Append {
        /// The object.
        object: Target,
        /// The list.
        path: Path,
        /// The new item.
        value: Value,
    },
    /// Adds an object.
    Create {
        /// The whole object.
        manifest: Value,
    },
    /// Takes a field or an item of a list out.
    Remove {
        /// The object.
        object: Target,
        /// The field or item.
        path: Path,
    },
    /// Gives a field or an item of a list a value, whether it had one or not.
    Set {
        /// The object.
        object: Target,
        /// The field or item.
        path: Path,
        /// The new value.
        value: Value,
    },
}

/// The object that is edited, as it is serialized.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Target {
    /// Its kind.
    pub kind: String,
    /// Its namespace; `None` for cluster-scoped kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl From<ObjectKey> for Target {
    fn from(key: ObjectKey) -> Target {
        let namespace = (!key.namespace.is_empty()).then_some(key.namespace);
        Target { kind: key.kind, namespace, name: key.name }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// A step from an object to a field of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Segment {
    /// The item of a list at this index, from 0.
    Index(usize),
    /// The item of a list of objects in which `field` has `value`, such as a condition by its type.
    Item {
        /// The field.
        field: String,
        /// Its value.
        value: String,
    },
    /// A member of an object; may hold dots and slashes.
    Key(String),
}

impl From<&str> for Segment {
    fn from(key: &str) -> Segment {
        Segment::Key(key.to_owned())
    }
}

/// The way from an object to a field of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Path(pub Vec<Segment>);

impl Path {
    /// Of plain keys, such as `["metadata", "labels", "example.org/role"]`.
    pub fn keys<const N: usize>(keys: [&str; N]) -> Path {
        Path(keys.into_iter().map(Segment::from).collect())
    }

    /// Reads the `field` of an issue, such as `spec.nodeSelectors[0].matchLabels[example.org/role]`.
    pub fn of_field(field: &str) -> Path {
        let mut segments = Vec::new();
        let mut rest = field;
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[') {
                let (key, after) = inside.split_once(']').unwrap_or((inside, ""));
                segments.push(key.parse().map_or_else(|_| Segment::from(key), Segment::Index));
                rest = after;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (key, after) = rest.split_at(end);
                segments.push(Segment::from(key));
                rest = after;
            }
            rest = rest.strip_prefix('.').unwrap_or(rest);
        }
        Path(segments)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Item { field, value } => write!(f, "[{field}={value}]")?,
                Segment::Key(key) if i == 0 => f.write_str(key)?,
                Segment::Key(key) if key.contains(['.', '/']) => write!(f, "[{key}]")?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// Why an edit couldn't be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The object isn't among those given.
    #[error("there is no {0}")]
    NoObject(Target),
    /// The path leads nowhere, or through something of another shape.
    #[error("{0} has no {1}")]
    NoField(Target, Path),
}

impl Edit {
    /// The object that it edits; `None` where it adds one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Edit::Create { .. } => None,
            Edit::Append { object, .. } | Edit::Remove { object, .. } | Edit::Set { object, .. } => {
                Some(object)
            }
        }
    }

    /// The field that it edits; `None` where it adds an object.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Edit::Create { .. } => None,
            Edit::Append { path, .. } | Edit::Remove { path, .. } | Edit::Set { path, .. } => Some(path),
        }
    }

    /// Applies it to a set of whole objects.
    ///
    /// # Errors
    /// The object isn't there, or hasn't the shape that the edit expects.
    pub fn apply(&self, objects: &mut Vec<Value>) -> Result<(), EditError> {
        let Some(target) = self.target() else {
            if let Edit::Create { manifest } = self {
                objects.push(manifest.clone());
            }
            return Ok(());
        };
        let object = objects.iter_mut().find(|o| names(o, target));
        self.apply_to(object.ok_or_else(|| EditError::NoObject(target.clone()))?)
    }

    /// Applies it to the object that it is about; one that adds an object does nothing.
    ///
    /// # Errors
    /// The object hasn't the shape that the edit expects.
    pub fn apply_to(&self, object: &mut Value) -> Result<(), EditError> {
        let (Some(target), Some(path)) = (self.target(), self.path()) else { return Ok(()) };
        let done = match self {
            Edit::Create { .. } => Some(()),
            Edit::Append { value, .. } => reach(object, &path.0, true).and_then(|place| {
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                place.as_array_mut().map(|list| list.push(value.clone()))
            }),
            Edit::Remove { .. } => remove(object, &path.0),
            Edit::Set { value, .. } => reach(object, &path.0, true).map(|place| *place = value.clone()),
        };
        done.ok_or_else(|| EditError::NoField(target.clone(), path.clone()))
    }
}

/// Whether a whole object is the one named; a namespaced one without a namespace is in `default`.
fn names(object: &Value, target: &Target) -> bool {
    let metadata = |key: &str| object.get("metadata").and_then(|m| m.get(key)).and_then(Value::as_str);
    object.get("kind").and_then(Value::as_str) == Some(&target.kind)
        && metadata("name") == Some(&target.name)
        && target.namespace.as_deref().is_none_or(|n| metadata("namespace").unwrap_or("default") == n)
}

/// The value at a path; missing members are made, as nulls, where `make`.
fn reach<'v>(from: &'v mut Value, path: &[Segment], make: bool) -> Option<&'v mut Value> {
    let Some((segment, rest)) = path.split_first() else { return Some(from) };
    let next = match segment {
        Segment::Key(key) => {
            if make && from.is_null() {
                *from = Value::Object(Map::new());
            }
            let members = from.as_object_mut()?;
            if make { members.entry(key.clone()).or_insert(Value::Null) } else { members.get_mut(key)? }
        }
        Segment::Index(index) => from.as_array_mut()?.get_mut(*index)?,
        Segment::Item { field, value } => {
            let mut items = from.as_array_mut()?.iter_mut();
            items.find(|i| i.get(field).and_then(Value::as_str) == Some(value))?
        }
    };
    reach(next, rest, make)
}

fn remove(object: &mut Value, path: &[Segment]) -> Option<()> {
    let (last, parents) = path.split_last()?;
    let parent = reach(object, parents, false)?;
    match last {
        Segment::Key(key) => parent.as_object_mut()?.remove(key).map(drop),
        Segment::Index(index) => {
            let list = parent.as_array_mut()?;
            (*index < list.len()).then(|| drop(list.remove(*index)))
        }
        Segment::Item { field, value } => {
            let list = parent.as_array_mut()?;
            let found = list.iter().position(|i| i.get(field).and_then(Value::as_str) == Some(value))?;
            list.remove(found);
            Some(())
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edit::Append { object, path, value } => write!(f, "{object}: append to {path}: {value}"),
            Edit::Create { manifest } => write!(f, "create {manifest}"),
            Edit::Remove { object, path } => write!(f, "{object}: remove {path}"),
            Edit::Set { object, path, value } => write!(f, "{object}: set {path}: {value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node() -> Target {
        ObjectKey::new("Node", "", "n1").into()
    }

    #[test]
    fn paths_are_read_as_issues_write_them() {
        let path = Path::of_field("spec.nodeSelectors[10].matchLabels[example.org/role]");
        let expected: Vec<Segment> = vec![
            "spec".into(),
            "nodeSelectors".into(),
            Segment::Index(10),
            "matchLabels".into(),
            "example.org/role".into(),
        ];
        assert_eq!(path.0, expected);
        assert_eq!(path.to_string(), "spec.nodeSelectors[10].matchLabels[example.org/role]");
    }

    #[test]
    fn edits_change_what_they_name_and_nothing_else() {
        let other = json!({"kind": "Node", "metadata": {"name": "n2"}});
        let labels = json!({"a.b/c": "x", "d": "y"});
        let mut objects =
            vec![other.clone(), json!({"kind": "Node", "metadata": {"name": "n1", "labels": labels}})];
        let path = Path::keys(["metadata", "labels", "a.b/c"]);
        Edit::Remove { object: node(), path: path.clone() }.apply(&mut objects).unwrap();
        assert_eq!(objects[1]["metadata"]["labels"], json!({"d": "y"}));
        Edit::Set { object: node(), path: path.clone(), value: "z".into() }.apply(&mut objects).unwrap();
        assert_eq!(objects[1]["metadata"]["labels"], json!({"a.b/c": "z", "d": "y"}));
        let list = Path::keys(["spec", "taints"]);
        Edit::Append { object: node(), path: list, value: 1.into() }.apply(&mut objects).unwrap();
        assert_eq!(objects[1]["spec"], json!({"taints": [1]}));
        assert_eq!(objects[0], other);
    }

    #[test]
    fn an_edit_that_finds_nothing_says_so() {
        let mut objects = vec![json!({"kind": "Node", "metadata": {"name": "n1"}})];
        let path = Path::keys(["metadata", "labels", "a"]);
        let edit = Edit::Remove { object: node(), path: path.clone() };
        assert_eq!(edit.apply(&mut objects), Err(EditError::NoField(node(), path)));
        assert_eq!(edit.apply(&mut vec![]), Err(EditError::NoObject(node())));
    }
}
