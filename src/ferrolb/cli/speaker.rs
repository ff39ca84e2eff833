//! The flags of `ferrolb speaker`: MetalLB's by name, environment variable and default, and our own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::Interval;
use super::goflags::boolean;
use super::pages::PageArgs;
use crate::shell::telemetry::log::LogLevel;

/// `ferrolb speaker`.
#[derive(Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Flags may also be written with one dash. Those of MetalLB that mean nothing here are accepted, and named in the log."
)]
pub struct SpeakerArgs {
    /// The name of the Node that this speaker runs on
    #[arg(long, value_name = "NAME", env = "METALLB_NODE_NAME")]
    pub node_name: String,
    #[command(flatten)]
    pub pages: PageArgs,
    /// The port of /healthz and /readyz, on 127.0.0.1; 0 for nowhere
    #[arg(long, value_name = "PORT", default_value_t = 17472)]
    pub health_probe_port: u16,
    /// The namespace that configuration objects live in; in a pod, its own by default
    #[arg(long, value_name = "NS", env = "METALLB_NAMESPACE")]
    pub namespace: Option<String>,
    /// The namespace of BGPSessionState objects; the one above by default
    #[arg(long, value_name = "NS", env = "FRRK8S_NAMESPACE")]
    pub frrk8s_namespace: Option<String>,
    /// The loadBalancerClass to manage; without it, Services that have one are left alone
    #[arg(long, value_name = "CLASS")]
    lb_class: Option<String>,
    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers too
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = boolean)]
    pub ignore_exclude_lb: bool,
    /// After the node's boot, and for a Service that comes to it, wait for kube-proxy for a few seconds before announcing
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = boolean)]
    pub wait_for_kube_proxy: bool,
    /// Repeat layer-2 announcements (gratuitous ARP, unsolicited advertisements) this often for as long as an address is
    /// owned: so many seconds, as in MetalLB, or 30s, 5m; 0: only after it was taken
    #[arg(long, value_name = "INTERVAL", default_value = "0")]
    pub gratuitous_arp_interval: Interval,
    /// A file of interfaces that never answer on layer 2, as MetalLB's excludel2.yaml; a file that isn't there excludes
    /// what MetalLB's does
    #[arg(long, value_name = "FILE", default_value = "/etc/metallb/excludel2.yaml")]
    excluded_interfaces: PathBuf,
    /// How many writes of status and events a second there may be; 0 for none at all
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    pub status_writes: u32,
    /// The cluster to work for, where this isn't a pod of it
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<OsString>,
    /// The Unix socket to look in at with status, explain and watch; by default speaker.sock in /run/ferrolb, where that is there
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// How much to log
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    #[command(flatten)]
    meaningless: MeaninglessArgs,
}

/// Flags of MetalLB's speaker that change nothing here, or not yet.
#[derive(Args, Debug)]
struct MeaninglessArgs {
    #[arg(long, hide = true, env = "METALLB_HOST")]
    host: Option<String>,
    #[arg(long, hide = true, env = "METALLB_POD_NAME")]
    pod_name: Option<String>,
    #[arg(long, hide = true, env = "METALLB_ML_BIND_ADDR")]
    ml_bindaddr: Option<String>,
    #[arg(long, hide = true, env = "METALLB_ML_BIND_PORT")]
    ml_bindport: Option<String>,
    #[arg(long, hide = true, env = "METALLB_ML_LABELS")]
    ml_labels: Option<String>,
    #[arg(long, hide = true, env = "METALLB_ML_SECRET_KEY_PATH")]
    ml_secret_key_path: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    ml_wan_config: Option<bool>,
    #[arg(long, hide = true, env = "METALLB_BGP_DEBOUNCE_TIMEOUT")]
    bgp_debounce_timeout: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    frrk8s_secret_passthrough: Option<bool>,
    #[arg(long, hide = true, env = "METALLB_BGP_TYPE")]
    bgp_type: Option<String>,
    #[arg(long, hide = true)]
    pprof_bind_address: Option<String>,
}

const NO_MEMBERLIST: &str = "speakers don't use memberlist";
const NO_FRR: &str =
    "there is no FRR: every change goes out at once, and every mode's configuration is understood";

impl SpeakerArgs {
    /// The class to manage. MetalLB: an empty one is as none.
    pub fn class(&self) -> Option<&str> {
        self.lb_class.as_deref().filter(|class| !class.is_empty())
    }

    /// The file of interfaces that never answer on layer 2, where there is one.
    pub fn excluded_interfaces(&self) -> Option<&Path> {
        Some(&*self.excluded_interfaces).filter(|path| path.exists())
    }

    /// The flags that were given and mean nothing, each with why.
    pub fn meaningless(&self) -> Vec<(&'static str, &'static str)> {
        let m = &self.meaningless;
        let given = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
        let all = [
            ("host", given(&m.host), "it was for older versions of MetalLB"),
            ("ml-bindaddr", given(&m.ml_bindaddr), NO_MEMBERLIST),
            ("ml-bindport", given(&m.ml_bindport), NO_MEMBERLIST),
            ("ml-labels", given(&m.ml_labels), NO_MEMBERLIST),
            ("ml-secret-key-path", given(&m.ml_secret_key_path), NO_MEMBERLIST),
            ("ml-wan-config", m.ml_wan_config.is_some(), NO_MEMBERLIST),
            ("bgp-debounce-timeout", given(&m.bgp_debounce_timeout), NO_FRR),
            ("frrk8s-secret-passthrough", m.frrk8s_secret_passthrough.is_some(), NO_FRR),
            ("METALLB_BGP_TYPE", given(&m.bgp_type), NO_FRR),
            ("pprof-bind-address", given(&m.pprof_bind_address), "this is no Go program: there is no pprof"),
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

    fn parse(line: &str) -> SpeakerArgs {
        let words = normalise(line.split(' ').map(Into::into));
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Speaker(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn metallbs_command_lines_are_understood() {
        // As MetalLB's manifests and chart write them.
        let args = parse(
            "ferrolb speaker --port=7472 --log-level=info --tls-min-version=VersionTLS12 -node-name n1",
        );
        assert_eq!((args.pages.port, args.health_probe_port, args.node_name.as_str()), (7472, 17472, "n1"));
        assert_eq!(args.meaningless(), []);
        assert!(args.wait_for_kube_proxy && !args.ignore_exclude_lb);
        let args = parse(
            "ferrolb speaker -node-name=n1 -ignore-exclude-lb --wait-for-kube-proxy=false -ml-wan-config=true",
        );
        assert!(!args.wait_for_kube_proxy && args.ignore_exclude_lb);
        assert_eq!(args.meaningless().len(), 1);
        assert_eq!((args.pages.port, args.status_writes, args.class()), (9120, 25, None));
        assert_eq!(parse("ferrolb speaker --node-name n1 --lb-class x").class(), Some("x"));
        let args =
            parse("ferrolb speaker --node-name n1 --gratuitous-arp-interval=5m -gratuitous-arp-interval=30");
        assert_eq!(args.gratuitous_arp_interval, Interval(std::time::Duration::from_secs(30)));
    }
}
