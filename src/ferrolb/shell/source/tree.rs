//! The files below a directory: which paths lead to which file, and by which of them it is known.
//!
//! A file that several paths lead to is read once, under one of them, which it keeps as long as that leads there: so an
//! editor that writes a new file in the old one's place changes that path's content, and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::walk::{Found, Inode, Stamp};

/// The paths and files.
#[derive(Debug, Default)]
pub(super) struct Tree {
    paths: BTreeMap<Arc<Path>, Found>,
    files: HashMap<Inode, Shown>,
    /// By real path, the paths that lead there and are other ones.
    through_links: HashMap<Arc<Path>, BTreeSet<Arc<Path>>>,
}

#[derive(Debug)]
struct Shown {
    stamp: Stamp,
    /// The path that it is known by; `None` until one is chosen.
    path: Option<Arc<Path>>,
    /// All that lead to it, in their order: one, for nearly all files.
    paths: Vec<Arc<Path>>,
}

impl Shown {
    fn add(&mut self, path: &Arc<Path>) {
        if let Err(place) = self.paths.binary_search(path) {
            self.paths.reserve_exact(1);
            self.paths.insert(place, path.clone());
        }
    }

    fn remove(&mut self, path: &Path) {
        self.paths.retain(|p| **p != *path);
    }
}

/// What has to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Files to read: the path that each is known by, and its real path.
    pub(super) read: Vec<(Arc<Path>, Arc<Path>)>,
    /// Paths that no file is known by any more.
    pub(super) gone: Vec<Arc<Path>>,
}

impl Tree {
    /// The paths that lead to the file at a real path.
    pub(super) fn leading_to<'a>(&'a self, real: &Path) -> impl Iterator<Item = &'a Found> {
        let itself = self.paths.get(real).filter(|found| *found.real == *real);
        let linked = self.through_links.get(real).into_iter().flatten();
        itself.into_iter().chain(linked.filter_map(|path| self.paths.get(path)))
    }

    /// Whether a path leads to this file.
    pub(super) fn knows(&self, inode: Inode) -> bool {
        self.files.contains_key(&inode)
    }

    /// What a path leads to.
    pub(super) fn at(&self, path: &Path) -> Option<&Found> {
        self.paths.get(path)
    }

    /// All paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Found> {
        self.paths.values()
    }

    /// Puts these in the place of all paths.
    pub(super) fn replace(&mut self, found: Vec<Found>, written: &HashSet<PathBuf>) -> Work {
        let new: BTreeSet<&Path> = found.iter().map(|f| &*f.path).collect();
        let mut changes: Vec<(Arc<Path>, Option<Found>)> = self
            .paths
            .keys()
            .filter(|path| !new.contains(&***path))
            .map(|path| (path.clone(), None))
            .collect();
        let as_before =
            |f: &Found| self.paths.get(&f.path).is_some_and(|old| old.real == f.real && old.stamp == f.stamp);
        let others = found.into_iter().filter(|f| written.contains(&*f.real) || !as_before(f));
        changes.extend(others.map(|f| (f.path.clone(), Some(f))));
        self.change(changes, written)
    }

    /// Takes note of what paths lead to now; `None`: to nothing. Files at the real paths in `written` are to be read even if
    /// they look the same.
    pub(super) fn change(
        &mut self,
        changes: Vec<(Arc<Path>, Option<Found>)>,
        written: &HashSet<PathBuf>,
    ) -> Work {
        let mut affected: BTreeSet<Inode> = BTreeSet::new();
        let mut stamps: HashMap<Inode, Stamp> = HashMap::new();
        let mut forced: HashSet<Inode> = HashSet::new();
        for (path, found) in changes {
            if let Some(old) = self.paths.remove(&path) {
                affected.insert(old.stamp.inode);
                if let Some(paths) = self.through_links.get_mut(&old.real) {
                    paths.remove(&path);
                    if paths.is_empty() {
                        self.through_links.remove(&old.real);
                    }
                }
                if let Some(file) = self.files.get_mut(&old.stamp.inode) {
                    file.remove(&path);
                }
            }
            let Some(found) = found else { continue };
            let inode = found.stamp.inode;
            affected.insert(inode);
            stamps.insert(inode, found.stamp);
            if written.contains(&*found.real) {
                forced.insert(inode);
            }
            if found.real != path {
                self.through_links.entry(found.real.clone()).or_default().insert(path.clone());
            }
            if let Some(file) = self.files.get_mut(&inode) {
                file.add(&path);
            } else {
                let paths = vec![path.clone()];
                self.files.insert(inode, Shown { stamp: found.stamp, path: None, paths });
            }
            self.paths.insert(path, found);
        }
        self.settle(&affected, &stamps, &forced)
    }

    fn settle(
        &mut self,
        affected: &BTreeSet<Inode>,
        stamps: &HashMap<Inode, Stamp>,
        forced: &HashSet<Inode>,
    ) -> Work {
        let mut given_up: BTreeSet<Arc<Path>> = BTreeSet::new();
        for inode in affected {
            let Some(file) = self.files.get_mut(inode) else { continue };
            given_up.extend(file.path.take_if(|path| !file.paths.contains(path)));
            if file.paths.is_empty() {
                self.files.remove(inode);
            }
        }
        let mut work = Work::default();
        for inode in affected {
            let Some(file) = self.files.get_mut(inode) else { continue };
            let mut read = forced.contains(inode);
            if let Some(stamp) = stamps.get(inode).filter(|stamp| **stamp != file.stamp) {
                file.stamp = *stamp;
                read = true;
            }
            if file.path.is_none() {
                // The path of the file that it replaces, if it replaces one.
                let chosen = file.paths.iter().find(|p| given_up.contains(*p)).or(file.paths.first());
                file.path = chosen.cloned();
                read = true;
            }
            if read && let Some(found) = file.path.as_ref().and_then(|path| self.paths.get(path)) {
                work.read.push((found.path.clone(), found.real.clone()));
            }
        }
        let known: HashSet<&Path> = work.read.iter().map(|(path, _)| &**path).collect();
        work.gone = given_up.into_iter().filter(|path| !known.contains(&**path)).collect();
        work.read.sort();
        work
    }
}
