use std::fmt;
use std::sync::Arc;

/// A password for TCP MD5 (RFC 2385), 1 to 80 octets; never printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Password(Arc<[u8]>);

impl Password {
    /// From its octets.
    pub fn new(octets: &[u8]) -> Password {
        Password(octets.into())
    }

    /// Its octets, for the socket option only.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
