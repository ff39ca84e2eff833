//! What can be written after `ferrolb`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ferrolb_api::duration::parse_go_duration;

use super::controller::ControllerArgs;
use super::speaker::SpeakerArgs;
use crate::shell::kube;
use crate::shell::telemetry::http::BindAddress;
use crate::shell::telemetry::log::LogLevel;

/// A load balancer for bare-metal Kubernetes: gives Services addresses and announces them over BGP.
///
/// It reads MetalLB's resources (IPAddressPool, BGPPeer, BGPAdvertisement, L2Advertisement, Community, BFDProfile) unchanged.
#[derive(Debug, Parser)]
#[command(name = "ferrolb", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what every node would announce for these manifests, and what is wrong with them
    Plan(PlanArgs),
    /// Say why a Service is or isn't announced, and what to edit
    Explain(ExplainArgs),
    /// Give Services their addresses once, as the controller would
    Allocate(AllocateArgs),
    /// Say what a running role does: sessions, routes sent, addresses, and what is wrong
    Status(StatusArgs),
    /// Follow what changes in a running role, one line a change
    Watch(WatchArgs),
    /// Say what on this machine or in a cluster would keep FerroLB from working, and the remedy
    Check(CheckArgs),
    /// Announce from this machine, from a directory of manifests, without Kubernetes
    Standalone(StandaloneArgs),
    /// Give Services of a Kubernetes cluster their addresses, as MetalLB's controller does
    Controller(Box<ControllerArgs>),
    /// Announce from one node of a Kubernetes cluster, as MetalLB's speaker does
    Speaker(Box<SpeakerArgs>),
    /// Print the CustomResourceDefinitions
    Crds,
}

/// Where manifests come from, and how roles are set up.
#[derive(Args, Clone, Debug)]
pub struct InputArgs {
    /// A YAML or JSON file, a directory (read recursively), or - for standard input; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub files: Vec<PathBuf>,
    /// The namespace that configuration objects live in
    #[arg(long, value_name = "NS", env = "METALLB_NAMESPACE", default_value = NAMESPACE, value_parser = namespace)]
    pub namespace: String,
    /// The loadBalancerClass to manage; without it, Services that have one are left alone
    #[arg(long, value_name = "CLASS")]
    lb_class: Option<String>,
}

impl InputArgs {
    /// The class to manage. MetalLB: an empty one is as none.
    pub fn class(&self) -> Option<&str> {
        self.lb_class.as_deref().filter(|class| !class.is_empty())
    }
}

/// Which running role to ask; without either the one whose socket is in /run/ferrolb.
#[derive(Args, Clone, Debug)]
pub struct SocketArgs {
    /// The Unix socket of the running role; by default the one in /run/ferrolb that answers
    #[arg(long, value_name = "PATH", conflicts_with = "state")]
    pub socket: Option<PathBuf>,
    /// The state directory of a running standalone; its socket is ferrolb.sock in there
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// The nodes to plan for.
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    /// Only this node; the name of the one node, where the manifests have no Node
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Plan as if the speakers on these nodes were dead
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub down: Vec<String>,
    /// Plan as if these sessions weren't established; matters to layer-2 fallback only
    #[arg(long, value_name = "NODE/PEER", value_delimiter = ',')]
    pub bgp_down: Vec<String>,
    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers too
    #[arg(long)]
    pub ignore_exclude_lb: bool,
}

/// Which cluster to read, where one is read.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Read the objects of a cluster; nothing is written
    #[arg(long, conflicts_with = "files")]
    pub cluster: bool,
    /// The cluster to read; without it ~/.kube/config, where that is there, or the cluster that this is a pod of
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<OsString>,
}

impl ClusterArgs {
    /// The files that name the cluster, where any do.
    pub fn kubeconfig(&self) -> Option<&OsStr> {
        self.kubeconfig.as_deref().filter(|list| !kube::files(list).is_empty())
    }
}

/// `ferrolb plan`.
#[derive(Args, Debug)]
#[command(
    mut_arg("files", |arg| arg.required(false).required_unless_present("cluster")),
    after_help = "Exit status 1: there is an error, or, with --compare, a difference.\n\nExamples:\n  ferrolb plan -f manifests/\n  \
                  ferrolb plan --cluster --compare\n  \
                  ferrolb plan --cluster --kubeconfig ~/.kube/config --node node-1 -o json"
)]
pub struct PlanArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Print only how this differs from what runs in the cluster now, by Service, node and peer
    #[arg(long, requires = "cluster", conflicts_with = "files")]
    pub compare: bool,
    #[command(flatten)]
    pub nodes: NodeArgs,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// `ferrolb explain`.
#[derive(Args, Debug)]
#[command(
    mut_arg("files", |arg| arg.required(false).conflicts_with_all(["socket", "state"])),
    after_help = "With -f it works offline. Without, it asks the running role, and also shows what was really sent of the \
                  Service, to each peer."
)]
pub struct ExplainArgs {
    /// The Service, NAMESPACE/NAME or NAME
    pub service: String,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub socket: SocketArgs,
    #[command(flatten)]
    pub nodes: NodeArgs,
    /// Only this BGPPeer
    #[arg(long, value_name = "NAME")]
    pub peer: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// `ferrolb allocate`.
#[derive(Args, Debug)]
pub struct AllocateArgs {
    #[command(flatten)]
    pub input: InputArgs,
    /// Write the Allocations document to this file, atomically, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// `ferrolb check`.
#[derive(Args, Debug)]
#[command(
    mut_arg("files", |arg| arg.required(false)),
    after_help = "It looks at this machine, and, where a kubeconfig is given or this is a pod, at the cluster. With --cluster and \
                  without --node, only at the cluster.\n\nExit status 1: there is an error or a warning among what was \
                  found.\n\nExamples:\n  ferrolb check\n  ferrolb check -f manifests/ --node node-1\n  ferrolb check --cluster"
)]
pub struct CheckArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// This machine's name among the Nodes in the manifests
    #[arg(long, value_name = "NAME", env = "METALLB_NODE_NAME")]
    pub node: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// `ferrolb status`.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit status 1: a session isn't established, a Service has no address, or there is an error. What is shown as \
                  sent was sent, and the peer still has it.\n\nExamples:\n  ferrolb status --state /var/lib/ferrolb\n  \
                  ferrolb status --state /var/lib/ferrolb --peer tor\n  \
                  ferrolb status --socket /run/ferrolb.sock --routes -o json"
)]
pub struct StatusArgs {
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Only the session with this BGPPeer: everything of it, with its routes
    #[arg(long, value_name = "NAME")]
    pub peer: Option<String>,
    /// Each session's timers, capabilities, counters, errors and pending edits
    #[arg(long)]
    pub details: bool,
    /// The routes that each peer was sent
    #[arg(long)]
    pub routes: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// `ferrolb watch`.
#[derive(Args, Debug)]
#[command(
    after_help = "First how things stand, then an empty line, then each change as it happens: sessions, addresses, \
                  announcements, errors. It ends with status 2 when the role ends."
)]
pub struct WatchArgs {
    #[command(flatten)]
    pub socket: SocketArgs,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = LineFormat::Text)]
    pub output: LineFormat,
}

/// `ferrolb standalone`.
#[derive(Args, Debug)]
pub struct StandaloneArgs {
    /// The directory of manifests; changes are applied at once
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// This machine's name among the Nodes in the manifests
    #[arg(long, value_name = "NAME", env = "METALLB_NODE_NAME")]
    pub node: String,
    /// Where to keep allocations, last valid objects and first-seen times over a restart
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The Unix socket to look in at with status, explain and watch; by default ferrolb.sock in the state
    /// directory, or /run/ferrolb/standalone.sock where /run/ferrolb is there
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The namespace that configuration objects live in
    #[arg(long, value_name = "NS", env = "METALLB_NAMESPACE", default_value = NAMESPACE, value_parser = namespace)]
    pub namespace: String,
    /// The loadBalancerClass to manage; without it, Services that have one are left alone
    #[arg(long, value_name = "CLASS")]
    lb_class: Option<String>,
    /// Announce from this node even if it has the label node.kubernetes.io/exclude-from-external-load-balancers
    #[arg(long)]
    pub ignore_exclude_lb: bool,
    /// Repeat layer-2 announcements (gratuitous ARP, unsolicited advertisements) this often for as long as an address is
    /// owned: so many seconds, or 30s, 5m; 0: only after it was taken
    #[arg(long, value_name = "INTERVAL", default_value = "0")]
    pub gratuitous_arp_interval: Interval,
    /// A file of interfaces that never answer on layer 2, as MetalLB's excludel2.yaml; without it, MetalLB's list counts
    #[arg(long, value_name = "FILE")]
    pub excluded_interfaces: Option<PathBuf>,
    /// Where to serve /metrics, /healthz and /readyz over plain HTTP; "off", or nothing, for nowhere
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7472")]
    pub metrics_bind_address: BindAddress,
    /// How much to log
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
}

impl StandaloneArgs {
    /// The class to manage. MetalLB: an empty one is as none.
    pub fn class(&self) -> Option<&str> {
        self.lb_class.as_deref().filter(|class| !class.is_empty())
    }
}

const NAMESPACE: &str = "metallb-system";

/// A namespace; an empty one, as a variable of the environment may be, is as none.
fn namespace(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(if text.is_empty() { NAMESPACE } else { text }.to_owned())
}

/// A duration as Go writes it, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<GoDuration, String> {
        let nanoseconds = parse_go_duration(text)?;
        let nanoseconds = u64::try_from(nanoseconds).map_err(|_| "a duration from 0 on".to_owned())?;
        Ok(GoDuration(Duration::from_nanos(nanoseconds)))
    }
}

/// The same; a bare number counts in seconds, as MetalLB's speaker takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Interval, String> {
        match text.parse() {
            Ok(seconds) => Ok(Interval(Duration::from_secs(seconds))),
            Err(_) => text.parse().map(|GoDuration(duration)| Interval(duration)),
        }
    }
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How to print one line after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LineFormat {
    /// For people
    Text,
    /// A JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_says_where_to_look() {
        Cli::command().debug_assert();
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("ferrolb explain web -f x"));
        assert!(parses("ferrolb explain web --state x"));
        // Without either, the sentence is the command's own.
        assert!(parses("ferrolb explain web"));
        assert!(!parses("ferrolb explain web -f x --socket y"));
        assert!(!parses("ferrolb plan"));
        assert!(parses("ferrolb plan --cluster --compare"));
        assert!(!parses("ferrolb plan -f x --compare"));
        assert!(!parses("ferrolb plan -f x --cluster"));
        assert!(!parses("ferrolb status --state x --socket y"));
    }

    #[test]
    fn an_empty_namespace_is_the_default() {
        for (given, expected) in [("--namespace=", NAMESPACE), ("--namespace=lb", "lb")] {
            match Cli::try_parse_from(["ferrolb", "plan", "-f", "x", given]).map(|cli| cli.command) {
                Ok(Command::Plan(args)) => assert_eq!(args.input.namespace, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn durations_are_gos() {
        let read = |text: &str| text.parse().map(|GoDuration(duration)| duration);
        assert_eq!(read("0"), Ok(Duration::ZERO));
        assert_eq!(read("1m30s"), Ok(Duration::from_secs(90)));
        assert!(read("30").is_err() && read("-1s").is_err());
        let interval = |text: &str| text.parse().map(|Interval(interval)| interval);
        assert_eq!(interval("30"), Ok(Duration::from_secs(30)));
        assert_eq!(interval("5m"), Ok(Duration::from_secs(300)));
        assert!(interval("-30").is_err() && interval("soon").is_err() && interval("").is_err());
    }
}
