//! From what schemars prints to what a CustomResourceDefinition accepts: a structural schema.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The structural schema of `T`: inline, without nulls, without the keywords that Kubernetes doesn't know.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|s| {
        s.meta_schema = None;
        s.inline_subschemas = true;
        // Nullable fields are plain optional ones here: the API server drops nulls before it validates.
        s.transforms.clear();
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    make_structural(&mut schema);
    schema
}

/// The schema of an object that has no fields yet.
pub(crate) fn empty(description: &str) -> Value {
    json!({"type": "object", "description": description})
}

fn make_structural(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for keyword in ["$schema", "title"] {
        map.remove(keyword);
    }
    drop_null(map);
    if map.get("default").is_some_and(|d| d.is_null() || *d == json!([]) || *d == json!({})) {
        map.remove("default");
    }
    // Kubernetes knows int32 and int64 only.
    match map.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16") => drop(map.remove("format")),
        Some("uint32") => drop(map.insert("format".into(), "int64".into())),
        _ => {}
    }
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = text.split("\n\n").map(|p| p.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(make_structural);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(keyword) {
            make_structural(inner);
        }
    }
}

/// `Option<T>` reads as `T`.
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|t| t != "null");
        if let [single] = types.as_slice() {
            let single = single.clone();
            map.insert("type".into(), single);
        }
    }
    if let Some(Value::Array(mut choices)) = map.remove("anyOf") {
        choices.retain(|c| *c != json!({"type": "null"}));
        for choice in choices {
            if let Value::Object(inner) = choice {
                // The field's own description goes before the type's.
                for (keyword, value) in inner {
                    map.entry(keyword).or_insert(value);
                }
            }
        }
    }
}
