use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::schedule::{Pace, Schedule};
use super::{Exclusion, Output, Socket};
use crate::layer2::packet::{Mac, solicited_node_group};
use crate::types::InterfaceSet;

/// An interface of this machine, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of it.
    pub index: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Its Ethernet address; `None`: it isn't Ethernet.
    pub mac: Option<Mac>,
    /// An administrator has put it up (`IFF_UP`).
    pub up: bool,
    /// It has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// How often it has got a carrier so far: tells of one that came and went between two looks.
    pub carrier_ups: u32,
    /// It can broadcast (`IFF_BROADCAST`).
    pub broadcast: bool,
    /// ARP was turned off (`IFF_NOARP`).
    pub no_arp: bool,
    /// It belongs to a bond, a bridge or a VRF, which answers in its place.
    pub enslaved: bool,
    /// Its link-local IPv6 address, once that is known to be no duplicate; `None`: no IPv6 there.
    pub link_local: Option<Ipv6Addr>,
}

impl Link {
    /// The station that answers here, unless the interface is left alone.
    fn station(&self, excluded: &Exclusion) -> Option<Mac> {
        let usable = self.up && !self.enslaved && !self.no_arp && !excluded.matches(&self.name);
        self.mac.filter(|_| usable)
    }
}

/// A link, and what we do there.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) link: Link,
    /// The station that answers for IPv4.
    pub(super) arp: Option<Mac>,
    /// The station that answers for IPv6, and its own address.
    pub(super) ndp: Option<(Mac, Ipv6Addr)>,
    pub(super) schedule: Schedule,
    pub(super) pace: Pace,
    served: BTreeSet<IpAddr>,
    /// How many IPv6 addresses each group is joined for.
    groups: BTreeMap<Ipv6Addr, usize>,
}

impl Port {
    pub(super) fn new(link: Link, excluded: &Exclusion) -> Port {
        let mut port = Port {
            link: Link { up: false, ..link.clone() },
            arp: None,
            ndp: None,
            schedule: Schedule::default(),
            pace: Pace::default(),
            served: BTreeSet::new(),
            groups: BTreeMap::new(),
        };
        port.set_link(link, excluded);
        port
    }

    /// Takes the link as it is now; whether what it serves has to be announced again.
    pub(super) fn set_link(&mut self, link: Link, excluded: &Exclusion) -> bool {
        let old = std::mem::replace(&mut self.link, link);
        let link = &self.link;
        let station = link.station(excluded);
        self.arp = station.filter(|_| link.broadcast);
        self.ndp = station.zip(link.link_local);
        if !link.carrier {
            self.schedule.clear();
        }
        let again = !old.up || !old.carrier || old.carrier_ups != link.carrier_ups || old.mac != link.mac;
        again && link.carrier
    }

    /// Whether it could answer for an address with these interfaces.
    pub(super) fn could_serve(&self, address: IpAddr, interfaces: &InterfaceSet) -> bool {
        let able = match address {
            IpAddr::V4(_) => self.arp.is_some(),
            IpAddr::V6(_) => self.ndp.is_some(),
        };
        able && interfaces.contains(&self.link.name)
    }

    /// The addresses that it answers for.
    pub(super) fn served(&self) -> &BTreeSet<IpAddr> {
        &self.served
    }

    /// Those of one family.
    pub(super) fn served_by(&self, socket: Socket) -> impl Iterator<Item = &IpAddr> {
        // All IPv4 addresses come before all IPv6 addresses.
        let first_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match socket {
            Socket::Arp => self.served.range(..first_v6),
            Socket::Ndp => self.served.range(first_v6..),
        }
    }

    /// Begins to answer for an address; whether it didn't yet.
    pub(super) fn serve(&mut self, address: IpAddr, outputs: &mut impl Extend<Output>) -> bool {
        if !self.served.insert(address) {
            return false;
        }
        let interface = self.link.index;
        let socket = Socket::of(address);
        if self.served_by(socket).nth(1).is_none() {
            outputs.extend([Output::Open { interface, socket }]);
        }
        if let IpAddr::V6(v6) = address {
            let group = solicited_node_group(v6);
            let members = self.groups.entry(group).or_default();
            *members = members.saturating_add(1);
            if *members == 1 {
                outputs.extend([Output::Join { interface, group }]);
            }
        }
        true
    }

    /// Answers no more; whether it did.
    pub(super) fn stop(&mut self, address: IpAddr, outputs: &mut impl Extend<Output>) -> bool {
        if !self.served.remove(&address) {
            return false;
        }
        self.schedule.remove(address);
        let interface = self.link.index;
        if let IpAddr::V6(v6) = address {
            let group = solicited_node_group(v6);
            if let Some(members) = self.groups.get_mut(&group) {
                *members = members.saturating_sub(1);
                if *members == 0 {
                    self.groups.remove(&group);
                    outputs.extend([Output::Leave { interface, group }]);
                }
            }
        }
        let socket = Socket::of(address);
        if self.served_by(socket).next().is_none() {
            outputs.extend([Output::Close { interface, socket }]);
        }
        true
    }

    /// The groups that are joined.
    pub(super) fn groups(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.groups.keys().copied()
    }
}
