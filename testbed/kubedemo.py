#!/usr/bin/python3
"""The walkthrough on a real Kubernetes cluster: install, layer 2, BGP, a node lost; from nothing to nothing."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from kube import cluster as kube_cluster
from kube.cluster import Cluster
from kube.network import NODES
from labkit import build
from labkit.build import ROOT
from labkit.runner import PYTHON, LabError
from labkit.tour import Disproved, guarded, indent, inside, row, say, title
from labkit.wait import Seen, until

SYSTEM = "metallb-system"
CLIENT = Path(__file__).with_name("client.py")
WAIT_SECONDS = 60.0
ASK_RATE = 20
# Connections without one lost: so many that each of three nodes has had one but for once in millions.
IN_A_ROW = 40
# Of the requests in the last seconds none may be lost.
LATE_SECONDS = 20
# Before the power cut, and after it: long enough for Kubernetes to notice that the node is gone.
BEFORE_SECONDS, AFTER_SECONDS = 2, 58


def main():
    return guarded("demo-kube", prepare, tour)


def prepare():
    """What is built once comes before anything else: it is what takes minutes."""
    if os.geteuid() != 0:
        raise LabError("the cluster is made of network namespaces, which need root; run this with sudo")
    kube_cluster.check()
    say("Building FerroLB and Kubernetes (nothing to do if they are built already; the first time Kubernetes takes some 13 minutes).")
    build.binary(quiet=False)
    kube_cluster.prepare()


def tour():
    """Every stop in order; the cluster goes away at the end, whatever happened."""
    title("A cluster on bare metal")
    say("Three nodes with kubelet, containerd and kube-proxy, a control plane, a router (FRR), a client behind the router and another"
        " one on the nodes' own wire (`lan`).")
    begun = time.monotonic()
    with Cluster.up(f"demo-kube-{os.getpid()}") as cluster:
        say(f"{time.monotonic() - begun:.1f} s from nothing until all nodes are ready.")
        pending(cluster)
        install(cluster)
        address = layer2(cluster)
        web4, web6 = bgp(cluster)
        spread(cluster, web4, web6)
        node_lost(cluster, address, web4)
    title("The end")
    say("The cluster is gone: its processes, namespaces, links and files. `make kube-up` leaves one standing to play in.")


def pending(cluster):
    title("Without a load balancer")
    kubectl(cluster, "get nodes")
    kubectl(cluster, "create deployment nginx --image=localhost/nginx:1 --port=80 --replicas=3")
    kubectl(cluster, "expose deployment nginx --type=LoadBalancer --port=80")
    cluster.wait_rollout("deployment/nginx")
    say("Nobody gives the Service an address:")
    kubectl(cluster, "get service nginx")


def install(cluster):
    title("FerroLB, from one manifest")
    say(f"The image {cluster.load_ferrolb(build.binary())} is on the nodes.")
    begun = time.monotonic()
    kubectl(cluster, "apply -f deploy/ferrolb.yaml")
    for what in ("deployment/controller", "daemonset/speaker"):
        cluster.wait_rollout(what, SYSTEM)
    say(f"Ready after {time.monotonic() - begun:.1f} s:")
    kubectl(cluster, f"-n {SYSTEM} get pods")


def layer2(cluster):
    title("Layer 2: addresses of the nodes' own network")
    say("A pool, and an L2Advertisement that names it, as users of MetalLB write them.")
    indent((ROOT / "config/demo-kube/layer2.yaml").read_text(encoding="utf-8"))
    kubectl(cluster, "apply -f config/demo-kube/layer2.yaml")
    (address,) = addresses(cluster, "nginx")
    kubectl(cluster, "get service nginx")
    say("From a machine on the nodes' network:")
    answered(cluster, "lan", address)
    inside(cluster.lab, "lan", f"ip neighbour show {address}")
    say("One node answers ARP for it, and the cluster says which:")
    until("the status", lambda: cluster.get("servicel2statuses", namespace=SYSTEM), WAIT_SECONDS)
    kubectl(cluster, f"-n {SYSTEM} get servicel2statuses")
    kubectl(cluster, "get events --field-selector involvedObject.kind=Service")
    say("An empty spec covers all pools, and changes nothing for this one.")
    kubectl(cluster, "apply -f config/demo-kube/layer2-all.yaml")
    answered(cluster, "lan", address)
    return address


def bgp(cluster):
    title("BGP: addresses behind a router, IPv4 and IPv6")
    say("A pool with a network of each family, the router as a peer over both, and a BGPAdvertisement. The L2Advertisement names its pool"
        " again, so that this one is for BGP alone.")
    indent((ROOT / "config/demo-kube/bgp.yaml").read_text(encoding="utf-8"))
    kubectl(cluster, "apply -f config/demo-kube/layer2.yaml -f config/demo-kube/bgp.yaml -f config/demo-kube/web.yaml")
    cluster.wait_rollout("deployment/web")
    web4, web6 = addresses(cluster, "web", 2)
    for family, address in enumerate((web4, web6)):
        wait_hops(cluster, address, set(NODES), family)
    kubectl(cluster, "get service web")
    say("The router has a session with each node over each family, and a next hop on each node:")
    inside(cluster.lab, "tor", "vtysh -c 'show bgp summary'")
    for address in (web4, web6):
        inside(cluster.lab, "tor", f"ip route show {address}")
    say("From behind the router:")
    for address in (web4, web6):
        answered(cluster, "client", address, "-gsi")
    say("What the nodes say that they sent, and how their sessions are:")
    until("the statuses", lambda: len(cluster.get("servicebgpstatuses", namespace=SYSTEM)) == len(NODES), WAIT_SECONDS)
    kubectl(cluster, f"-n {SYSTEM} get servicebgpstatuses")
    kubectl(cluster, f"-n {SYSTEM} get bgpsessionstates.frrk8s.metallb.io")
    return web4, web6


def spread(cluster, *targets):
    title("One client, 300 connections")
    say("The router shares them out over the nodes, and kube-proxy there over the pods; `node` is where the pod is.")
    for address in targets:
        counts = json.loads(cluster.in_ns("client", *client("spread", address, "--count", "300")))
        nodes = {}
        for answer, count in counts.items():
            found = re.search(r"node=(\S+)", answer)
            node = found.group(1) if found else answer
            nodes[node] = nodes.get(node, 0) + count
        row(address, ", ".join(f"{node} {count}" for node, count in sorted(nodes.items())))
        if set(nodes) != set(NODES):
            raise Disproved(f"other than each node has answered at {address}: {counts}")


def node_lost(cluster, near, far):
    title("A node is lost")
    node = neighbour(cluster, near)
    say(f"{node}, which answers for {near}, loses power: no link goes down, nobody says goodbye. Both clients go on asking,"
        f" {ASK_RATE} times a second, a new connection each time.")
    asked = {}
    for where, address in (("lan", near), ("client", far)):
        argv = client("ask", address, "--rate", str(ASK_RATE), "--seconds", str(BEFORE_SECONDS + AFTER_SECONDS))
        asked[where, address] = cluster.lab.start(where, argv, stdout=subprocess.PIPE)
    time.sleep(BEFORE_SECONDS)
    cut = time.monotonic()
    cluster.poweroff(node)
    others = set(NODES) - {node}
    wait_hops(cluster, far, others, 0)
    row("BGP", f"the router sends nothing there after {time.monotonic() - cut:.1f} s (hold time 9 s)")
    taker = until("another owner", lambda: (owner := neighbour(cluster, near)) != node and owner, WAIT_SECONDS)
    row("layer 2", f"{taker} answers for {near}")
    for (where, address), process in asked.items():
        with process:
            requests = [json.loads(line) for line in process.stdout]
        if process.returncode != 0:
            raise LabError(f"the client on {where} ended with status {process.returncode}")
        lost = [request["at"] - cut for request in requests if request["node"] is None]
        row(f"{where} asked {address}", f"{len(requests)} requests, {len(lost)} lost" + (f", the last {lost[-1]:.1f} s after the cut" if lost else ""))
        late = [at for at in lost if at > AFTER_SECONDS - LATE_SECONDS]
        if late:
            raise Disproved(f"requests to {address} are still lost: {len(late)} in the last {LATE_SECONDS} s")
    say("First every request by way of the dead node is lost. Then those that kube-proxy still sends to its pod: about a third, until"
        " Kubernetes notices that the node is gone, 10 to 14 s after the cut. After that none: each connection comes from a port of"
        " its own. From the port of a lost one it would go where that went, for two minutes more.")
    inside(cluster.lab, "tor", f"ip route show {far}")
    kubectl(cluster, "get nodes")


def kubectl(cluster, line):
    """Shows a kubectl command, as one would type it in the project's folder, and its output."""
    print(f"\n  $ kubectl {line}", flush=True)
    argv = [str(ROOT / word) if (ROOT / word).is_file() else word for word in line.split()]
    indent(cluster.kubectl(*argv))


def addresses(cluster, name, count=1):
    """The addresses of a Service once it has that many, IPv4 first."""
    def ingress():
        found = [entry["ip"] for entry in cluster.get("service", name)["status"]["loadBalancer"].get("ingress", [])]
        return sorted(found, key=lambda ip: ":" in ip) if len(found) == count else None

    return until(f"addresses of {name}", ingress, WAIT_SECONDS)


def answered(cluster, where, address, options="-gsI"):
    """Shows that the Service answers with 200 OK; `options` are curl's."""
    command = f"curl {options} http://{f'[{address}]' if ':' in address else address}/"
    # Each node's kube-proxy takes its own time after the address is known.
    until(f"answers of {address}", lambda: all(cluster.in_ns(where, *command.split(), "-m", "1", check=False) for _ in range(IN_A_ROW)), WAIT_SECONDS)
    said = inside(cluster.lab, where, command)
    if " 200 OK" not in said:
        raise Disproved(f"{address} doesn't answer with 200 OK: {said!r}")


def wait_hops(cluster, address, nodes, family):
    def probe():
        known = {pair[family]: node for node, pair in NODES.items()}
        hops = {known.get(hop, hop) for hop in cluster.tor.next_hops(f"{address}/{(32, 128)[family]}")}
        return Seen(hops == nodes, hops)

    until(f"{address} by way of {sorted(nodes)}", probe, WAIT_SECONDS)


def neighbour(cluster, address):
    """The node that answers for an address on the wire, as `lan` has learnt."""
    macs = {cluster.in_ns(node, "cat", "/sys/class/net/eth0/address").strip(): node for node in NODES if node in cluster.lab.nodes}
    found = re.search(r"lladdr (\S+)", cluster.in_ns("lan", "ip", "neighbour", "show", address))
    return macs.get(found.group(1)) if found else None


def client(verb, address, *options):
    return [PYTHON, str(CLIENT), verb, "--to", address, *options]


if __name__ == "__main__":
    sys.exit(main())
