//! Label selectors, with Kubernetes' syntax for keys and values, and MetalLB's rule against duplicates.

use std::collections::HashMap;
use std::fmt;

use super::form::{Field, Form};
use super::schema::Code;
use crate::types::{AnyOf, Operator, Requirement, Selector};

/// Reads a list of selectors, in which nothing may be there twice.
pub(super) fn any_of<'a>(form: &mut Form<'a>, list: &Field<'a>) -> AnyOf {
    let mut selectors = Vec::new();
    let mut seen = HashMap::new();
    for (index, item) in list.items().into_iter().enumerate() {
        let written = Written::read(&item);
        written.check_duplicates(form);
        selectors.push(written.compile(form));
        if let Some(first) = seen.get(&written) {
            let first: &usize = first;
            form.error_by(
                Code::Twice,
                &item.path,
                format!("this selector is the same as entry {first}: remove one of them"),
            );
        } else {
            seen.insert(written, index);
        }
    }
    AnyOf(selectors)
}

/// Reads one selector, in which duplicates are allowed.
pub(super) fn one<'a>(form: &mut Form<'a>, selector: &Field<'a>) -> Selector {
    Written::read(selector).compile(form)
}

/// A selector as it is written, apart from the order of labels and of values, which doesn't tell two apart.
struct Written<'a> {
    path: String,
    labels: Vec<(&'a str, &'a str)>,
    expressions: Vec<Expression<'a>>,
}

struct Expression<'a> {
    field: Field<'a>,
    key: Option<&'a str>,
    operator: Option<&'a str>,
    /// As written.
    values: Vec<(String, &'a str)>,
    sorted: Vec<&'a str>,
}

impl PartialEq for Expression<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.key, self.operator, &self.sorted) == (other.key, other.operator, &other.sorted)
    }
}

impl Eq for Expression<'_> {}

impl std::hash::Hash for Expression<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.key, self.operator, &self.sorted).hash(state);
    }
}

impl PartialEq for Written<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.labels == other.labels && self.expressions == other.expressions
    }
}

impl Eq for Written<'_> {}

impl std::hash::Hash for Written<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.labels, &self.expressions).hash(state);
    }
}

impl<'a> Written<'a> {
    fn read(selector: &Field<'a>) -> Written<'a> {
        let expression = |field: Field<'a>| {
            let values = field.get("values").texts();
            let mut sorted: Vec<_> = values.iter().map(|(_, v)| *v).collect();
            sorted.sort_unstable();
            Expression {
                key: field.get("key").text(),
                operator: field.get("operator").text(),
                values,
                sorted,
                field,
            }
        };
        Written {
            path: selector.path.clone(),
            labels: selector.get("matchLabels").text_members(),
            expressions: selector.get("matchExpressions").items().into_iter().map(expression).collect(),
        }
    }

    fn check_duplicates(&self, form: &mut Form<'a>) {
        let mut seen = HashMap::new();
        for (index, expression) in self.expressions.iter().enumerate() {
            let mut values = HashMap::new();
            for (at, (path, value)) in expression.values.iter().enumerate() {
                if let Some(first) = values.get(value) {
                    let first: &usize = first;
                    form.error_by(
                        Code::Twice,
                        path,
                        format!("{value:?} is in the list already, as entry {first}: remove one of them"),
                    );
                } else {
                    values.insert(*value, at);
                }
            }
            if let Some(first) = seen.get(expression) {
                let first: &usize = first;
                let text = format!("this expression is the same as entry {first}: remove one of them");
                form.error_by(Code::Twice, &expression.field.path, text);
            } else {
                seen.insert(expression, index);
            }
        }
    }

    fn compile(&self, form: &mut Form<'a>) -> Selector {
        let mut requirements = Vec::new();
        for (key, value) in &self.labels {
            let inside = format!("matchLabels[{key}]");
            let path = format!("{}.{inside}", self.path);
            if let Err(problem) = check_key(key) {
                form.error(&path, format!("{key:?} is no label key: {problem}"));
            }
            if let Err(problem) = check_value(value) {
                form.error(&path, format!("{value:?} is no label value: {problem}"));
            }
            let operator = Operator::In(vec![(*value).to_owned()]);
            requirements.push(Requirement { path: inside, key: (*key).to_owned(), operator });
        }
        for (index, expression) in self.expressions.iter().enumerate() {
            let inside = format!("matchExpressions[{index}]");
            requirements.extend(expression.compile(form, inside));
        }
        Selector { requirements }
    }
}

impl<'a> Expression<'a> {
    fn compile(&self, form: &mut Form<'a>, path: String) -> Option<Requirement> {
        let at = |name: &str| self.field.get(name).path;
        if let Some(key) = self.key
            && let Err(problem) = check_key(key)
        {
            form.error(&at("key"), format!("{key:?} is no label key: {problem}"));
        }
        for (path, value) in &self.values {
            if let Err(problem) = check_value(value) {
                form.error(path, format!("{value:?} is no label value: {problem}"));
            }
        }
        let values = || self.sorted.iter().map(|v| (*v).to_owned()).collect();
        let (operator, wants_values) = match self.operator? {
            "In" => (Operator::In(values()), true),
            "NotIn" => (Operator::NotIn(values()), true),
            "Exists" => (Operator::Exists, false),
            "DoesNotExist" => (Operator::DoesNotExist, false),
            other => {
                let text = format!("{other:?} is no operator: write In, NotIn, Exists or DoesNotExist");
                form.error(&at("operator"), text);
                return None;
            }
        };
        if wants_values && self.values.is_empty() {
            form.error(&at("values"), "In and NotIn need values: list at least one");
        } else if !wants_values && !self.values.is_empty() {
            form.error(
                &at("values"),
                "Exists and DoesNotExist take no values: remove them, or use In or NotIn",
            );
        }
        Some(Requirement { path, key: self.key?.to_owned(), operator })
    }
}

/// Why a text is no label key or value, said with what would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Prefix,
    Name,
    Value,
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Syntax::Prefix => "before the slash it needs a lower-case DNS name of at most 253 characters",
            Syntax::Name => {
                "it needs 1 to 63 letters, digits, '-', '_' or '.', with a letter or digit first and last, and at most \
                 one slash, after a DNS name"
            }
            Syntax::Value => {
                "it may have up to 63 letters, digits, '-', '_' or '.', with a letter or digit first and last"
            }
        })
    }
}

/// Whether a text is a label key: a name, after a DNS name and a slash or alone.
pub(super) fn check_key(key: &str) -> Result<(), Syntax> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if !is_dns_subdomain(prefix) {
                return Err(Syntax::Prefix);
            }
            name
        }
        None => key,
    };
    if is_label_name(name) { Ok(()) } else { Err(Syntax::Name) }
}

/// Whether a text is a label value: empty, or a name.
pub(super) fn check_value(value: &str) -> Result<(), Syntax> {
    if value.is_empty() || is_label_name(value) { Ok(()) } else { Err(Syntax::Value) }
}

fn is_label_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.len() <= 63 && text.bytes().all(inner) && has_ends(text, |b| b.is_ascii_alphanumeric())
}

fn is_dns_subdomain(text: &str) -> bool {
    let outer = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_part = |part: &str| part.bytes().all(|b| outer(b) || b == b'-') && has_ends(part, outer);
    text.len() <= 253 && text.split('.').all(is_part)
}

/// Whether a text has a first and a last character, and both are such.
fn has_ends(text: &str, such: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| such(*b)) && bytes.last().is_some_and(|b| such(*b))
}
