"""GoBGP as the router."""

import unittest

from labkit.routers import Gobgp
from router_cases import RouterCases, cannot

ALWAYS_FOUR = "GoBGP has no setting for it: its OPEN has the capability in every session, as `gobgp neighbor` shows, and its " \
    "configuration manual (`configuration.md` of the package) knows no option that takes it out."
MANUAL = "/usr/share/doc/gobgpd/configuration.md.gz"


class GobgpSees(RouterCases, unittest.TestCase):
    topology = "pair-gobgp"
    make_router = Gobgp
    lacks = frozenset({"old4", "oldwide4"})

    @cannot("GoBGP sends no ROUTE-REFRESH: `softresetin` goes through what it has already, and its own count of those sent stays at zero.")
    def test_a_route_refresh_brings_everything_again_without_a_reset(self):
        self.router.refresh("ebgp4")
        self.wait_settled("ebgp4")
        self.assertEqual(self.router.refreshes_sent("ebgp4"), 0)

    @cannot(ALWAYS_FOUR)
    def test_a_router_with_as_numbers_of_two_octets_only_gets_the_route(self):
        self._always_four()

    @cannot(ALWAYS_FOUR)
    def test_a_router_with_as_numbers_of_two_octets_only_gets_longer_ones_beside_them(self):
        self._always_four()

    def _always_four(self):
        self.assertTrue(self.router.four_octets("ebgp4"))
        self.assertEqual(self.lab.run("tor", ["zgrep", "-i", "octet", MANUAL], check=False), "")


if __name__ == "__main__":
    unittest.main()
