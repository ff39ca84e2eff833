//! `BFDProfile` objects. Their rules are all in the schema.

use std::collections::BTreeMap;

use super::judge::{Judge, Verdict};

/// What other rules need of the valid profiles, by name.
pub(super) struct Profiles {
    echo: BTreeMap<String, bool>,
}

impl Profiles {
    /// Whether there is a valid profile of this name.
    pub fn has(&self, name: &str) -> bool {
        self.echo.contains_key(name)
    }

    /// Whether the profile is valid and uses the echo function.
    pub fn uses_echo(&self, name: &str) -> bool {
        self.echo.get(name).copied().unwrap_or(false)
    }
}

/// Judges all profiles.
pub(super) fn compile(judge: &mut Judge<'_>) -> Profiles {
    let mut echo = BTreeMap::new();
    judge.each("BFDProfile", |form| {
        if form.has_errors() {
            return Verdict::Rejected;
        }
        let uses_echo = form.spec().get("echoMode").boolean().unwrap_or(false);
        echo.insert(form.object.key.name.clone(), uses_echo);
        Verdict::Accepted
    });
    Profiles { echo }
}
