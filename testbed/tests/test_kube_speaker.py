"""`ferrolb speaker` in a real cluster, from the shipped manifest: what the router has, what clients get, what is written."""

import json
import time
import unittest
from pathlib import Path

from kube import cluster as kube_cluster
from kube import scrape, workload
from kube.cluster import Cluster
from kube.network import NODES, TOR
from labkit import build
from labkit.wait import Seen, until

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "metallb-system"
POOL = ("192.168.9.0/24", "fd00:9::/64")
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
cluster = None


def setUpModule():
    global cluster
    kube_cluster.prepare()
    cluster = Cluster.up()
    unittest.addModuleCleanup(cluster.down)
    cluster.load_ferrolb(build.binary())
    begun = time.monotonic()
    cluster.apply((ROOT / "deploy/ferrolb.yaml").read_text(encoding="utf-8"))
    cluster.apply([
        workload.deployment("web"), workload.deployment("alone", replicas=1, node="n2"),
        config("IPAddressPool", "pool", {"addresses": list(POOL)}),
        peer("tor", TOR[0]), peer("tor6", TOR[1]), config("BGPAdvertisement", "all", {}),
    ])
    for what in ("daemonset/speaker", "deployment/controller"):
        cluster.wait_rollout(what, SYSTEM)
    print(f"       installed after {time.monotonic() - begun:.1f} s", flush=True)
    for name in ("web", "alone"):
        cluster.wait_rollout(f"deployment/{name}")
    for family in (4, 6):
        for node in NODES:
            until(f"session of {node}v{family}", lambda: cluster.tor.established(f"{node}v{family}"), 30.0)


class Announces(unittest.TestCase):
    def test_every_node_announces_both_addresses_and_clients_reach_all_pods(self):
        addresses = balanced(self, "both", app="web")
        self.assertEqual(len(addresses), 2)
        for family, address in enumerate(addresses):
            wait_hops(address, set(NODES), family)
            cluster.wait_answers("client", address, set(NODES))

    def test_a_local_service_is_announced_where_its_endpoint_is_and_keeps_the_client(self):
        address, _ = balanced(self, "alone", externalTrafficPolicy="Local")
        wait_hops(address, {"n2"})
        cluster.wait_answers("client", address, {"n2"})
        move("alone", "n3")
        self.addCleanup(move, "alone", "n2")
        wait_hops(address, {"n3"})

    def test_a_deleted_service_takes_its_routes_and_statuses_with_it(self):
        address, _ = balanced(self, "brief", app="web")
        wait_hops(address, set(NODES))
        until("statuses", lambda: len(statuses("brief")) == 3, 20.0)
        cluster.kubectl("delete", "service", "brief")
        wait_hops(address, set())
        until("no statuses", lambda: statuses("brief") == {}, 20.0)

    def test_a_node_with_the_exclude_label_announces_nothing(self):
        address, _ = balanced(self, "excluded", app="web")
        cluster.kubectl("label", "node", "n1", f"{EXCLUDE}=")
        self.addCleanup(cluster.kubectl, "label", "node", "n1", f"{EXCLUDE}-", check=False)
        wait_hops(address, {"n2", "n3"})
        cluster.kubectl("label", "node", "n1", f"{EXCLUDE}-")
        wait_hops(address, set(NODES))

    def test_a_node_without_network_announces_nothing(self):
        address, _ = balanced(self, "cut", app="web")
        network(unavailable=True, node="n2")
        self.addCleanup(network, unavailable=False, node="n2")
        wait_hops(address, {"n1", "n3"})
        network(unavailable=False, node="n2")
        wait_hops(address, set(NODES))

    def test_selectors_follow_the_labels_of_nodes(self):
        cluster.apply([
            config("IPAddressPool", "racked", {"addresses": ["192.168.10.0/24"], "autoAssign": False}),
            config("BGPAdvertisement", "racked", {"ipAddressPools": ["racked"], "nodeSelectors": [{"matchLabels": {"rack": "1"}}]}),
            config("BGPAdvertisement", "all", {"ipAddressPools": ["pool"]}),
        ])
        self.addCleanup(cluster.apply, [config("BGPAdvertisement", "all", {})])
        for name in ("ipaddresspool/racked", "bgpadvertisement/racked"):
            self.addCleanup(cluster.kubectl, "delete", name, "-n", SYSTEM)
        (address,) = balanced(self, "racked", app="web", annotations={"metallb.io/address-pool": "racked"}, ipFamilyPolicy="SingleStack")
        wait_hops(address, set())
        cluster.kubectl("label", "node", "n3", "rack=1")
        self.addCleanup(cluster.kubectl, "label", "node", "n3", "rack-")
        wait_hops(address, {"n3"})
        cluster.kubectl("label", "node", "n3", "rack=2", "--overwrite")
        wait_hops(address, set())


class Tells(unittest.TestCase):
    def test_a_status_names_the_peers_that_were_sent_a_route(self):
        balanced(self, "told", app="web")
        expected = {node: ["tor", "tor6"] for node in NODES}
        until("three statuses", lambda: Seen(statuses("told") == expected, statuses("told")), 20.0)
        events = [e for e in cluster.get("events") if e["reason"] == "nodeAssigned" and e["involvedObject"]["name"] == "told"]
        self.assertEqual({e["message"] for e in events}, {f'announcing from node "{n}" with protocol "bgp"' for n in NODES})
        self.assertEqual(len(events), 3)
        self.assertEqual({e["source"]["component"] for e in events}, {"metallb-speaker"})
        described = cluster.kubectl("describe", "service", "told")
        self.assertIn("nodeAssigned", described)

    def test_the_sessions_are_told(self):
        def sessions():
            found = cluster.get("bgpsessionstates.frrk8s.metallb.io", namespace=SYSTEM)
            return sorted((s["status"]["node"], s["status"]["peer"], s["status"]["bgpStatus"]) for s in found if "status" in s)

        expected = sorted((node, router, "Established") for node in NODES for router in TOR)
        # The definition is made by the controller; speakers try each minute.
        until("sessions", lambda: Seen(sessions() == expected, sessions()), 90.0)

    def test_metrics_are_for_accounts_that_may_get_them(self):
        balanced(self, "counted", app="web")
        may, may_not = scrape.token(cluster, "scraper", may=True), scrape.token(cluster, "nobody", may=False)
        for node in NODES:
            until("announced", lambda: f'service="default/counted",protocol="bgp",node="{node}"' in scrape.scrape(cluster, node, bearer=may)[1], 20.0)
            status, page = scrape.scrape(cluster, node, bearer=may)
            self.assertEqual(status, "200", page)
            for line in (f'metallb_bgp_session_up{{peer="{TOR[0]}:179",vrf="default"}} 1', "metallb_k8s_client_config_stale_bool 0",
                         'ferrolb_watch_behind_seconds{resource="services"} 0'):
                self.assertIn(line, page.splitlines())
            self.assertNotIn("metallb_allocator_", page)
            self.assertEqual([scrape.scrape(cluster, node, bearer=token)[0] for token in (None, "wrong", may_not)], ["401", "401", "403"])
            self.assertEqual(scrape.get(cluster, node, "http://127.0.0.1:17472/readyz")[0], "200")
            self.assertEqual(scrape.get(cluster, node, "http://127.0.0.1:17472/metrics")[0], "404")
        # The controller, with its own account, in its pod.
        pods = [p for p in cluster.get("pods", namespace=SYSTEM) if p["metadata"]["labels"].get("component") == "controller"]
        host = pods[0]["status"]["podIP"]
        host = f"[{host}]" if ":" in host else host
        status, page = scrape.scrape(cluster, pods[0]["spec"]["nodeName"], host, may)
        self.assertEqual(status, "200", page)
        self.assertIn('metallb_allocator_addresses_total{pool="pool"}', page)
        self.assertEqual(scrape.scrape(cluster, pods[0]["spec"]["nodeName"], host, may_not)[0], "403")

    def test_the_configuration_is_judged_for_each_node(self):
        until("valid", lambda: set(results().values()) == {"Valid"}, 20.0)
        self.assertEqual(set(results()), {"controller", *(f"speaker-{node}" for node in NODES)})
        broken = {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.168.1.77", "passwordSecret": {"name": "absent"},
                  "nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "n2"}}]}
        cluster.apply([config("BGPPeer", "broken", broken, "v1beta2")])
        self.addCleanup(cluster.kubectl, "delete", "bgppeer/broken", "-n", SYSTEM, "--ignore-not-found")
        until("one invalid", lambda: Seen([n for n, r in results().items() if r == "Invalid"] == ["speaker-n2"], results()), 20.0)
        summary = cluster.get("configurationstate", "speaker-n2", SYSTEM)["status"]["errorSummary"]
        self.assertIn("BGPPeer metallb-system/broken", summary)
        cluster.kubectl("delete", "bgppeer/broken", "-n", SYSTEM)
        until("valid again", lambda: set(results().values()) == {"Valid"}, 20.0)

    def test_nothing_is_written_while_nothing_changes(self):
        balanced(self, "still", app="web")
        until("statuses", lambda: len(statuses("still")) == 3, 20.0)
        kinds = ("servicebgpstatuses", "configurationstates", "events", "services")

        def versions():
            found = [(kind, o["metadata"]["name"], o["metadata"]["resourceVersion"])
                     for kind in kinds for o in cluster.get(kind, namespace=SYSTEM if "status" in kind or "state" in kind else "default")
                     # Those of Pods are the kubelets'.
                     if kind != "events" or o["involvedObject"]["kind"] == "Service"]
            return sorted(found)

        before = versions()
        # Other tests' objects come to rest first.
        for _ in range(10):
            time.sleep(1.0)
            now = versions()
            if now == before:
                break
            before = now
        time.sleep(5.0)
        self.assertEqual(versions(), before)


class Answers(unittest.TestCase):
    """Layer 2: what a client on the nodes' own wire gets."""

    @classmethod
    def setUpClass(cls):
        cluster.apply([
            config("IPAddressPool", "wire", {"addresses": ["192.168.1.240-192.168.1.250", "fd00:1::240-fd00:1::250"], "autoAssign": False}),
            config("L2Advertisement", "wire", {"ipAddressPools": ["wire"]}),
            config("BGPAdvertisement", "all", {"ipAddressPools": ["pool"]}),
        ])
        cls.addClassCleanup(cluster.apply, [config("BGPAdvertisement", "all", {})])
        for name in ("ipaddresspool/wire", "l2advertisement/wire"):
            cls.addClassCleanup(cluster.kubectl, "delete", name, "-n", SYSTEM)

    def balanced(self, name, **spec):
        return balanced(self, name, annotations={"metallb.io/address-pool": "wire"}, **spec)

    def test_one_node_answers_for_both_addresses_and_says_so(self):
        addresses = self.balanced("near", app="web")
        for address in addresses:
            cluster.wait_answers("lan", address, set(NODES))
        owners = {owner(address) for address in addresses}
        until("one status", lambda: Seen(claims("near") == owners and len(owners) == 1, (claims("near"), owners)), 20.0)
        (node,) = owners
        events = {e["message"] for e in cluster.get("events")
                  if e["reason"] == "nodeAssigned" and e["involvedObject"]["name"] == "near"}
        self.assertEqual(events, {f'announcing from node "{node}" with protocol "layer2"'})
        cluster.kubectl("delete", "service", "near")
        until("no status", lambda: claims("near") == set(), 20.0)
        cluster.in_ns("lan", "ip", "neighbour", "flush", "dev", "eth0")
        until("nobody", lambda: not cluster.ask("lan", addresses[0]) and owner(addresses[0]) is None, 10.0)

    def test_another_node_takes_over_from_a_speaker_that_is_gone(self):
        (address,) = self.balanced("moving", app="web", ipFamilyPolicy="SingleStack")
        until("an answer", lambda: cluster.ask("lan", address), 30.0)
        first = owner(address)
        cluster.kubectl("label", "node", first, "speaker=no")
        self.addCleanup(cluster.kubectl, "label", "node", first, "speaker-", check=False)
        begun = time.monotonic()
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "speaker", "operator": "DoesNotExist"}]}]}}}
        patch = json.dumps({"spec": {"template": {"spec": {"affinity": affinity}}, "updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}}})
        cluster.kubectl("patch", "daemonset", "speaker", "-n", SYSTEM, "--patch", patch)
        until("another owner", lambda: cluster.ask("lan", address) and owner(address) != first, 60.0)
        print(f"       layer 2: another node answers after {time.monotonic() - begun:.1f} s", flush=True)
        until("its status", lambda: Seen(claims("moving") == {owner(address)}, claims("moving")), 20.0)
        cluster.kubectl("label", "node", first, "speaker-")
        until("the first owner", lambda: cluster.ask("lan", address) and owner(address) == first, 90.0)


class Withstands(unittest.TestCase):
    def test_restarted_speakers_send_the_same_and_write_nothing_again(self):
        address, _ = balanced(self, "lasting", app="web")
        wait_hops(address, set(NODES))
        until("statuses", lambda: len(statuses("lasting")) == 3, 20.0)
        before = status_versions("lasting")
        cluster.kubectl("rollout", "restart", "daemonset/speaker", "-n", SYSTEM)
        cluster.wait_rollout("daemonset/speaker", SYSTEM)
        for node in NODES:
            until(f"session of {node}", lambda: cluster.tor.established(f"{node}v4"), 30.0)
        wait_hops(address, set(NODES))
        after = status_versions("lasting")
        self.assertEqual(after, before)

    def test_without_the_api_announcements_stand_and_its_return_changes_nothing(self):
        address, _ = balanced(self, "alonesome", app="web")
        wait_hops(address, set(NODES))
        lives = {node: cluster.tor.life(f"{node}v4") for node in NODES}
        cluster.kill_program("cp", "kube-apiserver")
        until("no API", lambda: cluster.kubectl("get", "--raw", "/readyz", check=False) == "", 10.0)
        time.sleep(5.0)
        self.assertEqual(hops(address), set(NODES))
        cluster.wait_answers("client", address, set(NODES))
        cluster.start_program("cp", "kube-apiserver")
        cluster.wait_api()
        cluster.wait_nodes()
        self.assertEqual(hops(address), set(NODES))
        self.assertEqual({node: cluster.tor.life(f"{node}v4") for node in NODES}, lives)
        later, _ = balanced(self, "later", app="web")
        wait_hops(later, set(NODES))

    def test_a_lost_node_takes_its_routes_with_it(self):
        address, _ = balanced(self, "lossy", app="web")
        wait_hops(address, set(NODES))
        (controller,) = [pod["spec"]["nodeName"] for pod in cluster.get("pods", namespace=SYSTEM)
                         if pod["metadata"]["labels"]["component"] == "controller"]
        lost = next(node for node in reversed(NODES) if node != controller)
        cluster.poweroff(lost)
        self.addCleanup(lambda: lost in cluster.lab.nodes or cluster.start_node(lost))
        begun = time.monotonic()
        # The hold time of the peers is 9 s.
        wait_hops(address, set(NODES) - {lost}, seconds=20.0)
        print(f"       a lost node's routes are gone after {time.monotonic() - begun:.1f} s", flush=True)
        cluster.wait_nodes([lost], ready=False, seconds=60.0)
        cluster.start_node(lost)
        wait_hops(address, set(NODES), seconds=90.0)


def config(kind, name, spec, version="v1beta1"):
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": {"name": name, "namespace": SYSTEM}, "spec": spec}


def peer(name, address):
    return config("BGPPeer", name, {"myASN": 64512, "peerASN": 64513, "peerAddress": address, "holdTime": "9s"}, "v1beta2")


def balanced(test, name, **spec):
    """Makes a Service, removed after the test; its addresses, IPv4 first."""
    cluster.apply([workload.service(name, **spec)])
    test.addCleanup(cluster.kubectl, "delete", "service", name, "--ignore-not-found")

    def ingress():
        found = cluster.get("service", name)["status"]["loadBalancer"].get("ingress", [])
        return [entry["ip"] for entry in found]

    return sorted(until(f"addresses of {name}", ingress, 20.0), key=lambda ip: ":" in ip)


def move(name, node):
    """Lets a Deployment's only pod run on another node."""
    patch = f'{{"spec": {{"template": {{"spec": {{"nodeSelector": {{"kubernetes.io/hostname": "{node}"}}}}}}}}}}'
    cluster.kubectl("patch", "deployment", name, "--patch", patch)
    cluster.wait_rollout(f"deployment/{name}")


def network(unavailable, node):
    """Sets a node's condition, as a CNI would."""
    status = "True" if unavailable else "False"
    patch = f'{{"status": {{"conditions": [{{"type": "NetworkUnavailable", "status": "{status}"}}]}}}}'
    cluster.kubectl("patch", "node", node, "--subresource=status", "--patch", patch)


def hops(address, family=0):
    """The nodes that the router's kernel sends an address to."""
    prefix = f"{address}/{128 if family else 32}"
    known = {pair[family]: node for node, pair in NODES.items()}
    return {known.get(hop, hop) for hop in cluster.tor.next_hops(prefix)}


def wait_hops(address, nodes, family=0, seconds=20.0):
    until(f"{address} by way of {sorted(nodes)}", lambda: Seen(hops(address, family) == nodes, hops(address, family)), seconds)


def statuses(name):
    """Node -> peers, by the ServiceBGPStatus objects of a service."""
    found = [s.get("status", {}) for s in cluster.get("servicebgpstatuses", namespace=SYSTEM)]
    return {s["node"]: s.get("peers") for s in found if s.get("serviceName") == name}


def status_versions(name):
    """Object -> resourceVersion, of the ServiceBGPStatus objects of a service."""
    found = cluster.get("servicebgpstatuses", namespace=SYSTEM)
    return {s["metadata"]["name"]: s["metadata"]["resourceVersion"] for s in found
            if s.get("status", {}).get("serviceName") == name}


def claims(name):
    """The nodes that say that they answer for a service on layer 2."""
    found = [s.get("status", {}) for s in cluster.get("servicel2statuses", namespace=SYSTEM)]
    return {s["node"] for s in found if s.get("serviceName") == name}


def owner(address):
    """The node that answers for an address, by what a client on the wire has learnt."""
    known = cluster.in_ns("lan", "ip", "neighbour", "show", address)
    macs = {cluster.in_ns(node, "cat", "/sys/class/net/eth0/address").strip(): node for node in NODES}
    return macs.get(known.split("lladdr ")[1].split()[0]) if "lladdr" in known else None


def results():
    return {s["metadata"]["name"]: s.get("status", {}).get("result") for s in cluster.get("configurationstates", namespace=SYSTEM)}


if __name__ == "__main__":
    unittest.main()
