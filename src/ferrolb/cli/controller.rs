//! The flags of `ferrolb controller`: MetalLB's by name, environment variable and default, and our own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::goflags::boolean;
use super::pages::PageArgs;
use crate::shell::telemetry::log::LogLevel;

/// `ferrolb controller`.
#[derive(Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Flags may also be written with one dash. Those of MetalLB that mean nothing here are accepted, and named in the log."
)]
pub struct ControllerArgs {
    #[command(flatten)]
    pub pages: PageArgs,
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
    pub kubeconfig: Option<OsString>,
    /// The name of this pod: among several controllers, who leads is told by it
    #[arg(long, value_name = "NAME", env = "METALLB_POD_NAME")]
    pod_name: Option<String>,
    /// The Unix socket to look in at with status and watch; by default controller.sock in /run/ferrolb, where that is there
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// How much to log
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    #[command(flatten)]
    pub webhook: WebhookArgs,
    #[command(flatten)]
    meaningless: MeaninglessArgs,
}

/// The flags of the admission webhook.
#[derive(Args, Clone, Debug)]
pub struct WebhookArgs {
    /// Whether to validate metallb.io objects when they are written, and whether to do anything else
    #[arg(long = "webhook-mode", value_enum, value_name = "MODE", default_value_t = WebhookMode::Enabled)]
    pub mode: WebhookMode,
    /// The port of the admission webhook, on all addresses
    #[arg(id = "webhook-port", long = "webhook-port", value_name = "PORT", default_value_t = 9443)]
    pub port: u16,
    /// The Secret that holds the certificates of the webhook
    #[arg(long = "webhook-secret", value_name = "NAME", default_value = "metallb-webhook-cert")]
    pub secret: String,
    /// The Service that the API server reaches the webhook by
    #[arg(long = "cert-service-name", value_name = "NAME", default_value = "metallb-webhook-service")]
    pub service: String,
    /// Use the certificate in --cert-dir, which somebody else renews
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = boolean)]
    pub disable_cert_rotation: bool,
    /// Where tls.crt and tls.key are, with --disable-cert-rotation
    #[arg(long, value_name = "DIR", default_value = "/tmp/k8s-webhook-server/serving-certs")]
    pub cert_dir: PathBuf,
}

/// What a controller does about admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum WebhookMode {
    /// It validates, beside everything else
    Enabled,
    /// It doesn't validate
    Disabled,
    /// It does nothing but validate
    OnlyWebhook,
}

/// Flags of MetalLB's controller that change nothing here, or not yet.
#[derive(Args, Debug)]
struct MeaninglessArgs {
    #[arg(long, hide = true, env = "METALLB_ML_SECRET_NAME")]
    ml_secret_name: Option<String>,
    #[arg(long, hide = true, env = "METALLB_DEPLOYMENT")]
    deployment: Option<String>,
    #[arg(long, hide = true, env = "METALLB_BGP_TYPE")]
    bgp_type: Option<String>,
    #[arg(long, hide = true)]
    pprof_bind_address: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    webhook_http2: Option<bool>,
}

const NO_HTTP2: &str = "the webhook speaks HTTP/1.1, which API servers fall back to";
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
            (
                "METALLB_BGP_TYPE",
                given(&m.bgp_type),
                "there is no FRR, and every mode's configuration is understood",
            ),
            ("pprof-bind-address", given(&m.pprof_bind_address), "this is no Go program: there is no pprof"),
            ("webhook-http2", m.webhook_http2 == Some(true), NO_HTTP2),
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
    use crate::cli::pages::TlsVersion;

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
        assert_eq!((args.pages.port, args.health_probe_port, args.log_level), (7472, 17472, LogLevel::Info));
        let named: Vec<_> = args.meaningless().into_iter().map(|(flag, _)| flag).collect();
        assert_eq!(named, ["webhook-http2"]);
        assert_eq!(args.webhook.mode, WebhookMode::Enabled);
        assert_eq!(args.pages.tls_min_version, TlsVersion::Tls12);
        let args =
            parse("ferrolb controller --webhook-mode disabled --disable-cert-rotation=false -lb-class x");
        assert_eq!(args.class(), Some("x"));
        assert_eq!(args.meaningless(), []);
        assert_eq!((args.webhook.mode, args.webhook.disable_cert_rotation), (WebhookMode::Disabled, false));
        assert_eq!(
            parse("ferrolb controller -webhook-mode=onlywebhook").webhook.mode,
            WebhookMode::OnlyWebhook
        );
        assert!(parse("ferrolb controller -disable-cert-rotation").webhook.disable_cert_rotation);
        let args = parse("ferrolb controller");
        assert_eq!((args.pages.port, args.pages.plain_metrics_port), (9120, 0));
        assert_eq!(parse("ferrolb controller --lb-class=").class(), None);
        // As Go has it, the last one counts: an argument that is put behind those of a manifest.
        let args = parse("ferrolb controller --port=9120 --log-level=info -port=0 --log-level=debug");
        assert_eq!((args.pages.port, args.log_level), (0, LogLevel::Debug));
    }
}
