use std::fmt;

use super::Labels;

/// A label selector whose syntax was checked; all requirements must hold. `Default` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// What must hold: `matchLabels` by key first, then `matchExpressions` as written.
    pub requirements: Vec<Requirement>,
}

/// One requirement of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// Where it stands inside the selector: `matchLabels[key]` or `matchExpressions[i]`.
    pub path: String,
    /// The label's key.
    pub key: String,
    /// How the label is judged.
    pub operator: Operator,
}

/// How a label is judged. Value lists are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there with one of these values; `matchLabels` is this with one value.
    In(Vec<String>),
    /// The label isn't there, or has none of these values.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label isn't there.
    DoesNotExist,
}

impl Requirement {
    /// Whether `labels` meet it.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|v| values.iter().any(|one| one == v)),
            Operator::NotIn(values) => value.is_none_or(|v| !values.iter().any(|one| one == v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(f, "{}={}", self.key, values.join(",")),
            Operator::In(values) => write!(f, "{} in ({})", self.key, values.join(",")),
            Operator::NotIn(values) => write!(f, "{} notin ({})", self.key, values.join(",")),
            Operator::Exists => write!(f, "{} exists", self.key),
            Operator::DoesNotExist => write!(f, "{} does not exist", self.key),
        }
    }
}

impl Selector {
    /// Whether `labels` meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|r| r.matches(labels))
    }

    /// The first requirement that `labels` don't meet.
    pub fn first_failure<'a>(&'a self, labels: &'a Labels) -> Option<Mismatch<'a>> {
        let requirement = self.requirements.iter().find(|r| !r.matches(labels))?;
        Some(Mismatch { requirement, actual: labels.get(&requirement.key) })
    }
}

/// Which requirement failed, on which value of the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch<'a> {
    /// The requirement.
    pub requirement: &'a Requirement,
    /// The label's value; `None` where there is no such label.
    pub actual: Option<&'a str>,
}

/// A list of selectors of which one must match; an empty list matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnyOf(pub Vec<Selector>);

impl AnyOf {
    /// Whether the list is empty, or one of it matches `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.is_empty() || self.0.iter().any(|s| s.matches(labels))
    }
}
