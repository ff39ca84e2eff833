//! An object as the API server sent it: a JSON value, and the little of its metadata that watching needs.

use std::borrow::Cow;

use kube::Resource;
use kube::core::{DynamicResourceScope, ObjectMeta};
use kube::discovery::ApiResource;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Any object, undecoded, so that one that is wrong in itself doesn't end a list. With `METADATA_ONLY` the server is asked
/// for nothing but metadata.
#[derive(Clone, Debug)]
pub struct Raw<const METADATA_ONLY: bool> {
    /// Name, namespace, uid and resourceVersion; nothing else.
    meta: ObjectMeta,
    /// The object, without `metadata.managedFields`.
    pub value: Value,
}

impl<const METADATA_ONLY: bool> Raw<METADATA_ONLY> {
    /// From its JSON.
    pub fn new(mut value: Value) -> Self {
        let mut meta = ObjectMeta::default();
        if let Some(fields) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            fields.remove("managedFields");
            let text = |name| fields.get(name).and_then(Value::as_str).map(str::to_owned);
            meta.name = text("name");
            meta.namespace = text("namespace");
            meta.uid = text("uid");
            meta.resource_version = text("resourceVersion");
        }
        Raw { meta, value }
    }
}

impl<'de, const METADATA_ONLY: bool> Deserialize<'de> for Raw<METADATA_ONLY> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Raw::new)
    }
}

impl<const METADATA_ONLY: bool> Serialize for Raw<METADATA_ONLY> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
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
