//! How the API server is reached.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may be silent while something is expected of it: longer than a watch, which the server ends before.
const SILENCE: Duration = Duration::from_secs(75);

/// A client: of the cluster that `kubeconfig` names, else the file that `KUBECONFIG` names, else of the cluster that this
/// process is a pod of. Nothing is asked of the API server yet.
///
/// # Errors
/// One sentence, with what to give.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, String> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster().map_err(|e| {
            format!("no cluster: outside a pod give --kubeconfig FILE, or set KUBECONFIG (in a pod: {e})")
        })?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    // Watches and writers have their own, with bounds that fit; the library's would wait for minutes in silence.
    config.default_retry = false;
    Client::try_from(config)
        .map_err(|e| format!("the API server can't be reached with this configuration: {e}"))
}

async fn from_file(path: &Path) -> Result<Config, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("kubeconfig {}: {e}", path.display());
    let file = Kubeconfig::read_from(path).map_err(|e| wrong(&e))?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(|e| wrong(&e))
}

/// Where the service account's namespace is told to a pod.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The namespace that this process runs in, where it is a pod.
pub fn own_namespace() -> Option<String> {
    let text = std::fs::read_to_string(NAMESPACE_FILE).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}
