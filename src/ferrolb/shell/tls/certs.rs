//! Certificates, made here or read: a CA for nobody else, and a server certificate that it signs. Both are made anew
//! together; the CA before stays among the trusted ones until it would end, so that nobody is cut off in between.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;

/// How long before its end a certificate is made anew.
pub const AHEAD: Duration = Duration::from_secs(90 * 86400);
const CA_YEARS: i64 = 10;
const SERVER_YEARS: i64 = 1;
/// How many CAs are trusted at most: ours, and those before.
const MOST_CAS: usize = 2;

/// The keys of a Secret, and the names of files.
const CA_CERT: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const CERT: &str = "tls.crt";
const KEY: &str = "tls.key";

/// What a Secret or a directory holds, PEM by key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bundle(BTreeMap<String, Vec<u8>>);

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There are private keys in it.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Bundle {
    /// From the data of a Secret.
    pub fn new(data: BTreeMap<String, Vec<u8>>) -> Bundle {
        Bundle(data)
    }

    /// A server certificate and its key, which somebody else sees to: `tls.crt` and `tls.key` of a directory.
    ///
    /// # Errors
    /// One sentence.
    pub async fn from_directory(directory: &Path) -> Result<Bundle, String> {
        let mut data = BTreeMap::new();
        for name in [CERT, KEY] {
            let path = directory.join(name);
            let pem = tokio::fs::read(&path).await.map_err(|e| format!("{}: {e}", path.display()))?;
            data.insert(name.to_owned(), pem);
        }
        Ok(Bundle(data))
    }

    /// Its data, PEM by key.
    pub fn data(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.0
    }

    /// The CAs by which clients are to know the server.
    pub fn cas(&self) -> &[u8] {
        self.get(CA_CERT)
    }

    fn get(&self, key: &str) -> &[u8] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Made anew, for the server `name`. The CAs of `before` that hold for a while yet stay trusted.
    ///
    /// # Errors
    /// One sentence.
    pub fn generate(name: &str, now: Timestamp, before: &Bundle) -> Result<Bundle, String> {
        let failed = |e: rcgen::Error| format!("no certificates can be made: {e}");
        let mut ca = parameters("cert", "cert", now, CA_YEARS)?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca_key = KeyPair::generate().map_err(failed)?;
        let ca_key_pem = ca_key.serialize_pem();
        let ca = CertifiedIssuer::self_signed(ca, ca_key).map_err(failed)?;
        let mut server = parameters(name, name, now, SERVER_YEARS)?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let cert = server.signed_by(&key, &ca).map_err(failed)?;
        let mut cas = ca.pem();
        // A reader that knows one CA only takes the first.
        if let Some(older) = first_pem(before.cas()).filter(|_| before.holds(name, now, Duration::ZERO)) {
            cas.push_str(&older);
        }
        let texts = [(CA_CERT, cas), (CA_KEY, ca_key_pem), (CERT, cert.pem()), (KEY, key.serialize_pem())];
        Ok(Bundle(texts.into_iter().map(|(key, text)| (key.to_owned(), text.into_bytes())).collect()))
    }

    /// Whether a client that trusts its CAs accepts its server as `name`, `ahead` of now too.
    pub fn holds(&self, name: &str, now: Timestamp, ahead: Duration) -> bool {
        self.verified(name, now, ahead).is_some() && self.certified_key().is_ok()
    }

    /// Whether a client that trusts its CAs accepts the server of `other`.
    pub fn vouches_for(&self, other: &Bundle, name: &str, now: Timestamp) -> bool {
        let mut between = other.clone();
        between.0.insert(CA_CERT.to_owned(), self.cas().to_vec());
        between.holds(name, now, Duration::ZERO)
    }

    fn verified(&self, name: &str, now: Timestamp, ahead: Duration) -> Option<()> {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(self.cas()).take(MOST_CAS) {
            roots.add(ca.ok()?).ok()?;
        }
        let cert = CertificateDer::from_pem_slice(self.get(CERT)).ok()?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
        let then = u64::try_from(now.as_second()).ok()?.checked_add(ahead.as_secs())?;
        let then = UnixTime::since_unix_epoch(Duration::from_secs(then));
        let name = ServerName::try_from(name.to_owned()).ok()?;
        verifier.verify_server_cert(&cert, &[], &name, &[], then).ok()?;
        Some(())
    }

    /// For a TLS server.
    ///
    /// # Errors
    /// One sentence.
    pub fn certified_key(&self) -> Result<CertifiedKey, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.get(CERT))
            .collect::<Result<_, _>>()
            .map_err(|e| format!("{CERT} can't be read: {e}"))?;
        let key =
            PrivateKeyDer::from_pem_slice(self.get(KEY)).map_err(|e| format!("{KEY} can't be read: {e}"))?;
        CertifiedKey::from_der(chain, key, &provider())
            .map_err(|e| format!("{CERT} and {KEY} can't be used: {e}"))
    }
}

/// The one provider of cryptography in this process.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn parameters(common_name: &str, dns: &str, now: Timestamp, years: i64) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::new(vec![dns.to_owned()])
        .map_err(|e| format!("no certificate can be for the name {dns:?}: {e}"))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, "metallb");
    let today = now.to_zoned(TimeZone::UTC).date();
    // Clocks differ, by hours at the worst.
    let (first, last) =
        (today.saturating_sub(Span::new().days(1)), today.saturating_add(Span::new().years(years)));
    let day = |d: Date| date_time_ymd(d.year().into(), d.month().unsigned_abs(), d.day().unsigned_abs());
    params.not_before = day(first);
    params.not_after = day(last);
    Ok(params)
}

/// The first certificate of a PEM text, as it is written.
fn first_pem(pem: &[u8]) -> Option<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = std::str::from_utf8(pem).ok()?;
    let end = text.find(END)?.checked_add(END.len())?;
    text.get(..end).map(|first| format!("{}\n", first.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "metallb-webhook-service.metallb-system.svc";

    fn day(n: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + n * 86400).unwrap()
    }

    #[test]
    fn what_is_made_holds_for_a_year_and_only_for_its_name() {
        let made = Bundle::generate(NAME, day(0), &Bundle::default()).unwrap();
        assert!(made.holds(NAME, day(0), AHEAD));
        assert!(!made.holds("other.svc", day(0), AHEAD));
        assert!(made.holds(NAME, day(274), AHEAD) && !made.holds(NAME, day(276), AHEAD));
        assert!(!made.holds(NAME, day(-2), Duration::ZERO));
        // An empty Secret, as manifests bring it, and one that holds something else.
        assert!(!Bundle::default().holds(NAME, day(0), Duration::ZERO));
        let odd = Bundle::new([("tls.crt".to_owned(), b"x".to_vec())].into());
        assert!(!odd.holds(NAME, day(0), Duration::ZERO) && odd.certified_key().is_err());
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_rotation_leaves_the_older_ca_trusted_once() {
        let first = Bundle::generate(NAME, day(0), &Bundle::default()).unwrap();
        let second = Bundle::generate(NAME, day(280), &first).unwrap();
        let trusted = |b: &Bundle| CertificateDer::pem_slice_iter(b.cas()).count();
        assert_eq!((trusted(&first), trusted(&second)), (1, 2));
        // Whoever has the new CAs accepts the server of before.
        assert!(second.vouches_for(&first, NAME, day(280)) && !first.vouches_for(&second, NAME, day(280)));
        let third = Bundle::generate(NAME, day(560), &second).unwrap();
        assert_eq!(trusted(&third), 2);
        // One that has ended is of no use to anybody.
        let late = Bundle::generate(NAME, day(800), &first).unwrap();
        assert_eq!(trusted(&late), 1);
    }
}
