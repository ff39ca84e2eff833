//! What the tasks share, and the task that takes commands.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_core::layer2::{Input, Link, Output, Responder, Settings, Socket};
use ferrolb_core::types::InterfaceSet;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::groups::Groups;
use super::tap::{Filters, Tap};
use super::{AddressStatus, Command, Event};
use crate::shell::net::follow_links;

/// How long until a socket that can't be opened, or failed, is tried again, and the kernel asked again for its interfaces.
const RETRY: Duration = Duration::from_secs(1);
/// The same where the interface was only put down.
const SOON: Duration = Duration::from_millis(100);
/// The longest frame that means anything to us: no option of Neighbor Discovery comes near.
const FRAME: usize = 1514;
/// How many frames one socket may bring before others get their turn.
const TURN: usize = 64;

/// What all tasks of the thread share.
struct Shared {
    state: RefCell<State>,
    /// Rung where the control task has to look again: at a new deadline, or a failed socket.
    bell: Notify,
}

struct State {
    responder: Responder,
    filters: Filters,
    /// The sockets that are wanted.
    sockets: BTreeMap<(u32, Socket), Slot>,
    groups: Groups,
    /// Whether the last group could be joined.
    joining: bool,
    links: Arc<[Link]>,
    events: mpsc::Sender<Event>,
}

/// A socket that is wanted.
enum Slot {
    Open {
        tap: Rc<Tap>,
        _reader: AbortOnDropHandle<()>,
    },
    /// Tried again at that time; `told`: it is known that it isn't open.
    Failed {
        retry: Instant,
        told: bool,
    },
}

/// Takes commands until the shutdown, or until nobody can give any.
pub(super) async fn run(
    settings: Settings,
    events: mpsc::Sender<Event>,
    mut commands: mpsc::Receiver<Command>,
) {
    let state = State {
        responder: Responder::new(settings),
        filters: Filters::new(vec![]),
        sockets: BTreeMap::new(),
        groups: Groups::default(),
        joining: true,
        links: Arc::from([]),
        events,
    };
    let shared = Rc::new(Shared { state: RefCell::new(state), bell: Notify::new() });
    let mut links: Option<watch::Receiver<Arc<[Link]>>> = None;
    let mut ask_links: Option<Instant> = None;
    loop {
        let deadline = [shared.next_timeout(), ask_links].into_iter().flatten().min();
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Apply(changes)) => {
                    shared.apply(changes);
                    if links.is_none() && ask_links.is_none() && shared.is_used() {
                        ask_links = Some(Instant::now());
                    }
                }
                Some(Command::Addresses(answer)) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(shared.status());
                }
                Some(Command::Shutdown) | None => break,
            },
            Some(changed) = changed(&mut links) => match changed {
                Some(now) => shared.set_links(now),
                // The task behind it has ended: ask again.
                None => {
                    links = None;
                    ask_links = Some(Instant::now() + RETRY);
                }
            },
            () = shared.bell.notified() => {}
            () = until(deadline) => {}
        }
        if ask_links.is_some_and(|due| due <= Instant::now()) {
            ask_links = None;
            match follow_links().await {
                Ok(mut receiver) => {
                    let now = receiver.borrow_and_update().clone();
                    shared.set_links(now);
                    links = Some(receiver);
                }
                Err(error) => {
                    shared.state.borrow().tell(Event::LinksUnknown { error: error.to_string() });
                    ask_links = Some(Instant::now() + RETRY);
                }
            }
        }
        shared.handle_timeout();
    }
}

/// The interfaces after a change; `Some(None)`: nobody tells any more; `None` at once where nobody is asked.
async fn changed(links: &mut Option<watch::Receiver<Arc<[Link]>>>) -> Option<Option<Arc<[Link]>>> {
    let receiver = links.as_mut()?;
    Some(match receiver.changed().await {
        Ok(()) => Some(receiver.borrow_and_update().clone()),
        Err(_) => None,
    })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    fn next_timeout(&self) -> Option<Instant> {
        let state = self.state.borrow();
        let retries = state.sockets.values().filter_map(|slot| match slot {
            Slot::Failed { retry, .. } => Some(*retry),
            Slot::Open { .. } => None,
        });
        retries.chain(state.responder.next_timeout()).min()
    }

    fn is_used(&self) -> bool {
        self.state.borrow().responder.addresses().next().is_some()
    }

    fn apply(self: &Rc<Self>, changes: Vec<(IpAddr, Option<InterfaceSet>)>) {
        let mut state = self.state.borrow_mut();
        state.responder.handle(Instant::now(), Input::Addresses(changes));
        let addresses: Vec<IpAddr> = state.responder.addresses().map(|(address, _)| address).collect();
        state.filters = Filters::new(addresses);
        let open = state.sockets.iter().filter_map(|(key, slot)| match slot {
            Slot::Open { tap, .. } => Some((*key, tap.set_filter(&state.filters).err()?)),
            Slot::Failed { .. } => None,
        });
        let failed: Vec<((u32, Socket), std::io::Error)> = open.collect();
        for ((interface, socket), error) in failed {
            state.fail(interface, socket, &error);
        }
        self.perform(&mut state);
    }

    fn set_links(self: &Rc<Self>, links: Arc<[Link]>) {
        let mut state = self.state.borrow_mut();
        state.links = links.clone();
        state.responder.handle(Instant::now(), Input::Links(&links));
        self.perform(&mut state);
    }

    fn frame(self: &Rc<Self>, interface: u32, octets: &[u8]) {
        let mut state = self.state.borrow_mut();
        let before = state.responder.next_timeout();
        state.responder.handle(Instant::now(), Input::Frame { interface, octets });
        self.perform(&mut state);
        if state.responder.next_timeout() != before {
            self.bell.notify_one();
        }
    }

    fn handle_timeout(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        let now = Instant::now();
        let due = state.sockets.iter().filter_map(|(key, slot)| match slot {
            Slot::Failed { retry, told } if *retry <= now => Some((*key, *told)),
            _ => None,
        });
        for ((interface, socket), told) in due.collect::<Vec<((u32, Socket), bool)>>() {
            if self.open(&mut state, interface, socket) {
                if told {
                    let interface = state.name(interface);
                    state.tell(Event::SocketOpen { interface, socket });
                }
                state.responder.handle(now, Input::Reopened { interface, socket });
            }
        }
        state.responder.handle_timeout(now);
        self.perform(&mut state);
    }

    fn status(&self) -> Vec<AddressStatus> {
        let responder = &self.state.borrow().responder;
        let status = |(address, counters)| AddressStatus {
            address,
            interfaces: responder.answering(address).cloned().collect(),
            counters,
        };
        responder.addresses().map(status).collect()
    }

    /// Does what the machine wants done.
    fn perform(self: &Rc<Self>, state: &mut State) {
        while let Some(output) = state.responder.poll_output() {
            match output {
                Output::Open { interface, socket } => {
                    self.open(state, interface, socket);
                }
                Output::Close { interface, socket } => {
                    state.sockets.remove(&(interface, socket));
                    if socket == Socket::Ndp {
                        state.groups.leave_all(interface);
                    }
                }
                Output::Join { interface, group } => {
                    let joined = state.groups.join(interface, group);
                    // One after the other fails for the same reason.
                    let was_well = std::mem::replace(&mut state.joining, joined.is_ok());
                    if let (Err(error), true) = (joined, was_well) {
                        let interface = state.name(interface);
                        state.tell(Event::GroupFailed { interface, error: error.to_string() });
                    }
                }
                Output::Leave { interface, group } => state.groups.leave(interface, group),
                Output::Event(event) => state.tell(Event::Machine(event)),
                Output::Send { interface, address, purpose, frame } => {
                    let Some(Slot::Open { tap, .. }) = state.sockets.get(&(interface, Socket::of(address)))
                    else {
                        continue;
                    };
                    // A frame that doesn't fit into the interface's queue is lost, as on any network, and not counted.
                    if tap.send(&frame).is_ok() {
                        state.responder.count_sent(address, purpose);
                    }
                }
            }
        }
    }

    /// Opens a socket and begins to read it; whether that went well.
    fn open(self: &Rc<Self>, state: &mut State, interface: u32, socket: Socket) -> bool {
        match Tap::open(interface, socket, &state.filters) {
            Ok(tap) => {
                let tap = Rc::new(tap);
                let reading = read(self.clone(), interface, socket, tap.clone());
                let reader = AbortOnDropHandle::new(tokio::task::spawn_local(reading));
                state.sockets.insert((interface, socket), Slot::Open { tap, _reader: reader });
                true
            }
            Err(error) => {
                state.fail(interface, socket, &error);
                false
            }
        }
    }
}

impl State {
    /// A socket is of no use: it is tried again later. Told once until it is open. That an interface was put down isn't
    /// told: it is tried again soon, unless the interface isn't wanted any more by then.
    fn fail(&mut self, interface: u32, socket: Socket, error: &std::io::Error) {
        let was_told =
            matches!(self.sockets.get(&(interface, socket)), Some(Slot::Failed { told: true, .. }));
        let first = !matches!(self.sockets.get(&(interface, socket)), Some(Slot::Failed { .. }));
        let quiet = first && error.raw_os_error() == Some(libc::ENETDOWN);
        let retry = Instant::now() + if quiet { SOON } else { RETRY };
        self.sockets.insert((interface, socket), Slot::Failed { retry, told: !quiet });
        if socket == Socket::Ndp {
            // They are joined again with the socket: the interface may be another one by then.
            self.groups.leave_all(interface);
        }
        if !quiet && !was_told {
            let interface = self.name(interface);
            self.tell(Event::SocketFailed { interface, socket, error: error.to_string() });
        }
    }

    fn name(&self, interface: u32) -> Arc<str> {
        let link = self.links.iter().find(|link| link.index == interface);
        link.map_or_else(|| interface.to_string().into(), |link| link.name.clone())
    }

    fn tell(&self, event: Event) {
        // No reader may hold up an answer.
        let _ = self.events.try_send(event);
    }
}

/// Reads a socket until it fails.
async fn read(shared: Rc<Shared>, interface: u32, socket: Socket, tap: Rc<Tap>) {
    let mut buffer = [0; FRAME];
    let error = loop {
        let mut turn = Ok(());
        for _ in 0..TURN {
            match tap.receive(&mut buffer).await {
                Ok(length) => shared.frame(interface, buffer.get(..length).unwrap_or_default()),
                Err(error) => {
                    turn = Err(error);
                    break;
                }
            }
        }
        match turn {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    let mut state = shared.state.borrow_mut();
    // This task ends with it; only its own socket counts, not a successor.
    let own = matches!(state.sockets.get(&(interface, socket)), Some(Slot::Open { tap: t, .. }) if Rc::ptr_eq(t, &tap));
    if own {
        state.fail(interface, socket, &error);
        shared.bell.notify_one();
    }
}
