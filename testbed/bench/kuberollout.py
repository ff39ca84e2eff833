"""What a rolling update of the speakers' DaemonSet costs clients: a cluster of three nodes, requests through the top-of-rack router."""
import os
import time
from collections import Counter

from kube import workload
from kube.cluster import Cluster
from kube.load import Load
from kube.network import NODES
from kube.stand import SYSTEM, Stand, config
from labkit.wait import Seen, until

RATE = 1000.0
AFTER_SECONDS = 5.0
# Service -> its app and traffic policy.
SERVICES = {"cluster": ("web", "Cluster"), "local": ("web", "Local"), "alone": ("alone", "Local")}


def rollout():
    """A row for each kind of service: each with the load for itself, while all speakers are replaced one by one."""
    load_before = os.getloadavg()[0]
    with Cluster.up() as cluster:
        stand = Stand(cluster)
        stand.install()
        stand.reset()
        stand.api.apply(config("IPAddressPool", "pool", {"addresses": ["10.200.0.0/24"]}), config("BGPAdvertisement", "all", {}))
        rows = {name: _one(stand, name, *of) for name, of in SERVICES.items()}
    yield "rollout", {"rate": RATE, "load_before": round(load_before, 1), **rows}


def _one(stand, name, app, policy):
    stand.api.apply(workload.service(name, app=app, externalTrafficPolicy=policy, ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"]))
    address = until(f"an address of {name}", lambda: stand.api.get("Service", name)["status"]["loadBalancer"].get("ingress"), 60.0)[0]["ip"]
    nodes = NODES if app == "web" else ("n2",)
    _wait_hops(stand, address, nodes)
    with Load(stand.cluster, "client", address, rate=RATE) as load:
        # What the nodes' kube-proxies aren't ready for yet isn't the update's.
        time.sleep(AFTER_SECONDS)
        begun = time.monotonic()
        stamp = {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": str(begun)}}}}
        stand.api.patch("DaemonSet", "speaker", {"spec": stamp}, SYSTEM)
        stand.wait_rollout("DaemonSet", "speaker", SYSTEM)
        _wait_hops(stand, address, nodes)
        seconds = time.monotonic() - begun
        time.sleep(AFTER_SECONDS)
    lost = load.failed(begun)
    asked = [request for request in load.end() if request.at >= begun]
    stand.api.delete("Service", name)
    return {
        "seconds": round(seconds, 1), "requests": len(asked), "a_second": round((len(asked) - 1) / (asked[-1].at - asked[0].at)),
        "lost": len(lost), "why": Counter(request.why for request in lost),
        "longest_gap_ms": round(_longest(asked) * 1000, 1),
    }


def _longest(asked):
    """The longest time from a lost request to the next answered one."""
    longest, since = 0.0, None
    for request in asked:
        if request.why and since is None:
            since = request.at
        elif not request.why and since is not None:
            longest, since = max(longest, request.at - since), None
    return longest if since is None else max(longest, asked[-1].at - since)


def _wait_hops(stand, address, nodes):
    wanted = sorted(NODES[node][0] for node in nodes)
    until(f"{address} by way of {sorted(nodes)}", lambda: Seen((hops := stand.cluster.tor.next_hops(f"{address}/32")) == wanted, hops), 60.0)
