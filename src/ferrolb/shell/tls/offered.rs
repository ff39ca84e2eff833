//! What is offered to clients: versions, cipher suites and groups, as MetalLB's flags name them.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::certs::provider;
use super::served::Served;

/// See the module.
#[derive(Clone, Debug)]
pub struct Offered {
    tls12: bool,
    provider: Arc<CryptoProvider>,
}

impl Offered {
    /// TLS 1.3, and 1.2 where that is asked for. `suites` are comma-separated names of cipher suites for 1.2 (those of 1.3
    /// aren't chosen), `groups` comma-separated numbers of key exchange groups (RFC 8446, 4.2.7); empty: all that there are.
    /// Beside it, which of those aren't known here, and so are left out.
    ///
    /// # Errors
    /// One sentence.
    pub fn new(tls12: bool, suites: &str, groups: &str) -> Result<(Offered, Vec<String>), String> {
        let all = provider();
        let mut unknown = Vec::new();
        let cipher_suites = chosen_suites(&all, suites, tls12, &mut unknown)?;
        let kx_groups = chosen_groups(&all, groups, &mut unknown)?;
        let provider = CryptoProvider { cipher_suites, kx_groups, ..(*all).clone() };
        Ok((Offered { tls12, provider: Arc::new(provider) }, unknown))
    }

    /// For a server that speaks HTTP/1.1, with the certificate of `served`.
    ///
    /// # Errors
    /// One sentence.
    pub fn acceptor(&self, served: Arc<Served>) -> Result<TlsAcceptor, String> {
        let versions: &[&SupportedProtocolVersion] = if self.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions)
            .map_err(|e| format!("TLS can't be set up: {e}"))?
            .with_no_client_auth()
            .with_cert_resolver(served);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn chosen_suites(
    all: &CryptoProvider,
    wanted: &str,
    tls12: bool,
    unknown: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, String> {
    let names: Vec<&str> = words(wanted).collect();
    if names.is_empty() {
        return Ok(all.cipher_suites.clone());
    }
    if !tls12 {
        // MetalLB: the same refusal. Those of TLS 1.3 can't be chosen.
        return Err("--tls-cipher-suites says which suites TLS 1.2 may use, and only 1.3 is spoken: give --tls-min-version=VersionTLS12 too, or leave it out".to_owned());
    }
    // Go has two shorter names beside those of IANA.
    let is = |suite: &SupportedCipherSuite, name: &str| {
        let known = suite.suite().as_str();
        known == Some(name) || known.and_then(|k| k.strip_suffix("_SHA256")) == Some(name)
    };
    let is_13 = |suite: &SupportedCipherSuite| suite.version().version == ProtocolVersion::TLSv1_3;
    let for_12 = || all.cipher_suites.iter().filter(|suite| !is_13(suite));
    unknown.extend(
        names.iter().filter(|name| !for_12().any(|suite| is(suite, name))).map(|name| (*name).to_owned()),
    );
    let chosen = for_12().filter(|suite| names.iter().any(|name| is(suite, name)));
    let chosen: Vec<SupportedCipherSuite> = chosen.copied().collect();
    if chosen.is_empty() {
        let known: Vec<&str> = for_12().filter_map(|suite| suite.suite().as_str()).collect();
        return Err(format!("--tls-cipher-suites names none of those that there are: {}", known.join(", ")));
    }
    let for_13 = all.cipher_suites.iter().filter(|suite| is_13(suite)).copied();
    Ok(for_13.chain(chosen).collect())
}

fn chosen_groups(
    all: &CryptoProvider,
    wanted: &str,
    unknown: &mut Vec<String>,
) -> Result<Vec<&'static dyn SupportedKxGroup>, String> {
    let mut chosen: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    let mut seen = Vec::new();
    for word in words(wanted) {
        let number: u16 = word
            .parse()
            .ok()
            .filter(|number| *number != 0)
            .ok_or_else(|| format!("--tls-curve-preferences: {word:?} is no number from 1 to 65535"))?;
        if seen.contains(&number) {
            return Err(format!("--tls-curve-preferences: {number} is there twice"));
        }
        seen.push(number);
        match all.kx_groups.iter().find(|group| u16::from(group.name()) == number) {
            Some(group) => chosen.push(*group),
            None => unknown.push(number.to_string()),
        }
    }
    if seen.is_empty() {
        return Ok(all.kx_groups.clone());
    }
    if chosen.is_empty() {
        return Err(
            "--tls-curve-preferences names none of those that there are: 23 (P-256), 24 (P-384), 29 (X25519)"
                .to_owned(),
        );
    }
    Ok(chosen)
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECDSA: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";

    fn names(offered: &Offered) -> Vec<&'static str> {
        let suites = offered.provider.cipher_suites.iter();
        suites.filter_map(|s| s.suite().as_str()).filter(|name| !name.starts_with("TLS13")).collect()
    }

    #[test]
    fn suites_and_groups_are_those_asked_for() {
        let (offered, unknown) =
            Offered::new(true, &format!("{ECDSA}, TLS_RSA_WITH_AES_128_CBC_SHA"), "29,4588,23").unwrap();
        assert_eq!(names(&offered), [ECDSA]);
        assert_eq!(unknown, ["TLS_RSA_WITH_AES_128_CBC_SHA", "4588"]);
        let groups: Vec<u16> = offered.provider.kx_groups.iter().map(|g| u16::from(g.name())).collect();
        assert_eq!(groups, [29, 23]);
        let (offered, _) = Offered::new(true, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "").unwrap();
        assert_eq!(names(&offered), ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]);
        for (offered, unknown) in [Offered::new(true, "", "").unwrap(), Offered::new(false, " ", "").unwrap()]
        {
            assert_eq!((names(&offered).len(), unknown.len(), offered.provider.kx_groups.len()), (6, 0, 3));
            assert!(offered.acceptor(Arc::default()).is_ok());
        }
    }

    #[test]
    fn what_cannot_be_is_refused_at_the_start() {
        for (tls12, suites, groups, why) in [
            (false, ECDSA, "", "give --tls-min-version=VersionTLS12 too"),
            (true, "TLS_RSA_WITH_AES_128_CBC_SHA", "", "none of those that there are: TLS_ECDHE"),
            (false, "", "0", "\"0\" is no number from 1 to 65535"),
            (false, "", "x", "\"x\" is no number"),
            (false, "", "65536", "no number"),
            (false, "", "23,23", "23 is there twice"),
            (false, "", "4588", "none of those that there are"),
        ] {
            let refused = Offered::new(tls12, suites, groups).map(|_| ()).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
