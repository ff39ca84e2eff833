//! What would keep FerroLB from working, judged from facts that the shell has gathered: [`node`](node()) of one machine,
//! [`cluster`](cluster()) of the objects of a cluster, also where it comes from MetalLB.

mod cluster;
mod frr;
mod node;
mod rights;

use serde::Serialize;

pub use cluster::{Access, Account, ClusterFacts, Role, Rule, accounts, cluster};
pub use node::{Connection, Interface, Listener, NodeFacts, Plans, node};
pub use rights::rights;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something won't work.
    Error,
    /// Something may not work, or is lost by a switch.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// One thing found. Sorts by severity, the worst first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: an object, a port, a sysctl.
    pub subject: String,
    /// What was found, and what follows from it, as a sentence.
    pub message: String,
    /// What to do about it, as a sentence.
    pub remedy: String,
}

impl Finding {
    fn new(
        severity: Severity,
        subject: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding { severity, subject: subject.into(), message: message.into(), remedy: remedy.into() }
    }
}
