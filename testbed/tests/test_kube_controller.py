"""`ferrolb controller` against a real API server: addresses, events, counters, restarts, and who writes when there are two."""

import json
import re
import subprocess
import time
import unittest

from kube import cluster as kube_cluster
from kube import scrape, workload
from kube.cluster import Cluster
from kube.network import CONTROL_PLANE
from labkit import build
from labkit.wait import Seen, until

NAMESPACE = "metallb-system"
POOL_ANNOTATION = "metallb.io/ip-allocated-from-pool"
MANY = 1000
cluster = None
ferrolb = None


def setUpModule():
    global cluster, ferrolb
    kube_cluster.prepare()
    ferrolb = str(build.binary())
    cluster = Cluster.up()
    unittest.addModuleCleanup(cluster.down)
    crds = subprocess.run([ferrolb, "crds"], check=True, capture_output=True, text=True).stdout
    cluster.kubectl("apply", "--server-side", "-f", "-", data=crds)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


def pool(name, *addresses, **spec):
    return {
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"addresses": list(addresses), **spec},
    }


def service(name, annotations=None, **spec):
    return workload.service(name, annotations=annotations, **{"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], **spec})


def addresses(name):
    """What a Service shows: its addresses, in order."""
    ingress = cluster.get("service", name)["status"]["loadBalancer"].get("ingress", [])
    return [entry["ip"] for entry in ingress]


def wait_addresses(name, count=1, seconds=20.0):
    def probe():
        found = addresses(name)
        return Seen(len(found) == count, found)

    return until(f"{count} addresses of {name}", probe, seconds).value


def events(name):
    """The reasons of the controller's events about a Service, in the order in which they were made; Kubernetes tells some of its own."""
    of_service = [event for event in cluster.get("events") if event["involvedObject"]["name"] == name]
    found = [event for event in of_service if event["source"].get("component") == "metallb-controller"]
    return [event["reason"] for event in sorted(found, key=lambda e: int(e["metadata"]["resourceVersion"]))]


def versions(kind="services", namespace="default"):
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in cluster.get(kind, namespace=namespace)}


# What docs/kubernetes.md says that it needs: cluster-wide, and in its own namespace.
CLUSTER_RULES = [
    ("", ["services", "namespaces"], ["list", "watch"]), ("", ["services/status"], ["patch"]), ("", ["events"], ["create"]),
    ("authentication.k8s.io", ["tokenreviews"], ["create"]), ("authorization.k8s.io", ["subjectaccessreviews"], ["create"]),
]
OWN_RULES = [
    ("metallb.io", ["ipaddresspools", "communities"], ["list", "watch"]),
    ("metallb.io", ["ipaddresspools/status", "configurationstates/status"], ["patch"]),
    ("metallb.io", ["configurationstates"], ["list", "watch", "create"]),
    ("coordination.k8s.io", ["leases"], ["list", "watch", "create", "patch"]),
    ("", ["pods"], ["get"]), ("apps", ["replicasets"], ["list", "watch"]),
]


def grant(own=OWN_RULES):
    """A kubeconfig of an account that may do what a controller needs, and nothing else."""
    meta = {"name": "probe", "namespace": NAMESPACE}
    subject = [{"kind": "ServiceAccount", **meta}]

    def rules(triples):
        return [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources, verbs in triples]

    def reference(kind):
        return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "probe"}

    api = "rbac.authorization.k8s.io/v1"
    cluster.apply([
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": "probe"}, "rules": rules(CLUSTER_RULES)},
        {"apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": "probe"}, "roleRef": reference("ClusterRole"), "subjects": subject},
        {"apiVersion": api, "kind": "Role", "metadata": meta, "rules": rules(own)},
        {"apiVersion": api, "kind": "RoleBinding", "metadata": meta, "roleRef": reference("Role"), "subjects": subject},
    ])
    token = cluster.kubectl("create", "token", "probe", "--namespace", NAMESPACE).strip()
    document = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    document["users"][0]["user"] = {"token": token}
    path = cluster.lab.folder / "probe.conf"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


class Controller:
    """A running controller, outside a pod; with an administrator's rights, unless a kubeconfig is given."""

    number = 0

    def __init__(self, *flags, kubeconfig=None):
        Controller.number += 1
        self.ports = (20000 + Controller.number, 21000 + Controller.number)
        self.log = cluster.lab.folder / f"controller-{Controller.number}.log"
        argv = [
            "env", f"KUBECONFIG={kubeconfig or cluster.kubeconfig}", ferrolb, "controller", f"-namespace={NAMESPACE}",
            f"-port={self.ports[0]}", "--health-probe-port", str(self.ports[1]), *flags,
        ]
        # In the network of the control plane, and else on the host: so that a signal to the process reaches it.
        command = cluster.lab.beside(CONTROL_PLANE, argv)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """As Kubernetes stops it."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def ready(self):
        return self.page("readyz")[0] == "200"

    def page(self, name):
        """Status and text of a health check."""
        return scrape.get(cluster, CONTROL_PLANE, f"http://127.0.0.1:{self.ports[1]}/{name}")

    def said(self, event):
        """The lines of its log with this event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def wait_leading(self, seconds=30.0):
        until("a leader", lambda: self.said("leading"), seconds)
        return self


class Case(unittest.TestCase):
    def setUp(self):
        self.addCleanup(self.clear)

    def clear(self):
        # One request, however many there are.
        cluster.kubectl("delete", "--raw", "/api/v1/namespaces/default/services?fieldSelector=metadata.name%21%3Dkubernetes", seconds=200)
        cluster.kubectl("delete", "--raw", "/api/v1/namespaces/default/events", seconds=200)
        cluster.kubectl("delete", "ipaddresspools", "--all", "--namespace", NAMESPACE)

    def controller(self, *flags, **options):
        running = Controller(*flags, **options)
        self.addCleanup(running.stop)
        return running


class Allocates(Case):
    def test_a_service_gets_an_address_its_annotation_and_one_event(self):
        cluster.apply([pool("pool", "192.168.1.240-192.168.1.250")])
        self.controller().wait_leading()
        cluster.apply(service("web"))
        self.assertEqual(wait_addresses("web"), ["192.168.1.240"])
        web = cluster.get("service", "web")
        self.assertEqual(web["metadata"]["annotations"][POOL_ANNOTATION], "pool")
        until("an event", lambda: events("web"))
        self.assertEqual(events("web"), ["IPAllocated"])

    def test_a_dual_stack_service_gets_both_families(self):
        cluster.apply([pool("pool", "192.168.1.240/28", "fd00:1::240/124")])
        self.controller().wait_leading()
        cluster.apply(workload.service("web"))
        self.assertEqual(wait_addresses("web", 2), ["192.168.1.240", "fd00:1::240"])

    def test_who_waits_gets_what_is_freed_at_once(self):
        cluster.apply([pool("pool", "192.168.1.240/32")])
        self.controller().wait_leading()
        cluster.apply(service("first"))
        wait_addresses("first")
        cluster.apply(service("second"))
        until("told", lambda: "AllocationFailed" in events("second"))
        begun = time.monotonic()
        cluster.kubectl("delete", "service", "first", "--wait=false")
        self.assertEqual(wait_addresses("second"), ["192.168.1.240"])
        print(f"       freed and given again after {time.monotonic() - begun:.2f} s, two kubectl included", flush=True)
        until("events", lambda: len(events("second")) >= 2)
        self.assertEqual(events("second"), ["AllocationFailed", "IPAllocated"])

    def test_a_former_load_balancer_shows_nothing_more(self):
        cluster.apply([pool("pool", "192.168.1.240/28")])
        self.controller().wait_leading()
        cluster.apply(service("web"))
        wait_addresses("web")
        cluster.kubectl("patch", "service", "web", "--type=merge", "--patch", '{"spec":{"type":"ClusterIP"}}')

        def probe():
            web = cluster.get("service", "web")
            shown = (web["status"]["loadBalancer"], web["metadata"].get("annotations", {}).get(POOL_ANNOTATION))
            return Seen(shown == ({}, None), shown)

        until("nothing is shown", probe)

    def test_classes_are_kept_apart(self):
        cluster.apply([pool("pool", "192.168.1.240/28")])
        self.controller("--lb-class", "example.com/lb").wait_leading()
        cluster.apply([service("other"), service("ours", loadBalancerClass="example.com/lb")])
        wait_addresses("ours")
        self.assertEqual(addresses("other"), [])

    def test_pools_are_counted_and_the_configuration_is_judged(self):
        cluster.apply([pool("pool", "192.168.1.240/28"), pool("bad", "192.168.1.1")])
        self.controller().wait_leading()
        cluster.apply([service("one"), service("two")])
        wait_addresses("two")

        def counted():
            status = cluster.get("ipaddresspool", "pool", NAMESPACE).get("status")
            return Seen(status == {"assignedIPv4": 2, "assignedIPv6": 0, "availableIPv4": 14, "availableIPv6": 0}, status)

        until("two are assigned", counted)

        def judged():
            status = cluster.get("configurationstate", "controller", NAMESPACE).get("status", {})
            return Seen(status.get("result") == "Invalid" and "bad" in status.get("errorSummary", ""), status)

        until("an invalid configuration", judged)
        cluster.kubectl("delete", "ipaddresspool", "bad", "--namespace", NAMESPACE)
        until("a valid one", lambda: cluster.get("configurationstate", "controller", NAMESPACE)["status"]["result"] == "Valid")


class Stays(Case):
    def test_a_restart_writes_nothing(self):
        cluster.apply([pool("pool", "192.168.1.240/30")])
        first = self.controller().wait_leading()
        cluster.apply([service(f"s{i}") for i in range(6)])
        until("four have one", lambda: sum(len(addresses(f"s{i}")) for i in range(6)) == 4)
        until("two are told", lambda: sum("AllocationFailed" in events(f"s{i}") for i in range(6)) == 2)
        until("counted", lambda: cluster.get("ipaddresspool", "pool", NAMESPACE).get("status", {}).get("assignedIPv4") == 4)
        before = (versions(), versions("events"), versions("ipaddresspools", NAMESPACE), versions("configurationstates", NAMESPACE))
        first.stop()
        second = self.controller().wait_leading()
        # What it would write it writes at once; the counters after a second at most.
        cluster.apply(service("marker", annotations={"metallb.io/address-pool": "none"}))
        until("the marker is told", lambda: events("marker"))
        time.sleep(1.5)
        cluster.kubectl("delete", "service", "marker")
        after = (versions(), versions("events"), versions("ipaddresspools", NAMESPACE), versions("configurationstates", NAMESPACE))
        after[1].update({name: version for name, version in before[1].items() if name not in after[1]})
        for kind, old, new in zip(("services", "events", "pools", "states"), before, after):
            with self.subTest(kind):
                self.assertEqual({name: version for name, version in new.items() if not name.startswith("marker")}, old)
        self.assertEqual(second.said("writeFailed"), [])

    def test_an_api_server_that_was_away_changes_nothing(self):
        cluster.apply([pool("pool", "192.168.1.240/28")])
        controller = self.controller().wait_leading()
        cluster.apply([service(f"s{i}") for i in range(5)])
        until("all have one", lambda: all(addresses(f"s{i}") for i in range(5)))
        before = versions()
        cluster.kill_program(CONTROL_PLANE, "kube-apiserver")
        until("it is missed", lambda: controller.said("watchInterrupted"))
        self.assertTrue(controller.ready(), "what was known stands")
        time.sleep(12)
        cluster.start_program(CONTROL_PLANE, "kube-apiserver")
        cluster.wait_api()
        cluster.apply(service("later"))
        wait_addresses("later", seconds=40)
        after = versions()
        self.assertEqual({name: version for name, version in after.items() if name in before}, before)

    def test_a_status_that_another_rewrites_is_answered_a_few_times(self):
        cluster.apply([pool("pool", "192.168.1.240/28")])
        self.controller().wait_leading()
        cluster.apply(service("web"))
        wait_addresses("web")
        answers = 0
        for _ in range(8):
            patch = '{"status":{"loadBalancer":{"ingress":[{"hostname":"mine.example"}]}}}'
            cluster.kubectl("patch", "service", "web", "--subresource=status", "--type=merge", "--patch", patch)
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline and not addresses_or_none("web"):
                time.sleep(0.05)
            answers += bool(addresses_or_none("web"))
        self.assertEqual(answers, 3)
        self.assertEqual(events("web").count("StatusOverwritten"), 1)


def addresses_or_none(name):
    ingress = cluster.get("service", name)["status"]["loadBalancer"].get("ingress", [])
    return [entry["ip"] for entry in ingress if "ip" in entry]


class Rights(Case):
    def test_what_is_documented_is_enough(self):
        cluster.apply([pool("pool", "192.168.1.240/28")])
        controller = self.controller(kubeconfig=grant()).wait_leading()
        cluster.apply(service("web"))
        wait_addresses("web")
        until("an event", lambda: events("web"))
        until("counted", lambda: cluster.get("ipaddresspool", "pool", NAMESPACE).get("status", {}).get("assignedIPv4") == 1)
        until("judged", lambda: cluster.get("configurationstate", "controller", NAMESPACE).get("status", {}).get("result") == "Valid")
        self.assertEqual(controller.said("writeFailed") + controller.said("leaseNotWritten"), [])

    def test_what_is_forbidden_is_named_and_nothing_is_decided(self):
        cluster.apply([pool("pool", "192.168.1.240/28"), service("web")])
        without = [rule for rule in OWN_RULES if "communities" not in rule[1]] + [("metallb.io", ["ipaddresspools"], ["list", "watch"])]
        controller = self.controller(kubeconfig=grant(without))
        until("it is named", lambda: controller.said("watchForbidden"))
        status, text = controller.page("readyz")
        self.assertEqual(status, "503")
        self.assertRegex(text, "failed communities: .*forbidden.*allow the service account to get, list and watch communities.metallb.io")
        self.assertEqual(addresses("web"), [])
        grant()
        wait_addresses("web", seconds=40)
        until("ready", controller.ready)


class Together(Case):
    def test_of_two_one_writes_and_a_graceful_stop_hands_over_within_a_second(self):
        cluster.apply([pool("pool", "198.18.0.0/16")])
        first = self.controller().wait_leading()
        second = self.controller()
        until("it follows", lambda: second.ready())
        cluster.apply([service(f"s{i}") for i in range(20)])
        until("all have one", lambda: all(addresses(f"s{i}") for i in range(20)))
        self.assertEqual(second.said("leading"), [])
        self.assertEqual(second.said("serviceEvent"), [])
        before = versions()
        first.stop()
        second.wait_leading(5)
        released, leading = first.said("shutdown")[0]["ts"], second.said("leading")[0]["ts"]
        took = seconds(leading) - seconds(released)
        print(f"       handed over after {took:.3f} s", flush=True)
        self.assertLess(took, 1.0)
        cluster.apply(service("later"))
        wait_addresses("later")
        self.assertEqual({name: version for name, version in versions().items() if name in before}, before)
        given = [address for i in range(20) for address in addresses(f"s{i}")] + addresses("later")
        self.assertEqual(len(set(given)), 21)

    def test_a_leader_that_vanished_is_followed(self):
        cluster.apply([pool("pool", "192.168.1.240/28")])
        first = self.controller().wait_leading()
        second = self.controller()
        until("it follows", lambda: second.ready())
        first.kill()
        second.wait_leading(25)
        cluster.apply(service("web"))
        wait_addresses("web")


class Scales(Case):
    def test_a_thousand_services_at_once(self):
        cluster.apply([pool("pool", "198.18.0.0/16")])
        controller = self.controller().wait_leading()
        begun = time.monotonic()
        many = {"apiVersion": "v1", "kind": "List", "items": [service(f"s{i}") for i in range(MANY)]}
        cluster.kubectl("create", "-f", "-", data=json.dumps(many), seconds=200)
        created = time.monotonic() - begun

        def all_given():
            items = cluster.get("services")
            given = [entry["ip"] for item in items for entry in item["status"].get("loadBalancer", {}).get("ingress", [])]
            return Seen(len(given) == MANY, len(given)) if len(set(given)) == len(given) else Seen(False, "an address twice")

        until("all have one", all_given, 120, 0.2)
        given = time.monotonic() - begun
        status, page = scrape.scrape(cluster, CONTROL_PLANE, bearer=scrape.token(cluster, "scraper", may=True), port=controller.ports[0])
        self.assertEqual(status, "200", page)
        count = int(re.search(r"^ferrolb_allocation_seconds_count (\d+)", page, re.M).group(1))
        total = float(re.search(r"^ferrolb_allocation_seconds_sum (\S+)", page, re.M).group(1))
        self.assertEqual(count, MANY)
        print(f"       {MANY} created by kubectl in {created:.1f} s, all given {given - created:.1f} s later; "
              f"seen to written {1000 * total / count:.1f} ms on average", flush=True)
        self.assertEqual(page.split("metallb_allocator_addresses_in_use_total{pool=\"pool\"} ")[1].split("\n")[0], str(MANY))


def seconds(timestamp):
    """Of a time within a day."""
    hours, minutes, rest = timestamp.rstrip("Z").split("T")[1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


if __name__ == "__main__":
    unittest.main()
