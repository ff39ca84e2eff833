//! The machine, without sockets and without waiting.

use super::*;
use crate::layer2::packet::solicited_node_group;

const ASKER: Mac = Mac([2, 0, 0, 0, 0, 0xaa]);

fn mac(number: u32) -> Mac {
    Mac([2, 0, 0, 0, 1, number as u8])
}

fn link(index: u32) -> Link {
    Link {
        index,
        name: format!("eth{index}").into(),
        mac: Some(mac(index)),
        up: true,
        carrier: true,
        carrier_ups: 1,
        broadcast: true,
        no_arp: false,
        enslaved: false,
        link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, index as u16)),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn only(names: &[&str]) -> InterfaceSet {
    InterfaceSet::Only(names.iter().map(|name| Arc::from(*name)).collect())
}

/// A responder, its clock, and what it said last.
struct Bench {
    responder: Responder,
    now: Instant,
    /// Which sockets are open, which groups are joined.
    open: std::collections::BTreeSet<(u32, Socket)>,
    groups: std::collections::BTreeSet<(u32, Ipv6Addr)>,
    /// Announced since the last look: when, where, what.
    announced: Vec<(Instant, u32, IpAddr)>,
    responses: Vec<(u32, Vec<u8>)>,
    events: Vec<Event>,
}

impl Bench {
    fn new(settings: Settings, links: &[Link]) -> Bench {
        let mut bench = Bench {
            responder: Responder::new(settings),
            now: Instant::now(),
            open: Default::default(),
            groups: Default::default(),
            announced: vec![],
            responses: vec![],
            events: vec![],
        };
        bench.give(Input::Links(links));
        bench
    }

    fn give(&mut self, input: Input<'_>) {
        self.responder.handle(self.now, input);
        self.perform();
    }

    fn claim(&mut self, address: &str, interfaces: InterfaceSet) {
        self.give(Input::Addresses(vec![(ip(address), Some(interfaces))]));
    }

    fn release(&mut self, address: &str) {
        self.give(Input::Addresses(vec![(ip(address), None)]));
    }

    fn perform(&mut self) {
        while let Some(output) = self.responder.poll_output() {
            match output {
                Output::Open { interface, socket } => assert!(self.open.insert((interface, socket))),
                Output::Close { interface, socket } => {
                    assert!(self.open.remove(&(interface, socket)), "it was open");
                    if socket == Socket::Ndp {
                        assert!(!self.groups.iter().any(|(i, _)| *i == interface), "groups are left first");
                    }
                }
                Output::Join { interface, group } => assert!(self.groups.insert((interface, group))),
                Output::Leave { interface, group } => assert!(self.groups.remove(&(interface, group))),
                Output::Event(event) => self.events.push(event),
                Output::Send { interface, address, purpose, frame } => {
                    assert!(self.open.contains(&(interface, Socket::of(address))), "into a closed socket");
                    self.responder.count_sent(address, purpose);
                    match purpose {
                        Purpose::Announcement => self.announced.push((self.now, interface, address)),
                        Purpose::Response => self.responses.push((interface, frame)),
                    }
                }
            }
        }
    }

    /// Lets time pass.
    fn wait(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(next) = self.responder.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.responder.handle_timeout(self.now);
            self.perform();
        }
        self.now = end;
    }

    /// How many milliseconds after `start` an address was announced on an interface, since the last look.
    fn times(&mut self, start: Instant, interface: u32, address: &str) -> Vec<u128> {
        let address = ip(address);
        let (these, others) =
            self.announced.drain(..).partition(|(_, i, a)| (*i, *a) == (interface, address));
        self.announced = others;
        let these: Vec<(Instant, u32, IpAddr)> = these;
        these.iter().map(|(at, ..)| at.duration_since(start).as_millis()).collect()
    }

    fn ask(&mut self, interface: u32, octets: &[u8]) -> Vec<Vec<u8>> {
        self.give(Input::Frame { interface, octets });
        self.responses.drain(..).map(|(_, frame)| frame).collect()
    }
}

fn arp(target: &str) -> Arp {
    let IpAddr::V4(target_ip) = ip(target) else { panic!("{target}") };
    let sender_ip = Ipv4Addr::new(192, 0, 2, 200);
    Arp { operation: Operation::Request, sender_mac: ASKER, sender_ip, target_mac: Mac([0; 6]), target_ip }
}

fn solicitation(target: &str) -> Solicitation {
    let IpAddr::V6(target) = ip(target) else { panic!("{target}") };
    let source = "fe80::aa".parse().unwrap();
    Solicitation { source, destination: solicited_node_group(target), target, source_mac: Some(ASKER) }
}

const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";

#[test]
fn only_the_addresses_told_are_answered_and_where() {
    let mut bench = Bench::new(Settings::default(), &[link(1), link(2)]);
    let question = arp(V4).encode(Mac::BROADCAST);
    assert!(bench.ask(1, &question).is_empty());
    bench.claim(V4, InterfaceSet::Any);
    assert_eq!(bench.ask(1, &question), [arp(V4).reply(mac(1)).encode(ASKER)]);
    assert_eq!(bench.ask(2, &question), [arp(V4).reply(mac(2)).encode(ASKER)]);
    assert!(bench.ask(1, &arp("192.0.2.2").encode(Mac::BROADCAST)).is_empty());
    assert!(bench.ask(7, &question).is_empty());
    // A neighbour that checks, and a probe; but nothing that is for another station.
    assert_eq!(bench.ask(1, &arp(V4).encode(mac(1))).len(), 1);
    assert!(bench.ask(1, &arp(V4).encode(mac(9))).is_empty());
    let probe = Arp { sender_ip: Ipv4Addr::UNSPECIFIED, ..arp(V4) };
    assert_eq!(bench.ask(1, &probe.encode(Mac::BROADCAST)), [probe.reply(mac(1)).encode(ASKER)]);
    let reply = Arp { operation: Operation::Reply, ..arp(V4) };
    assert!(bench.ask(1, &reply.encode(Mac::BROADCAST)).is_empty());

    bench.claim(V4, only(&["eth2", "eth5"]));
    assert!(bench.ask(1, &question).is_empty());
    assert_eq!(bench.ask(2, &question).len(), 1);
    assert_eq!(bench.responder.answering(ip(V4)).map(|n| &**n).collect::<Vec<_>>(), ["eth2"]);
    let (_, counters) = bench.responder.addresses().next().unwrap();
    assert_eq!((counters.requests, counters.responses), (5, 5));
    bench.release(V4);
    assert!(bench.ask(2, &question).is_empty());
    assert_eq!(bench.responder.addresses().count(), 0);
}

#[test]
fn solicitations_of_all_kinds_are_answered() {
    let mut bench = Bench::new(Settings::default(), &[link(1)]);
    bench.claim(V6, InterfaceSet::Any);
    let base = solicitation(V6);
    let group = Mac::of_group(base.destination);
    let ours = "fe80::1".parse().unwrap();
    for (what, question, destination) in [
        ("to the group", base, group),
        ("to the group, without an option", Solicitation { source_mac: None, ..base }, group),
        ("to the address", Solicitation { destination: base.target, ..base }, mac(1)),
        (
            "to the address, without an option",
            Solicitation { destination: base.target, source_mac: None, ..base },
            mac(1),
        ),
        ("a probe", Solicitation { source: Ipv6Addr::UNSPECIFIED, source_mac: None, ..base }, group),
    ] {
        let answers = bench.ask(1, &question.encode(destination, ASKER));
        assert_eq!(answers, [question.reply(mac(1), ours).encode(ASKER, mac(1))], "{what}");
    }
    assert!(bench.ask(1, &base.encode(mac(9), ASKER)).is_empty(), "for another station");
    assert!(bench.ask(1, &solicitation("2001:db8::2").encode(group, ASKER)).is_empty(), "another address");
    assert!(bench.ask(1, &base.encode(group, mac(1))).is_empty(), "our own");
}

#[test]
fn a_taken_address_is_announced_as_often_as_metallb_does() {
    let mut bench = Bench::new(Settings::default(), &[link(1)]);
    let start = bench.now;
    bench.claim(V4, InterfaceSet::Any);
    bench.claim(V6, InterfaceSet::Any);
    // Told again: nothing new.
    bench.claim(V4, InterfaceSet::Any);
    bench.wait(60_000);
    // For IPv4 a request and a reply each time.
    assert_eq!(bench.times(start, 1, V4), [0, 0, 1100, 1100, 2200, 2200, 3300, 3300, 4400, 4400]);
    assert_eq!(bench.times(start, 1, V6), [0, 1100, 2200, 3300, 4400]);
    assert_eq!(bench.responder.next_timeout(), None);
    let counters = bench.responder.addresses().map(|(_, c)| c.gratuitous).collect::<Vec<_>>();
    assert_eq!(counters, [10, 5]);

    // Given up before the time is over: silence at once.
    bench.release(V4);
    let start = bench.now;
    bench.claim(V4, InterfaceSet::Any);
    bench.wait(1500);
    bench.release(V4);
    bench.wait(10_000);
    assert_eq!(bench.times(start, 1, V4), [0, 0, 1100, 1100]);
}

#[test]
fn announcements_are_repeated_where_that_is_asked_for() {
    let gratuitous_interval = Some(Duration::from_secs(10));
    let mut bench = Bench::new(Settings { gratuitous_interval, ..Settings::default() }, &[link(1)]);
    let start = bench.now;
    bench.claim(V6, InterfaceSet::Any);
    bench.wait(35_000);
    assert_eq!(bench.times(start, 1, V6), [0, 1100, 2200, 3300, 4400, 14400, 24400, 34400]);
}

#[test]
fn links_that_come_up_change_or_appear_announce_again() {
    let mut bench = Bench::new(Settings::default(), &[link(1)]);
    bench.claim(V6, InterfaceSet::Any);
    bench.wait(60_000);
    bench.announced.clear();
    let down = Link { carrier: false, ..link(1) };
    let first = [0, 1100, 2200, 3300, 4400];
    for (what, links, expected) in [
        ("no carrier", vec![down.clone()], &[][..]),
        ("a carrier again", vec![Link { carrier_ups: 2, ..link(1) }], &first),
        ("nothing new", vec![Link { carrier_ups: 2, ..link(1) }], &[]),
        ("a carrier that came and went unseen", vec![Link { carrier_ups: 3, ..link(1) }], &first),
        ("another MAC", vec![Link { carrier_ups: 3, mac: Some(mac(7)), ..link(1) }], &first),
        ("put down", vec![Link { up: false, carrier: false, link_local: None, ..link(1) }], &[]),
        ("put up", vec![link(1)], &first),
        ("another name", vec![Link { name: "lan".into(), ..link(1) }], &[]),
        ("vanished", vec![], &[]),
        ("appeared", vec![link(1)], &first),
        ("enslaved", vec![Link { enslaved: true, ..link(1) }], &[]),
        ("set free", vec![link(1)], &first),
    ] {
        let start = bench.now;
        bench.give(Input::Links(&links));
        let answers =
            bench.ask(1, &solicitation(V6).encode(Mac::of_group(solicitation(V6).destination), ASKER));
        let able = links.iter().any(|l| l.up && !l.enslaved);
        assert_eq!(!answers.is_empty(), able, "{what}");
        assert_eq!(!bench.open.is_empty(), able, "{what}");
        assert_eq!(bench.groups.len(), usize::from(able), "{what}");
        bench.wait(60_000);
        assert_eq!(bench.times(start, 1, V6), expected, "{what}");
    }
    // A new link besides: only there.
    let start = bench.now;
    bench.give(Input::Links(&[link(1), link(2)]));
    bench.wait(60_000);
    assert_eq!(bench.times(start, 2, V6), first);
    assert_eq!(bench.times(start, 1, V6), []);
    // Answers have the new MAC.
    bench.give(Input::Links(&[Link { mac: Some(mac(8)), ..link(1) }]));
    let question = solicitation(V6);
    let answer = bench.ask(1, &question.encode(Mac::of_group(question.destination), ASKER));
    assert_eq!(answer, [question.reply(mac(8), "fe80::1".parse().unwrap()).encode(ASKER, mac(8))]);
}

#[test]
fn links_that_cannot_or_must_not_answer_dont() {
    let excluded = Exclusion::metallb_default();
    for (what, link, v4, v6) in [
        ("usable", link(1), true, true),
        ("excluded", Link { name: "docker0".into(), ..link(1) }, false, false),
        ("down", Link { up: false, ..link(1) }, false, false),
        ("of a bond", Link { enslaved: true, ..link(1) }, false, false),
        ("without ARP", Link { no_arp: true, ..link(1) }, false, false),
        ("not Ethernet", Link { mac: None, ..link(1) }, false, false),
        ("without broadcast", Link { broadcast: false, ..link(1) }, false, true),
        ("without IPv6", Link { link_local: None, ..link(1) }, true, false),
    ] {
        let mut bench = Bench::new(Settings { excluded: excluded.clone(), ..Settings::default() }, &[link]);
        bench.claim(V4, InterfaceSet::Any);
        bench.claim(V6, InterfaceSet::Any);
        assert_eq!(!bench.ask(1, &arp(V4).encode(Mac::BROADCAST)).is_empty(), v4, "{what}");
        let question = solicitation(V6).encode(Mac::of_group(solicitation(V6).destination), ASKER);
        assert_eq!(!bench.ask(1, &question).is_empty(), v6, "{what}");
    }
}

#[test]
fn renaming_follows_the_interfaces_of_an_address() {
    let mut bench = Bench::new(Settings::default(), &[link(1)]);
    bench.claim(V4, only(&["lan"]));
    let missing =
        |from_the_first| Event::NoInterface { address: ip(V4), wanted: only(&["lan"]), from_the_first };
    assert_eq!(std::mem::take(&mut bench.events), [missing(true)]);
    assert!(bench.open.is_empty(), "no socket without need");
    let start = bench.now;
    bench.give(Input::Links(&[Link { name: "lan".into(), ..link(1) }]));
    bench.wait(1000);
    assert_eq!(bench.times(start, 1, V4), [0, 0]);
    assert_eq!(std::mem::take(&mut bench.events), [Event::Answering { interface: "lan".into(), now: true }]);
    bench.give(Input::Links(&[link(1)]));
    assert!(bench.ask(1, &arp(V4).encode(Mac::BROADCAST)).is_empty());
    assert_eq!(bench.events, [Event::Answering { interface: "eth1".into(), now: false }, missing(false)]);
}

#[test]
fn a_group_is_left_with_the_last_of_its_addresses() {
    let mut bench = Bench::new(Settings::default(), &[link(1), link(2)]);
    // The same last 24 bits.
    let (one, other) = ("2001:db8::1", "2001:db8:0:1::1");
    bench.claim(one, InterfaceSet::Any);
    bench.claim(other, InterfaceSet::Any);
    assert_eq!(bench.groups.len(), 2);
    bench.release(one);
    assert_eq!(bench.groups.len(), 2);
    bench.release(other);
    assert!(bench.groups.is_empty() && bench.open.is_empty());
}

#[test]
fn a_foreign_claim_is_told_and_answered_at_most_once_in_10_s() {
    let mut bench = Bench::new(Settings::default(), &[link(1), link(2)]);
    bench.claim(V4, InterfaceSet::Any);
    bench.claim(V6, InterfaceSet::Any);
    bench.wait(60_000);
    bench.announced.clear();
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    let (IpAddr::V4(v4), IpAddr::V6(v6)) = (ip(V4), ip(V6)) else { panic!() };
    let reply = Arp::gratuitous(Operation::Reply, stranger, v4).encode(Mac::BROADCAST);
    let told = Advertisement::unsolicited(stranger, "fe80::99".parse().unwrap(), v6).encode(ASKER, stranger);
    for (address, claim) in [(V4, reply), (V6, told)] {
        let start = bench.now;
        bench.events.clear();
        for _ in 0..250 {
            bench.ask(1, &claim);
            bench.wait(100);
        }
        let per_round = if address == V4 { 2 } else { 1 };
        let expected: Vec<u128> = [0, 10_000, 20_000].into_iter().flat_map(|t| vec![t; per_round]).collect();
        assert_eq!(bench.times(start, 1, address), expected);
        assert_eq!(bench.times(start, 2, address), [], "only where it was heard");
        let conflict = Event::Conflict { interface: "eth1".into(), address: ip(address), claimant: stranger };
        assert_eq!(bench.events, vec![conflict; 3]);
    }
    // Our own announcement, heard on our other interface, is none, nor is a probe.
    bench.events.clear();
    bench.wait(20_000);
    let ours = Arp::gratuitous(Operation::Request, mac(2), v4).encode(Mac::BROADCAST);
    assert!(bench.ask(1, &ours).is_empty());
    let probe = Arp { sender_ip: Ipv4Addr::UNSPECIFIED, ..arp(V4) };
    bench.ask(1, &probe.encode(Mac::BROADCAST));
    bench.wait(1000);
    assert!(bench.events.is_empty() && bench.announced.is_empty());
    // A claim within the window of announcements doesn't cut that short.
    bench.release(V6);
    let start = bench.now;
    bench.claim(V6, InterfaceSet::Any);
    bench.wait(500);
    bench.ask(
        1,
        &Advertisement::unsolicited(stranger, "fe80::99".parse().unwrap(), v6).encode(ASKER, stranger),
    );
    bench.wait(20_000);
    assert_eq!(bench.times(start, 1, V6), [0, 500, 1600, 2700, 3800]);
}

#[test]
fn a_thousand_addresses_stay_under_the_rate_and_first_rounds_go_first() {
    let mut bench = Bench::new(Settings::default(), &[link(1), link(2)]);
    let start = bench.now;
    let all: Vec<IpAddr> = (0..1000_u32).map(|i| IpAddr::V4((0xc633_0000 + i).into())).collect();
    bench.give(Input::Addresses(all.iter().map(|a| (*a, Some(InterfaceSet::Any))).collect()));
    bench.wait(2000);
    // One more, in the middle of it.
    let late = bench.now;
    bench.claim(V4, InterfaceSet::Any);
    bench.wait(60_000);
    for interface in [1, 2] {
        let sent: Vec<(Instant, IpAddr)> =
            bench.announced.iter().filter(|(_, i, _)| *i == interface).map(|(at, _, a)| (*at, *a)).collect();
        assert_eq!(sent.len(), 1001 * 5 * 2);
        // Of any frame and the one that is sent n frames later: at least (n - burst) milliseconds.
        for n in [64, 65, 100, 1000, 5000] {
            for pair in sent.windows(n + 1) {
                let apart = pair[n].0.duration_since(pair[0].0).as_millis();
                assert!(apart >= (n as u128 + 1).saturating_sub(64), "{n} frames in {apart} ms");
            }
        }
        let first_round: std::collections::BTreeSet<IpAddr> =
            sent.iter().take(2000).map(|(_, a)| *a).collect();
        assert_eq!(first_round.len(), 1000);
        assert!(sent[1999].0.duration_since(start) <= Duration::from_secs(2));
        let latecomer = sent.iter().find(|(_, a)| *a == ip(V4)).unwrap().0;
        assert!(latecomer.duration_since(late) <= Duration::from_millis(64));
        assert!(sent.last().unwrap().0.duration_since(start) <= Duration::from_secs(12));
    }
    assert_eq!(bench.responder.next_timeout(), None);
}

#[test]
fn a_reopened_socket_makes_up_for_what_was_missed() {
    let mut bench = Bench::new(Settings::default(), &[link(1)]);
    bench.claim(V6, InterfaceSet::Any);
    bench.claim(V4, InterfaceSet::Any);
    bench.wait(60_000);
    bench.announced.clear();
    let joined = std::mem::take(&mut bench.groups);
    let start = bench.now;
    bench.give(Input::Reopened { interface: 1, socket: Socket::Ndp });
    assert_eq!(bench.groups, joined);
    bench.wait(1000);
    assert_eq!(bench.times(start, 1, V6), [0]);
    assert!(bench.announced.is_empty());
    bench.give(Input::Reopened { interface: 5, socket: Socket::Arp });
}

/// Whatever happens in whatever order: sockets and groups are exactly those that are needed, and who is answered is
/// what follows from the inputs.
#[test]
fn random_inputs_end_where_the_last_ones_say() {
    let mut state = 7_u64;
    let mut roll = |sides: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % sides
    };
    let addresses = [V4, "192.0.2.2", V6, "2001:db8:0:1::1", "2001:db8::2"];
    let sets = [InterfaceSet::Any, only(&["eth1"]), only(&["eth2", "lan"]), only(&[])];
    let mut bench = Bench::new(Settings::default(), &[]);
    let mut wanted: BTreeMap<IpAddr, InterfaceSet> = BTreeMap::new();
    let mut answered = 0;
    for step in 0..5000 {
        let mut links = Vec::new();
        for i in 1..=3 {
            let name = if roll(6) == 0 { "lan".into() } else { format!("eth{i}").into() };
            let (up, carrier, enslaved) = (roll(6) > 0, roll(6) > 0, roll(8) == 0);
            let link_local = link(i).link_local.filter(|_| roll(4) > 0);
            if roll(5) > 0 {
                links.push(Link { up, carrier, enslaved, name, link_local, ..link(i) });
            }
        }
        if roll(3) == 0 {
            links = vec![link(1), link(2)];
        }
        bench.give(Input::Links(&links));
        for _ in 0..roll(3) {
            let address = addresses[roll(5) as usize];
            if roll(3) == 0 {
                wanted.remove(&ip(address));
                bench.release(address);
            } else {
                let set = sets[roll(4) as usize].clone();
                wanted.insert(ip(address), set.clone());
                bench.claim(address, set);
            }
        }
        bench.wait(roll(3000));
        let usable = |l: &&Link| l.up && !l.enslaved;
        let mut open = std::collections::BTreeSet::new();
        let mut groups = std::collections::BTreeSet::new();
        for l in links.iter().filter(usable) {
            for address in wanted.iter().filter(|(_, set)| set.contains(&l.name)).map(|(a, _)| *a) {
                match address {
                    IpAddr::V6(v6) if l.link_local.is_some() => {
                        groups.insert((l.index, solicited_node_group(v6)));
                    }
                    IpAddr::V6(_) => continue,
                    IpAddr::V4(_) => {}
                }
                open.insert((l.index, Socket::of(address)));
            }
        }
        assert_eq!((&bench.open, &bench.groups), (&open, &groups), "step {step}");
        for l in &links {
            let expected = open.contains(&(l.index, Socket::Arp))
                && wanted.get(&ip(V4)).is_some_and(|set| set.contains(&l.name));
            let answers = bench.ask(l.index, &arp(V4).encode(Mac::BROADCAST));
            assert_eq!(!answers.is_empty(), expected, "step {step}, {}", l.name);
            answered += answers.len();
        }
        bench.announced.clear();
        bench.events.clear();
    }
    assert!(answered > 1000, "{answered}");
}
