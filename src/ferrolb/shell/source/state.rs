//! Which file gave which object: turns changed files into changed objects.
//!
//! Every object has a list of *claims*, one for each document that holds it, in the order in which they were seen. The first
//! stands; the others wait, and are errors until one of them goes away. A file whose documents can't all be read keeps what
//! it gave and no longer shows ([`Claim::stale`]), as long as no other file holds it.
//!
//! Only documents whose text is new are parsed. Objects that were handed out aren't kept here, only their names.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::iter;
use std::sync::Arc;

use ferrolb_core::engine::SourceChange;
use ferrolb_core::manifest::{
    ManifestError, Origin, Parsed, RawDocument, Skipped, duplicate_allocation, duplicate_object, split,
};
use ferrolb_core::types::ServiceKey;
use ferrolb_core::world::{Common, Object, ObjectId};

use super::reading::read_all;

/// How many documents are parsed before what is in them is taken in.
const DOCUMENTS_AT_ONCE: usize = 2048;

/// Something that can't be read; one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// A document, or an object that is there twice.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file or a directory.
    #[error("{path}: {reason}")]
    Unreadable {
        /// As it is shown to users.
        path: String,
        /// What the system says.
        reason: String,
    },
}

/// What changed together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// At most one change of each object.
    pub changes: Vec<SourceChange>,
    /// The problems that weren't there before.
    pub problems: Vec<Problem>,
    /// The problems that are there no more.
    pub cleared: Vec<Problem>,
    /// Objects of kinds that aren't read: the first of each kind, once in the life of the source.
    pub skipped: Vec<Skipped>,
}

impl Batch {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.problems.is_empty()
            && self.cleared.is_empty()
            && self.skipped.is_empty()
    }
}

/// What a file, or a directory, is now.
#[derive(Debug)]
pub(super) enum Content {
    /// This.
    Bytes(Vec<u8>),
    /// It is there, but can't be read, for this reason.
    Unreadable(String),
    /// It isn't there.
    Gone,
}

/// All files and what they gave.
#[derive(Debug, Default)]
pub(super) struct DirectoryState {
    files: HashMap<Arc<str>, File>,
    claims: HashMap<Arc<ObjectId>, Vec<Claim>>,
    /// The objects that something changed about since the last batch, and whether they had been handed out before.
    touched: HashMap<Arc<ObjectId>, bool>,
    /// What there is to complain of, and what of it was said.
    problems: BTreeMap<Subject, Vec<Problem>>,
    said: BTreeMap<Subject, Vec<Problem>>,
    changed_subjects: BTreeSet<Subject>,
    /// What Allocations objects speak of, and where they are.
    allocations: BTreeMap<ObjectId, (Origin, Vec<ServiceKey>)>,
    skipped: Vec<Skipped>,
    skipped_kinds: HashSet<(String, String)>,
    common: Common,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct File {
    /// The hash of each document's text, sorted, and what the document holds, in the order of its text.
    documents: Vec<(u64, Ids)>,
    /// All that it gives, stale ones too.
    objects: Box<[Arc<ObjectId>]>,
}

/// Names of objects; each is kept once, as the key of its claims. Nearly all documents hold one.
#[derive(Clone, Debug)]
enum Ids {
    One(Arc<ObjectId>),
    Several(Box<[Arc<ObjectId>]>),
}

/// There is one for each object of thousands of files: a place in a file is kept as small as it can be.
#[derive(Debug)]
struct Claim {
    file: Arc<str>,
    document: u32,
    line: u32,
    /// The file could not be read in full, and no longer shows this object.
    stale: bool,
    /// Until it is handed out.
    object: Option<Box<Object>>,
}

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    File(Arc<str>),
    Object(ObjectId),
    Allocations,
}

/// An object in a file's new text.
struct Seen {
    id: Arc<ObjectId>,
    origin: Origin,
    /// `None` where its document is one that was read before.
    object: Option<Box<Object>>,
}

impl Ids {
    fn as_slice(&self) -> &[Arc<ObjectId>] {
        match self {
            Ids::One(id) => std::slice::from_ref(id),
            Ids::Several(ids) => ids,
        }
    }
}

impl From<Vec<Arc<ObjectId>>> for Ids {
    fn from(ids: Vec<Arc<ObjectId>>) -> Ids {
        match <[_; 1]>::try_from(ids) {
            Ok([id]) => Ids::One(id),
            Err(ids) => Ids::Several(ids.into()),
        }
    }
}

impl Claim {
    fn new(Origin { file, document, line }: Origin, object: Option<Box<Object>>) -> Claim {
        // No file that fits into memory has more.
        let small = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Claim { file, document: small(document), line: small(line), stale: false, object }
    }

    fn origin(&self) -> Origin {
        let large = |n| usize::try_from(n).unwrap_or(usize::MAX);
        Origin { file: self.file.clone(), document: large(self.document), line: large(self.line) }
    }
}

impl File {
    /// What a document held whose text has this hash.
    fn document(&self, hash: u64) -> Option<&Ids> {
        let place = self.documents.binary_search_by_key(&hash, |(hash, _)| *hash).ok()?;
        self.documents.get(place).map(|(_, ids)| ids)
    }
}

impl DirectoryState {
    /// Takes note of what files are now. A file is named as it is shown to users.
    pub(super) fn update(&mut self, files: Vec<(Arc<str>, Content)>) {
        let mut documents = Vec::new();
        for (name, content) in &files {
            let Content::Bytes(bytes) = content else { continue };
            documents.push(self.compare(name, split(name, bytes)));
        }
        // What is new is read many documents at a time, so that it keeps every thread busy; not all at once, which would leave
        // the memory full of holes.
        let unread: Vec<_> =
            documents.iter_mut().flatten().filter_map(|document| document.unread.take()).collect();
        let mut unread = unread.into_iter();
        let mut parsed = iter::from_fn(|| {
            let part: Vec<_> = unread.by_ref().take(DOCUMENTS_AT_ONCE).collect();
            (!part.is_empty()).then(|| read_all(part))
        })
        .flatten();
        let mut compared = documents.into_iter();
        for (name, content) in &files {
            match content {
                Content::Bytes(_) => {
                    let file = compared.next().unwrap_or_default();
                    self.set(name, file, &mut parsed);
                }
                Content::Unreadable(reason) => {
                    let problem = Problem::Unreadable { path: name.to_string(), reason: reason.clone() };
                    self.set_problems(Subject::File(name.clone()), vec![problem]);
                }
                Content::Gone => self.remove(name),
            }
        }
    }

    /// Whether the next batch deletes anything.
    pub(super) fn deletes(&self) -> bool {
        self.touched.iter().any(|(id, given)| *given && !self.claims.contains_key(id))
    }

    /// What changed since the last batch.
    pub(super) fn take_batch(&mut self) -> Batch {
        let mut batch = Batch { skipped: std::mem::take(&mut self.skipped), ..Batch::default() };
        let touched: BTreeMap<Arc<ObjectId>, bool> = std::mem::take(&mut self.touched).into_iter().collect();
        batch.changes.reserve_exact(touched.len());
        let mut allocations_changed = false;
        for (id, given) in touched {
            allocations_changed |= matches!(*id, ObjectId::Allocations(..));
            let mut problems = Vec::new();
            match self.claims.get_mut(&id).and_then(|claims| claims.split_first_mut()) {
                Some((first, others)) => {
                    problems.extend(
                        others
                            .iter()
                            .map(|other| duplicate_object(&id, &first.origin(), &other.origin()).into()),
                    );
                    if let Some(object) = first.object.take() {
                        if let Object::Allocations(a) = &*object {
                            let services = a.entries.iter().map(|e| e.service.clone()).collect();
                            self.allocations.insert((*id).clone(), (first.origin(), services));
                        }
                        batch.changes.push(SourceChange::Apply(*object));
                    }
                }
                None => {
                    self.allocations.remove(&id);
                    if given {
                        batch.changes.push(SourceChange::Delete((*id).clone()));
                    }
                }
            }
            self.set_problems(Subject::Object((*id).clone()), problems);
        }
        if allocations_changed {
            let problems = self.allocated_twice();
            self.set_problems(Subject::Allocations, problems);
        }
        for subject in std::mem::take(&mut self.changed_subjects) {
            let now = self.problems.get(&subject).cloned().unwrap_or_default();
            let before = if now.is_empty() {
                self.said.remove(&subject)
            } else {
                self.said.insert(subject, now.clone())
            };
            let before = before.unwrap_or_default();
            batch.problems.extend(now.iter().filter(|p| !before.contains(p)).cloned());
            batch.cleared.extend(before.into_iter().filter(|p| !now.contains(p)));
        }
        batch
    }

    /// Which documents of a file were read before.
    fn compare<'a>(&self, name: &Arc<str>, documents: Vec<RawDocument<'a>>) -> Vec<Compared<'a>> {
        let old = self.files.get(name);
        documents
            .into_iter()
            .map(|document| {
                let hash = self.hasher.hash_one(document.text());
                let known = old.and_then(|f| f.document(hash)).cloned();
                let origin = Origin { file: name.clone(), ..document.origin };
                Compared { hash, origin, unread: known.is_none().then_some(document), known }
            })
            .collect()
    }

    /// Takes in a file's documents, those that are unknown from `parsed`.
    fn set(
        &mut self,
        name: &Arc<str>,
        documents: Vec<Compared<'_>>,
        parsed: &mut impl Iterator<Item = Parsed>,
    ) {
        let mut file = File::default();
        let mut seen: Vec<Seen> = Vec::with_capacity(documents.len());
        let mut errors: Vec<ManifestError> = Vec::new();
        for document in documents {
            let ids: Ids = match document.known {
                Some(ids) => {
                    seen.extend(ids.as_slice().iter().map(|id| Seen {
                        id: id.clone(),
                        origin: document.origin.clone(),
                        object: None,
                    }));
                    ids
                }
                None => {
                    let Some(Parsed { mut objects, skipped, errors: new_errors }) = parsed.next() else {
                        continue;
                    };
                    self.note_skipped(skipped);
                    let whole = new_errors.is_empty();
                    errors.extend(new_errors);
                    objects.iter_mut().for_each(|located| self.common.share(&mut located.object));
                    let ids: Vec<_> = objects.iter().map(|o| self.name(o.object.id())).collect();
                    for (located, id) in objects.into_iter().zip(&ids) {
                        let object = Some(Box::new(located.object));
                        let origin = Origin { file: name.clone(), ..located.origin };
                        seen.push(Seen { id: id.clone(), origin, object });
                    }
                    if !whole {
                        // To be read again, so that its errors are found again.
                        continue;
                    }
                    ids.into()
                }
            };
            file.documents.push((document.hash, ids));
        }
        let mut held = HashSet::with_capacity(seen.len());
        for object in seen {
            if !held.insert(object.id.clone()) {
                // Twice in one file: of two documents that are told apart by their place only, neither can be known again.
                file.documents.retain(|(_, ids)| !ids.as_slice().contains(&object.id));
                let second = duplicate_object(&object.id, &self.place(name, &object.id), &object.origin);
                errors.push(second);
                continue;
            }
            self.claim(name, object);
        }
        let old = self.files.remove(name).unwrap_or_default();
        for id in old.objects.into_vec() {
            if held.contains(&id) {
                continue;
            }
            let may_be_meant =
                |error: &ManifestError| error.object.as_ref().is_none_or(|named| *named == *id);
            if errors.iter().any(may_be_meant) && self.make_stale(name, &id) {
                held.insert(id);
            } else {
                self.release(name, &id);
            }
        }
        file.documents.sort_unstable_by_key(|(hash, _)| *hash);
        file.documents.shrink_to_fit();
        file.objects = held.into_iter().collect();
        self.files.insert(name.clone(), file);
        self.set_problems(Subject::File(name.clone()), errors.into_iter().map(Problem::from).collect());
    }

    /// The name under which an object's claims are kept, or will be.
    fn name(&self, id: ObjectId) -> Arc<ObjectId> {
        self.claims.get_key_value(&id).map(|(kept, _)| kept.clone()).unwrap_or_else(|| Arc::new(id))
    }

    fn remove(&mut self, name: &Arc<str>) {
        for id in self.files.remove(name).unwrap_or_default().objects.into_vec() {
            self.release(name, &id);
        }
        self.set_problems(Subject::File(name.clone()), vec![]);
    }

    /// A file shows an object.
    fn claim(&mut self, name: &Arc<str>, seen: Seen) {
        let claims = self.claims.entry(seen.id.clone()).or_insert_with(|| Vec::with_capacity(1));
        let given = claims.first().is_some_and(|c| c.object.is_none());
        let alone = claims.iter().all(|c| c.file == *name);
        let unchanged = seen.object.is_none();
        match claims.iter_mut().find(|c| c.file == *name) {
            Some(claim) => {
                let object = seen.object.or(claim.object.take());
                *claim = Claim::new(seen.origin, object);
            }
            None => {
                // What another file only remembers gives way.
                let mut forgotten = Vec::new();
                claims.retain(|c| {
                    if c.stale {
                        forgotten.push(c.file.clone());
                    }
                    !c.stale
                });
                claims.push(Claim::new(seen.origin, seen.object));
                for file in forgotten {
                    if let Some(file) = self.files.get_mut(&file) {
                        let others = file.objects.iter().filter(|id| **id != seen.id);
                        file.objects = others.cloned().collect();
                    }
                }
            }
        }
        if !(unchanged && alone) {
            self.touched.entry(seen.id).or_insert(given);
        }
    }

    /// A file that can't be read in full shows an object no more. False where another file shows it.
    fn make_stale(&mut self, name: &Arc<str>, id: &ObjectId) -> bool {
        match self.claims.get_mut(id).map(Vec::as_mut_slice) {
            Some([claim]) if claim.file == *name => {
                claim.stale = true;
                true
            }
            _ => false,
        }
    }

    /// A file holds an object no more.
    fn release(&mut self, name: &Arc<str>, id: &Arc<ObjectId>) {
        let Some(claims) = self.claims.get_mut(id) else { return };
        let given = claims.first().is_some_and(|c| c.object.is_none());
        claims.retain(|c| c.file != *name);
        if claims.is_empty() {
            self.claims.remove(id);
        }
        self.touched.entry(id.clone()).or_insert(given);
    }

    /// Where a file holds an object.
    fn place(&self, name: &Arc<str>, id: &ObjectId) -> Origin {
        let claims = self.claims.get(id).map(Vec::as_slice).unwrap_or_default();
        let own = claims.iter().find(|c| c.file == *name).map(Claim::origin);
        own.unwrap_or_else(|| Origin { file: name.clone(), document: 1, line: 1 })
    }

    fn note_skipped(&mut self, skipped: Vec<Skipped>) {
        for object in skipped {
            if self.skipped_kinds.insert((object.group().to_owned(), object.kind.clone())) {
                self.skipped.push(object);
            }
        }
    }

    fn set_problems(&mut self, subject: Subject, problems: Vec<Problem>) {
        if problems.is_empty() {
            if self.problems.remove(&subject).is_none() {
                return;
            }
        } else {
            self.problems.insert(subject.clone(), problems);
        }
        self.changed_subjects.insert(subject);
    }

    /// Services that more than one Allocations speaks of; the first by name counts.
    fn allocated_twice(&self) -> Vec<Problem> {
        let mut first: HashMap<&ServiceKey, &Origin> = HashMap::new();
        let mut problems = Vec::new();
        for (id, (origin, services)) in &self.allocations {
            for service in services {
                match first.get(service) {
                    Some(earlier) => problems.push(duplicate_allocation(id, service, earlier, origin).into()),
                    None => {
                        first.insert(service, origin);
                    }
                }
            }
        }
        problems
    }
}

/// A document of a file's new text.
struct Compared<'a> {
    hash: u64,
    origin: Origin,
    /// What it holds, where it was read before.
    known: Option<Ids>,
    unread: Option<RawDocument<'a>>,
}
