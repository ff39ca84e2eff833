//! The policy that holds for every kind: objects oldest first, each in its present form, else in its last valid one.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

use super::LastValid;
use super::form::Form;
use super::schema::{self, Code, Finding};
use crate::types::{Issue, ObjectKey};
use crate::world::{ConfigObject, World};

/// What was decided of one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is valid, and was taken.
    Accepted,
    /// It isn't valid, but was taken all the same (a pool that is frozen).
    Frozen,
    /// It was left out.
    Rejected,
}

/// Goes through the objects and collects what is found.
pub(super) struct Judge<'a> {
    world: &'a World,
    system_namespace: &'a str,
    before: &'a LastValid,
    /// Whether references are taken on trust.
    pub trusting: bool,
    /// The last valid form of each object after this compilation.
    pub valid: LastValid,
    /// The objects that go on in their last valid form.
    pub kept: Vec<ObjectKey>,
    pub errors: Vec<Issue>,
    pub warnings: Vec<Issue>,
    /// The codes of those errors that aren't known by their words.
    pub codes: BTreeMap<Issue, Code>,
}

impl<'a> Judge<'a> {
    pub fn new(world: &'a World, system_namespace: &'a str, before: &'a LastValid) -> Judge<'a> {
        let (valid, kept, errors, warnings, codes) = Default::default();
        Judge { world, system_namespace, before, trusting: false, valid, kept, errors, warnings, codes }
    }

    /// The objects of one kind in the system namespace, by name.
    pub fn objects(&self, kind: &'a str) -> impl Iterator<Item = &'a Arc<ConfigObject>> + use<'a> {
        let namespace = self.system_namespace;
        self.world.config_objects().filter(move |o| o.key.kind == kind && o.key.namespace == namespace)
    }

    /// Lets `compile` judge the objects of one kind, oldest first, so that it can compare each with those that it took
    /// before. Where it rejects the present form, it is shown the last valid one. Returns the objects that it took in
    /// neither.
    pub fn each(
        &mut self,
        kind: &'a str,
        mut compile: impl FnMut(&mut Form<'_>) -> Verdict,
    ) -> Vec<&'a Arc<ConfigObject>> {
        let mut objects: Vec<_> = self.objects(kind).collect();
        objects.sort_by(|a, b| (a.created, &a.key.name).cmp(&(b.created, &b.key.name)));
        let before = self.before;
        let mut left_out = Vec::new();
        for object in objects {
            let mut form = Form::new(object);
            form.trusting = self.trusting;
            let verdict = compile(&mut form);
            self.report(&object.key, take(&mut form.errors), take(&mut form.warnings));
            if verdict == Verdict::Accepted {
                let valid = form.by_itself().map_or_else(|| object.clone(), Arc::new);
                self.valid.insert(object.key.clone(), valid);
                continue;
            }
            let last = before.get(&object.key);
            if let Some(last) = last {
                self.valid.insert(object.key.clone(), last.clone());
            }
            if verdict == Verdict::Frozen {
                continue;
            }
            if last.is_some_and(|last| Self::holds_still(object, last, &mut compile)) {
                self.kept.push(object.key.clone());
            } else {
                left_out.push(object);
            }
        }
        left_out
    }

    /// Shows the last valid form of an object, which has the object's age, and says whether it was taken. It may say the same
    /// as the present one: what either refers to may have gone.
    fn holds_still(
        object: &ConfigObject,
        last: &ConfigObject,
        compile: &mut impl FnMut(&mut Form<'_>) -> Verdict,
    ) -> bool {
        let last = ConfigObject { created: object.created, ..last.clone() };
        compile(&mut Form::once_valid(&last)) != Verdict::Rejected
    }

    /// Reports what the schema says of an object that takes no part.
    pub fn check_only(&mut self, object: &ConfigObject) {
        let schema::Checked { errors, warnings, .. } = schema::check(object);
        self.report(&object.key, errors, warnings);
    }

    fn report(&mut self, object: &ObjectKey, errors: Vec<Finding>, warnings: Vec<Finding>) {
        let issue = |f: Finding| Issue::new(object, f.field.as_deref(), f.message);
        for error in errors {
            let code = error.code;
            let error = issue(error);
            self.codes.extend(code.map(|code| (error.clone(), code)));
            self.errors.push(error);
        }
        self.warnings.extend(warnings.into_iter().map(issue));
    }
}
