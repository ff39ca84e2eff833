"""The list of cases and its table: complete, and as the tests say. Nothing is run in a cluster."""

import re
import unittest
from dataclasses import replace

import conform
from conform import Declaring, Shown, case, faults, table, verdict
from inventory import NUMBERS, ROWS
from labkit.routers import Path
from routes import flaws


class List(unittest.TestCase):
    def test_every_number_is_there_once_and_every_variant_that_a_test_shows(self):
        self.assertEqual(faults(conform.collect()), [])
        self.assertEqual(sorted(ROWS), list(NUMBERS))

    def test_the_document_is_what_the_tests_say(self):
        self.assertEqual(conform.DOC.read_text(encoding="utf-8"), table(conform.collect()), "run `make conformance-doc`")

    def test_the_document_has_a_row_for_each_number_and_a_test_for_each_pass(self):
        rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \| ([^|]*) \|$", conform.DOC.read_text(encoding="utf-8"), re.MULTILINE)
        self.assertEqual([int(number) for number, _, _ in rows], list(NUMBERS))
        names = {name for shown in conform.collect().values() for name in shown.tests}
        for number, said, tests in rows:
            with self.subTest(number):
                self.assertRegex(said, r"^(pass$|not yet: |in part; |\*\*fails\*\*: |not applicable: )")
                named = re.findall(r"`([^`]+)`", tests)
                self.assertLessEqual(set(named), names)
                self.assertEqual(bool(named), not said.startswith("not"))


class Verdicts(unittest.TestCase):
    def test_a_pass_needs_every_variant(self):
        row = ROWS[5]
        self.assertEqual(verdict(row, Shown(["A.b"], {"IPv4", "IPv6", "dual"})), "pass")
        self.assertEqual(verdict(row, Shown(["A.b"], {"IPv4"})), "in part; not yet: IPv6, dual (no test written)")
        self.assertEqual(verdict(row, Shown()), "not yet: no test written")
        self.assertEqual(verdict(ROWS[44], Shown()), "not yet: waits for BFD")
        self.assertEqual(verdict(row, Shown(["A.b"], {"IPv4", "IPv6", "dual"}, {"dual": "why"})), "**fails**: dual: why")

    def test_a_number_or_variant_that_is_not_in_the_list_is_a_fault(self):
        self.assertEqual(faults({132: Shown(["A.b"])}), ["there is no case 132 (A.b)"])
        self.assertEqual(faults({5: Shown(["A.b"], {"IPv5"})}), ["case 5 has no variant 'IPv5' (A.b)"])


class FakeRouter:
    """A router that has what it is given: paths by session, gateways of its kernel."""

    def __init__(self, paths, hops):
        self._paths = paths
        self._hops = hops

    def paths(self, _prefix):
        return self._paths

    def next_hops(self, _prefix):
        return self._hops


class Checks(unittest.TestCase):
    """The check of all BGP cases sees what is wrong."""

    GOOD = Path("n1v4", "192.168.1.11", (64512,), "IGP", None, frozenset({"64500:1"}), frozenset())

    def flaws(self, paths, hops=("192.168.1.11",), nodes=("n1",), router="tor", **attributes):
        return flaws(FakeRouter({path.session: path for path in paths}, hops), router, "10.0.0.1/32", nodes, None, attributes)

    def test_a_route_as_it_should_be_has_no_flaw(self):
        self.assertEqual(self.flaws([self.GOOD], communities=frozenset({"64500:1"})), "")
        self.assertEqual(self.flaws([replace(self.GOOD, as_path=())], ["192.168.4.1"], router="far-ibgp"), "")
        self.assertEqual(self.flaws([], (), ()), "")

    def test_each_flaw_is_seen(self):
        other = replace(self.GOOD, session="n2v4", next_hop="192.168.1.12")
        for what, said in (
            (self.flaws([]), "paths from []"),
            (self.flaws([self.GOOD, other]), "paths from ['n1v4', 'n2v4']"),
            (self.flaws([self.GOOD], nodes=()), "paths from ['n1v4']"),
            (self.flaws([replace(self.GOOD, stale=True)]), "n1v4: stale True"),
            (self.flaws([replace(self.GOOD, origin="incomplete")]), "n1v4: origin 'incomplete'"),
            (self.flaws([replace(self.GOOD, next_hop="192.168.1.12")]), "n1v4: next_hop '192.168.1.12'"),
            (self.flaws([replace(self.GOOD, as_path=(64512, 64512))]), "n1v4: as_path (64512, 64512)"),
            (self.flaws([self.GOOD], router="ibgp"), "n1v4: as_path (64512,)"),
            (self.flaws([self.GOOD], communities=frozenset()), "n1v4: communities frozenset({'64500:1'})"),
            (self.flaws([self.GOOD], ["192.168.1.11", "192.168.1.12"]), "in the kernel: ['192.168.1.11', '192.168.1.12']"),
            (self.flaws([self.GOOD], []), "in the kernel: []"),
            (self.flaws([], ["192.168.1.11"], ()), "in the kernel: ['192.168.1.11']"),
        ):
            with self.subTest(said):
                self.assertEqual(what, said)


class Marks(unittest.TestCase):
    def test_each_variant_is_a_test_with_its_arguments_and_a_known_failure_must_fail(self):
        seen = []

        class Some(Declaring):
            @case(8, ("range", "IPv6"), ("prefix", "dual"))
            def pools(self, kind, family):
                seen.append((kind, family))

            @case(4, "IPv4", fails="it does this")
            def known(self, family):
                self.fail(family)

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Some).run(result)
        self.assertEqual(seen, [("prefix", "dual"), ("range", "IPv6")])
        self.assertEqual((result.testsRun, len(result.expectedFailures), result.wasSuccessful()), (3, 1, True))
        names = unittest.defaultTestLoader.getTestCaseNames(Some)
        self.assertEqual(list(names), ["test_004_known_ipv4", "test_008_pools_prefix_dual", "test_008_pools_range_ipv6"])
        self.assertEqual(getattr(Some, names[1]).shows, (8, "Some.pools", "prefix, dual", None))


if __name__ == "__main__":
    unittest.main()
