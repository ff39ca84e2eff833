use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;

use socket2::{Domain, Type};

/// How many groups one socket holds: the kernel's memory for options of one (`net.core.optmem_max`) was 20 KiB for long,
/// and each membership takes some 50 octets of it.
const PER_SOCKET: usize = 200;

/// The multicast groups that are joined, by interface. The kernel tells routers and switches of them (MLD). They are held
/// by UDP sockets that are bound to no port: so no packet ever comes in there, and joining needs no privilege.
#[derive(Default)]
pub(super) struct Groups(BTreeMap<u32, Vec<Holder>>);

struct Holder {
    socket: socket2::Socket,
    groups: BTreeSet<Ipv6Addr>,
}

impl Groups {
    /// Joins a group on an interface; joining it again does nothing.
    pub(super) fn join(&mut self, interface: u32, group: Ipv6Addr) -> io::Result<()> {
        let holders = self.0.entry(interface).or_default();
        if holders.iter().any(|holder| holder.groups.contains(&group)) {
            return Ok(());
        }
        if holders.last().is_none_or(|holder| holder.groups.len() >= PER_SOCKET) {
            let socket = socket2::Socket::new(Domain::IPV6, Type::DGRAM.cloexec().nonblocking(), None)?;
            holders.push(Holder { socket, groups: BTreeSet::new() });
        }
        let Some(holder) = holders.last_mut() else { return Ok(()) };
        holder.socket.join_multicast_v6(&group, interface)?;
        holder.groups.insert(group);
        Ok(())
    }

    /// Leaves a group; where it isn't joined, that is done.
    pub(super) fn leave(&mut self, interface: u32, group: Ipv6Addr) {
        let Some(holders) = self.0.get_mut(&interface) else { return };
        for holder in holders.iter_mut().filter(|holder| holder.groups.contains(&group)) {
            holder.groups.remove(&group);
            // With the interface gone the membership is too.
            let _ = holder.socket.leave_multicast_v6(&group, interface);
        }
        holders.retain(|holder| !holder.groups.is_empty());
    }

    /// Leaves all groups of an interface.
    pub(super) fn leave_all(&mut self, interface: u32) {
        self.0.remove(&interface);
    }
}
