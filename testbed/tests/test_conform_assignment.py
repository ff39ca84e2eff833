"""Conformance 86 to 104: who gets which address, from which pool, and when it changes."""

import unittest

from kube import workload
from kube.stand import SYSTEM, config
from labkit.wait import Seen, until

from conform import Declaring, case
from stand import stand

ANNOTATIONS = {name: f"metallb.io/{name}" for name in ("address-pool", "allow-shared-ip", "ip-allocated-from-pool", "loadBalancerIPs")}
FIRST, SECOND = "first", "second"
V4, V6 = "198.18.10.100/32", "fd00:18:1::/124"
# A deadline for a busy machine.
SECONDS = 60.0
OTHER_V4, OTHER_V6 = "198.18.11.100/32", "fd00:18:2::/124"
api = None


def setUpModule():
    global api
    stand().reset()
    api = stand().api
    for name in (FIRST, SECOND):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {name: "true"}}})


def pool(name, *addresses, **spec):
    """Given to the API server."""
    api.apply(config("IPAddressPool", name, {"addresses": list(addresses), **spec}))


def allocation(**fields):
    return {"serviceAllocation": fields}


def make(name, within=FIRST, labels=None, annotations=None, **spec):
    """A load balancer: IPv4 alone, unless `spec` says otherwise."""
    body = workload.service(name, namespace=within, annotations=annotations, **{"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], **spec})
    body["metadata"]["labels"] = labels or {}
    api.apply(body)


def prefer(name, *families):
    make(name, ipFamilyPolicy="PreferDualStack", ipFamilies=list(families or ("IPv4", "IPv6")))


def held(name, within=FIRST):
    """Its addresses, in order."""
    ingress = api.get("Service", name, within)["status"]["loadBalancer"].get("ingress", [])
    return [entry["ip"] for entry in ingress]


def wait(name, *addresses, within=FIRST):
    """Until it has these addresses and no others."""
    until(f"{name} has {list(addresses)}", lambda: Seen(held(name, within) == list(addresses), held(name, within)), SECONDS)


def wait_refused(name, within=FIRST):
    """Until it was told that there is no address for it."""
    def probe():
        found = [e["reason"] for e in api.list("Event", within) if e["involvedObject"]["name"] == name]
        return Seen("AllocationFailed" in found, found)

    until(f"{name} is told", probe, SECONDS)
    wait(name, within=within)


def edit(name, **spec):
    api.patch("Service", name, {"spec": spec}, FIRST)


class Assignment(Declaring):
    """Each begins without pools and services: nobody announces them, so nothing else is left of the one before."""

    def setUp(self):
        self.addCleanup(self.clear)

    def clear(self):
        for within in (FIRST, SECOND):
            api.clear("Service", within)
            api.clear("Event", within)
        api.clear("IPAddressPool", SYSTEM)


class Frees(Assignment):
    @case(86, "changed type", "deleted")
    def an_address_goes_to_one_that_waits(self, how):
        pool("single", V4)
        make("holder")
        wait("holder", "198.18.10.100")
        make("waiter")
        wait_refused("waiter")
        if how == "deleted":
            api.delete("Service", "holder", FIRST)
        else:
            edit("holder", type="ClusterIP")
        wait("waiter", "198.18.10.100")
        if how == "changed type":
            wait("holder")

    @case(87)
    def addresses_outlive_restarts_of_the_controller(self):
        pool("two", "198.18.10.100/32", "198.18.20.200/32")
        for name in ("a", "b"):
            make(name)
        until("both have one", lambda: held("a") and held("b"), SECONDS)
        for name in ("c", "d"):
            make(name)
            wait_refused(name)
        services = lambda: {s["metadata"]["name"]: (s["metadata"]["resourceVersion"], s["status"]) for s in api.list("Service", FIRST)}
        before = services()
        for restart in range(2):
            for pod in api.list("Pod", SYSTEM, "component=controller"):
                api.delete("Pod", pod["metadata"]["name"], SYSTEM)
            # It has decided about all, once it has decided about a new one.
            make(f"later{restart}")
            wait_refused(f"later{restart}")
            after = services()
            self.assertEqual({name: after[name] for name in before}, before)


class Shares(Assignment):
    def shared(self, policy, *selectors):
        """Two services that share the only address."""
        pool("single", V4)
        for number, (name, app) in enumerate(zip("ab", selectors)):
            port = {"port": 80 + number, "targetPort": 8080, "protocol": "TCP"}
            make(name, annotations={ANNOTATIONS["allow-shared-ip"]: "key"}, externalTrafficPolicy=policy, selector={"app": app}, ports=[port])
            wait(name, "198.18.10.100")

    @case(88)
    def who_may_not_share_any_more_for_its_traffic_policy_loses_the_address(self):
        self.shared("Cluster", "one", "two")
        edit("b", externalTrafficPolicy="Local")
        wait("b")
        wait("a", "198.18.10.100")
        edit("b", externalTrafficPolicy="Cluster")
        wait("b", "198.18.10.100")

    @case(88)
    def who_may_not_share_any_more_for_its_selector_loses_the_address(self):
        self.shared("Local", "one", "one")
        edit("b", selector={"app": "two"})
        wait("b")
        wait("a", "198.18.10.100")
        edit("b", selector={"app": "one"})
        wait("b", "198.18.10.100")


class Pools(Assignment):
    def served(self):
        pool("one", "198.18.5.0/32", **allocation(priority=20, namespaces=[FIRST]))
        pool("two", "198.18.10.0/32")
        make("web")
        wait("web", "198.18.5.0")

    @case(89)
    def without_pools_nobody_has_an_address(self):
        self.served()
        api.clear("IPAddressPool", SYSTEM)
        wait("web")

    @case(90)
    def when_its_pool_goes_a_service_gets_an_address_of_another(self):
        self.served()
        api.delete("IPAddressPool", "one", SYSTEM)
        wait("web", "198.18.10.0")
        self.assertEqual(api.get("Service", "web", FIRST)["metadata"]["annotations"][ANNOTATIONS["ip-allocated-from-pool"]], "two")

    @case(104, "dual")
    def a_pool_counts_what_is_given_and_what_is_left(self, _family):
        def counts(*expected):
            names = ("assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6")

            def probe():
                status = api.get("IPAddressPool", "dual", SYSTEM).get("status", {})
                return Seen(tuple(status.get(name) for name in names) == expected, status)

            until(f"counters {expected}", probe, SECONDS)

        pool("dual", "198.18.10.0/29", "fd00:18:1::/125")
        counts(0, 0, 8, 8)
        prefer("both")
        counts(1, 1, 7, 7)
        make("one")
        counts(2, 1, 6, 7)
        for name in ("both", "one"):
            api.delete("Service", name, FIRST)
        counts(0, 0, 8, 8)


class AllocatesTo(Assignment):
    """Which pool a service gets its address from, by what the pools say whom they are for."""

    def in_turn(self, *names, **options):
        """Three services, one after the other: by priority, and what has none comes last."""
        for name, address in zip(names or ("a", "b", "c"), ("198.18.10.0", "198.18.5.0", "198.18.20.0")):
            make(name, **options)
            wait(name, address)

    @case(91)
    def a_namespace(self):
        pool("low", "198.18.5.0/32", **allocation(priority=20, namespaces=[FIRST]))
        pool("high", "198.18.10.0/32", **allocation(priority=10, namespaces=[FIRST]))
        pool("none", "198.18.20.0/32", **allocation(namespaces=[FIRST]))
        # Nobody's but theirs.
        make("stranger", SECOND)
        wait_refused("stranger", SECOND)
        self.in_turn()

    @case(92)
    def a_priority_alone(self):
        pool("low", "198.18.5.0/32", **allocation(priority=20))
        pool("high", "198.18.10.0/32", **allocation(priority=10))
        pool("none", "198.18.20.0/32")
        self.in_turn()

    @case(93)
    def a_namespace_and_labels_of_namespaces(self):
        api.label("Namespace", FIRST, {"foo1": "bar1", "foo2": "bar2"})
        self.addCleanup(api.label, "Namespace", FIRST, {"foo1": None, "foo2": None})
        pool("low", "198.18.5.0/32", **allocation(priority=20, namespaces=[FIRST]))
        pool("high", "198.18.10.0/32", **allocation(priority=10, namespaceSelectors=[{"matchLabels": {"foo1": "bar1", "foo2": "bar2"}}]))
        pool("none", "198.18.20.0/32", **allocation(namespaces=[FIRST]))
        self.in_turn()

    @case(94)
    def labels_of_services(self):
        selectors = [{"matchLabels": {"test": "e2e"}}]
        pool("low", "198.18.5.0/32", **allocation(priority=20, serviceSelectors=selectors))
        pool("high", "198.18.10.0/32", **allocation(priority=10, serviceSelectors=selectors))
        pool("none", "198.18.20.0/32", **allocation(namespaces=[FIRST]))
        make("stranger", SECOND)
        wait_refused("stranger", SECOND)
        self.in_turn(labels={"test": "e2e"})

    @case(95)
    def a_namespace_and_labels_of_services(self):
        pool("low", "198.18.5.0/32", **allocation(priority=20, namespaces=[FIRST]))
        pool("high", "198.18.10.0/32", **allocation(priority=10, serviceSelectors=[{"matchLabels": {"test": "e2e"}}]))
        pool("none", "198.18.20.0/32", **allocation(namespaces=[FIRST]))
        self.in_turn(labels={"test": "e2e"})

    @case(96)
    def labels_of_a_namespace_that_change(self):
        by_label = lambda priority, **labels: allocation(priority=priority, namespaceSelectors=[{"matchLabels": labels}])
        pool("first", "198.18.20.0/32", **by_label(10, first="true"))
        pool("second", "198.18.30.0/32", **by_label(10, second="true"))
        pool("common", "198.18.40.0/32")
        pool("high", "198.18.50.0/32", **by_label(5, second="true", new="true"))
        for name, within, address in (("s", SECOND, "198.18.30.0"), ("f1", FIRST, "198.18.20.0"), ("f2", FIRST, "198.18.40.0")):
            make(name, within)
            wait(name, address, within=within)
        api.label("Namespace", SECOND, {"new": "true"})
        self.addCleanup(api.label, "Namespace", SECOND, {"new": None})
        make("s2", SECOND)
        wait("s2", "198.18.50.0", within=SECOND)
        wait("s", "198.18.30.0", within=SECOND)


class PrefersBoth(Assignment):
    @case(97)
    def a_pool_with_both_families_is_chosen(self):
        pool("a4", V4)
        pool("b6", V6)
        pool("c-both", OTHER_V4, OTHER_V6)
        prefer("web")
        wait("web", "198.18.11.100", "fd00:18:2::")

    @case(98)
    def among_pools_of_one_family_ipv4_is_chosen(self):
        pool("a6", V6)
        pool("b4", V4)
        prefer("web")
        wait("web", "198.18.10.100")

    @case(99)
    def among_pools_of_one_family_the_first_family_of_the_service_is_chosen(self):
        pool("a4", V4)
        pool("b6", V6)
        prefer("web", "IPv6", "IPv4")
        wait("web", "fd00:18:1::")

    @case(100)
    def a_second_address_comes_when_the_pool_gets_the_other_family(self):
        pool("pool", V4, **allocation(namespaces=[FIRST]))
        prefer("web")
        wait("web", "198.18.10.100")
        pool("pool", "198.18.10.0/24", V6, **allocation(namespaces=[FIRST]))
        wait("web", "198.18.10.100", "fd00:18:1::")

    @case(101)
    def the_policy_changes_from_preferring_to_requiring_and_back(self):
        pool("pool", V4, **allocation(namespaces=[FIRST]))
        prefer("web")
        wait("web", "198.18.10.100")
        edit("web", ipFamilyPolicy="RequireDualStack")
        wait("web")
        edit("web", ipFamilyPolicy="PreferDualStack")
        wait("web", "198.18.10.100")

    @case(102)
    def a_new_pool_with_both_families_moves_nobody(self):
        pool("a4", V4)
        prefer("web")
        wait("web", "198.18.10.100")
        before = api.get("Service", "web", FIRST)["metadata"]["resourceVersion"]
        pool("b-both", OTHER_V4, OTHER_V6)
        # Known by now: another one gets addresses of it.
        prefer("later")
        wait("later", "198.18.11.100", "fd00:18:2::")
        self.assertEqual(held("web"), ["198.18.10.100"])
        self.assertEqual(api.get("Service", "web", FIRST)["metadata"]["resourceVersion"], before)

    @case(103)
    def when_its_pool_loses_a_family_another_pool_with_both_is_chosen(self):
        pool("pool", V4, V6, **allocation(namespaces=[FIRST]))
        prefer("web")
        wait("web", "198.18.10.100", "fd00:18:1::")
        pool("other", OTHER_V4, OTHER_V6)
        pool("pool", V6, **allocation(namespaces=[FIRST]))
        wait("web", "198.18.11.100", "fd00:18:2::")


if __name__ == "__main__":
    unittest.main()
