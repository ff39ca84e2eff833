//! Reads manifests once, for commands.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ferrolb_core::manifest::{self, Located, Parsed, Skipped};
use ferrolb_core::types::Issue;

use super::SourceError;
use super::reading::{map_in_parallel, read_all};
use super::walk::{Inode, Stamp, walk};

/// What manifests hold.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The objects, in the order of the files; each is there once.
    pub objects: Vec<Located>,
    /// A warning for each kind that isn't read.
    pub warnings: Vec<Issue>,
}

/// Reads files, directories, and standard input where a path is `-`.
///
/// # Errors
/// The first thing that can't be read, in the order of the paths: a file, a document, an object that is there twice.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, SourceError> {
    let files = read(find(paths)?)?;
    let documents = files.iter().flat_map(|(name, bytes)| manifest::split(name, bytes)).collect();
    let mut parsed = Parsed::default();
    for document in read_all(documents) {
        parsed.extend(document);
    }
    if let Some(error) = parsed.errors.into_iter().next() {
        return Err(SourceError::Manifest(Box::new(error)));
    }
    if let Some(error) = manifest::duplicates(&parsed.objects).into_iter().next() {
        return Err(SourceError::Manifest(Box::new(error)));
    }
    Ok(Loaded { objects: parsed.objects, warnings: skipped_warnings(&parsed.skipped) })
}

/// A warning for each kind among these, about the first object of it.
pub fn skipped_warnings(skipped: &[Skipped]) -> Vec<Issue> {
    let mut kinds = HashSet::new();
    skipped
        .iter()
        .filter(|s| kinds.insert((s.group(), s.kind.as_str())))
        .map(|s| Issue {
            kind: s.kind.clone(),
            namespace: s.namespace.clone(),
            name: s.name.clone(),
            field: None,
            message: format!(
                "{} {} isn't a kind that is read: all of them are skipped",
                s.api_version, s.kind
            ),
        })
        .collect()
}

enum Input {
    Stdin,
    File(PathBuf),
}

/// The files, each once.
fn find(paths: &[PathBuf]) -> Result<Vec<Input>, SourceError> {
    let mut inputs = Vec::new();
    let mut seen: HashSet<Inode> = HashSet::new();
    let mut stdin_seen = false;
    for path in paths {
        if path == Path::new("-") {
            if !std::mem::replace(&mut stdin_seen, true) {
                inputs.push(Input::Stdin);
            }
            continue;
        }
        let metadata = fs::metadata(path).map_err(|error| SourceError::unreadable(path, &error))?;
        if !metadata.is_dir() {
            if seen.insert(Stamp::of(&metadata).inode) {
                inputs.push(Input::File(path.clone()));
            }
            continue;
        }
        let found = walk(path, &mut |_| {}).map_err(|(error, _)| SourceError::unreadable(path, &error))?;
        if let Some((path, reason)) = found.unreadable.into_iter().next() {
            return Err(SourceError::Unreadable { path: path.display().to_string(), reason });
        }
        for file in found.files {
            if seen.insert(file.stamp.inode) {
                inputs.push(Input::File(file.path.to_path_buf()));
            }
        }
    }
    Ok(inputs)
}

/// Name and content of each.
fn read(inputs: Vec<Input>) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
    let many = inputs.len() >= MANY_FILES;
    map_in_parallel(inputs, many, |input| match input {
        Input::Stdin => {
            let mut bytes = Vec::new();
            match io::stdin().lock().read_to_end(&mut bytes) {
                Ok(_) => Ok(("standard input".to_owned(), bytes)),
                Err(error) => Err(SourceError::unreadable(Path::new("standard input"), &error)),
            }
        }
        Input::File(path) => match fs::read(&path) {
            Ok(bytes) => Ok((path.display().to_string(), bytes)),
            Err(error) => Err(SourceError::unreadable(&path, &error)),
        },
    })
    .into_iter()
    .collect()
}

const MANY_FILES: usize = 64;
