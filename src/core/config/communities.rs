//! `Community` objects: the aliases, which live in one namespace across all objects, and what advertisements refer to.

use std::collections::{BTreeSet, HashMap};

use super::form::Form;
use super::judge::{Judge, Verdict};
use super::schema::Code;
use crate::types::{Community, CommunityError};

/// The aliases of the valid objects.
pub(super) struct Aliases {
    by_name: HashMap<String, Alias>,
    /// The names that only rejected objects define.
    rejected: BTreeSet<String>,
}

struct Alias {
    value: Community,
    /// The name of the object that defines it.
    object: String,
}

/// Why an advertisement's entry stands for nothing.
pub(super) struct Unresolved {
    /// What is wrong, and the remedy.
    pub problem: String,
    /// Whether it may be an alias that is defined nowhere yet, or in a rejected object.
    pub missing: bool,
}

impl Aliases {
    /// Whether a valid object defines this alias.
    pub fn defines(&self, text: &str) -> bool {
        self.by_name.contains_key(text)
    }

    /// What an advertisement's entry stands for: an alias comes before a literal.
    ///
    /// # Errors
    /// Why it stands for nothing.
    pub fn resolve(&self, text: &str) -> Result<Community, Unresolved> {
        if let Some(alias) = self.by_name.get(text) {
            return Ok(alias.value);
        }
        if self.rejected.contains(text) {
            let problem =
                format!("the Community that defines the alias {text:?} is rejected: correct that object");
            return Err(Unresolved { problem, missing: true });
        }
        let problem = |error| match error {
            CommunityError::Shape => format!(
                "{text:?} is no alias of any Community and {error}: define the alias, or write the community itself"
            ),
            CommunityError::NotLarge | CommunityError::Number(_) => format!("{text:?} {error}: correct it"),
        };
        text.parse().map_err(|error| Unresolved { problem: problem(error), missing: !text.contains(':') })
    }
}

/// Judges all Community objects.
pub(super) fn compile(judge: &mut Judge<'_>) -> Aliases {
    let mut by_name: HashMap<String, Alias> = HashMap::new();
    let left_out = judge.each("Community", |form| {
        let own = read_aliases(form);
        if form.has_errors() {
            return Verdict::Rejected;
        }
        for alias in &own {
            if let Some(older) = by_name.get(alias.name) {
                let text = format!(
                    "the older Community {:?} defines the alias {:?} already: rename or remove this one",
                    older.object, alias.name
                );
                form.error_by(Code::AliasTaken, &alias.path, text);
            }
        }
        if form.has_errors() {
            return Verdict::Rejected;
        }
        let object = &form.object.key.name;
        by_name.extend(own.into_iter().filter_map(|alias| {
            Some((alias.name.to_owned(), Alias { value: alias.value?, object: object.clone() }))
        }));
        Verdict::Accepted
    });
    let mut rejected = BTreeSet::new();
    for object in left_out {
        let names = read_aliases(&mut Form::new(object)).into_iter().map(|a| a.name.to_owned());
        rejected.extend(names.filter(|n| !by_name.contains_key(n)));
    }
    Aliases { by_name, rejected }
}

/// An alias as one object defines it.
struct Definition<'a> {
    /// The path of its name.
    path: String,
    name: &'a str,
    /// `None` where it couldn't be read, which the form says.
    value: Option<Community>,
}

fn read_aliases<'a>(form: &mut Form<'a>) -> Vec<Definition<'a>> {
    let mut own: Vec<Definition<'_>> = Vec::new();
    let mut seen = HashMap::new();
    for (index, item) in form.spec().get("communities").items().into_iter().enumerate() {
        // Unset counts as empty, as in MetalLB.
        let (name, value) = (item.get("name"), item.get("value"));
        let text = value.text().unwrap_or_default();
        let parsed = text.parse::<Community>();
        if let Err(error) = &parsed {
            let message = format!("{text:?} {error}: write a value such as 64512:100 or large:64512:1:2");
            form.error(&value.path, message);
        }
        let alias = name.text().unwrap_or_default();
        if let Some(first) = seen.get(alias) {
            let first: &usize = first;
            let message =
                format!("entry {first} defines the alias {alias:?} already: rename or remove one of them");
            form.error_by(Code::Twice, &name.path, message);
        } else {
            seen.insert(alias, index);
        }
        own.push(Definition { path: name.path, name: alias, value: parsed.ok() });
    }
    own
}
