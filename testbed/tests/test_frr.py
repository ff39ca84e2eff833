"""FRR as the router."""

import unittest

from labkit.routers import Frr
from router_cases import WEB4, RouterCases, cannot


class FrrSees(RouterCases, unittest.TestCase):
    topology = "pair"
    make_router = Frr

    @cannot("FRR has no switch for AS numbers of four octets. With `dont-capability-negotiate` it reads AS_PATH by two octets, but leaves AS4_PATH "
            "out, since the neighbour's OPEN had the capability: the path that it shows is 23456 (AS_TRANS).")
    def test_a_router_with_as_numbers_of_two_octets_only_gets_longer_ones_beside_them(self):
        self.assertEqual(self.wait_path(WEB4, "oldwide4").as_path, (23456,))
        self.assertFalse(self.router.four_octets("oldwide4"))


if __name__ == "__main__":
    unittest.main()
