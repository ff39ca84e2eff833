"""Who is where in `topologies/kube.clab.yml`."""

from pathlib import Path

TOPOLOGY = Path(__file__).resolve().parents[1] / "topologies/kube.clab.yml"

CONTROL_PLANE = "cp"
API_ADDRESS = "192.168.1.2"
API_URL = f"https://{API_ADDRESS}:6443"
# IPv4 and IPv6 address of each node on the wire, which are the next hops at a router.
NODES = {f"n{number}": (f"192.168.1.{10 + number}", f"fd00:1::{10 + number}") for number in (1, 2, 3)}
ROUTERS = ("tor", "ibgp", "far-ebgp", "far-ibgp")
# An address on the wire and beyond, in both families: the gateway of the nodes, and who asks from outside.
TOR = ("192.168.1.1", "fd00:1::1")
CLIENT = ("192.168.2.100", "fd00:2::100")
LAN = ("192.168.1.100", "fd00:1::100")

SERVICES = "10.96.0.0/16,fd00:10:96::/112"
# The first address of the first range is the API's own.
API_SERVICE = "10.96.0.1"
PODS = "10.244.0.0/16,fd00:10:244::/48"


def pods(node):
    """The pods' networks on a node."""
    number = node.removeprefix("n")
    return f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"
