//! The validating webhook: HTTPS for the API server, with certificates of our own.
//!
//! What is answered is [`admission`](ferrolb_core::admission)'s. Here are the certificates ([`certs`]), the place that holds
//! the one in use ([`Served`]), and the server ([`serve`]).

pub mod certs;
mod server;

pub use server::{Reviewer, Served, serve};
