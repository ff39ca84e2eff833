//! The certificate in use.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::certs::Bundle;

/// The certificate in use. It can be exchanged while connections are served; before there is one, handshakes fail.
#[derive(Debug, Default)]
pub struct Served(RwLock<Option<(Bundle, Arc<CertifiedKey>)>>);

impl Served {
    /// From now on it is the server's certificate in `bundle`; whether it was another one before.
    ///
    /// # Errors
    /// One sentence; what was in use stays.
    pub fn put(&self, bundle: &Bundle) -> Result<bool, String> {
        let same = |(before, _): &(Bundle, _)| before == bundle;
        if self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(same) {
            return Ok(false);
        }
        let key = Arc::new(bundle.certified_key()?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((bundle.clone(), key));
        Ok(true)
    }

    /// What is in use.
    pub fn bundle(&self) -> Option<Bundle> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(bundle, _)| bundle.clone())
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, key)| key.clone())
    }
}
