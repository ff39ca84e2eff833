#!/usr/bin/python3
"""`make bench-kube`: controller and speaker beside a plain watch client, at a real API server with 10,000 Services (root).

    kubebench.py [--standing N] [--services N] [--speakers N] [--only PART] [--out FILE]

etcd and an API server are real; there are no kubelets, and the Nodes are objects only, since nothing but the API's share is measured
here. The router is a sink that notes when routes come. Only for the rolling update there is a whole cluster. Writes docs/benchmarks-kube.md and its figures in docs/benchmarks/kube.json.
"""
import argparse
import contextlib
import datetime
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import kubereport  # noqa: E402
import kuberollout  # noqa: E402
from apiserver import Api, Watch  # noqa: E402
from inside import cpu_seconds, open_socket, resident_mib  # noqa: E402
from kube import cluster as kube_cluster  # noqa: E402
from kube.cluster import Cluster  # noqa: E402
from kube.network import LAN  # noqa: E402
from labkit import build  # noqa: E402
from labkit.runner import LabError  # noqa: E402
from labkit.wait import Seen as Have  # noqa: E402
from labkit.wait import until  # noqa: E402
from sink import Sink  # noqa: E402

SYSTEM = "metallb-system"
SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
STATUSES = f"/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/servicebgpstatuses"
NODE = "n1"
SINGLE = 100
ENDPOINT_EVENTS = 30
FLEET_SERVICES = 1000
# The default is 25 writes a second and node, so that a burst leaves the API server alone; here the API server is what limits them.
# And nobody runs kube-proxy here, which a Local Service would be waited for with.
SPEAKER = ("--status-writes=1000", "--wait-for-kube-proxy=false")
# Of many speakers each writes as it does by default: with no bound the API server would be asked for more than it can answer in time.
OF_MANY = ("--wait-for-kube-proxy=false",)
PATIENCE = 900.0
IDLE_SECONDS = 60
# A restart of the router that is over before a session's end is told of, and one that isn't.
SHORT_SECONDS, LONG_SECONDS = 10.0, 60.0
SETTLED_SECONDS = 35.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--standing", type=int, default=5000)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--speakers", type=int, default=50)
    parser.add_argument("--only", choices=("fleet", "rollout"), help="only the many speakers, or the rolling update; the other tables stay as they are")
    parser.add_argument("--out", type=Path, default=kubereport.DOCUMENT, help="another document; its figures lie beside it")
    args = parser.parse_args()
    kube_cluster.prepare()
    begun, load = time.monotonic(), os.getloadavg()[0]
    command = " ".join([f"{HERE.relative_to(HERE.parents[1])}/kubebench.py", *sys.argv[1:]])
    run = {"command": command, "date": datetime.date.today().isoformat(), "kubernetes": kube_cluster.build.version(), "cpus": os.cpu_count(), "load_before": round(load, 1)}
    results = kubereport.figures() if args.only else run
    rows = {}
    if args.only != "rollout":
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(Cluster.api_alone(NODE, "lan"))
            bench = stack.enter_context(contextlib.closing(Bench(cluster)))
            one = (bench.api_alone, bench.single, lambda: bench.standing(args.standing), bench.endpoints)
            most = () if args.only else (*one, lambda: bench.many(args.services), bench.again)
            for act in (bench.prepare, *most, lambda: bench.fleet(args.speakers)):
                take(rows, act())
    if args.only != "fleet":
        take(rows, kuberollout.rollout())
    run["minutes"] = round((time.monotonic() - begun) / 60, 1)
    if args.only:
        rows[args.only]["run"] = run
    results |= rows
    kubereport.write(results, args.out)
    print(f"{args.out} has the tables")


def take(rows, found):
    """Adds what a step has found, and prints it."""
    for name, row in found or ():
        rows[name] = row
        print(f"{name}: {json.dumps(row)}", flush=True)


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
        self.process.terminate()
        self.process.wait(20)

    def figures(self):
        return {"resident_mib": round(resident_mib(self.pid), 1), "peak_mib": round(resident_mib(self.pid, "VmHWM"), 1)}


class Seen:
    """What a plain watch of Services saw, and when: each one's first sight, and its first address."""

    def __init__(self):
        self.changed = threading.Condition()
        self.there, self.addressed = {}, {}

    def take(self, moment, kind, item):
        name = item["metadata"]["name"]
        with self.changed:
            if kind == "DELETED":
                self.there.pop(name, None)
                self.addressed.pop(name, None)
            else:
                self.there.setdefault(name, moment)
                if item["status"]["loadBalancer"].get("ingress"):
                    self.addressed.setdefault(name, moment)
            self.changed.notify_all()

    def wait(self, condition, seconds=PATIENCE):
        with self.changed:
            if not self.changed.wait_for(condition, seconds):
                raise LabError(f"not within {seconds:g} s; {len(self.there)} Services seen, {len(self.addressed)} with an address")


class Bench:
    """The steps, in their order: each finds what the one before it left."""

    def __init__(self, cluster):
        self.cluster, self.api = cluster, Api(cluster)
        self.number = 0
        self.seen = Seen()
        self.controller = self.speaker = self.sink = None

    def prepare(self):
        """Definitions, a node, a pool, a peer, and an endpoint for everybody."""
        crds = subprocess.run([str(build.binary()), "crds"], check=True, capture_output=True, text=True).stdout
        self.cluster.kubectl("apply", "--server-side", "-f", "-", data=crds)
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        self.cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self.cluster.apply([
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}},
            config("IPAddressPool", "pool", {"addresses": ["10.0.0.0/16"]}),
            config("BGPPeer", "sink", {"myASN": 64512, "peerASN": 64513, "peerAddress": LAN[0]}, "v1beta2"),
            config("BGPAdvertisement", "all", {}),
        ])
        Watch(self.api, SERVICES, self.seen.take)

    def api_alone(self):
        """What the API server itself takes: a write to be seen, and the answer of a plain client that patches each status."""
        answers, addressed = [], []
        patcher = Api(self.cluster)

        def answer(_moment, kind, item):
            if kind == "ADDED":
                patcher.patch(f"{SERVICES}/{item['metadata']['name']}/status", {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}})

        plain = Watch(self.api, SERVICES, answer)
        for _ in range(SINGLE):
            name, acknowledged = self.create()
            self.seen.wait(lambda name=name: name in self.seen.addressed)
            answers.append(self.seen.there[name] - acknowledged)
            addressed.append(self.seen.addressed[name] - acknowledged)
            self.remove(name)
        plain.close()
        yield "api_alone", {"seen": spread(answers), "status_by_a_plain_client": spread(addressed)}

    def single(self):
        """One Service after another, none standing."""
        self.sink = self.listen()
        self.start()
        yield "single_none", self.one_by_one(SINGLE)

    def standing(self, count):
        """The same with many standing, and each right after another was deleted."""
        before = self.sink.announced
        self.api.create_all(SERVICES, map(service, self.names(count)))
        self.wait_sink(lambda s: s.announced >= before + count)
        self.quiet()
        yield "single_standing", {"standing": count, **self.one_by_one(SINGLE)}
        yield "after_a_delete", {"standing": count, **self.one_by_one(SINGLE // 2, delete=True)}

    def endpoints(self):
        """The only endpoint of a Local Service goes unready: until the withdrawal is at the router, and at a plain watch client."""
        seen = {}
        Watch(self.api, SLICES, lambda moment, _kind, item: seen.setdefault((item["metadata"]["name"], item["metadata"]["resourceVersion"]), moment))
        standing = self.sink.announced
        name, _ = self.create(externalTrafficPolicy="Local")
        self.wait_sink(lambda s: s.announced > standing)
        withdrawn, floor = [], []
        for _ in range(ENDPOINT_EVENTS):
            for ready in (False, True):
                before = self.sink.withdrawn, self.sink.announced
                answer, acknowledged = self.api.call("PATCH", f"{SLICES}/{name}", {"endpoints": endpoints(ready)}, "application/merge-patch+json")
                key = (name, answer["metadata"]["resourceVersion"])
                self.wait_sink(lambda s, b=before, r=ready: (s.announced > b[1]) if r else (s.withdrawn > b[0]))
                until("the watch", lambda key=key: key in seen, PATIENCE, 0.001)
                if not ready:
                    withdrawn.append(self.sink.updates[-1].at - acknowledged)
                    floor.append(seen[key] - acknowledged)
                # An announcement within a second of the last one would wait for it.
                time.sleep(1.05 if ready else 0.0)
        yield "endpoint", {"update": spread(withdrawn), "seen": spread(floor)}

    def many(self, count):
        """All at once, made while nobody gives addresses; then controller and speaker start."""
        self.clear()
        self.stop()
        seconds = self.api.create_all(SERVICES, map(service, self.names(count)))
        self.seen.wait(lambda: len(self.seen.there) == count)
        self.sink = self.listen()
        before, begun = self.api.writes(), time.monotonic()
        self.start()
        self.seen.wait(lambda: len(self.seen.addressed) == count)
        allocated = max(self.seen.addressed.values()) - begun
        self.wait_sink(lambda s: s.announced >= count)
        announced = self.sink.updates[-1].at - begun
        self.wait_statuses(count)
        written = time.monotonic() - begun
        self.quiet()
        writes = difference(self.api.writes(), before)
        yield "many", {
            "services": count, "made_in_seconds": round(seconds, 1), "allocated_seconds": round(allocated, 1), "announced_seconds": round(announced, 1),
            "statuses_seconds": round(written, 1), "writes": writes, "writes_a_service": round(sum(writes.values()) / count, 2),
        }
        roles = {"controller": self.controller, "speaker": self.speaker}
        requests, spent = self.api.writes(), {name: cpu_seconds(role.pid) for name, role in roles.items()}
        time.sleep(IDLE_SECONDS)
        yield "idle", {
            "services": count, "seconds": IDLE_SECONDS, "writes": difference(self.api.writes(), requests),
            **{name: {"cpu_ms": round((cpu_seconds(role.pid) - spent[name]) * 1000, 1), **role.figures()} for name, role in roles.items()},
        }

    def again(self):
        """Everything has its address: both start anew."""
        count = len(self.seen.addressed)
        self.stop()
        self.sink = self.listen()
        before, begun = self.api.writes(), time.monotonic()
        self.start()
        self.wait_sink(lambda s: s.announced >= count)
        announced = self.sink.updates[-1].at - begun
        self.quiet()
        row = {"services": count, "announced_seconds": round(announced, 2), "updates": len([u for u in self.sink.updates if u.announced]),
               "writes": difference(self.api.writes(), before)}
        yield "again", {**row, "controller": self.controller.figures(), "speaker": self.speaker.figures()}

    def fleet(self, count):
        """Many speakers at one API server, and a router that restarts: what they write, and what passes on the API server's link."""
        load = os.getloadavg()[0]
        with self.speakers(count, FLEET_SERVICES) as fleet:
            # The same time without and with a restart.
            idle = self.meanwhile(lambda: time.sleep(SHORT_SECONDS))
            restarts = [self.restart(fleet, seconds) for seconds in (SHORT_SECONDS, LONG_SECONDS)]
            yield "fleet", {
                "speakers": count, "services": FLEET_SERVICES, "load_before": round(load, 1), **fleet.start,
                "resident_mib": statistics.median(role.figures()["resident_mib"] for role in fleet.roles), "idle": idle, "restarts": restarts,
            }

    @contextlib.contextmanager
    def speakers(self, count, services):
        """As many speakers as that, each a node's of its own, once each has announced and told of each of that many Services."""
        self.clear()
        self.stop()
        self.api.create_all(SERVICES, map(service, self.names(services)))
        names = [f"fleet-{n}" for n in range(count)]
        self.cluster.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}} for name in names])
        with contextlib.ExitStack() as stack:
            router = Router(self.cluster.lab, count, services)
            stack.callback(router.close)
            controller = Role(self.cluster, "cp", "controller", "--webhook-mode=disabled")
            stack.callback(controller.stop)
            before, octets, begun = self.api.writes(), self.link(), time.monotonic()
            roles = [Role(self.cluster, NODE, "speaker", *OF_MANY, node=name) for name in names]
            for role in roles:
                stack.callback(role.stop)
            router.wait()
            announced = time.monotonic() - begun
            self.wait_statuses(services * count)
            written = time.monotonic() - begun
            self.quiet()
            yield Fleet(router, roles, {
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

    # What the steps are made of

    def start(self):
        self.controller = Role(self.cluster, "cp", "controller", "--webhook-mode=disabled")
        self.speaker = Role(self.cluster, NODE, "speaker", *SPEAKER, node=NODE)
        self.wait_sink(lambda s: s.up is not None)

    def stop(self):
        for role in (self.speaker, self.controller):
            if role:
                role.stop()
        self.speaker = self.controller = None
        if self.sink:
            self.sink.close()

    def close(self):
        """Its processes aren't the lab's, which would end them."""
        self.stop()

    def listen(self):
        return Sink.listening(open_socket(self.cluster.lab, "lan", socket.AF_INET, socket.SOCK_STREAM), LAN[0])

    def wait_sink(self, condition):
        if not self.sink.wait(condition, PATIENCE):
            raise LabError(f"not within {PATIENCE:g} s: {self.sink.announced} routes announced, {self.sink.withdrawn} withdrawn")

    def names(self, count):
        """Names of Services to be, each of which has its endpoint already."""
        names = [f"svc-{number}" for number in range(self.number, self.number + count)]
        self.number += count
        self.api.create_all(SLICES, [slice_of(name) for name in names])
        return names

    def create(self, **spec):
        """A Service; its name, and when the API server had acknowledged it."""
        (name,) = self.names(1)
        return name, self.api.create(SERVICES, service(name, **spec))

    def remove(self, name):
        self.api.delete(f"{SERVICES}/{name}")
        self.seen.wait(lambda: name not in self.seen.there)

    def one_by_one(self, count, delete=False):
        statuses, updates, seen = [], [], []
        for _ in range(count):
            before = self.sink.announced
            if delete:
                # An old one: its address, which the next one gets, was announced long ago.
                self.remove(next(iter(self.seen.addressed)))
            name, acknowledged = self.create()
            self.seen.wait(lambda name=name: name in self.seen.addressed)
            self.wait_sink(lambda s, b=before: s.announced > b)
            seen.append(self.seen.there[name] - acknowledged)
            statuses.append(self.seen.addressed[name] - acknowledged)
            updates.append(self.sink.updates[-1].at - acknowledged)
        return {"seen": spread(seen), "status": spread(statuses), "update": spread(updates)}

    def clear(self):
        self.api.delete(f"{SERVICES}?fieldSelector=metadata.name%21%3Dkubernetes")
        self.seen.wait(lambda: not self.seen.there)
        self.wait_statuses(0)

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


class Router:
    """A router with many peers, each of which is to bring it so many routes; peers are refused between `close` and `listen`."""

    def __init__(self, lab, peers, routes):
        self.lab, self.peers, self.routes = lab, peers, routes
        self.sinks = []
        self.listen()

    def listen(self):
        self.listener = open_socket(self.lab, "lan", socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((LAN[0], 179))
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
            return Have(complete >= self.peers, f"{complete} of {self.peers} peers with all routes")

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


def config(kind, name, spec, version="v1beta1"):
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": {"name": name, "namespace": SYSTEM}, "spec": spec}


def service(name, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}], "selector": {"app": name}, **spec}}


def slice_of(name):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"port": 80, "protocol": "TCP"}],
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, "endpoints": endpoints(True)}


def endpoints(ready):
    return [{"addresses": ["10.244.1.5"], "nodeName": NODE, "conditions": {"ready": ready, "serving": ready, "terminating": False}}]


def spread(seconds):
    """Milliseconds: median, 99th percentile, most."""
    values = sorted(value * 1000 for value in seconds)
    return {"count": len(values), "p50": round(statistics.median(values), 2), "p99": round(values[min(len(values) - 1, int(len(values) * 0.99))], 2), "max": round(values[-1], 2)}


def difference(now, before):
    return {what: count - before[what] for what, count in sorted(now.items()) if count != before[what]}


if __name__ == "__main__":
    main()
