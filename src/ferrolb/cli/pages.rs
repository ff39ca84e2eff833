//! The flags by which a role of a cluster shows its metrics: MetalLB's, and one of our own.

use clap::Args;

use crate::shell::tls::{Offered, Origin};

/// Where /metrics is, and over which TLS.
#[derive(Args, Clone, Debug)]
pub struct PageArgs {
    /// The port of /metrics over HTTPS, on all addresses, for accounts that may get that path; 0 for nowhere
    #[arg(long, value_name = "PORT", default_value_t = 9120)]
    pub port: u16,
    /// A port of /metrics without TLS and without a login beside it, on all addresses, for monitors that can't do better,
    /// as 7472; 0 for nowhere
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub plain_metrics_port: u16,
    /// Where tls.crt and tls.key of /metrics are, which are taken in again as they change; without it a certificate is
    /// made that nobody vouches for
    #[arg(long, value_name = "DIR")]
    metrics_cert_dir: Option<String>,
    /// The oldest TLS version that is spoken: VersionTLS12 or VersionTLS13
    #[arg(long, value_name = "VERSION", default_value = "VersionTLS13", value_parser = tls_version)]
    pub tls_min_version: TlsVersion,
    /// The cipher suites for TLS 1.2, by their IANA names, with commas between them; those of 1.3 can't be chosen
    #[arg(long, value_name = "NAMES", default_value = "", hide_default_value = true)]
    tls_cipher_suites: String,
    /// The groups for key exchange, by number and with commas between them: 23 (P-256), 24 (P-384), 29 (X25519)
    #[arg(long, value_name = "NUMBERS", default_value = "", hide_default_value = true)]
    tls_curve_preferences: String,
}

/// A version of TLS that can be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 and 1.3. Nothing older is spoken, so that asking for it gives this.
    Tls12,
    /// 1.3 only.
    Tls13,
}

fn tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "" | "VersionTLS13" => Ok(TlsVersion::Tls13),
        "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => Ok(TlsVersion::Tls12),
        _ => Err("say VersionTLS12 or VersionTLS13".to_owned()),
    }
}

impl PageArgs {
    /// What is offered to clients over TLS, and which cipher suites and groups were asked for and aren't known here.
    ///
    /// # Errors
    /// One sentence: it can't be as it is asked for.
    pub fn offered(&self) -> Result<(Offered, Vec<String>), String> {
        let tls12 = self.tls_min_version == TlsVersion::Tls12;
        Offered::new(tls12, &self.tls_cipher_suites, &self.tls_curve_preferences)
    }

    /// Where the certificate of /metrics comes from.
    pub fn certificate(&self) -> Origin {
        match self.metrics_cert_dir.as_deref().filter(|directory| !directory.is_empty()) {
            Some(directory) => Origin::Directory(directory.into()),
            None => Origin::Own("localhost".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        pages: PageArgs,
    }

    fn parse(flags: &str) -> PageArgs {
        let words = std::iter::once("x").chain(flags.split_whitespace());
        CommandLine::try_parse_from(words).map(|line| line.pages).unwrap()
    }

    #[test]
    fn flags_are_metallbs_with_its_defaults() {
        let args = parse("");
        assert_eq!((args.port, args.plain_metrics_port), (9120, 0));
        assert_eq!(args.certificate(), Origin::Own("localhost".into()));
        assert!(args.offered().is_ok());
        // MetalLB: an empty value is as none.
        let args = parse(
            "--port=0 --metrics-cert-dir= --tls-min-version= --tls-cipher-suites= --tls-curve-preferences=",
        );
        assert_eq!((args.port, args.tls_min_version), (0, TlsVersion::Tls13));
        assert_eq!(args.certificate(), Origin::Own("localhost".into()));
        let suites = "--tls-cipher-suites TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
        assert!(parse(suites).offered().is_err_and(|e| e.contains("--tls-min-version=VersionTLS12")));
        let args = parse(&format!("{suites} --tls-min-version VersionTLS12 --metrics-cert-dir /etc/metrics"));
        assert!(args.offered().is_ok());
        assert_eq!(args.certificate(), Origin::Directory("/etc/metrics".into()));
        assert!(CommandLine::try_parse_from(["x", "--tls-min-version=1.3"]).is_err());
    }
}
