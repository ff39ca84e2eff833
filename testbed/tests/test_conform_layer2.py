"""Conformance 54 to 85: layer 2. Each test first shows that nobody answers while nothing is to be announced."""

import itertools
import os
import time
import unittest

from kube import workload
from kube.network import NODES
from kube.stand import SYSTEM, config
from labkit.wait import Seen, until

from conform import Declaring, case
from stand import stand
from wire import SECONDS, Wire, elected

EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
HOSTNAME = "kubernetes.io/hostname"
FAMILY = {"IPv4": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}, "IPv6": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}}
WIRE = {"IPv4": "192.168.1.200-192.168.1.229", "IPv6": "fd00:1::200-fd00:1::22f"}
STABLE_SECONDS = 5.0
cluster = api = wire = None
numbers = itertools.count(1)


def setUpModule():
    global cluster, api, wire
    stand().reset()
    unittest.addModuleCleanup(stand().reset)
    cluster, api = stand().cluster, stand().api
    wire = Wire(cluster)
    pool("wire", *WIRE.values(), autoAssign=False)
    # Of no use to anybody; while there is one, speakers say that they are alive.
    pool("nobody", "192.168.1.199/32", autoAssign=False)
    api.apply(config("L2Advertisement", "nobody", {"ipAddressPools": ["nobody"]}))


def pool(name, *addresses, labels=None, **spec):
    body = config("IPAddressPool", name, {"addresses": list(addresses), **spec})
    body["metadata"]["labels"] = labels or {}
    api.apply(body)


def hosts(*nodes):
    """Node selectors for just these nodes."""
    return [{"matchLabels": {HOSTNAME: node}} for node in nodes]


def matching(**labels):
    return [{"matchLabels": labels}]


def preferring(weight, **labels):
    return {"weight": weight, "preference": {"matchLabels": labels} if labels else {}}


def addresses(name):
    return [entry["ip"] for entry in api.get("Service", name)["status"]["loadBalancer"].get("ingress", [])]


def events(name, reason):
    found = [e for e in api.list("Event", "default") if e["involvedObject"]["name"] == name and e["reason"] == reason]
    return [e["message"] for e in found]


def claims(name):
    """Node and interfaces of each ServiceL2Status of a service."""
    found = [s.get("status", {}) for s in api.list("ServiceL2Status", SYSTEM)]
    return [(s["node"], [i["name"] for i in s.get("interfaces", [])]) for s in found if s.get("serviceName") == name]


def wait_claims(name, *expected):
    until(f"ServiceL2Status of {name}", lambda: Seen(claims(name) == list(expected), claims(name)), SECONDS)


def owned_by(node, among=tuple(NODES), number=0):
    """An address of the pool for which this node of those is elected; `number` counts through them."""
    fitting = [f"192.168.1.{last}" for last in range(200, 230) if elected(f"192.168.1.{last}", among) == node]
    return fitting[number]


class Case(Declaring):
    def advertise(self, name, **spec):
        """An L2Advertisement of the pool `wire`, or of those that are given."""
        chosen = {} if "ipAddressPoolSelectors" in spec else {"ipAddressPools": ["wire"]}
        api.apply(config("L2Advertisement", name, {**chosen, **spec}))
        self.addCleanup(api.delete, "L2Advertisement", name, SYSTEM)

    def label(self, node, **labels):
        api.label("Node", node, labels)
        self.addCleanup(api.label, "Node", node, dict.fromkeys(labels))

    def exclude(self, node):
        api.label("Node", node, {EXCLUDE: ""})
        self.addCleanup(api.label, "Node", node, {EXCLUDE: None})

    def service(self, family="IPv4", address=None, within="wire", labels=None, annotations=None, app="web", **spec):
        """A load balancer and its first address, for which nobody answers."""
        name = f"l2-{os.getpid()}-{next(numbers)}"
        asked = {"metallb.io/loadBalancerIPs": address} if address else {"metallb.io/address-pool": within}
        families = {"ipFamilyPolicy": "RequireDualStack"} if family == "dual" else FAMILY[family]
        body = workload.service(name, app, annotations={**asked, **(annotations or {})}, **{**families, **spec})
        body["metadata"]["labels"] = labels or {}
        api.apply(body)
        self.addCleanup(api.delete, "Service", name)
        found = until(f"an address of {name}", lambda: addresses(name), SECONDS)
        for one in found:
            # Nothing announces it yet; what the test before announced may take a moment to go.
            wire.wait(one)
        return name, found[0]


class Reaches(Case):
    @case(54, "IPv4", "IPv6", "dual")
    def a_cluster_service(self, family):
        name, first = self.service(family)
        self.advertise("all")
        for address in addresses(name):
            # Both addresses go where the first one is elected to.
            wire.wait(address, elected(first))
            wire.wait_pods(address, NODES)

    @case(55)
    def a_status_says_who(self):
        name, address = self.service()
        self.advertise("all")
        node = elected(address)
        wait_claims(name, (node, []))
        until("an event", lambda: events(name, "nodeAssigned"), SECONDS)
        begun = time.monotonic()
        while time.monotonic() - begun < STABLE_SECONDS:
            self.assertEqual(claims(name), [(node, [])])
            self.assertEqual(events(name, "nodeAssigned"), [f'announcing from node "{node}" with protocol "layer2"'])
            time.sleep(0.2)
        self.assertEqual(wire.answers(address), {(node, "eth0")})
        api.delete("Service", name)
        wait_claims(name)
        wire.wait(address)

    @case(56)
    def a_local_service_by_a_node_with_an_endpoint(self):
        five = workload.deployment("five", replicas=5)
        nodes = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": ["n2", "n3"]}]}
        five["spec"]["template"]["spec"]["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [nodes]}}}
        api.apply(five)
        self.addCleanup(api.delete, "Deployment", "five")
        # Without endpoints on it, the one that would answer for a Cluster service can't.
        name, address = self.service(address=owned_by("n1"), app="five", externalTrafficPolicy="Local")
        stand().wait_rollout("Deployment", "five")
        self.advertise("all")
        owner = elected(address, ("n2", "n3"))
        wire.wait(address, owner)
        wire.wait_pods(address, {owner})
        for _ in range(20):
            self.assertIn(f"node={owner} client=192.168.1.100", wire.fetch(address))
        wait_claims(name, (owner, []))

    @case(57, "IPv4")
    def tcp_and_udp(self, family):
        ports = [{"name": protocol.lower(), "port": 80, "targetPort": 8080, "protocol": protocol} for protocol in ("TCP", "UDP")]
        _, address = self.service(family, ports=ports)
        self.advertise("all")
        wire.wait(address, elected(address))
        wire.wait_pods(address, NODES)
        wire.wait_pods(address, NODES, wire.datagram)

    @case(60, "range", "prefix")
    def a_pool(self, kind):
        pool("formed", {"range": "192.168.1.233-192.168.1.235", "prefix": "192.168.1.236/30"}[kind], autoAssign=False)
        self.addCleanup(api.delete, "IPAddressPool", "formed", SYSTEM)
        _, address = self.service(within="formed")
        self.assertEqual(address, {"range": "192.168.1.233", "prefix": "192.168.1.236"}[kind])
        self.advertise("formed", ipAddressPools=["formed"])
        wire.wait(address, elected(address))
        wire.wait_pods(address, NODES)

    @case(61, "IPv4", "IPv6")
    def services_that_share_an_address(self, family):
        shared = {"metallb.io/allow-shared-ip": "key"}
        first, address = self.service(family, annotations=shared)
        port = {"port": 81, "targetPort": 8080, "protocol": "TCP"}
        second, other = self.service(family, address=address, annotations=shared, ports=[port])
        self.assertEqual(other, address)
        self.advertise("all")
        owner = elected(address)
        wire.wait(address, owner)
        for name, number in ((first, 80), (second, 81)):
            wait_claims(name, (owner, []))
            wire.wait_pods(address, NODES, port=number)
        api.delete("Service", first)
        wait_claims(first)
        wire.wait(address, owner)

    @case(62, *itertools.product(("autoAssign", "no autoAssign"), ("IPv4", "IPv6")))
    def a_pool_that_is_asked_for(self, kind, family):
        pool("asked", "192.168.1.240/30", "fd00:1::240/124", autoAssign=kind == "autoAssign")
        self.addCleanup(api.delete, "IPAddressPool", "asked", SYSTEM)
        _, address = self.service(family, within="asked")
        self.assertEqual(address, {"IPv4": "192.168.1.240", "IPv6": "fd00:1::240"}[family])
        self.advertise("asked", ipAddressPools=["asked"])
        wire.wait(address, elected(address))
        wire.wait_pods(address, NODES)


class Moves(Case):
    def away_and_back(self, change, undo):
        name, address = self.service()
        self.advertise("all")
        first = elected(address)
        second = elected(address, [node for node in NODES if node != first])
        wire.wait(address, first)
        change(first)
        self.addCleanup(undo, first)
        wire.wait(address, second)
        wait_claims(name, (second, []))
        undo(first)
        wire.wait(address, first)
        wait_claims(name, (first, []))

    @case(58)
    def from_a_node_without_network_and_back(self):
        network = stand().network
        self.away_and_back(lambda node: network(node, unavailable=True), lambda node: network(node, unavailable=False))

    @case(59)
    def from_an_excluded_node_and_back(self):
        self.away_and_back(lambda node: api.label("Node", node, {EXCLUDE: ""}), lambda node: api.label("Node", node, {EXCLUDE: None}))

    @case(84)
    def from_a_node_whose_speaker_goes_and_back(self):
        (busy,) = [pod["spec"]["nodeName"] for pod in api.list("Pod", SYSTEM, "component=controller")]
        first = next(node for node in NODES if node != busy)
        name, address = self.service(address=owned_by(first))
        second = elected(address, [node for node in NODES if node != first])
        self.advertise("all")
        wire.wait(address, first)
        taint = {"key": "speaker", "value": "none", "effect": "NoExecute"}
        begun = time.monotonic()
        api.patch("Node", first, {"spec": {"taints": [taint]}})
        self.addCleanup(api.patch, "Node", first, {"spec": {"taints": None}})
        wire.wait(address, second)
        print(f"       layer 2: another node answers {time.monotonic() - begun:.1f} s after the taint", flush=True)
        wait_claims(name, (second, []))
        api.patch("Node", first, {"spec": {"taints": None}})
        wire.wait(address, first)
        wait_claims(name, (first, []))
        stand().wait_rollout("DaemonSet", "speaker", SYSTEM)
        stand().wait_rollout("Deployment", "web")


class Selects(Case):
    @case(63)
    def each_node_in_turn(self):
        name, address = self.service()
        for node in NODES:
            self.advertise("pinned", nodeSelectors=hosts(node))
            wire.wait(address, node)
            wait_claims(name, (node, []))

    @case(64)
    def several_advertisements_for_several_nodes(self):
        name, address = self.service(address=owned_by("n3"))
        for node in ("n1", "n2"):
            self.advertise(f"for-{node}", nodeSelectors=hosts(node))
        wire.wait(address, elected(address, ("n1", "n2")))
        wire.wait_pods(address, NODES)

    @case(65)
    def a_label_that_comes(self):
        name, address = self.service(address=owned_by("n1"))
        self.advertise("labelled", nodeSelectors=matching(l2="yes"))
        # Known by now, since another one is followed.
        _, marker = self.service()
        self.advertise("marker", nodeSelectors=matching(marker="yes"))
        self.label("n2", marker="yes")
        wire.wait(marker, "n2")
        api.delete("L2Advertisement", "marker", SYSTEM)
        wire.wait(marker)
        self.assertEqual(wire.answers(address), set())
        self.label("n3", l2="yes")
        wire.wait(address, "n3")
        wait_claims(name, ("n3", []))

    @case(66)
    def pool_and_service_both(self):
        for name, last in (("a", 244), ("b", 245)):
            pool(f"pool-{name}", f"192.168.1.{last}/32", labels={"pool": name}, autoAssign=False)
            self.addCleanup(api.delete, "IPAddressPool", f"pool-{name}", SYSTEM)
        one, first = self.service(within="pool-a", labels={"expose": "true"})
        other, second = self.service(within="pool-b", labels={"expose": "true"})
        self.advertise("exposed", ipAddressPoolSelectors=matching(pool="a"), serviceSelectors=matching(expose="true"))
        wire.wait(first, elected(first))
        self.assertEqual(wire.answers(second), set())
        api.label("Service", one, {"expose": "false"})
        wire.wait(first)
        wait_claims(one)
        api.label("Service", other, {"expose": "false"})
        api.label("Service", one, {"expose": "true"})
        wire.wait(first, elected(first))
        self.assertEqual(wire.answers(second), set())
        self.assertEqual(claims(other), [])

    @case(67)
    def one_of_two_nodes_that_both_may(self):
        name, address = self.service(address=owned_by("n3"), labels={"app": "test"})
        for node in ("n1", "n2"):
            self.advertise(f"for-{node}", nodeSelectors=hosts(node), serviceSelectors=matching(app="test"))
        owner = elected(address, ("n1", "n2"))
        wire.wait(address, owner)
        wait_claims(name, (owner, []))

    @case(68)
    def nobody_where_service_and_node_match_in_different_advertisements(self):
        name, address = self.service(labels={"app": "web"})
        marked, marker = self.service(labels={"app": "other"})
        self.advertise("ghost", nodeSelectors=hosts("nobody"), serviceSelectors=matching(app="web"))
        self.advertise("wrong", serviceSelectors=matching(app="other"))
        # The later of the two has been acted upon.
        wire.wait(marker, elected(marker))
        self.assertEqual(wire.answers(address), set())
        wait_claims(marked, (elected(marker), []))
        self.assertEqual(claims(name), [])

    @case(69)
    def by_any_of_several_selectors(self):
        made = {app: self.service(labels={"app": app}) for app in ("nginx", "apache", "other")}
        self.advertise("either", serviceSelectors=[*matching(app="nginx"), *matching(app="apache")])
        for app in ("nginx", "apache"):
            wire.wait(made[app][1], elected(made[app][1]))
        self.assertEqual(wire.answers(made["other"][1]), set())
        self.assertEqual(claims(made["other"][0]), [])


class Interfaces(Case):
    """Each node has a second interface on the wire here, `eth1`."""

    @classmethod
    def setUpClass(cls):
        for node in NODES:
            # The kernel doesn't answer there for its own addresses: others would go on sending there when it is gone.
            cluster.in_ns(node, "sh", "-c", "ip link add eth1 link eth0 type macvlan mode bridge && "
                          "sysctl -qw net.ipv4.conf.eth1.arp_ignore=1 && ip link set eth1 up")
        wire.learn()

    @classmethod
    def tearDownClass(cls):
        for node in NODES:
            cluster.in_ns(node, "ip", "link", "delete", "eth1")
        wire.learn()

    @case(70)
    def the_status_lists_them(self):
        name, address = self.service()
        self.advertise("second", interfaces=["eth1"])
        wait_claims(name, (elected(address), ["eth1"]))

    @case(71)
    def the_selected_one_answers(self):
        _, address = self.service()
        self.advertise("second", interfaces=["eth1"])
        wire.wait(address, (elected(address), "eth1"))
        wire.wait_pods(address, NODES)

    @case(72)
    def a_list_that_is_edited(self):
        name, address = self.service()
        owner = elected(address)
        for interface in ("eth1", "eth0"):
            self.advertise("edited", interfaces=[interface])
            wire.wait(address, (owner, interface))
            wait_claims(name, (owner, [interface]))

    @case(73)
    def one_that_is_not_there(self):
        name, address = self.service()
        self.advertise("absent", interfaces=["eth9"])
        said = until("an event", lambda: events(name, "announceFailed"), SECONDS)
        for part in (f'"{address}"', f'"{elected(address)}"', '"layer2"'):
            self.assertIn(part, said[0])
        self.assertEqual(wire.answers(address), set())

    @case(74)
    def those_of_two_advertisements(self):
        _, address = self.service()
        for interface in ("eth0", "eth1"):
            self.advertise(f"on-{interface}", interfaces=[interface])
        owner = elected(address)
        wire.wait(address, (owner, "eth0"), (owner, "eth1"))

    @case(75)
    def with_node_selectors(self):
        among = ("n1", "n2")
        one, another = owned_by("n1", among), owned_by("n2", among)
        for address in (one, another):
            self.service(address=address)
        self.advertise("first", interfaces=["eth1"], nodeSelectors=hosts("n1"))
        self.advertise("second", interfaces=["eth0"], nodeSelectors=hosts("n2"))
        wire.wait(one, ("n1", "eth1"))
        wire.wait(another, ("n2", "eth0"))


class Prefers(Case):
    @case(76)
    def a_labelled_node(self):
        _, address = self.service(address=owned_by("n1"))
        self.advertise("preferring", preferredNodeSelectors=[preferring(100, preferred="true")])
        wire.wait(address, "n1")
        self.label("n2", preferred="true")
        wire.wait(address, "n2")
        api.label("Node", "n2", {"preferred": None})
        wire.wait(address, "n1")

    @case(77)
    def nobody_where_none_matches_or_all(self):
        name, address = self.service(address=owned_by("n2"))
        _, marker = self.service(address=owned_by("n3"), labels={"marker": "yes"})
        self.advertise("plain")
        wire.wait(address, "n2")
        self.advertise("plain", preferredNodeSelectors=[preferring(100, nobody="has")])
        wire.wait(address, "n2")
        self.advertise("plain", preferredNodeSelectors=[preferring(100, nobody="has"), preferring(10)])
        # Known by now, since a later one has been acted upon.
        self.advertise("marker", serviceSelectors=matching(marker="yes"), preferredNodeSelectors=[preferring(1, **{HOSTNAME: "n1"})])
        wire.wait(marker, "n1")
        wire.wait(address, "n2")
        self.assertEqual(len(events(name, "nodeAssigned")), 1)

    @case(78)
    def until_it_is_excluded(self):
        _, address = self.service(address=owned_by("n1"))
        self.label("n3", preferred="true")
        self.advertise("preferring", preferredNodeSelectors=[preferring(100, preferred="true")])
        wire.wait(address, "n3")
        self.exclude("n3")
        wire.wait(address, "n1")
        api.label("Node", "n3", {EXCLUDE: None})
        wire.wait(address, "n3")

    @case(79)
    def as_it_is_edited(self):
        _, address = self.service(address=owned_by("n1"))
        self.label("n2", rt="a")
        self.label("n3", rt="b")
        for value, node in (("a", "n2"), ("b", "n3")):
            self.advertise("edited", preferredNodeSelectors=[preferring(100, rt=value)])
            wire.wait(address, node)
        self.advertise("edited")
        wire.wait(address, "n1")

    @case(80)
    def only_among_those_that_may(self):
        _, address = self.service(address=owned_by("n2", ("n1", "n2")))
        for node in ("n1", "n2"):
            self.label(node, may="yes")
        for node in ("n1", "n3"):
            self.label(node, preferred="true")
        self.advertise("both", nodeSelectors=matching(may="yes"), preferredNodeSelectors=[preferring(100, preferred="true")])
        wire.wait(address, "n1")

    @case(81)
    def none_that_may_not(self):
        _, address = self.service(address=owned_by("n2"))
        self.label("n1", may="yes")
        self.label("n2", preferred="true")
        self.advertise("disjoint", nodeSelectors=matching(may="yes"), preferredNodeSelectors=[preferring(100, preferred="true")])
        wire.wait(address, "n1")

    @case(82)
    def by_the_sum_of_weights(self):
        _, address = self.service(address=owned_by("n3"))
        self.label("n1", zone="primary", role="edge")
        self.label("n2", zone="primary")
        self.advertise("zone", preferredNodeSelectors=[preferring(60, zone="primary")])
        self.advertise("role", preferredNodeSelectors=[preferring(50, role="edge")])
        wire.wait(address, "n1")
        api.label("Node", "n1", {"zone": None})
        wire.wait(address, "n2")

    @case(83)
    def for_the_selected_services(self):
        _, matched = self.service(address=owned_by("n1"), labels={"app": "matched"})
        _, other = self.service(address=owned_by("n1", number=1))
        self.advertise("all")
        wire.wait(matched, "n1")
        self.label("n3", preferred="true")
        self.advertise("scoped", serviceSelectors=matching(app="matched"), preferredNodeSelectors=[preferring(100, preferred="true")])
        wire.wait(matched, "n3")
        wire.wait(other, "n1")


class Leaves(Case):
    @case(85)
    def services_of_another_class_alone(self):
        other, address = f"l2-{os.getpid()}-{next(numbers)}", owned_by("n2")
        asked = {"metallb.io/loadBalancerIPs": address}
        api.apply(workload.service(other, "web", annotations=asked, loadBalancerClass="example.com/other", **FAMILY["IPv4"]))
        self.addCleanup(api.delete, "Service", other)
        # Seen by now: a later one has been acted upon.
        _, later = self.service()
        self.advertise("all")
        wire.wait(later, elected(later))
        self.assertEqual((addresses(other), wire.answers(address)), ([], set()))
        self.assertEqual(events(other, "AllocationFailed"), [])


if __name__ == "__main__":
    unittest.main()
