//! The thread with real sockets, on a pair of interfaces in a network namespace of its own.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use ferrolb_core::layer2::packet::{
    Advertisement, Arp, Frame, Mac, Operation, Packet, Solicitation, decode, solicited_node_group,
};
use socket2::{Domain, Protocol, Type};

use super::*;
use crate::shell::sys::link_address;

const INSIDE: &str = "FERROLB_TEST_IN_NAMESPACE";
const PATIENCE: Duration = Duration::from_secs(10);
const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Its solicited-node group is none that the links are in for their own addresses.
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xa1b);
const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ASKER: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// Runs the test of this name again in a namespace where it is root; whether this is already that run.
fn inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("shell::layer2::tests::{name}")])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success());
    false
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}

/// A link between `ours`, which is to answer, and `theirs`, where we listen and ask.
fn link() {
    ip("link add ours address 02:00:00:00:00:01 type veth peer name theirs address 02:00:00:00:00:02");
    for name in ["ours", "theirs"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0").unwrap();
        ip(&format!("link set {name} up"));
    }
}

/// What comes and goes on the other end of the link.
struct Wire(socket2::Socket);

impl Wire {
    fn open() -> Wire {
        // Not from /sys, which shows the network namespace that it was mounted in.
        let shown = Command::new("ip").args(["-oneline", "link", "show", "theirs"]).output().unwrap();
        let index: u32 = String::from_utf8(shown.stdout).unwrap().split_once(':').unwrap().0.parse().unwrap();
        let protocol = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket = socket2::Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
        socket.bind(&link_address(index, libc::ETH_P_ALL as u16).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Wire(socket)
    }

    /// The first frame of ours that is wanted; `None`: none within that time.
    fn hear(&self, within: Duration, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let end = Instant::now() + within;
        let mut buffer = [0; 2048];
        while Instant::now() < end {
            let Ok(length) = (&self.0).read(&mut buffer) else { continue };
            if let Ok(frame) = decode(&buffer[..length])
                && frame.source == OURS
                && wanted(&frame)
            {
                return Some(frame);
            }
        }
        None
    }

    fn say(&self, frame: &[u8]) {
        self.0.send(frame).unwrap();
    }
}

fn question(target_ip: Ipv4Addr) -> Arp {
    Arp {
        operation: Operation::Request,
        sender_mac: ASKER,
        sender_ip: Ipv4Addr::new(192, 0, 2, 77),
        target_mac: Mac([0; 6]),
        target_ip,
    }
}

fn groups() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/net/igmp6").unwrap();
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
    lines.filter(|words| words[1] == "ours").map(|words| words[2].to_owned()).collect()
}

fn hexadecimal(group: Ipv6Addr) -> String {
    group.octets().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn ours() -> Option<InterfaceSet> {
    Some(InterfaceSet::Only(["ours".into()].into()))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn addresses_are_announced_answered_and_given_up() {
    if !inside("addresses_are_announced_answered_and_given_up") {
        return;
    }
    link();
    let wire = Wire::open();
    let (events, mut heard) = mpsc::channel(64);
    let runtime = runtime();
    let thread = spawn(Settings::default(), events).unwrap();
    let observer = thread.observer();
    assert_eq!(runtime.block_on(observer.addresses()), Ok(vec![]));
    let group = hexadecimal(solicited_node_group(V6));
    assert!(!groups().contains(&group));

    runtime.block_on(thread.apply(vec![(V4.into(), ours()), (V6.into(), ours())])).unwrap();
    for operation in [Operation::Request, Operation::Reply] {
        let gratuitous = Packet::Arp(Arp::gratuitous(operation, OURS, V4));
        assert!(wire.hear(PATIENCE, |f| f.packet == gratuitous).is_some(), "{operation:?}");
    }
    let unsolicited = |f: &Frame| {
        matches!(f.packet, Packet::Advertisement(Advertisement { target: V6, solicited: false, .. }))
    };
    assert!(wire.hear(PATIENCE, unsolicited).is_some());
    assert!(groups().contains(&group));

    wire.say(&question(V4).encode(Mac::BROADCAST));
    let reply = Packet::Arp(question(V4).reply(OURS));
    assert_eq!(wire.hear(PATIENCE, |f| f.packet == reply).map(|f| f.destination), Some(ASKER));
    let destination = solicited_node_group(V6);
    let asks =
        Solicitation { source: "fe80::2".parse().unwrap(), destination, target: V6, source_mac: Some(ASKER) };
    wire.say(&asks.encode(Mac::of_group(destination), ASKER));
    let solicited = |f: &Frame| {
        matches!(f.packet, Packet::Advertisement(Advertisement { target: V6, solicited: true, .. }))
    };
    assert_eq!(wire.hear(PATIENCE, solicited).map(|f| f.destination), Some(ASKER));
    wire.say(&question(Ipv4Addr::new(192, 0, 2, 2)).encode(Mac::BROADCAST));
    assert_eq!(
        wire.hear(
            Duration::from_millis(300),
            |f| matches!(&f.packet, Packet::Arp(a) if a.target_mac == ASKER)
        ),
        None
    );
    let status = runtime.block_on(observer.addresses()).unwrap();
    let seen: Vec<_> = status
        .iter()
        .map(|s| (s.address, s.interfaces.len(), s.counters.requests, s.counters.responses))
        .collect();
    assert_eq!(seen, [(V4.into(), 1, 1, 1), (V6.into(), 1, 1, 1)]);
    assert!(status[0].counters.gratuitous >= 2);

    // Another station's claim is told, and the machine's events come out.
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    wire.say(&Arp::gratuitous(Operation::Reply, stranger, V4).encode(Mac::BROADCAST));
    let conflict = Event::Machine(layer2::Event::Conflict {
        interface: "ours".into(),
        address: V4.into(),
        claimant: stranger,
    });
    let told = async {
        while let Some(event) = heard.recv().await {
            if event == conflict {
                return true;
            }
        }
        false
    };
    let told = runtime.block_on(async { tokio::time::timeout(PATIENCE, told).await });
    assert_eq!(told, Ok(true));

    runtime.block_on(thread.apply(vec![(V4.into(), None)])).unwrap();
    assert_eq!(runtime.block_on(observer.addresses()).unwrap().len(), 1);
    wire.say(&question(V4).encode(Mac::BROADCAST));
    assert_eq!(wire.hear(Duration::from_millis(300), |f| f.packet == reply), None);
    runtime.block_on(thread.shutdown());
    assert!(!groups().contains(&group));
    wire.say(&asks.encode(Mac::of_group(destination), ASKER));
    assert_eq!(wire.hear(Duration::from_millis(300), solicited), None);
    assert_eq!(runtime.block_on(observer.addresses()), Err(Layer2Ended));
}

#[test]
fn interfaces_may_come_and_go_and_many_groups_be_joined() {
    if !inside("interfaces_may_come_and_go_and_many_groups_be_joined") {
        return;
    }
    let (events, _heard) = mpsc::channel(64);
    let runtime = runtime();
    let thread = spawn(Settings::default(), events).unwrap();
    let many: Vec<Ipv6Addr> = (0..1000_u16).map(|i| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, i)).collect();
    let mut all: Vec<(IpAddr, Option<InterfaceSet>)> = many.iter().map(|a| ((*a).into(), ours())).collect();
    all.push((V4.into(), ours()));
    runtime.block_on(thread.apply(all)).unwrap();
    // More than one socket's worth, and than the program's ranges where the last bits are spread.
    for _ in 0..2 {
        link();
        let wire = Wire::open();
        let end = Instant::now() + PATIENCE;
        while !many.iter().all(|a| groups().contains(&hexadecimal(solicited_node_group(*a)))) {
            assert!(Instant::now() < end, "{} groups", groups().len());
            std::thread::sleep(Duration::from_millis(50));
        }
        let reply = Packet::Arp(question(V4).reply(OURS));
        let end = Instant::now() + PATIENCE;
        let answered = || {
            wire.say(&question(V4).encode(Mac::BROADCAST));
            wire.hear(Duration::from_millis(500), |f| f.packet == reply).is_some()
        };
        while !answered() {
            assert!(Instant::now() < end, "no answer");
        }
        // Down and up again.
        ip("link set ours down");
        ip("link set ours up");
        let end = Instant::now() + PATIENCE;
        while !answered() {
            assert!(Instant::now() < end, "no answer after coming up");
        }
        drop(wire);
        ip("link del ours");
    }
    runtime.block_on(thread.shutdown());
}
