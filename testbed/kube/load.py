"""A steady load of HTTP requests, and what became of each one.

    with Load(cluster, "client", address) as load:
        ...
    load.failed()

Who asks is a program in the network of a node, `load/main.go`: in Python the rates that a rolling update is to be judged by would be out of
reach. Nothing is asked a second time, and a request that isn't answered within `PATIENCE` has failed. Whether it was answered until
`GIVEN_UP` is told too: TCP sends a SYN that was lost again after a second.
"""

import json
import os
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from . import cache
from .build import FLAGS, go, say

SOURCE = Path(__file__).resolve().with_name("load")
PATIENCE, GIVEN_UP = 0.9, 3.5
RATE = 50.0
# A port isn't taken again before all others were: with one that nodes remember from a connection to a dead pod, a new connection would
# go there too. For the same reason nobody else takes these on clients (`topologies/kube.clab.yml`).
FIRST_PORT, LAST_PORT = 10_000, 39_999
# What one load of a test takes of them at most.
PORTS = 6_000


class Load:
    """Requests from a node of a lab at a steady rate, from now on until `end`."""

    _next_port = FIRST_PORT

    def __init__(self, cluster, where, address, port=80, rate=RATE):
        target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        options = {"rate": rate, "first": FIRST_PORT, "last": LAST_PORT, "from": Load._next_port, "patience": f"{GIVEN_UP}s"}
        argv = [str(program()), *(f"-{name}={value}" for name, value in options.items()), target]
        self._file = cluster.lab.folder / f"load-{time.monotonic_ns()}.jsonl"
        with self._file.open("wb") as lines:
            self._process = subprocess.Popen(cluster.lab.beside(where, argv), stdin=subprocess.PIPE, stdout=lines)
        # Whoever begins before this one has ended takes ports that it won't have come to.
        Load._next_port = _following(Load._next_port, PORTS)
        self._requests = None
        # What was asked before isn't judged: see `count`.
        self._counted = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def count(self):
        """Counts the requests from now on, and returns the time; those before show that the way is open."""
        self._counted = time.monotonic()
        return self._counted

    def end(self):
        """Asks no more, and returns all requests when the last one is over."""
        if self._requests is None:
            self._process.stdin.close()
            if self._process.wait(GIVEN_UP + 10.0) != 0:
                raise RuntimeError(f"the load ended with status {self._process.returncode}")
            lines = self._file.read_text(encoding="utf-8").splitlines()
            self._requests = sorted(map(_request, lines), key=lambda request: request.at)
        return self._requests

    def failed(self, since=0.0, until=float("inf")):
        """The counted requests without an answer in time that were made in this time; of all where no time is given."""
        since = max(since, self._counted)
        return [request for request in self.end() if request.why and since <= request.at < until]

    def uncounted(self):
        """Of those that were made before counting began, the ones without an answer in time."""
        return [request for request in self.end() if request.why and request.at < self._counted]


@dataclass(frozen=True)
class Request:
    """One request; `at` is when it was made (time.monotonic), `why` why it has failed. One that has a node too was answered late."""

    at: float
    ms: float
    port: int
    node: str | None
    why: str | None


def _request(line):
    """A request as the program tells of it, judged."""
    request = Request(**json.loads(line))
    late = request.why is None and request.ms > PATIENCE * 1000
    return replace(request, why=f"an answer later than {PATIENCE:g} s") if late else request


def program():
    """The program that asks, built where there is none."""
    return cache.folder(*made(), _build) / "load"


def made():
    """What `program` is made in, as the cache names it."""
    return "load", cache.key(*sorted(SOURCE.iterdir()), *FLAGS, os.uname().machine)


def _build(draft):
    say("building the load")
    go(["build", *FLAGS, "-o", str(draft / "load"), "."], SOURCE)


def _following(port, count):
    return FIRST_PORT + (port - FIRST_PORT + count) % (LAST_PORT - FIRST_PORT + 1)
