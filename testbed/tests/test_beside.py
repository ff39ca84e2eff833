"""Beside another BGP daemon on FerroLB's own node: BIRD or GoBGP, where a CNI's would be."""

import contextlib
import datetime
import json
import os
import unittest
from pathlib import Path

import manifests
from labkit import build, topology
from labkit.rack import speaker_log
from labkit.routers import Bird, Frr, Gobgp
from labkit.runner import Lab
from labkit.wait import Late, Seen, until

TOPOLOGIES = Path(__file__).resolve().parents[1] / "topologies"
SECONDS = 30.0
# Router -> its kind, its address, and the node's main and second one on its link.
ROUTERS = {
    "frr": (Frr, "198.51.100.1", {"main": "198.51.100.2", "second": "198.51.100.3"}),
    "bird": (Bird, "198.51.100.17", {"main": "198.51.100.18", "second": "198.51.100.19"}),
    "gobgp": (Gobgp, "198.51.100.33", {"main": "198.51.100.34", "second": "198.51.100.35"}),
}
OURS, THEIRS = "192.0.2.10/32", "192.0.2.200/32"
# In so many attempts it shows that the pauses between them grow: 0, then 1, 2 and 4 s times 0.75 to 1.
REFUSALS = 5
LAST_PAUSE = 0.75 * 4
BESIDE_US = "another BGP speaker on this node"


class Beside:
    """Mixed into a `unittest.TestCase` that names the daemon on the node."""

    daemon = None
    process = None

    @classmethod
    def setUpClass(cls):
        binary = build.binary()
        cls.lab = Lab.claim(f"beside-{cls.daemon}-{os.getpid()}", keep=False)
        cls.addClassCleanup(cls.lab.down)
        cls.folder = manifests.Folder(cls.lab.folder / "manifests")
        cls.folder.write("node", manifests.node("n1", "198.51.100.2"))
        cls.folder.write("pool", manifests.pool("all", "192.0.2.0/28"), manifests.advertisement("all", "all"))
        cls.folder.write("web", *manifests.service("web", OURS.removesuffix("/32")))
        daemon = TOPOLOGIES / f"beside/node-{cls.daemon}"
        variables = {"FERROLB_BIN": str(binary), "LAB_MANIFESTS": str(cls.folder.path), "LAB_DAEMON": str(daemon)}
        cls.lab.build(topology.load(TOPOLOGIES / "beside.clab.yml", variables))
        cls.routers = {name: kind(cls.lab, name, addresses) for name, (kind, _, addresses) in ROUTERS.items()}
        cls.other = Bird(cls.lab, "other", {"main": "203.0.113.2"})

    def test_a_daemon_that_holds_port_179_and_peers_elsewhere_is_no_hindrance(self):
        wait("the daemon's route", lambda: self.other.path(THEIRS, "main"))
        elsewhere = self.other.life("main")
        # From the address that two of the routers dial, where the daemon answers them.
        self.peer_from("main")
        self.wait_route(OURS, "main")
        lives = self.lives("main")
        listeners = self.lab.run("n1", ["ss", "-Hltnp", "sport = :179"])
        self.assertIn(f'"{self.process}"', listeners)
        self.assertNotIn("ferrolb", listeners)
        found = [finding for finding in self.check() if finding["subject"] == "port 179"]
        self.assertTrue(found and all(self.process in finding["message"] for finding in found), found)
        # A change goes through, and nobody's session minds.
        self.folder.write("more", *manifests.service("more", "192.0.2.11"))
        self.addCleanup(self.folder.remove, "more")
        self.wait_route("192.0.2.11/32", "main")
        self.assert_live_on("main", lives)
        self.assertTrue(self.other.same_life(elsewhere, self.other.life("main")))
        self.assertIsNotNone(self.other.path(THEIRS, "main"))

    def test_a_router_that_has_a_session_with_the_daemon_refuses_ours_until_it_has_an_address_of_its_own(self):
        self.peer_from(None)
        for name, router in self.routers.items():
            wait(f"our session's end at {name}", lambda: not router.established("main"))
            router.forgive("main")
            self.turn(name, "enable")
            self.addCleanup(self.turn, name, "disable")
        self.wait_route(THEIRS, "main")
        lives, elsewhere = self.lives("main"), self.other.life("main")
        logged = len(self.log())
        self.peer_from("main")
        for name in ROUTERS:
            with self.explained(name):
                wait(f"refusals by {name}", lambda: self.seen_refusals(name, logged))
            self.assert_backed_off(name, logged)
        self.assert_live_on("main", lives)
        # It is told once as a warning, and as long as it lasts by status; before anybody tries, check knows.
        warned = [line["peer"] for line in self.log()[logged:] if line.get("event") == "sessionRefused"]
        self.assertEqual(sorted(warned), sorted(ROUTERS))
        for session in self.status()["sessions"]:
            self.assertIn(BESIDE_US, session["lastError"])
        taken = {finding["subject"]: finding for finding in self.check() if "already has a BGP session" in finding["message"]}
        self.assertEqual({subject.rpartition("/")[2] for subject in taken}, set(ROUTERS))
        for finding in taken.values():
            self.assertEqual(finding["severity"], "warning")
            self.assertTrue(finding["message"].startswith(f"{self.process} ("), finding)
            self.assertIn("sourceAddress", finding["remedy"])
        self.peer_from("second")
        self.wait_route(OURS, "second")
        self.wait_route(THEIRS, "main")
        self.assert_live_on("main", lives)
        self.assertTrue(self.other.same_life(elsewhere, self.other.life("main")))
        self.assertFalse([finding for finding in self.check() if "already has a BGP session" in finding["message"]])

    # --- doing

    def peer_from(self, which):
        """FerroLB peers with all routers from these addresses of the node, or with none."""
        chosen = ROUTERS.items() if which else ()
        peers = (manifests.peer(name, router, addresses[which]) for name, (_, router, addresses) in chosen)
        self.folder.write("peers", *peers)

    def turn(self, router, verb):
        """Has the daemon on the node begin or end its session with a router."""
        raise NotImplementedError

    def ferrolb(self, *argv):
        # The exit status says that something is wrong, as it is meant to be.
        return json.loads(self.lab.run("n1", ["/run/lab/ferrolb", *argv, "-o", "json"], check=False))

    def status(self):
        return self.ferrolb("status", "--state", "/run/ferrolb")

    def check(self):
        return self.ferrolb("check", "-f", "/run/lab/manifests", "--node", "n1")["findings"]

    def log(self):
        whole, _, _ = self.lab.run("n1", ["cat", "/run/ferrolb.log"]).rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    # --- waiting and judging

    def wait_route(self, prefix, session):
        for name, router in self.routers.items():
            with self.explained(name):
                wait(f"{prefix} at {name} from the {session} address", lambda: router.path(prefix, session))

    @contextlib.contextmanager
    def explained(self, name):
        try:
            yield
        except Late as late:
            raise AssertionError(f"{late}\nFerroLB's log:\n{speaker_log(self.lab, 'n1')}") from late

    def lives(self, session):
        return {name: router.life(session) for name, router in self.routers.items()}

    def assert_live_on(self, session, lives):
        for name, router in self.routers.items():
            with self.subTest(router=name):
                self.assertTrue(router.established(session))
                self.assertTrue(router.same_life(lives[name], router.life(session)))

    def refusals(self, name, since):
        """When the router has refused FerroLB's session, in seconds."""
        events = ("sessionRefused", "sessionState")
        lines = [line for line in self.log()[since:] if line.get("event") in events and line["peer"] == name]
        return [datetime.datetime.fromisoformat(line["ts"].replace("Z", "+00:00")).timestamp() for line in lines]

    def seen_refusals(self, name, since):
        times = self.refusals(name, since)
        return Seen(len(times) >= REFUSALS, times)

    def assert_backed_off(self, name, since):
        times = self.refusals(name, since)[:REFUSALS]
        self.assertGreaterEqual(times[-1] - times[-2], LAST_PAUSE, times)


class BesideBird(Beside, unittest.TestCase):
    daemon = process = "bird"

    def turn(self, router, verb):
        self.lab.run("n1", ["birdc", verb, f"{router}1"])


class BesideGobgp(Beside, unittest.TestCase):
    daemon, process = "gobgp", "gobgpd"

    def turn(self, router, verb):
        self.lab.run("n1", ["gobgp", "neighbor", ROUTERS[router][1], verb])


def wait(what, probe):
    return until(what, probe, SECONDS)


if __name__ == "__main__":
    unittest.main()
