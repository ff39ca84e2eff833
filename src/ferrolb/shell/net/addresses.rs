use std::io;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::bgp::local::InterfaceAddress;
use futures::{Stream, StreamExt, TryStreamExt};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::watch;

/// The addresses of this node's interfaces as they are now, in the kernel's order.
///
/// # Errors
/// The kernel refuses a netlink socket, or its answer breaks off.
pub async fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let addresses = dump(&handle).await;
    connection.abort();
    addresses
}

/// The addresses of this node's interfaces, and from then on each change of them. The task behind it ends when nobody
/// holds a receiver any more.
///
/// # Errors
/// The kernel refuses a netlink socket, or its first answer breaks off. Later failures are logged, and tried again.
pub async fn follow_addresses() -> io::Result<watch::Receiver<Arc<[InterfaceAddress]>>> {
    // Subscribed before the first dump, so that no change falls between the two.
    let (handle, changes) = subscribe()?;
    let (sender, receiver) = watch::channel(Arc::from(dump(&handle).await?));
    tokio::spawn(async move {
        let mut subscription = Some((handle, changes));
        loop {
            let followed = async {
                let (handle, changes) = match subscription.take() {
                    Some(subscription) => subscription,
                    None => subscribe()?,
                };
                follow(&handle, changes, &sender).await
            };
            tokio::select! {
                () = sender.closed() => return,
                result = followed => {
                    let error = result.err().map_or_else(|| "the kernel's messages ended".to_owned(), |e| e.to_string());
                    tracing::warn!(error, "lost track of interface addresses, asking the kernel again");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    });
    Ok(receiver)
}

/// How long to wait after the kernel's messages broke off, as they do when more came than the socket holds.
const RETRY: Duration = Duration::from_millis(200);

type Subscription<S> = (Handle, S);

fn subscribe() -> io::Result<Subscription<impl Stream<Item = ()> + Unpin + Send>> {
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    Ok((handle, messages.map(drop)))
}

/// Publishes the addresses now and after each change, until the kernel's messages end. What a message says doesn't
/// count, only that one came: a fresh dump can't miss anything.
async fn follow(
    handle: &Handle,
    changes: impl Stream<Item = ()> + Unpin,
    sender: &watch::Sender<Arc<[InterfaceAddress]>>,
) -> io::Result<()> {
    // Those that have come during a dump are one change.
    let mut changes = changes.ready_chunks(1024);
    loop {
        let now = dump(handle).await?;
        sender.send_if_modified(|addresses| {
            let changed = **addresses != *now;
            if changed {
                *addresses = now.into();
            }
            changed
        });
        if changes.next().await.is_none() {
            return Ok(());
        }
    }
}

async fn dump(handle: &Handle) -> io::Result<Vec<InterfaceAddress>> {
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

    #[test]
    fn the_loopback_is_found_on_its_interface() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let now = addresses().await.unwrap();
            let followed = follow_addresses().await.unwrap();
            for seen in [now.as_slice(), &followed.borrow()] {
                let loopback = seen.iter().find(|one| one.address == ip("127.0.0.1")).unwrap();
                assert_eq!((loopback.interface, loopback.global), (1, false));
            }
        });
    }
}
