//! The machine that answers for addresses, and announces them.
//!
//! **Answers.** A question for an address that is to be answered on the interface that it came in on is answered at once,
//! with that interface's MAC. **Announcements.** On taking an address, on a link that comes up, appears or gets another MAC:
//! at 0, 1.1, 2.2, 3.3 and 4.4 s, as MetalLB does; for IPv4 a request and a reply, for IPv6 an advertisement. A link gets
//! at most [`GRATUITOUS_BURST`] + [`GRATUITOUS_PER_SECOND`] × t such frames within t seconds, and first rounds go first: the
//! first round of 1,000 IPv4 addresses takes 2 s. **Conflicts.** Somebody else's claim to an address is told, and answered
//! with one announcement, at most once in [`DEFENCE`] for each address, so that two who both think they are right don't
//! flood. Nothing is sent on losing an address: the new owner announces it.
//!
//! Sockets are asked for only while there is something to answer for, so a node without layer 2 needs no privilege.

mod port;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use port::Link;
pub use schedule::{GRATUITOUS_BURST, GRATUITOUS_PER_SECOND};

use super::Exclusion;
use super::packet::{Advertisement, Arp, Frame, Mac, Operation, Packet, Solicitation, decode};
use crate::types::InterfaceSet;
use port::Port;

/// How long nothing is said against further claims to the same address (RFC 5227 2.4 (c)).
pub const DEFENCE: Duration = Duration::from_secs(10);

/// What a responder is set up with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Interfaces that are left alone.
    pub excluded: Exclusion,
    /// How often addresses are announced again for as long as they are owned; `None`: never (`--gratuitous-arp-interval`).
    pub gratuitous_interval: Option<Duration>,
}

/// What happens to a responder.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Addresses to answer for from now on, and on which interfaces; `None`: no more.
    Addresses(Vec<(IpAddr, Option<InterfaceSet>)>),
    /// A frame came in on this interface.
    Frame {
        /// The interface's index.
        interface: u32,
        /// The frame, with its Ethernet header.
        octets: &'a [u8],
    },
    /// All interfaces there are, as they are now.
    Links(&'a [Link]),
    /// A socket that was asked for is open after it couldn't be, or failed: what it missed is made up for.
    Reopened {
        /// The interface's index.
        interface: u32,
        /// Which of its sockets.
        socket: Socket,
    },
}

/// What a responder wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing has to be heard any more. Groups that were joined for it are left.
    Close {
        /// The interface's index.
        interface: u32,
        /// Which of its sockets.
        socket: Socket,
    },
    /// Something worth telling.
    Event(Event),
    /// Join a multicast group, so that switches and the interface let its packets through.
    Join {
        /// The interface's index.
        interface: u32,
        /// The group.
        group: Ipv6Addr,
    },
    /// Leave it.
    Leave {
        /// The interface's index.
        interface: u32,
        /// The group.
        group: Ipv6Addr,
    },
    /// Frames of this kind have to be heard from now on.
    Open {
        /// The interface's index.
        interface: u32,
        /// Which of its sockets.
        socket: Socket,
    },
    /// Send a frame; one that can't be sent is lost.
    Send {
        /// The interface's index.
        interface: u32,
        /// The address that it is about.
        address: IpAddr,
        /// What it is for.
        purpose: Purpose,
        /// The frame, with its Ethernet header.
        frame: Vec<u8>,
    },
}

/// What is worth a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interface begins or ceases to answer at all.
    Answering {
        /// Its name.
        interface: Arc<str>,
        /// Whether it answers now.
        now: bool,
    },
    /// Somebody else claims an address; told at most once in 10 s for each.
    Conflict {
        /// The name of the interface where.
        interface: Arc<str>,
        /// The address.
        address: IpAddr,
        /// The station that claims it.
        claimant: Mac,
    },
    /// The interfaces that an address is limited to aren't there, or can't answer: nobody does.
    NoInterface {
        /// The address.
        address: IpAddr,
        /// The interfaces.
        wanted: InterfaceSet,
        /// Whether that was so as soon as the address was to be answered for.
        from_the_first: bool,
    },
}

/// What a frame is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To tell everybody.
    Announcement,
    /// To answer one who asked.
    Response,
}

/// The two packet sockets of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Socket {
    /// For ARP.
    Arp,
    /// For Neighbor Discovery.
    Ndp,
}

impl Socket {
    /// The one for an address.
    pub const fn of(address: IpAddr) -> Socket {
        match address {
            IpAddr::V4(_) => Socket::Arp,
            IpAddr::V6(_) => Socket::Ndp,
        }
    }
}

/// What was heard and said about an address since it is answered for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Questions for it.
    pub requests: u64,
    /// Answers sent.
    pub responses: u64,
    /// Announcing frames sent.
    pub gratuitous: u64,
}

/// An address to answer for.
#[derive(Debug)]
struct Claim {
    interfaces: InterfaceSet,
    counters: Counters,
    defended: Option<Instant>,
    /// It was told that no interface answers.
    dark: bool,
    /// Whether an interface answers was looked at before.
    judged: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Responder {
    settings: Settings,
    ports: BTreeMap<u32, Port>,
    claims: BTreeMap<IpAddr, Claim>,
    outputs: VecDeque<Output>,
}

impl Responder {
    /// Without links and addresses.
    pub fn new(settings: Settings) -> Responder {
        Responder { settings, ..Responder::default() }
    }

    /// Takes what has happened.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Addresses(changes) => {
                for (address, interfaces) in changes {
                    self.set_address(now, address, interfaces);
                }
            }
            Input::Frame { interface, octets } => {
                if let Ok(frame) = decode(octets) {
                    self.frame(now, interface, &frame);
                }
            }
            Input::Links(links) => self.set_links(now, links),
            Input::Reopened { interface, socket } => self.reopened(now, interface, socket),
        }
    }

    /// Sends the announcements that are due, as far as the rate allows.
    pub fn handle_timeout(&mut self, now: Instant) {
        for port in self.ports.values_mut() {
            while let Some(address) = port.schedule.due(now) {
                let frames = announcement(port, address);
                if !port.pace.take(now, u32::try_from(frames.len()).unwrap_or(u32::MAX)) {
                    break;
                }
                port.schedule.announced(address, now, self.settings.gratuitous_interval);
                let (interface, purpose) = (port.link.index, Purpose::Announcement);
                self.outputs.extend(frames.into_iter().map(|frame| Output::Send {
                    interface,
                    address,
                    purpose,
                    frame,
                }));
            }
        }
    }

    /// What is to be done next; to be asked until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Responder::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let due = |port: &Port| {
            let due = port.schedule.next()?;
            Some(port.pace.next().map_or(due, |free| free.max(due)))
        };
        self.ports.values().filter_map(due).min()
    }

    /// A frame of [`Output::Send`] has left.
    pub fn count_sent(&mut self, address: IpAddr, purpose: Purpose) {
        let Some(claim) = self.claims.get_mut(&address) else { return };
        let counter = match purpose {
            Purpose::Announcement => &mut claim.counters.gratuitous,
            Purpose::Response => &mut claim.counters.responses,
        };
        *counter = counter.saturating_add(1);
    }

    /// The addresses to answer for, with their counters.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, Counters)> {
        self.claims.iter().map(|(address, claim)| (*address, claim.counters))
    }

    /// The names of the interfaces that answer for an address.
    pub fn answering(&self, address: IpAddr) -> impl Iterator<Item = &Arc<str>> {
        self.ports.values().filter(move |port| port.served().contains(&address)).map(|port| &port.link.name)
    }

    fn set_address(&mut self, now: Instant, address: IpAddr, interfaces: Option<InterfaceSet>) {
        match interfaces {
            None => drop(self.claims.remove(&address)),
            Some(interfaces) => match self.claims.get_mut(&address) {
                Some(claim) => claim.interfaces = interfaces,
                None => {
                    let counters = Counters::default();
                    self.claims.insert(
                        address,
                        Claim { interfaces, counters, defended: None, dark: false, judged: false },
                    );
                }
            },
        }
        let claim = self.claims.get(&address);
        for port in self.ports.values_mut() {
            let before = port.served().is_empty();
            if claim.is_some_and(|claim| port.could_serve(address, &claim.interfaces)) {
                if port.serve(address, &mut self.outputs) && port.link.carrier {
                    port.schedule.restart(address, now);
                }
            } else {
                port.stop(address, &mut self.outputs);
            }
            tell_answering(port, before, &mut self.outputs);
        }
        self.tell_dark(address);
    }

    fn set_links(&mut self, now: Instant, links: &[Link]) {
        let gone = self.ports.extract_if(.., |index, _| !links.iter().any(|link| link.index == *index));
        for (_, mut port) in gone {
            let before = port.served().is_empty();
            for address in port.served().clone() {
                port.stop(address, &mut self.outputs);
            }
            tell_answering(&port, before, &mut self.outputs);
        }
        for link in links {
            let excluded = &self.settings.excluded;
            let (port, mut again) = match self.ports.entry(link.index) {
                std::collections::btree_map::Entry::Vacant(slot) => {
                    (slot.insert(Port::new(link.clone(), excluded)), true)
                }
                std::collections::btree_map::Entry::Occupied(slot) => {
                    let port = slot.into_mut();
                    if port.link == *link {
                        continue;
                    }
                    let again = port.set_link(link.clone(), excluded);
                    (port, again)
                }
            };
            again &= port.link.carrier;
            let before = port.served().is_empty();
            for (address, claim) in &self.claims {
                if !port.could_serve(*address, &claim.interfaces) {
                    port.stop(*address, &mut self.outputs);
                } else if (port.serve(*address, &mut self.outputs) && port.link.carrier) || again {
                    port.schedule.restart(*address, now);
                }
            }
            tell_answering(port, before, &mut self.outputs);
        }
        let limited = self.claims.iter().filter(|(_, claim)| claim.interfaces != InterfaceSet::Any);
        for address in limited.map(|(address, _)| *address).collect::<Vec<IpAddr>>() {
            self.tell_dark(address);
        }
    }

    fn reopened(&mut self, now: Instant, interface: u32, socket: Socket) {
        let Some(port) = self.ports.get_mut(&interface) else { return };
        if socket == Socket::Ndp {
            self.outputs.extend(port.groups().map(|group| Output::Join { interface, group }));
        }
        if port.link.carrier {
            for address in port.served_by(socket).copied().collect::<Vec<IpAddr>>() {
                port.schedule.restart(address, now);
            }
        }
    }

    /// Tells, once, that none of the interfaces that an address is limited to answers.
    fn tell_dark(&mut self, address: IpAddr) {
        let answered = self.answering(address).next().is_some();
        let Some(claim) = self.claims.get_mut(&address) else { return };
        let dark = !answered && claim.interfaces != InterfaceSet::Any;
        if dark && !claim.dark {
            let (wanted, from_the_first) = (claim.interfaces.clone(), !claim.judged);
            self.outputs.push_back(Output::Event(Event::NoInterface { address, wanted, from_the_first }));
        }
        (claim.dark, claim.judged) = (dark, true);
    }

    fn frame(&mut self, now: Instant, interface: u32, frame: &Frame) {
        match &frame.packet {
            Packet::Arp(arp) => self.arp(now, interface, frame, arp),
            Packet::Solicitation(solicitation) => self.solicitation(interface, frame, solicitation),
            Packet::Advertisement(Advertisement { target, target_mac, .. }) => {
                let claimant = target_mac.unwrap_or(frame.source);
                self.claimed(now, interface, IpAddr::V6(*target), claimant);
            }
        }
    }

    fn arp(&mut self, now: Instant, interface: u32, frame: &Frame, arp: &Arp) {
        if arp.sender_ip != Ipv4Addr::UNSPECIFIED {
            self.claimed(now, interface, IpAddr::V4(arp.sender_ip), arp.sender_mac);
        }
        // Our own announcement, heard on another interface of ours, is no question.
        let ours = arp.sender_ip == arp.target_ip && self.is_own(arp.sender_mac);
        if arp.operation != Operation::Request || ours {
            return;
        }
        let Some(port) = self.ports.get(&interface) else { return };
        let (Some(mac), address) = (port.arp, IpAddr::V4(arp.target_ip)) else { return };
        let for_us = frame.destination == Mac::BROADCAST || frame.destination == mac;
        if for_us && frame.source != mac && port.served().contains(&address) {
            self.respond(interface, address, arp.reply(mac).encode(arp.sender_mac));
        }
    }

    fn solicitation(&mut self, interface: u32, frame: &Frame, solicitation: &Solicitation) {
        let Some(port) = self.ports.get(&interface) else { return };
        let (Some((mac, source)), address) = (port.ndp, IpAddr::V6(solicitation.target)) else { return };
        let for_us = frame.destination.is_multicast() || frame.destination == mac;
        let ours = frame.source == mac || solicitation.source == source;
        if for_us && !ours && port.served().contains(&address) {
            let asker = solicitation.source_mac.unwrap_or(frame.source);
            self.respond(interface, address, solicitation.reply(mac, source).encode(asker, mac));
        }
    }

    fn respond(&mut self, interface: u32, address: IpAddr, frame: Vec<u8>) {
        if let Some(claim) = self.claims.get_mut(&address) {
            claim.counters.requests = claim.counters.requests.saturating_add(1);
        }
        let purpose = Purpose::Response;
        self.outputs.push_back(Output::Send { interface, address, purpose, frame });
    }

    /// A station says that it has an address.
    fn claimed(&mut self, now: Instant, interface: u32, address: IpAddr, claimant: Mac) {
        if self.is_own(claimant) {
            return;
        }
        let (Some(port), Some(claim)) = (self.ports.get_mut(&interface), self.claims.get_mut(&address))
        else {
            return;
        };
        let rested = claim.defended.is_none_or(|last| now.saturating_duration_since(last) >= DEFENCE);
        if !port.served().contains(&address) || !rested {
            return;
        }
        claim.defended = Some(now);
        if port.link.carrier {
            port.schedule.once(address, now);
        }
        let interface = port.link.name.clone();
        self.outputs.push_back(Output::Event(Event::Conflict { interface, address, claimant }));
    }

    fn is_own(&self, mac: Mac) -> bool {
        self.ports.values().any(|port| port.link.mac == Some(mac))
    }
}

/// What announces an address on a link once.
fn announcement(port: &Port, address: IpAddr) -> Vec<Vec<u8>> {
    match (address, port.arp, port.ndp) {
        (IpAddr::V4(v4), Some(mac), _) => [Operation::Request, Operation::Reply]
            .map(|operation| Arp::gratuitous(operation, mac, v4).encode(Mac::BROADCAST))
            .to_vec(),
        (IpAddr::V6(v6), _, Some((mac, source))) => {
            vec![Advertisement::unsolicited(mac, source, v6).encode(Mac::BROADCAST, mac)]
        }
        _ => vec![],
    }
}

fn tell_answering(port: &Port, was_silent: bool, outputs: &mut VecDeque<Output>) {
    let silent = port.served().is_empty();
    if silent != was_silent {
        let interface = port.link.name.clone();
        outputs.push_back(Output::Event(Event::Answering { interface, now: !silent }));
    }
}
