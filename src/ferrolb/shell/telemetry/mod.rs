//! What the process tells while it runs.

pub mod log;
