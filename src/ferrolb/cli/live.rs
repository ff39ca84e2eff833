//! Asking a running role, for the commands that do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tonic::{Response, Status};

use super::args::SocketArgs;
use super::table;
use crate::shell::grpc::api::{Layer2Address, Route};
use crate::shell::grpc::client::{self, Client};
use crate::shell::grpc::{RUN, socket_in};

/// How long a socket may take to answer while one is looked for.
const KNOCK: Duration = Duration::from_secs(1);

impl SocketArgs {
    /// The socket that they name; where they name none, the only one that answers where roles in pods have theirs.
    ///
    /// # Errors
    /// They name none, and none or several are found: one sentence with what was tried and the remedy.
    async fn path(&self) -> Result<PathBuf, String> {
        match (&self.socket, &self.state) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(state)) => Ok(socket_in(state)),
            (None, None) => found(Path::new(RUN)).await,
        }
    }
}

/// The only socket in a directory that answers.
async fn found(directory: &Path) -> Result<PathBuf, String> {
    const REMEDY: &str = "say which running role: --socket PATH, or --state DIR of a standalone";
    let mut tried: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    tried.sort();
    let mut alive = Vec::new();
    for path in &tried {
        if let Ok(Ok(_)) = tokio::time::timeout(KNOCK, UnixStream::connect(path)).await {
            alive.push(path);
        }
    }
    let names = |paths: &mut dyn Iterator<Item = &PathBuf>| {
        paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    match alive.as_slice() {
        [only] => Ok((*only).clone()),
        [] if tried.is_empty() => Err(format!("there is no socket in {}; {REMEDY}", directory.display())),
        [] => Err(format!("nobody answers at {}; {REMEDY}", names(&mut tried.iter()))),
        several => Err(format!("several roles answer: {}; {REMEDY}", names(&mut several.iter().copied()))),
    }
}

/// One question and its answer.
///
/// # Errors
/// One sentence, where nobody can be asked, or the role refuses.
pub fn ask<T>(
    socket: &SocketArgs,
    question: impl AsyncFnOnce(&mut Client) -> Result<Response<T>, Status>,
) -> Result<T, String> {
    runtime()?.block_on(async {
        let mut client = client::connect(&socket.path().await?).await?;
        question(&mut client).await.map(Response::into_inner).map_err(|status| client::refusal(&status))
    })
}

/// A connection that is used for longer, within `with`.
///
/// # Errors
/// One sentence, where nobody can be asked, or what `with` says.
pub fn connected<T>(
    socket: &SocketArgs,
    with: impl AsyncFnOnce(Client) -> Result<T, String>,
) -> Result<T, String> {
    runtime()?.block_on(async { with(client::connect(&socket.path().await?).await?).await })
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| format!("the runtime can't start: {e}"))
}

/// What is sent with a route.
pub fn attributes(route: &Route) -> String {
    let mut all = Vec::new();
    if let Some(value) = route.local_pref {
        all.push(format!("local preference {value}"));
    }
    if route.as_path_prepend > 0 {
        all.push(format!("prepended {} times", route.as_path_prepend));
    }
    all.extend(route.communities.iter().chain(&route.large_communities).cloned());
    all.join(", ")
}

/// A table of addresses that are answered for on layer 2.
pub fn answered(out: &mut String, title: &str, addresses: &[Layer2Address]) {
    let rows = addresses.iter().map(|a| {
        let interfaces =
            if a.interfaces.is_empty() { "none can answer".to_owned() } else { a.interfaces.join(" ") };
        [a.ip.clone(), interfaces, a.requests.to_string(), a.responses.to_string(), a.gratuitous.to_string()]
    });
    table::section(out, title, ["ADDRESS", "INTERFACES", "ASKED", "ANSWERED", "ANNOUNCED"], rows);
}

/// A time that has passed, in its largest unit and the next one.
pub fn ago(milliseconds: i64) -> String {
    let mut left = u64::try_from(milliseconds).unwrap_or_default() / 1000;
    let mut parts = Vec::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        let count = left / seconds;
        left %= seconds;
        if count > 0 || !parts.is_empty() || unit == "s" {
            parts.push(format!("{count}{unit}"));
        }
    }
    parts.truncate(2);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn the_only_socket_that_answers_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let refusal = found(&at("missing")).await.unwrap_err();
        assert!(refusal.contains("there is no socket in") && refusal.contains("--socket"), "{refusal}");
        // What a dead role left, and what is no socket.
        drop(UnixListener::bind(at("controller.sock")).unwrap());
        std::fs::write(at("notes"), "").unwrap();
        let refusal = found(folder.path()).await.unwrap_err();
        assert!(refusal.contains("nobody answers at") && refusal.contains("controller.sock"), "{refusal}");
        let _speaker = UnixListener::bind(at("speaker.sock")).unwrap();
        assert_eq!(found(folder.path()).await.unwrap(), at("speaker.sock"));
        let _standalone = UnixListener::bind(at("standalone.sock")).unwrap();
        let refusal = found(folder.path()).await.unwrap_err();
        assert!(refusal.contains("speaker.sock") && refusal.contains("standalone.sock"), "{refusal}");
    }

    #[test]
    fn a_time_is_told_in_two_units() {
        let told = [-5, 0, 59_999, 60_000, 11_045_600, 86_400_000, 183_845_000].map(ago);
        assert_eq!(told, ["0s", "0s", "59s", "1m 0s", "3h 4m", "1d 0h", "2d 3h"]);
    }
}
