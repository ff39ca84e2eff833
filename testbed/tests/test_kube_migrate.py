"""From MetalLB to FerroLB and back in a real cluster, by the steps of docs/migrate.md: with a manifest, and with Helm.

MetalLB is the real one, built from its own module, in native mode and on layer 2; its manifest and its chart are its module's. Its
operator can't run here, nor can frr-k8s: of those there are stand-ins, definitions that take anything and an object of each, which is
all that `ferrolb check` looks at.
"""

import json
import re
import subprocess
import time
import unittest

import yaml
from kube import build as kube_build
from kube import cluster as kube_cluster
from kube import images, scrape, workload
from kube.api import STRATEGIC, Api
from kube.cluster import Cluster
from kube.network import CONTROL_PLANE, NODES
from labkit import build
from labkit.build import ROOT
from labkit.wait import Seen, until
from manifests import SYSTEM, metallb
from test_chart import CHART, RELEASE
from wire import Wire, elected

SECONDS = 120.0
OUR_AS, ROUTER_AS = 64512, 64513
ROUTERS = {"tor": "192.168.1.1", "ibgp": "192.168.1.3"}
SINGLE = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}
# Native mode has no IPv6 over BGP, and refuses all where a pool that is advertised has any; layer 2 has both families.
CONFIGURATION = (
    metallb("IPAddressPool", "routed", {"addresses": ["192.168.9.0/24"]}),
    metallb("IPAddressPool", "wire", {"addresses": ["192.168.1.240-192.168.1.250", "fd00:1::240-fd00:1::250"], "autoAssign": False}),
    *(metallb("BGPPeer", name, {"myASN": OUR_AS, "peerASN": asn, "peerAddress": ROUTERS[name], "holdTime": "9s"}, "v1beta2")
      for name, asn in (("tor", ROUTER_AS), ("ibgp", OUR_AS))),
    metallb("BGPAdvertisement", "routed", {"ipAddressPools": ["routed"]}),
    metallb("L2Advertisement", "wire", {"ipAddressPools": ["wire"]}),
)
KEPT = ("IPAddressPool", "BGPPeer", "BGPAdvertisement", "L2Advertisement")
SHARED = {"metallb.io/allow-shared-ip": "one", "metallb.io/loadBalancerIPs": "192.168.9.77"}
NEAR = {"metallb.io/address-pool": "wire"}
SERVICES = (
    workload.service("routed", "web", **SINGLE),
    workload.service("local", "alone", externalTrafficPolicy="Local", **SINGLE),
    workload.service("shared", "web", annotations=SHARED, **SINGLE),
    workload.service("sharing", "web", port=8080, annotations=SHARED, **SINGLE),
    workload.service("near", "web", annotations=NEAR, ipFamilyPolicy="RequireDualStack"),
    workload.service("near4", "web", annotations=NEAR, **SINGLE),
)
PORTS = {one["metadata"]["name"]: one["spec"]["ports"][0]["port"] for one in SERVICES}
# Service over BGP -> the nodes that announce it; and those on layer 2.
ROUTED = {"routed": set(NODES), "local": {"n2"}, "shared": set(NODES), "sharing": set(NODES)}
WIRED = ("near", "near4")
FERROLB = ROOT / "deploy/ferrolb.yaml"
WEBHOOK, WITHOUT_WEBHOOK = ROOT / "config/webhook", ROOT / "config/without-webhook"
WEBHOOKS = "metallb-webhook-configuration"
BESIDE_PORT = 9130
cluster = api = wire = source = None


def setUpModule():
    global cluster, api, wire, source
    kube_cluster.prepare()
    kube_build.helm()
    programs = kube_build.metallb()
    source = programs / "source"
    cluster = Cluster.up()
    unittest.addModuleCleanup(cluster.down)
    cluster.start_router("ibgp")
    cluster.load_ferrolb(build.binary())
    # By the names that the manifest and the chart ask for.
    for name in re.findall(r"image: (\S+)", metallbs_manifest().read_text(encoding="utf-8")):
        component = name.split("/")[-1].partition(":")[0]
        archive = cluster.lab.folder / f"{component}.tar"
        images.write(archive, name, images.program(programs / component, f"/{component}"), [f"/{component}"])
        cluster.load_image(archive)
        archive.unlink()
    api, wire = Api(cluster.lab, cluster.kubeconfig), Wire(cluster)
    cluster.apply([workload.deployment("web"), workload.deployment("alone", replicas=1, node="n2")])
    for name in ("web", "alone"):
        cluster.wait_rollout(f"deployment/{name}")


class Journey(unittest.TestCase):
    """MetalLB, installed in a way that a subclass knows, has given addresses and announces. Each test leaves that again."""

    prefix = ""

    @classmethod
    def setUpClass(cls):
        begun = time.monotonic()
        cls.addClassCleanup(clear)
        cls.install()
        wait_applied(CONFIGURATION)
        cluster.apply(list(SERVICES))
        cls.before = {name: wait_addresses(name) for name in PORTS}
        wait_announced(cls.before)
        wait_statuses("Pod")
        print(f"       MetalLB serves after {time.monotonic() - begun:.1f} s", flush=True)

    @classmethod
    def install(cls):
        raise NotImplementedError

    def setUp(self):
        self.objects, self.told = objects(), statuses()
        self.version = api.request("GET", "api/v1/services")["metadata"]["resourceVersion"]

    def assert_served(self, *owners):
        """All is announced as before, statuses belong to objects of these kinds, or are as before, and no address was ever another."""
        wait_announced(self.before)
        if owners:
            wait_statuses(*owners)
        else:
            self.assertEqual(statuses(), self.told)
        self.assertEqual(objects(), self.objects)
        url = f"/api/v1/namespaces/default/services?watch=1&resourceVersion={self.version}&timeoutSeconds=1"
        for line in cluster.kubectl("get", "--raw", url).splitlines():
            event = json.loads(line)
            name = event["object"]["metadata"]["name"]
            if name in PORTS:
                self.assertEqual((name, event["type"], ingress(event["object"])), (name, "MODIFIED", self.before[name]))

    def assert_guarded(self):
        """MetalLB's webhooks are there: one that converts, and one that refuses what overlaps."""
        self.assertEqual(conversion(), "Webhook")
        self.assertTrue(cluster.kubectl("get", "bgppeers.v1beta1.metallb.io", "--namespace", SYSTEM))
        overlapping = json.dumps(metallb("IPAddressPool", "overlapping", {"addresses": ["192.168.9.0/25"]}))

        def refused():
            done = subprocess.run(cluster.kubectl_command("apply", "-f", "-"), input=overlapping, capture_output=True, text=True)
            return Seen(done.returncode != 0 and "overlaps" in done.stderr, done.stdout + done.stderr)

        until("MetalLB refuses a pool", refused, SECONDS, 0.5)

    def wait_workloads(self, what, one_step=False):
        """Until the workloads run; how many nodes announced at the worst. In `one_step` nobody but its owner answers for an address.

        Not so of MetalLB's speakers, each of which answers for all until it has found others.
        """
        (address,), (near,) = self.before["routed"], self.before["near4"]
        fewest, begun = len(NODES), time.monotonic()

        def probe():
            nonlocal fewest
            fewest = min(fewest, len(cluster.tor.paths(f"{address}/32")))
            if one_step:
                self.assertLessEqual({node for node, _ in wire.answers(near, 0.01)}, {elected(near)})
            states = rolled("DaemonSet", f"{self.prefix}speaker"), rolled("Deployment", f"{self.prefix}controller")
            return Seen(all(states), states)

        until(what, probe, SECONDS)
        print(f"       {what} after {time.monotonic() - begun:.1f} s, at the worst {fewest} of {len(NODES)} nodes announced", flush=True)
        return fewest


class ByManifest(Journey):
    @classmethod
    def install(cls):
        apply_file(metallbs_manifest())
        for what in ("deployment/controller", "daemonset/speaker"):
            cluster.wait_rollout(what, SYSTEM)

    def test_check_and_plan_say_what_a_switch_would_change_and_only_read(self):
        kubeconfig = reader()
        status, document, _ = ferrolb("check", kubeconfig=kubeconfig)
        found = {(f["severity"], f["subject"]): f for f in document["findings"]}
        self.assertEqual(set(found), {
            ("error", f"Deployment {SYSTEM}/controller"), ("error", f"DaemonSet {SYSTEM}/speaker"),
            ("warning", "CustomResourceDefinition bgppeers.metallb.io"), ("warning", f"BGPAdvertisement {SYSTEM}/routed"),
        })
        self.assertIn("converted by a webhook", found["warning", "CustomResourceDefinition bgppeers.metallb.io"]["message"])
        self.assertIn("native mode sends 0", found["warning", f"BGPAdvertisement {SYSTEM}/routed"]["message"])
        self.assertEqual(status, 1)
        status, document, said = ferrolb("plan", "--compare", kubeconfig=kubeconfig)
        self.assertEqual((status, document["differences"]), (0, []), said)
        # It does compare: by service, node and peer.
        status, document, _ = ferrolb("plan", "--compare", "--down", "n2", kubeconfig=kubeconfig)
        self.assertEqual(status, 1)
        differences = {(d["what"], d["service"], d.get("node"), d.get("peer"), d.get("planned")) for d in document["differences"]}
        lost = {("bgp", f"default/{name}", "n2", peer, False) for name in ROUTED for peer in ROUTERS}
        self.assertLessEqual(lost, differences)
        self.assertTrue(all(what == "layer2" for what, *_ in differences - lost), differences)

    def test_check_names_what_only_the_operator_and_frr_did(self):
        stand_ins = (stand_in("MetalLB", "metallbs", "metallb.io"), stand_in("FRRConfiguration", "frrconfigurations", "frrk8s.metallb.io"))
        self.addCleanup(cluster.kubectl, "delete", "crd", *[one["metadata"]["name"] for one in stand_ins])
        cluster.apply(list(stand_ins))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *[f"crd/{one['metadata']['name']}" for one in stand_ins])
        received = {"address": "192.168.1.1", "asn": ROUTER_AS, "toReceive": {"allowed": {"mode": "all"}}}
        mine = {"bgp": {"routers": [{"asn": OUR_AS, "neighbors": [received]}]}, "raw": {"rawConfig": "!\nip prefix-list mine permit any\n"}}
        lines = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bgpextras", "namespace": SYSTEM},
                 "data": {"extras": "router bgp 64512\n neighbor 192.168.1.1 allowas-in\n"}}
        self.addCleanup(api.delete, "ConfigMap", "bgpextras", SYSTEM)
        cluster.apply([metallb("MetalLB", "metallb", {}), frr_configuration("metallb-n1", {}), frr_configuration("mine", mine), lines])
        status, document, _ = ferrolb("check")
        self.assertEqual(status, 1)
        said = {f["subject"]: (f["severity"], f["message"]) for f in document["findings"]}
        self.assertEqual(said[f"MetalLB {SYSTEM}/metallb"][0], "error")
        severity, message = said[f"FRRConfiguration {SYSTEM}/mine"]
        self.assertEqual(severity, "warning")
        self.assertIn("neighbors[0].toReceive (192.168.1.1)", message)
        self.assertIn("ip prefix-list mine permit any", message)
        self.assertNotIn(f"FRRConfiguration {SYSTEM}/metallb-n1", said)
        self.assertIn("neighbor 192.168.1.1 allowas-in", said[f"ConfigMap {SYSTEM}/bgpextras"][1])

    def test_there_in_one_step_for_layer_2_and_back_node_by_node(self):
        kubectl("delete daemonset speaker --cascade=foreground")
        apply_file(FERROLB)
        self.wait_workloads("FerroLB runs", one_step=True)
        self.assert_served("Node")
        self.assertEqual(conversion(), "None")
        self.assertEqual(compared(), [])
        apply_file(metallbs_manifest())
        self.assertGreater(self.wait_workloads("MetalLB runs again"), 0)
        # Statuses that say the same already stay the Nodes'.
        self.assert_served("Pod", "Node")
        self.assert_guarded()


class ByHelm(Journey):
    prefix = f"{RELEASE}-"

    @classmethod
    def install(cls):
        helm("install", RELEASE, metallbs_chart(), "--create-namespace", *NATIVE)
        for what in ("deployment", "daemonset"):
            cluster.wait_rollout(f"{what}/{cls.prefix}{'controller' if what == 'deployment' else 'speaker'}", SYSTEM)

    def test_the_release_becomes_ferrolbs_node_by_node_and_metallbs_again_in_one_step(self):
        helm("upgrade", RELEASE, str(CHART))
        self.assertGreater(self.wait_workloads("FerroLB runs"), 0)
        self.assert_served("Node")
        self.assertEqual(conversion(), "None")
        self.assertEqual(compared(), [])
        kubectl(f"delete daemonset {self.prefix}speaker --cascade=foreground")
        helm("upgrade", RELEASE, metallbs_chart(), *NATIVE)
        self.wait_workloads("MetalLB runs again")
        self.assert_served("Pod", "Node")
        self.assert_guarded()

    def test_the_release_is_left_behind_node_by_node_and_made_again(self):
        for definition in metallbs_definitions():
            cluster.kubectl("annotate", "crd", definition, "helm.sh/resource-policy=keep", "--overwrite")
        helm("upgrade", RELEASE, metallbs_chart(), "--reuse-values", "--set", "crds.enabled=false")
        self.assertNotIn("kind: CustomResourceDefinition", helm("get", "manifest", RELEASE))
        self.assert_served()

        # FerroLB beside it: its speakers have no port, or with ports of their own they run and do nothing.
        lives = {node: cluster.tor.life(f"{node}v4") for node in NODES}
        cluster.kubectl("apply", "-k", str(WITHOUT_WEBHOOK))
        until("speakers without a port", lambda: same([reason for reason in waiting() if "free ports" in reason] != [], True), SECONDS)
        cluster.apply(beside())
        for what in ("deployment/controller", "daemonset/speaker"):
            cluster.wait_rollout(what, SYSTEM)
        bearer = scrape.token(cluster, "scraper", may=True)
        for node in NODES:
            until(f"{node} stands back", lambda: stands_back(scrape.scrape(cluster, node, bearer=bearer, port=BESIDE_PORT)), SECONDS)
        (pod,) = api.list("Pod", SYSTEM, "app=metallb,component=controller")
        until("the controller stands back", lambda: stands_back(scrape.scrape(cluster, "cp", pod["status"]["podIP"], bearer)), SECONDS)
        for what in ("deployment/controller", "daemonset/speaker"):
            self.assertIn('"event":"standingBack"', kubectl(f"logs {what}"))
        self.assertEqual(self.given_by("beside"), {"controller"})
        self.assertEqual({node: cluster.tor.life(f"{node}v4") for node in NODES}, lives)
        self.assert_served()

        # The controller first; speakers where a label says so, none of them started anew.
        kubectl(f"scale deployment {self.prefix}controller --replicas=0")
        kubectl(f"delete validatingwebhookconfiguration {WEBHOOKS}")
        self.assertEqual(self.given_by("after"), {"ferrolb"})
        for node in NODES:
            api.label("Node", node, {"lb": "metallb"})
            self.addCleanup(api.label, "Node", node, {"lb": None})
        place = {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}, "template": {"spec": {"nodeSelector": {"lb": "metallb"}}}}
        api.patch("DaemonSet", f"{self.prefix}speaker", {"spec": place}, SYSTEM, form=STRATEGIC)
        for node in NODES:
            since = cluster.tor.life(f"{node}v4")
            api.label("Node", node, {"lb": "ferrolb"})
            until(f"a session of {node}'s FerroLB", lambda: cluster.tor.life(f"{node}v4") > since and cluster.tor.established(f"{node}v4"), SECONDS)
        helm("uninstall", RELEASE)
        apply_file(FERROLB)
        for what in ("deployment/controller", "daemonset/speaker"):
            cluster.wait_rollout(what, SYSTEM)
        self.assert_served("Node")
        self.assertEqual(compared(), [])
        # Helm's marks on the definitions are all that is left, and no harm.
        status, document, _ = ferrolb("check")
        self.assertEqual(status, 0, document)
        self.assertEqual({f["subject"].split()[0] for f in document["findings"]}, {"CustomResourceDefinition"})

        # MetalLB's webhook needs its own definitions, and a Service that selects by no more than its own labels.
        kubectl("delete deployment/controller daemonset/speaker --cascade=foreground")
        cluster.kubectl("delete", "-k", str(WEBHOOK))
        helm("install", RELEASE, metallbs_chart(), *NATIVE, "--take-ownership")
        self.wait_workloads("MetalLB runs again")
        self.assert_served("Pod", "Node")
        self.assert_guarded()

    def given_by(self, name):
        """Makes a Service that gets an address; who wrote that."""
        self.addCleanup(api.delete, "Service", name)
        cluster.apply([workload.service(name, "web", **SINGLE)])
        until(f"an address of {name}", lambda: ingress(api.get("Service", name)), SECONDS)
        fields = api.get("Service", name)["metadata"]["managedFields"]
        return {entry["manager"] for entry in fields if entry.get("subresource") == "status"}


NATIVE = ("--set", "frrk8s.enabled=false")


def metallbs_manifest():
    """For native mode."""
    return source / "config/manifests/metallb-native.yaml"


def metallbs_chart():
    return str(source / "charts/metallb")


def metallbs_definitions():
    return [name for name in (o["metadata"]["name"] for o in cluster.get("crd")) if name.endswith("metallb.io")]


def conversion():
    """How versions of a peer are converted."""
    return cluster.get("crd", "bgppeers.metallb.io")["spec"]["conversion"]["strategy"]


def beside():
    """FerroLB's speakers with other ports than MetalLB's, which has those of the nodes."""
    documents = yaml.safe_load_all(cluster.kubectl("kustomize", str(WITHOUT_WEBHOOK)))
    (speaker,) = [document for document in documents if document["kind"] == "DaemonSet"]
    (container,) = speaker["spec"]["template"]["spec"]["containers"]
    container["args"] = ["speaker", f"--port={BESIDE_PORT}", f"--health-probe-port={BESIDE_PORT + 1}"]
    container["ports"][0]["containerPort"] = BESIDE_PORT
    for probe in ("livenessProbe", "readinessProbe"):
        container[probe]["httpGet"]["port"] = BESIDE_PORT + 1
    return [speaker]


def waiting():
    """Why pods aren't on a node."""
    conditions = [c for pod in api.list("Pod", SYSTEM) for c in pod["status"].get("conditions", [])]
    return [c.get("message", "") for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"]


def stands_back(scraped):
    status, page = scraped
    return Seen(status == "200" and "ferrolb_standing_back 1" in page.splitlines(), (status, page[-200:]))


def kubectl(arguments):
    return cluster.kubectl("--namespace", SYSTEM, *arguments.split())


def apply_file(path):
    cluster.kubectl("apply", "--request-timeout=80s", "-f", str(path))


def helm(*arguments):
    command = [str(kube_build.helm()), "--kubeconfig", str(cluster.kubeconfig), "--namespace", SYSTEM, *arguments]
    done = subprocess.run(cluster.lab.beside(CONTROL_PLANE, command), capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"helm {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def ferrolb(*arguments, kubeconfig=None):
    """Exit status and document of a command that is run from outside."""
    command = [str(build.binary()), *arguments, "--cluster", "--kubeconfig", str(kubeconfig or cluster.kubeconfig), "--output", "json"]
    done = subprocess.run(cluster.lab.beside(CONTROL_PLANE, command), capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise AssertionError(f"ferrolb {' '.join(arguments)}: {done.stderr}")
    return done.returncode, json.loads(done.stdout), done.stderr


def compared(kubeconfig=None):
    """How what FerroLB would announce differs from what is said to be announced."""
    return ferrolb("plan", "--compare", kubeconfig=kubeconfig)[1]["differences"]


def wait_applied(wanted):
    """Applies objects, as soon as MetalLB's webhook is there to let them through."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(wanted)})

    def probe():
        done = subprocess.run(cluster.kubectl_command("apply", "-f", "-"), input=text, capture_output=True, text=True)
        return Seen(done.returncode == 0, done.stderr)

    until("the configuration", probe, SECONDS, 0.5)


def reader():
    """The kubeconfig of an account that may read everything, ask what accounts may, and write nothing."""
    rights = "rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]},
             {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}]
    cluster.apply([
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": "default"}},
        {"apiVersion": rights, "kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": rules},
        {"apiVersion": rights, "kind": "ClusterRoleBinding", "metadata": {"name": "reader"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
         "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}]},
    ])
    document = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    document["users"][0]["user"] = {"token": cluster.kubectl("create", "token", "reader").strip()}
    path = cluster.lab.folder / "reader.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def stand_in(kind, plural, group):
    """A definition that takes anything of this kind: for what can't run here."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                 "versions": [{"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]},
    }


def frr_configuration(name, spec):
    return {"apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": {"name": name, "namespace": SYSTEM}, "spec": spec}


def clear():
    """Takes MetalLB, FerroLB, all their objects and the Services away."""
    for name in PORTS:
        api.delete("Service", name)
    api.delete("ValidatingWebhookConfiguration", WEBHOOKS)
    cluster.kubectl("delete", "namespace", SYSTEM, "--ignore-not-found")
    if metallbs_definitions():
        cluster.kubectl("delete", "crd", *metallbs_definitions())


def objects():
    """The configuration: (kind, name) -> spec."""
    return {(kind, o["metadata"]["name"]): o["spec"] for kind in KEPT for o in api.list(kind, SYSTEM)}


def ingress(service):
    """The addresses that a Service shows."""
    return [entry["ip"] for entry in service["status"]["loadBalancer"].get("ingress", [])]


def wait_addresses(name):
    def probe():
        found = ingress(api.get("Service", name))
        return Seen(len(found) == (2 if name == "near" else 1), found)

    return until(f"addresses of {name}", probe, SECONDS).value


def wait_announced(addresses):
    """Until routers and the wire have all the services, and clients get answers."""
    for name, nodes in ROUTED.items():
        (address,) = addresses[name]
        expected = {f"{node}v4" for node in nodes}
        for router in ROUTERS:
            until(f"{address} at {router}", lambda: same(set(cluster.routers[router].paths(f"{address}/32")), expected), SECONDS)
        until(f"an answer of {name}", lambda: fetch("client", address, PORTS[name]), SECONDS)
    for name in WIRED:
        for address in addresses[name]:
            owner = elected(addresses[name][0])
            until(f"{address} on {owner}", lambda: same(asked(address), owner), SECONDS)


def fetch(node, address, port=80):
    """What the web server behind an address says, or nothing."""
    host = f"[{address}]" if ":" in address else address
    return cluster.in_ns(node, "curl", "-gsS", "-m", "1", f"http://{host}:{port}/", check=False)


def asked(address):
    """The node whose MAC a client on the wire learns for an address, asking anew, where it gets an answer.

    By the client's kernel: MetalLB answers Neighbor Discovery only where its node can reach who asks.
    """
    cluster.in_ns("lan", "ip", "neighbour", "flush", "to", address, "dev", "eth0")
    answer = fetch("lan", address)
    found = json.loads(cluster.in_ns("lan", "ip", "-json", "neighbour", "show", "to", address) or "[]")
    node, _ = wire.macs.get(found[0].get("lladdr") if found else None, (None, None))
    return node if answer else None


def same(seen, expected):
    return Seen(seen == expected, seen)


def rolled(kind, name):
    """Whether all pods of a Deployment or a DaemonSet are the newest, and ready, and no others are left."""
    one = api.get(kind, name, SYSTEM)
    keys = {"DaemonSet": ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberReady"),
            "Deployment": ("replicas", "updatedReplicas", "readyReplicas")}[kind]
    status = one.get("status", {})
    counts = {status.get(key, 0) for key in keys}
    return Seen(status.get("observedGeneration") == one["metadata"]["generation"] and len(counts) == 1 and counts != {0}, status)


def statuses():
    """What is said to be announced, and to what the object belongs that says it: (kind, service, node) -> kinds."""
    found = {}
    for kind in ("ServiceBGPStatus", "ServiceL2Status"):
        for one in api.list(kind, SYSTEM):
            status = one.get("status", {})
            if status.get("serviceName") in PORTS:
                owners = {owner["kind"] for owner in one["metadata"].get("ownerReferences", [])}
                found[kind, status["serviceName"], status["node"]] = owners
    return found


def wait_statuses(*owners):
    """Until the statuses are those of what is announced, and belong to these: Pods, as MetalLB's do, or Nodes, as FerroLB's."""
    expected = {("ServiceBGPStatus", name, node) for name, nodes in ROUTED.items() for node in nodes}
    expected |= {("ServiceL2Status", name, elected(ingress(api.get("Service", name))[0])) for name in WIRED}

    def probe():
        seen = statuses()
        return Seen(set(seen) == expected and all(found <= set(owners) for found in seen.values()), seen)

    until(f"statuses that belong to a {' or a '.join(owners)}", probe, SECONDS)


if __name__ == "__main__":
    unittest.main()
