//! The real process among peers that send anything at all, and one good peer that must not notice: its session stands, its
//! KEEPALIVEs come on time, and the process stays within the memory that SECURITY.md states.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use ferrolb_core::bgp::wire::{self, Capability, Message, RouteRefresh, Session};
use ferrolb_core::types::Family;

#[path = "../../core/tests/hostile/streams.rs"]
mod streams;

use streams::{Random, encoded, mutated, their_open};

/// What a peer can make its session hold, in octets.
const SESSION_BOUND: usize = 512 << 10;
/// What the process holds apart from that: stacks and what the allocator keeps, in octets.
const SLACK: usize = 4 << 20;
const SERVICES: u32 = 100;
const MUTATED: usize = 100;
const PREFIXES: usize = 1_000_000;
/// Peers 1 to 12 send mutated sessions, 13 and 14 an octet a second, 15 to 18 floods, 19 is good.
const GOOD: u8 = 19;
const FIRST_SLOW: u8 = 13;
const FIRST_FLOOD: u8 = 15;

#[test]
fn bad_input_harms_only_its_own_session() {
    let folder = tempfile::tempdir().unwrap();
    let (port, listeners) = listeners();
    let process = Process::start(folder.path(), port);
    let stop = Arc::new(AtomicBool::new(false));
    let mut listeners = listeners.into_iter();
    let sessions = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        let mut peers = Vec::new();
        for (number, listener) in (1..FIRST_SLOW).zip(&mut listeners) {
            let (stop, sessions) = (stop.clone(), sessions.clone());
            peers.push(scope.spawn(move || send_mutated(&listener, u64::from(number), &stop, &sessions)));
        }
        for listener in listeners.by_ref().take(usize::from(FIRST_FLOOD - FIRST_SLOW)) {
            let stop = stop.clone();
            peers.push(scope.spawn(move || send_slowly(&listener, &stop)));
        }
        let floods: Vec<TcpListener> = listeners.by_ref().take(usize::from(GOOD - FIRST_FLOOD)).collect();
        let good = {
            let (listener, stop) = (listeners.next().unwrap(), stop.clone());
            scope.spawn(move || good_peer(&listener, &stop))
        };
        let patience = Instant::now() + Duration::from_secs(60);
        while sessions.load(SeqCst) < MUTATED {
            assert!(Instant::now() < patience, "{} sessions", sessions.load(SeqCst));
            thread::sleep(Duration::from_millis(20));
        }
        // The floods begin, and end with the first of them.
        let before = process.memory("VmRSS:");
        let mut floods = floods.into_iter().zip(flood_streams()).map(|(listener, octets)| {
            let stop = stop.clone();
            scope.spawn(move || flood(&listener, &octets, &stop))
        });
        let (announcing, others) = (floods.next().unwrap(), floods.collect::<Vec<_>>());
        let sent = announcing.join().unwrap();
        stop.store(true, SeqCst);
        let sent: Vec<usize> =
            std::iter::once(sent).chain(others.into_iter().map(|peer| peer.join().unwrap())).collect();
        peers.into_iter().for_each(|peer| peer.join().unwrap());
        let keepalives = good.join().unwrap();
        let after = process.memory("VmHWM:");

        let longest = keepalives.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        let lasted = *keepalives.last().unwrap() - keepalives[0];
        eprintln!(
            "{} mutated sessions; floods of {sent:?} octets; {before} octets resident before, {after} at most; \
             {} KEEPALIVEs in {lasted:?}, {longest:?} apart at most",
            sessions.load(SeqCst),
            keepalives.len()
        );
        assert!(after < before + SESSION_BOUND * usize::from(GOOD) + SLACK, "{before} octets, then {after}");
        // One a second, in time for a hold time of three.
        assert!(longest < Duration::from_millis(1500), "{longest:?}");
        assert!(keepalives.len() as u64 >= lasted.as_secs(), "{} in {lasted:?}", keepalives.len());
    });
}

/// `peerPort` goes to 16384 only: below the ports that the kernel gives.
fn listeners() -> (u16, Vec<TcpListener>) {
    (12_000..=16_384)
        .find_map(|port| {
            let all = (1..=GOOD).map(|number| TcpListener::bind((address(number), port)));
            Some((port, all.collect::<Result<_, _>>().ok()?))
        })
        .unwrap()
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 77, 3, number)
}

struct Process(Child);

impl Process {
    fn start(folder: &Path, port: u16) -> Process {
        let manifests = folder.join("manifests");
        fs::create_dir(&manifests).unwrap();
        let mut text = String::from(
            "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p, namespace: metallb-system}, \
             spec: {addresses: [192.0.2.0/24]}}\n---\n{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, \
             metadata: {name: p, namespace: metallb-system}}\n",
        );
        for number in 1..=GOOD {
            let timers = if number == GOOD { "holdTime: 3s, keepaliveTime: 1s" } else { "holdTime: 90s" };
            text += &format!(
                "---\n{{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {{name: p{number}, namespace: \
                 metallb-system}}, spec: {{myASN: 64512, peerASN: 64513, peerAddress: {}, peerPort: {port}, connectTime: 1s, \
                 {timers}}}}}\n",
                address(number)
            );
        }
        for number in 0..SERVICES {
            text += &format!(
                "---\n{{apiVersion: v1, kind: Service, metadata: {{name: s{number}}}, spec: {{type: LoadBalancer, clusterIP: \
                 10.96.0.{number}, ports: [{{port: 80}}]}}}}\n---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, \
                 metadata: {{name: s{number}, labels: {{kubernetes.io/service-name: s{number}}}}}, addressType: IPv4, endpoints: \
                 [{{addresses: [10.244.0.1], nodeName: n1, conditions: {{ready: true}}}}], ports: [{{port: 80}}]}}\n"
            );
        }
        fs::write(manifests.join("all.yaml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrolb"));
        command.args(["standalone", "--node", "n1", "--metrics-bind-address", "off", "--manifests"]);
        command.arg(manifests).stdin(Stdio::null()).stderr(Stdio::null());
        Process(command.spawn().unwrap())
    }

    /// A line of its status, in octets.
    fn memory(&self, name: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<usize>().unwrap() << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A connection, unless it is time to stop.
fn accept(listener: &TcpListener, stop: &AtomicBool) -> Option<TcpStream> {
    listener.set_nonblocking(true).unwrap();
    while !stop.load(SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                return Some(stream);
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    None
}

fn send_mutated(listener: &TcpListener, seed: u64, stop: &AtomicBool, sessions: &AtomicUsize) {
    let mut random = Random(seed);
    while let Some(mut stream) = accept(listener, stop) {
        // A reset is a way to end a session, too.
        let _ = stream.write_all(&mutated(&mut random));
        drop(stream.read(&mut [0; 4096]));
        sessions.fetch_add(1, SeqCst);
    }
}

/// An octet a second, of an OPEN that is long enough to last.
fn send_slowly(listener: &TcpListener, stop: &AtomicBool) {
    let mut open = their_open();
    open.capabilities.push(Capability::Unknown { code: 240, value: vec![7; 200] });
    let octets = encoded(|out| open.encode(out).unwrap());
    let Some(mut stream) = accept(listener, stop) else { return };
    for octet in octets {
        stream.write_all(&[octet]).unwrap();
        for _ in 0..50 {
            if stop.load(SeqCst) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What each flood repeats: a few hundred prefixes with large attributes, long messages of attributes, requests for all routes,
/// and KEEPALIVEs.
fn flood_streams() -> [Vec<u8>; 4] {
    let update = |attributes: usize, prefixes: u32| {
        // ORIGIN, AS_PATH, NEXT_HOP, and an attribute that nobody knows.
        let mut path =
            vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfc, 1, 0x40, 3, 4, 127, 77, 3, 1, 0xd0, 200];
        path.extend_from_slice(&(attributes as u16).to_be_bytes());
        path.extend(std::iter::repeat_n(7, attributes));
        let mut body = vec![0, 0];
        body.extend_from_slice(&(path.len() as u16).to_be_bytes());
        body.extend_from_slice(&path);
        for number in 0..prefixes {
            body.push(32);
            body.extend_from_slice(&(0x0a00_0000 + number).to_be_bytes());
        }
        let mut message = vec![0xff; 16];
        message.extend_from_slice(&((body.len() + 19) as u16).to_be_bytes());
        message.push(2);
        message.extend_from_slice(&body);
        message
    };
    [
        update(2900, 200),
        update(60_000, 900),
        encoded(|out| RouteRefresh::request(Family::V4).encode(out)).repeat(200),
        encoded(wire::keepalive).repeat(200),
    ]
}

/// A session that sends a million prefixes, or as much as it can until then, and reads nothing; gives how many octets went.
fn flood(listener: &TcpListener, octets: &[u8], stop: &AtomicBool) -> usize {
    let Some(mut stream) = accept(listener, stop) else { return 0 };
    let mut open = their_open();
    open.hold_time = 90;
    open.capabilities.push(Capability::ExtendedMessage);
    stream.write_all(&encoded(|out| open.encode(out).unwrap())).unwrap();
    stream.write_all(&encoded(wire::keepalive)).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let (mut sent, end) = (0, PREFIXES / 200 * octets.len());
    while sent < end && !stop.load(SeqCst) {
        match stream.write(&octets[sent % octets.len()..]) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("the session ended after {sent} octets: {error}"),
        }
    }
    sent
}

/// Takes one connection, answers with KEEPALIVEs, and tells when those of the other side came. Panics if its session ends.
fn good_peer(listener: &TcpListener, stop: &AtomicBool) -> Vec<Instant> {
    let mut stream = accept(listener, stop).unwrap();
    let mut open = their_open();
    open.hold_time = 3;
    stream.write_all(&encoded(|out| open.encode(out).unwrap())).unwrap();
    stream.write_all(&encoded(wire::keepalive)).unwrap();
    let (mut input, mut scratch, mut heard) = (Vec::new(), vec![0; 65_536], Vec::new());
    let mut next = Instant::now();
    while !stop.load(SeqCst) {
        if next <= Instant::now() {
            stream.write_all(&encoded(wire::keepalive)).unwrap();
            next = Instant::now() + Duration::from_millis(500);
        }
        match stream.read(&mut scratch) {
            Ok(0) => panic!("the good session has ended"),
            Ok(count) => input.extend_from_slice(&scratch[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("the good session has ended: {error}"),
        }
        while let Some(frame) = wire::frame(&input, &Session::BEFORE_OPEN).unwrap() {
            match Message::decode(&frame, &Session::BEFORE_OPEN).unwrap() {
                Message::Keepalive => heard.push(Instant::now()),
                Message::Notification(notification) => panic!("{notification}"),
                _ => {}
            }
            let total_len = frame.total_len;
            input.drain(..total_len);
        }
    }
    heard
}
