//! The roles: which tasks run, in which order they start and drain.

pub mod controller;
pub mod issues;
pub mod services;
pub mod sessions;
pub mod standalone;
