use std::fmt;

use serde::Serialize;

/// Names an object: kind, namespace, name. Sorts in that order, bytewise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind, such as `BGPPeer`.
    pub kind: String,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// From its three parts.
    pub fn new(kind: &str, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Something wrong with an object: an error or a warning, by where it is listed. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Issue {
    /// The object's kind.
    pub kind: String,
    /// The object's namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
    /// The path of the field, such as `spec.addresses[1]`; `None` where no one field is to blame.
    pub field: Option<String>,
    /// What is wrong, and the remedy, as a sentence without the object's name.
    pub message: String,
}

impl Issue {
    /// About `field` of `object`.
    pub fn new(object: &ObjectKey, field: Option<&str>, message: impl Into<String>) -> Issue {
        Issue {
            kind: object.kind.clone(),
            namespace: (!object.namespace.is_empty()).then(|| object.namespace.clone()),
            name: object.name.clone(),
            field: field.map(Into::into),
            message: message.into(),
        }
    }

    /// The object that it is about.
    pub fn object(&self) -> ObjectKey {
        ObjectKey::new(&self.kind, self.namespace.as_deref().unwrap_or_default(), &self.name)
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object())?;
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}
