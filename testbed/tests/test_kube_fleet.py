"""Fifty speakers at one API server, and a router that restarts; nodes are objects only."""

import unittest

from kube import cluster as kube_cluster
from kube.cluster import Cluster
from kube.fleet import NODE, Bare

SPEAKERS, SERVICES = 50, 20
AWAY_SECONDS = 10.0
# Connections are dialled anew some seconds after the last one was refused.
BACK_SECONDS = 15.0


class Fleet(unittest.TestCase):
    def test_for_a_router_that_restarts_nothing_is_written_and_all_routes_come_back(self):
        kube_cluster.prepare()
        with Cluster.api_alone(NODE, "lan") as cluster:
            bare = Bare(cluster)
            bare.prepare()
            with bare.speakers(SPEAKERS, SERVICES) as fleet:
                print(f"       {SPEAKERS} speakers: {fleet.start}", flush=True)
                told = SPEAKERS * SERVICES
                for what in ("POST servicebgpstatuses", "PATCH servicebgpstatuses/status"):
                    self.assertEqual(fleet.start["writes"][what], told)
                # One of the address, and one of each node that announces it.
                self.assertEqual(fleet.start["writes"]["POST events"], told + SERVICES)
                seen = bare.restart(fleet, AWAY_SECONDS)
                print(f"       the router restarts: {seen}", flush=True)
                self.assertEqual(seen["writes"], {})
                self.assertLess(seen["back_seconds"], BACK_SECONDS)


if __name__ == "__main__":
    unittest.main()
