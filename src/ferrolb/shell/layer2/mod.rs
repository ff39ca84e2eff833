//! The *layer2* thread: an OS thread of its own that answers ARP and Neighbor Discovery, and announces addresses.
//!
//! It isn't the *wire* thread, so that a storm of ARP requests can't delay a BGP session, nor a full RIB an answer. What
//! flows in, over a bounded channel: changes of the addresses to answer for, and questions. A full channel makes the sender
//! wait, so that nothing desired gets lost. What flows out: [`Event`]s, over a bounded channel of the receiver's; what doesn't fit
//! into that is dropped.
//!
//! Inside: the machine of `ferrolb_core::layer2`, a packet socket for ARP and one for Neighbor Discovery on each interface that
//! answers (`tap`), each read by a task of its own; sockets that hold the multicast groups (`groups`); and one task that
//! takes commands, changes of interfaces and the machine's deadlines (`control`). They share the machine without locks, being
//! on one thread; a borrow of it never lasts over an `await`.
//!
//! Until there is the first address to answer for, no interface is looked at and no socket opened: a node that only speaks
//! BGP needs no privilege for this.

mod control;
mod groups;
mod tap;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use ferrolb_core::layer2::{self, Counters, Settings, Socket};
use ferrolb_core::types::InterfaceSet;
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait.
const COMMANDS: usize = 64;

/// Something worth a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The machine says it.
    Machine(layer2::Event),
    /// A socket can't be opened, or has failed; it is tried again, and what it is for isn't answered until then.
    SocketFailed {
        /// The interface's name, or its number where it has none any more.
        interface: Arc<str>,
        /// What it is for.
        socket: Socket,
        /// Why.
        error: String,
    },
    /// It is open after all.
    SocketOpen {
        /// The interface's name, or its number where it has none any more.
        interface: Arc<str>,
        /// What it is for.
        socket: Socket,
    },
    /// A multicast group can't be joined: who asks through a switch that follows memberships may not be heard.
    GroupFailed {
        /// The interface's name, or its number where it has none any more.
        interface: Arc<str>,
        /// Why.
        error: String,
    },
    /// The kernel doesn't tell which interfaces there are; it is asked again.
    LinksUnknown {
        /// Why.
        error: String,
    },
}

/// An address that is answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressStatus {
    /// The address.
    pub address: IpAddr,
    /// The names of the interfaces that answer; empty: none can at the moment.
    pub interfaces: Vec<Arc<str>>,
    /// What was heard and said about it.
    pub counters: Counters,
}

/// The layer2 thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the layer2 thread has ended")]
pub struct Layer2Ended;

/// Talks to the layer2 thread. Dropping it ends the thread.
pub struct Layer2Handle {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

/// Asks the layer2 thread where it stands; changes nothing.
#[derive(Clone)]
pub struct Layer2Observer {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Apply(Vec<(IpAddr, Option<InterfaceSet>)>),
    Addresses(oneshot::Sender<Vec<AddressStatus>>),
    Shutdown,
}

/// Starts the layer2 thread, with nothing to answer for.
///
/// # Errors
/// The system gives no thread, or no event queue.
pub fn spawn(settings: Settings, events: mpsc::Sender<Event>) -> io::Result<Layer2Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (commands, orders) = mpsc::channel(COMMANDS);
    let thread = std::thread::Builder::new().name("layer2".to_owned()).spawn(move || {
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, control::run(settings, events, orders));
    })?;
    Ok(Layer2Handle { commands, thread })
}

impl Layer2Handle {
    /// Changes what is answered for, as one change: addresses, and the interfaces that answer; `None`: no more. Telling the
    /// same twice does nothing.
    ///
    /// # Errors
    /// The thread has ended.
    pub async fn apply(&self, changes: Vec<(IpAddr, Option<InterfaceSet>)>) -> Result<(), Layer2Ended> {
        self.commands.send(Command::Apply(changes)).await.map_err(|_| Layer2Ended)
    }

    /// For those who only look.
    pub fn observer(&self) -> Layer2Observer {
        Layer2Observer { commands: self.commands.clone() }
    }

    /// Answers no more, leaves all groups and ends the thread. Nothing is sent: the next owner announces itself.
    pub async fn shutdown(self) {
        // It may have ended already: all the better.
        let _ = self.commands.send(Command::Shutdown).await;
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the layer2 thread has panicked");
        }
    }
}

impl Layer2Observer {
    /// The addresses that are answered for, in order.
    ///
    /// # Errors
    /// The thread has ended.
    pub async fn addresses(&self) -> Result<Vec<AddressStatus>, Layer2Ended> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Addresses(answer)).await.map_err(|_| Layer2Ended)?;
        answered.await.map_err(|_| Layer2Ended)
    }
}
