"""The demo's claims, on the demo's own network, behind FRR and behind BIRD."""

import os
import unittest

from labkit.rack import NODES, ORDERS, WEB4, WEB6, Rack, fair
from labkit.wait import until

# Well below the hold time of 9 s: a node's end must show as the end of its link.
GAP_LIMIT_MS = 2000.0


class Stands:
    """On a rack where every node lives."""

    router = None

    @classmethod
    def setUpClass(cls):
        cls.rack = Rack.up(cls.router, f"rack-{cls.router}-{os.getpid()}")
        cls.addClassCleanup(cls.rack.lab.down)

    def test_300_flows_spread_over_three_nodes_for_each_family(self):
        for address in (WEB4, WEB6):
            with self.subTest(address=address):
                spread = self.rack.spread(address)
                self.assertTrue(fair(spread), spread)

    def test_the_only_endpoint_decides_who_announces_a_local_service(self):
        self.rack.wait_hops(ORDERS, {"n2"})
        self.rack.edit("orders.yaml", "nodeName: n2", "nodeName: n3")
        self.rack.wait_hops(ORDERS, {"n3"})
        self.assertEqual(self.rack.spread(ORDERS, 30), {"n3": 30})
        self.rack.edit("orders.yaml", "ready: true", "ready: false")
        self.rack.wait_hops(ORDERS, set())
        self.rack.edit("orders.yaml", "nodeName: n3, conditions: { ready: false }", "nodeName: n2, conditions: { ready: true }")
        self.rack.wait_hops(ORDERS, {"n2"})

    def test_a_service_that_nothing_selects_has_no_route(self):
        self.assertEqual(self.rack.router.next_hops("192.0.2.128"), [])


class NodeGone:
    """On a rack of its own for each loss: a router that saw a link come and go isn't fresh any more."""

    router = None

    def lose(self, address):
        rack = Rack.up(self.router, f"gone-{self.router}-{os.getpid()}")
        self.addCleanup(rack.lab.down)
        loss = rack.lose("n2", address)
        self.assertGreater(loss.stranded, 0, loss)
        self.assertEqual(loss.unanswered, 0, loss)
        self.assertLess(loss.gap_ms, GAP_LIMIT_MS, loss)
        rack.wait_hops(address, NODES.keys() - {"n2"})
        self.assertEqual(rack.spread(address, 100).keys(), {"n1", "n3"})
        version = 6 if ":" in address else 4
        until("the session down", lambda: not rack.router.established(f"n2v{version}"), 15.0)
        self.assertTrue(rack.router.established(f"n1v{version}"))

    def test_ipv4_flows_of_a_node_that_is_gone_move_to_the_others(self):
        self.lose(WEB4)

    def test_ipv6_flows_of_a_node_that_is_gone_move_to_the_others(self):
        self.lose(WEB6)


class FrrRack(Stands, unittest.TestCase):
    router = "frr"


class BirdRack(Stands, unittest.TestCase):
    router = "bird"


class FrrNodeGone(NodeGone, unittest.TestCase):
    router = "frr"


class BirdNodeGone(NodeGone, unittest.TestCase):
    router = "bird"


if __name__ == "__main__":
    unittest.main()
