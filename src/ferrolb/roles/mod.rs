//! The roles: which tasks run, in which order they start and drain.

pub mod announcer;
pub mod answering;
pub mod controller;
pub mod issues;
pub mod pages;
pub mod reports;
pub mod services;
pub mod sessions;
pub mod speaker;
pub mod standalone;
