"""FRR as the router."""

import unittest

from labkit.routers import Frr
from router_cases import RouterCases


class FrrSees(RouterCases, unittest.TestCase):
    topology = "pair"
    make_router = Frr


if __name__ == "__main__":
    unittest.main()
