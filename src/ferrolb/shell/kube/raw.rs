//! An object as the API server sent it: its JSON, and the little of its metadata that watching needs.

use std::borrow::Cow;

use ferrolb_core::types::Json;
use jiff::Timestamp;
use kube::Resource;
use kube::core::{DynamicResourceScope, ObjectMeta};
use kube::discovery::ApiResource;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Any object, undecoded, so that one that is wrong in itself doesn't end a list. With `METADATA_ONLY` the server is asked
/// for nothing but metadata.
#[derive(Clone, Debug)]
pub struct Raw<const METADATA_ONLY: bool> {
    /// Name, namespace, uid and resourceVersion; nothing else.
    meta: ObjectMeta,
    /// When it was last changed, as far as its metadata says, in whole seconds.
    pub changed: Option<Timestamp>,
    /// The object, without `metadata.managedFields`: as text, since hundreds come at a time, and a `Value` is ten times that.
    text: Json,
}

impl<const METADATA_ONLY: bool> Raw<METADATA_ONLY> {
    /// From its JSON.
    pub fn new(mut value: Value) -> Self {
        let mut meta = ObjectMeta::default();
        let mut changed = None;
        if let Some(fields) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            changed = last_change(fields);
            fields.remove("managedFields");
            let text = |name| fields.get(name).and_then(Value::as_str).map(str::to_owned);
            meta.name = text("name");
            meta.namespace = text("namespace");
            meta.uid = text("uid");
            meta.resource_version = text("resourceVersion");
        }
        Raw { meta, changed, text: value.into() }
    }

    /// The object, without `metadata.managedFields`.
    pub fn value(&self) -> Value {
        self.text.value()
    }
}

/// The newest of the times that `metadata` has: of its creation, and of the last change by each of those who manage fields.
fn last_change(metadata: &Map<String, Value>) -> Option<Timestamp> {
    let managers = metadata.get("managedFields").and_then(Value::as_array).into_iter().flatten();
    let times = managers.filter_map(|manager| manager.get("time")).chain(metadata.get("creationTimestamp"));
    // All are written alike, in UTC: the greatest text is the latest time.
    times.filter_map(Value::as_str).max()?.parse().ok()
}

impl<'de, const METADATA_ONLY: bool> Deserialize<'de> for Raw<METADATA_ONLY> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Raw::new)
    }
}

impl<const METADATA_ONLY: bool> Serialize for Raw<METADATA_ONLY> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<const METADATA_ONLY: bool> Resource for Raw<METADATA_ONLY> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn api_version(of: &ApiResource) -> Cow<'_, str> {
        of.api_version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn metadata_api() -> bool {
        METADATA_ONLY
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_change_is_the_newest_time_that_is_known() {
        let changed = |metadata: Value| Raw::<false>::new(json!({ "metadata": metadata })).changed;
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let created = "2026-01-02T03:04:05Z";
        assert_eq!(changed(json!({ "creationTimestamp": created })), at(created));
        let managers =
            json!([{"time": "2026-01-02T03:04:06Z"}, {"manager": "x"}, {"time": "2026-01-01T23:59:59Z"}]);
        let metadata = json!({ "creationTimestamp": created, "managedFields": managers });
        assert_eq!(changed(metadata), at("2026-01-02T03:04:06Z"));
        for odd in
            [json!({}), json!({ "creationTimestamp": "yesterday" }), json!({ "managedFields": 1 }), json!(1)]
        {
            assert_eq!(changed(odd), None);
        }
    }
}
