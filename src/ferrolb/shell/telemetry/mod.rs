//! What the process tells while it runs.

pub mod health;
pub mod http;
pub mod log;
pub mod metrics;

#[cfg(test)]
mod tests;
