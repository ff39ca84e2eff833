"""What the tour and the suite make of numbers, checked on made-up ones."""

import contextlib
import io
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import announcers  # noqa: E402
import change  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
import kubedemo  # noqa: E402
import kubelab  # noqa: E402
import run as bench  # noqa: E402
import suite  # noqa: E402
import watch  # noqa: E402
from bound import Bound  # noqa: E402
from inside import route_changes  # noqa: E402
from kube import build, cache, cluster  # noqa: E402
from labkit.build import ROOT, BuildError  # noqa: E402
from labkit.rack import fair, judge  # noqa: E402
from labkit.sink import KEEPALIVE, OPEN, UPDATE, Framer, Sink, counts, message, open_message  # noqa: E402


def requests(*answers):
    """One request each 10 ms: (flow, node)."""
    return [{"at": index / 100, "flow": flow, "node": node, "ms": 0.5} for index, (flow, node) in enumerate(answers)]


class Loss(unittest.TestCase):
    def test_without_loss_there_is_no_gap(self):
        loss = judge(requests((0, "n1"), (1, "n2"), (0, "n1"), (1, "n3")), "n2", 10)
        self.assertEqual((loss.lost, loss.gap_ms, loss.flows, loss.stranded, loss.moved), (0, 0.0, 2, 1, 0))

    def test_the_gap_is_from_the_first_lost_request_to_the_end_of_the_last(self):
        loss = judge(requests((0, "n2"), (0, None), (0, "n1"), (0, None), (0, "n1")), "n2", 10)
        self.assertEqual(loss.lost, 2)
        self.assertAlmostEqual(loss.gap_ms, 30)

    def test_a_flow_of_a_living_node_that_goes_to_another_has_moved(self):
        loss = judge(requests((0, "n1"), (1, "n2"), (0, "n3"), (1, "n3")), "n2", 10)
        self.assertEqual((loss.stranded, loss.moved), (1, 1))

    def test_a_flow_without_an_answer_at_the_end_is_unanswered(self):
        self.assertEqual(judge(requests((0, "n2"), (0, None)), "n2", 10).unanswered, 1)

    def test_the_order_of_the_lines_doesn_t_matter(self):
        lines = requests((0, "n2"), (0, None), (0, "n1"))
        self.assertEqual(judge(lines[::-1], "n2", 10), judge(lines, "n2", 10))


class Spread(unittest.TestCase):
    def test_a_third_each_is_fair(self):
        self.assertTrue(fair({"n1": 100, "n2": 100, "n3": 100}))

    def test_the_bounds_are_20_and_47_percent(self):
        self.assertTrue(fair({"n1": 60, "n2": 100, "n3": 140}))
        self.assertFalse(fair({"n1": 59, "n2": 101, "n3": 140}))
        self.assertFalse(fair({"n1": 79, "n2": 79, "n3": 142}))

    def test_a_lost_request_or_an_absent_node_is_not_fair(self):
        self.assertFalse(fair({"n1": 100, "n2": 100, "n3": 99, "lost": 1}))
        self.assertFalse(fair({"n1": 150, "n2": 150}))


class Count(unittest.TestCase):
    CARGO = suite.Stage("unit tests", [], suite.CARGO_RESULT)
    PYTHON = suite.Stage("lab", [], suite.PYTHON_RESULT)
    LINE = "test result: ok. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out; finished in 0.00s\n"

    def outcome(self, stage, output, code=0):
        return suite.count(stage, output, code, 1.0)

    def test_the_results_of_all_binaries_are_added(self):
        outcome = self.outcome(self.CARGO, self.LINE.format(3, 0, 0) + "noise\n" + self.LINE.format(4, 0, 0))
        self.assertEqual(outcome.passed, 7)
        self.assertTrue(outcome.good())

    def test_an_ignored_test_fails_the_stage(self):
        self.assertFalse(self.outcome(self.CARGO, self.LINE.format(3, 0, 1)).good())

    def test_a_stage_without_tests_fails(self):
        self.assertFalse(self.outcome(self.CARGO, "").good())
        self.assertFalse(self.outcome(self.PYTHON, "0 passed, 0 failed\n").good())

    def test_an_exit_status_that_no_failed_test_explains_fails_the_stage(self):
        self.assertFalse(self.outcome(self.PYTHON, "5 passed, 0 failed\n", code=1).good())

    def test_what_passed_at_the_second_try_is_good_and_its_failure_is_told(self):
        lab = "FAILED A: two (0.2 s)\nthe reason\nonce more: A.two\nok     A: two (0.1 s)\n7 passed, 0 failed, 1 at the second try\n"
        outcome = self.outcome(self.PYTHON, lab)
        self.assertTrue(outcome.good())
        self.assertEqual((outcome.passed, outcome.again, outcome.why), (7, 1, "FAILED A: two (0.2 s)\nthe reason"))
        self.assertIn("1 AT THE SECOND TRY", suite.summary("lab", outcome))

    def test_a_plain_command_counts_as_one(self):
        self.assertTrue(self.outcome(suite.Stage("format", []), "").good())
        self.assertFalse(self.outcome(suite.Stage("format", []), "", code=1).good())

    def test_the_end_of_each_failure_is_told_again_and_nothing_of_what_passed(self):
        long = "\n".join(f"line {number}" for number in range(100))
        lab = f"ok     A: one (0.1 s)\nFAILED A: two (0.2 s)\n{long}\nthe reason\nok     A: three (0.1 s)\nFAILED A: four (0.1 s)\nshort\n2 passed, 2 failed\n"
        lines = self.outcome(self.PYTHON, lab, code=1).why.splitlines()
        self.assertEqual((lines[:2], lines[-3:]), (["FAILED A: two (0.2 s)", "[...]"], ["the reason", "FAILED A: four (0.1 s)", "short"]))
        self.assertEqual(len(lines), suite.WHY_LINES + 4)
        cargo = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\npanicked\n\nfailures:\n    a\n" + self.LINE.format(3, 1, 0)
        self.assertEqual(self.outcome(self.CARGO, cargo, code=1).why.split(), ["----", "a", "stdout", "----", "panicked"])
        self.assertEqual(self.outcome(suite.Stage("format", []), "no cargo fmt", code=1).why, "no cargo fmt")


class SecondTries(unittest.TestCase):
    """What `run.py` makes of tests that fail."""

    MODULE = """
import unittest
from pathlib import Path

class Luck(unittest.TestCase):
    def unlucky(self, times):
        file = Path(__file__).with_name(self.id())
        tries = len(file.read_text()) if file.exists() else 0
        file.write_text("x" * (tries + 1))
        self.assertGreaterEqual(tries, times)

"""

    def run_of(self, *times, more="", options=()):
        """The last line of a run of tests that fail so many times each before they pass, and its exit status."""
        tests = "".join(f"    def test_{number}(self): self.unlucky({count})\n" for number, count in enumerate(times))
        with tempfile.TemporaryDirectory(prefix="ferrolb-luck-") as folder:
            Path(folder, "test_luck.py").write_text(self.MODULE + tests + more, encoding="utf-8")
            command = [sys.executable, str(Path(__file__).with_name("run.py")), "luck", *options]
            done = subprocess.run(command, env={**os.environ, "PYTHONPATH": folder}, capture_output=True, text=True, timeout=30.0)
        return done.stdout.splitlines()[-1], done.returncode

    def test_one_that_fails_once_passes_and_is_counted(self):
        self.assertEqual(self.run_of(0, 1), ("2 passed, 0 failed, 1 at the second try", 0))
        self.assertEqual(self.run_of(1, 1), ("2 passed, 0 failed, 2 at the second try", 0))

    def test_one_that_fails_twice_has_failed(self):
        self.assertEqual(self.run_of(0, 2), ("1 passed, 1 failed", 1))
        self.assertEqual(self.run_of(1, 2), ("1 passed, 1 failed, 1 at the second try", 1))

    def test_many_that_fail_are_not_tried_again(self):
        self.assertEqual(self.run_of(0, 1, 1, 1), ("1 passed, 3 failed", 1))

    def test_none_is_tried_again_where_that_is_not_wanted(self):
        self.assertEqual(self.run_of(0, 1, options=["--once"]), ("1 passed, 1 failed", 1))

    def test_beside_what_no_luck_helps_none_is_tried_again(self):
        skipped = "    def test_skipped(self): self.skipTest('no')\n"
        self.assertEqual(self.run_of(0, 1, more=skipped), ("1 passed, 2 failed", 1))
        broken = "    @unittest.expectedFailure\n    def test_known(self): pass\n"
        self.assertEqual(self.run_of(0, more=broken), ("1 passed, 1 failed", 1))


class Go(unittest.TestCase):
    """That Go is missing shows before anything is built, and only where something is to be built with it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ferrolb-go-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.patch(mock.patch.dict(os.environ, {"FERROLB_KUBE_CACHE": folder.name}))
        self.patch(mock.patch.object(cache, "_make", side_effect=AssertionError("something is built")))
        self.patch(mock.patch.object(suite, "run", side_effect=AssertionError("a stage runs")))
        self.patch(mock.patch.object(suite.build, "cargo", return_value="cargo"))

    def patch(self, patcher):
        patcher.start()
        self.addCleanup(patcher.stop)

    def has(self, version):
        """From now on this machine has that Go; None: it has none."""
        which = build.shutil.which
        said = subprocess.CompletedProcess([], 0, stdout=f"go version go{version} linux/amd64\n", stderr="")
        go = "/go" if version else None
        self.patch(mock.patch.object(build.shutil, "which", lambda name, **where: go if name == "go" else which(name, **where)))
        self.patch(mock.patch.object(build.subprocess, "run", return_value=said))

    def refused(self, *stages):
        """What the suite says instead of running these stages."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(suite.main(list(stages)), 1)
        return said.getvalue()

    def test_the_newest_of_what_go_mod_files_ask_for_counts(self):
        for name, text in {"a": "go 1.9.7", "b": "go 1.26.0", "c": "go 1.26.3\n\ngodebug default=go1.24"}.items():
            (self.folder / name).mkdir()
            (self.folder / name / "go.mod").write_text(f"module x\n\n{text}\n", encoding="utf-8")
        a, b, c = (self.folder / name for name in "abc")
        self.assertEqual([build.needed(a), build.needed(a, b), build.needed(c, a, b)], ["1.9.7", "1.26", "1.26.3"])
        self.has("1.26.2")
        self.assertEqual(build.toolchain(a, b), "/go")
        with self.assertRaisesRegex(BuildError, "go1.26.2 linux/amd64 is too old: install Go 1.26.3 or newer"):
            build.toolchain(b, c)

    def test_the_suite_says_so_before_its_first_stage(self):
        self.has(None)
        wanted = build.needed(*cluster.MODULES, build.HELM)
        self.assertRegex(self.refused(), f"^test: there is no Go toolchain here: install Go {re.escape(wanted)} or newer")
        for stage in ("once", "kube", "rights", "migrate", "traffic"):
            self.assertIn("there is no Go", self.refused("format", stage))

    def test_each_stage_wants_what_it_builds(self):
        self.has(build.needed(*cluster.MODULES))
        self.assertIn("is too old", self.refused("chart"))
        self.assertIn("is too old", self.refused("migrate"))
        for stages in (("format",), ("unit", "layer2", "demo"), ("rights",)):
            with self.assertRaisesRegex(AssertionError, "a stage runs"):
                suite.main(list(stages))

    def test_without_a_cluster_no_go_is_wanted(self):
        self.has(None)
        with self.assertRaisesRegex(AssertionError, "a stage runs"):
            suite.main(["format", "unit", "layer2"])

    def test_what_is_built_already_wants_no_go(self):
        self.has(None)
        for made in cluster.GO_BUILDS.values():
            (self.folder / "-".join(made())).mkdir()
        with self.assertRaisesRegex(AssertionError, "a stage runs"):
            suite.main(["migrate"])

    def test_the_demo_and_the_lab_say_so_before_they_build(self):
        self.has(None)
        self.patch(mock.patch.object(kubedemo.os, "geteuid", return_value=0))
        self.patch(mock.patch.object(cluster.machine, "check"))
        self.patch(mock.patch.object(kubedemo.build, "binary", side_effect=AssertionError("FerroLB is built")))
        for prepare in (kubedemo.prepare, cluster.prepare):
            with self.assertRaisesRegex(BuildError, "install Go"):
                prepare()
        self.has(build.needed(*cluster.MODULES))
        with self.assertRaisesRegex(BuildError, "install Go"):
            kubelab._build(None)

    def test_the_documents_name_the_versions_that_are_asked_for(self):
        of_a_cluster, of_all = build.needed(*cluster.MODULES), build.needed(*cluster.GO_BUILDS)
        self.assertEqual(build.needed(*cluster.MODULES, build.HELM), of_all)
        for name in ("README.md", "testbed/README.md"):
            text = (ROOT / name).read_text(encoding="utf-8")
            named = re.findall(r"\bGo(?:\]\(\S+\))? (1\.[\d.]*\d)", text)
            self.assertEqual(set(named), {of_a_cluster, of_all}, name)
        named = re.findall(r"\bGo (1\.\d+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
        self.assertEqual(set(named), {of_a_cluster, of_all})


HOST = b"\x20\xc6\x12\x00"  # 198.18.0.x/32 but for its last octet


def update(withdrawn, announced):
    """An UPDATE's body with so many host routes."""
    gone, there = HOST + b"\x01", HOST + b"\x02"
    attributes = b"\x40\x01\x01\x00" if announced else b""
    lengths = struct.pack("!H", withdrawn * 5), struct.pack("!H", len(attributes))
    return lengths[0] + gone * withdrawn + lengths[1] + attributes + there * announced


class Peer(unittest.TestCase):
    def test_messages_are_cut_wherever_the_segments_end(self):
        stream = message(KEEPALIVE) + message(UPDATE, update(1, 2)) + message(KEEPALIVE)
        for size in (1, 7, 19, 20, len(stream)):
            framer = Framer()
            found = [one for at in range(0, len(stream), size) for one in framer.feed(stream[at:at + size])]
            self.assertEqual(found, [(KEEPALIVE, b""), (UPDATE, update(1, 2)), (KEEPALIVE, b"")])

    def test_host_routes_are_counted(self):
        for withdrawn, announced in ((0, 0), (3, 0), (0, 800), (2, 5)):
            self.assertEqual(counts(update(withdrawn, announced)), (withdrawn, announced))

    def test_a_session_is_up_when_the_open_was_answered_and_counts_what_comes(self):
        ours, theirs = socket.socketpair()
        with theirs:
            peer = Sink(lambda: Connection(ours))
            theirs.sendall(message(OPEN, open_message(64512, "192.0.2.1")[19:]) + message(KEEPALIVE))
            theirs.sendall(message(UPDATE, update(0, 3)) + message(UPDATE, update(1, 0)))
            self.assertTrue(peer.wait(lambda s: (s.announced, s.withdrawn) == (3, 1), 10))
            self.assertIsNotNone(peer.up)
            self.assertEqual([kind for kind, _ in Framer().feed(theirs.recv(4096))][:3], [OPEN, KEEPALIVE, UPDATE])
        self.assertTrue(peer.wait(lambda s: s.ended, 10))
        self.assertFalse(peer.wait(lambda s: s.announced == 4, 10))
        peer.close()


class Connection:
    """A socket that takes TCP's options without having them."""

    def __init__(self, inner):
        self.recv, self.sendall, self.close = inner.recv, inner.sendall, inner.close

    def setsockopt(self, *_):
        pass


class Kernel(unittest.TestCase):
    def notification(self, kind, address, length=32):
        # A priority comes before the destination here, since their order isn't given.
        attributes = struct.pack("=HHI", 8, 6, 20) + struct.pack("=HH4s", 8, 1, socket.inet_aton(address))
        return struct.pack("=IHHIIBBBBBBBBI", 28 + len(attributes), kind, 0, 0, 0, 2, length, 0, 0, 254, 186, 0, 1, 0) + attributes

    def test_host_routes_that_come_and_go_are_found(self):
        data = self.notification(24, "192.0.2.1") + self.notification(25, "192.0.2.2") + self.notification(24, "192.0.2.0", 24)
        self.assertEqual(list(route_changes(data)), [("192.0.2.1", True), ("192.0.2.2", False)])

    def test_a_frame_that_is_cut_off_is_no_end_of_the_run(self):
        data = self.notification(24, "192.0.2.1")
        for size in range(len(data)):
            self.assertEqual(list(route_changes(data[:size])), [])
        self.assertEqual(list(route_changes(bytes(64))), [])

    def test_what_bgp_says_is_taken_out_of_a_frame(self):
        tcp = struct.pack("!HHIIBBHHH", 40000, 179, 0, 0, 6 << 4, 0x18, 0, 0, 0) + bytes(4) + message(KEEPALIVE)
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 1, 6, 0, socket.inet_aton("192.0.2.2"), socket.inet_aton("192.0.2.1"))
        source, _, octets = watch.bgp_payload(bytes(12) + b"\x08\x00" + ip + tcp + b"padding")
        self.assertEqual((source, octets), (socket.inet_aton("192.0.2.2"), message(KEEPALIVE)))
        self.assertIsNone(watch.bgp_payload(bytes(12) + b"\x08\x00" + ip + tcp.replace(b"\x00\xb3", b"\x00\x50", 1)))
        self.assertIsNone(watch.bgp_payload(bytes(12) + b"\x86\xdd" + ip + tcp))


class Announcers(unittest.TestCase):
    def test_every_service_has_an_address_of_its_own(self):
        self.assertEqual(len({announcers.address(i) for i in range(101_000)}), 101_000)

    def test_a_dump_has_a_record_for_each_route_after_its_index(self):
        dump, kinds = announcers.mrt(["198.18.0.1", "198.18.0.2"], "192.0.2.1"), []
        while dump:
            _, kind, subtype, size = struct.unpack_from("!IHHI", dump)
            kinds.append((kind, subtype))
            dump = dump[12 + size:]
        self.assertEqual(kinds, [(13, 1), (13, 2), (13, 2)])


class Figures(unittest.TestCase):
    def test_median_and_tail(self):
        found = change.summary([float(ms) for ms in range(1000, 0, -1)])
        self.assertEqual((found["count"], found["p50"], found["p99"], found["max"]), (1000, 500.5, 991, 1000))
        self.assertEqual(len(found["percentiles"]), 101)

    def test_a_part_has_its_share_of_what_is_left(self):
        bound = Bound(100)
        self.assertAlmostEqual(bound.part(0.5).left(), 50, delta=5)
        self.assertTrue(Bound(0).part(1).over())

    def test_all_parts_are_known_by_name(self):
        self.assertEqual(list(bench.parts(None, bench.QUICK)), bench.PARTS)

    RESULTS = {
        "command": "c", "date": "d", "minutes": 1, "bound": 2, "machine": {"cpus": 2, "model": "m", "memory_gib": 1, "kernel": "k"},
        "versions": {"ferrolb": "0"}, "load": {"before": 0, "highest": 1},
        "feed": [
            {"routes": 10_000, "announcer": "ferrolb", "ms": [1.0, 3.0, 2.0], "updates": 15},
            {"routes": 10_000, "announcer": "bird", "ms": [4.0], "updates": 40},
        ],
        "change": [{"announcer": "ferrolb", "standing": 10, "added": change.summary([1.0]), "withdrawn": change.summary([6.0])}],
        "burst": [{"layout": "one file", "kind": "added", "first_ms": 60, "last_ms": 49, "updates": 100}],
        "idle": [{"announcer": "ferrolb", "peers": 8, "routes": 10, "seconds": 6, "cpu_ms": 1.5, "resident_mib": 25, "peak_mib": 26}],
        "events": [
            {"services": n, "start_seconds": 1, "updates": 1, "resident_mib": 1, "wall_ms": change.summary([1.0]), "cpu_us": us}
            for n, us in ((10, 100), (1000, 151))
        ],
        "tor_feed": [{"announcer": "ferrolb", "routes": 10, **{f"{what}_ms": [1.0] for what in ("wire", "kernel_first", "kernel", "client")}}],
        "tor_change": [],
    }

    def test_a_run_beside_other_work_says_so(self):
        self.assertNotIn("other work", report.machine(self.RESULTS))
        self.assertIn("other work", report.machine({**self.RESULTS, "load": {"before": 9, "highest": 9}}))

    def test_goals_are_met_up_to_their_limit_and_missed_beyond(self):
        verdicts = [(what, met) for what, _, _, met in report.goals(self.RESULTS)]
        self.assertEqual([what for what, met in verdicts if not met], [
            "feed of 10,000: UPDATEs", "one route withdrawn: p50", "one route withdrawn: p99",
            "idle, 8 peers, 10 routes, 6 s: CPU", "CPU an event flat from 10 to 1,000 services",
        ])
        self.assertEqual(len(verdicts), 12)

    def test_the_document_has_a_place_for_each_table_and_is_filled_again_alike(self):
        template = report.DOCUMENT.read_text(encoding="utf-8")
        self.assertEqual({name for _, name, _ in report.MARKER.findall(template)}, report.TABLES.keys())
        pictures = report.plots(self.RESULTS)
        filled = report.fill(template, self.RESULTS, pictures, "there")
        self.assertIn("| 10,000 | FerroLB | 2 (1 to 3) | 3 | 15 |  |", filled)
        self.assertIn("| 10,000 | BIRD | 4 | 1 | 40 | 2 times |", filled)
        self.assertIn("Not measured in this run.", filled)
        self.assertEqual(report.fill(filled, self.RESULTS, pictures, "there"), filled)

    def test_pictures_are_well_formed_and_stand_in_the_document_where_there_is_something_to_show(self):
        template = report.DOCUMENT.read_text(encoding="utf-8")
        pictures = report.plots(self.RESULTS)
        self.assertEqual(pictures.keys(), {"feed", "change", "events", "tor_feed"})
        for name, picture in pictures.items():
            xml.etree.ElementTree.fromstring(picture)
            self.assertIn(f"(there/{name}.svg)", report.fill(template, self.RESULTS, pictures, "there"))
        less = {**self.RESULTS, "events": []}
        self.assertNotIn("events.svg", report.fill(template, less, report.plots(less), "there"))

    def test_an_axis_is_logarithmic_over_whole_decades(self):
        axis = plot.Log([0.2, 50])
        self.assertEqual((axis.low, axis.high), (-1, 2))
        self.assertAlmostEqual(axis.x(1) - axis.x(0.1), axis.x(100) - axis.x(10))


if __name__ == "__main__":
    unittest.main()
