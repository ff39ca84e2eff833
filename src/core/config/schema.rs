//! The schema of a `metallb.io` object, walked over the raw JSON: every violation with its path, not only the first.
//!
//! A cluster's API server refuses most of these objects; a manifest on disk comes as it was typed. So this reads an object
//! as an API server does (a null counts as absent, an unknown field is dropped, here with a warning, `status` and
//! most of `metadata` aren't the user's), and adds what no schema says but every reader of the field needs: durations that are
//! durations, names and passwords without line breaks, numbers that fit.
//!
//! What can be read of an object deserializes into the types of `ferrolb-api`, errors or not; a property test says so. So no
//! error of serde's, which knows no path, is ever shown, and rules about meaning are applied to what the schema left over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use ferrolb_api::crd::{KINDS, Kind};
use ferrolb_api::duration::parse_go_duration;
use ferrolb_api::{GROUP, bgp_peer, rules};
use serde_json::{Map, Value};

use crate::world::ConfigObject;

/// What the schema says about one object.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong; the object can be used only where this is empty.
    pub errors: Vec<Finding>,
    /// What is ignored or better written otherwise.
    pub warnings: Vec<Finding>,
    /// The object's `spec` as far as it can be read: without unknown fields, nulls, and optional fields that are in error, and
    /// with something neutral in place of a required one. It always deserializes into the type of its kind, so that
    /// further rules can find what else is wrong with an object; see [`Checked::covers`]. Null for an unknown kind or version.
    pub spec: Value,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `spec` may hold a password.
        f.debug_struct("Checked")
            .field("errors", &self.errors)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl Checked {
    /// Whether an error about `field` would only say again that the schema refused it, something in it, or what it is in.
    pub fn covers(&self, field: &str) -> bool {
        fn within(inner: &str, outer: &str) -> bool {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        }
        self.errors.iter().filter_map(|e| e.field.as_deref()).any(|e| within(field, e) || within(e, field))
    }
}

/// One thing that the schema says about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path, such as `spec.addresses[1]` or `spec.nodeSelectors[0].matchLabels[rack]`; of a missing field the one that
    /// it would have.
    pub field: Option<String>,
    /// What is wrong and the remedy. Never holds a password.
    pub message: String,
    /// The rule's, where the message isn't what tells this error from others.
    pub code: Option<Code>,
}

/// Stands for a rule whose sentence tells of more than the field's own value: of other objects, other entries, or of how many there are.
/// Any of these may change and leave the error what it is, so that its words aren't what it is known by. No two of
/// them are about the same field of one object at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// An entry of a list is there already.
    Twice,
    /// An entry of a pool overlaps another of the same pool.
    OverlapWithin,
    /// An entry of a pool overlaps an older pool.
    Overlap,
    /// An older peer is at the same place.
    SamePlace,
    /// An older Community defines the alias.
    AliasTaken,
    /// There are more communities than one route may have.
    TooMany,
    /// An aggregate reaches beyond an entry of a pool.
    TooWide,
    /// BFD echo beside IPv6 addresses.
    Echo,
    /// An older advertisement wants another value for the same route.
    Conflict,
}

/// Checks an object against the schema of its kind and version.
///
/// Where there are no errors, [`Checked::spec`] says the same as the object, and so does its raw `spec` (absent or null: `{}`).
pub fn check(object: &ConfigObject) -> Checked {
    let mut walk = Walk::default();
    let kind = object.key.kind.as_str();
    let Some(versions) = SCHEMAS.get(kind) else {
        walk.path.push_str("kind");
        walk.warn(format!("{GROUP} has no kind {kind}: the object is ignored"));
        return walk.checked;
    };
    let Some(schema) = versions.get(object.version.as_str()) else {
        let known: Vec<String> = versions.keys().map(|v| format!("{GROUP}/{v}")).collect();
        walk.path.push_str("apiVersion");
        walk.error(format!("{kind} has no version {}: write {}", object.version, known.join(" or ")));
        return walk.checked;
    };
    walk.metadata(&object.raw);
    walk.whole(&object.raw, schema);
    if kind == "BGPPeer" && object.version == "v1beta1" {
        walk.newer_fields(&object.raw);
    }
    walk.checked
}

/// What is known of one field.
struct Node {
    shape: Shape,
    rules: Vec<Rule>,
}

enum Shape {
    /// Not ours to judge.
    Anything,
    Boolean,
    /// Both ends included.
    Integer(i128, i128),
    /// One of these, where there are any.
    Text(Vec<String>),
    List {
        items: Box<Node>,
        min: usize,
    },
    Map(Box<Node>),
    Object {
        fields: BTreeMap<String, Node>,
        required: Vec<String>,
    },
}

/// What must hold of a field besides its shape.
enum Rule {
    /// A CEL rule of the schema, and its message.
    Cel(Evaluator, String),
    /// A rule that no schema has; gives what is wrong.
    Own(fn(&Value) -> Option<String>),
}

/// The schemas, by kind and version.
static SCHEMAS: LazyLock<BTreeMap<&str, BTreeMap<&str, Node>>> = LazyLock::new(|| {
    let versions = |kind: &'static Kind| kind.versions.iter().map(|v| (v.name, whole_object(kind, v)));
    KINDS.iter().map(|kind| (kind.name, versions(kind).collect())).collect()
});

fn whole_object(kind: &Kind, version: &ferrolb_api::crd::Version) -> Node {
    let mut schema = kind.schema(version);
    // What the user writes into `status` is dropped by the API server.
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for field in ["metadata", "status"] {
            properties.insert(field.into(), Value::Null);
        }
    }
    let mut node = compile(&schema);
    for (of, field, rule) in OWN_RULES {
        if of == kind.name
            && let Shape::Object { fields, .. } = &mut node.shape
            && let Some(Shape::Object { fields, .. }) = fields.get_mut("spec").map(|spec| &mut spec.shape)
            && let Some(node) = fields.get_mut(field)
        {
            node.rules.push(Rule::Own(rule));
        }
    }
    node
}

/// From a structural schema. A test proves that no keyword in them goes unread.
fn compile(schema: &Value) -> Node {
    let integer = |keyword: &str| schema.get(keyword).and_then(integer);
    let texts = |keyword: &str| -> Vec<String> {
        let list = schema.get(keyword).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
    };
    let shape = match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => Shape::Boolean,
        Some("string") => Shape::Text(texts("enum")),
        Some("integer") => {
            // An API server doesn't look at the format. Nothing can read what doesn't fit, though.
            let (low, high) = match schema.get("format").and_then(Value::as_str) {
                Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
                _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
            };
            Shape::Integer(
                integer("minimum").unwrap_or(low).max(low),
                integer("maximum").unwrap_or(high).min(high),
            )
        }
        Some("array") => Shape::List {
            items: Box::new(schema.get("items").map_or(ANYTHING, compile)),
            min: integer("minItems").and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        },
        Some("object") => match schema.get("additionalProperties") {
            Some(values) => Shape::Map(Box::new(compile(values))),
            None => {
                let properties = schema.get("properties").and_then(Value::as_object);
                Shape::Object {
                    fields: properties
                        .into_iter()
                        .flatten()
                        .map(|(name, field)| (name.clone(), compile(field)))
                        .collect(),
                    required: texts("required"),
                }
            }
        },
        _ => Shape::Anything,
    };
    let validations = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    let rules = validations
        .into_iter()
        .flatten()
        .filter_map(|v| {
            let holds = evaluator(v.get("rule")?.as_str()?)?;
            Some(Rule::Cel(holds, v.get("message")?.as_str()?.into()))
        })
        .collect();
    Node { shape, rules }
}

const ANYTHING: Node = Node { shape: Shape::Anything, rules: vec![] };

/// Labels and annotations.
static TEXTS: LazyLock<Node> = LazyLock::new(|| {
    let text = Node { shape: Shape::Text(vec![]), rules: vec![] };
    Node { shape: Shape::Map(Box::new(text)), rules: vec![] }
});

struct Evaluator {
    /// The field inside the value that the rule is on, where one is nearer to the fault.
    field: Option<&'static str>,
    /// Only called with a value of the right shape; a duration that is none has its own error.
    holds: fn(&Value) -> bool,
}

/// The evaluator of a CEL rule; `None` for one that compares with the object before an edit.
fn evaluator(rule: &str) -> Option<Evaluator> {
    fn nanoseconds(value: &Value) -> Option<i64> {
        parse_go_duration(value.as_str()?).ok()
    }
    let (field, holds): (_, fn(&Value) -> bool) = match rule {
        rules::CONNECT_TIME_RANGE => {
            (None, |v| nanoseconds(v).is_none_or(|n| (1..=65535).contains(&(n / 1_000_000_000))))
        }
        rules::CONNECT_TIME_WHOLE_SECONDS => {
            (None, |v| nanoseconds(v).is_none_or(|n| n / 1_000_000 % 1000 == 0))
        }
        rules::WHOLE_ADDRESSES_WITH_SERVICE_SELECTORS => (Some("serviceSelectors"), |v| {
            let is = |field: &str, length: i64| {
                v.get(field).is_none_or(|f| f.is_null() || f.as_i64() == Some(length))
            };
            v.get("serviceSelectors").and_then(Value::as_array).is_none_or(Vec::is_empty)
                || is("aggregationLength", 32) && is("aggregationLengthV6", 128)
        }),
        _ => return None,
    };
    Some(Evaluator { field, holds })
}

type OwnRule = fn(&Value) -> Option<String>;

/// Rules that no schema has, by kind and field of `spec`.
const OWN_RULES: [(&str, &str, OwnRule); 8] = [
    ("BGPAdvertisement", "aggregationLengthV6", prefix_length),
    ("BGPAdvertisement", "localPref", fits_32_bits),
    ("BGPPeer", "connectTime", duration),
    ("BGPPeer", "holdTime", duration),
    ("BGPPeer", "interface", one_line),
    ("BGPPeer", "keepaliveTime", duration),
    ("BGPPeer", "password", one_line),
    ("BGPPeer", "vrf", one_line),
];

fn duration(value: &Value) -> Option<String> {
    parse_go_duration(value.as_str()?).err()
}

fn one_line(value: &Value) -> Option<String> {
    value.as_str()?.contains(['\n', '\r']).then(|| "must not contain a line break".into())
}

fn fits_32_bits(value: &Value) -> Option<String> {
    out_of_range(integer(value)?, 0, u32::MAX.into())
}

/// Its upper end is judged beside that of `aggregationLength`, which has none in the schema either.
fn prefix_length(value: &Value) -> Option<String> {
    (integer(value)? < 0).then(|| "must not be negative".into())
}

/// One walk over one object.
#[derive(Default)]
struct Walk {
    path: String,
    checked: Checked,
}

impl Walk {
    /// What a user writes there and something depends on: unread, a label would be lost and an age be none.
    fn metadata(&mut self, object: &Value) {
        let field = |name: &str| object.get("metadata")?.get(name).filter(|v| !v.is_null());
        for name in ["annotations", "labels"] {
            if let Some(texts) = field(name) {
                self.inside(&format!("metadata.{name}"), |walk| walk.value(texts, &TEXTS));
            }
        }
        let is_time = |time: &Value| time.as_str().is_some_and(|t| t.parse::<jiff::Timestamp>().is_ok());
        if field("creationTimestamp").is_some_and(|time| !is_time(time)) {
            self.inside("metadata.creationTimestamp", |walk| {
                walk.error("must be a time, such as 2024-05-01T10:00:00Z")
            });
        }
    }

    fn whole(&mut self, object: &Value, schema: &Node) {
        let Shape::Object { fields, required } = &schema.shape else { return };
        let empty = Value::Object(Map::new());
        for (name, node) in fields {
            let value = match object.get(name).filter(|v| !v.is_null()) {
                Some(value) => self.at(name, |walk| walk.value(value, node)),
                None if required.contains(name) => self.at(name, |walk| walk.error("is required")),
                // What is required in `spec` is missing where `spec` is.
                None if name == "spec" => self.at(name, |walk| walk.value(&empty, node)),
                None => None,
            };
            if name == "spec" {
                self.checked.spec = value.unwrap_or_else(|| neutral(node));
            }
        }
        self.unknown_fields(object, fields);
    }

    /// Checks a value; gives what can be read of it, nothing where it isn't what `node` asks for.
    fn value(&mut self, value: &Value, node: &Node) -> Option<Value> {
        let errors_before = self.checked.errors.len();
        let readable = self.shape(value, &node.shape)?;
        if self.checked.errors.len() > errors_before {
            return Some(readable);
        }
        for rule in &node.rules {
            match rule {
                Rule::Cel(Evaluator { field, holds }, message) if !holds(value) => match field {
                    Some(field) => self.at(field, |walk| walk.error(message.as_str())),
                    None => self.error(message.as_str()),
                },
                Rule::Cel(..) => None,
                Rule::Own(judge) => judge(value).and_then(|message| self.error(message)),
            };
        }
        Some(readable)
    }

    fn shape(&mut self, value: &Value, shape: &Shape) -> Option<Value> {
        match (shape, value) {
            (Shape::Anything, _) | (Shape::Boolean, Value::Bool(_)) => Some(value.clone()),
            (Shape::Integer(low, high), Value::Number(_)) => {
                let Some(number) = integer(value) else { return self.error("must be a whole number") };
                if let Some(message) = out_of_range(number, *low, *high) {
                    self.error(message)
                } else if value.is_f64() {
                    self.error("must be a whole number: write it without a fraction or exponent")
                } else {
                    Some(value.clone())
                }
            }
            (Shape::Text(one_of), Value::String(text)) => {
                if one_of.is_empty() || one_of.contains(text) {
                    Some(value.clone())
                } else {
                    self.error(format!("must be {}", one_of.join(" or ")))
                }
            }
            (Shape::List { items, min }, Value::Array(values)) => {
                if values.len() < *min {
                    self.error(format!("must have at least {min} entries"));
                }
                // Something neutral stands for an entry in error: those after it keep their places.
                let read = values.iter().enumerate().map(|(index, value)| {
                    let entry = self.inside(&format!("[{index}]"), |walk| walk.value(value, items));
                    entry.unwrap_or_else(|| neutral(items))
                });
                Some(read.collect())
            }
            (Shape::Map(values), Value::Object(map)) => {
                let read = map.iter().filter_map(|(key, value)| {
                    let value = self.inside(&format!("[{key}]"), |walk| walk.value(value, values))?;
                    Some((key.clone(), value))
                });
                Some(Value::Object(read.collect()))
            }
            (Shape::Object { fields, required }, Value::Object(map)) => {
                let mut read = Map::new();
                for (name, node) in fields {
                    let required = required.contains(name);
                    let field = match map.get(name).filter(|v| !v.is_null()) {
                        Some(value) => self.at(name, |walk| walk.value(value, node)),
                        None if required => self.at(name, |walk| walk.error("is required")),
                        None => None,
                    };
                    if let Some(field) = field.or_else(|| required.then(|| neutral(node))) {
                        read.insert(name.clone(), field);
                    }
                }
                self.unknown_fields(value, fields);
                Some(Value::Object(read))
            }
            (shape, value) => self.error(wrong_type(shape, value)),
        }
    }

    fn unknown_fields(&mut self, object: &Value, fields: &BTreeMap<String, Node>) {
        for name in object.as_object().into_iter().flat_map(|map| map.keys()) {
            if !fields.contains_key(name) {
                let hint = nearest(name, fields.keys()).map(|n| format!(": did you mean {n}?"));
                let hint = hint.unwrap_or_default();
                self.at(name, |walk| walk.warn(format!("unknown field, ignored{hint}")));
            }
        }
    }

    /// Fields that MetalLB's v1beta1 doesn't have and drops. Here both versions have one shape, and the field counts.
    fn newer_fields(&mut self, object: &Value) {
        for name in bgp_peer::SINCE_V1BETA2 {
            if object.get("spec").and_then(|s| s.get(name)).is_some_and(|v| !v.is_null()) {
                self.path.clear();
                self.path.push_str("spec");
                self.at(name, |walk| {
                    walk.warn("is a field of v1beta2: write apiVersion metallb.io/v1beta2".to_string());
                });
            }
        }
    }

    fn at<T>(&mut self, name: &str, go: impl FnOnce(&mut Walk) -> T) -> T {
        if self.path.is_empty() { self.inside(name, go) } else { self.inside(&format!(".{name}"), go) }
    }

    fn inside<T>(&mut self, step: &str, go: impl FnOnce(&mut Walk) -> T) -> T {
        let before = self.path.len();
        self.path.push_str(step);
        let result = go(self);
        self.path.truncate(before);
        result
    }

    /// Gives `None`, for a value that can't be read.
    fn error(&mut self, message: impl Into<String>) -> Option<Value> {
        let finding = self.finding(message.into());
        self.checked.errors.push(finding);
        None
    }

    fn warn(&mut self, message: String) {
        let finding = self.finding(message);
        self.checked.warnings.push(finding);
    }

    fn finding(&self, message: String) -> Finding {
        Finding { field: (!self.path.is_empty()).then(|| self.path.clone()), message, code: None }
    }
}

/// A value of the right shape that says nothing.
fn neutral(node: &Node) -> Value {
    match &node.shape {
        Shape::Anything => Value::Null,
        Shape::Boolean => Value::Bool(false),
        Shape::Integer(low, high) => i64::try_from(0.clamp(*low, *high)).unwrap_or_default().into(),
        Shape::Text(one_of) => one_of.first().cloned().unwrap_or_default().into(),
        Shape::List { .. } => Value::Array(vec![]),
        Shape::Map(_) => Value::Object(Map::new()),
        Shape::Object { fields, required } => {
            let fields = fields.iter().filter(|(name, _)| required.contains(name));
            Value::Object(fields.map(|(name, node)| (name.clone(), neutral(node))).collect())
        }
    }
}

/// A whole number of any size that matters; JSON has those beyond 64 bits as floating point.
fn integer(value: &Value) -> Option<i128> {
    match (value.as_i64(), value.as_u64(), value.as_f64()) {
        (Some(n), _, _) => Some(n.into()),
        (_, Some(n), _) => Some(n.into()),
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and stays out of every range")]
        (_, _, Some(n)) if n.fract() == 0.0 => Some(n as i128),
        _ => None,
    }
}

fn out_of_range(number: i128, low: i128, high: i128) -> Option<String> {
    if number < low {
        Some(format!("must be {low} or more, and is {number}"))
    } else if number > high {
        Some(format!("must be {high} or less, and is {number}"))
    } else {
        None
    }
}

fn wrong_type(shape: &Shape, value: &Value) -> String {
    let expected = match shape {
        Shape::Anything => "anything",
        Shape::Boolean => "true or false, without quotes",
        Shape::Integer(..) => "a whole number, without quotes",
        Shape::Text(_) => "text (in quotes, where YAML would read something else)",
        Shape::List { .. } => "a list",
        Shape::Map(_) => "a map from text to text",
        Shape::Object { .. } => "an object",
    };
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("must be {expected}, and is {found}")
}

/// The name that `typed` was probably meant to be: at most two letters off, whatever the case.
fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    if typed.len() > 64 {
        return None;
    }
    let ranked = names.map(|name| (distance(&typed, &name.to_lowercase()), name.as_str()));
    ranked.filter(|(d, name)| *d <= 2 && *d < name.len() / 2).min().map(|(_, name)| name)
}

/// The edit distance, of insertions, deletions and replacements.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, &above) in b.chars().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
