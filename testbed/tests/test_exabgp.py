"""ExaBGP as the router."""

import unittest

from labkit.routers import Exabgp
from router_cases import RouterCases


class ExabgpSees(RouterCases, unittest.TestCase):
    topology = "pair-exabgp"
    make_router = Exabgp


if __name__ == "__main__":
    unittest.main()
