//! The files below a directory: which paths lead to which file, and by which of them it is known.
//!
//! A file that several paths lead to is read once, under one of them, which it keeps as long as that leads there: so an
//! editor that writes a new file in the old one's place changes that path's content, and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::walk::{Found, Inode, Stamp};

/// The paths and files.
#[derive(Debug, Default)]
pub(super) struct Tree {
    paths: BTreeMap<PathBuf, Found>,
    files: HashMap<Inode, Shown>,
    by_real: HashMap<PathBuf, BTreeSet<PathBuf>>,
}

#[derive(Debug)]
struct Shown {
    stamp: Stamp,
    /// The path that it is known by.
    path: PathBuf,
    /// All that lead to it.
    paths: BTreeSet<PathBuf>,
}

/// What has to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Files to read: the path that each is known by, and its real path.
    pub(super) read: Vec<(PathBuf, PathBuf)>,
    /// Paths that no file is known by any more.
    pub(super) gone: Vec<PathBuf>,
}

impl Tree {
    /// The paths that lead to the file at a real path.
    pub(super) fn leading_to<'a>(&'a self, real: &Path) -> impl Iterator<Item = &'a Found> {
        self.by_real.get(real).into_iter().flatten().filter_map(|path| self.paths.get(path))
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
        let new: BTreeSet<&Path> = found.iter().map(|f| f.path.as_path()).collect();
        let mut changes: Vec<(PathBuf, Option<Found>)> = self
            .paths
            .keys()
            .filter(|path| !new.contains(path.as_path()))
            .map(|path| (path.clone(), None))
            .collect();
        let as_before =
            |f: &Found| self.paths.get(&f.path).is_some_and(|old| old.real == f.real && old.stamp == f.stamp);
        let others = found.into_iter().filter(|f| written.contains(&f.real) || !as_before(f));
        changes.extend(others.map(|f| (f.path.clone(), Some(f))));
        self.change(changes, written)
    }

    /// Takes note of what paths lead to now; `None`: to nothing. Files at the real paths in `written` are to be read even if
    /// they look the same.
    pub(super) fn change(
        &mut self,
        changes: Vec<(PathBuf, Option<Found>)>,
        written: &HashSet<PathBuf>,
    ) -> Work {
        let mut affected: BTreeSet<Inode> = BTreeSet::new();
        let mut stamps: HashMap<Inode, Stamp> = HashMap::new();
        let mut forced: HashSet<Inode> = HashSet::new();
        for (path, found) in changes {
            if let Some(old) = self.paths.remove(&path) {
                affected.insert(old.stamp.inode);
                if let Some(paths) = self.by_real.get_mut(&old.real) {
                    paths.remove(&path);
                    if paths.is_empty() {
                        self.by_real.remove(&old.real);
                    }
                }
                if let Some(file) = self.files.get_mut(&old.stamp.inode) {
                    file.paths.remove(&path);
                }
            }
            let Some(found) = found else { continue };
            let inode = found.stamp.inode;
            affected.insert(inode);
            stamps.insert(inode, found.stamp);
            if written.contains(&found.real) {
                forced.insert(inode);
            }
            self.by_real.entry(found.real.clone()).or_default().insert(path.clone());
            if let Some(file) = self.files.get_mut(&inode) {
                file.paths.insert(path.clone());
            } else {
                let paths = BTreeSet::from([path.clone()]);
                // Until its path is chosen below it is known by none.
                self.files.insert(inode, Shown { stamp: found.stamp, path: PathBuf::new(), paths });
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
        let mut given_up: BTreeSet<PathBuf> = BTreeSet::new();
        for inode in affected {
            let Some(file) = self.files.get_mut(inode) else { continue };
            if !file.paths.contains(&file.path) && !file.path.as_os_str().is_empty() {
                given_up.insert(std::mem::take(&mut file.path));
            }
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
            if file.path.as_os_str().is_empty() {
                // The path of the file that it replaces, if it replaces one.
                let chosen = file.paths.iter().find(|p| given_up.contains(*p)).or(file.paths.first());
                file.path = chosen.cloned().unwrap_or_default();
                read = true;
            }
            if read && let Some(found) = self.paths.get(&file.path) {
                work.read.push((file.path.clone(), found.real.clone()));
            }
        }
        let known: HashSet<&Path> = work.read.iter().map(|(path, _)| path.as_path()).collect();
        work.gone = given_up.into_iter().filter(|path| !known.contains(path.as_path())).collect();
        work.read.sort();
        work
    }
}
