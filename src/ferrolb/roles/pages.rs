//! The pages that a role of a cluster serves: `/metrics` over HTTPS, and its health checks.

use std::net::{IpAddr, SocketAddr};

use kube::Client;
use tokio::task::JoinSet;
use tracing::warn;

use crate::cli::PageArgs;
use crate::shell::telemetry::gate::Gate;
use crate::shell::telemetry::http::{self, Pages, Place, Secured, Shown};
use crate::shell::tls::Offered;

/// On which addresses.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// `/metrics`.
    pub metrics: IpAddr,
    /// `/healthz` and `/readyz`, on this port; 0 for nowhere.
    pub checks: (IpAddr, u16),
}

/// Which TLS these flags ask for; named in the log is what they ask for in vain.
///
/// # Errors
/// One sentence.
pub fn offered(args: &PageArgs) -> Result<Offered, String> {
    let (offered, unknown) = args.offered()?;
    if !unknown.is_empty() {
        warn!(
            event = "tlsNotOffered",
            names = unknown.join(","),
            "these cipher suites or groups aren't known here, and aren't offered"
        );
    }
    Ok(offered)
}

/// Serves until it is dropped. `client` is for asking who may read the metrics.
///
/// # Errors
/// One sentence.
pub fn serve(
    args: &PageArgs,
    offered: &Offered,
    binding: Binding,
    client: &Client,
    pages: &Pages,
) -> Result<JoinSet<()>, String> {
    let mut places = Vec::new();
    let mut place = |name, flag, (ip, port): (IpAddr, u16), shown, secured| {
        if port != 0 {
            places.push(Place { name, flag, address: SocketAddr::new(ip, port), shown, secured });
        }
    };
    let secured = Secured::new(offered, args.certificate(), Gate::new(client.clone()))?;
    place("metrics", "--port", (binding.metrics, args.port), Shown::Metrics, Some(secured));
    let plain = (binding.metrics, args.plain_metrics_port);
    place("plain-metrics", "--plain-metrics-port", plain, Shown::Metrics, None);
    place("health", "--health-probe-port", binding.checks, Shown::Checks, None);
    let mut tasks = JoinSet::new();
    for place in places {
        tasks.spawn(http::serve(place, pages.clone()));
    }
    Ok(tasks)
}
