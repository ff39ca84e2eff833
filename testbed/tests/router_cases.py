"""What a router must see of one FerroLB node; run against each router by the modules beside this one.

All tests share one standing lab (`pair.clab.yml`, `pair-bird.clab.yml` and so on) in which each kind of
session stands by itself. Each test leaves the manifests as it found them. Where a router can't do what a
test asks for, its module has `@cannot` in its place: a test of the router's own refusal.
"""

import contextlib
import json
import os
import time
from pathlib import Path

from labkit import build, topology
from labkit.rack import speaker_log
from labkit.routers import ADMINISTRATIVE_SHUTDOWN, HOLD_TIMER_EXPIRED, Bird
from labkit.runner import Lab
from labkit.wait import Late, Seen, until

import manifests
from edits import Edits
from manifests import Folder

TOPOLOGIES = Path(__file__).resolve().parents[1] / "topologies"
PASSWORD = "the-right-one"
NODE_IPV6 = {"2001:db8::81", "2001:db8::82", "2001:db8::83", "2001:db8::84"}
NODE_IPV4 = {f"198.51.100.{last}" for last in range(129, 138)}

# Session name -> router's address, node's address, further fields of the BGPPeer.
SESSIONS = {
    "ebgp4": ("198.51.100.1", "198.51.100.129", {}),
    "ibgp4": ("198.51.100.2", "198.51.100.130", {"asn": 64513}),
    "both4": ("198.51.100.3", "198.51.100.131", {"dualStackAddressFamily": True}),
    "secret4": ("198.51.100.4", "198.51.100.132", {"password": PASSWORD}),
    "wrong4": ("198.51.100.5", "198.51.100.133", {"password": "a-wrong-one"}),
    "wide4": ("198.51.100.6", "198.51.100.134", {"asn": 4_200_000_001, "holdTime": "60s", "keepaliveTime": "20s"}),
    "old4": ("198.51.100.7", "198.51.100.135", {}),
    "oldwide4": ("198.51.100.9", "198.51.100.137", {"asn": 4_200_000_001}),
    "short4": ("198.51.100.8", "198.51.100.136", {"holdTime": "3s", "keepaliveTime": "1s"}),
    "ebgp6": ("2001:db8::1", "2001:db8::81", {}),
    "ibgp6": ("2001:db8::2", "2001:db8::82", {"asn": 64513}),
    "both6": ("2001:db8::3", "2001:db8::83", {"dualStackAddressFamily": True}),
    "secret6": ("2001:db8::4", "2001:db8::84", {"passwordSecret": {"name": "tor"}}),
    "beside4": ("203.0.113.1", "203.0.113.129", {"peerASN": 64514}),
}
WEB4, WEB6 = "192.0.2.10/32", "2001:db8:5::10/128"
# Loose enough for a busy machine; the tests that judge a time measure it themselves.
SECONDS = 30.0
QUIET_SECONDS = 0.7
# In which a session that can come back has come back.
REDIAL_SECONDS = 3.0
# For as long as the slow router reads nothing.
STALL_SECONDS = 3.0
MANY = 10_000
EDITS = 1000
# Long enough for each edit to be taken in by itself.
EDIT_SECONDS = 0.008
# Each of these edits of a BGPPeer is a reset; the last one of each makes the session possible again.
RESETS = (
    ({"routerID": "192.0.2.201"},),
    ({"ebgpMultiHop": True},),
    ({"dualStackAddressFamily": False},),
    ({"myASN": 64600, "localASN": 64512},),
    ({"peerPort": 1790}, {"peerPort": None}),
)


class RouterCases:
    """Mixed into a `unittest.TestCase` that names `topology` and makes `router`."""

    topology = None
    make_router = None
    # The sessions that the router can't have.
    lacks = frozenset()

    @classmethod
    def setUpClass(cls):
        binary = build.binary()
        cls.lab = Lab.claim(f"{cls.topology}-{os.getpid()}", keep=False)
        cls.addClassCleanup(cls.lab.down)
        cls.folder = Folder(cls.lab.folder / "manifests")
        write_base(cls.folder)
        variables = {"FERROLB_BIN": str(binary), "LAB_MANIFESTS": str(cls.folder.path)}
        cls.lab.build(topology.load(TOPOLOGIES / f"{cls.topology}.clab.yml", variables))
        neighbors = {session: node for session, (_, node, _) in SESSIONS.items()}
        cls.router = cls.make_router(cls.lab, "tor", neighbors)
        cls.beside = Bird(cls.lab, "beside", neighbors)
        try:
            cls.wait_base()
        except Late as late:
            raise AssertionError(f"the lab isn't ready: {late}\nFerroLB's log:\n{speaker_log(cls.lab, 'n1')}") from late

    def setUp(self):
        write_base(self.folder)
        self.wait_base()

    # --- sessions

    def test_every_session_without_a_password_is_established(self):
        for session in SESSIONS.keys() - self.lacks - {"secret4", "secret6", "wrong4", "beside4"}:
            with self.subTest(session=session):
                self.wait_established(session)

    def test_a_session_of_each_family_is_established_with_its_md5_password(self):
        self.wait_path(WEB4, "secret4")
        self.wait_path(WEB6, "secret6")

    def test_a_wrong_md5_password_keeps_the_session_down_until_it_is_corrected(self):
        self.wait_established("secret4")
        self.assertFalse(self.router.established("wrong4"))
        self.folder.write("peers", *peers(wrong4={"password": PASSWORD}), manifests.secret("tor", PASSWORD))
        self.wait_path(WEB4, "wrong4")
        # A changed password counts from the next connection on, so that both sides can be changed in turn.
        write_base(self.folder)
        time.sleep(QUIET_SECONDS)
        self.assertTrue(self.router.established("wrong4"))
        self.router.reset("wrong4")
        until("wrong4 down again", lambda: not self.router.established("wrong4"), SECONDS)
        time.sleep(REDIAL_SECONDS)
        self.assertFalse(self.router.established("wrong4"))

    def test_the_hold_time_is_the_peers_own(self):
        self.wait_established("ebgp4")
        self.assertEqual(self.router.hold_time("ebgp4"), 9)

    def test_the_open_offers_exactly_the_families_of_the_session(self):
        for session, families in (("ebgp4", {"ipv4"}), ("ebgp6", {"ipv6"}), ("both4", {"ipv4", "ipv6"}), ("both6", {"ipv4", "ipv6"})):
            with self.subTest(session=session):
                self.wait_established(session)
                self.assertEqual(self.router.families(session), families)

    def test_a_password_is_neither_in_the_log_nor_in_the_state(self):
        self.assertEqual(self.lab.run("n1", ["grep", "-rlF", PASSWORD, "/run/ferrolb", "/run/ferrolb.log"], check=False), "")

    def test_a_reset_by_the_router_is_obeyed_and_the_routes_come_back(self):
        before = self.router.life("ebgp4")
        self.router.reset("ebgp4")
        until("ebgp4 up anew", lambda: self.router.established("ebgp4") and not self.router.same_life(before, self.router.life("ebgp4")), SECONDS)
        self.wait_path(WEB4, "ebgp4")

    def test_an_edit_of_one_peer_touches_no_other_session(self):
        others = {name: self.router.life(name) for name in ("ebgp4", "ebgp6", "ibgp4")}
        self.folder.write("peers", *without("both4"), manifests.secret("tor", PASSWORD))
        until("both4 down", lambda: not self.router.established("both4"), SECONDS)
        self.router.forgive("both4")
        write_base(self.folder)
        self.wait_established("both4")
        for name, before in others.items():
            with self.subTest(session=name):
                self.assertTrue(self.router.same_life(before, self.router.life(name)))

    def test_a_thousand_random_edits_reset_only_the_sessions_that_they_must(self):
        quiet = SESSIONS.keys() - self.lacks - {"wrong4", "beside4", "both4", "short4"}
        for session in ("both4", *quiet):
            self.wait_established(session)
        edits = Edits(self.folder, peers(), quiet, PASSWORD, seed=8)
        self.addCleanup(edits.clear)
        lives, beside = {session: self.router.life(session) for session in quiet}, self.beside.life("beside4")
        # Both sides try again soon.
        edits.edit_peer("both4", connectTime="1s")
        for number, resets in enumerate(RESETS, 1):
            with self.one_reset("both4"):
                for fields in resets:
                    edits.edit_peer("both4", **fields)
                    self._edit_until(edits, edits.count + 10)
                self._edit_until(edits, number * EDITS // len(RESETS))
        self.assertEqual(edits.count, EDITS)
        # They were edits all right: the routes are what the manifests say in the end, and again after all is restored.
        edits.clear()
        self.folder.write("pools", *pools(communities=["64512:300"]))
        until("the last edit's community", lambda: self._communities(WEB4, "ebgp4") == {"64512:300"}, SECONDS)
        with self.one_reset("both4"):
            write_base(self.folder)
        until("the first communities", lambda: self._communities(WEB4, "ebgp4") == {"64512:100", "64512:200"}, SECONDS)
        for session, life in lives.items():
            with self.subTest(session=session):
                self.assertTrue(self.router.established(session))
                self.assertTrue(self.router.same_life(life, self.router.life(session)))
        self.assertTrue(self.beside.same_life(beside, self.beside.life("beside4")))
        self.assertEqual(self.router.hold_time("ebgp4"), 9)

    def test_a_route_refresh_brings_everything_again_without_a_reset(self):
        self.wait_settled("ebgp4")
        before, life = self.router.updates("ebgp4"), self.router.life("ebgp4")
        self.router.refresh("ebgp4")
        until("the routes again", lambda: self.router.updates("ebgp4") > before, SECONDS)
        self.assertIsNotNone(self.router.path(WEB4, "ebgp4"))
        self.assertTrue(self.router.same_life(life, self.router.life("ebgp4")))

    def test_the_routers_hold_timer_expires_when_nothing_comes_and_the_session_heals(self):
        self._expire("ip saddr 198.51.100.136 drop", "sent")

    def test_the_nodes_hold_timer_expires_when_nothing_comes_and_the_session_heals(self):
        # What carries data is lost, bare acknowledgements aren't: so the node's goodbye arrives.
        self._expire("ip daddr 198.51.100.136 tcp flags & psh == psh drop", "received")

    def _expire(self, rule, direction):
        self.wait_path(WEB4, "short4")
        other = self.router.life("ebgp4")
        with self.filtered(rule):
            until("the hold timer's end", lambda: self._ended("short4", direction, HOLD_TIMER_EXPIRED), SECONDS)
            until("short4 down", lambda: not self.router.established("short4"), SECONDS)
            self.wait_no_path(WEB4, "short4")
        self.router.forgive("short4")
        self.wait_path(WEB4, "short4")
        self.assertTrue(self.router.same_life(other, self.router.life("ebgp4")))

    def test_a_session_whose_packets_are_all_lost_ends_at_the_hold_time_and_dials_anew(self):
        # TCP alone would keep its old socket, and send again and again, for 15 minutes.
        self.wait_path(WEB4, "short4")
        other, before = self.router.life("ebgp4"), self._sockets("short4")
        self.assertEqual(len(before), 1)
        node = SESSIONS["short4"][1]
        with self.filtered(f"ip saddr {node} drop\nip daddr {node} drop"):
            began = time.monotonic()
            until("the old socket's end", lambda: not before & self._sockets("short4"), SECONDS)
            self.assertLess(time.monotonic() - began, 3 + 2, "the hold time is 3 s")
            until("short4 down at the router", lambda: not self.router.established("short4"), SECONDS)
        self.router.forgive("short4")
        self.wait_path(WEB4, "short4")
        self.assertFalse(before & self._sockets("short4"))
        self.assertTrue(self.router.same_life(other, self.router.life("ebgp4")))

    def _sockets(self, session):
        """The node's ends of the session's connections that stand, by address and port."""
        router, node, _ = SESSIONS[session]
        lines = self.lab.run("n1", ["ss", "-Htn", "state", "established", "src", node, "dst", router]).splitlines()
        return {line.split()[2] for line in lines}

    def test_a_router_that_crashes_and_restarts_has_everything_again(self):
        beside = self.beside.life("beside4")
        self.router.restart()
        for prefix, session in ((WEB4, "ebgp4"), (WEB6, "ebgp6"), (WEB4, "ibgp4"), (WEB4, "both4"), (WEB6, "both4")):
            self.wait_path(prefix, session)
        self.assertTrue(self.beside.same_life(beside, self.beside.life("beside4")))

    def test_a_router_that_reads_nothing_for_seconds_delays_nobody_and_catches_up(self):
        self.wait_path(WEB4, "wide4")
        before, life = self.router.count("wide4"), self.router.life("wide4")
        other, beside = self.beside.count("beside4"), self.beside.life("beside4")
        self.write_many("wide4", "beside4")
        self.router.signal("STOP")
        try:
            stopped = time.monotonic()
            self.folder.write_text("many", many_services())
            until("all routes at the other router", lambda: _seen_count(self.beside, "beside4", other + MANY), SECONDS)
            self.folder.write("more", *manifests.service("more", "192.0.2.20"))
            self.addCleanup(self.folder.remove, "more")
            until("one more at the other router", lambda: self.beside.path("192.0.2.20/32", "beside4"), SECONDS)
            time.sleep(max(0.0, stopped + STALL_SECONDS - time.monotonic()))
            waiting = self.lab.run("tor", ["ss", "-Htn", "state", "established", "src", SESSIONS["wide4"][0]]).split()[0]
            self.assertGreater(int(waiting), 1000, "the router had nothing left to read")
        finally:
            self.router.signal("CONT")
        until("all routes", lambda: _seen_count(self.router, "wide4", before + MANY + 1), SECONDS)
        self.assertTrue(self.router.same_life(life, self.router.life("wide4")))
        self.assertTrue(self.beside.same_life(beside, self.beside.life("beside4")))

    # --- what a route carries

    def test_an_ebgp_route_of_each_family_has_next_hop_as_path_and_communities(self):
        for prefix, session, next_hop in ((WEB4, "ebgp4", "198.51.100.129"), (WEB6, "ebgp6", "2001:db8::81")):
            with self.subTest(session=session):
                path = self.wait_path(prefix, session)
                self.assertEqual(path.next_hop, next_hop)
                self.assertEqual(path.as_path, (64512,))
                self.assertEqual(path.origin, "IGP")
                self.assertEqual(path.communities, {"64512:100", "64512:200"})
                self.assertEqual(path.large_communities, {"64512:1:100"})

    def test_an_ibgp_route_of_each_family_has_local_preference_and_an_empty_as_path(self):
        for prefix, session, next_hop in ((WEB4, "ibgp4", "198.51.100.130"), (WEB6, "ibgp6", "2001:db8::82")):
            with self.subTest(session=session):
                path = self.wait_path(prefix, session)
                self.assertEqual(path.next_hop, next_hop)
                self.assertEqual(path.as_path, ())
                self.assertEqual(path.local_pref, 150)
                self.assertEqual(path.communities, {"64512:100", "64512:200"})
                self.assertEqual(path.large_communities, {"64512:1:100"})

    def test_local_preference_is_100_to_ibgp_where_none_is_asked_for(self):
        self.folder.write("plain", manifests.pool("plain", "192.0.2.64/28"), manifests.advertisement("plain", "plain"),
                          *manifests.service("plain", "192.0.2.64"))
        self.addCleanup(self.folder.remove, "plain")
        path = self.wait_path("192.0.2.64/32", "ibgp4")
        self.assertEqual(path.local_pref, 100)
        self.assertEqual((path.communities, path.large_communities), (frozenset(), frozenset()))

    def test_an_as_number_of_four_octets_arrives_whole(self):
        self.assertEqual(self.wait_path(WEB4, "wide4").as_path, (4_200_000_001,))

    def test_a_router_with_as_numbers_of_two_octets_only_gets_the_route(self):
        path = self.wait_path(WEB4, "old4")
        self.assertEqual((path.as_path, path.next_hop), ((64512,), "198.51.100.135"))
        self.assertFalse(self.router.four_octets("old4"))

    def test_a_router_with_as_numbers_of_two_octets_only_gets_longer_ones_beside_them(self):
        # The session's AS_PATH says 23456 (AS_TRANS); the router has put it together with AS4_PATH.
        self.assertEqual(self.wait_path(WEB4, "oldwide4").as_path, (4_200_000_001,))
        self.assertFalse(self.router.four_octets("oldwide4"))

    def test_an_ipv4_session_with_both_families_gives_ipv6_routes_the_nodes_ipv6_address(self):
        self.assertEqual(self.wait_path(WEB4, "both4").next_hop, "198.51.100.131")
        self.assertIn(self.wait_path(WEB6, "both4").next_hop, NODE_IPV6)

    def test_an_ipv6_session_with_both_families_gives_ipv4_routes_the_nodes_ipv4_address(self):
        self.assertEqual(self.wait_path(WEB6, "both6").next_hop, "2001:db8::83")
        self.assertIn(self.wait_path(WEB4, "both6").next_hop, NODE_IPV4)

    def test_a_session_carries_its_own_family_only_unless_told_otherwise(self):
        self.wait_path(WEB6, "both4")
        self.assertIsNone(self.router.path(WEB6, "ebgp4"))
        self.assertIsNone(self.router.path(WEB4, "ebgp6"))

    def test_as_path_prepend_lengthens_the_path_to_ebgp_peers_only(self):
        self.folder.write("far", manifests.pool("far", "192.0.2.80/28"),
                          manifests.advertisement("far", "far", asPathPrepend=2), *manifests.service("far", "192.0.2.80"))
        self.addCleanup(self.folder.remove, "far")
        self.assertEqual(self.wait_path("192.0.2.80/32", "ebgp4").as_path, (64512, 64512, 64512))
        self.assertEqual(self.wait_path("192.0.2.80/32", "ibgp4").as_path, ())

    def test_aggregation_announces_one_covering_prefix_until_its_last_service_goes(self):
        self.folder.write("block", manifests.pool("block", "192.0.2.96/28", "2001:db8:5:1::/112"),
                          manifests.advertisement("block", "block", aggregationLength=28, aggregationLengthV6=112))
        self.folder.write("block-a", *manifests.service("block-a", "192.0.2.97"))
        self.folder.write("block-b", *manifests.service("block-b", "192.0.2.98"))
        self.folder.write("block-c", *manifests.service("block-c", "2001:db8:5:1::7"))
        for name in ("block", "block-a", "block-b", "block-c"):
            self.addCleanup(self.folder.remove, name)
        self.wait_path("192.0.2.96/28", "ebgp4")
        self.wait_path("2001:db8:5:1::/112", "ebgp6")
        self.assertIsNone(self.router.path("192.0.2.97/32", "ebgp4"))
        self.folder.remove("block-a")
        time.sleep(QUIET_SECONDS)
        self.assertIsNotNone(self.router.path("192.0.2.96/28", "ebgp4"))
        self.folder.remove("block-b")
        self.wait_no_path("192.0.2.96/28", "ebgp4")

    # --- change

    def test_ten_thousand_routes_arrive_and_go(self):
        before = self.router.count("ebgp4")
        self.write_many("ebgp4")
        self.folder.write_text("many", many_services())
        until("all routes", lambda: _seen_count(self.router, "ebgp4", before + MANY), SECONDS)
        path = self.wait_path("10.77.39.16/32", "ebgp4")
        self.assertEqual((path.next_hop, path.as_path), ("198.51.100.129", (64512,)))
        self.folder.remove("many")
        until("the routes' withdrawal", lambda: _seen_count(self.router, "ebgp4", before), SECONDS)

    def test_a_new_service_is_one_update_and_a_removed_one_is_withdrawn(self):
        self.wait_settled("ebgp4")
        before = self.router.updates("ebgp4")
        self.folder.write("more", *manifests.service("more", "192.0.2.20"))
        self.addCleanup(self.folder.remove, "more")
        self.wait_path("192.0.2.20/32", "ebgp4")
        self.wait_settled("ebgp4")
        self.assertEqual(self.router.updates("ebgp4"), before + 1)
        self.folder.remove("more")
        self.wait_no_path("192.0.2.20/32", "ebgp4")
        self.wait_settled("ebgp4")
        self.assertEqual(self.router.updates("ebgp4"), before + 2)

    def test_a_file_written_again_with_the_same_content_sends_nothing(self):
        self.wait_settled("ebgp4")
        before = self.router.updates("ebgp4")
        self.folder.write("web4", *manifests.service("web4", "192.0.2.10"))
        self.wait_settled("ebgp4")
        self.assertEqual(self.router.updates("ebgp4"), before)

    def test_a_service_whose_last_endpoint_goes_is_withdrawn_and_comes_back_with_it(self):
        documents = list(manifests.service("web4", "192.0.2.10"))
        documents[1]["endpoints"] = []
        self.folder.write("web4", *documents)
        self.wait_no_path(WEB4, "ebgp4")
        self.folder.write("web4", *manifests.service("web4", "192.0.2.10"))
        self.wait_path(WEB4, "ebgp4")

    def test_changed_communities_replace_the_route_without_a_session_reset(self):
        before = self.router.life("ebgp4")
        self.folder.write("pools", *pools(communities=["64512:300"]))
        until("the new community", lambda: self._communities(WEB4, "ebgp4") == {"64512:300"}, SECONDS)
        self.assertTrue(self.router.same_life(before, self.router.life("ebgp4")))
        self.folder.write("pools", *pools())
        until("the old communities", lambda: self._communities(WEB4, "ebgp4") == {"64512:100", "64512:200"}, SECONDS)

    def test_a_broken_file_takes_nothing_away(self):
        self.wait_settled("ebgp4")
        before = self.router.updates("ebgp4")
        self.folder.write_text("web4", "kind: [Service\n")
        self.folder.write_text("peers", "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: 7\n")
        self.wait_settled("ebgp4")
        self.assertIsNotNone(self.router.path(WEB4, "ebgp4"))
        self.assertEqual(self.router.updates("ebgp4"), before)
        self.assertTrue(self.router.established("ebgp6"))

    # --- the end

    def test_sigterm_ends_with_administrative_shutdown_within_a_second(self):
        self.wait_established("ebgp4")
        pid = self.lab.run("n1", ["cat", "/run/ferrolb.pid"]).strip()
        self.addCleanup(self.lab.run, "n1", ["sh", "/run/lab/speaker.sh", "n1"])
        self.addCleanup(self.router.forgive_all)
        begun = time.monotonic()
        self.lab.run("n1", ["sh", "-c", f"kill -TERM {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.02; done"])
        self.assertLess(time.monotonic() - begun, 1.0)
        for session in ("ebgp4", "ebgp6", "ibgp4"):
            with self.subTest(session=session):
                until("the goodbye", lambda: self._ended(session, "received", ADMINISTRATIVE_SHUTDOWN), 5.0)
                self.assertFalse(self.router.established(session))
        self.wait_no_path(WEB4, "ebgp4")

    # --- doing

    @contextlib.contextmanager
    def filtered(self, rule):
        """While packets that enter or leave the node are lost by a rule of nftables."""
        hooks = "\n".join(f"chain {hook} {{\ntype filter hook {hook} priority 0\n{rule}\n}}" for hook in ("input", "output"))
        self.lab.run("n1", ["nft", f"table ip lost {{\n{hooks}\n}}"])
        try:
            yield
        finally:
            self.lab.run("n1", ["nft", "delete table ip lost"])

    def _edit_until(self, edits, count):
        while edits.count < count:
            edits.one()
            time.sleep(EDIT_SECONDS)

    @contextlib.contextmanager
    def one_reset(self, session):
        """What is done within ends the session, once, and it comes back."""
        before = self.router.life(session)
        yield
        until(f"{session} reset", lambda: not self._lives_on(session, before), SECONDS)
        self.router.forgive(session)
        until(f"{session} up again", lambda: self.router.established(session) and not self._lives_on(session, before), SECONDS)
        self.assertTrue(self.router.next_life(before, self.router.life(session)), "more than one session")

    def _lives_on(self, session, life):
        return self.router.established(session) and self.router.same_life(life, self.router.life(session))

    def write_many(self, *sessions):
        """The pool for many services, advertised over these sessions, until the test's end."""
        self.addCleanup(self.folder.remove, "many")
        self.addCleanup(self.folder.remove, "many-pool")
        self.folder.write("many-pool", manifests.pool("many", "10.77.0.0/18"), manifests.advertisement("many", "many", peers=list(sessions)))

    # --- waiting

    @classmethod
    def wait_base(cls):
        cls.wait_path(WEB4, "ebgp4")
        cls.wait_path(WEB6, "ebgp6")

    @classmethod
    def wait_established(cls, session):
        until(f"{session} established", lambda: cls.router.established(session), SECONDS)

    @classmethod
    def wait_path(cls, prefix, session):
        until(f"{prefix} over {session}", lambda: cls._seen(prefix, session), SECONDS)
        return cls.router.path(prefix, session)

    @classmethod
    def wait_no_path(cls, prefix, session):
        until(f"{prefix} withdrawn on {session}", lambda: cls.router.path(prefix, session) is None, SECONDS)

    @classmethod
    def wait_settled(cls, session):
        """Nothing has come over the session for a while."""
        def quiet():
            before = cls.router.updates(session)
            time.sleep(QUIET_SECONDS)
            return cls.router.updates(session) == before
        until(f"{session} quiet", quiet, SECONDS)

    @classmethod
    def _seen(cls, prefix, session):
        path = cls.router.path(prefix, session)
        return Seen(path is not None, path)

    @classmethod
    def _ended(cls, session, direction, code):
        end = cls.router.last_end(session)
        return Seen(end == (direction, code), end)

    @classmethod
    def _communities(cls, prefix, session):
        path = cls.router.path(prefix, session)
        return path and path.communities


def cannot(reason):
    """Marks the test of a router's refusal, which stands in the place of what the router can't do.

    `reason` goes into the table of docs/interoperability.md: one sentence, with the evidence.
    """
    def mark(test):
        test.cannot = reason
        return test
    return mark


def _seen_count(router, session, wanted):
    count = router.count(session)
    return Seen(count == wanted, count)


def many_services():
    """Many Services with their slices, written fast: all differ in their number only."""
    documents = [json.dumps(document) for document in manifests.service("many-NUMBER", "10.77.HIGH.LOW")]
    text = "\n---\n".join([*documents, ""])
    return "".join(
        text.replace("NUMBER", str(number)).replace("HIGH", str(number // 256)).replace("LOW", str(number % 256)) for number in range(1, MANY + 1)
    )


def write_base(folder):
    """The manifests that every test starts from."""
    folder.write("nodes", manifests.node("n1", "198.51.100.129", "2001:db8::81"))
    folder.write("peers", *peers(), manifests.secret("tor", PASSWORD))
    folder.write("pools", *pools())
    folder.write("web4", *manifests.service("web4", "192.0.2.10"))
    folder.write("web6", *manifests.service("web6", "2001:db8:5::10"))


def peers(**changes):
    """All peers; `changes` gives fields by session."""
    for name, (router, node, fields) in SESSIONS.items():
        yield manifests.peer(name, router, node, **{**fields, **changes.get(name, {})})


def without(session):
    """All peers but that of one session."""
    return (peer for peer in peers() if peer["metadata"]["name"] != session)


def pools(communities=("64512:100", "64512:200", "large:64512:1:100")):
    """The pool of the base services and its advertisement."""
    yield manifests.pool("base", "192.0.2.10-192.0.2.29", "2001:db8:5::10-2001:db8:5::29")
    yield manifests.advertisement("base", "base", communities=list(communities), localPref=150)
