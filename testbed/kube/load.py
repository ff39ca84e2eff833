#!/usr/bin/python3
"""A steady load of HTTP requests, and what became of each one.

    with Load(cluster, "client", address) as load:
        ...
    load.failed()

Run as a program in the network of a node it is the client: `load.py ADDRESS PORT RATE FIRST` asks until its standard input ends, each
time over a TCP connection of its own, and prints a JSON line a request:

    {"at": start, "ms": duration, "port": its own, "node": who answered or null, "why": null or why nobody did}

`at` is the machine's monotonic clock. Nothing is asked a second time, by TCP neither: a request that isn't answered within `PATIENCE`
has failed, and that is before TCP would send a lost SYN again.
"""

import errno
import json
import resource
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 0.9
RATE = 50.0
# A port isn't taken again before all others were: with one that nodes remember from a connection to a dead pod, a new connection would
# go there too.
FIRST_PORT, LAST_PORT = 10_000, 59_999
AT_ONCE = 16
ERROR = select.EPOLLERR | select.EPOLLHUP


class Load:
    """Requests from a node of a lab at a steady rate, from now on until `end`."""

    _next_port = FIRST_PORT

    def __init__(self, cluster, where, address, port=80, rate=RATE):
        argv = [sys.executable, str(Path(__file__).resolve()), address, str(port), str(rate), str(Load._next_port)]
        self._file = cluster.lab.folder / f"load-{time.monotonic_ns()}.jsonl"
        with self._file.open("wb") as lines:
            self._process = subprocess.Popen(cluster.lab.beside(where, argv), stdin=subprocess.PIPE, stdout=lines)
        # Whoever begins before this one has ended takes ports that it won't have come to.
        Load._next_port = _following(Load._next_port, 10_000)
        self._requests = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Asks no more, and returns all requests when the last one is over."""
        if self._requests is None:
            self._process.stdin.close()
            if self._process.wait(PATIENCE + 10.0) != 0:
                raise RuntimeError(f"the load ended with status {self._process.returncode}")
            lines = self._file.read_text(encoding="utf-8").splitlines()
            self._requests = sorted((Request(**json.loads(line)) for line in lines), key=lambda request: request.at)
        return self._requests

    def failed(self, since=0.0, until=float("inf")):
        """The requests without an answer that were made in this time; of all where no time is given."""
        return [request for request in self.end() if request.why and since <= request.at < until]


@dataclass(frozen=True)
class Request:
    """One request; `at` is when it was made (time.monotonic), `why` why it has failed."""

    at: float
    ms: float
    port: int
    node: str | None
    why: str | None


class _Client:
    """All requests that are under way, on one epoll."""

    def __init__(self, address, port, rate, first):
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.target, self.rate, self.port = (address, port), rate, first
        self.poll = select.epoll()
        # By file descriptor, the oldest first.
        self.waiting = {}

    def run(self):
        # A fast one that nobody answers has many under way.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.poll.register(sys.stdin, select.EPOLLIN)
        begun, count, over = time.monotonic(), 0, False
        while not over or self.waiting:
            # One that can't keep pace must come to its answers all the same.
            for _ in range(AT_ONCE):
                if over or begun + count / self.rate > time.monotonic():
                    break
                self.begin()
                count += 1
            soon = 0.1 if over else begun + count / self.rate - time.monotonic()
            for descriptor, events in self.poll.poll(max(0.0, min(soon, 0.1))):
                if descriptor == sys.stdin.fileno():
                    over = True
                    self.poll.unregister(sys.stdin)
                else:
                    self.waiting[descriptor].act(events)
            # An answer that is there counts, however late this process comes to it.
            self.give_up()

    def begin(self):
        connection = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind(("", self.port))
        exchange = _Exchange(self, connection, self.port)
        self.port = _following(self.port, 1)
        self.waiting[connection.fileno()] = exchange
        problem = connection.connect_ex(self.target)
        if problem != errno.EINPROGRESS:
            return exchange.end(why=f"{errno.errorcode.get(problem, problem)} while connecting")
        self.poll.register(connection, select.EPOLLOUT)

    def give_up(self):
        late = time.monotonic() - PATIENCE
        while self.waiting and (oldest := next(iter(self.waiting.values()))).begun < late:
            oldest.end(why=f"no answer {oldest.doing}")


class _Exchange:
    """A connection, a question and its answer."""

    def __init__(self, client, connection, port):
        self.client, self.connection, self.port = client, connection, port
        self.begun, self.doing, self.said = time.monotonic(), "while connecting", b""

    def act(self, events):
        try:
            if self.doing == "while connecting":
                problem = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if problem:
                    raise OSError(problem, "")
                self.connection.send(b"GET / HTTP/1.0\r\n\r\n")
                self.doing = "once connected"
                self.client.poll.modify(self.connection, select.EPOLLIN)
            elif events & (select.EPOLLIN | ERROR):
                part = self.connection.recv(4096)
                self.said += part
                if not part:
                    self.judge()
        except BlockingIOError:
            pass
        except OSError as error:
            self.end(why=f"{errno.errorcode.get(error.errno, error.errno)} {self.doing}")

    def judge(self):
        head, _, body = self.said.partition(b"\r\n\r\n")
        words = dict(word.split("=", 1) for word in body.decode(errors="replace").split() if "=" in word)
        good = head.split(b" ")[1:2] == [b"200"] and "node" in words
        self.end(node=words["node"] if good else None, why=None if good else f"{self.said[:40]!r} for an answer")

    def end(self, node=None, why=None):
        del self.client.waiting[self.connection.fileno()]
        self.connection.close()
        taken = round((time.monotonic() - self.begun) * 1000, 2)
        print(json.dumps({"at": round(self.begun, 5), "ms": taken, "port": self.port, "node": node, "why": why}), flush=True)


def _following(port, count):
    return FIRST_PORT + (port - FIRST_PORT + count) % (LAST_PORT - FIRST_PORT + 1)


if __name__ == "__main__":
    target, service_port, requests, first_port = sys.argv[1:]
    _Client(target, int(service_port), float(requests), int(first_port)).run()
