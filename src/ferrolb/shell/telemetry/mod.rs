//! What the process tells while it runs.

pub mod gate;
pub mod health;
pub mod http;
pub mod log;
pub mod metrics;

#[cfg(test)]
pub mod metallb;
#[cfg(test)]
mod tests;
