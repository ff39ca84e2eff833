"""The Kubernetes lab, live: what there is in it, that it can be broken and mended, and that nothing is left of it."""

import os
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from kube import cluster as kube_cluster
from kube import load, workload
from kube.cluster import Cluster
from kube.network import CLIENT, LAN, NODES
from labkit.runner import LAB, Lab, LabError
from labkit.wait import until

import kube_traces

VIPS = ("192.168.1.240", "fd00:1::240")
LOCAL_VIPS = ("192.168.1.242", "fd00:1::242")
OWNER = """
import sys, time
from kube.cluster import Cluster
Cluster.up(sys.argv[1])
print("up", flush=True)
time.sleep(300)
"""
cluster = None


def setUpModule():
    global cluster
    kube_cluster.prepare()
    before = kube_traces.machine()
    begun = time.monotonic()
    cluster = Cluster.up()
    print(f"       up after {time.monotonic() - begun:.1f} s: three nodes ready", flush=True)
    unittest.addModuleCleanup(end, before)
    begun = time.monotonic()
    cluster.apply([
        workload.deployment("web"), workload.service("web"), workload.nginx(), workload.service("nginx", target=80),
        workload.deployment("alone", replicas=1, node="n2"), workload.service("alone", externalTrafficPolicy="Local"),
    ])
    for name in ("web", "nginx", "alone"):
        cluster.wait_rollout(f"deployment/{name}")
    print(f"       {time.monotonic() - begun:.1f} s more for five pods", flush=True)


def end(before):
    """An orderly end; an assertion that fails here counts as a failed test."""
    print(f"       memory in MiB: {kube_traces.memory(cluster.lab)}", flush=True)
    running = kube_traces.processes(cluster.lab)
    begun = time.monotonic()
    cluster.down()
    print(f"       down after {time.monotonic() - begun:.1f} s", flush=True)
    kube_traces.wait_gone(cluster.lab, running)
    after = kube_traces.machine()
    if after != before:
        raise AssertionError(f"the machine isn't as before: {before} became {after}")


class Stands(unittest.TestCase):
    def test_three_nodes_are_ready_with_an_address_of_each_family(self):
        cluster.wait_nodes()
        found = {node["metadata"]["name"]: tuple(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
                 for node in cluster.get("nodes")}
        self.assertEqual(found, NODES)

    def test_pods_run_on_every_node_and_have_both_families(self):
        pods = [pod for pod in cluster.get("pods") if pod["metadata"]["labels"]["app"] == "web"]
        self.assertEqual({pod["spec"]["nodeName"] for pod in pods}, set(NODES))
        self.assertTrue(all(len(pod["status"]["podIPs"]) == 2 for pod in pods), pods)

    def test_a_cluster_address_leads_to_all_pods_from_any_node(self):
        for address in cluster.get("service", "web")["spec"]["clusterIPs"]:
            for node in NODES:
                with self.subTest(address=address, node=node):
                    cluster.wait_answers(node, address, set(NODES))

    def test_a_load_balancer_stays_pending_where_nobody_is_one(self):
        for name in ("web", "nginx", "alone"):
            self.assertIn("<pending>", cluster.kubectl("get", "service", name))
            self.assertEqual(cluster.get("service", name)["status"]["loadBalancer"], {})

    def test_an_address_with_a_route_is_reached_from_outside_and_one_without_is_not(self):
        for address in VIPS:
            self.assertEqual(cluster.ask("client", address), "")
        balance("web", VIPS)
        self.addCleanup(balance, "web", ())
        for family, address in enumerate(VIPS):
            route(self, address, NODES["n1"][family])
            cluster.wait_answers("client", address, set(NODES))
            # By way of n1, so the client is one of n1's addresses.
            self.assertNotIn(f"client={CLIENT[family]}", cluster.ask("client", address))

    def test_a_local_service_sees_the_client_on_its_node_and_is_silent_elsewhere(self):
        balance("alone", LOCAL_VIPS)
        self.addCleanup(balance, "alone", ())
        for family, address in enumerate(LOCAL_VIPS):
            route(self, address, NODES["n2"][family])
            cluster.wait_answers("client", address, {"n2"})
            self.assertIn(f"node=n2 client={CLIENT[family]}", cluster.ask("client", address))
            route(self, address, NODES["n3"][family])
            self.assertEqual(cluster.ask("client", address), "")

    def test_on_the_wire_nobody_answers_for_an_address_by_itself(self):
        balance("web", VIPS)
        self.addCleanup(balance, "web", ())
        for address in VIPS:
            self.assertEqual(cluster.ask("lan", address), "")
            self.assertNotIn("lladdr", cluster.in_ns("lan", "ip", "neighbour", "show", address))

    def test_the_client_on_the_wire_reaches_a_node_directly(self):
        for family, address in enumerate(NODES["n3"]):
            self.assertIn("200", status("lan", f"http://{bracketed(address)}:10256/healthz"))
            way = cluster.in_ns("lan", "ip", "route", "get", address)
            self.assertIn(f"src {LAN[family]} ", way)
            self.assertNotIn(" via ", way)

    def test_a_loads_ports_are_nobody_elses(self):
        for node in ("client", "lan"):
            first, last = map(int, cluster.in_ns(node, "cat", "/proc/sys/net/ipv4/ip_local_port_range").split())
            self.assertTrue(load.LAST_PORT < first < last, f"{node}: {first} to {last}")

    def test_nginx_answers_200(self):
        address = cluster.get("service", "nginx")["spec"]["clusterIP"]
        until("nginx", lambda: "200 OK" in cluster.in_ns("n1", "curl", "-sSI", "-m", "2", f"http://{address}/", check=False))

    def test_a_dynamic_binary_becomes_an_image_that_runs(self):
        name = cluster.load_ferrolb("/usr/bin/curl")
        self.assertRegex(name, r"^localhost/ferrolb:\d+\.\d+")
        cluster.kubectl("run", "version", f"--image={name}", "--image-pull-policy=Never", "--restart=Never", "--", "--version")
        self.addCleanup(cluster.kubectl, "delete", "pod", "version", "--now")
        cluster.kubectl("wait", "pod/version", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        self.assertTrue(cluster.kubectl("logs", "version").startswith("curl "))

    def test_each_router_runs_and_reaches_the_nodes(self):
        asns = {"tor": 64513, "ibgp": 64512, "far-ebgp": 64514, "far-ibgp": 64512}
        for name, asn in asns.items():
            router = cluster.tor if name == "tor" else cluster.start_router(name)
            with self.subTest(router=name):
                self.assertIn(f"local AS number {asn} ", router.vtysh("show bgp ipv4 unicast summary"))
                for address in NODES["n1"]:
                    self.assertIn("200", status(name, f"http://{bracketed(address)}:10256/healthz"))

    def test_what_a_router_is_told_while_it_runs_shows_in_its_kernel(self):
        prefix = "192.168.7.0/24"
        cluster.tor.configure(f"ip route {prefix} {NODES['n1'][0]}", f"ip route {prefix} {NODES['n2'][0]}")
        self.addCleanup(cluster.tor.configure, f"no ip route {prefix} {NODES['n1'][0]}", f"no ip route {prefix} {NODES['n2'][0]}")
        hops = sorted(NODES[node][0] for node in ("n1", "n2"))
        until("two next hops", lambda: cluster.tor.next_hops(prefix) == hops, 10.0)

    def test_an_error_says_what_was_wrong(self):
        with self.assertRaisesRegex(LabError, "no cluster node 'n9'"):
            cluster.poweroff("n9")
        with self.assertRaisesRegex(LabError, "NotFound"):
            cluster.kubectl("get", "pod", "absent")
        with self.assertRaisesRegex(LabError, "is up already"):
            Cluster.up(cluster.lab.name)


class Breaks(unittest.TestCase):
    def test_a_power_cut_is_noticed_and_ends(self):
        begun = time.monotonic()
        cluster.poweroff(3)
        try:
            cluster.wait_nodes(["n3"], ready=False, seconds=60.0)
            print(f"       a lost node shows after {time.monotonic() - begun:.1f} s", flush=True)
            until("its endpoints unready", lambda: ready_nodes("web") == {"n1", "n2"}, 30.0)
            with self.assertRaisesRegex(LabError, "no node 'n3'"):
                cluster.in_ns("n3", "true")
        finally:
            begun = time.monotonic()
            cluster.start_node(3)
        print(f"       and is ready {time.monotonic() - begun:.1f} s after it was started again", flush=True)
        until("its endpoints ready", lambda: ready_nodes("web") == set(NODES), 90.0)
        cluster.wait_answers("n1", cluster.get("service", "web")["spec"]["clusterIP"], set(NODES))

    def test_the_api_server_can_be_away_for_a_while(self):
        address = cluster.get("service", "web")["spec"]["clusterIP"]
        cluster.kill_program("cp", "kube-apiserver")
        try:
            until("no API", lambda: cluster.kubectl("get", "--raw", "/readyz", check=False) == "", 10.0)
            cluster.wait_answers("n1", address, set(NODES))
        finally:
            cluster.start_program("cp", "kube-apiserver")
            cluster.wait_api()
        cluster.wait_nodes()


class Owned(unittest.TestCase):
    def test_a_cluster_ends_with_its_owner_even_one_that_is_killed_and_leaves_others_alone(self):
        name = f"kube-owned-{os.getpid()}"
        before = kube_traces.machine()
        argv = [sys.executable, "-c", OWNER, name]
        with subprocess.Popen(argv, cwd=LAB.parent, stdout=subprocess.PIPE, text=True) as owner:
            self.assertEqual(owner.stdout.readline(), "up\n")
            lab = Lab.load(name)
            running = kube_traces.processes(lab)
            there = kube_traces.left(lab, running)
            self.assertTrue(there["processes"] and there["cgroups"] and there["files"], there)
            owner.send_signal(signal.SIGKILL)
        kube_traces.wait_gone(lab, running)
        self.assertEqual(kube_traces.machine(), before)
        cluster.wait_nodes(seconds=10.0)

    def test_without_such_a_cluster_the_command_line_says_so(self):
        script = Path(LAB).with_name("kubelab.py")
        done = subprocess.run([sys.executable, str(script), "kubectl", "absent", "get", "nodes"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (1, "kubelab: no cluster absent is up\n"))
        subprocess.run([sys.executable, str(script), "down", "absent"], check=True)


def balance(name, addresses):
    """Does by hand what a load balancer's controller does."""
    ingress = ", ".join(f'{{"ip": "{address}"}}' for address in addresses)
    patch = f'{{"status": {{"loadBalancer": {{"ingress": [{ingress}]}}}}}}'
    cluster.kubectl("patch", "service", name, "--subresource=status", "--type=merge", "--patch", patch)


def route(test, address, hop):
    """Does by hand what BGP does."""
    cluster.in_ns("tor", "ip", "route", "replace", address, "via", hop)
    test.addCleanup(cluster.in_ns, "tor", "ip", "route", "del", address, check=False)


def status(node, url):
    """The status code that a URL gives, asked from a node."""
    return cluster.in_ns(node, "curl", "-gs", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", url, check=False)


def ready_nodes(name):
    """The nodes with a ready endpoint of a Service."""
    slices = [part for part in cluster.get("endpointslices") if part["metadata"]["labels"]["kubernetes.io/service-name"] == name]
    return {end["nodeName"] for part in slices for end in part["endpoints"] or [] if end["conditions"]["ready"]}


def bracketed(address):
    return f"[{address}]" if ":" in address else address


if __name__ == "__main__":
    unittest.main()
