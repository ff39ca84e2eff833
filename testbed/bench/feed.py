#!/usr/bin/python3
"""From session up to all routes at the peer: FerroLB beside BIRD and FRR, in turn, in the same run (root).

    testbed/bench/feed.py [--routes 1000 10000] [--rounds 5] [--announcers ferrolb bird frr]

Each round starts the announcer anew in a node of its own with everything loaded, and then the listener, so that only the
feed is measured. BIRD 2.0.12 waits for its next wake-up at the end of a feed; its control socket is poked every 5 ms, as it
would be by any event, and the figure is BIRD's best. FRR has `coalesce-time 0`. Prints a table of medians and the spread.
"""
import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from labkit import build, topology  # noqa: E402
from labkit.runner import Lab  # noqa: E402

import convergence  # noqa: E402

HERE = Path(__file__).resolve().parent
SINK, ANNOUNCER, PORT = "198.51.100.1", "198.51.100.2", 179


def address(i):
    return f"198.{18 + i // 65536}.{i // 256 % 256}.{i % 256}"


def ferrolb(lab, folder, routes):
    """FerroLB in standalone, with a service a route."""
    manifests = folder / "manifests"
    manifests.mkdir()
    convergence.write_manifests(manifests, routes, "file")
    configuration = convergence.CONFIGURATION.replace("127.0.0.1", SINK).replace(str(convergence.PORT), str(PORT))
    (manifests / "configuration.yaml").write_text(configuration.replace("peerPort: 179", "connectTime: 1s"))
    log = (folder / "log").open("w")
    command = [str(build.binary()), "standalone", "--manifests", str(manifests), "--node", "n1"]
    return lab.start("announcer", command, stderr=log)


def bird(lab, folder, routes):
    """BIRD with a static route each."""
    static = "\n".join(f"  route {address(i)}/32 blackhole;" for i in range(routes))
    (folder / "bird.conf").write_text(f"""\
router id {ANNOUNCER};
protocol device {{}}
protocol static {{
  ipv4;
{static}
}}
protocol bgp sink {{
  local {ANNOUNCER} as 64512;
  neighbor {SINK} as 64513;
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 1;
  ipv4 {{ import none; export all; next hop self; }};
}}
""")
    return lab.start("announcer", ["bird", "-f", "-c", str(folder / "bird.conf"), "-s", str(folder / "bird.ctl")])


def frr(lab, folder, routes):
    """FRR's bgpd alone, with a network statement each."""
    networks = "\n".join(f"  network {address(i)}/32" for i in range(routes))
    (folder / "bgpd.conf").write_text(f"""\
router bgp 64512
 bgp router-id {ANNOUNCER}
 no bgp ebgp-requires-policy
 no bgp network import-check
 coalesce-time 0
 neighbor {SINK} remote-as 64513
 neighbor {SINK} timers connect 1
 address-family ipv4 unicast
{networks}
 exit-address-family
""")
    command = ["/usr/lib/frr/bgpd", "-S", "-n", "-Z", "-p", "0", "-f", str(folder / "bgpd.conf"), "-i", str(folder / "pid"), "--vty_socket", str(folder)]
    return lab.start("announcer", command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


ANNOUNCERS = {"ferrolb": ferrolb, "bird": bird, "frr": frr}


@contextlib.contextmanager
def poked(control):
    """Asks BIRD for its status every 5 ms, once it has a control socket."""
    over = threading.Event()

    def poke():
        with socket.socket(socket.AF_UNIX) as client:
            while not over.wait(0.005):
                try:
                    client.connect(str(control))
                    break
                except OSError:
                    continue
            with contextlib.suppress(OSError):  # it has ended
                while not over.wait(0.005):
                    client.sendall(b"show status\n")
                    client.recv(1 << 16)

    thread = threading.Thread(target=poke, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join(1)


def measure(lab, announcer, routes):
    """One feed: milliseconds and UPDATEs."""
    with tempfile.TemporaryDirectory(prefix="ferrolb-feed-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        process = ANNOUNCERS[announcer](lab, folder, routes)
        if announcer == "bird":
            stack.enter_context(poked(folder / "bird.ctl"))
        try:
            command = ["/usr/bin/python3", str(HERE / "listen.py"), SINK, str(PORT), str(routes)]
            listener = lab.start("sink", command, stdout=subprocess.PIPE)
            out, _ = listener.communicate(timeout=120)
            result = json.loads(out.splitlines()[-1])
            return result["seconds"] * 1000, result["updates"]
        finally:
            lab.run("announcer", ["pkill", "-KILL", "-x", "ferrolb|bird|bgpd"], check=False)
            process.wait(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--announcers", nargs="+", choices=sorted(ANNOUNCERS), default=list(ANNOUNCERS))
    args = parser.parse_args()
    lab = Lab.claim(f"bench-{os.getpid()}", keep=False)
    try:
        lab.build(topology.load(HERE.parent / "topologies" / "bench.clab.yml"))
        print(f"{'routes':>8} {'announcer':<10} {'median ms':>10} {'min':>8} {'max':>8} {'UPDATEs':>8}")
        for routes in args.routes:
            results = {name: [] for name in args.announcers}
            for _ in range(args.rounds):
                for name in args.announcers:
                    results[name].append(measure(lab, name, routes))
            for name, runs in results.items():
                times = [ms for ms, _ in runs]
                print(f"{routes:>8} {name:<10} {statistics.median(times):>10.2f} {min(times):>8.2f} {max(times):>8.2f} {runs[0][1]:>8}", flush=True)
    finally:
        lab.down()


if __name__ == "__main__":
    main()
