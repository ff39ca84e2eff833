"""From session up to all routes at the peer: each announcer in turn, in the same run.

Each round starts the announcer anew with everything loaded, and then the peer, so that only the feed is measured.
"""
import contextlib
import socket
import tempfile
from pathlib import Path

import announcers
from labkit.sink import Sink
from labkit.sockets import open_socket

PEER, LOCAL = "198.51.100.1", "198.51.100.2"
SECONDS = 300.0
MEMORY = "/dev/shm"  # where files are that only the benchmark writes: making thousands on a disk takes minutes on a bad day


class Missing(Exception):
    """What should have come didn't; the text says what."""


@contextlib.contextmanager
def announcer(lab, name, routes, **options):
    """One announcer, started in a folder of its own, and ended."""
    folders = [tempfile.TemporaryDirectory(prefix="ferrolb-bench-", dir=parent) for parent in (MEMORY, None)]
    with folders[0] as folder, folders[1] as state:
        peers = options.pop("peers", [(PEER, LOCAL)])
        plan = announcers.Plan(lab, "announcer", Path(folder), Path(state), routes, peers, **options)
        running = announcers.start(name, plan)
        try:
            yield plan, running
        finally:
            running.close()


def sink(lab, running, peer=PEER, local=LOCAL):
    """The peer, which waits for the announcer or dials it."""
    tcp = open_socket(lab, "sink", socket.AF_INET, socket.SOCK_STREAM)
    return Sink.listening(tcp, peer) if running.dials else Sink.dialling(tcp, peer, local)


def complete(peer, routes):
    """Waits for all routes; the moment that the last one came."""
    if not peer.wait(lambda s: s.announced >= routes, SECONDS):
        raise Missing(f"only {peer.announced} of {routes} routes came")
    return peer.updates[-1].at if peer.updates[-1].announced else next(u.at for u in reversed(peer.updates) if u.announced)


def measure(lab, name, routes):
    """One feed: milliseconds and UPDATEs."""
    with announcer(lab, name, routes) as (_, running):
        peer = sink(lab, running)
        try:
            last = complete(peer, routes)
            return (last - peer.up) * 1000, sum(1 for update in peer.updates if update.announced)
        finally:
            peer.close()


def run(lab, names, sizes, rounds, bound):
    """A row for each size and announcer, round by round in turn; `rounds` gives their number for each size."""
    for routes in sizes:
        results = {name: [] for name in names}
        for _ in range(rounds[routes]):
            for name in names:
                if not bound.over():
                    results[name].append(measure(lab, name, routes))
        for name, runs in results.items():
            if runs:
                yield {"routes": routes, "announcer": name, "ms": [round(ms, 3) for ms, _ in runs], "updates": max(n for _, n in runs)}
