"""Layer 2 on a real segment: who answers, who is believed, and how much is sent."""

import json
import os
import subprocess
import time
import unittest
from pathlib import Path

import manifests
from labkit import build, topology
from labkit.runner import Lab
from labkit.wait import Seen, until

TOPOLOGY = Path(__file__).resolve().parents[1] / "topologies/wire.clab.yml"
V4, V6, OTHER = "192.0.2.1", "2001:db8:5::1", "192.0.2.2"
MACS = {"n1": "02:00:00:00:01:01", "n2": "02:00:00:00:02:01"}
N1_ETH2 = "02:00:00:00:01:02"
# `src/core/layer2/responder/schedule.rs`: what an interface gets at the most.
PER_SECOND, BURST = 1000, 64


class Segment:
    """A lab, and what its stations do and see."""

    def __init__(self, name):
        binary = build.binary()
        self.lab = Lab.claim(name, keep=False)
        try:
            self.folder = manifests.Folder(self.lab.folder / "manifests")
            variables = {"FERROLB_BIN": str(binary), "LAB_MANIFESTS": str(self.folder.path)}
            self.lab.build(topology.load(TOPOLOGY, variables))
        except BaseException:
            self.lab.down()
            raise

    def write(self, addresses, advertisement=None, nodes=("n1", "n2")):
        """The whole configuration: services that hold these addresses, and who may answer for them."""
        self.folder.write("nodes", *(manifests.node(name) for name in nodes))
        pool = manifests.pool("all", "192.0.2.0/25", "2001:db8:5::/64", "198.51.100.0/22")
        self.folder.write("pool", pool, manifests.metallb("L2Advertisement", "all", advertisement or {}))
        documents = []
        for number, address in enumerate(addresses):
            service, *endpoints = manifests.service(f"s{number}", address)
            service["status"] = {"loadBalancer": {"ingress": [{"ip": address}]}}
            documents += [service, *endpoints]
        if documents:
            self.folder.write("services", *documents)
        else:
            self.folder.remove("services")

    def start(self, *nodes):
        for node in nodes or MACS:
            self.lab.run(node, ["sh", "/run/lab/speaker.sh", node])

    def stop(self, node):
        """As a power cut: what the process held is gone, and nobody is told."""
        self.lab.run(node, ["sh", "-c", "kill -9 $(cat /run/ferrolb.pid)"])

    def ip(self, node, arguments):
        return self.lab.run(node, ["ip", *arguments.split()])

    def ask(self, address, *options):
        """The MACs of all who answer one question."""
        argv = ["/usr/bin/python3", "/run/lab/segment.py", "ask", "--interface", "eth1", "--to", address, *options]
        return json.loads(self.lab.run("client", argv))

    def wait_answer(self, address, *macs, seconds=20.0):
        wanted = sorted(macs)

        def probe():
            answers = self.ask(address)
            return Seen(answers == wanted, answers)

        until(f"{wanted} answer for {address}", probe, seconds)

    def neighbor(self, address):
        """What the client's kernel knows of an address, without asking: its MAC, or None."""
        known = json.loads(self.ip("client", f"-j neigh show to {address} dev eth1") or "[]")
        return known[0].get("lladdr") if known else None

    def resolve(self, address):
        """Lets the client's kernel ask by itself; the MAC that it found."""
        family = "AF_INET6" if ":" in address else "AF_INET"
        code = f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'', ('{address}', 9))"
        self.lab.run("client", ["/usr/bin/python3", "-c", code])
        return until(f"the client's kernel knows {address}", lambda: self.neighbor(address), 10.0)

    def watch(self, seconds, act, *options):
        """The frames that the client sees from before `act` until `seconds` after its begin."""
        argv = ["/usr/bin/python3", "/run/lab/segment.py", "watch", "--interface", "eth1", "--seconds", str(seconds), *options]
        with self.lab.start("client", argv, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            act()
            return [json.loads(line) for line in process.stdout]

    def log(self, node):
        return self.lab.run(node, ["cat", "/run/ferrolb.log"])

    def owner(self, address):
        """The one node that answers."""
        answers = until(f"somebody answers for {address}", lambda: self.ask(address), 20.0)
        return {mac: node for node, mac in MACS.items()}[",".join(answers)]


class Layer2(unittest.TestCase):
    """Each test has a segment of its own."""

    def setUp(self):
        self.segment = Segment(f"wire-{os.getpid()}")
        self.addCleanup(self.segment.lab.down)

    def test_the_owner_alone_answers_and_the_other_takes_over(self):
        segment = self.segment
        segment.write([V4, V6])
        self.assertEqual((segment.ask(V4), segment.ask(V6)), ([], []))
        segment.start()
        for address in (V4, V6):
            segment.owner(address)
        for address in (V4, V6):
            with self.subTest(address=address):
                segment.write([V4, V6])
                owner = segment.owner(address)
                other = {"n1": "n2", "n2": "n1"}[owner]
                segment.wait_answer(address, MACS[owner])
                self.assertEqual(segment.resolve(address), MACS[owner])
                # The kernel of the client isn't asked: it believes the new owner's announcement.
                segment.write([V4, V6], nodes=[other])
                edited = time.monotonic()
                until(
                    f"the client's entry for {address} leads to {other}",
                    lambda: Seen(segment.neighbor(address) == MACS[other], segment.neighbor(address)), 10.0, 0.01,
                )
                print(f"       {address}: the client follows {time.monotonic() - edited:.2f} s after the edit")
                segment.wait_answer(address, MACS[other])
        self.assertIn("layer2WithoutLiveness", segment.log("n1"))

    def test_what_a_dead_node_owns_is_dark_until_its_node_is_gone(self):
        segment = self.segment
        segment.write([V4])
        segment.start()
        owner = segment.owner(V4)
        segment.stop(owner)
        segment.wait_answer(V4)
        other = {"n1": "n2", "n2": "n1"}[owner]
        segment.write([V4], nodes=[other])
        segment.wait_answer(V4, MACS[other])

    def test_solicitations_of_all_kinds_are_answered_and_a_probe_finds_the_address_taken(self):
        segment = self.segment
        segment.write([V6], nodes=["n1"])
        segment.start("n1")
        segment.wait_answer(V6, MACS["n1"])
        for options in (["--quietly"], ["--mac", MACS["n1"]], ["--quietly", "--mac", MACS["n1"]]):
            self.assertEqual(segment.ask(V6, *options), [MACS["n1"]], options)
        self.assertEqual(segment.ask(V6, "--mac", MACS["n2"]), [])
        # The client's own kernel tries to take it (RFC 4862 5.4).
        for setting in ("accept_dad", "dad_transmits"):
            segment.lab.run("client", ["sysctl", "-qw", f"net.ipv6.conf.eth1.{setting}=1", f"net.ipv6.conf.all.{setting}=1"])
        segment.ip("client", f"-6 address add {V6}/64 dev eth1")
        until("a duplicate is found", lambda: "dadfailed" in segment.ip("client", "-6 address show dev eth1"), 10.0)

    def test_groups_are_joined_and_left(self):
        segment = self.segment
        segment.write([V6], nodes=["n1"])
        segment.start("n1")
        segment.wait_answer(V6, MACS["n1"])
        members = lambda: "ff02::1:ff00:1" in segment.ip("n1", "-6 maddress show dev eth1").split()
        self.assertTrue(members())
        segment.write([], nodes=["n1"])
        until("the group is left", lambda: not members(), 10.0)
        self.assertEqual(segment.ask(V6), [])

    def test_links_are_followed(self):
        segment = self.segment
        segment.write([V4, V6], nodes=["n1"])
        segment.start("n1")
        segment.wait_answer(V4, MACS["n1"])
        announced = lambda frames, mac: {f["ip"] for f in frames if f["gratuitous"] and f["mac"] == mac} >= {V4, V6}

        def down_and_up():
            segment.ip("n1", "link set eth1 down")
            segment.ip("n1", "link set eth1 up")

        until("the announcements of the start are over", lambda: not segment.watch(1.5, lambda: None), 20.0)
        self.assertTrue(announced(segment.watch(5.0, down_and_up), MACS["n1"]), "after link up")
        segment.wait_answer(V4, MACS["n1"])
        new = "02:00:00:00:01:99"
        until("the announcements are over", lambda: not segment.watch(1.5, lambda: None), 20.0)
        frames = segment.watch(4.0, lambda: segment.ip("n1", f"link set eth1 address {new}"))
        self.assertTrue(announced(frames, new), frames)
        segment.wait_answer(V4, new)
        segment.wait_answer(V6, new)

    def test_interfaces_of_an_advertisement_by_whatever_name(self):
        segment = self.segment
        segment.ip("n1", "link set eth2 up")
        segment.write([V4], {"interfaces": ["eth2"]}, nodes=["n1"])
        segment.start("n1")
        segment.wait_answer(V4, N1_ETH2)
        segment.write([V4], {"interfaces": ["eth1"]}, nodes=["n1"])
        segment.wait_answer(V4, MACS["n1"])
        segment.write([V4], {"interfaces": ["lan"]}, nodes=["n1"])
        segment.wait_answer(V4)
        until("it is told", lambda: "announceFailed" in segment.log("n1"), 10.0)
        segment.ip("n1", "link set eth2 down")
        segment.ip("n1", "link set eth2 name lan")
        segment.ip("n1", "link set lan up")
        segment.wait_answer(V4, N1_ETH2)
        # A name of MetalLB's list never answers.
        segment.write([V4], nodes=["n1"])
        segment.wait_answer(V4, MACS["n1"], N1_ETH2)
        segment.ip("n1", "link set lan down")
        segment.ip("n1", "link set lan name veth7")
        segment.ip("n1", "link set veth7 up")
        segment.wait_answer(V4, MACS["n1"])

    def test_a_thousand_addresses_stay_under_the_stated_rate(self):
        segment = self.segment
        segment.write([OTHER], nodes=["n1"])
        segment.start("n1")
        segment.wait_answer(OTHER, MACS["n1"])
        until("the announcements of the start are over", lambda: not segment.watch(1.5, lambda: None), 20.0)
        many = [f"198.51.{100 + number // 250}.{1 + number % 250}" for number in range(1000)]
        frames = segment.watch(60.0, lambda: segment.write([OTHER, *many], nodes=["n1"]), "--quiet", "4")
        times = sorted(f["at"] for f in frames if f["gratuitous"] and f["ip"] in set(many))
        # Five rounds of a request and a reply, none lost.
        self.assertEqual(len(times), 10000)
        # A little more than stated: the clock is that of a switch and a receiver that may lag.
        busiest = max(sum(1 for t in times if start <= t < start + 1) for start in times[::50])
        self.assertLessEqual(busiest, (PER_SECOND + BURST) * 1.1)
        first = {}
        for frame in frames:
            first.setdefault(frame["ip"], frame["at"])
        told = max(first[ip] for ip in many) - min(first[ip] for ip in many)
        self.assertLess(told, 3.0)
        print(f"       1,000 addresses: {busiest} frames in the busiest second, all told once within {told:.2f} s")

    def test_another_stations_claim_is_told_and_answered(self):
        segment = self.segment
        segment.write([V4], nodes=["n1"])
        segment.start("n1")
        segment.wait_answer(V4, MACS["n1"])
        until("the announcements of the start are over", lambda: not segment.watch(1.5, lambda: None), 20.0)
        # n2 runs no FerroLB here; its kernel announces its addresses when its MAC changes (arp_notify).
        segment.lab.run("n2", ["sysctl", "-qw", "net.ipv4.conf.eth1.arp_notify=1"])

        def claim():
            segment.ip("n2", f"address add {V4}/32 dev eth1")
            segment.ip("n2", "link set eth1 address 02:00:00:00:02:99")

        frames = segment.watch(4.0, claim)
        defended = [f for f in frames if f["gratuitous"] and f["ip"] == V4 and f["mac"] == MACS["n1"]]
        self.assertEqual(len(defended), 2, frames)
        until("it is told", lambda: "addressConflict" in segment.log("n1"), 10.0)


if __name__ == "__main__":
    unittest.main()
