"""OpenBGPD as the router."""

import unittest

from labkit.routers import Openbgpd
from router_cases import RouterCases, cannot

NO_KEY = "OpenBGPD as Debian builds it takes `tcp md5sig` but never gives its listening socket a key: the router's own kernel " \
    "counts each of the node's signed segments as unexpected (`TcpExtTCPMD5Unexpected`); openbgpd-portable's issue 79 is about this."
AS_TRANS = "OpenBGPD takes no such neighbour: \"AS 23456 is reserved and may not be used\" (`bgpd -n`)."


class OpenbgpdSees(RouterCases, unittest.TestCase):
    topology = "pair-openbgpd"
    make_router = Openbgpd
    lacks = frozenset({"oldwide4", "secret4", "secret6"})

    @cannot(NO_KEY)
    def test_a_session_of_each_family_is_established_with_its_md5_password(self):
        self._no_key()

    @cannot(NO_KEY)
    def test_a_wrong_md5_password_keeps_the_session_down_until_it_is_corrected(self):
        self._no_key()

    def _no_key(self):
        for session in ("secret4", "secret6"):
            self.assertFalse(self.router.established(session))
        counted = self.lab.run("tor", ["nstat", "-asz", "TcpExtTCPMD5Unexpected"]).splitlines()[-1]
        self.assertGreater(int(counted.split()[1]), 0)

    @cannot(AS_TRANS)
    def test_a_router_with_as_numbers_of_two_octets_only_gets_longer_ones_beside_them(self):
        edited = "sed 's/remote-as 64512/remote-as 23456/' /run/openbgpd/bgpd.conf >/run/edited.conf; chmod 600 /run/edited.conf"
        said = self.lab.run("tor", ["sh", "-c", f"{edited}; bgpd -n -f /run/edited.conf 2>&1"], check=False)
        self.assertIn("AS 23456 is reserved and may not be used", said)


if __name__ == "__main__":
    unittest.main()
