//! One form of one object while it is judged: reading it leniently, and noting what is wrong with it.
//!
//! The schema names every field of the wrong type. To name the rest as well, the rules read what they can: a field of the
//! wrong type reads as unset, and what a rule says of a field that the schema has already named is dropped.

use std::sync::Arc;

use serde_json::Value;

use super::schema::{self, Code, Finding};
use crate::world::ConfigObject;

/// A form and what was found in it so far.
pub(super) struct Form<'a> {
    pub object: &'a ConfigObject,
    /// What the schema says, then what the rules say.
    pub errors: Vec<Finding>,
    pub warnings: Vec<Finding>,
    /// How many of `errors` are the schema's.
    by_schema: usize,
    /// Whether what it refers to is taken to be there, and to be valid: see [`compile_trusting`](super::compile_trusting).
    pub trusting: bool,
    /// Whether it was valid once: what it refers to may have gone since.
    pub was_valid: bool,
    /// Members of `spec` that refer to other objects, and what says the same without them; `None`: nothing does.
    written_out: Vec<(&'static str, Option<Value>)>,
}

impl<'a> Form<'a> {
    /// Checks the form against its schema.
    pub fn new(object: &'a ConfigObject) -> Form<'a> {
        let checked = schema::check(object);
        let by_schema = checked.errors.len();
        Form {
            object,
            errors: checked.errors,
            warnings: checked.warnings,
            by_schema,
            trusting: false,
            was_valid: false,
            written_out: Vec::new(),
        }
    }

    /// A form that was valid.
    pub fn once_valid(object: &'a ConfigObject) -> Form<'a> {
        Form { was_valid: true, ..Form::new(object) }
    }

    /// Notes what says the same as this member of `spec`, but refers to no other object: in this way the form stands by
    /// itself once it is the last valid one.
    pub fn write_out(&mut self, member: &'static str, value: Option<Value>) {
        self.written_out.push((member, value));
    }

    /// The form with what it refers to written out; `None` where that is as it stands.
    pub fn by_itself(self) -> Option<ConfigObject> {
        if self.written_out.is_empty() {
            return None;
        }
        let mut raw = Value::clone(&self.object.raw);
        let spec = raw.get_mut("spec").and_then(Value::as_object_mut)?;
        for (member, value) in self.written_out {
            match value {
                Some(value) => drop(spec.insert(member.to_owned(), value)),
                None => drop(spec.remove(member)),
            }
        }
        Some(ConfigObject { raw: Arc::new(raw), ..self.object.clone() })
    }

    /// The `spec`; nothing is set in one that isn't there or is no object.
    pub fn spec(&self) -> Field<'a> {
        Field { value: self.object.raw.get("spec"), path: "spec".to_owned() }
    }

    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Notes an error, unless the schema has named the field, something inside it or something around it.
    pub fn error(&mut self, field: &str, message: impl Into<String>) {
        self.note(field, message.into(), None);
    }

    /// The same, of a rule whose message tells of more than the field itself.
    pub fn error_by(&mut self, code: Code, field: &str, message: impl Into<String>) {
        self.note(field, message.into(), Some(code));
    }

    fn note(&mut self, field: &str, message: String, code: Option<Code>) {
        let named = self.errors.iter().take(self.by_schema).filter_map(|e| e.field.as_deref());
        // The schema's rules over the whole `spec` (CEL) are about a few of its fields, not about this one.
        let about_all = |f: &str| f == "spec" && self.spec().is_object();
        if named.filter(|f| !about_all(f)).any(|f| is_within(field, f) || is_within(f, field)) {
            return;
        }
        self.errors.push(Finding { field: Some(field.to_owned()), message, code });
    }

    /// Notes that what a field refers to isn't there, or isn't valid: an error, but a warning to who is trusting, and for
    /// a form that was valid once.
    pub fn missing(&mut self, field: &str, message: impl Into<String>) {
        if self.trusting || self.was_valid {
            self.warning(field, message);
        } else {
            self.error(field, message);
        }
    }

    pub fn warning(&mut self, field: &str, message: impl Into<String>) {
        self.warnings.push(Finding { field: Some(field.to_owned()), message: message.into(), code: None });
    }

    /// Notes each entry of a list of names that was there before, and returns the entries as text.
    pub fn distinct_texts(&mut self, list: &Field<'a>) -> Vec<(String, &'a str)> {
        let texts = list.texts();
        let mut seen = std::collections::HashMap::new();
        for (index, (path, text)) in texts.iter().enumerate() {
            if let Some(first) = seen.get(text) {
                let first: &usize = first;
                self.error_by(
                    Code::Twice,
                    path,
                    format!("{text:?} is in the list already, as entry {first}: remove one of them"),
                );
            } else {
                seen.insert(*text, index);
            }
        }
        texts
    }
}

/// Whether the path `inner` is `outer` or leads to something inside it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A field that may be unset, and its path. Null is unset, and so is what has another type than the one asked for.
#[derive(Clone)]
pub(super) struct Field<'a> {
    value: Option<&'a Value>,
    pub path: String,
}

impl<'a> Field<'a> {
    /// A field of this object.
    pub fn get(&self, name: &str) -> Field<'a> {
        Field { value: self.value.and_then(|v| v.get(name)), path: format!("{}.{name}", self.path) }
    }

    /// Whether it has any value, of whatever type.
    pub fn is_set(&self) -> bool {
        self.value.is_some_and(|v| !v.is_null())
    }

    pub fn is_object(&self) -> bool {
        self.value.is_some_and(Value::is_object)
    }

    pub fn text(&self) -> Option<&'a str> {
        self.value.and_then(Value::as_str)
    }

    /// Text that isn't empty: where MetalLB doesn't tell an empty text from an unset one.
    pub fn nonempty(&self) -> Option<&'a str> {
        self.text().filter(|t| !t.is_empty())
    }

    /// A whole number.
    pub fn integer(&self) -> Option<i128> {
        self.value?.as_number()?.as_i128()
    }

    pub fn boolean(&self) -> Option<bool> {
        self.value.and_then(Value::as_bool)
    }

    /// The entries of a list.
    pub fn items(&self) -> Vec<Field<'a>> {
        let items = self.value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let path = |index| format!("{}[{index}]", self.path);
        items.iter().enumerate().map(|(i, v)| Field { value: Some(v), path: path(i) }).collect()
    }

    /// The entries of a list that are text, each with its path.
    pub fn texts(&self) -> Vec<(String, &'a str)> {
        self.items().into_iter().filter_map(|i| i.text().map(|t| (i.path.clone(), t))).collect()
    }

    /// The members of a map whose values are text, by key.
    pub fn text_members(&self) -> Vec<(&'a str, &'a str)> {
        let members = self.value.and_then(Value::as_object).into_iter().flatten();
        let mut members: Vec<_> = members.filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))).collect();
        members.sort_unstable();
        members
    }
}
