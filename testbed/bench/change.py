"""One route added or withdrawn, bursts of 1,000, and what an event costs: from the event to the UPDATE at the peer.

FerroLB's event is a file that is closed; another service's each time. BIRD and FRR get a route added to the kernel that they
watch or removed from it, GoBGP its command line tool. All have the same number of routes standing meanwhile.
"""
import contextlib
import statistics
import time

import announcers
from announcers import address
from feed import Missing, announcer, complete, sink
from inside import KernelTable, cpu_seconds, resident_mib

BURST = 1000
SECONDS = 10.0
GATEWAY = "198.51.100.1"  # what the routes in the announcer's kernel point to
# Between two events, and before a prefix is announced again, which is damped within a second.
GAP_SECONDS, DAMPED_SECONDS = 0.005, 1.2
QUANTILES = range(0, 101)


class Files:
    """FerroLB: an endpoint turns ready, or ceases to be, in a service's own file."""

    def __init__(self, plan, _running):
        self.folder = plan.folder / "manifests"
        self.standing = True  # the services are there at the start

    def set(self, i, there):
        return announcers.write_service(self.folder, i, there)


class Kernel:
    """BIRD and FRR: a route in the node's kernel."""

    def __init__(self, plan, _running):
        self.table = KernelTable(plan.lab, plan.node, GATEWAY)
        self.standing = False

    def set(self, i, there):
        begun = time.monotonic()
        self.table.set(address(i), there)
        return begun


class Tool:
    """GoBGP: its command line tool, whose start is part of the time."""

    def __init__(self, plan, _running):
        self.plan, self.standing = plan, False

    def set(self, i, there):
        begun = time.monotonic()
        verb = ["add"] if there else ["del"]
        self.plan.lab.run(self.plan.node, ["gobgp", "global", "rib", *verb, f"{address(i)}/32", *(["nexthop", self.plan.peers[0][1]] if there else [])])
        return begun


EVENTS = {"ferrolb": Files, "bird": Kernel, "frr": Kernel, "gobgp": Tool}


@contextlib.contextmanager
def standing(lab, name, routes):
    """An announcer with `routes` at the peer: (plan, running, peer, events)."""
    with announcer(lab, name, routes, layout="files", kernel=name != "ferrolb") as (plan, running), contextlib.ExitStack() as stack:
        peer = sink(lab, running)
        stack.callback(peer.close)
        complete(peer, routes)
        running.threads.close()  # nobody pokes it any more
        yield plan, running, peer, EVENTS[name](plan, running)


def one(peer, events, i, there):
    """One event: milliseconds until its UPDATE."""
    before = (peer.withdrawn, peer.announced)
    wanted = (before[0] + (not there), before[1] + there)
    begun = events.set(i, there)
    if not peer.wait(lambda s: (s.withdrawn, s.announced) == wanted, SECONDS):
        raise Missing(f"one route {'added' if there else 'withdrawn'}: {(peer.withdrawn, peer.announced)} came instead of {wanted}")
    return (peer.updates[-1].at - begun) * 1000


def singles(peer, events, routes, count, bound):
    """Routes withdrawn and added (or the other way round), another each time: two lists of milliseconds."""
    chosen = [i * routes // count for i in range(count)] if events.standing else [routes + i for i in range(count)]
    times = {"added": [], "withdrawn": []}
    for there in (not events.standing, events.standing):
        for i in chosen:
            if not bound.over():
                times["added" if there else "withdrawn"].append(one(peer, events, i, there))
                time.sleep(GAP_SECONDS)
        # What the bound cut off on the way there can't be undone.
        chosen = chosen[:len(times["withdrawn" if events.standing else "added"])]
        time.sleep(DAMPED_SECONDS)
    return times


def summary(times):
    """Median, tail and the whole distribution in percent steps, in milliseconds."""
    ordered = sorted(times)
    at = lambda percent: ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]  # noqa: E731
    return {
        "count": len(ordered), "p50": round(statistics.median(ordered), 3), "p99": round(at(99), 3), "max": round(ordered[-1], 3),
        "percentiles": [round(at(percent), 3) for percent in QUANTILES],
    }


def changes(lab, names, routes, count, bound):
    """A row for each announcer, one after another, since each has its routes standing all the while."""
    for number, name in enumerate(names):
        if bound.over():
            return
        with standing(lab, name, routes) as (_, _, peer, events):
            times = singles(peer, events, routes, count[name], bound.part(1 / (len(names) - number)))
        if times["added"] and times["withdrawn"]:
            yield {"announcer": name, "standing": routes, **{kind: summary(ms) for kind, ms in times.items()}}


def events(lab, sizes, count, bound):
    """What one endpoint event costs FerroLB with so many services: wall clock and CPU; start and memory on the way."""
    for services in sizes:
        if bound.over():
            return
        with standing(lab, "ferrolb", services) as (_, running, peer, files):
            start = max(update.at for update in peer.updates if update.announced) - running.started
            resident, updates = resident_mib(running.pid), sum(1 for update in peer.updates if update.announced)
            time.sleep(DAMPED_SECONDS)
            before = cpu_seconds(running.pid)
            times = singles(peer, files, services, count, bound)
            cpu = cpu_seconds(running.pid) - before
        both = times["added"] + times["withdrawn"]
        if both:
            row = {"services": services, "start_seconds": round(start, 2), "updates": updates, "resident_mib": round(resident, 1)}
            yield {**row, "wall_ms": summary(both), "cpu_us": round(cpu / len(both) * 1e6, 1)}


def burst(peer, before, first, last, there):
    """Waits for a burst's last route: milliseconds from its first and its last event, and its UPDATEs."""
    count = "announced" if there else "withdrawn"
    if not peer.wait(lambda s: getattr(s, count) - before[count] >= BURST, SECONDS):
        raise Missing(f"a burst: {getattr(peer, count) - before[count]} of {BURST} routes came")
    came = [update for update in peer.updates[before["updates"]:] if getattr(update, count)]
    return {"first_ms": round((came[-1].at - first) * 1000, 2), "last_ms": round((came[-1].at - last) * 1000, 2), "updates": len(came)}


def bursts(lab, routes, rounds, bound):
    """A row for each burst: the endpoints of 1,000 services go or come back, each in a file of its own or all in one."""
    if bound.over():
        return
    with standing(lab, "ferrolb", routes) as (plan, _, peer, files):
        announcers.write_services(files.folder, "burst.yaml", range(routes, routes + BURST))
        complete(peer, routes + BURST)

        def own_files(there):
            moments = [files.set(i * routes // BURST, there) for i in range(BURST)]
            return moments[0], moments[-1]

        def one_file(there):
            moment = announcers.write_services(files.folder, "burst.yaml", range(routes, routes + BURST), there)
            return moment, moment

        for layout, act in (("1,000 files", own_files), ("one file", one_file)):
            for there in (False, True) * rounds:
                if bound.over():
                    return
                time.sleep(DAMPED_SECONDS)
                before = {"announced": peer.announced, "withdrawn": peer.withdrawn, "updates": len(peer.updates)}
                yield {"layout": layout, "kind": "added" if there else "withdrawn", **burst(peer, before, *act(there), there)}
