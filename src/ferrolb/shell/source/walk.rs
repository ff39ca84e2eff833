//! Finds the manifests below a directory.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Names a file or directory whatever the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Inode {
    device: u64,
    number: u64,
}

/// What changes when a file's content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) inode: Inode,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            inode: Inode { device: metadata.dev(), number: metadata.ino() },
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A manifest.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The path by which it was reached, as it is shown to users.
    pub(super) path: Arc<Path>,
    /// The same without any link in it; one allocation where both are equal.
    pub(super) real: Arc<Path>,
    pub(super) stamp: Stamp,
}

impl Found {
    pub(super) fn new(path: &Path, real: &Path, stamp: Stamp) -> Found {
        let shown: Arc<Path> = path.into();
        Found { real: if path == real { shown.clone() } else { real.into() }, path: shown, stamp }
    }
}

/// All that is below a directory.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The manifests, names in bytewise order, each path once; one file may be there under several paths.
    pub(super) files: Vec<Found>,
    /// The directories, by real path, each once; and the path by which it was reached.
    pub(super) directories: Vec<(PathBuf, PathBuf)>,
    /// The links that were followed, and names that aren't there but would be: with another target the result is another.
    pub(super) links: HashSet<PathBuf>,
    /// What couldn't be read, and why.
    pub(super) unreadable: Vec<(PathBuf, String)>,
}

/// Called with a directory's real path before anything in it is looked at.
pub(super) type BeforeReading<'a> = &'a mut dyn FnMut(&Path);

/// Walks through `root`, which may be a link to a directory.
///
/// # Errors
/// Where `root` itself can't be read; [`Walk::links`] then are in the error's place, for those who wait for it to appear.
pub(super) fn walk(root: &Path, before: BeforeReading<'_>) -> Result<Walk, (io::Error, HashSet<PathBuf>)> {
    let mut walker = Walker { walk: Walk::default(), seen: HashSet::new(), before };
    let absolute = match std::path::absolute(root) {
        Ok(path) => path,
        Err(error) => return Err((error, HashSet::new())),
    };
    let read = walker
        .resolve(Path::new("/"), &absolute)
        .and_then(|real| fs::metadata(&real).map(|metadata| (real, metadata)))
        .and_then(|(real, metadata)| walker.directory(root, &real, &metadata));
    match read {
        Ok(()) => Ok(walker.walk),
        Err(error) => Err((error, walker.walk.links)),
    }
}

/// Whether a file of this name, in a directory, is a manifest.
pub(super) fn is_manifest_name(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().map(OsStr::as_bytes);
    !is_hidden(name)
        && matches!(extension, Some(b"yaml" | b"yml" | b"json"))
        && !matches!(name.as_bytes(), b"kustomization.yaml" | b"kustomization.yml")
}

/// Whether a name begins with a dot.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().first() == Some(&b'.')
}

/// What the system says, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((what, _)) => what.to_owned(),
        None => text,
    }
}

struct Walker<'a> {
    walk: Walk,
    seen: HashSet<Inode>,
    before: BeforeReading<'a>,
}

impl Walker<'_> {
    fn directory(&mut self, path: &Path, real: &Path, metadata: &Metadata) -> io::Result<()> {
        if !self.seen.insert(Stamp::of(metadata).inode) {
            return Ok(());
        }
        (self.before)(real);
        let mut entries = fs::read_dir(real)?
            .map(|entry| entry.and_then(|e| Ok((e.file_name(), e.file_type()?))))
            .collect::<io::Result<Vec<_>>>()?;
        self.walk.directories.push((real.to_owned(), path.to_owned()));
        entries.retain(|(name, _)| !is_hidden(name));
        entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        for (name, kind) in entries {
            let path = path.join(&name);
            if !(kind.is_dir() || kind.is_symlink() || is_manifest_name(&name)) {
                continue;
            }
            let outcome = if kind.is_symlink() {
                self.linked_entry(&path, real, &name)
            } else {
                self.entry(&path, &real.join(&name), &name)
            };
            match outcome {
                Ok(()) => {}
                // Gone since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !kind.is_symlink() => {}
                // A link to nowhere matters where it has a manifest's name.
                Err(_) if kind.is_symlink() && !is_manifest_name(&name) => {}
                Err(error) => self.walk.unreadable.push((path, reason(&error))),
            }
        }
        Ok(())
    }

    fn linked_entry(&mut self, path: &Path, directory: &Path, name: &OsStr) -> io::Result<()> {
        let target = self.resolve(directory, Path::new(name))?;
        // A file's changes are heard of where it is, not where the link is.
        if fs::metadata(&target)?.is_file()
            && let Some(parent) = target.parent()
        {
            (self.before)(parent);
        }
        self.entry(path, &target, name)
    }

    fn entry(&mut self, path: &Path, real: &Path, name: &OsStr) -> io::Result<()> {
        let metadata = fs::metadata(real)?;
        if metadata.is_dir() {
            self.directory(path, real, &metadata)
        } else if metadata.is_file() && is_manifest_name(name) {
            let stamp = Stamp::of(&metadata);
            self.walk.files.push(Found::new(path, real, stamp));
            Ok(())
        } else {
            Ok(())
        }
    }

    /// The path without links of what `path` is in `directory`, which is without links.
    fn resolve(&mut self, directory: &Path, path: &Path) -> io::Result<PathBuf> {
        let mut real = directory.to_owned();
        let mut ahead: Vec<PathBuf> = parts(path);
        let mut followed = 0_u32;
        while let Some(part) = ahead.pop() {
            if part == Path::new("..") {
                real.pop();
                continue;
            }
            let here = real.join(&part);
            let links = fs::symlink_metadata(&here).map(|m| m.is_symlink());
            if let Ok(false) = links {
                real = here;
                continue;
            }
            // From here on, a change of the link is heard of.
            (self.before)(&real);
            self.walk.links.insert(here.clone());
            match fs::read_link(&here) {
                Ok(target) => {
                    followed = followed.saturating_add(1);
                    if followed > MAX_LINKS {
                        return Err(io::Error::other("too many links"));
                    }
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    ahead.extend(parts(&target));
                }
                // It became something else between the two looks.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => real = here,
                Err(error) => return Err(error),
            }
        }
        Ok(real)
    }
}

/// As many as Linux follows.
const MAX_LINKS: u32 = 40;

/// The names in a path, last first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = path
        .components()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| PathBuf::from(c.as_os_str()))
        .collect();
    parts.reverse();
    parts
}
