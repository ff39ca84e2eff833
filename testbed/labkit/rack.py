"""The rack of `tor.clab.yml`: three nodes, a router, a client, and what one can ask and do there."""

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import build, topology
from .routers import Bird, Frr
from .runner import Lab, LabError
from .wait import Late, Seen, until

TESTBED = Path(__file__).resolve().parents[1]
DEMO_MANIFESTS = TESTBED.parent / "config/demo"
ROUTERS = {"frr": ("tor.clab.yml", Frr), "bird": ("tor-bird.clab.yml", Bird)}

# Each node's addresses on its link, which are the next hops at the router.
NODES = {
    "n1": ("198.51.100.18", "2001:db8:0:1::2"),
    "n2": ("198.51.100.34", "2001:db8:0:2::2"),
    "n3": ("198.51.100.50", "2001:db8:0:3::2"),
}
WEB4, WEB6, ORDERS = "192.0.2.11", "2001:db8:5::10", "192.0.2.10"
READY_SECONDS = 30.0
# What the multipath hash may give each of three nodes of 300 flows: a third, give or take four standard deviations.
FAIR_SHARE = (0.20, 0.47)


@dataclass(frozen=True)
class Loss:
    """What a client noticed while a node went away."""

    requests: int
    lost: int
    gap_ms: float  # from the first lost request to the first moment after which none is lost
    period_ms: float  # between two requests: no gap is measured finer
    flows: int
    stranded: int  # flows that the node had
    moved: int  # flows that a living node had and that went to another
    unanswered: int  # flows whose last request was lost


class Rack:
    """The rack while it stands."""

    def __init__(self, lab, router):
        self.lab = lab
        self.router = router
        self.manifests = lab.folder / "manifests"

    @classmethod
    def up(cls, router="frr", name="rack", keep=False):
        """Brings the rack up, with a copy of the demo's manifests to edit, until traffic can flow."""
        file, kind = ROUTERS[router]
        binary = build.binary()
        lab = Lab.claim(name, keep)
        neighbors = {f"{node}v{version}": address for node, pair in NODES.items() for version, address in zip((4, 6), pair)}
        rack = cls(lab, kind(lab, "tor", neighbors))
        try:
            shutil.copytree(DEMO_MANIFESTS, rack.manifests)
            variables = {"FERROLB_BIN": str(binary), "LAB_MANIFESTS": str(rack.manifests)}
            lab.build(topology.load(TESTBED / "topologies" / file, variables))
            rack._wait_ready()
        except BaseException:
            lab.down()
            raise
        return rack

    def _wait_ready(self):
        """Until the router's kernel forwards to every node that it should; if not, with the nodes' logs."""
        everyone = NODES.keys()
        try:
            self.wait_hops(WEB4, everyone)
            self.wait_hops(WEB6, everyone)
            self.wait_hops(ORDERS, {"n2"})
        except Late as late:
            logs = [f"FerroLB's log on {node}:\n{speaker_log(self.lab, node)}" for node in NODES]
            raise LabError("\n".join([f"the lab isn't ready: {late}", *logs])) from late

    def wait_hops(self, address, nodes, seconds=READY_SECONDS):
        """Until the router's kernel has exactly these nodes as next hops."""
        family = 1 if ":" in address else 0
        wanted = sorted(NODES[node][family] for node in nodes)

        def probe():
            hops = self.router.next_hops(address)
            return Seen(hops == wanted, hops)

        until(f"next hops {wanted} for {address} in the router's kernel", probe, seconds, 0.01)

    def edit(self, file, old, new):
        """Replaces text in one manifest, whole and at once; returns the moment of it."""
        path = self.manifests / file
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise LabError(f"{path} doesn't contain {old!r}")
        draft = path.with_name(f".{file}")
        draft.write_text(text.replace(old, new), encoding="utf-8")
        draft.rename(path)
        return time.monotonic()

    def spread(self, address, count=300):
        """How many of `count` new connections each node answered; the others are counted by why not, `lost: ...`."""
        argv = client("spread", address, "--count", str(count))
        return json.loads(self.lab.run("client", argv))

    def lose(self, node, address, rate=200.0, flows=100, before=2.5, after=3.5):
        """Takes a node away while a client goes on asking, and tells what the client noticed."""
        argv = client("watch", address, "--flows", str(flows), "--rate", str(rate), "--seconds", str(before + after))
        with self.lab.start("client", argv, stdout=subprocess.PIPE) as process:
            time.sleep(before)
            self.lab.kill(node)
            requests = [json.loads(line) for line in process.stdout]
        if process.returncode != 0:
            raise LabError(f"the client ended with status {process.returncode}")
        return judge(requests, node, 1000 / rate)


def speaker_log(lab, node, lines=20):
    """The end of FerroLB's log on a node."""
    return lab.run(node, ["tail", "-n", str(lines), "/run/ferrolb.log"], check=False)


def client(verb, address, *options):
    """The command line of the lab's client for one service address."""
    return ["/usr/bin/python3", "/run/lab/client.py", verb, "--to", address, *options]


def fair(spread):
    """Whether every node has its share and nothing was lost."""
    total = sum(spread.values())
    low, high = FAIR_SHARE
    return spread.keys() == NODES.keys() and all(low <= count / total <= high for count in spread.values())


def judge(requests, dead, period_ms):
    """What the log of `client.py watch` says about the loss of the node `dead`."""
    requests = sorted(requests, key=lambda request: request["at"])
    lost = [request["at"] for request in requests if request["node"] is None]
    first, last, had_dead = {}, {}, set()
    for request in requests:
        flow, node = request["flow"], request["node"]
        if node is not None:
            first.setdefault(flow, node)
        last[flow] = node
        if node == dead:
            had_dead.add(flow)
    moved = [flow for flow, node in first.items() if flow not in had_dead and last[flow] not in (node, None)]
    return Loss(
        requests=len(requests),
        lost=len(lost),
        gap_ms=(max(lost) - min(lost)) * 1000 + period_ms if lost else 0.0,
        period_ms=period_ms,
        flows=len(last),
        stranded=len(had_dead),
        moved=len(moved),
        unanswered=sum(node is None for node in last.values()),
    )
