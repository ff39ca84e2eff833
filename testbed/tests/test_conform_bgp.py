"""BGP, as MetalLB's end-to-end tests want it: cases 1 to 22, 27, 28."""

import unittest

from conform import case
from inventory import FAMILIES, IPV4, IPV6, SINGLE
from kube import workload
from kube.network import NODES
from kube.stand import ALL, OUR_AS, PEERS, ROUTERS, SECONDS, SESSIONS, SYSTEM, config, peer, peer_name, session
from labkit.wait import Seen, until
from routes import EVERYWHERE, INTERNAL, RoutesCase, host, metrics_label, on, peers

PASSWORD = "not-a-secret"
# What `spec` of case 16 gives an advertisement, and what is to be seen of it.
COMMUNITY, LARGE = "1111:2222", "123:456:7890"
ADDED = {
    "community and localPref": ({"communities": [COMMUNITY], "localPref": 50}, {COMMUNITY}, set(), 50),
    "large community and localPref": ({"communities": [f"large:{LARGE}"], "localPref": 50}, set(), {LARGE}, 50),
    "localPref": ({"localPref": 50}, set(), set(), 50),
    "community": ({"communities": [COMMUNITY]}, {COMMUNITY}, set(), 100),
    "community by alias": ({"communities": ["alias"]}, {COMMUNITY}, set(), 100),
    "pool selector": ({"communities": [COMMUNITY]}, {COMMUNITY}, set(), 100),
}


class Announces(RoutesCase):
    @case(1, *FAMILIES, "IPv4 asked for", "dual asked for")
    def every_node_announces_a_cluster_service(self, variant):
        family = variant.removesuffix(" asked for")
        pool = self.pool(family)
        self.advertise()
        asked = [prefix.replace("::/64", "::77").replace("0/24", "77") for prefix in self.prefixes[pool]] if variant != family else []
        annotations = {"metallb.io/loadBalancerIPs": ",".join(asked)} if asked else {}
        service = self.service(family, annotations=annotations)
        self.wait_served(service)
        self.stand.wait_answers("client", service)
        if asked:
            self.assertEqual(service.addresses, tuple(asked))

    @case(3, *FAMILIES)
    def routes_go_and_come_with_the_speakers(self, family):
        self.pool(family)
        self.advertise()
        service = self.service(family)
        self.wait_served(service)
        self.api.request("DELETE", f"api/v1/namespaces/{SYSTEM}/pods?labelSelector=component%3Dspeaker")
        stale, gone = [], set()

        def down():
            paths = self.stand.routers["tor"].paths(host(service.addresses[0]))
            stale.extend(path for path in paths.values() if path.stale)
            gone.update(node for node in NODES if not any(one.startswith(node) for one in paths))
            return Seen(gone == ALL, gone)

        # Each pod ends in its own time.
        until("each node's route to be gone for a while", down, SECONDS, 0.01)
        self.assertEqual(stale, [])
        self.stand.wait_rollout("DaemonSet", "speaker", SYSTEM)
        self.wait_served(service)

    @case(4, IPV4)
    def a_node_without_network_announces_nothing(self, family):
        self.pool(family)
        self.advertise()
        service = self.service(family)
        self.wait_served(service)
        self.stand.network("n2", unavailable=True)
        self.wait_served(service, ALL - {"n2"})
        self.stand.network("n2", unavailable=False)
        self.wait_served(service)

    @case(5, *FAMILIES)
    def a_local_service_is_announced_where_its_endpoints_are(self, family):
        self.pool(family)
        self.advertise()
        few = workload.deployment(f"few-{family.lower()}", replicas=1)
        name = few["metadata"]["name"]
        self.apply(few)
        self.addCleanup(self.api.delete, "Deployment", name)
        service = self.service(family, app=name, externalTrafficPolicy="Local")
        for replicas in (1, 2):
            self.api.patch("Deployment", name, {"spec": {"replicas": replicas}})
            self.stand.wait_rollout("Deployment", name)
            pods = [pod for pod in self.api.list("Pod", "default", f"app={name}") if "deletionTimestamp" not in pod["metadata"]]
            nodes = {pod["spec"]["nodeName"] for pod in pods}
            self.assertEqual(len(nodes), replicas)
            self.wait_served(service, nodes, local=True)
            self.stand.wait_answers("client", service, nodes)

    @case(7, *SINGLE)
    def two_services_share_an_address(self, family):
        self.pool(family)
        self.advertise()
        first = self.service(family, annotations={"metallb.io/allow-shared-ip": "key"})
        asked = {"metallb.io/allow-shared-ip": "key", "metallb.io/loadBalancerIPs": first.addresses[0]}
        second = self.service(family, annotations=asked, port=81)
        self.assertEqual(second.addresses, first.addresses)
        for service in (first, second):
            self.wait_served(service)
            self.stand.wait_answers("client", service)

    @case(8, *((kind, family) for kind in ("range", "prefix") for family in FAMILIES))
    def a_pool_is_a_range_or_a_prefix(self, kind, family):
        pool = self.pool(family, ranges=kind == "range")
        self.advertise()
        service = self.service(family)
        first = tuple(given.split("-")[0].split("/")[0] for given in self.prefixes[pool])
        self.assertEqual(service.addresses, first)
        self.wait_served(service)

    @case(14, *SINGLE)
    def a_second_pool_changes_nothing_for_the_first(self, family):
        self.advertise()
        self.pool(family)
        first = self.service(family)
        self.wait_served(first)
        lives = self.lives()
        other = self.pool(family, autoAssign=False)
        second = self.service(family, pool=other)
        self.wait_served(second)
        self.wait_served(first)
        self.assertEqual(self.addresses(first.name, 1), first.addresses)
        self.assertEqual(self.lives(), lives)

    def lives(self):
        """What changes with each new session of any router."""
        return {(name, one): router.life(one) for name, router in self.stand.routers.items() for one in SESSIONS}


class Peers(RoutesCase):
    """What is said of a peer, and what the router sees of it."""

    @case(9, *SINGLE)
    def the_router_id_is_the_one_given(self, family):
        self.apply(*(peer(router, family, routerID="10.10.10.10") for router in ROUTERS))
        for name, router in self.stand.routers.items():
            for node in NODES:
                until(f"router ID of {node} at {name}", lambda: _established(router, node, family, remoteRouterId="10.10.10.10"), SECONDS)
        self.serve(family)

    @case(11, *SINGLE)
    def the_peer_sees_the_local_as(self, family):
        group = f"nodes{family[-1]}"
        tor = self.stand.routers["tor"]
        tor.configure("router bgp 64513", f"neighbor {group} remote-as 64600")
        self.addCleanup(tor.configure, "router bgp 64513", f"neighbor {group} remote-as {OUR_AS}")
        self.apply(peer("tor", family, localASN=64600))
        for node in NODES:
            until(f"session of {node}", lambda: _established(tor, node, family, remoteAs=64600), SECONDS)
        service = self.serve(family, set(EVERYWHERE) - {"tor", "far-ebgp", "far-ibgp"})
        self.wait_route("tor", host(service.addresses[0]), as_path=(64600,))

    @case(12, *SINGLE)
    def a_password_comes_from_a_secret(self, family):
        group = f"nodes{family[-1]}"
        others = {one for one in SESSIONS if not one.endswith(family[-1])}
        for name in ("tor", "ibgp"):
            begin = f"router bgp {ROUTERS[name][0]}"
            self.stand.routers[name].configure(begin, f"neighbor {group} password {PASSWORD}")
            self.addCleanup(self.stand.routers[name].configure, begin, f"no neighbor {group} password {PASSWORD}")
            self.stand.wait_sessions(name, others)
        self.apply(secret("password"), *(peer(name, family, passwordSecret={"name": "password"}) for name in ("tor", "ibgp")))
        for name in ("tor", "ibgp"):
            self.stand.wait_sessions(name)
        self.serve(family)

    @case(15, *SINGLE)
    def one_peer_after_another_comes_up(self, family):
        self.pool(family)
        self.advertise()
        service = self.service(family)
        before = {peer_name(name, version) for name in ROUTERS for version in SINGLE}
        for name in ROUTERS:
            self.apply(peer(name, family))
            for one in before - {peer_name(name, family)}:
                self.api.delete("BGPPeer", one, SYSTEM)
            before = {peer_name(name, family)}
            self.stand.wait_sessions(name, {session(node, family) for node in NODES}, None)
            self.wait_served(service, routers=(name,))
        for name in set(ROUTERS) - {"far-ibgp"}:
            self.stand.wait_sessions(name, (), None)

    @case(22, "port")
    def the_port_is_179(self, _what):
        for one in PEERS:
            self.assertNotIn("peerPort", one["spec"])
            self.assertEqual(self.api.get("BGPPeer", one["metadata"]["name"], SYSTEM)["spec"]["peerPort"], 179)
        for name, router in self.stand.routers.items():
            for one in SESSIONS:
                self.assertEqual(router.neighbor(one)["portLocal"], 179, f"{one} at {name}")

    @case(27, *SINGLE)
    def the_right_dynamic_as_comes_up(self, family):
        self.apply(*(peer(name, family, peerASN=None, dynamicASN="internal" if name in INTERNAL else "external") for name in ROUTERS))
        for name in ROUTERS:
            self.stand.wait_sessions(name)
        self.serve(family)

    @case(28, *SINGLE)
    def the_wrong_dynamic_as_does_not(self, family):
        for name in ROUTERS:
            wrong = {"dynamicASN": "external", "ebgpMultiHop": name == "far-ibgp"} if name in INTERNAL else {"dynamicASN": "internal"}
            self.apply(peer(name, family, peerASN=None, **wrong))
        others = {one for one in SESSIONS if not one.endswith(family[-1])}
        for name in ROUTERS:
            self.stand.wait_sessions(name, others)
            for node in NODES:
                # FRR forgets what became of a connection that was refused.
                until(f"{node} refuses {name}", lambda: self.refused(name, node, family), SECONDS)
            self.stand.wait_sessions(name, others, seconds=0)

    def refused(self, name, node, family):
        """Whether a router has answered several times, and was told each time that its AS is wrong."""
        label = metrics_label(name, family)
        opens, ends = (self.stand.metric(f"metallb_bgp_{what}", node, peer=label) for what in ("opens_received", "notifications_sent"))
        return Seen(opens and opens[0] >= 3 and ends[0] >= 3, (opens, ends))

    def serve(self, family, routers=EVERYWHERE):
        """A service that these routers have and reach."""
        self.pool(family)
        self.advertise()
        service = self.service(family)
        self.wait_served(service, routers=tuple(routers))
        return service


class Statuses(RoutesCase):
    @case(13, *FAMILIES)
    def a_status_names_the_peers_of_each_node(self, family):
        every = sorted(peers(family, *ROUTERS))
        self.pool(family)
        self.advertise()
        service = self.service(family)
        self.wait_statuses(service, {node: every for node in NODES})
        self.advertise(peers=[*every[1:], "nobody"])
        self.wait_statuses(service, {node: every[1:] for node in NODES})
        self.advertise(peers=[*every, "nobody"])
        self.wait_statuses(service, {node: every for node in NODES})
        for name in peers(family, "far-ibgp"):
            self.api.delete("BGPPeer", name, SYSTEM)
        left = sorted(peers(family, *(set(ROUTERS) - {"far-ibgp"})))
        self.wait_statuses(service, {node: left for node in NODES})
        self.advertise(nodeSelectors=on("n2", "n3"))
        self.wait_statuses(service, {node: left for node in ("n2", "n3")})
        self.api.delete("Service", service.name)
        self.wait_statuses(service, {})

    def wait_statuses(self, service, expected):
        def probe():
            found = [s.get("status", {}) for s in self.api.list("ServiceBGPStatus", SYSTEM)]
            seen = {s["node"]: sorted(s.get("peers", [])) for s in found if s.get("serviceName") == service.name}
            return Seen(seen == expected, seen)

        until(f"statuses {expected}", probe, SECONDS)


class Attributes(RoutesCase):
    @case(16, *((what, IPV4) for what in ADDED), *((what, IPV6) for what in ADDED if what != "pool selector"))
    def what_is_added_arrives_on_its_pools_services_only(self, what, family):
        spec, communities, large, preference = ADDED[what]
        chosen, other = self.pool(family, labels={"kind": "chosen"}), self.pool(family)
        if what == "community by alias":
            self.apply(config("Community", "aliases", {"communities": [{"name": "alias", "value": COMMUNITY}]}))
        which = {"ipAddressPoolSelectors": [{"matchLabels": {"kind": "chosen"}}]} if what == "pool selector" else {"ipAddressPools": [chosen]}
        self.advertise("special", **which, **spec)
        self.advertise("plain", ipAddressPools=[other])
        special, plain = self.service(family, pool=chosen), self.service(family, pool=other)
        self.wait_attributes(special, communities, large, preference)
        self.wait_attributes(plain)
        for service in (special, plain):
            self.wait_served(service)

    @case(17, IPV4)
    def communities_of_overlapping_advertisements_are_united(self, family):
        self.pool(family)
        self.advertise("one", communities=["64500:1", "64500:2"])
        self.advertise("two", communities=["64500:2", "64500:3"])
        service = self.service(family)
        self.wait_attributes(service, {"64500:1", "64500:2", "64500:3"})
        self.wait_served(service)

    @case(18, *SINGLE)
    def an_advertisement_can_be_changed(self, family):
        pool = self.pool(family)
        self.advertise(communities=["64500:1"], localPref=200)
        service = self.service(family)
        self.wait_attributes(service, {"64500:1"}, preference=200)
        length = {"aggregationLength": 24} if family == IPV4 else {"aggregationLengthV6": 124}
        self.advertise(communities=["64500:2"], localPref=300, **length)
        aggregate = self.prefixes[pool][0].replace("/64", "/124")
        for router in EVERYWHERE:
            self.wait_route(router, host(service.addresses[0]), ())
            preference = {"local_pref": 300} if router in INTERNAL else {}
            self.wait_route(router, aggregate, communities=frozenset({"64500:2"}), **preference)
            self.wait_reached(router, service)

    def wait_attributes(self, service, communities=(), large=(), preference=100):
        for router in EVERYWHERE:
            expected = {"communities": frozenset(communities), "large_communities": frozenset(large)}
            if router in INTERNAL:
                expected["local_pref"] = preference
            for address in service.addresses:
                self.wait_route(router, host(address), **expected)


class Refuses(RoutesCase):
    @case(19, *SINGLE)
    def a_routers_routes_never_reach_a_nodes_kernel(self, family):
        prefix = "172.16.99.0/24" if family == IPV4 else "fd00:99::/64"
        before = {node: self.received(node, family) for node in NODES}
        tor, version, ip = self.stand.routers["tor"], family.lower(), "ip" if family == IPV4 else "ipv6"
        lines = [f"{ip} route {prefix} blackhole", "router bgp 64513", f"address-family {version} unicast", f"network {prefix}"]
        tor.configure(*lines)
        self.addCleanup(tor.configure, *lines[1:3], f"no network {prefix}")
        self.addCleanup(tor.configure, f"no {lines[0]}")
        for node in NODES:
            # It came, and what comes of it comes before the next of our own UPDATEs.
            until(f"an UPDATE at {node}", lambda: Seen(self.received(node, family) > before[node], self.received(node, family)), SECONDS)
        self.assert_no_route(prefix)
        self.pool(family)
        self.advertise()
        self.wait_served(self.service(family))
        self.assertEqual(len(tor.paths(prefix)), 1, "the router's own")
        self.assert_no_route(prefix)

    def received(self, node, family):
        """How many UPDATEs a node has had from the tor."""
        return sum(self.stand.metric("metallb_bgp_updates_total_received", node, peer=metrics_label("tor", family)))

    def assert_no_route(self, prefix):
        for node in NODES:
            kernel = self.cluster.in_ns(node, "ip", "-6" if ":" in prefix else "-4", "route", "show", "table", "all", prefix)
            self.assertEqual(kernel, "", node)


def _established(router, node, family, **said):
    """Whether a session stands, and bgpd says these things of the neighbour."""
    neighbor = router.neighbor(session(node, family))
    seen = {key: neighbor.get(key) for key in said}
    return Seen(neighbor["bgpState"] == "Established" and seen == said, (neighbor["bgpState"], seen))


def secret(name, kind="kubernetes.io/basic-auth"):
    """A Secret with the password."""
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM}, "type": kind,
        "stringData": {"username": "", "password": PASSWORD},
    }


if __name__ == "__main__":
    unittest.main()
