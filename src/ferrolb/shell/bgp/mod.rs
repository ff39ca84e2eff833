//! The *wire* thread: an OS thread of its own that owns all BGP sessions.
//!
//! What flows in, over a bounded channel: [`Update`]s with the desired state (sending one twice does nothing) and
//! questions. A full channel makes the sender wait, so that nothing desired gets lost. What flows out: [`Event`]s,
//! over a bounded channel of the receiver's; what doesn't fit into that is dropped and counted, since no reader may hold up a
//! session, and [`WireObserver::sessions`] tells the state at any time.
//!
//! Inside: one task a session (`session`) with its machine and socket, one task that takes commands (`control`), and state
//! that they share without locks, being on one thread. A borrow of it never lasts over an `await`.
//!
//! What this doesn't do: decide what is announced, or listen.

mod control;
mod link;
mod measure;
mod session;
mod spec;

#[cfg(test)]
mod tests;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ferrolb_core::bgp::local::InterfaceAddress;
use ferrolb_core::types::NodeName;
use tokio::sync::{mpsc, oneshot, watch};

pub use spec::{Event, GroupChange, Messages, SessionSpec, SessionStatus, Update, Verdicts};

/// How many commands may wait.
const COMMANDS: usize = 64;
/// How long a shutdown may take: the process has to be gone within a second of SIGTERM.
const SHUTDOWN: Duration = Duration::from_millis(800);

/// What the wire thread starts with.
pub struct WireConfig {
    /// The node's name.
    pub node: NodeName,
    /// The node's IPv4 InternalIP.
    pub internal_ipv4: Option<Ipv4Addr>,
    /// The addresses of the node's interfaces; next hops follow their changes.
    pub addresses: watch::Receiver<Arc<[InterfaceAddress]>>,
    /// Takes the events.
    pub events: mpsc::Sender<Event>,
    /// Is told how long it took from when a change was noticed until the first session's socket had taken all that
    /// followed from it; of changes that no session had to be sent anything for, nothing is told. It mustn't block.
    pub written: Box<dyn Fn(Duration) + Send>,
}

/// The wire thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wire thread has ended")]
pub struct WireEnded;

/// Talks to the wire thread. Dropping it shuts the thread down.
pub struct WireHandle {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

enum Command {
    Apply(Box<Update>),
    Sessions { routes: bool, answer: oneshot::Sender<Vec<SessionStatus>> },
    Shutdown { text: String },
}

/// Starts the wire thread, without sessions.
///
/// # Errors
/// The system gives no thread, or no event queue.
pub fn spawn(config: WireConfig) -> io::Result<WireHandle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (commands, orders) = mpsc::channel(COMMANDS);
    let thread = std::thread::Builder::new().name("wire".to_owned()).spawn(move || {
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, control::run(config, orders));
    })?;
    Ok(WireHandle { commands, thread })
}

/// Asks the wire thread where it stands; changes nothing.
#[derive(Clone)]
pub struct WireObserver {
    commands: mpsc::Sender<Command>,
}

impl WireObserver {
    /// Where the sessions stand, by name; with `routes`, also what each peer has.
    ///
    /// # Errors
    /// The thread has ended.
    pub async fn sessions(&self, routes: bool) -> Result<Vec<SessionStatus>, WireEnded> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Sessions { routes, answer }).await.map_err(|_| WireEnded)?;
        answered.await.map_err(|_| WireEnded)
    }
}

impl WireHandle {
    /// Changes the desired state; updates are applied in the order in which they were sent.
    ///
    /// # Errors
    /// The thread has ended.
    pub async fn apply(&self, update: Update) -> Result<(), WireEnded> {
        self.commands.send(Command::Apply(Box::new(update))).await.map_err(|_| WireEnded)
    }

    /// For those who only look.
    pub fn observer(&self) -> WireObserver {
        WireObserver { commands: self.commands.clone() }
    }

    /// Ends all sessions with Cease/Administrative Shutdown and the thread with them, within a second. The text is for
    /// the peers' operators (RFC 9003); it may be empty.
    pub async fn shutdown(self, text: &str) {
        // It may have ended already: all the better.
        let _ = self.commands.send(Command::Shutdown { text: text.to_owned() }).await;
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the wire thread has panicked");
        }
    }
}
