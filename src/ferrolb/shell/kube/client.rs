//! How the API server is reached.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may be silent while something is expected of it: longer than a watch, which the server ends before.
const SILENCE: Duration = Duration::from_secs(75);

/// A client: of the cluster that `kubeconfig` names, a file or several as in the variable of that name; where it names none, of
/// the cluster that this process is a pod of. Nothing is asked of the API server yet.
///
/// # Errors
/// One sentence, with what to give.
pub async fn connect(kubeconfig: Option<&OsStr>) -> Result<Client, String> {
    let mut config = match kubeconfig.map(files).as_deref() {
        Some([first, rest @ ..]) => from_files(first, rest).await?,
        None | Some([]) => Config::incluster().map_err(|e| {
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

/// The files of a list of paths, where there may be empty ones in it.
pub fn files(list: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// As kubectl merges them: what an earlier one says counts, and of several some may be missing.
async fn from_files(first: &PathBuf, rest: &[PathBuf]) -> Result<Config, String> {
    let wrong = |path: &PathBuf, e: &dyn std::fmt::Display| format!("kubeconfig {}: {e}", path.display());
    let mut merged = Kubeconfig::default();
    for path in [first].into_iter().chain(rest) {
        if rest.is_empty() || path.exists() {
            let file = Kubeconfig::read_from(path).map_err(|e| wrong(path, &e))?;
            merged = merged.merge(file).map_err(|e| wrong(path, &e))?;
        }
    }
    Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await.map_err(|e| wrong(first, &e))
}

/// Where the service account's namespace is told to a pod.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The namespace that this process runs in, where it is a pod.
pub fn own_namespace() -> Option<String> {
    let text = std::fs::read_to_string(NAMESPACE_FILE).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_files_may_have_empty_places() {
        assert_eq!(files(OsStr::new("")), Vec::<PathBuf>::new());
        assert_eq!(files(OsStr::new(":/a::/b")), [PathBuf::from("/a"), PathBuf::from("/b")]);
    }

    #[tokio::test]
    async fn several_files_are_merged_and_one_of_them_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (clusters, users) = (folder.path().join("clusters"), folder.path().join("users"));
        std::fs::write(&clusters, "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]").unwrap();
        std::fs::write(&users, "{users: [{name: u, user: {}}], contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}").unwrap();
        let list = std::env::join_paths([&folder.path().join("missing"), &clusters, &users]).unwrap();
        assert!(connect(Some(&list)).await.is_ok());
        let error = connect(Some(folder.path().join("missing").as_os_str())).await.err();
        assert!(error.as_ref().is_some_and(|e| e.contains("missing")), "{error:?}");
    }
}
