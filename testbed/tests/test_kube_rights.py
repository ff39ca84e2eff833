"""Each right that deploy/ferrolb.yaml grants, and the speaker's capability, is needed: taken away alone, something fails that is named here.

A row of `WATCHED` is taken away before its role starts: the role then isn't ready and names it. The others are what `needs` names
beside a test that shows what is missing without them. In both, the API server's refusal stands in the role's log, no pod
is restarted, and nothing else is refused; given back, all is as before. The API server's audit log says in the end that each right
was used, and that nothing was asked for that isn't granted.
"""

import contextlib
import functools
import itertools
import json
import re
import subprocess
import time
import unittest
from datetime import UTC, datetime

from kube import config as programs
from kube import scrape, workload
from kube.api import MERGE, ApiError, path
from kube.network import CONTROL_PLANE, NODES
from kube.stand import ALL, ROOT, SYSTEM, config, peer
from labkit import build
from labkit.wait import Late, Seen, until
from rights import Grants, granted
from stand import stand

SECONDS = 60.0
ROLES = ("controller", "speaker")
# The node whose speaker is looked at; it alone answers on layer 2.
NODE = "n1"
HEALTH_PORT = 17472
CONFIGURATION, SECRET = "metallb-webhook-configuration", "metallb-webhook-cert"
CONTEXT = "template/spec/containers/0/securityContext"
DEFINITION = "apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgpsessionstates.frrk8s.metallb.io"
AUDIT = """{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
 {"level": "Metadata", "users": ["system:serviceaccount:metallb-system:controller", "system:serviceaccount:metallb-system:speaker"]},
 {"level": "None"}]}"""
CONFIGURED = ("bfdprofiles", "bgpadvertisements", "bgppeers", "l2advertisements")
# What is listed before anything is decided, and what a speaker lists afterwards. Both verbs are needed of each.
FIRST = {
    "controller": ("services", "namespaces", "ipaddresspools", "communities", "configurationstates", "leases", "replicasets"),
    "speaker": ("services", "nodes", "endpointslices", *CONFIGURED, "communities", "ipaddresspools", "secrets", "daemonsets",
                "controllerrevisions"),
    "webhook": ("nodes", *CONFIGURED),
}
LATER = {"speaker": ("configurationstates", "servicebgpstatuses", "servicel2statuses", "bgpsessionstates", "leases")}
WATCHED = [(grant, verb, resource) for listed in (FIRST, LATER) for grant, resources in listed.items()
           for resource in resources for verb in ("list", "watch")]
# (grant, verb, resource) -> the test that shows what is missing without it. `needs` fills it.
NEEDED = {}
STATUSES = {
    "configurationstates": ("ConfigurationState", "metallb.io/node-name"),
    "servicebgpstatuses": ("ServiceBGPStatus", "metallb.io/node"),
    "servicel2statuses": ("ServiceL2Status", "metallb.io/node"),
    "bgpsessionstates": ("BGPSessionState", "frrk8s.metallb.io/node"),
}
RIGHTS = {(right.grant, right.verb, right.resource): right for right in granted()}
cluster = api = grants = None
read_from = 0
_numbers = itertools.count(1)


def setUpModule():
    global cluster, api, grants, read_from
    made = stand()
    cluster, api, grants = made.cluster, made.api, Grants(made.api)
    made.reset()
    unittest.addModuleCleanup(made.reset)
    audit()
    api.apply(
        config("IPAddressPool", "routed", {"addresses": ["10.201.0.0/24"]}), config("BGPAdvertisement", "routed", {"ipAddressPools": ["routed"]}),
        config("IPAddressPool", "wire", {"addresses": ["192.168.1.240-192.168.1.250"], "autoAssign": False}),
        config("L2Advertisement", "wire", {
            "ipAddressPools": ["wire"], "nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": NODE}}]}),
        service("standing"), service("near", "wire"),
    )
    # From here on the audit log has all that a role does from its start. Before, an API server that has just started may have
    # refused something, since it doesn't know the roles yet.
    read_from = (cluster.state / CONTROL_PLANE / "audit.log").stat().st_size
    restart("controller", "speaker", nodes=NODES)
    wait_everything()


def audit():
    """Has the API server write down what the roles ask for."""
    folder = cluster.state / CONTROL_PLANE
    if (folder / "audit.json").exists():
        return
    (folder / "audit.json").write_text(AUDIT, encoding="utf-8")
    cluster.kill_program(CONTROL_PLANE, "kube-apiserver")
    until("its end", lambda: not cluster.in_ns(CONTROL_PLANE, "pgrep", "-x", "kube-apiserver", check=False), SECONDS)
    flags = [f"--audit-policy-file={programs.NODE}/audit.json", f"--audit-log-path={programs.NODE}/audit.log"]
    cluster.lab.run(CONTROL_PLANE, ["sh", "/run/lab/kube/daemon.sh", "kube-apiserver", *programs.api_server(), *flags])
    cluster.wait_api()
    cluster.wait_nodes()


def asked():
    """(account, verb, resource, group) -> status codes that the API server answered with."""
    found = {}
    with (cluster.state / CONTROL_PLANE / "audit.log").open("rb") as written:
        written.seek(read_from)
        # The last line may not be whole yet.
        lines = [line for line in written if line.endswith(b"\n")]
    for entry in map(json.loads, lines):
        if of := entry.get("objectRef"):
            resource = "/".join(filter(None, (of["resource"], of.get("subresource"))))
            key = entry["user"]["username"].rpartition(":")[2], entry["verb"], resource, of.get("apiGroup", "")
            found.setdefault(key, set()).add(entry["responseStatus"]["code"])
    return found


def service(name, pool=None, **spec):
    """A Service of one family: routed, unless another pool is named."""
    annotations = {"metallb.io/address-pool": pool} if pool else {}
    return workload.service(name, app="web", annotations=annotations, **{"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], **spec})


def addresses(name):
    return [entry["ip"] for entry in api.get("Service", name)["status"]["loadBalancer"].get("ingress", [])]


def hops():
    """The nodes that the router sends the standing Service's address to."""
    (address,) = addresses("standing")
    known = {pair[0]: node for node, pair in NODES.items()}
    return {known[hop] for hop in cluster.tor.next_hops(f"{address}/32")}


def pods(role, nodes=tuple(NODES)):
    """A role's pods on these nodes, those that are going left out."""
    found = api.list("Pod", SYSTEM, f"component={role}")
    return [pod for pod in found if pod["spec"].get("nodeName") in nodes and "deletionTimestamp" not in pod["metadata"]]


def looked_at(role):
    """The controller's pod wherever it is, or the speaker's on the node."""
    (pod,) = pods(role, NODES if role == "controller" else (NODE,))
    return pod


def restart(*roles, nodes=(NODE,)):
    """Ends the pods of roles, the speakers on these nodes; returns when new ones run in their places."""
    places = {role: NODES if role == "controller" else nodes for role in roles}
    before = {role: {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in pods(role, places[role])} for role in roles}
    for name in [name for names in before.values() for name in names.values()]:
        api.delete("Pod", name, SYSTEM)
    for role in roles:
        def probe():
            # Those that are going work on until they are gone.
            left = before[role].keys() & {pod["metadata"]["uid"] for pod in api.list("Pod", SYSTEM, f"component={role}")}
            new = pods(role, places[role])
            running = [pod for pod in new if any("running" in c["state"] for c in pod["status"].get("containerStatuses", []))]
            return Seen(not left and len(new) == len(running) == len(before[role]), (left, [pod["status"] for pod in new]))

        until(f"new pods of the {role}", probe, SECONDS)


def lives():
    """Pods, and how often each was restarted."""
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for role in ROLES for pod in pods(role)}


def readyz(role):
    """Status and text of the controller's readiness, or of the speaker's on the node."""
    if role == "speaker":
        return scrape.get(cluster, NODE, f"http://127.0.0.1:{HEALTH_PORT}/readyz")
    return scrape.get(cluster, CONTROL_PLANE, f"http://{looked_at(role)['status']['podIP']}:{HEALTH_PORT}/readyz")


def named(role, missing):
    """Whether a role that has begun is ready but for these, which it names: (verb, resource, group)."""
    status, text = readyz(role)
    good = status == ("503" if missing else "200") and "no complete list yet" not in text
    return Seen(good and refusals([{"text": text}]) == missing, (status, text))


def wait_ready(role):
    def probe():
        status, text = readyz(role)
        return Seen(status == "200", (status, text))

    until(f"the {role} is ready", probe, SECONDS)


def wait_everything():
    """Until all is as it is meant to be: the state that each test begins in."""
    for role in ROLES:
        wait_ready(role)
    for name in ("standing", "near"):
        until(f"an address of {name}", lambda: addresses(name), SECONDS)
    until("the route of the standing Service", lambda: Seen(hops() == ALL, hops()), SECONDS)
    until("an answer on layer 2", lambda: stand().ask("lan", addresses("near")[0]), SECONDS)

    def told():
        seen = {resource: [about(one) for one in statuses(resource)] for resource in STATUSES}
        counts = {resource: len(texts) for resource, texts in seen.items()}
        whole = all("null" not in texts for texts in seen.values())
        return Seen(whole and counts == {"configurationstates": 1, "servicebgpstatuses": 1, "servicel2statuses": 1, "bgpsessionstates": 8}, seen)

    until(f"all that is told of {NODE}", told, SECONDS + 30)
    until("a leader", lambda: (lease("ferrolb-controller") or {}).get("holderIdentity"), SECONDS)


def log(*running):
    """The lines that these pods wrote."""
    text = "".join(cluster.kubectl("logs", pod["metadata"]["name"], "-n", SYSTEM) for pod in running)
    # What libraries say has no name.
    return [{"event": None, **json.loads(line)} for line in text.splitlines() if line.startswith("{")]


def refusals(lines):
    """What the API server refused, as the lines tell it: (verb, resource, group)."""
    # A refusal may be quoted within a line.
    text = "\n".join(" ".join(map(str, line.values())) for line in lines).replace("\\", "")
    return set(re.findall(r'cannot (\w+) resource "([^"]+)" in API group "([^"]*)"', text))


def statuses(resource, labels=None):
    """The objects of a kind that tell of the node."""
    kind, label = STATUSES[resource]
    return api.list(kind, SYSTEM, labels or f"{label}={NODE}")


def about(one):
    """What a status object says, as a text that is the same for the same."""
    status = {key: value for key, value in one.get("status", {}).items() if key != "conditions"}
    return json.dumps(status or None, sort_keys=True)


def lease(name):
    found = api.get("Lease", name, SYSTEM)
    return found and found["spec"]


def events(name, component, reason):
    """Those about a Service that is there."""
    uid = api.get("Service", name)["metadata"]["uid"]
    found = [e for e in api.list("Event") if e["involvedObject"].get("uid") == uid and e["reason"] == reason]
    return [event for event in found if event["source"].get("component") == component]


def judged(kind, name, spec):
    """Whether the webhook denies an object, which isn't kept."""
    try:
        api.request("POST", f"{path(kind, namespace=SYSTEM)}?dryRun=All", config(kind, name, spec))
    except ApiError as error:
        if "denied the request" not in str(error):
            raise
        return True
    return False


def wait_judged(wanted):
    """Until a pool that is wrong in itself is denied, or isn't."""
    wrong = {"addresses": ["198.18.0.1"]}
    until(f"what is written is {'' if wanted else 'not '}judged", lambda: judged("IPAddressPool", "wrong", wrong) == wanted, SECONDS)


def needs(*rows):
    """Marks a test that is run once for each of these rights, and shows what is missing without it."""
    def mark(function):
        for row in rows:
            NEEDED[row] = function.__name__

        @functools.wraps(function)
        def test(self):
            for row in rows:
                with self.subTest(" ".join(row)):
                    function(self, RIGHTS[row])

        return test

    return mark


class Case(unittest.TestCase):
    def setUp(self):
        wait_everything()
        self.before = lives()

    def tearDown(self):
        grants.give()
        # A missing right ends nobody.
        self.assertEqual({name: times - self.before.get(name, 0) for name, times in lives().items()}, dict.fromkeys(lives(), 0))
        self.assertEqual(hops(), ALL)

    @contextlib.contextmanager
    def taken(self, right):
        """Within this it is taken away, and before the end it has to be missed."""
        since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        grants.give(without=[right])

        def missed():
            lines = [line for line in log(*pods(right.account)) if line["ts"] >= since]
            found = refusals(lines)
            self.assertLessEqual(found, {(right.verb, right.resource, right.group)})
            return Seen(found, lines[-5:])

        try:
            yield lambda: until(f"{right} is missed", missed, SECONDS, 0.2)
        finally:
            grants.give()

    def service(self, pool=None, name=None):
        """Makes a Service that is gone after the test; its name."""
        name = name or f"service-{next(_numbers)}"
        api.apply(service(name, pool))
        self.addCleanup(api.delete, "Service", name)
        return name

    def wait_addresses(self, name):
        return until(f"an address of {name}", lambda: addresses(name), SECONDS)


class AsShipped(unittest.TestCase):
    """With exactly what is shipped everything works, and nothing is refused."""

    def test_each_right_that_is_granted_has_a_row_here_and_no_other_has(self):
        rights = granted()
        self.assertEqual(len({(r.account, r.verb, r.resource, r.group, r.name) for r in rights}), len(rights), "nothing is granted twice")
        self.assertEqual(sorted(RIGHTS), sorted([*WATCHED, *NEEDED]))

    def test_the_documentation_lists_the_same(self):
        text = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
        listed = set()
        for grant, group, resources, verbs, where in re.findall(r"^\| (\w+) \| (\S+) \| (`[^|]+) \| ([^|]+) \| (\w+) \|", text, re.MULTILINE):
            group = "" if group == "core" else group.strip("`")
            listed |= {(grant, verb, resource, group, where == "cluster")
                       for resource in re.findall(r"`([^`]+)`", resources) for verb in verbs.split(", ")}
        self.assertEqual(sorted(listed), sorted((r.grant, r.verb, r.resource, r.group, r.everywhere) for r in granted()))

    def test_nothing_is_refused(self):
        wait_everything()
        for role in ROLES:
            self.assertEqual(refusals(log(*pods(role))), set())
            self.assertEqual(scrape_metrics(role, scraper())[0], "200")
        self.assertEqual({key for key, codes in asked().items() if 403 in codes}, set())

    def test_the_processes_have_what_the_manifest_says_and_no_more(self):
        # NET_RAW is capability 13.
        for role, user, capabilities in (("controller", "65534", 0), ("speaker", "0", 1 << 13)):
            status, mounts = process(looked_at(role)["spec"]["nodeName"], role)
            self.assertEqual({status[key].split()[0] for key in ("Uid", "Gid")}, {user})
            self.assertEqual([int(status[f"Cap{which}"], 16) for which in ("Eff", "Prm", "Bnd")], [capabilities] * 3)
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            self.assertRegex(mounts, r"(?m)^\S+ / \S+ ro,")


def process(node, role):
    """What the kernel says of the program in a role's pod, and its mounts."""
    pid = cluster.in_ns(node, "pgrep", "-f", f"^/ferrolb {role}").split()[0]
    status = dict(line.split(":\t", 1) for line in cluster.in_ns(node, "cat", f"/proc/{pid}/status").splitlines() if ":\t" in line)
    return {key: value.strip() for key, value in status.items()}, cluster.in_ns(node, "cat", f"/proc/{pid}/mounts")


def scraper():
    """A token that no role knows yet, of an account that may get the metrics."""
    return scrape.token(cluster, "scraper", may=True)


def scrape_metrics(role, token):
    pod = looked_at(role)
    return scrape.scrape(cluster, pod["spec"]["nodeName"], pod["status"]["podIP"], token)


class Contexts(Case):
    """The speaker's security context, a line of it changed on one node. (The other lines take rights away, and give none.)"""

    def setUp(self):
        super().setUp()
        spec = api.get("DaemonSet", "speaker", SYSTEM)["spec"]
        self.strategy, self.shipped = spec["updateStrategy"], spec["template"]["spec"]["containers"][0]["securityContext"]
        self.change("updateStrategy", {"type": "OnDelete"})

    def tearDown(self):
        self.change(CONTEXT, self.shipped)
        restart("speaker")
        self.change("updateStrategy", self.strategy)
        wait_everything()

    def change(self, field, value):
        patch = [{"op": "replace", "path": f"/spec/{field}", "value": value}]
        api.request("PATCH", path("DaemonSet", "speaker", SYSTEM), patch, "json-patch+json")

    def check(self, **changed):
        self.change(CONTEXT, {**self.shipped, **changed})
        restart("speaker")
        wait_ready("speaker")

        def told():
            lines = [line for line in log(looked_at("speaker")) if line["event"] == "layer2SocketFailed"]
            return Seen(lines and all("CAP_NET_RAW is needed" in line["msg"] for line in lines), lines)

        until("it is named", told, SECONDS)
        cluster.in_ns("lan", "ip", "neighbour", "flush", "dev", "eth0")
        self.assertIsNone(stand().ask("lan", addresses("near")[0]), "nobody answers on layer 2")
        # All else goes on.
        until("the route", lambda: Seen(hops() == ALL, hops()), SECONDS)
        self.assertEqual(set(lives().values()), {0})

    def test_without_net_raw_nobody_answers_on_layer_2(self):
        self.check(capabilities={"drop": ["ALL"]})

    def test_another_user_than_0_has_no_capability(self):
        self.check(runAsUser=65534)


class Running(Case):
    """Rights that are asked for all the time."""

    @needs(("controller", "patch", "services/status"))
    def test_a_service_shows_no_address(self, right):
        with self.taken(right) as missed:
            name = self.service()
            missed()
            self.assertEqual(addresses(name), [])
        self.wait_addresses(name)

    @needs(("controller", "create", "events"))
    def test_a_service_has_no_event_of_its_address(self, right):
        with self.taken(right) as missed:
            name = self.service()
            self.wait_addresses(name)
            missed()
            self.assertEqual(events(name, "metallb-controller", "IPAllocated"), [])
        until("the event", lambda: events(name, "metallb-controller", "IPAllocated"), SECONDS)

    @needs(("speaker", "create", "events"))
    def test_a_service_has_no_event_of_its_announcement(self, right):
        with self.taken(right) as missed:
            name = self.service()
            self.wait_addresses(name)
            missed()
            self.assertEqual(events(name, "metallb-speaker", "nodeAssigned"), [])
        # What couldn't be told isn't told later.
        name = self.service()
        until("three events", lambda: len(events(name, "metallb-speaker", "nodeAssigned")) == 3, SECONDS)

    @needs(("controller", "patch", "ipaddresspools/status"))
    def test_pools_aren_t_counted(self, right):
        counted = lambda: api.get("IPAddressPool", "routed", SYSTEM)["status"]["assignedIPv4"]
        until("one", lambda: Seen(counted() == 1, counted()), SECONDS)
        with self.taken(right) as missed:
            self.wait_addresses(self.service())
            missed()
            self.assertEqual(counted(), 1)
        until("two", lambda: Seen(counted() == 2, counted()), SECONDS)

    @needs(*(("speaker", "create", resource) for resource in STATUSES), ("controller", "create", "configurationstates"))
    def test_what_tells_of_the_state_isn_t_made(self, right):
        before = self.objects(right)
        with self.taken(right) as missed:
            self.delete(right)
            missed()
            self.assertEqual(self.objects(right), [])
        until("they are made", lambda: Seen(self.objects(right) == before, self.objects(right)), SECONDS)

    @needs(*(("speaker", "patch", f"{resource}/status") for resource in STATUSES), ("controller", "patch", "configurationstates/status"))
    def test_what_tells_of_the_state_stays_empty(self, right):
        before = self.objects(right)
        with self.taken(right) as missed:
            self.delete(right)
            missed()
            self.assertEqual(set(self.objects(right)), {"null"})
        until("they are filled in", lambda: Seen(self.objects(right) == before, self.objects(right)), SECONDS)

    def objects(self, right):
        return sorted(map(about, statuses(right.resource.partition("/")[0], self.labels(right))))

    def delete(self, right):
        kind, label = STATUSES[right.resource.partition("/")[0]]
        api.request("DELETE", f"{path(kind, namespace=SYSTEM)}?labelSelector={self.labels(right) or f'{label}={NODE}'}")

    def labels(self, right):
        return "metallb.io/component-type=controller" if right.grant == "controller" else None

    @needs(("speaker", "delete", "servicebgpstatuses"), ("speaker", "delete", "servicel2statuses"))
    def test_what_tells_of_a_service_outlives_it(self, right):
        name = self.service("wire" if right.resource == "servicel2statuses" else None)
        labels = f"metallb.io/service-name={name},metallb.io/node={NODE}"
        until("it is told", lambda: statuses(right.resource, labels), SECONDS)
        with self.taken(right) as missed:
            api.delete("Service", name)
            missed()
            self.assertEqual(len(statuses(right.resource, labels)), 1)
        until("nothing is told", lambda: not statuses(right.resource, labels), SECONDS)

    @needs(("speaker", "delete", "bgpsessionstates"))
    def test_what_tells_of_a_session_outlives_its_peer(self, right):
        self.addCleanup(api.apply, peer("tor", "IPv6"))
        count = lambda: len(statuses("bgpsessionstates"))
        with self.taken(right) as missed:
            api.delete("BGPPeer", "tor6", SYSTEM)
            missed()
            self.assertEqual(count(), 8)
        until("seven", lambda: Seen(count() == 7, count()), SECONDS)

    @needs(("controller", "create", "leases"), ("speaker", "create", "leases"))
    def test_a_lease_isn_t_made(self, right):
        name = self.lease_of(right)
        with self.taken(right) as missed:
            api.delete("Lease", name, SYSTEM)
            missed()
            self.assertIsNone(lease(name))
            if right.grant == "controller":
                self.assert_nobody_leads()
        until("it is made", lambda: lease(name), SECONDS)

    @needs(("controller", "patch", "leases"), ("speaker", "patch", "leases"))
    def test_a_lease_isn_t_renewed(self, right):
        name = self.lease_of(right)
        with self.taken(right) as missed:
            missed()
            stale = lease(name)["renewTime"]
            if right.grant == "controller":
                until("it leads no more", lambda: self.leadership() == "notLeading", SECONDS, 0.5)
                self.assert_nobody_leads()
            self.assertEqual(lease(name)["renewTime"], stale)
        until("it is renewed", lambda: lease(name)["renewTime"] != stale, SECONDS)

    def leadership(self):
        """What the controller told last of whether it leads: leading or notLeading."""
        return [line["event"] for line in log(looked_at("controller")) if line["event"] in ("leading", "notLeading")][-1]

    def assert_nobody_leads(self):
        name = self.service()
        time.sleep(0.5)
        self.assertEqual(addresses(name), [])

    def lease_of(self, right):
        return "ferrolb-controller" if right.grant == "controller" else f"speaker-{NODE}"

    @needs(*((role, "create", resource) for role in ROLES for resource in ("tokenreviews", "subjectaccessreviews")))
    def test_nobody_gets_metrics(self, right):
        token = scraper()
        with self.taken(right) as missed:
            status, text = scrape_metrics(right.grant, token)
            self.assertEqual(status, "503", text)
            self.assertIn(right.refusal, text)
            missed()
        self.assertEqual(scrape_metrics(right.grant, token)[0], "200")


class Starting(Case):
    """Rights that are asked for at the start."""

    @contextlib.contextmanager
    def begun_without(self, right):
        with self.taken(right) as missed:
            restart(right.account)
            missed()
            yield
        restart(right.account)

    @needs(("controller", "get", "pods"))
    def test_a_configuration_state_has_no_owner(self, right):
        owners = lambda: api.get("ConfigurationState", "controller", SYSTEM)["metadata"].get("ownerReferences", [])
        with self.begun_without(right):
            wait_ready("controller")
            api.delete("ConfigurationState", "controller", SYSTEM)
            until("it is made again", lambda: api.get("ConfigurationState", "controller", SYSTEM), SECONDS)
            self.assertEqual(owners(), [])
        wait_ready("controller")
        api.delete("ConfigurationState", "controller", SYSTEM)
        until("it has an owner", lambda: api.get("ConfigurationState", "controller", SYSTEM) and owners(), SECONDS)

    @needs(("webhook", "get", "validatingwebhookconfigurations"), ("webhook", "patch", "validatingwebhookconfigurations"))
    def test_the_api_server_doesn_t_trust_the_webhook(self, right):
        def bundles():
            return {hook["clientConfig"].get("caBundle") for hook in api.get("ValidatingWebhookConfiguration", CONFIGURATION)["webhooks"]}

        hooks = api.get("ValidatingWebhookConfiguration", CONFIGURATION)["webhooks"]
        for hook in hooks:
            hook["clientConfig"].pop("caBundle", None)
        api.patch("ValidatingWebhookConfiguration", CONFIGURATION, {"webhooks": hooks}, form=MERGE)
        with self.begun_without(right):
            self.assertEqual(bundles(), {None})
        until("it trusts it", lambda: None not in bundles(), SECONDS)
        wait_judged(True)

    @needs(("webhook", "get", "secrets"), ("webhook", "patch", "secrets"), ("webhook", "create", "secrets"))
    def test_the_webhook_has_no_certificate(self, right):
        if right.verb == "patch":
            api.patch("Secret", SECRET, {"data": None}, SYSTEM)
        elif right.verb == "create":
            api.delete("Secret", SECRET, SYSTEM)
        with self.taken(right) as missed:
            restart("controller")
            missed()
            wait_ready("controller")
            wait_judged(False)
        wait_judged(True)
        self.assertTrue(api.get("Secret", SECRET, SYSTEM)["data"])


class Started(unittest.TestCase):
    """Roles that begin without the right to list or to watch something. Those of both roles are tried at the same time."""

    @classmethod
    def tearDownClass(cls):
        restart(*ROLES)

    def show(self, right):
        begun = begun_without(ROUNDS[right])
        self.assertEqual(begun[right], [])


def _add(row):
    grant, verb, resource = row
    setattr(Started, f"test_{grant}_without_{verb}_on_{resource}", lambda self: self.show(RIGHTS[row]))


for _row in WATCHED:
    _add(_row)


def _rounds():
    """Right -> the round that it is taken away in: in each one of the controller's account, and one of the speaker's."""
    found = {}
    for account in ("controller", "speaker"):
        found.update({right: number for number, right in enumerate(r for r in map(RIGHTS.get, WATCHED) if r.account == account)})
    return found


ROUNDS = _rounds()


@functools.cache
def begun_without(number):
    """Right -> what wasn't as it should be when its role began without it, for the rights of a round."""
    rights = [right for right, own in ROUNDS.items() if own == number]
    try:
        grants.give(without=rights)
        restart(*(right.account for right in rights))
        return {right: list(faults_without(right)) for right in rights}
    finally:
        grants.give()


def faults_without(right):
    """What isn't as it should be in a role that has begun without this right to list or to watch."""
    row = (right.verb, right.resource, right.group)
    first = right.verb == "list" and right.resource in FIRST[right.grant]
    try:
        # A controller is ready without its webhook.
        until(f"{right} is named", lambda: named(right.account, set() if right.grant == "webhook" else {row}), SECONDS)
        until(f"{right} is logged", lambda: refusals(log(looked_at(right.account))), SECONDS, 0.2)
        if right.grant == "webhook" and first:
            wait_judged(True)
        if right.resource in LATER.get(right.grant, ()):
            until("the route is announced all the same", lambda: NODE in hops(), SECONDS)
    except Late as late:
        yield str(late)
    lines = log(looked_at(right.account))
    if refusals(lines) != {row}:
        yield f"refused: {refusals(lines)}"
    told = [line["resource"] for line in lines if line["event"] == "watchForbidden"]
    # There may be two watches of a kind.
    if set(told) != {".".join(filter(None, (right.resource, right.group)))} or len(told) > 2:
        yield f"told: {told}"
    if first and right.grant == "controller" and any(line["event"] == "leading" for line in lines):
        yield "it leads without knowing everything"
    if first and right.grant == "speaker" and NODE in hops():
        yield "it announces without knowing everything"
    if first and right.grant == "webhook" and judged("IPAddressPool", "again", {"addresses": ["10.201.0.0/25"]}):
        yield "it knows what it wasn't let see"
    if any(lives().values()):
        yield f"restarted: {lives()}"


class Together(Case):
    """Everything is taken away at once."""

    def test_all_is_named_by_the_roles_and_by_check_and_nobody_ends(self):
        grants.give(without=RIGHTS.values())
        restart(*ROLES)
        for role in ROLES:
            missing = {(r.verb, r.resource, r.group) for r in RIGHTS.values() if r.grant == role and r.verb == "list" and r.resource in FIRST[role]}
            until(f"all is named by the {role}", lambda: named(role, missing), SECONDS)
        # What is announced stays so.
        self.assertEqual(hops(), ALL - {NODE})
        self.assertEqual(self.checked(), {(f"{SYSTEM}/{r.account}", r.verb, r.resource, r.group) for r in RIGHTS.values()})
        grants.give()
        wait_everything()
        self.assertEqual(self.checked(), set())

    def test_watches_that_are_given_back_go_on_without_a_restart(self):
        taken = [right for right in RIGHTS.values() if right.verb == "watch"]
        self.addCleanup(restart, *ROLES)
        grants.give(without=taken)
        restart(*ROLES)
        for role in ROLES:
            until(f"all is named by the {role}", lambda: named(role, {(r.verb, r.resource, r.group) for r in taken if r.grant == role}), SECONDS)
        grants.give()
        for role in ROLES:
            wait_ready(role)

    def checked(self):
        """What `ferrolb check` finds missing: (account, verb, resource, group)."""
        command = ["env", f"KUBECONFIG={cluster.kubeconfig}", str(build.binary()), "check", "--cluster", "-o", "json"]
        said = subprocess.run(cluster.lab.beside(CONTROL_PLANE, command), capture_output=True, text=True).stdout
        found = set()
        for finding in json.loads(said)["findings"]:
            kind, _, account = finding["subject"].partition(" ")
            if kind == "ServiceAccount":
                found.add((account, *re.match(r"it may not (\w+) ([\w./]+)(?: of ([\w.]+))?", finding["message"]).groups("")))
        return found


class Undefined(Case):
    """The last to be taken away, since speakers look for the definition once a minute."""

    @needs(("controller", "create", "customresourcedefinitions"))
    def test_the_definition_of_sessions_isn_t_made(self, right):
        with self.taken(right):
            # A controller that has just started would make it again.
            api.request("DELETE", DEFINITION)
            restart("controller")
            until("it is told", lambda: any(line["event"] == "definitionNotMade" for line in log(looked_at("controller"))), SECONDS, 0.2)
            with self.assertRaises(ApiError):
                api.request("GET", DEFINITION)
        restart("controller")
        until("it is made", lambda: api.request("GET", DEFINITION), SECONDS)


class Used(unittest.TestCase):
    def test_each_right_was_used_and_no_other_was_asked_for(self):
        """By all tests before it: some rights are used only where one of them makes that necessary."""
        seen = asked()
        rows = {(r.account, r.verb, r.resource, r.group) for r in RIGHTS.values()}
        self.assertEqual({row for row in rows if not any(code < 300 for code in seen.get(row, ()))}, set())
        self.assertEqual({key for key, codes in seen.items() if 403 in codes} - rows, set())
