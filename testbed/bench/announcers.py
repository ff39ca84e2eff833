"""FerroLB, BIRD, FRR and GoBGP, each with the same routes loaded and with the same peers."""
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from inside import inner_pid
from labkit import build
from labkit.wait import until

ASN, PEER_ASN = 64512, 64513
LOADED_SECONDS = 60.0
GOBGP_LOST = 4000


def address(i):
    """The address of service `i`."""
    return f"198.{18 + i // 65536}.{i // 256 % 256}.{i % 256}"


@dataclass
class Plan:
    """What is started where: `peers` are pairs of a peer's address and our own."""

    lab: object
    node: str
    folder: Path
    routes: int
    peers: list
    layout: str = "file"  # FerroLB: all services in one file, or a file each ("files")
    kernel: bool = False  # whether routes of the node's kernel are announced too (BIRD and FRR)


@dataclass
class Running:
    """An announcer with everything loaded; `dials` says who opens the sessions, `threads` what goes on beside it."""

    processes: list
    started: float
    dials: bool = True
    threads: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def pid(self):
        """The host's id of the announcer itself."""
        return until("the announcer's process", lambda: inner_pid(self.processes[0]), 10.0, 0.001)

    def close(self):
        self.threads.close()
        for process in self.processes:
            if pid := inner_pid(process):
                with contextlib.suppress(ProcessLookupError):  # it ended this very moment
                    os.kill(pid, signal.SIGKILL)
            process.wait(10)


def start(name, plan):
    """Starts an announcer by its name."""
    return ANNOUNCERS[name](plan)


def service(i, ready=True):
    """A service with a fixed address and one endpoint, as a manifest."""
    return f"""\
apiVersion: v1
kind: Service
metadata: {{ name: s{i}, namespace: default }}
spec:
  type: LoadBalancer
  clusterIPs: ["10.{96 + i // 65536}.{i // 256 % 256}.{i % 256}"]
  ports: [ {{ protocol: TCP, port: 80 }} ]
status: {{ loadBalancer: {{ ingress: [ {{ ip: {address(i)} }} ] }} }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: s{i}, namespace: default, labels: {{ kubernetes.io/service-name: s{i} }} }}
addressType: IPv4
endpoints: [ {{ addresses: ["10.0.0.1"], nodeName: n1, conditions: {{ ready: {str(ready).lower()} }} }} ]
"""


def write_service(folder, i, ready=True):
    """Writes one service's file; the moment before it is closed."""
    with (folder / f"s{i}.yaml").open("w", encoding="ascii") as file:
        file.write(service(i, ready))
        file.flush()
        return time.monotonic()


def write_services(folder, name, numbers, ready=True):
    """Writes several services' file whole, then under its name at once; the moment before that."""
    draft = folder / f".{name}"
    draft.write_text("---\n".join(service(i, ready) for i in numbers), encoding="ascii")
    moment = time.monotonic()
    draft.rename(folder / name)
    return moment


def configuration(peers):
    """FerroLB's pool, advertisement and peers."""
    documents = [
        'apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: { name: pool, namespace: metallb-system }\nspec: { addresses: ["198.18.0.0/15"] }\n',
        "apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: { name: all, namespace: metallb-system }\n",
    ]
    for number, (peer, local) in enumerate(peers):
        spec = f"myASN: {ASN}, peerASN: {PEER_ASN}, peerAddress: {peer}, sourceAddress: {local}, connectTime: 1s"
        documents.append(f"apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{ name: p{number}, namespace: metallb-system }}\nspec: {{ {spec} }}\n")
    return "---\n".join(documents)


def ferrolb(plan):
    """FerroLB in standalone, with a service a route."""
    manifests = plan.folder / "manifests"
    manifests.mkdir()
    (manifests / "configuration.yaml").write_text(configuration(plan.peers), encoding="ascii")
    if plan.layout == "file":
        write_services(manifests, "services.yaml", range(plan.routes))
    else:
        for i in range(plan.routes):
            write_service(manifests, i)
    command = [str(build.binary()), "standalone", "--manifests", str(manifests), "--node", "n1", "--state", str(plan.folder / "state")]
    started = time.monotonic()
    with (plan.folder / "log").open("w") as log:
        return Running([plan.lab.start(plan.node, command, stderr=log)], started)


def bird(plan):
    """BIRD with a static route each."""
    static = "\n".join(f"  route {address(i)}/32 blackhole;" for i in range(plan.routes))
    sessions = "\n".join(
        f"""\
protocol bgp p{number} {{
  local {local} as {ASN};
  neighbor {peer} as {PEER_ASN};
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 1;
  ipv4 {{ import none; export where source = RTS_STATIC || net ~ [198.18.0.0/15{{32,32}}]; next hop self; }};
}}"""
        for number, (peer, local) in enumerate(plan.peers)
    )
    learn = "protocol kernel { learn; scan time 3600; ipv4 { import all; export none; }; }" if plan.kernel else ""
    (plan.folder / "bird.conf").write_text(f"""\
router id {plan.peers[0][1]};
protocol device {{}}
{learn}
protocol static {{
  ipv4;
{static}
}}
{sessions}
""")
    control = plan.folder / "bird.ctl"
    command = ["bird", "-f", "-c", str(plan.folder / "bird.conf"), "-s", str(control)]
    running = Running([plan.lab.start(plan.node, command)], time.monotonic())
    running.threads.enter_context(poked(control))
    return running


@contextlib.contextmanager
def poked(control):
    """Asks BIRD for its status every 5 ms once it has a control socket, for the length of its first feed at least.

    BIRD 2.0.12 waits for its next wake-up before it sends a feed's last part; any event is one.
    """
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
    try:
        yield
    finally:
        over.set()
        thread.join(1)


def frr(plan):
    """FRR's bgpd with a network statement each; with zebra where the kernel's routes are wanted."""
    networks = "\n".join(f"  network {address(i)}/32" for i in range(plan.routes))
    neighbors = "\n".join(
        f" neighbor {peer} remote-as {PEER_ASN}\n neighbor {peer} update-source {local}\n neighbor {peer} timers connect 1" for peer, local in plan.peers
    )
    (plan.folder / "bgpd.conf").write_text(f"""\
router bgp {ASN}
 bgp router-id {plan.peers[0][1]}
 no bgp ebgp-requires-policy
 no bgp network import-check
 coalesce-time 0
{neighbors}
 address-family ipv4 unicast
{networks}
{"  redistribute kernel" if plan.kernel else ""}
 exit-address-family
""")
    return Running(frr_daemons(plan, plan.folder / "bgpd.conf", ["-p", "0", "-n", *([] if plan.kernel else ["-Z"])], zebra=plan.kernel), time.monotonic())


def frr_daemons(plan, conf, options, zebra):
    """bgpd, and zebra where it is wanted, with their sockets in the plan's folder."""
    folder, quiet = plan.folder / "frr", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # zebra can't run as root alone: it wants to be frr, which must reach its sockets.
    folder.mkdir()
    plan.folder.chmod(0o755)
    shutil.chown(folder, "frr", "frr")
    shared = ["--vty_socket", str(folder), "-z", str(folder / "zserv")]
    processes = []
    if zebra:
        (folder / "zebra.conf").touch()
        command = ["/usr/lib/frr/zebra", *shared, "-f", str(folder / "zebra.conf"), "-i", str(folder / "zebra.pid"), "-s", "16777216"]
        processes.append(plan.lab.start(plan.node, command, **quiet))
        until("zebra's socket", (folder / "zserv").exists, 10.0)
    command = ["/usr/lib/frr/bgpd", "-S", *shared, "-f", str(conf), "-i", str(folder / "bgpd.pid"), *options]
    return [plan.lab.start(plan.node, command, **quiet), *processes]


def gobgp(plan):
    """GoBGP, fed with an MRT dump, which is its fast way in; it listens, since it dials only after seconds."""
    neighbors = "\n".join(
        f"""\
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{peer}"
    peer-as = {PEER_ASN}
  [neighbors.transport.config]
    local-address = "{local}"
    passive-mode = true"""
        for peer, local in plan.peers
    )
    config = plan.folder / "gobgpd.toml"
    config.write_text(f'[global.config]\n  as = {ASN}\n  router-id = "{plan.peers[0][1]}"\n{neighbors}\n')
    command = ["gobgpd", "-t", "toml", "-f", str(config), "--log-level", "error"]
    running = Running([plan.lab.start(plan.node, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)], time.monotonic(), dials=False)
    try:
        until("GoBGP's answer", lambda: plan.lab.run(plan.node, ["gobgp", "neighbor"], check=False), 10.0)
        dump = plan.folder / "routes.mrt"
        # The tool of 3.10 ends before the daemon has read all that it sent, which then is lost: let that be repetitions.
        dump.write_bytes(mrt([address(i) for i in (*range(plan.routes), *[0] * GOBGP_LOST)], plan.peers[0][1]))
        plan.lab.run(plan.node, ["gobgp", "mrt", "inject", "global", str(dump)], LOADED_SECONDS)
        held = f"Destination: {plan.routes}, Path: {plan.routes}"
        until(held, lambda: held in plan.lab.run(plan.node, ["gobgp", "global", "rib", "summary"], check=False), LOADED_SECONDS)
    except BaseException:
        running.close()
        raise
    return running


def mrt(addresses, next_hop):
    """A TABLE_DUMP_V2 of IPv4 host routes with an empty AS path (RFC 6396, sections 2 and 4.3)."""
    router = socket.inet_aton(next_hop)

    def record(subtype, body):
        return struct.pack("!IHHI", 0, 13, subtype, len(body)) + body

    index = router + struct.pack("!HH", 0, 1) + b"\x02" + router + router + struct.pack("!I", ASN)
    attributes = b"\x40\x01\x01\x00" + b"\x40\x02\x00" + b"\x40\x03\x04" + router
    entry = struct.pack("!HHIH", 1, 0, 0, len(attributes)) + attributes
    routes = [record(2, struct.pack("!IB", number, 32) + socket.inet_aton(host) + entry) for number, host in enumerate(addresses)]
    return record(1, index) + b"".join(routes)


ANNOUNCERS = {"ferrolb": ferrolb, "bird": bird, "frr": frr, "gobgp": gobgp}
