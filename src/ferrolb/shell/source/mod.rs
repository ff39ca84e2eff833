//! Where objects come from: manifest files read once ([`load`]), or a directory of them that is watched ([`Directory`]).
//!
//! Both read the same files: those named, and in a directory, whatever its depth, `*.yaml`, `*.yml` and `*.json`, without
//! kustomizations and without names that begin with a dot. Links are followed; what is reached twice is read once.
//!
//! `walk` finds the files, `reading` parses them on several threads, `state` knows which file gave which object and turns
//! changed files into changed objects, `directory` listens to the kernel and decides which files to look at.

mod directory;
mod files;
mod reading;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use directory::Directory;
pub use files::{load, skipped_warnings};
pub use state::Batch;

/// Why manifests couldn't be read. One line.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file, a directory or standard input.
    #[error("{path}: {reason}")]
    Unreadable {
        /// As it is shown to users.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A document.
    #[error(transparent)]
    Manifest(Box<ferrolb_core::manifest::ManifestError>),
    /// The directory can't be watched.
    #[error("{path}: can't be watched: {reason}")]
    Unwatchable {
        /// As it is shown to users.
        path: String,
        /// What the system says.
        reason: String,
    },
}

impl SourceError {
    fn unreadable(path: &std::path::Path, error: &std::io::Error) -> SourceError {
        SourceError::Unreadable { path: path.display().to_string(), reason: walk::reason(error) }
    }
}
