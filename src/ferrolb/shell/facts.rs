//! What `ferrolb check` looks at on this machine, in this network namespace.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ferrolb_core::check::{Interface, Listener, NodeFacts};
use futures::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use tokio_util::task::AbortOnDropHandle;

/// Reads everything that can be read; what this process may not see is left out.
///
/// # Errors
/// The kernel refuses a netlink socket.
pub async fn gather() -> io::Result<NodeFacts> {
    let interfaces = interfaces().await?;
    let names = interfaces.keys().map(String::as_str);
    let sysctls = sysctls(Path::new("/proc/sys"), names);
    let holders = socket_holders(Path::new("/proc"));
    let mut listeners = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = std::fs::read_to_string(file).unwrap_or_default();
        listeners.extend(table.lines().filter_map(listener).map(|(address, port, inode)| Listener {
            address,
            port,
            process: holders.get(&inode).cloned(),
        }));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Ok(NodeFacts { listeners, interfaces, sysctls, net_raw: has_net_raw(&status) })
}

async fn interfaces() -> io::Result<BTreeMap<String, Interface>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let links: Vec<_> = handle.link().get().execute().try_collect().await.map_err(io::Error::other)?;
    let mut by_index = BTreeMap::new();
    for link in links {
        let name = link.attributes.iter().find_map(|a| match a {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
        if let Some(name) = name {
            let up = link.header.flags.contains(LinkFlags::Up);
            by_index.insert(link.header.index, (name, Interface { up, addresses: vec![] }));
        }
    }
    let addresses: Vec<_> = handle.address().get().execute().try_collect().await.map_err(io::Error::other)?;
    for message in addresses {
        let found =
            |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
        // On a point-to-point link, Address is the other end's.
        let local = found(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
        let address = found(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None });
        if let Some(ip) = local.or(address)
            && let Ok(net) = IpNet::new(ip, message.header.prefix_len)
            && let Some((_, interface)) = by_index.get_mut(&message.header.index)
        {
            interface.addresses.push(net);
        }
    }
    Ok(by_index.into_values().collect())
}

fn sysctls<'a>(root: &Path, interfaces: impl Iterator<Item = &'a str>) -> BTreeMap<String, i64> {
    let mut names: Vec<(String, String)> = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]
        .into_iter()
        .chain(["net/ipv4/conf/all/arp_ignore", "net/ipv4/conf/all/rp_filter"])
        .map(|path| (path.replace('/', "."), path.to_owned()))
        .collect();
    // The name of an interface may have a dot in it.
    names.extend(interfaces.map(|interface| {
        (format!("net.ipv4.conf.{interface}.rp_filter"), format!("net/ipv4/conf/{interface}/rp_filter"))
    }));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok()?.trim().parse().ok();
    names.into_iter().filter_map(|(name, path)| Some((name, read(&path)?))).collect()
}

/// One line of `/proc/net/tcp` or `tcp6`, of a socket that listens: address, port, inode.
fn listener(line: &str) -> Option<(IpAddr, u16, u64)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, LISTEN, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    let (address, port) = local.split_once(':')?;
    let address = match address.len() {
        // Groups of four octets, each in the machine's own order.
        8 => IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes())),
        32 => {
            let mut octets = [0; 16];
            for (i, word) in octets.chunks_exact_mut(4).enumerate() {
                let digits = address.get(i.checked_mul(8)?..)?.get(..8)?;
                word.copy_from_slice(&u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?, inode.parse().ok()?))
}

/// The process that holds each socket, by inode, as far as this process may look.
fn socket_holders(proc: &Path) -> HashMap<u64, String> {
    let mut holders = HashMap::new();
    let processes = std::fs::read_dir(proc).into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let inodes: Vec<u64> = descriptors
            .flatten()
            .filter_map(|d| {
                let target = std::fs::read_link(d.path()).ok()?;
                target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
            })
            .collect();
        if inodes.is_empty() {
            continue;
        }
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let text = format!("{} ({pid})", name.trim());
        holders.extend(inodes.into_iter().map(|inode| (inode, text.clone())));
    }
    holders
}

/// Whether the text of `/proc/PID/status` has CAP_NET_RAW among the effective capabilities.
fn has_net_raw(status: &str) -> bool {
    const CAP_NET_RAW: u32 = 13;
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|bits| bits >> CAP_NET_RAW & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sockets_are_read() {
        let listens = "   0: 0100007F:00B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        assert_eq!(listener(listens), Some(("127.0.0.1".parse().unwrap(), 179, 4711)));
        assert_eq!(listener(&listens.replace(" 0A ", " 01 ")), None);
        let v6 = listens.replace("0100007F", "00000000000000000000000001000000");
        assert_eq!(listener(&v6), Some(("::1".parse().unwrap(), 179, 4711)));
        for broken in [
            "",
            "sl local_address rem_address st",
            "0: x:y z 0A 1 2 3 4 5 6",
            "0: 0100007F:1FFFF a 0A b c d e f 1",
        ] {
            assert_eq!(listener(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn this_process_and_its_loopback_are_seen() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let facts = runtime.block_on(gather()).unwrap();
        let port = held.local_addr().unwrap().port();
        let listener = facts.listeners.iter().find(|l| l.port == port).unwrap();
        assert!(listener.process.as_ref().unwrap().ends_with(&format!("({})", std::process::id())));
        assert!(facts.interfaces["lo"].addresses.contains(&"127.0.0.1/8".parse().unwrap()));
        assert!(facts.sysctls.contains_key("net.ipv4.ip_forward"), "{:?}", facts.sysctls);
    }

    #[test]
    fn the_capability_is_bit_13() {
        assert!(has_net_raw("Name:\tx\nCapEff:\t0000000000002000\n"));
        assert!(!has_net_raw("CapEff:\t0000000000001fff\n"));
        assert!(!has_net_raw("CapEff:\tx\n"));
        assert!(!has_net_raw(""));
    }
}
