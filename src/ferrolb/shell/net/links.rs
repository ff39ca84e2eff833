use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ferrolb_core::layer2::Link;
use ferrolb_core::layer2::packet::Mac;
use futures::future::FutureExt;
use futures::stream::TryStreamExt;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::watch;

use super::addresses;
use super::follow::{Question, follow};

/// The interfaces of this node, as far as layer 2 is concerned with them, and from then on each change. The task behind it
/// ends when nobody holds a receiver any more.
///
/// # Errors
/// The kernel refuses a netlink socket, or gives no whole answer. Later failures are logged, and tried again.
pub async fn follow_links() -> io::Result<watch::Receiver<Arc<[Link]>>> {
    follow(Question {
        about: "interfaces",
        notices: &[MulticastGroup::Link, MulticastGroup::Ipv6Ifaddr],
        ask: |handle| dump(handle).boxed(),
    })
    .await
}

async fn dump(handle: Handle) -> io::Result<Vec<Link>> {
    let messages: Vec<LinkMessage> =
        handle.link().get().execute().try_collect().await.map_err(io::Error::other)?;
    let mut link_local: HashMap<u32, Ipv6Addr> = HashMap::new();
    for address in addresses::dump(handle).await? {
        if let IpAddr::V6(v6) = address.address
            && v6.is_unicast_link_local()
            && !address.tentative
        {
            link_local.entry(address.interface).or_insert(v6);
        }
    }
    Ok(messages.iter().map(|message| link(message, link_local.get(&message.header.index).copied())).collect())
}

fn link(message: &LinkMessage, link_local: Option<Ipv6Addr>) -> Link {
    let header = &message.header;
    let (mut name, mut mac, mut enslaved, mut carrier_ups) = ("", None, false, 0);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = text,
            LinkAttribute::Address(octets) => mac = <[u8; 6]>::try_from(octets.as_slice()).ok(),
            LinkAttribute::Controller(index) => enslaved = *index != 0,
            LinkAttribute::CarrierUpCount(count) => carrier_ups = *count,
            _ => {}
        }
    }
    let mac = mac.filter(|_| header.link_layer_type == LinkLayerType::Ether);
    Link {
        index: header.index,
        name: name.into(),
        mac: mac.map(Mac),
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        carrier_ups,
        broadcast: header.flags.contains(LinkFlags::Broadcast),
        no_arp: header.flags.contains(LinkFlags::Noarp),
        enslaved,
        link_local,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_are_read() {
        let mut message = LinkMessage::default();
        message.header.index = 3;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Broadcast;
        message.attributes = vec![
            LinkAttribute::IfName("eth0".to_owned()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::CarrierUpCount(4),
        ];
        let read = Link {
            index: 3,
            name: "eth0".into(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            up: true,
            carrier: true,
            carrier_ups: 4,
            broadcast: true,
            no_arp: false,
            enslaved: false,
            link_local: None,
        };
        assert_eq!(link(&message, None), read);
        message.attributes.push(LinkAttribute::Controller(9));
        message.header.flags = LinkFlags::Noarp;
        let other = link(&message, None);
        assert!(other.enslaved && other.no_arp && !other.up && !other.carrier && !other.broadcast);
        message.header.link_layer_type = LinkLayerType::Infiniband;
        assert_eq!(link(&message, None).mac, None);
    }

    /// Runs itself again in a network namespace of its own, where it may change links.
    #[test]
    fn changes_are_followed() {
        const INSIDE: &str = "FERROLB_TEST_IN_NAMESPACE";
        if std::env::var_os(INSIDE).is_some() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            return runtime.block_on(follow_changes());
        }
        let status = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "shell::net::links::tests::changes_are_followed"])
            .env(INSIDE, "1")
            .status()
            .unwrap();
        assert!(status.success());
    }

    async fn follow_changes() {
        let mut links = follow_links().await.unwrap();
        let mut run = async |arguments: &str, holds: &dyn Fn(&[Link]) -> bool| {
            let done = Command::new("ip").args(arguments.split(' ')).status().unwrap().success();
            assert!(done, "ip {arguments}");
            let waited = tokio::time::timeout(Duration::from_secs(5), links.wait_for(|all| holds(all))).await;
            assert!(waited.is_ok(), "after ip {arguments}");
        };
        let named = |all: &[Link], name: &str| all.iter().find(|l| &*l.name == name).cloned();
        let mac = Mac([2, 0, 0, 0, 0, 7]);
        run("link add a address 02:00:00:00:00:01 type veth peer name b", &|all| {
            named(all, "a").is_some_and(|l| !l.up && l.broadcast && l.mac == Some(Mac([2, 0, 0, 0, 0, 1])))
        })
        .await;
        run("link set b up", &|all| named(all, "b").is_some_and(|l| l.up && !l.carrier)).await;
        run("link set a up", &|all| {
            named(all, "a").is_some_and(|l| l.up && l.carrier && l.carrier_ups > 0 && l.link_local.is_some())
        })
        .await;
        run("link set a address 02:00:00:00:00:07", &|all| {
            named(all, "a").is_some_and(|l| l.mac == Some(mac))
        })
        .await;
        run("link add br0 type bridge", &|all| named(all, "br0").is_some()).await;
        run("link set a master br0", &|all| named(all, "a").is_some_and(|l| l.enslaved)).await;
        run("link set a nomaster", &|all| named(all, "a").is_some_and(|l| !l.enslaved)).await;
        run("link set a name c", &|all| named(all, "c").is_some() && named(all, "a").is_none()).await;
        run("link del b", &|all| named(all, "c").is_none()).await;
    }
}
