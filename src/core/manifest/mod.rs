//! Manifest bytes to objects, with file, document and line.
//!
//! [`split`] cuts a file into documents, [`RawDocument::read`] turns one of them into what it holds: objects of the kinds
//! that are read, the names of those that aren't, and errors. [`parse`] does both. Documents, and the items of a `List`,
//! are judged each alone, so that a running role can go on with the good ones of a broken file; `plan` fails on the first
//! error. The two steps are apart so that callers can read documents on several threads, and only those that changed.
//!
//! YAML is read as Kubernetes' tools do: booleans may also be written `yes`, `no`, `on` and `off` (but `y` and `n` are
//! texts); a key that is there twice is an error, in JSON too. Nesting, aliases and their expansion are bounded. What kind an object is of is judged by group,
//! kind and version; whether two are the same one, by group, kind, namespace and name.
//!
//! A wrong type in a `v1` or `discovery.k8s.io` object, or in an Allocations, is an error here. `metallb.io` objects are
//! kept raw, and only need a name: what else is wrong with them is `config`'s to say.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod base64;
mod json;
mod object;
mod shape;
mod split;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use crate::types::ServiceKey;
use crate::world::{Object, ObjectId};

pub use split::{RawDocument, split};

/// Where something was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file, as it is shown to users.
    pub file: Arc<str>,
    /// Which document of the file, from 1.
    pub document: usize,
    /// The line in the file, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {}, line {}", self.file, self.document, self.line)
    }
}

/// An object and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The object.
    pub object: Object,
    /// The first line of its document.
    pub origin: Origin,
}

/// An object of a kind that isn't read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its namespace; `None` where it gives none.
    pub namespace: Option<String>,
    /// Its name; empty where it gives none.
    pub name: String,
    /// Where it was read.
    pub origin: Origin,
}

impl Skipped {
    /// The API group: empty for core kinds.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// Why a document, or one item of a `List` in it, couldn't be read. One line, without any secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct ManifestError {
    /// Where: the line at fault, where known, else the first line of the document.
    pub origin: Origin,
    /// The object that couldn't be read, where its name could.
    pub object: Option<ObjectId>,
    /// What is wrong.
    pub message: String,
}

impl ManifestError {
    /// With a message that is one line, whatever `message` holds.
    pub(crate) fn new(origin: Origin, object: Option<ObjectId>, message: &str) -> ManifestError {
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        ManifestError { origin, object, message: message.replace(char::is_control, "?") }
    }
}

/// What was read, each list in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// The objects of kinds that are read.
    pub objects: Vec<Located>,
    /// The others.
    pub skipped: Vec<Skipped>,
    /// What couldn't be read.
    pub errors: Vec<ManifestError>,
}

impl Parsed {
    /// Appends what was read after it.
    pub fn extend(&mut self, later: Parsed) {
        self.objects.extend(later.objects);
        self.skipped.extend(later.skipped);
        self.errors.extend(later.errors);
    }
}

/// Reads a file of any number of documents. `file` is how the file is shown to users; where it ends in `.json` the file has
/// to be JSON, one value or several, otherwise it may be either.
pub fn parse(file: &str, bytes: &[u8]) -> Parsed {
    let mut all = Parsed::default();
    for document in split(file, bytes) {
        all.extend(document.read());
    }
    all
}

/// Reads one object that is a JSON value already, as the API server gives it. `None`: it is of a kind that isn't read, or
/// nothing depends on what is in it.
///
/// # Errors
/// What is wrong with it, in the sentence that it would have in a file, with its kind and name as far as they could be read.
pub fn object(value: serde_json::Value) -> Result<Option<Object>, String> {
    let origin = Origin { file: "".into(), document: 1, line: 1 };
    let mut parsed = Parsed::default();
    object::read_document(value, &origin, &mut parsed);
    match parsed.errors.pop() {
        Some(error) => Err(error.message),
        None => Ok(parsed.objects.pop().map(|located| located.object)),
    }
}

/// Finds what may be there only once: an object of the same kind, namespace and name as an earlier one, and a Service that
/// an earlier Allocations speaks of. Each error is the later one's and names the place of the earlier.
pub fn duplicates(objects: &[Located]) -> Vec<ManifestError> {
    let mut seen: HashMap<ObjectId, &Origin> = HashMap::with_capacity(objects.len());
    let mut allocated: HashMap<&ServiceKey, &Origin> = HashMap::new();
    let mut errors = Vec::new();
    for Located { object, origin } in objects {
        match seen.entry(object.id()) {
            Entry::Occupied(first) => {
                errors.push(duplicate_object(first.key(), first.get(), origin));
                continue;
            }
            Entry::Vacant(free) => {
                free.insert(origin);
            }
        }
        let Object::Allocations(allocations) = object else { continue };
        for entry in &allocations.entries {
            match allocated.entry(&entry.service) {
                Entry::Occupied(first) => {
                    errors.push(duplicate_allocation(&object.id(), &entry.service, first.get(), origin));
                }
                Entry::Vacant(free) => {
                    free.insert(origin);
                }
            }
        }
    }
    errors
}

/// The error of an object that is there a second time.
pub fn duplicate_object(id: &ObjectId, first: &Origin, second: &Origin) -> ManifestError {
    let message = format!("{id} is there already, in {first}: keep one of them");
    ManifestError::new(second.clone(), Some(id.clone()), &message)
}

/// The error of an Allocations, `id`, with an entry for a Service that another one, at `first`, speaks of as well.
pub fn duplicate_allocation(
    id: &ObjectId,
    service: &ServiceKey,
    first: &Origin,
    second: &Origin,
) -> ManifestError {
    let message =
        format!("{id} has an entry for Service {service}, and so has {first}: keep one of the two entries");
    ManifestError::new(second.clone(), Some(id.clone()), &message)
}
