//! TLS as it is served: to the API server by the admission webhook, and to whoever reads metrics.
//!
//! [`certs`] makes and reads certificates, [`Served`] holds the one in use, [`Origin`] keeps it up to date, and [`Offered`] is
//! what clients may agree on.

pub mod certs;
mod offered;
mod origin;
mod served;
#[cfg(test)]
pub mod trusting;

pub use offered::Offered;
pub use origin::Origin;
pub use served::Served;
