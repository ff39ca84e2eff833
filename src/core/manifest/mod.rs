//! Manifest bytes to objects, with file, document and line.
