//! Whether one write of a configuration object may stand: what a validating webhook answers.
//!
//! A write is denied only for an error that it adds, to its object or to another. What was wrong before is no reason, and
//! neither is something that it refers to and isn't there yet. So nobody is kept from editing an object by what is wrong
//! elsewhere in it, or in others. The rules are [`config`](crate::config)'s, and the sentences too: what `plan` says of the
//! objects as they would be.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::schema::Code;
use crate::config::{Compiled, Settings, compile_trusting};
use crate::manifest;
use crate::types::{Issue, ObjectKey};
use crate::world::{ConfigObject, Object, ObjectId, World};

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It is there and changes.
    Update,
    /// It goes.
    Delete,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The write stands.
    Allowed {
        /// What is to be said of the object all the same, each a sentence with the field; only what wasn't so before.
        warnings: Vec<String>,
    },
    /// The write doesn't stand.
    Denied {
        /// Each a sentence with the object and the field; at least one.
        errors: Vec<String>,
    },
}

/// Judges a write. `world` holds the configuration objects that are stored, and the namespaces; Secrets don't matter.
/// `object` is the object as it would be, or, where it is deleted, as it was.
pub fn review(world: &World, settings: &Settings, operation: Operation, object: &ConfigObject) -> Verdict {
    let system = &*settings.system_namespace;
    if object.key.namespace != system {
        return match operation {
            Operation::Create => denied(format!(
                "{}: configuration counts in the namespace {system:?} only: create it there",
                object.key
            )),
            // It never counted.
            Operation::Update | Operation::Delete => Verdict::Allowed { warnings: vec![] },
        };
    }
    if operation == Operation::Delete {
        return review_deletion(world, system, &object.key);
    }
    let before = compile_trusting(world, settings);
    let mut with = world.clone();
    with.apply(Object::Config(dated(world, operation, object)));
    let after = compile_trusting(&with, settings);
    let grown = grown(&before, &after, &object.key);
    let said = unsaid(&before.config.errors, &after.config.errors);
    // What is at odds with others in another way than before is no error more, but worth saying.
    let (added, reworded): (Vec<_>, Vec<_>) =
        said.into_iter().partition(|e| grown.contains(&identity(&after, e)));
    if added.is_empty() {
        let warnings = unsaid(&before.config.warnings, &after.config.warnings);
        let own = reworded.into_iter().chain(warnings).filter(|issue| issue.object() == object.key);
        return Verdict::Allowed { warnings: own.map(of_the_object).collect() };
    }
    Verdict::Denied { errors: added.into_iter().map(ToString::to_string).collect() }
}

/// Answers an `admission.k8s.io/v1` AdmissionReview with another.
///
/// # Errors
/// Why it is none: there is no request, or it has no UID.
pub fn respond(world: &World, settings: &Settings, review: &Value) -> Result<Value, String> {
    let request = review.get("request").ok_or("it has no request")?;
    let uid = request.get("uid").and_then(Value::as_str).ok_or("its request has no uid")?;
    let answer = match judge(world, settings, request) {
        Ok(Verdict::Allowed { warnings }) if warnings.is_empty() => json!({ "uid": uid, "allowed": true }),
        Ok(Verdict::Allowed { warnings }) => json!({ "uid": uid, "allowed": true, "warnings": warnings }),
        Ok(Verdict::Denied { errors }) => refusal(uid, 403, &list(&errors)),
        Err(message) => refusal(uid, 400, &message),
    };
    Ok(json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer }))
}

fn judge(world: &World, settings: &Settings, request: &Value) -> Result<Verdict, String> {
    let (operation, field) = match request.get("operation").and_then(Value::as_str) {
        Some("CREATE") => (Operation::Create, "object"),
        Some("UPDATE") => (Operation::Update, "object"),
        Some("DELETE") => (Operation::Delete, "oldObject"),
        // Nothing is checked of it.
        _ => return Ok(Verdict::Allowed { warnings: vec![] }),
    };
    let object = request.get(field).filter(|o| o.is_object()).ok_or_else(|| format!("it has no {field}"))?;
    let Some(Object::Config(object)) = manifest::object(object.clone())? else {
        return Ok(Verdict::Allowed { warnings: vec![] });
    };
    // The world may be behind, or empty at the start; the API server knows what the object was.
    let before = request.get("oldObject").filter(|_| operation == Operation::Update);
    match before.cloned().map(manifest::object) {
        Some(Ok(Some(before))) if before.id() == ObjectId::Config(object.key.clone().into()) => {
            let mut with = world.clone();
            with.apply(before);
            Ok(review(&with, settings, operation, &object))
        }
        _ => Ok(review(world, settings, operation, &object)),
    }
}

fn refusal(uid: &str, code: u16, message: &str) -> Value {
    json!({ "uid": uid, "allowed": false, "status": { "code": code, "message": message } })
}

/// The first few, in one text.
fn list(errors: &[String]) -> String {
    const MOST: usize = 10;
    let shown = errors.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join("; ");
    match errors.len().checked_sub(MOST) {
        Some(more) if more > 0 => format!("{shown}; and {more} more errors"),
        _ => shown,
    }
}

/// Of two objects in conflict the older one stands: a new one is the youngest, and an edit makes none younger.
fn dated(world: &World, operation: Operation, object: &ConfigObject) -> ConfigObject {
    let stored = world.config_object(&object.key);
    let created = match operation {
        Operation::Create => Some(Timestamp::MAX),
        _ => stored.map_or(object.created, |stored| stored.created),
    };
    ConfigObject { created, ..object.clone() }
}

/// As MetalLB: a profile that a peer refers to stays.
fn review_deletion(world: &World, system: &str, key: &ObjectKey) -> Verdict {
    let refers = |peer: &ConfigObject| {
        peer.raw.pointer("/spec/bfdProfile").and_then(|name| name.as_str()) == Some(key.name.as_str())
    };
    let peers = world.config_objects().filter(|o| o.key.kind == "BGPPeer" && o.key.namespace == system);
    let names: Vec<&str> = peers.filter(|p| refers(p)).map(|p| p.key.name.as_str()).collect();
    if key.kind != "BFDProfile" || names.is_empty() {
        return Verdict::Allowed { warnings: vec![] };
    }
    denied(format!("{key}: the BGPPeers {} refer to it: take it out of them first", names.join(", ")))
}

fn denied(error: String) -> Verdict {
    Verdict::Denied { errors: vec![error] }
}

/// What tells an error from others: the object, the field, and the rule or, where the field's own value is all that it is
/// about, the words. The names of those that it is at odds with are no part of it: whichever moves away, the next may be
/// named in its stead.
///
/// A place in a list is no difference: where an entry is taken out, what was wrong with those behind it isn't new.
type Identity<'a> = (ObjectKey, Option<String>, Option<Code>, &'a str);

fn identity<'a>(compiled: &Compiled, error: &'a Issue) -> Identity<'a> {
    let code = compiled.codes.get(error).copied();
    let words = if code.is_some() { "" } else { error.message.as_str() };
    (error.object(), error.field.as_deref().map(without_places), code, words)
}

/// How many errors of one identity there are, and at how many places.
#[derive(Default)]
struct Count<'a> {
    errors: usize,
    places: BTreeSet<Option<&'a str>>,
}

fn counted(compiled: &Compiled) -> BTreeMap<Identity<'_>, Count<'_>> {
    let mut counts: BTreeMap<_, Count<'_>> = BTreeMap::new();
    for error in &compiled.config.errors {
        let count = counts.entry(identity(compiled, error)).or_default();
        count.errors = count.errors.saturating_add(1);
        count.places.insert(error.field.as_deref());
    }
    counts
}

/// The errors of which a write of `written` makes more.
///
/// Of the object itself each one counts: what it is judged against is older, or of another kind, and stays as it is. Of
/// another object a place counts once, whatever it is at odds with there: where what moves away made room for two that
/// overlap it too, it was in error before and still is.
fn grown<'a>(before: &Compiled, after: &'a Compiled, written: &ObjectKey) -> BTreeSet<Identity<'a>> {
    let (known, now) = (counted(before), counted(after));
    let grew = |identity: &Identity<'_>, count: &Count<'_>| {
        known.get(identity).is_none_or(|before| {
            count.errors > before.errors
                && (identity.0 == *written || count.places.len() > before.places.len())
        })
    };
    now.into_iter().filter(|(identity, count)| grew(identity, count)).map(|(identity, _)| identity).collect()
}

/// The issues whose words are in `after` more often than in `before`, wherever in a list.
fn unsaid<'a>(before: &[Issue], after: &'a [Issue]) -> Vec<&'a Issue> {
    fn said(issue: &Issue) -> (ObjectKey, Option<String>, String) {
        (issue.object(), issue.field.as_deref().map(without_places), issue.message.clone())
    }
    let mut known: BTreeMap<_, usize> = BTreeMap::new();
    for issue in before {
        let count = known.entry(said(issue)).or_default();
        *count = count.saturating_add(1);
    }
    let is_new = |issue: &&Issue| match known.get_mut(&said(issue)) {
        Some(count) if *count > 0 => {
            *count = count.saturating_sub(1);
            false
        }
        _ => true,
    };
    after.iter().filter(is_new).collect()
}

/// `spec.addresses[2]` as `spec.addresses[]`; keys of labels, which aren't numbers, stay.
fn without_places(field: &str) -> String {
    let mut parts = field.split('[');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push('[');
        match part.split_once(']') {
            Some((place, rest)) if place.bytes().all(|b| b.is_ascii_digit()) => {
                text.push(']');
                text.push_str(rest);
            }
            _ => text.push_str(part),
        }
    }
    text
}

fn of_the_object(issue: &Issue) -> String {
    match &issue.field {
        Some(field) => format!("{field}: {}", issue.message),
        None => issue.message.clone(),
    }
}
