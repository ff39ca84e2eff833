"""A cluster with FerroLB as it is shipped, and a known state to begin from.

The state: the pods of `WORKLOADS`, the peers of `PEERS` with sessions to all four routers, no pool, no advertisement, no
Service, no route. Peers stay, since a session that is dialled anew costs seconds; whatever was done to them is undone by `reset`.
"""

import re
import time
from pathlib import Path

from labkit import build
from labkit.sockets import connect
from labkit.wait import Seen, until

from . import workload
from .api import Api
from .network import NODES

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
FAMILIES = ("IPv4", "IPv6")
CONFIGURATION = ("IPAddressPool", "BGPAdvertisement", "L2Advertisement", "BFDProfile", "Community")
# A deadline for a busy machine: in a quiet one it is a second at most.
SECONDS = 60.0
# How long one request waits for its answer.
REQUEST_SECONDS = 1.0
METRICS_PORT = 9120
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def config(kind, name, spec, version="v1beta1", namespace=SYSTEM):
    """An object of MetalLB's, as a manifest."""
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def peer(router, family, name=None, **spec):
    """A BGPPeer for one of the routers, over IPv4 or IPv6. Attempts to connect are a second apart."""
    asn, addresses = ROUTERS[router]
    given = {
        "myASN": OUR_AS, "peerASN": asn, "peerAddress": addresses[family == "IPv6"], "holdTime": "9s", "connectTime": "1s",
        **({"ebgpMultiHop": True} if router == "far-ebgp" else {}), **spec,
    }
    return config("BGPPeer", name or peer_name(router, family), {key: value for key, value in given.items() if value is not None}, "v1beta2")


def peer_name(router, family):
    """The name that `PEERS` has for a router's peer: `tor4`, `far-ibgp6`."""
    return f"{router}{family.removeprefix('IPv')}"


def session(node, family):
    """The name that the routers have for the session with a node: `n1v4`."""
    return f"{node}{family.removeprefix('IP')}"


PEERS = tuple(peer(router, family) for router in ROUTERS for family in FAMILIES)
SESSIONS = frozenset(session(node, family) for node in NODES for family in FAMILIES)
# Three pods, one on each node; and one on n2.
WORKLOADS = (workload.deployment("web"), workload.deployment("alone", replicas=1, node="n2"))


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

    def wait_answer(self, node, address, port, what, good, seconds=SECONDS):
        """Asks until an answer is good, with more and more patience: kube-proxy is soon ready, a busy machine slow."""
        patience = iter((0.2, 0.3, 0.5, 1.0))

        def probe():
            answer = self.ask(node, address, port, next(patience, 2.0))
            return Seen(good(answer), answer)

        until(f"{node} gets from {address} {what}", probe, seconds)

    def wait_answers(self, node, service, nodes=ALL, seconds=SECONDS):
        """Until a client on `node` has got answers from exactly these nodes, over each address of a service."""
        for address in service.addresses:
            seen = set()

            def good(answer):
                seen.update({answer["node"]} if answer else ())
                return seen == set(nodes)

            self.wait_answer(node, address, service.port, f"answers from {sorted(nodes)}", good, seconds)

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
        """The metrics page, which is served to whom the API server lets in."""
        login = ["-H", f"Authorization: Bearer {self.api.token}"]
        return self.cluster.in_ns("cp", "curl", "-sSkf", "-m", "8", *login, f"https://{address}:{METRICS_PORT}/metrics")

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
            gone = {session(node, family) for family in FAMILIES if peer_name(router, family) in changed for node in NODES}

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
