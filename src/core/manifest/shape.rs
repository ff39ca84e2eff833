//! The types of the fields of `v1` and `discovery.k8s.io` kinds: what Kubernetes' decoder would refuse is refused.
//!
//! Tables name the fields of an API type with their JSON type. A field that isn't named is left alone, as Kubernetes does; null
//! is the same as not there.

use std::fmt;

use serde_json::{Map, Value};

/// The type of a field.
pub(super) enum Shape {
    Bool,
    /// A whole number from 0 to this.
    Int(u64),
    Text,
    IntOrText,
    /// A time as in RFC 3339.
    Time,
    /// Texts by key.
    Texts,
    List(&'static Shape),
    Fields(&'static [(&'static str, Shape)]),
}

use Shape::{Bool, Fields, Int, IntOrText, List, Text, Texts, Time};

const INT32: Shape = Int(i32::MAX as u64);
const INT64: Shape = Int(i64::MAX as u64);
const LIST_OF_TEXT: Shape = List(&Text);

/// `ObjectMeta`, as far as anything depends on it.
const METADATA: Shape = Fields(&[
    ("annotations", Texts),
    ("creationTimestamp", Time),
    ("deletionTimestamp", Time),
    ("finalizers", LIST_OF_TEXT),
    ("generateName", Text),
    ("generation", INT64),
    ("labels", Texts),
    ("name", Text),
    ("namespace", Text),
    ("resourceVersion", Text),
    ("uid", Text),
]);

const CONDITIONS: Shape =
    List(&Fields(&[("message", Text), ("reason", Text), ("status", Text), ("type", Text)]));

pub(super) static NAMESPACE: Shape = Fields(&[("metadata", METADATA)]);

pub(super) static SECRET: Shape = Fields(&[
    ("data", Texts),
    ("immutable", Bool),
    ("metadata", METADATA),
    ("stringData", Texts),
    ("type", Text),
]);

pub(super) static SERVICE: Shape = Fields(&[
    ("metadata", METADATA),
    (
        "spec",
        Fields(&[
            ("allocateLoadBalancerNodePorts", Bool),
            ("clusterIP", Text),
            ("clusterIPs", LIST_OF_TEXT),
            ("externalIPs", LIST_OF_TEXT),
            ("externalName", Text),
            ("externalTrafficPolicy", Text),
            ("healthCheckNodePort", INT32),
            ("internalTrafficPolicy", Text),
            ("ipFamilies", LIST_OF_TEXT),
            ("ipFamilyPolicy", Text),
            ("loadBalancerClass", Text),
            ("loadBalancerIP", Text),
            ("loadBalancerSourceRanges", LIST_OF_TEXT),
            (
                "ports",
                List(&Fields(&[
                    ("appProtocol", Text),
                    ("name", Text),
                    ("nodePort", INT32),
                    ("port", Int(u16::MAX as u64)),
                    ("protocol", Text),
                    ("targetPort", IntOrText),
                ])),
            ),
            ("publishNotReadyAddresses", Bool),
            ("selector", Texts),
            ("sessionAffinity", Text),
            ("sessionAffinityConfig", Fields(&[("clientIP", Fields(&[("timeoutSeconds", INT32)]))])),
            ("trafficDistribution", Text),
            ("type", Text),
        ]),
    ),
    (
        "status",
        Fields(&[
            ("conditions", CONDITIONS),
            (
                "loadBalancer",
                Fields(&[(
                    "ingress",
                    List(&Fields(&[
                        ("hostname", Text),
                        ("ip", Text),
                        ("ipMode", Text),
                        ("ports", List(&Fields(&[("error", Text), ("port", INT32), ("protocol", Text)]))),
                    ])),
                )]),
            ),
        ]),
    ),
]);

pub(super) static ENDPOINT_SLICE: Shape = Fields(&[
    ("addressType", Text),
    (
        "endpoints",
        List(&Fields(&[
            ("addresses", LIST_OF_TEXT),
            ("conditions", Fields(&[("ready", Bool), ("serving", Bool), ("terminating", Bool)])),
            ("deprecatedTopology", Texts),
            (
                "hints",
                Fields(&[
                    ("forNodes", List(&Fields(&[("name", Text)]))),
                    ("forZones", List(&Fields(&[("name", Text)]))),
                ]),
            ),
            ("hostname", Text),
            ("nodeName", Text),
            ("targetRef", Fields(&[("kind", Text), ("name", Text), ("namespace", Text), ("uid", Text)])),
            ("zone", Text),
        ])),
    ),
    ("metadata", METADATA),
    ("ports", List(&Fields(&[("appProtocol", Text), ("name", Text), ("port", INT32), ("protocol", Text)]))),
]);

pub(super) static NODE: Shape = Fields(&[
    ("metadata", METADATA),
    (
        "spec",
        Fields(&[
            ("podCIDR", Text),
            ("podCIDRs", LIST_OF_TEXT),
            ("providerID", Text),
            ("taints", List(&Fields(&[("effect", Text), ("key", Text), ("value", Text)]))),
            ("unschedulable", Bool),
        ]),
    ),
    (
        "status",
        Fields(&[
            ("addresses", List(&Fields(&[("address", Text), ("type", Text)]))),
            ("conditions", CONDITIONS),
            ("phase", Text),
        ]),
    ),
]);

pub(super) static ALLOCATIONS: Shape = Fields(&[
    ("metadata", METADATA),
    (
        "spec",
        Fields(&[("services", List(&Fields(&[("ips", LIST_OF_TEXT), ("name", Text), ("namespace", Text)])))]),
    ),
]);

impl Shape {
    /// Whether an object has these types.
    ///
    /// # Errors
    /// The field, what it must be and what it is, but not its value.
    pub(super) fn check(&self, object: &Map<String, Value>) -> Result<(), String> {
        let Fields(fields) = self else { return Ok(()) };
        check_fields(fields, object, &Path::Root)
    }

    fn check_value(&self, value: &Value, path: &Path<'_>) -> Result<(), String> {
        let fits = match (self, value) {
            (_, Value::Null) => true,
            (Bool, v) => v.is_boolean(),
            (Int(max), Value::Number(n)) => {
                return match n.as_u64() {
                    Some(n) if n <= *max => Ok(()),
                    _ => Err(format!("{path} must be a whole number from 0 to {max}")),
                };
            }
            (Text, v) => v.is_string(),
            (IntOrText, v) => v.is_string() || v.is_i64() || v.is_u64(),
            (Time, Value::String(text)) => {
                return match text.parse::<jiff::Timestamp>() {
                    Ok(_) => Ok(()),
                    Err(_) => Err(format!("{path} must be a time such as 2026-01-31T09:30:00Z")),
                };
            }
            (Texts, Value::Object(map)) => {
                return map.iter().try_for_each(|(key, v)| Text.check_value(v, &Path::Key(path, key)));
            }
            (List(shape), Value::Array(items)) => {
                return items
                    .iter()
                    .enumerate()
                    .try_for_each(|(i, v)| shape.check_value(v, &Path::Index(path, i)));
            }
            (Fields(fields), Value::Object(map)) => return check_fields(fields, map, path),
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("{path} must be {self}, not {}", kind_of(value))) }
    }
}

fn check_fields(
    fields: &[(&'static str, Shape)],
    object: &Map<String, Value>,
    path: &Path<'_>,
) -> Result<(), String> {
    for (name, shape) in fields {
        if let Some(value) = object.get(*name) {
            shape.check_value(value, &Path::Field(path, name))?;
        }
    }
    Ok(())
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bool => "true or false",
            Int(_) => "a whole number",
            Text => "a string",
            IntOrText => "a whole number or a string",
            Time => "a time such as \"2026-01-31T09:30:00Z\"",
            Texts => "an object of strings",
            List(_) => "a list",
            Fields(_) => "an object",
        })
    }
}

/// What a value is, in a sentence.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Where in an object; written out only for an error.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Key(parent, key) => write!(f, "{parent}[{key}]"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
