use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{Finding, Severity};
use crate::config::{Config, Peer, PeerTarget, Pool};
use crate::types::{Family, ObjectKey};
use crate::world::Node;

/// What was read from one machine, in its own network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// TCP sockets that listen.
    pub listeners: Vec<Listener>,
    /// TCP connections that stand and have port 179 at one of their ends.
    pub bgp_connections: Vec<Connection>,
    /// Interfaces, by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// Sysctls below `net`, such as `net.ipv4.ip_forward`, with their numbers; those that couldn't be read are missing.
    pub sysctls: BTreeMap<String, i64>,
    /// Whether this process may open packet sockets (CAP_NET_RAW).
    pub net_raw: bool,
}

/// A TCP socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its local address; unspecified: all of them.
    pub address: IpAddr,
    /// Its local port.
    pub port: u16,
    /// The process that holds it, such as `bird (42)`; `None` where it can't be seen from here.
    pub process: Option<String>,
}

/// A TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The end on this machine.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The process that holds it, as of a [`Listener`].
    pub process: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Whether it is administratively up.
    pub up: bool,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
}

/// What FerroLB is to do on the machine.
#[derive(Clone, Copy, Debug)]
pub struct Plans<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The machine's Node.
    pub node: &'a Node,
    /// The namespace of the configuration objects.
    pub namespace: &'a str,
}

/// What on this machine would keep FerroLB from working, the worst first. Without plans only what matters to any.
pub fn node(facts: &NodeFacts, plans: Option<Plans<'_>>) -> Vec<Finding> {
    let mut found = ports(facts);
    found.extend(forwarding(facts));
    if let Some(plans) = plans {
        for peer in plans.config.peers.iter().filter(|p| p.nodes.matches(&plans.node.labels)) {
            found.extend(self::peer(facts, peer, plans.namespace));
        }
        found.extend(layer2(facts, &plans));
        found.extend(service_addresses(facts, &plans.config.pools));
    }
    found.sort();
    found
}

const BGP: u16 = 179;
const MEMBERLIST: u16 = 7946;
/// Metrics and health of MetalLB, and of FerroLB in a pod.
const SERVED: [u16; 2] = [9120, 17472];

/// Whether a process, as of a [`Listener`], is FerroLB itself.
fn is_ours(process: Option<&str>) -> bool {
    process.is_some_and(|process| process.starts_with("ferrolb ("))
}

fn ports(facts: &NodeFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    for listener in facts.listeners.iter().filter(|l| !is_ours(l.process.as_deref())) {
        let holder = listener.process.as_deref().unwrap_or("a process that can't be seen from here");
        let subject = format!("port {}", listener.port);
        match listener.port {
            BGP => found.push(Finding::new(
                Severity::Info,
                subject,
                format!("{holder} listens for BGP here; FerroLB only dials, so that both can run, but a router takes only one session from one address of this node"),
                "where both are to peer with the same router, give the BGPPeer a sourceAddress of its own",
            )),
            MEMBERLIST => found.push(Finding::new(
                Severity::Warning,
                subject,
                format!("{holder} listens on the port of MetalLB's speakers: one seems to run on this node, and two would announce the same addresses"),
                "remove MetalLB's speaker before FerroLB announces",
            )),
            port if SERVED.contains(&port) => found.push(Finding::new(
                Severity::Warning,
                subject,
                format!("{holder} holds a port that the speaker serves metrics or health on"),
                "end that process, or give --port or --health-probe-port another number",
            )),
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

fn forwarding(facts: &NodeFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, family) in [("net.ipv4.ip_forward", "IPv4"), ("net.ipv6.conf.all.forwarding", "IPv6")] {
        if facts.sysctls.get(name) == Some(&0) {
            found.push(Finding::new(
                Severity::Warning,
                name,
                format!(
                    "it is 0: {family} packets for a service address that arrive here can't go on to a pod"
                ),
                format!("sysctl -w {name}=1"),
            ));
        }
    }
    // The kernel takes the greater of the two numbers: 0 is none, 1 strict, 2 loose, so that a 2 in either place makes it loose.
    let rp_filter = |name: &str| facts.sysctls.get(&format!("net.ipv4.conf.{name}.rp_filter")).copied();
    let strict = |name: &str| rp_filter("all").max(rp_filter(name)) == Some(1);
    let with_ipv4 = facts.interfaces.iter().filter(|(name, interface)| {
        name.as_str() != "lo" && interface.up && interface.addresses.iter().any(|a| matches!(a, IpNet::V4(_)))
    });
    let names: Vec<&str> = with_ipv4.map(|(name, _)| name.as_str()).collect();
    let filtered: Vec<&str> = names.iter().copied().filter(|name| strict(name)).collect();
    if names.len() > 1 && !filtered.is_empty() {
        found.push(Finding::new(
            Severity::Warning,
            "rp_filter",
            format!("reverse-path filtering is strict on {}: a packet that comes in on another interface than its answer would leave by is dropped, without a word", filtered.join(", ")),
            "where traffic for service addresses comes in on several interfaces, set net.ipv4.conf.all.rp_filter to 2 (loose), or both it and the interface's own to 0: the greater number counts",
        ));
    }
    found
}

fn peer(facts: &NodeFacts, peer: &Peer, namespace: &str) -> Vec<Finding> {
    let subject = ObjectKey::new("BGPPeer", namespace, &peer.name).to_string();
    let mut found = Vec::new();
    if let Some(source) = peer.source_address
        && !addresses(facts).any(|a| a.addr() == source)
    {
        found.push(Finding::new(
            Severity::Error,
            subject.clone(),
            format!(
                "its sourceAddress {source} is no address of this node, so that no connection can be opened"
            ),
            "use an address of this node, or limit the peer to the nodes that have it with nodeSelectors",
        ));
    }
    match &peer.target {
        PeerTarget::Interface(name) => {
            if !facts.interfaces.contains_key(&**name) {
                found.push(Finding::new(
                    Severity::Error,
                    subject,
                    format!("its interface {name} doesn't exist on this node"),
                    "name an interface of this node, or limit the peer to the nodes that have it with nodeSelectors",
                ));
            }
        }
        PeerTarget::Address(address) => {
            let connected = addresses(facts).any(|a| a.contains(address) && a.addr() != *address);
            found.extend(taken(facts, peer, *address, &subject));
            if addresses(facts).any(|a| a.addr() == *address) {
                found.push(Finding::new(
                    Severity::Warning,
                    subject,
                    format!("its address {address} is this node's own: the node would peer with itself"),
                    "leave this node out with nodeSelectors",
                ));
            } else if !connected && !peer.is_ibgp() && !peer.ebgp_multi_hop {
                found.push(Finding::new(
                    Severity::Error,
                    subject,
                    format!("its address {address} is in no subnet that this node is connected to, and packets to an eBGP peer without ebgpMultiHop live for one hop only"),
                    "set ebgpMultiHop: true where the router is meant to be further away, or correct the address",
                ));
            }
        }
    }
    found
}

/// Sessions that other processes have with the router, from the address that ours would have.
fn taken<'a>(
    facts: &'a NodeFacts,
    peer: &'a Peer,
    router: IpAddr,
    subject: &'a str,
) -> impl Iterator<Item = Finding> + 'a {
    let same = move |connection: &&Connection| {
        connection.remote.ip() == router && peer.source_address.is_none_or(|s| s == connection.local.ip())
    };
    let others = |c: &&Connection| !is_ours(c.process.as_deref());
    facts.bgp_connections.iter().filter(same).filter(others).map(move |connection| {
        let local = connection.local.ip();
        let (severity, holder) = match &connection.process {
            Some(process) => (Severity::Warning, process.as_str()),
            None => (Severity::Info, "a process that can't be seen from here, unless it is FerroLB itself,"),
        };
        let unless = if peer.source_address.is_some() { "" } else { ", where the kernel chooses that address for this peer too" };
        Finding::new(
            severity,
            subject.to_owned(),
            format!("{holder} already has a BGP session with {router} from {local}: a router takes only one session from one address, so that it would refuse this one{unless}"),
            "give the BGPPeer a sourceAddress of its own, an address of this node that the router has as another neighbour",
        )
    })
}

fn layer2(facts: &NodeFacts, plans: &Plans<'_>) -> Vec<Finding> {
    let here: Vec<_> =
        plans.config.l2_advertisements.iter().filter(|a| a.nodes.matches(&plans.node.labels)).collect();
    let mut found = Vec::new();
    if here.is_empty() {
        return found;
    }
    if !facts.net_raw {
        found.push(Finding::new(
            Severity::Error,
            "CAP_NET_RAW",
            "this process may not open packet sockets, so that nobody would answer ARP and NDP for service addresses",
            "run as root, or with the capability NET_RAW as the shipped manifests do",
        ));
    }
    for advertisement in &here {
        let missing: Vec<&str> = advertisement
            .interfaces
            .iter()
            .map(|name| &**name)
            .filter(|name| !facts.interfaces.contains_key(*name))
            .collect();
        if missing.is_empty() {
            continue;
        }
        let none_left = missing.len() == advertisement.interfaces.len();
        let (severity, effect) = if none_left {
            (Severity::Error, ", nor does any other that it names: this node would answer on none")
        } else {
            (Severity::Warning, "")
        };
        found.push(Finding::new(
            severity,
            ObjectKey::new("L2Advertisement", plans.namespace, &advertisement.name).to_string(),
            format!("its interface {} doesn't exist on this node{effect}", missing.join(", ")),
            "name interfaces of this node, or limit the advertisement to the nodes that have them with nodeSelectors",
        ));
    }
    // With IPVS, kube-proxy puts every service address on a device of the node, and the kernel answers ARP for it.
    if facts.interfaces.contains_key("kube-ipvs0")
        && facts.sysctls.get("net.ipv4.conf.all.arp_ignore").is_some_and(|value| *value < 1)
    {
        found.push(Finding::new(
            Severity::Error,
            "net.ipv4.conf.all.arp_ignore",
            "kube-proxy runs in IPVS mode without strict ARP: the kernel of every node answers ARP for every service address, whoever is elected",
            "set ipvs.strictARP: true in kube-proxy's configuration and restart it",
        ));
    }
    found
}

/// Addresses of pools that the machine itself has: its kernel answers for them, elected or not.
fn service_addresses(facts: &NodeFacts, pools: &[Pool]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, interface) in facts.interfaces.iter().filter(|(name, _)| *name != "kube-ipvs0") {
        for address in &interface.addresses {
            for pool in pools.iter().filter(|pool| pool.contains(address.addr())) {
                found.push(Finding::new(
                    Severity::Warning,
                    format!("interface {name}"),
                    format!("its {} address {} is in the pool {}: a service that is given it would take this node's own", Family::of(address.addr()), address.addr(), pool.name),
                    "take the address out of the pool",
                ));
            }
        }
    }
    found
}

fn addresses(facts: &NodeFacts) -> impl Iterator<Item = &IpNet> {
    facts.interfaces.values().flat_map(|interface| &interface.addresses)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::config::{LastValid, Settings, compile};
    use crate::manifest::parse;
    use crate::types::{Labels, NodeName};
    use crate::world::World;

    const NAMESPACE: &str = "metallb-system";

    fn facts() -> NodeFacts {
        let interface = |addresses: &[&str]| Interface {
            up: true,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        };
        NodeFacts {
            listeners: vec![],
            bgp_connections: vec![],
            interfaces: [
                ("lo".to_owned(), interface(&["127.0.0.1/8"])),
                ("eth0".to_owned(), interface(&["10.0.0.11/24", "2001:db8::11/64"])),
            ]
            .into(),
            sysctls: [("net.ipv4.ip_forward".to_owned(), 1)].into(),
            net_raw: true,
        }
    }

    fn said(facts: &NodeFacts, objects: &[serde_json::Value]) -> Vec<String> {
        let mut world = World::default();
        for value in objects {
            let parsed = parse("x", value.to_string().as_bytes());
            assert_eq!(parsed.errors, []);
            for located in parsed.objects {
                world.apply(located.object);
            }
        }
        let node = Arc::new(Node {
            name: NodeName::new("n1"),
            labels: Labels::default(),
            network_unavailable: false,
            internal_ips: vec![],
        });
        let settings =
            Settings { system_namespace: NAMESPACE.into(), nodes: vec![node.clone()], namespaces: true };
        let compiled = compile(&world, &settings, &LastValid::default());
        assert_eq!(compiled.config.errors, []);
        let plans = Plans { config: &compiled.config, node: &node, namespace: NAMESPACE };
        super::node(facts, Some(plans))
            .into_iter()
            .map(|f| format!("{} {}: {}", f.severity.as_str(), f.subject, f.message))
            .collect()
    }

    fn config(kind: &str, version: &str, spec: serde_json::Value) -> serde_json::Value {
        json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind,
               "metadata": {"name": "x", "namespace": NAMESPACE}, "spec": spec})
    }

    fn peer(spec: serde_json::Value) -> serde_json::Value {
        let mut all = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1"});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        config("BGPPeer", "v1beta2", all)
    }

    #[test]
    fn a_machine_without_fault_has_no_findings() {
        let pool = config("IPAddressPool", "v1beta1", json!({"addresses": ["192.0.2.0/24"]}));
        let l2 = config("L2Advertisement", "v1beta1", json!({"interfaces": ["eth0"]}));
        assert_eq!(said(&facts(), &[pool, l2, peer(json!({}))]), Vec::<String>::new());
    }

    #[test]
    fn peers_out_of_reach_are_named() {
        let far = said(&facts(), &[peer(json!({"peerAddress": "10.9.0.1"}))]);
        assert_eq!(far.len(), 1);
        assert!(
            far[0].starts_with("error BGPPeer metallb-system/x: its address 10.9.0.1 is in no subnet"),
            "{far:?}"
        );
        for good in [
            json!({"peerAddress": "10.9.0.1", "ebgpMultiHop": true}),
            json!({"peerAddress": "10.9.0.1", "peerASN": 64512}),
            json!({"peerAddress": "2001:db8::1"}),
            json!({"sourceAddress": "10.0.0.11"}),
        ] {
            assert_eq!(said(&facts(), &[peer(good.clone())]), Vec::<String>::new(), "{good}");
        }
        assert!(
            said(&facts(), &[peer(json!({"sourceAddress": "10.0.0.12"}))])[0]
                .contains("no address of this node")
        );
        assert!(said(&facts(), &[peer(json!({"peerAddress": "10.0.0.11"}))])[0].contains("this node's own"));
        // Not this node's peer, not its fault.
        let elsewhere = json!({"peerAddress": "10.9.0.1", "nodeSelectors": [{"matchLabels": {"a": "b"}}]});
        assert_eq!(said(&facts(), &[peer(elsewhere)]), Vec::<String>::new());
    }

    #[test]
    fn another_speakers_session_with_the_same_router_is_named() {
        let with = |remote: &str, process: Option<&str>| NodeFacts {
            bgp_connections: vec![Connection {
                local: "10.0.0.11:40000".parse().unwrap(),
                remote: remote.parse().unwrap(),
                process: process.map(Into::into),
            }],
            ..facts()
        };
        let router = "10.0.0.1:179";
        let found = said(&with(router, Some("bird (42)")), &[peer(json!({}))]);
        let sentence = "warning BGPPeer metallb-system/x: bird (42) already has a BGP session with 10.0.0.1 from 10.0.0.11";
        assert!(found[0].starts_with(sentence) && found.len() == 1, "{found:?}");
        let source = json!({"sourceAddress": "10.0.0.11"});
        assert!(said(&with(router, Some("bird (42)")), &[peer(source)])[0].starts_with(sentence));
        assert!(said(&with(router, None), &[peer(json!({}))])[0].starts_with("info"));
        // Ours, with another router, from another address.
        let mut facts = with(router, Some("bird (42)"));
        facts
            .interfaces
            .insert("eth1".into(), Interface { up: true, addresses: vec!["10.0.0.12/24".parse().unwrap()] });
        for (facts, spec) in [
            (with(router, Some("ferrolb (7)")), json!({})),
            (with("10.0.0.2:179", Some("bird (42)")), json!({})),
            (facts, json!({"sourceAddress": "10.0.0.12"})),
        ] {
            assert_eq!(said(&facts, &[peer(spec)]), Vec::<String>::new());
        }
    }

    #[test]
    fn layer2_needs_its_interfaces_and_a_silent_kernel() {
        let pool = config("IPAddressPool", "v1beta1", json!({"addresses": ["10.0.0.10-10.0.0.20"]}));
        let l2 = |interfaces: serde_json::Value| {
            config("L2Advertisement", "v1beta1", json!({"interfaces": interfaces}))
        };
        let some = said(&facts(), &[l2(json!(["eth0", "eth9"]))]);
        assert_eq!(
            some,
            ["warning L2Advertisement metallb-system/x: its interface eth9 doesn't exist on this node"]
        );
        assert!(said(&facts(), &[l2(json!(["eth9"]))])[0].starts_with("error L2Advertisement"));
        let mut ipvs = NodeFacts { net_raw: false, ..facts() };
        ipvs.interfaces.insert("kube-ipvs0".into(), Interface::default());
        ipvs.sysctls.insert("net.ipv4.conf.all.arp_ignore".into(), 0);
        let all = said(&ipvs, &[pool, l2(json!([]))]);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[0].starts_with("error CAP_NET_RAW"), "{all:?}");
        assert!(all[1].starts_with("error net.ipv4.conf.all.arp_ignore"), "{all:?}");
        assert!(all[2].contains("IPv4 address 10.0.0.11 is in the pool x"), "{all:?}");
    }

    #[test]
    fn ports_and_sysctls_are_judged_without_plans() {
        let mut facts = facts();
        let any = IpAddr::from([0, 0, 0, 0]);
        let held =
            |port, process: Option<&str>| Listener { address: any, port, process: process.map(Into::into) };
        facts.listeners = vec![
            held(179, Some("bird (42)")),
            held(7946, None),
            held(9120, None),
            held(80, None),
            held(17472, Some("ferrolb (7)")),
        ];
        facts.sysctls.insert("net.ipv4.ip_forward".into(), 0);
        facts.sysctls.insert("net.ipv4.conf.all.rp_filter".into(), 1);
        facts
            .interfaces
            .insert("eth1".into(), Interface { up: true, addresses: vec!["10.1.0.1/24".parse().unwrap()] });
        let found = super::node(&facts, None);
        let subjects: Vec<&str> = found.iter().map(|f| f.subject.as_str()).collect();
        assert_eq!(subjects, ["net.ipv4.ip_forward", "port 7946", "port 9120", "rp_filter", "port 179"]);
        assert!(found[4].message.starts_with("bird (42) listens for BGP here"));
        // One way in and out: nothing is asymmetric.
        facts.interfaces.remove("eth1");
        assert!(super::node(&facts, None).iter().all(|f| f.subject != "rp_filter"));
    }

    #[test]
    fn reverse_path_filtering_is_what_the_greater_number_says() {
        let filtered = |all: Option<i64>, eth0: Option<i64>| {
            let mut facts = facts();
            facts.interfaces.insert(
                "eth1".into(),
                Interface { up: true, addresses: vec!["10.1.0.1/24".parse().unwrap()] },
            );
            for (name, value) in [("all", all), ("eth0", eth0), ("eth1", Some(2))] {
                if let Some(value) = value {
                    facts.sysctls.insert(format!("net.ipv4.conf.{name}.rp_filter"), value);
                }
            }
            let found = super::node(&facts, None).into_iter().find(|f| f.subject == "rp_filter");
            found.map(|f| f.message.split(':').next().unwrap_or_default().to_owned())
        };
        // As the kernel has it: IN_DEV_MAXCONF.
        for strict in
            [(Some(0), Some(1)), (Some(1), Some(0)), (Some(1), Some(1)), (None, Some(1)), (Some(1), None)]
        {
            let message = filtered(strict.0, strict.1);
            assert_eq!(message.as_deref(), Some("reverse-path filtering is strict on eth0"), "{strict:?}");
        }
        for loose in [(0, 0), (2, 1), (1, 2), (0, 2), (2, 0), (2, 2)] {
            assert_eq!(filtered(Some(loose.0), Some(loose.1)), None, "{loose:?}");
        }
    }
}
