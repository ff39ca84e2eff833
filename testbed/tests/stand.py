"""What the conformance modules of one process share: the cluster, in a known state before each test (`kube/stand.py`).

`FERROLB_KUBE=NAME` takes a cluster that stands (`make kube-up`), and leaves it standing.
"""

import atexit
import functools
import itertools
import os
from dataclasses import dataclass

from conform import Declaring
from inventory import IPV4, IPV6
from kube import workload
from kube.cluster import Cluster
from kube.stand import SECONDS, Stand, config
from labkit.wait import Late, Seen, until

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Served:
    """A Service that has its addresses, IPv4 first."""

    name: str
    addresses: tuple[str, ...]
    port: int


@functools.cache
def stand():
    """The stand of this process, made when it is first asked for; it ends with the process."""
    name = os.environ.get("FERROLB_KUBE")
    if name:
        cluster = Cluster.load(name)
    else:
        cluster = Cluster.up()
        atexit.register(cluster.down)
    made = Stand(cluster)
    made.install()
    return made


class Case(Declaring):
    """A conformance test: it begins in the known state, and what it applies is gone before the next one."""

    def setUp(self):
        self.stand = stand()
        self.cluster = self.stand.cluster
        self.api = self.stand.api
        # Pool -> what `pool` gave it.
        self.prefixes = {}
        self.stand.reset()

    def apply(self, *objects):
        self.api.apply(*objects)

    def pool(self, family=None, name=None, prefixes=None, labels=None, ranges=False, **spec):
        """Makes a pool with prefixes (or ranges) that no other test has, of one family or of both; its name.

        A prefix that was withdrawn a moment ago would be announced again only a second later.
        """
        number = next(_numbers) % 250 + 1
        name = name or f"pool-{number}"
        self.prefixes[name] = own = prefixes or (ranges_of if ranges else prefixes_of)(number, family)
        made = config("IPAddressPool", name, {"addresses": list(own), **spec})
        made["metadata"]["labels"] = labels or {}
        self.apply(made)
        return name

    def advertise(self, name="all", **spec):
        """Makes or changes a BGPAdvertisement."""
        self.apply(config("BGPAdvertisement", name, spec))

    def service(self, family, app="web", pool=None, name=None, labels=None, annotations=None, addresses=True, port=80, **spec):
        """Makes a Service of a family, of a pool where one is named; waits for its addresses unless told not to."""
        name = name or f"service-{next(_numbers)}"
        given = {"metallb.io/address-pool": pool} if pool else {}
        families = {IPV4: ["IPv4"], IPV6: ["IPv6"]}.get(family)
        stack = {"ipFamilyPolicy": "SingleStack", "ipFamilies": families} if families else {"ipFamilyPolicy": "RequireDualStack"}
        made = workload.service(name, app=app, port=port, annotations={**given, **(annotations or {})}, **{**stack, **spec})
        made["metadata"]["labels"] = labels or {}
        self.apply(made)
        return Served(name, self.addresses(name, len(families or "12")) if addresses else (), port)

    def addresses(self, name, count, seconds=SECONDS):
        """A Service's addresses, as soon as there are so many."""
        def probe():
            ingress = self.api.get("Service", name)["status"]["loadBalancer"].get("ingress", [])
            return Seen(len(ingress) == count, [entry["ip"] for entry in ingress])

        return tuple(sorted(until(f"{count} addresses of {name}", probe, seconds).value, key=lambda ip: ":" in ip))

    def never(self, what, probe, seconds=1.0):
        """Fails when the probe is true within this time. For what nothing else proves."""
        try:
            seen = until(what, probe, seconds)
        except Late:
            return
        self.fail(f"{what}: {seen!r}")


def prefixes_of(number, family=None):
    """The prefixes numbered so, of one family or of both: `10.200.N.0/24`, `fd00:200:N::/64`."""
    both = {IPV4: f"10.200.{number}.0/24", IPV6: f"fd00:200:{number}::/64"}
    return (both[family],) if family in both else tuple(both.values())


def ranges_of(number, family=None):
    """The same as ranges of 16 addresses: `10.200.N.16-10.200.N.31`, `fd00:200:N::10-fd00:200:N::1f`."""
    both = {IPV4: f"10.200.{number}.16-10.200.{number}.31", IPV6: f"fd00:200:{number}::10-fd00:200:{number}::1f"}
    return (both[family],) if family in both else tuple(both.values())
