//! Asking a running role, for the commands that do.

use std::path::PathBuf;

use tonic::{Response, Status};

use super::args::SocketArgs;
use crate::shell::grpc::SOCKET;
use crate::shell::grpc::api::Route;
use crate::shell::grpc::client::{self, Client};

impl SocketArgs {
    /// The socket that they name.
    ///
    /// # Errors
    /// They name none.
    fn path(&self) -> Result<PathBuf, String> {
        match (&self.socket, &self.state) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(state)) => Ok(state.join(SOCKET)),
            (None, None) => {
                Err("say which running role: --socket PATH, or --state DIR of a standalone".to_owned())
            }
        }
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
    let path = socket.path()?;
    runtime()?.block_on(async {
        let mut client = client::connect(&path).await?;
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
    let path = socket.path()?;
    runtime()?.block_on(async { with(client::connect(&path).await?).await })
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
    use super::*;

    #[test]
    fn a_time_is_told_in_two_units() {
        let told = [-5, 0, 59_999, 60_000, 11_045_600, 86_400_000, 183_845_000].map(ago);
        assert_eq!(told, ["0s", "0s", "59s", "1m 0s", "3h 4m", "1d 0h", "2d 3h"]);
    }
}
