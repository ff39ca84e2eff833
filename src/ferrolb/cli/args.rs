//! What can be written after `ferrolb`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Announce from this machine, from a directory of manifests, without Kubernetes
    Standalone(StandaloneArgs),
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
    #[arg(long, value_name = "NS", default_value = "metallb-system")]
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

/// `ferrolb plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub nodes: NodeArgs,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// `ferrolb explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The Service, NAMESPACE/NAME or NAME
    pub service: String,
    #[command(flatten)]
    pub input: InputArgs,
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
    /// The namespace that configuration objects live in
    #[arg(long, value_name = "NS", default_value = "metallb-system", env = "METALLB_NAMESPACE")]
    pub namespace: String,
    /// The loadBalancerClass to manage; without it, Services that have one are left alone
    #[arg(long, value_name = "CLASS")]
    lb_class: Option<String>,
    /// Announce from this node even if it has the label node.kubernetes.io/exclude-from-external-load-balancers
    #[arg(long)]
    pub ignore_exclude_lb: bool,
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
