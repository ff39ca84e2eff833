"""What the conformance modules of one process share: a cluster with FerroLB as it is shipped, and a known state before each test.

The state: the pods of `WORKLOADS`, the peers of `PEERS` with sessions to all four routers, no pool, no advertisement, no
Service, no route. Peers stay between tests, since a session that is dialled anew costs seconds; whatever a test does to them is undone
before the next one. `FERROLB_KUBE=NAME` takes a cluster that stands (`make kube-up`), and leaves it standing.
"""

import atexit
import functools
import itertools
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from conform import Declaring
from inventory import IPV4, IPV6
from kube import workload
from kube.api import Api
from kube.cluster import Cluster
from kube.network import NODES
from labkit import build
from labkit.sockets import connect
from labkit.wait import Late, Seen, until

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "metallb-system"
ALL = frozenset(NODES)
# Router -> its AS, its addresses.
ROUTERS = {
    "tor": (64513, ("192.168.1.1", "fd00:1::1")),
    "ibgp": (64512, ("192.168.1.3", "fd00:1::3")),
    "far-ebgp": (64514, ("192.168.3.2", "fd00:3::2")),
    "far-ibgp": (64512, ("192.168.4.2", "fd00:4::2")),
}
OUR_AS = 64512
CONFIGURATION = ("IPAddressPool", "BGPAdvertisement", "L2Advertisement", "BFDProfile", "Community")
# A deadline for a busy machine: in a quiet one it is a second at most.
SECONDS = 60.0
# How long one request waits for its answer; and where it is asked again until there is one.
REQUEST_SECONDS, RETRY_SECONDS = 1.0, 0.3
METRICS_PORT = 9120
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_numbers = itertools.count(1)


def config(kind, name, spec, version="v1beta1", namespace=SYSTEM):
    """An object of MetalLB's, as a manifest."""
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def peer(router, family, name=None, **spec):
    """A BGPPeer for one of the routers, over IPv4 or IPv6. Attempts to connect are a second apart."""
    asn, addresses = ROUTERS[router]
    given = {
        "myASN": OUR_AS, "peerASN": asn, "peerAddress": addresses[family == IPV6], "holdTime": "9s", "connectTime": "1s",
        **({"ebgpMultiHop": True} if router == "far-ebgp" else {}), **spec,
    }
    return config("BGPPeer", name or peer_name(router, family), {key: value for key, value in given.items() if value is not None}, "v1beta2")


def peer_name(router, family):
    """The name that `PEERS` has for a router's peer: `tor4`, `far-ibgp6`."""
    return f"{router}{family.removeprefix('IPv')}"


def session(node, family):
    """The name that the routers have for the session with a node: `n1v4`."""
    return f"{node}{family.removeprefix('IP')}"


PEERS = tuple(peer(router, family) for router in ROUTERS for family in (IPV4, IPV6))
SESSIONS = frozenset(session(node, family) for node in NODES for family in (IPV4, IPV6))
# Three pods, one on each node; and one on n2.
WORKLOADS = (workload.deployment("web"), workload.deployment("alone", replicas=1, node="n2"))


@dataclass(frozen=True)
class Served:
    """A Service that has its addresses, IPv4 first."""

    name: str
    addresses: tuple[str, ...]
    port: int


class Stand:
    """The cluster, and what is asked of it all the time."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.api = Api(cluster.lab, cluster.kubeconfig)
        self.routers = {name: cluster.routers[name] for name in ROUTERS}
        # Node -> its labels, and object -> its spec, before any test.
        self._nodes = {}
        self._peers = {}
        self._workloads = {}
        self._secure = False

    def install(self):
        """FerroLB from the shipped manifest, the pods, the peers; where they aren't yet."""
        for name in self.routers:
            if not self.cluster.in_ns(name, "pgrep", "-x", "bgpd", check=False):
                self.cluster.start_router(name)
        if self.api.get("DaemonSet", "speaker", SYSTEM) is None:
            begun = time.monotonic()
            self.cluster.load_ferrolb(build.binary())
            self.cluster.apply((ROOT / "deploy/ferrolb.yaml").read_text(encoding="utf-8"))
            self.cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
            self.api.apply(*WORKLOADS, *PEERS)
            self.wait_rollout("DaemonSet", "speaker", SYSTEM)
            self.wait_rollout("Deployment", "controller", SYSTEM)
            for one in WORKLOADS:
                self.wait_rollout("Deployment", one["metadata"]["name"])
            print(f"       installed after {time.monotonic() - begun:.1f} s", flush=True)
        self._nodes = {node["metadata"]["name"]: node["metadata"]["labels"] for node in self.api.list("Node")}
        self._peers = {one["metadata"]["name"]: one["spec"] for one in self.api.apply(*PEERS)}
        self._workloads = {one["metadata"]["name"]: one["spec"] for one in self.api.apply(*WORKLOADS)}

    def reset(self):
        """The known state, whatever was before."""
        self._reset_nodes()
        for service in self.api.list("Service"):
            meta = service["metadata"]
            if service["spec"]["type"] == "LoadBalancer":
                self.api.delete("Service", meta["name"], meta["namespace"])
        # Peers before the BFD profiles that they refer to.
        self._reset_peers()
        for kind in CONFIGURATION:
            self.api.clear(kind, SYSTEM)
        for one in self.api.list("Secret", SYSTEM):
            if one["type"] == "kubernetes.io/basic-auth":
                self.api.delete("Secret", one["metadata"]["name"], SYSTEM)
        for one in WORKLOADS:
            name = one["metadata"]["name"]
            if self.api.get("Deployment", name)["spec"] != self._workloads[name]:
                self.api.apply(one)
            self.wait_rollout("Deployment", name)
        for router in self.routers:
            self.wait_sessions(router)

    def wait_sessions(self, router, sessions=SESSIONS, routes=0, seconds=SECONDS):
        """Until exactly these sessions of a router stand, with so many routes each (None: any number)."""
        def probe():
            seen = self.routers[router].summary()
            good = {name for name, (up, _) in seen.items() if up} == set(sessions)
            good = good and (routes is None or all(count == routes for name, (_, count) in seen.items() if name in sessions))
            return Seen(good, seen)

        until(f"sessions of {router}: {', '.join(sorted(sessions))}, routes: {routes}", probe, seconds)

    def wait_rollout(self, kind, name, namespace="default", seconds=300.0):
        """Until all pods of a Deployment or a DaemonSet are the newest, and ready."""
        def probe():
            one = self.api.get(kind, name, namespace)
            status = one.get("status", {})
            if status.get("observedGeneration", 0) < one["metadata"]["generation"]:
                return Seen(False, "not observed")
            wanted = status.get("desiredNumberScheduled") if kind == "DaemonSet" else one["spec"]["replicas"]
            updated = status.get("updatedNumberScheduled" if kind == "DaemonSet" else "updatedReplicas", 0)
            ready = status.get("numberReady" if kind == "DaemonSet" else "readyReplicas", 0)
            total = status.get("currentNumberScheduled" if kind == "DaemonSet" else "replicas", 0)
            return Seen(wanted == updated == ready == total and wanted is not None, status)

        until(f"all pods of {name}", probe, seconds)

    def ask(self, node, address, port=80, seconds=REQUEST_SECONDS):
        """What the web server behind an address answers a client on `node`: pod, node, client; None where nothing answers."""
        try:
            with connect(self.cluster.lab, node, address, port, seconds) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                said = b""
                while part := connection.recv(4096):
                    said += part
        except OSError:
            return None
        return dict(word.split("=", 1) for word in said.decode().split("\r\n\r\n", 1)[-1].split() if "=" in word) or None

    def wait_answers(self, node, service, nodes=ALL, seconds=SECONDS):
        """Until a client on `node` has got answers from exactly these nodes, over each address of a service."""
        for address in service.addresses:
            seen = set()

            def probe():
                answer = self.ask(node, address, service.port, RETRY_SECONDS)
                seen.update({answer["node"]} if answer else ())
                return Seen(seen == set(nodes), seen)

            until(f"answers from {sorted(nodes)} for {address}, asked from {node}", probe, seconds)

    def events(self, name, reason=None):
        """The events about a Service, oldest first."""
        found = [e for e in self.api.list("Event") if e["involvedObject"]["name"] == name and reason in (None, e["reason"])]
        return sorted(found, key=lambda event: int(event["metadata"]["resourceVersion"]))

    def results(self):
        """ConfigurationState -> result: `controller`, `speaker-n1`, ..."""
        return {s["metadata"]["name"]: s.get("status", {}).get("result") for s in self.api.list("ConfigurationState", SYSTEM)}

    def metrics(self, node=None):
        """(name, labels as a frozenset of pairs) -> value: the speaker's on a node, else the controller's."""
        address = NODES[node][0] if node else self.controller_address()
        text = self._page(address)
        found = {}
        for line in text.splitlines():
            sample = SAMPLE.match(line)
            if sample:
                name, labels, value = sample.groups()
                pairs = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
                found[name, pairs] = float(value)
        return found

    def metric(self, name, node=None, /, **labels):
        """The values of a metric's series that have these labels; nothing where there is none."""
        wanted = set(labels.items())
        return [value for (known, pairs), value in self.metrics(node).items() if known == name and wanted <= pairs]

    def controller_address(self):
        """The address of the controller's pod."""
        (pod,) = [pod for pod in self.api.list("Pod", SYSTEM, "component=controller") if "deletionTimestamp" not in pod["metadata"]]
        return pod["status"]["podIP"]

    def _page(self, address):
        """The metrics page: over TLS with a token where it wants that."""
        host = f"{address}:{METRICS_PORT}"
        plain = ["curl", "-sS", "-m", "5", f"http://{host}/metrics"]
        secure = ["curl", "-sSk", "-m", "5", "-H", f"Authorization: Bearer {self.api.token}", f"https://{host}/metrics"]
        if not self._secure:
            text = self.cluster.in_ns("cp", *plain, check=False)
            if "metallb_" in text or "ferrolb_" in text:
                return text
            self._secure = True
        return self.cluster.in_ns("cp", *secure)

    def _reset_nodes(self):
        for node in self.api.list("Node"):
            name, labels = node["metadata"]["name"], node["metadata"]["labels"]
            known = self._nodes[name]
            if labels != known:
                self.api.label("Node", name, {**{key: None for key in labels if key not in known}, **known})
            if any(c["type"] == "NetworkUnavailable" and c["status"] == "True" for c in node["status"]["conditions"]):
                self.network(name, unavailable=False)

    def _reset_peers(self):
        """Peers as they were; where one was changed, without the session that there is: it would pass for the one that is to come."""
        there = {one["metadata"]["name"]: one["spec"] for one in self.api.list("BGPPeer", SYSTEM)}
        changed = [name for name, spec in there.items() if spec != self._peers.get(name)]
        for name in changed:
            self.api.delete("BGPPeer", name, SYSTEM)
        for router in self.routers:
            gone = {session(node, family) for family in (IPV4, IPV6) if peer_name(router, family) in changed for node in NODES}

            def left():
                seen = {one for one, (up, _) in self.routers[router].summary().items() if up and one in gone}
                return Seen(not seen, seen)

            until(f"the end of sessions of {router}", left, SECONDS)
        if changed or len(there) != len(PEERS):
            self.api.apply(*PEERS)

    def network(self, node, unavailable):
        """Sets a node's condition, as a CNI would."""
        condition = {"type": "NetworkUnavailable", "status": "True" if unavailable else "False"}
        self.api.patch("Node", node, {"status": {"conditions": [condition]}}, subresource="status", form="strategic-merge-patch+json")


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
