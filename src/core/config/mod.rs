//! Configuration: `metallb.io` objects in, a [`Config`] that cannot be wrong out, with every error by object and field.
//!
//! An object is valid or not by itself; what refers to an invalid or missing one is rejected itself; of two in conflict the
//! older one stands. A rejected object never touches another. MetalLB: there the whole configuration is valid or not.

mod model;
pub mod schema;

pub use model::*;
