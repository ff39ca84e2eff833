//! Layer 2: answering for service addresses with ARP and NDP, as a machine without sockets.
//!
//! What flows in: the links of this machine, the addresses that it is to answer for, frames and the time. What flows out:
//! frames to send, which links to listen on, which multicast groups to join, and events worth a log line. Who *owns* an
//! address isn't decided here but in `decide`; the [`Responder`] does what it is told.
//!
//! - [`packet`]: ARP and Neighbor Discovery, from and to octets. Total: any octets give a packet or the reason why not.
//! - [`responder`](Responder): the machine. It has the four functions that every machine here has.
//! - [`filter`]: programs for the kernel that keep foreign packets off: they pass a small superset of our addresses, and
//!   the machine is exact.
//! - [`Exclusion`]: the names of interfaces that are left alone, in MetalLB's file format.
//!
//! RFCs: 826 and 5227 (ARP; announcements and conflicts), 4861 (Neighbor Discovery: 7.1 validation, 7.2.4 to 7.2.6
//! advertisements), 4862 (5.4 duplicate address detection: answering the probes of others).
//!
//! Not done: probing before an address is taken (the election decides, and the previous owner may still be answering), IPv6
//! extension headers before a solicitation (RFC 6980 forbids fragments, and no host sends others), and anything but Ethernet.

mod exclusion;
pub mod filter;
pub mod packet;
mod responder;

pub use exclusion::{Exclusion, ExclusionError};
pub use responder::{
    Counters, Event, GRATUITOUS_BURST, GRATUITOUS_PER_SECOND, Input, Link, Output, Purpose, Responder,
    Settings, Socket,
};
