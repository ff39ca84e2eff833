#!/usr/bin/python3
"""The tour: three nodes announce services to a real router; then things change.

    demo.py              the tour, from nothing to nothing
    demo.py --up NAME    the same lab, left standing
"""

import argparse
import os
import sys
import time

from labkit import build
from labkit.rack import NODES, ORDERS, WEB4, WEB6, Rack, fair
from labkit.runner import LAB, LabError
from labkit.tour import Disproved, guarded, inside, row, run, say, title


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--up", metavar="NAME", help="bring the lab up under this name and leave it standing")
    options = parser.parse_args()
    return guarded("demo", prepare, (lambda: leave_standing(options.up)) if options.up else tour)


def prepare():
    """The binary, before anything else: it is what may take minutes."""
    if os.geteuid() != 0:
        raise LabError("the lab is made of network namespaces, which need root; run this with sudo")
    say("Building FerroLB (nothing to do if it is built already; the first time takes some minutes).")
    build.binary(quiet=False)


def tour():
    """Every stop in order; the lab goes away at the end, whatever happened."""
    title("The lab")
    say("A client, a top-of-rack router (FRR) and three nodes, each with FerroLB and a small HTTP server. All of them read"
        " the same manifests, a copy of config/demo.")
    begun = time.monotonic()
    rack = Rack.up("frr", f"demo-{os.getpid()}")
    try:
        say(f"{time.monotonic() - begun:.1f} s from nothing until the router's kernel forwards to all three nodes.")
        for stop in (sessions, routes, spread, endpoint_moves, not_announced, node_gone):
            stop(rack)
    finally:
        rack.lab.down()
    title("The end")
    say("The lab is gone: its processes, namespaces, links and files. `make lab-up` leaves it standing to play in.")


def sessions(rack):
    title("Sessions, as the router sees them")
    say("Each node has a session over IPv4, for its IPv4 routes, and one over IPv6.")
    inside(rack.lab, "tor", "vtysh -c 'show bgp summary'")


def routes(rack):
    title("Routes and next hops, as the router sees them")
    say("`web` has an endpoint on every node: three paths, of which FRR installs all (multipath).")
    inside(rack.lab, "tor", f"vtysh -c 'show bgp ipv4 unicast {WEB4}/32'")
    say("This is what the router's kernel forwards by. `orders` (externalTrafficPolicy Local) has its only endpoint on n2.")
    for address in (WEB4, WEB6, ORDERS):
        inside(rack.lab, "tor", f"ip route show {address}")


def spread(rack):
    title("One client, 300 connections")
    say("New TCP connections from one client address, each from a port of its own. Between 20 and 47 % for each node is"
        " what a fair hash gives.")
    for address in (WEB4, WEB6):
        counts = rack.spread(address)
        print(f"    {address:<16} {shares(counts)}", flush=True)
        if not fair(counts):
            raise Disproved(f"the spread over {address} isn't fair: {counts}")


def shares(counts):
    """`n1 98 (33 %), ...`"""
    total = sum(counts.values())
    return ", ".join(f"{node} {count} ({100 * count / total:.0f} %)" for node, count in counts.items())


def endpoint_moves(rack):
    title("An endpoint moves, then goes away")
    say("The only endpoint of `orders` moves from n2 to n3: one word in orders.yaml.")
    changed = rack.edit("orders.yaml", "nodeName: n2", "nodeName: n3")
    rack.wait_hops(ORDERS, {"n3"})
    say(f"{(time.monotonic() - changed) * 1000:.0f} ms from the edit until the router's kernel has it:")
    inside(rack.lab, "tor", f"ip route show {ORDERS}")
    say("Now it isn't ready any more, and nobody announces the address.")
    changed = rack.edit("orders.yaml", "ready: true", "ready: false")
    rack.wait_hops(ORDERS, set())
    say(f"{(time.monotonic() - changed) * 1000:.0f} ms from the edit until the route is gone from the router's kernel:")
    inside(rack.lab, "tor", f"ip route show {ORDERS}")
    rack.edit("orders.yaml", "nodeName: n3, conditions: { ready: false }", "nodeName: n2, conditions: { ready: true }")
    rack.wait_hops(ORDERS, {"n2"})


def not_announced(rack):
    title("Why isn't this service announced?")
    say("`reports` has an address and an endpoint, and yet the router has no route to it. FerroLB says why, and what would"
        " have to change.")
    question = ["explain", "default/reports", "--node", "n1", "--peer", "tor", "-f"]
    run(["ferrolb", *question, "config/demo"], [str(build.binary()), *question, str(rack.manifests)])


def node_gone(rack):
    title("A node goes away")
    say("n2 loses power: FerroLB, the HTTP server and the link at once. A client goes on asking `web` all the while, 200 times a"
        " second, in turn from 100 source ports, and reports what *it* noticed.")
    loss = rack.lose("n2", WEB4)
    inside(rack.lab, "tor", f"ip route show {WEB4}")
    rows = (
        ("requests, of which lost", f"{loss.requests}, {loss.lost}"),
        ("gap that the client saw", f"{loss.gap_ms:.0f} ms (measured in steps of {loss.period_ms:.0f} ms)"),
        ("flows that n2 had", f"{loss.stranded} of {loss.flows}; all of them moved"),
        ("other flows that moved", f"{loss.moved} (the router shares all flows out anew, over two next hops)"),
    )
    for label, value in rows:
        row(label, value)
    if loss.unanswered:
        raise Disproved(f"{loss.unanswered} flows are still without an answer")
    rack.wait_hops(WEB4, NODES.keys() - {"n2"})
    say("The router closed the sessions; n1 and n3 carry the service:")
    print(f"    {WEB4:<16} {shares(rack.spread(WEB4))}", flush=True)


def leave_standing(name):
    """`make lab-up`."""
    rack = Rack.up("frr", name, keep=True)
    lab = f"{os.path.relpath(LAB)} exec {name}"
    things = (
        (f"{lab} tor vtysh -c 'show bgp summary'", "the router's sessions"),
        (f"{lab} tor ip route", "what its kernel forwards by"),
        (f"{lab} client curl -s http://{WEB4}/", "ask `web`; again, and another node may answer"),
        (f"{lab} client curl -s 'http://[{WEB6}]/'", "the same over IPv6"),
        (f"{lab} n1 tail -f /run/ferrolb.log", "FerroLB's log on n1"),
        (f"{lab} n1 bash", "a shell on n1"),
        (f"$EDITOR {rack.manifests}/orders.yaml", "change something, and look at the routes again"),
    )
    width = max(len(command) for command, _ in things)
    print("\nThe lab stands. Things to try:\n")
    for command, what in things:
        print(f"    {command:<{width}}   {what}")
    print(f"\nTake it down with `{'make lab-down' if name == 'lab' else f'{os.path.relpath(LAB)} down {name}'}`.")


if __name__ == "__main__":
    sys.exit(main())
