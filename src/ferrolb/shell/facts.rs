//! What `ferrolb check` looks at on this machine, in this network namespace.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use ferrolb_core::check::{Connection, Interface, Listener, NodeFacts};
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
    let (mut listeners, mut bgp_connections) = (Vec::new(), Vec::new());
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = std::fs::read_to_string(file).unwrap_or_default();
        for TcpSocket { state, local, remote, inode } in table.lines().filter_map(socket) {
            let process = holders.get(&inode).cloned();
            match state {
                TcpState::Listen => {
                    listeners.push(Listener { address: local.ip(), port: local.port(), process });
                }
                TcpState::Established if [local.port(), remote.port()].contains(&BGP) => {
                    bgp_connections.push(Connection { local, remote, process });
                }
                TcpState::Established => {}
            }
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Ok(NodeFacts { listeners, bgp_connections, interfaces, sysctls, net_raw: has_net_raw(&status) })
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

const BGP: u16 = 179;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TcpState {
    Established,
    Listen,
}

#[derive(Debug, PartialEq, Eq)]
struct TcpSocket {
    state: TcpState,
    local: SocketAddr,
    remote: SocketAddr,
    inode: u64,
}

/// One line of `/proc/net/tcp` or `tcp6`, of a socket in one of these states.
fn socket(line: &str) -> Option<TcpSocket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    let state = match *state {
        "01" => TcpState::Established,
        "0A" => TcpState::Listen,
        _ => return None,
    };
    let (local, remote) = (endpoint(local)?, endpoint(remote)?);
    Some(TcpSocket { state, local, remote, inode: inode.parse().ok()? })
}

/// Address and port in hexadecimal digits; a socket of both families has IPv4-mapped ones.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
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
    Some(SocketAddr::new(address.to_canonical(), u16::from_str_radix(port, 16).ok()?))
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
        let is = |state, local: &str, remote: &str| {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            Some(TcpSocket { state, local, remote, inode: 4711 })
        };
        assert_eq!(socket(listens), is(TcpState::Listen, "127.0.0.1:179", "0.0.0.0:0"));
        let stands = listens.replace(" 0A ", " 01 ").replace("00000000:0000 ", "0200007F:8000 ");
        assert_eq!(socket(&stands), is(TcpState::Established, "127.0.0.1:179", "127.0.0.2:32768"));
        assert_eq!(socket(&listens.replace(" 0A ", " 06 ")), None);
        let v6 = listens.replace("0100007F", "00000000000000000000000001000000");
        assert_eq!(socket(&v6), is(TcpState::Listen, "[::1]:179", "0.0.0.0:0"));
        let mapped = stands.replace("0100007F", "0000000000000000FFFF00000100007F");
        assert_eq!(socket(&mapped), is(TcpState::Established, "127.0.0.1:179", "127.0.0.2:32768"));
        for broken in [
            "",
            "sl local_address rem_address st",
            "0: x:y z 0A 1 2 3 4 5 6",
            "0: 0100007F:1FFFF a 0A b c d e f 1",
        ] {
            assert_eq!(socket(broken), None, "{broken:?}");
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
