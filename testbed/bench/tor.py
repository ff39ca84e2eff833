"""What the top-of-rack router's kernel and a client see of a feed and of one route, beside what is on the wire.

The router is FRR 8.4 as installed, started anew for each feed; behind it a client asks services over UDP each millisecond.
"""
import contextlib
import statistics
import tempfile
import time
from pathlib import Path

import announcers
import change
import feed
from announcers import ASN, PEER_ASN, address
from feed import Missing
from labkit.wait import until
from watch import Client, Watch

ROUTER, LOCAL = "192.0.2.1", "192.0.2.2"
TARGETS = 16
SECONDS = 300.0
RESPONDER = Path(__file__).resolve().parents[1] / "responder.py"
# Several answers' worth of silence: the client has lost the service.
SILENT_SECONDS = 0.05


@contextlib.contextmanager
def router(lab, dials):
    """FRR in the node `tor`; it dials an announcer that doesn't."""
    with tempfile.TemporaryDirectory(prefix="ferrolb-bench-") as folder:
        plan = announcers.Plan(lab, "tor", Path(folder), 0, [])
        conf = plan.folder / "bgpd.conf"
        passive = f" neighbor {LOCAL} passive\n" if dials else ""
        conf.write_text(f"""\
router bgp {PEER_ASN}
 bgp router-id {ROUTER}
 no bgp ebgp-requires-policy
 neighbor {LOCAL} remote-as {ASN}
 neighbor {LOCAL} timers connect 1
{passive}""")
        running = announcers.Running(announcers.frr_daemons(plan, conf, [], zebra=True), time.monotonic())
        try:
            yield running
        finally:
            running.close()


def forget(lab):
    """Ends what the router left in its kernel: it goes with the link."""
    for state in ("down", "up"):
        lab.run("tor", ["ip", "link", "set", "eth1", state])


@contextlib.contextmanager
def responder(lab):
    """Answers for every service on the announcer's node."""
    process = lab.start("announcer", ["/usr/bin/python3", str(RESPONDER), "--name", "n1"])
    running = announcers.Running([process], time.monotonic())
    try:
        until("the responder", lambda: lab.run("announcer", ["ss", "-Hnul", "sport", "=", ":80"], check=False), 10.0)
        yield
    finally:
        running.close()


@contextlib.contextmanager
def fed(lab, name, routes, targets, **options):
    """An announcer whose routes a fresh router has just taken: (plan, running, watch, client)."""
    with contextlib.ExitStack() as stack:
        stack.callback(forget, lab)
        plan, running = stack.enter_context(feed.announcer(lab, name, routes, peers=[(ROUTER, LOCAL)], **options))
        watch = Watch(lab, "tor", "eth1", ROUTER)
        stack.callback(watch.close)
        client = Client(lab, "client", targets)
        stack.callback(client.close)
        stack.enter_context(router(lab, running.dials))
        if not watch.wait(lambda w: w.installed >= routes, SECONDS):
            raise Missing(f"{name}: {watch.installed} of {routes} routes in the router's kernel, {watch.announced} on the wire")
        running.threads.close()
        yield plan, running, watch, client


def one_feed(lab, name, routes):
    """One feed: milliseconds from session up until the wire, the router's kernel and the client have it all."""
    targets = [address(i * (routes - 1) // (TARGETS - 1)) for i in range(TARGETS)]
    with fed(lab, name, routes, targets) as (_, _, watch, client):
        if not client.wait_all(SECONDS):
            raise Missing(f"{name}: the client was answered by {len(client.first)} of {TARGETS} services")
        moments = {
            "wire": watch.wire,
            "kernel_first": min(at for at, there in watch.kernel.values() if there),
            "kernel": max(at for at, there in watch.kernel.values() if there),
            "client": max(client.first.values()),
        }
        return {what: round((at - watch.up) * 1000, 2) for what, at in moments.items()}


def feeds(lab, names, routes, rounds, bound):
    """A row for each announcer, round by round in turn."""
    results = {name: [] for name in names}
    with responder(lab):
        for _ in range(rounds):
            for name in names:
                if not bound.over():
                    results[name].append(one_feed(lab, name, routes))
    for name, runs in results.items():
        if runs:
            yield {"announcer": name, "routes": routes, **{f"{what}_ms": [run[what] for run in runs] for what in runs[0]}}


def one_change(watch, client, events, host, i, there):
    """One route: milliseconds from the event until wire, router's kernel and client have it."""
    client.ask([host])
    # It must be answered before it can fall silent.
    if not there and not client.wait_all(SECONDS):
        raise Missing(f"the client wasn't answered by {host} before its withdrawal")
    begun = events.set(i, there)
    if not watch.wait(lambda w: w.kernel.get(host, (0, False))[0] > begun and w.kernel[host][1] == there, SECONDS):
        raise Missing(f"{host} {'came' if there else 'went'} on the wire, not in the router's kernel")
    if there:
        if not client.wait_all(SECONDS):
            raise Missing(f"{host} is in the router's kernel, and the client isn't answered")
        seen = client.first[host]
    else:
        until("silence", lambda: time.monotonic() - client.last[host] > SILENT_SECONDS, SECONDS)
        seen = client.last[host]
    return {"wire": (watch.wire - begun) * 1000, "kernel": (watch.kernel[host][0] - begun) * 1000, "client": (seen - begun) * 1000}


def changes(lab, names, routes, count, bound):
    """A row for each announcer: routes added and withdrawn one by one, with `routes` standing."""
    with responder(lab):
        for name in names:
            if bound.over():
                return
            with fed(lab, name, routes, [], layout="files", kernel=name != "ferrolb") as (plan, running, watch, client):
                events = change.EVENTS[name](plan, running)
                chosen = [i * routes // count for i in range(count)] if events.standing else [routes + i for i in range(count)]
                row = {"announcer": name, "standing": routes, "count": count}
                for there in (not events.standing, events.standing):
                    runs = [one_change(watch, client, events, address(i), i, there) for i in chosen]
                    kind = "added" if there else "withdrawn"
                    row[kind] = {what: round(statistics.median(run[what] for run in runs), 2) for what in runs[0]}
                    time.sleep(change.DAMPED_SECONDS)
            yield row
