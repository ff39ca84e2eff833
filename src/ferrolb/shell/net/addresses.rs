use std::io;
use std::sync::Arc;

use ferrolb_core::bgp::local::InterfaceAddress;
use futures::future::FutureExt;
use futures::stream::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::watch;

use super::follow::{Question, follow};

/// The addresses of this node's interfaces in the kernel's order, and from then on each change of them. The task behind
/// it ends when nobody holds a receiver any more.
///
/// # Errors
/// The kernel refuses a netlink socket, or gives no whole answer. Later failures are logged, and tried again.
pub async fn follow_addresses() -> io::Result<watch::Receiver<Arc<[InterfaceAddress]>>> {
    follow(Question {
        about: "interface addresses",
        notices: &[MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr],
        ask: |handle| dump(handle).boxed(),
    })
    .await
}

/// All addresses, as they are now.
pub(super) async fn dump(handle: Handle) -> io::Result<Vec<InterfaceAddress>> {
    let messages = handle.address().get().execute();
    let addresses = messages.try_filter_map(async |message| Ok(interface_address(&message)));
    addresses.try_collect().await.map_err(io::Error::other)
}

/// `None` for what is no address of an interface's own: some multicast and anycast entries.
fn interface_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            // All 32 of them; the header has room for 8.
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    Some(InterfaceAddress {
        interface: message.header.index,
        // On a point-to-point link, Address is the other end's.
        address: local.or(address)?,
        global: message.header.scope == AddressScope::Universe,
        tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        deprecated: flags.contains(AddressFlags::Deprecated),
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::process::Command;
    use std::time::Duration;

    use netlink_packet_route::address::AddressHeaderFlags;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn messages_are_read_with_all_their_flags() {
        let mut message = AddressMessage::default();
        assert_eq!(interface_address(&message), None);
        message.header.index = 7;
        message.header.scope = AddressScope::Universe;
        message.attributes =
            vec![AddressAttribute::Address(ip("10.0.0.2")), AddressAttribute::Local(ip("10.0.0.1"))];
        let plain = InterfaceAddress {
            interface: 7,
            address: ip("10.0.0.1"),
            global: true,
            tentative: false,
            deprecated: false,
        };
        assert_eq!(interface_address(&message), Some(plain));
        message.header.scope = AddressScope::Link;
        message.header.flags = AddressHeaderFlags::Tentative;
        assert_eq!(
            interface_address(&message),
            Some(InterfaceAddress { global: false, tentative: true, ..plain })
        );
        let flags = AddressFlags::Deprecated | AddressFlags::Dadfailed | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
        let read = interface_address(&message).unwrap();
        assert!(read.tentative && read.deprecated);
    }

    /// Runs itself again in a network namespace of its own, where it may change addresses.
    #[test]
    fn changes_are_followed() {
        const INSIDE: &str = "FERROLB_TEST_IN_NAMESPACE";
        if std::env::var_os(INSIDE).is_some() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            return runtime.block_on(follow_changes_of_the_loopback());
        }
        let status = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "shell::net::addresses::tests::changes_are_followed"])
            .env(INSIDE, "1")
            .status()
            .unwrap();
        assert!(status.success());
    }

    async fn follow_changes_of_the_loopback() {
        let run = |arguments: &str| {
            assert!(
                Command::new("ip").args(arguments.split(' ')).status().unwrap().success(),
                "ip {arguments}"
            );
        };
        run("link set lo up");
        let mut addresses = follow_addresses().await.unwrap();
        let wanted = |text: &str, deprecated| {
            let (address, global) = (ip(text), true);
            InterfaceAddress { interface: 1, address, global, tentative: false, deprecated }
        };
        let loopback = InterfaceAddress { global: false, ..wanted("127.0.0.1", false) };
        assert!(addresses.borrow().contains(&loopback));
        let v4 = wanted("192.0.2.1", false);
        let v6 = wanted("2001:db8::1", true);
        run("address add 192.0.2.1/32 dev lo");
        run("address add 2001:db8::1/128 dev lo preferred_lft 0");
        let patience = Duration::from_secs(5);
        let both = addresses.wait_for(|all| all.contains(&v4) && all.contains(&v6));
        tokio::time::timeout(patience, both).await.unwrap().unwrap();
        run("address delete 192.0.2.1/32 dev lo");
        let gone = addresses.wait_for(|all| !all.contains(&v4) && all.contains(&v6));
        tokio::time::timeout(patience, gone).await.unwrap().unwrap();
    }
}
