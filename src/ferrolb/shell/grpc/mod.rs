//! Looking into a running role: the API of `proto/ferrolb/v1`, served on a Unix socket.
//!
//! The role's main loop owns the engine, so questions reach it as messages with a place for the answer, over a bounded
//! channel: [`Inquirer`] asks, [`Desk`] answers with a snapshot, and whatever takes time is done with that elsewhere. How sessions stand, and what was sent, the *wire* thread is asked: nothing
//! is shown as sent because it was decided. Watchers read from one ring of changes; whoever falls behind the ring is cut off,
//! so that no reader costs the role time or memory.
//!
//! What this doesn't do: change anything; listen on the network.

mod convert;
mod desk;
pub mod names;
mod server;
mod socket;

#[cfg(test)]
mod tests;

pub mod client;

use std::path::{Path, PathBuf};

/// What is generated from `proto/`.
#[allow(missing_docs, clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod api {
    tonic::include_proto!("ferrolb.v1");
}

pub use desk::{Desk, Inquirer, Scope};
pub use server::{About, keep_serving};

/// The name of the socket in a state directory.
const SOCKET: &str = "ferrolb.sock";
/// Where roles in pods have their sockets, `<role>.sock`.
pub const RUN: &str = "/run/ferrolb";

/// The socket of a role that has this state directory.
pub fn socket_in(state: &Path) -> PathBuf {
    state.join(SOCKET)
}

/// Where a role serves that isn't told: in its state directory, else in [`RUN`] where that is there, as in a pod.
pub fn default_socket(role: &str, state: Option<&Path>) -> Option<PathBuf> {
    let in_run = || Path::new(RUN).is_dir().then(|| Path::new(RUN).join(format!("{role}.sock")));
    state.map(socket_in).or_else(in_run)
}
