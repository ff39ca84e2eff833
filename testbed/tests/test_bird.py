"""BIRD as the router."""

import unittest

from labkit.routers import Bird
from router_cases import RouterCases


class BirdSees(RouterCases, unittest.TestCase):
    topology = "pair-bird"
    make_router = Bird


if __name__ == "__main__":
    unittest.main()
