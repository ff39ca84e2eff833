"""BGP towards chosen peers, from chosen nodes, of chosen services: cases 29 to 43."""

import unittest

from conform import case
from inventory import DUAL, FAMILIES, IPV4, IPV6, SINGLE
from kube.network import NODES
from kube.stand import ALL, OUR_AS, SECONDS, SYSTEM, peer, peer_name, session
from labkit.wait import Seen, until
from routes import EVERYWHERE, RoutesCase, host, on, peers

# Which nodes announce the one, which the other.
NODE_SETS = {"2 and 2 nodes": (("n1", "n2"), ("n2", "n3")), "1 and 2 nodes": (("n1",), ("n2", "n3")), "0 and 2 nodes": ((), ("n2", "n3"))}
NODE_VARIANTS = (*((sets, IPV4) for sets in NODE_SETS), ("1 and 2 nodes", IPV6))
STAGE = {"matchLabels": {"stage": "test"}}
SHARED = {"matchExpressions": [{"key": "stage", "operator": "In", "values": ["test", "live"]}]}
ONE, TWO = "64500:1", "64500:2"


class PeerSelectors(RoutesCase):
    @case(29, *FAMILIES, "IPv6 of dual")
    def peers_of_an_advertisement_limit_who_gets_it(self, variant):
        pools, families = self.two_pools(variant)
        towards = {"first": peers(families, "tor"), "second": peers(families, "ibgp")}
        for name, pool in pools.items():
            self.advertise(name, ipAddressPools=[pool], peers=towards[name])
        services = {name: self.of(variant, pool) for name, pool in pools.items()}
        self.wait_served(services["first"], routers=("tor",))
        self.wait_served(services["second"], routers=("ibgp",))
        self.assert_absent(services["first"], ("ibgp", "far-ebgp", "far-ibgp"))
        self.assert_absent(services["second"], ("tor", "far-ebgp", "far-ibgp"))
        self.advertise("first", ipAddressPools=[pools["first"]])
        self.wait_served(services["first"])
        self.assert_absent(services["second"], ("tor", "far-ebgp", "far-ibgp"))

    @case(30, *FAMILIES, "IPv6 of dual")
    def each_peer_sees_its_own_community(self, variant):
        pools, families = self.two_pools(variant)
        for name, router, community in (("first", "tor", ONE), ("second", "ibgp", TWO)):
            self.advertise(name, ipAddressPools=[pools["first"]], peers=peers(families, router), communities=[community])
        service = self.of(variant, pools["first"])
        self.wait_served(service, routers=("tor", "ibgp"))
        for router, community in (("tor", ONE), ("ibgp", TWO)):
            for address in service.addresses:
                self.wait_route(router, host(address), communities=frozenset({community}))
        self.assert_absent(service, ("far-ebgp", "far-ibgp"))

    def two_pools(self, variant):
        """Two pools, and the families whose peers are named."""
        families = DUAL if variant == "IPv6 of dual" else variant
        return {"first": self.pool(families), "second": self.pool(families)}, families

    def of(self, variant, pool):
        return self.service(IPV6 if variant == "IPv6 of dual" else variant, pool=pool)

    @case(35, "all", "two nodes", "one node each")
    def peers_are_dialled_by_the_nodes_they_select(self, variant):
        dialled = {
            "all": {"tor": ALL, "ibgp": ALL},
            "two nodes": {"tor": {"n1", "n2"}, "ibgp": {"n2", "n3"}},
            "one node each": {"tor": {"n1"}, "ibgp": {"n2"}, "far-ebgp": {"n3"}},
        }[variant]
        self.pool(IPV4)
        self.advertise()
        self.apply(*(peer(name, IPV4, nodeSelectors=on(*sorted(nodes))) for name, nodes in dialled.items()))
        others = {session(node, IPV6) for node in NODES}
        for name, nodes in dialled.items():
            self.stand.wait_sessions(name, {session(node, IPV4) for node in nodes} | others, None)
        service = self.service(IPV4)
        for name, nodes in dialled.items():
            self.wait_served(service, nodes, (name,))
        self.wait_served(service, routers=("far-ibgp",))

    @case(36, IPV4)
    def nodes_have_as_numbers_of_their_own(self, family):
        tor = self.stand.routers["tor"]
        tor.configure("router bgp 64513", "neighbor nodes4 remote-as external")
        self.addCleanup(tor.configure, "router bgp 64513", f"neighbor nodes4 remote-as {OUR_AS}")
        asns = {"n1": 64701, "n2": 64702, "n3": 64702}
        self.api.delete("BGPPeer", peer_name("tor", family), SYSTEM)
        self.apply(*(peer("tor", family, f"own-{asn}", myASN=asn, nodeSelectors=on(*(node for node in NODES if asns[node] == asn)))
                     for asn in set(asns.values())))
        for node, asn in asns.items():
            def probe():
                neighbor = tor.neighbor(session(node, family))
                return Seen(neighbor["bgpState"] == "Established" and neighbor["remoteAs"] == asn, (neighbor["bgpState"], neighbor["remoteAs"]))

            until(f"{node} as AS {asn}", probe, SECONDS)
        self.pool(family)
        self.advertise()
        service = self.service(family)
        expected = {session(node, family): (asn,) for node, asn in asns.items()}

        def paths():
            seen = {one: path.as_path for one, path in tor.paths(host(service.addresses[0])).items()}
            return Seen(seen == expected, seen)

        until(f"AS paths {expected}", paths, SECONDS)
        self.wait_served(service, routers=("ibgp",))


class NodeSelectors(RoutesCase):
    @case(31, *NODE_VARIANTS)
    def two_services_from_nodes_of_their_own(self, sets, family):
        services = []
        for number, nodes in enumerate(NODE_SETS[sets]):
            pool = self.pool(family)
            self.advertise(f"ad-{number}", ipAddressPools=[pool], nodeSelectors=on(*nodes))
            services.append((self.service(family, pool=pool), nodes))
        for service, nodes in reversed(services):
            self.wait_served(service, nodes)

    @case(32, *NODE_VARIANTS)
    def one_service_from_the_nodes_of_two_advertisements(self, sets, family):
        self.pool(family)
        for number, nodes in enumerate(NODE_SETS[sets]):
            self.advertise(f"ad-{number}", nodeSelectors=on(*nodes))
        self.wait_served(self.service(family), {node for nodes in NODE_SETS[sets] for node in nodes})

    @case(33, *SINGLE)
    def a_selector_that_matches_nobody_waits_for_a_label(self, family):
        pool, other = self.pool(family), self.pool(family)
        self.advertise("racked", ipAddressPools=[pool], nodeSelectors=[{"matchLabels": {"rack": "one"}}])
        self.advertise("all", ipAddressPools=[other])
        service, later = self.service(family, pool=pool), self.service(family, pool=other)
        self.wait_served(later)
        self.assert_absent(service)
        self.api.label("Node", "n3", {"rack": "one"})
        self.wait_served(service, {"n3"})

    @case(34, *SINGLE)
    def a_selector_that_is_edited_away_withdraws_its_own_service(self, family):
        pools = [self.pool(family), self.pool(family)]
        for number, pool in enumerate(pools):
            self.advertise(f"ad-{number}", ipAddressPools=[pool], nodeSelectors=on("n1", "n2"))
        first, second = [self.service(family, pool=pool) for pool in pools]
        for service in (first, second):
            self.wait_served(service, {"n1", "n2"})
        self.advertise("ad-0", ipAddressPools=[pools[0]], nodeSelectors=on())
        self.wait_served(first, ())
        self.wait_served(second, {"n1", "n2"})


class ServiceSelectors(RoutesCase):
    @case(37, *SINGLE)
    def pool_and_service_selector_must_both_match(self, family):
        chosen, other = self.pool(family), self.pool(family)
        self.advertise("both", ipAddressPools=[chosen], serviceSelectors=[STAGE])
        without = self.service(family, pool=chosen)
        elsewhere = self.service(family, pool=other, labels={"stage": "test"})
        both = self.service(family, pool=chosen, labels={"stage": "test"})
        self.wait_served(both)
        self.assert_absent(without)
        self.assert_absent(elsewhere)

    @case(38, *SINGLE)
    def one_of_several_selectors_is_enough(self, family):
        self.pool(family)
        self.advertise(serviceSelectors=[STAGE, {"matchLabels": {"team": "red"}}])
        neither = self.service(family, labels={"team": "blue"})
        chosen = [self.service(family, labels=labels) for labels in ({"stage": "test"}, {"team": "red"})]
        for service in chosen:
            self.wait_served(service)
        self.assert_absent(neither)

    @case(39, *SINGLE)
    def edited_selectors_move_the_announcement(self, family):
        self.pool(family)
        self.advertise(serviceSelectors=[STAGE])
        live, test = self.service(family, labels={"stage": "live"}), self.service(family, labels={"stage": "test"})
        self.wait_served(test)
        self.assert_absent(live)
        self.advertise(serviceSelectors=[{"matchLabels": {"stage": "live"}}])
        self.wait_served(live)
        self.wait_served(test, ())

    @case(40, *SINGLE)
    def edited_labels_move_the_announcement(self, family):
        self.pool(family)
        self.advertise(serviceSelectors=[STAGE])
        second, first = self.service(family, labels={"stage": "live"}), self.service(family, labels={"stage": "test"})
        self.wait_served(first)
        self.assert_absent(second)
        self.api.label("Service", first.name, {"stage": "live"})
        self.api.label("Service", second.name, {"stage": "test"})
        self.wait_served(second)
        self.wait_served(first, ())

    @case(41, *SINGLE)
    def a_host_route_for_some_beside_an_aggregate_for_all(self, family):
        pool = self.pool(family)
        aggregate = self.prefixes[pool][0].replace("/64", "/124")
        self.advertise("host", serviceSelectors=[STAGE])
        other = self.service(family)
        chosen = self.service(family, labels={"stage": "test"})
        self.wait_served(chosen)
        self.assert_absent(other)
        self.advertise("aggregate", **({"aggregationLength": 24} if family == IPV4 else {"aggregationLengthV6": 124}))
        for router in EVERYWHERE:
            self.wait_route(router, aggregate)
            self.wait_reached(router, other)
        self.wait_served(chosen)
        self.assert_absent(other)

    @case(42, *SINGLE)
    def the_selected_service_has_all_communities(self, family):
        self.pool(family)
        self.advertise("test", serviceSelectors=[STAGE], communities=[ONE])
        self.advertise("shared", serviceSelectors=[SHARED], communities=[TWO])
        self.wait_communities(self.service(family, labels={"stage": "test"}), ONE, TWO)
        self.wait_communities(self.service(family, labels={"stage": "live"}), TWO)

    @case(43, *SINGLE)
    def each_service_has_its_own_communities(self, family):
        self.pool(family)
        self.advertise("test", serviceSelectors=[STAGE], communities=[ONE])
        self.advertise("live", serviceSelectors=[{"matchLabels": {"stage": "live"}}], communities=[TWO])
        self.wait_communities(self.service(family, labels={"stage": "test"}), ONE)
        self.wait_communities(self.service(family, labels={"stage": "live"}), TWO)

    def wait_communities(self, service, *communities):
        for router in EVERYWHERE:
            for address in service.addresses:
                self.wait_route(router, host(address), communities=frozenset(communities))
        self.wait_served(service)


if __name__ == "__main__":
    unittest.main()
