"""FerroLB's roles as processes at an API server that stands alone: Nodes and endpoints are objects only, and routers count what comes."""

import contextlib
import json
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

from labkit import build
from labkit.sink import PORT, Sink
from labkit.sockets import open_socket
from labkit.wait import Seen, until

from .network import LAN
from .plain import Api
from .stand import SYSTEM, config

SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
STATUSES = f"/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/servicebgpstatuses"
NODE = "n1"
# Nobody runs kube-proxy here, which a Local Service would be waited for with. Each of many speakers writes as it does by default: with no
# bound the API server would be asked for more than it can answer in time.
OF_MANY = ("--wait-for-kube-proxy=false",)
PATIENCE = 900.0
SETTLED_SECONDS = 35.0


class Role:
    """`ferrolb controller` or `ferrolb speaker` as a process in a node's network, with an administrator's rights."""

    def __init__(self, cluster, where, role, *flags, node=None):
        self.log = cluster.lab.folder / f"{role}-{time.monotonic_ns()}.log"
        names = [f"METALLB_NODE_NAME={node}"] if node else []
        argv = ["env", f"KUBECONFIG={cluster.kubeconfig}", *names, str(build.binary()), role, f"--namespace={SYSTEM}", "--port=0",
                "--health-probe-port=0", f"--socket={cluster.lab.folder}/{role}-{time.monotonic_ns()}.sock", *flags]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(cluster.lab.beside(where, argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid

    def stop(self):
        stop([self])


class Router:
    """A router with many peers, each of which is to bring it so many routes; peers are refused between `close` and `listen`."""

    def __init__(self, lab, peers, routes):
        self.lab, self.peers, self.routes = lab, peers, routes
        self.sinks = []
        self.listen()

    def listen(self):
        self.listener = open_socket(self.lab, "lan", socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((LAN[0], PORT))
        self.listener.listen(128)
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                self.sinks.append(Sink(lambda connection=connection: connection, router_id=LAN[0]))

    def wait(self):
        """Until all have brought all."""
        def probe():
            complete = sum(1 for sink in self.sinks if not sink.ended and sink.announced - sink.withdrawn >= self.routes)
            return Seen(complete >= self.peers, f"{complete} of {self.peers} peers with all routes")

        until("all routes of all", probe, PATIENCE)

    def close(self):
        # Closing alone wouldn't wake the threads that wait there.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join()
        self.listener.close()
        old, self.sinks = self.sinks, []
        for sink in old:
            with contextlib.suppress(OSError):
                sink.connection.shutdown(socket.SHUT_RDWR)
            sink.close()


@dataclass(frozen=True)
class Fleet:
    """Many speakers, and what their start took."""

    router: Router
    roles: list[Role]
    start: dict


class Bare:
    """What speakers need to have something to do, and how much is written and sent meanwhile."""

    def __init__(self, cluster):
        self.cluster, self.api = cluster, Api(cluster)
        self.number = 0

    def prepare(self):
        """Definitions, a node, a pool and a peer."""
        crds = subprocess.run([str(build.binary()), "crds"], check=True, capture_output=True, text=True).stdout
        self.cluster.kubectl("apply", "--server-side", "-f", "-", data=crds)
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        self.cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self.cluster.apply([
            node(NODE),
            config("IPAddressPool", "pool", {"addresses": ["10.0.0.0/16"]}),
            config("BGPPeer", "sink", {"myASN": 64512, "peerASN": 64513, "peerAddress": LAN[0]}, "v1beta2"),
            config("BGPAdvertisement", "all", {}),
        ])

    @contextlib.contextmanager
    def speakers(self, count, services):
        """As many speakers as that, each a node's of its own, once each has announced and told of each of that many Services.

        There are to be no others, of neither.
        """
        self.api.create_all(SERVICES, map(service, self.names(services)))
        names = [f"fleet-{n}" for n in range(count)]
        self.cluster.apply([node(name) for name in names])
        with contextlib.ExitStack() as stack:
            router = Router(self.cluster.lab, count, services)
            stack.callback(router.close)
            roles = []
            stack.callback(stop, roles)
            roles.append(Role(self.cluster, "cp", "controller", "--webhook-mode=disabled"))
            before, octets, begun = self.api.writes(), self.link(), time.monotonic()
            roles.extend(Role(self.cluster, NODE, "speaker", *OF_MANY, node=name) for name in names)
            router.wait()
            announced = time.monotonic() - begun
            self.wait_statuses(services * count)
            written = time.monotonic() - begun
            self.quiet()
            yield Fleet(router, roles[1:], {
                "announced_seconds": round(announced, 1), "statuses_seconds": round(written, 1), "writes": difference(self.api.writes(), before),
                "octets": self.link() - octets,
            })

    def restart(self, fleet, seconds):
        """The router is away for that long: how soon after it all routes are back, and what came of it."""
        back = []

        def act():
            fleet.router.close()
            time.sleep(seconds)
            fleet.router.listen()
            begun = time.monotonic()
            fleet.router.wait()
            back.append(time.monotonic() - begun)

        return {"away_seconds": seconds, **self.meanwhile(act), "back_seconds": round(back[0], 1)}

    def meanwhile(self, act):
        """What is written and what the API server sends from now until `act` is over and nothing has been written for a while."""
        before, octets, begun = self.api.writes(), self.link(), time.monotonic()
        act()
        # What is told of a session comes up to that much later.
        time.sleep(SETTLED_SECONDS)
        self.quiet()
        return {"writes": difference(self.api.writes(), before), "octets": self.link() - octets, "seconds": round(time.monotonic() - begun, 1)}

    def names(self, count):
        """Names of Services to be, each of which has its endpoint already."""
        names = [f"svc-{number}" for number in range(self.number, self.number + count)]
        self.number += count
        self.api.create_all(SLICES, [slice_of(name) for name in names])
        return names

    def wait_statuses(self, count):
        """Until the speakers have told of all that they sent."""
        def told():
            answer = self.api.call("GET", f"{STATUSES}?limit=1")[0]
            return len(answer["items"]) + answer["metadata"].get("remainingItemCount", 0) == count

        until(f"{count} ServiceBGPStatuses", told, PATIENCE, 0.5)

    def quiet(self):
        """Until nothing has been written for a while."""
        seen = [self.api.writes()]

        def probe():
            seen.append(self.api.writes())
            return seen[-1] == seen[-2]

        until("nothing is written any more", probe, PATIENCE, 2.0)

    def link(self):
        """Octets that the control plane has sent over its link, to all speakers that is."""
        (link,) = json.loads(self.cluster.in_ns("cp", "ip", "-json", "-stats", "link", "show", "eth0"))
        return link["stats64"]["tx"]["bytes"]


def stop(roles):
    """Ends roles, all at once: a speaker takes most of a second."""
    for role in roles:
        role.process.terminate()
    for role in roles:
        role.process.wait(20)


def node(name):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}


def service(name, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}], "selector": {"app": name}, **spec}}


def slice_of(name):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"port": 80, "protocol": "TCP"}],
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, "endpoints": endpoints(True)}


def endpoints(ready):
    return [{"addresses": ["10.244.1.5"], "nodeName": NODE, "conditions": {"ready": ready, "serving": ready, "terminating": False}}]


def difference(now, before):
    return {what: count - before[what] for what, count in sorted(now.items()) if count != before[what]}
