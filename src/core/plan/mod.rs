//! The document of `ferrolb plan`, and what `explain` says.
