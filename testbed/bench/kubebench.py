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
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import kubereport  # noqa: E402
import kuberollout  # noqa: E402
from inside import cpu_seconds, resident_mib  # noqa: E402
from kube import cluster as kube_cluster  # noqa: E402
from kube.cluster import Cluster  # noqa: E402
from kube.fleet import NODE, PATIENCE, SERVICES, SLICES, Bare, Role, difference, endpoints, service  # noqa: E402
from kube.network import LAN  # noqa: E402
from kube.plain import Api, Watch  # noqa: E402
from labkit.runner import LabError  # noqa: E402
from labkit.sink import Sink  # noqa: E402
from labkit.sockets import open_socket  # noqa: E402
from labkit.wait import until  # noqa: E402

# So many that the 99th percentile isn't the worst one.
SINGLE = 400
ENDPOINT_EVENTS = 100
FLEET_SERVICES = 1000
# Nobody runs kube-proxy here, which a Local Service would be waited for with.
SPEAKER = ("--wait-for-kube-proxy=false",)
# The default is 25 writes a second and node, so that a burst leaves the API server alone; of thousands of statuses none is to wait for that.
UNBOUNDED = (*SPEAKER, "--status-writes=1000")
PARTS = ("services", "fleet", "rollout")
IDLE_SECONDS = 60
# A restart of the router that is over before a session's end is told of, and one that isn't.
SHORT_SECONDS, LONG_SECONDS = 10.0, 60.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--standing", type=int, default=5000)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--speakers", type=int, default=50)
    parser.add_argument("--only", choices=PARTS, help="only one of these; the tables of the others stay as they are")
    parser.add_argument("--out", type=Path, default=kubereport.DOCUMENT, help="another document; its figures lie beside it")
    args = parser.parse_args()
    kube_cluster.prepare()
    begun, load = time.monotonic(), os.getloadavg()[0]
    command = " ".join([f"{HERE.relative_to(HERE.parents[1])}/kubebench.py", *sys.argv[1:]])
    run = {"command": command, "date": datetime.date.today().isoformat(), "kubernetes": kube_cluster.build.version(), "cpus": os.cpu_count(), "load_before": round(load, 1)}
    parts = (args.only,) if args.only else PARTS
    rows = {}
    if parts != ("rollout",):
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(Cluster.api_alone(NODE, "lan"))
            bench = stack.enter_context(contextlib.closing(Bench(cluster)))
            steps = {
                "services": (bench.api_alone, bench.single, lambda: bench.standing(args.standing), bench.endpoints, lambda: bench.many(args.services), bench.again),
                "fleet": (lambda: bench.fleet(args.speakers),),
            }
            for act in (bench.prepare, *(step for part in parts for step in steps.get(part, ()))):
                take(rows, act())
    if "rollout" in parts:
        take(rows, kuberollout.rollout())
    run["minutes"] = round((time.monotonic() - begun) / 60, 1)
    results = (kubereport.figures() if args.only else {}) | rows
    # The first tables have theirs in common; of the others, one that was measured alone has its own.
    if args.only in (None, "services"):
        results |= run
    else:
        results[args.only]["run"] = run
    kubereport.write(results, args.out)
    print(f"{args.out} has the tables")


def take(rows, found):
    """Adds what a step has found, and prints it."""
    for name, row in found or ():
        rows[name] = row
        print(f"{name}: {json.dumps(row)}", flush=True)


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


class Bench(Bare):
    """The steps, in their order: each finds what the one before it left."""

    def __init__(self, cluster):
        super().__init__(cluster)
        self.seen = Seen()
        self.controller = self.speaker = self.sink = None

    def prepare(self):
        super().prepare()
        Watch(self.api, SERVICES, self.seen.take)

    def api_alone(self):
        """What the API server itself takes, none standing."""
        yield "api_alone", self.plainly()

    def plainly(self):
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
        return {"seen": spread(answers), "status_by_a_plain_client": spread(addressed)}

    def single(self):
        """One Service after another, none standing."""
        self.start_anew()
        yield "single_none", self.one_by_one(SINGLE)

    def standing(self, count):
        """The same with many standing, the API server alone too, and each right after another was deleted."""
        there = len(self.seen.there) + count
        self.start_anew(UNBOUNDED)
        self.api.create_all(SERVICES, map(service, self.names(count)))
        self.seen.wait(lambda: len(self.seen.addressed) == there)
        self.quiet()
        self.stop()
        yield "api_alone_standing", {"standing": count, **self.plainly()}
        self.start_anew()
        self.wait_sink(lambda s: s.announced >= there)
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
        self.start_anew(UNBOUNDED)
        self.clear()
        self.stop()
        seconds = self.api.create_all(SERVICES, map(service, self.names(count)))
        self.seen.wait(lambda: len(self.seen.there) == count)
        before, begun = self.api.writes(), time.monotonic()
        self.start_anew(UNBOUNDED)
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
            **{name: {"cpu_ms": round((cpu_seconds(role.pid) - spent[name]) * 1000, 1), **memory(role)} for name, role in roles.items()},
        }

    def again(self):
        """Everything has its address: both start anew."""
        count = len(self.seen.addressed)
        self.stop()
        before, begun = self.api.writes(), time.monotonic()
        self.start_anew(UNBOUNDED)
        self.wait_sink(lambda s: s.announced >= count)
        announced = self.sink.updates[-1].at - begun
        self.quiet()
        row = {"services": count, "announced_seconds": round(announced, 2), "updates": len([u for u in self.sink.updates if u.announced]),
               "writes": difference(self.api.writes(), before)}
        yield "again", {**row, "controller": memory(self.controller), "speaker": memory(self.speaker)}

    def fleet(self, count):
        """Many speakers at one API server, and a router that restarts: what they write, and what passes on the API server's link."""
        load = os.getloadavg()[0]
        self.clear()
        self.stop()
        with self.speakers(count, FLEET_SERVICES) as fleet:
            # The same time without and with a restart.
            idle = self.meanwhile(lambda: time.sleep(SHORT_SECONDS))
            restarts = [self.restart(fleet, seconds) for seconds in (SHORT_SECONDS, LONG_SECONDS)]
            yield "fleet", {
                "speakers": count, "services": FLEET_SERVICES, "load_before": round(load, 1), **fleet.start,
                "resident_mib": statistics.median(memory(role)["resident_mib"] for role in fleet.roles), "idle": idle, "restarts": restarts,
            }

    # What the steps are made of

    def start_anew(self, flags=SPEAKER):
        """Both, where they run, or for the first time; with a router that knows nothing yet."""
        self.stop()
        self.sink = self.listen()
        self.controller = Role(self.cluster, "cp", "controller", "--webhook-mode=disabled")
        self.speaker = Role(self.cluster, NODE, "speaker", *flags, node=NODE)
        self.wait_sink(lambda s: s.up is not None)

    def stop(self):
        for role in (self.speaker, self.controller):
            if role:
                role.stop()
        self.speaker = self.controller = None
        if self.sink:
            self.sink.close()
        self.sink = None

    def close(self):
        """Its processes aren't the lab's, which would end them."""
        self.stop()

    def listen(self):
        return Sink.listening(open_socket(self.cluster.lab, "lan", socket.AF_INET, socket.SOCK_STREAM), LAN[0])

    def wait_sink(self, condition):
        if not self.sink.wait(condition, PATIENCE):
            raise LabError(f"not within {PATIENCE:g} s: {self.sink.announced} routes announced, {self.sink.withdrawn} withdrawn")

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
        # One by one: a request for thousands takes longer than the API server lets it take.
        self.api.delete_all(f"{SERVICES}/{name}" for name in list(self.seen.there))
        self.seen.wait(lambda: not self.seen.there)
        self.wait_statuses(0)


def spread(seconds):
    """Milliseconds: median, 99th percentile, most."""
    values = sorted(value * 1000 for value in seconds)
    return {"count": len(values), "p50": round(statistics.median(values), 2), "p99": round(values[min(len(values) - 1, int(len(values) * 0.99))], 2), "max": round(values[-1], 2)}


def memory(role):
    """Resident memory of a role, now and at its peak."""
    return {"resident_mib": round(resident_mib(role.pid), 1), "peak_mib": round(resident_mib(role.pid, "VmHWM"), 1)}


if __name__ == "__main__":
    main()
