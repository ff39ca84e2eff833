//! The flags of `ferrolb controller`: MetalLB's by name, environment variable and default, and our own.

use std::path::PathBuf;

use clap::Args;

use super::goflags::boolean;
use crate::shell::telemetry::log::LogLevel;

/// `ferrolb controller`.
#[derive(Args, Debug)]
#[command(
    after_help = "Flags may also be written with one dash. Those of MetalLB that mean nothing here are accepted, and named in the log."
)]
pub struct ControllerArgs {
    /// The port of /metrics, on all addresses; 0 for nowhere
    #[arg(long, value_name = "PORT", default_value_t = 9120)]
    pub port: u16,
    /// The port of /healthz and /readyz, on all addresses; 0 for nowhere
    #[arg(long, value_name = "PORT", default_value_t = 17472)]
    pub health_probe_port: u16,
    /// The namespace that configuration objects live in; in a pod, its own by default
    #[arg(long, value_name = "NS", env = "METALLB_NAMESPACE")]
    pub namespace: Option<String>,
    /// The loadBalancerClass to manage; without it, Services that have one are left alone
    #[arg(long, value_name = "CLASS")]
    lb_class: Option<String>,
    /// The cluster to work for, where this isn't a pod of it
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The name of this pod: among several controllers, who leads is told by it
    #[arg(long, value_name = "NAME", env = "METALLB_POD_NAME")]
    pod_name: Option<String>,
    /// The Unix socket to look in at with status and watch
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// How much to log
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    #[command(flatten)]
    meaningless: MeaninglessArgs,
}

/// Flags of MetalLB's controller that change nothing here, or not yet.
#[derive(Args, Debug)]
struct MeaninglessArgs {
    #[arg(long, hide = true, env = "METALLB_ML_SECRET_NAME")]
    ml_secret_name: Option<String>,
    #[arg(long, hide = true, env = "METALLB_DEPLOYMENT")]
    deployment: Option<String>,
    #[arg(long, hide = true)]
    pprof_bind_address: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    disable_cert_rotation: Option<bool>,
    #[arg(long, hide = true)]
    cert_dir: Option<String>,
    #[arg(long, hide = true)]
    cert_service_name: Option<String>,
    #[arg(long, hide = true)]
    webhook_mode: Option<String>,
    #[arg(long, hide = true)]
    webhook_secret: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    webhook_http2: Option<bool>,
    #[arg(long, hide = true)]
    tls_min_version: Option<String>,
    #[arg(long, hide = true)]
    tls_cipher_suites: Option<String>,
    #[arg(long, hide = true)]
    tls_curve_preferences: Option<String>,
    #[arg(long, hide = true)]
    metrics_cert_dir: Option<String>,
}

const NO_WEBHOOK: &str =
    "there is no admission webhook: invalid objects are named in ConfigurationState, events and the log";
const NO_TLS: &str = "/metrics is served without TLS";
const NO_MEMBERLIST: &str = "no Secret of this kind is made or used";

impl ControllerArgs {
    /// The class to manage. MetalLB: an empty one is as none.
    pub fn class(&self) -> Option<&str> {
        self.lb_class.as_deref().filter(|class| !class.is_empty())
    }

    /// The pod's name, where it was told one.
    pub fn pod_name(&self) -> Option<&str> {
        self.pod_name.as_deref().filter(|name| !name.is_empty())
    }

    /// The flags that were given and mean nothing, each with why.
    pub fn meaningless(&self) -> Vec<(&'static str, &'static str)> {
        let m = &self.meaningless;
        let given = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
        let all = [
            ("ml-secret-name", given(&m.ml_secret_name), NO_MEMBERLIST),
            ("deployment", given(&m.deployment), NO_MEMBERLIST),
            ("pprof-bind-address", given(&m.pprof_bind_address), "this is no Go program: there is no pprof"),
            ("disable-cert-rotation", m.disable_cert_rotation.is_some(), NO_WEBHOOK),
            ("cert-dir", given(&m.cert_dir), NO_WEBHOOK),
            ("cert-service-name", given(&m.cert_service_name), NO_WEBHOOK),
            ("webhook-mode", given(&m.webhook_mode), NO_WEBHOOK),
            ("webhook-secret", given(&m.webhook_secret), NO_WEBHOOK),
            ("webhook-http2", m.webhook_http2.is_some(), NO_WEBHOOK),
            ("tls-min-version", given(&m.tls_min_version), NO_TLS),
            ("tls-cipher-suites", given(&m.tls_cipher_suites), NO_TLS),
            ("tls-curve-preferences", given(&m.tls_curve_preferences), NO_TLS),
            ("metrics-cert-dir", given(&m.metrics_cert_dir), NO_TLS),
        ];
        all.into_iter().filter(|(_, given, _)| *given).map(|(flag, _, why)| (flag, why)).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::cli::goflags::normalise;

    fn parse(line: &str) -> ControllerArgs {
        let words = normalise(line.split(' ').map(Into::into));
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Controller(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn metallbs_command_lines_are_understood() {
        // As MetalLB's manifests and chart write them.
        let args = parse(
            "ferrolb controller --log-level=info --tls-min-version=VersionTLS12 -port=7472 -webhook-http2",
        );
        assert_eq!((args.port, args.health_probe_port, args.log_level), (7472, 17472, LogLevel::Info));
        let named: Vec<_> = args.meaningless().into_iter().map(|(flag, _)| flag).collect();
        assert_eq!(named, ["webhook-http2", "tls-min-version"]);
        let args =
            parse("ferrolb controller --webhook-mode disabled --disable-cert-rotation=false -lb-class x");
        assert_eq!(args.class(), Some("x"));
        assert_eq!(args.meaningless().len(), 2);
        assert_eq!(parse("ferrolb controller").port, 9120);
        assert_eq!(parse("ferrolb controller --lb-class=").class(), None);
    }
}
