"""What an announcer costs that has nothing to do: 8 peers with 10,000 routes each."""
import contextlib
import time

import feed
from feed import LOCAL, complete
from inside import cpu_seconds, resident_mib

PEERS = [f"198.51.100.{10 + i}" for i in range(8)]
SETTLE_SECONDS = 3.0


def run(lab, names, routes, seconds, bound):
    """A row for each announcer, one after another."""
    for peer in PEERS:
        lab.run("sink", ["ip", "address", "replace", f"{peer}/24", "dev", "eth1"])
    for name in names:
        if bound.over():
            return
        with feed.announcer(lab, name, routes, peers=[(peer, LOCAL) for peer in PEERS]) as (_, running), contextlib.ExitStack() as stack:
            sinks = [feed.sink(lab, running, peer) for peer in PEERS]
            for peer in sinks:
                stack.callback(peer.close)
            for peer in sinks:
                complete(peer, routes)
            running.threads.close()  # nobody pokes it any more
            time.sleep(SETTLE_SECONDS)
            before = cpu_seconds(running.pid)
            time.sleep(seconds)
            row = {
                "announcer": name, "peers": len(PEERS), "routes": routes, "seconds": seconds,
                "cpu_ms": round((cpu_seconds(running.pid) - before) * 1000, 2),
                "resident_mib": round(resident_mib(running.pid), 1), "peak_mib": round(resident_mib(running.pid, "VmHWM"), 1),
            }
        yield row
