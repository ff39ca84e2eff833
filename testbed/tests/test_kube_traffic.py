"""What clients lose, request by request, while parts of a cluster fail, restart, move or go: FerroLB as it is shipped, under a steady load.

Each request is a connection of its own (`kube/load.py`), and one that isn't answered within 0.9 s counts as lost. A load counts once it has
run for two seconds: on a busy machine four of the first seven requests of one were answered a second late, by TCP's second SYN, and why was
not found out. Where no route changes, as the router's kernel says, one request of a load may be answered late after that too: once, of
14,246, one had no answer in time while only the API server was away.

What else of a cluster's mishaps is tested, and where: a thousand Services at once and two controllers in `test_kube_controller.py`
(`Scales`, `Together`), fifty speakers and a router that restarts in `test_kube_fleet.py`.
"""

import base64
import json
import subprocess
import time
import unittest
import uuid

from inventory import DUAL, IPV4
from kube import counts, scrape, workload
from kube.api import KINDS
from kube.load import Load
from kube.network import CONTROL_PLANE, NODES
from kube.stand import ALL, PEERS, ROUTERS, SECONDS, SESSIONS, SYSTEM, config
from labkit.wait import Seen, until
from routes import RoutesCase, host
from wire import Wire, elected

AWAY_SECONDS = 60.0
# The hold time of `stand.PEERS`, and what the router takes to put it into its kernel.
HOLD_SECONDS, ROUTER_SECONDS = 9.0, 1.5
# What a node's kube-proxy takes at most after an EndpointSlice has changed.
PROXY_SECONDS = 2.0
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
# How long a speaker may be away that is replaced.
AWAY_LIMIT = 15.0
# From an endpoint's last moment until the router's kernel has changed: some 50 ms on a quiet machine, and this is for a busy one.
LEARNING_LIMIT = 1.0
# How long requests are made before they count.
WARM_SECONDS = 2.0
# How long things are watched after all is as it was.
AFTER_SECONDS = 3.0
# What FerroLB writes, Events left out, which others write too.
WRITTEN = ("IPAddressPool", "ConfigurationState", "ServiceBGPStatus", "BGPSessionState")
OURS = {"services", "ipaddresspools", "configurationstates", "servicebgpstatuses", "servicel2statuses", "bgpsessionstates"}
# Of each kind: what it can't be, and what it could be by its definition but not by its sense.
BAD_SPECS = {
    "BGPPeer": {
        "text": "text",
        "types": {"myASN": "many", "peerASN": [1], "peerAddress": 7},
        "address": {"myASN": 64512, "peerASN": 64513, "peerAddress": "nowhere"},
        "twin": {"myASN": 64512, "peerASN": 64513, "peerAddress": ROUTERS["tor"][1][0], "holdTime": "soon"},
        "secret": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.168.1.77", "passwordSecret": {"name": "absent"}},
    },
    "BGPAdvertisement": {
        "list": [],
        "types": {"aggregationLength": "wide", "peers": 5},
        "community": {"communities": ["absent"]},
    },
    "IPAddressPool": {
        "types": {"addresses": "10.0.0.0/8"},
        "range": {"addresses": ["10.9.0.9-10.9.0.1"]},
        "overlap": {"addresses": ["10.200.0.0/16"]},
        "empty": {},
    },
    "L2Advertisement": {"types": {"interfaces": 5}},
    "Community": {"types": {"communities": {"name": "a"}}, "value": {"communities": [{"name": "a", "value": "70000:1:1:1"}]}},
    "BFDProfile": {"types": {"receiveInterval": "soon"}},
}
BAD_SERVICES = {
    "address": ({"metallb.io/loadBalancerIPs": "nowhere"}, {}),
    "pool": ({"metallb.io/address-pool": "absent"}, {}),
    "legacy": ({}, {"loadBalancerIP": "300.1.1.1"}),
}


class Changes:
    """What becomes of a router's routes in its kernel, from now on."""

    # Routes of no meaning: what the kernel tells of them shows how far it has told.
    _FIRST, _LAST = "198.51.100.1", "198.51.100.2"

    def __init__(self, case, router):
        self._lab, self._router = case.cluster.lab, router
        self._file = self._lab.folder / f"changes-{time.monotonic_ns()}"
        with self._file.open("wb") as lines:
            process = subprocess.Popen(self._lab.beside(router, ["ip", "monitor", "route"]), stdout=lines)
        case.addCleanup(process.wait)
        case.addCleanup(process.terminate)
        self._wait(self._FIRST)

    def of(self, addresses):
        """Each change of a route for just one of these addresses, as `ip monitor` tells it."""
        self._wait(self._LAST)
        return [line for line in self._file.read_text(encoding="utf-8").splitlines() if set(addresses) & set(line.split())]

    def _wait(self, address):
        def probe():
            self._lab.run(self._router, ["ip", "route", "add", "blackhole", address])
            self._lab.run(self._router, ["ip", "route", "del", "blackhole", address])
            return address in self._file.read_text(encoding="utf-8")

        until(f"the kernel of {self._router} tells of its routes", probe, SECONDS)


class Traffic(RoutesCase):
    def serve(self, family=IPV4, **spec):
        """A service that every router reaches and the client too, whose statuses are written."""
        service = self.service(family, **spec)
        self.wait_served(service, **({"local": True} if spec.get("externalTrafficPolicy") == "Local" else {}))
        self.stand.wait_answers("client", service)
        return service

    def deploy(self, name, **options):
        """Pods as one writes what isn't to be missed: an old one ends when the new one has been ready for a while; it is unready at once
        then, and serves on until everybody has noticed.
        """
        made = workload.deployment(name, **options)
        made["spec"]["minReadySeconds"] = 3
        (web,) = made["spec"]["template"]["spec"]["containers"]
        web["lifecycle"] = {"preStop": {"httpGet": {"path": "/ready?off", "port": 8080}}}
        web["env"].append({"name": "DRAIN", "value": "6s"})
        self.apply(made)
        self.addCleanup(self.api.delete, "Deployment", name)
        self.stand.wait_rollout("Deployment", name)

    def load(self, address, where="client", **options):
        running = Load(self.cluster, where, address, **options)
        self.addCleanup(running.end)
        return running

    def begin(self, loads):
        """When requests begin to count: some seconds after they are made. What a test claims is about what it does then."""
        time.sleep(WARM_SECONDS)
        return max([load.count() for load in loads])

    def wait_statuses(self, service, nodes=ALL):
        def probe():
            found = [s.get("status", {}) for s in self.api.list("ServiceBGPStatus", SYSTEM)]
            seen = {s["node"] for s in found if s.get("serviceName") == service.name and s.get("peers")}
            return Seen(seen == set(nodes), seen)

        until(f"statuses of {service.name}", probe, SECONDS)

    def lives(self):
        """What changes with each new session of any router."""
        return {(name, one): router.life(one) for name, router in self.stand.routers.items() for one in SESSIONS}

    def written(self):
        """The versions of all that FerroLB writes."""
        found = {kind: self.api.list(kind, SYSTEM) for kind in WRITTEN}
        found["Service"] = self.api.list("Service", "default")
        found["Event"] = [event for event in self.api.list("Event", "default") if event["involvedObject"]["kind"] == "Service"]
        return {(kind, one["metadata"]["name"]): one["metadata"]["resourceVersion"] for kind, objects in found.items() for one in objects}

    def wait_still(self):
        """What FerroLB has written, once that has been the same for a while."""
        seen = [self.written()]

        def probe():
            time.sleep(2.0)
            seen.append(self.written())
            return seen[-1] == seen[-2]

        until("nothing is written any more", probe, SECONDS)
        return seen[-1]

    def hops(self, address):
        known = {pair[":" in address]: node for node, pair in NODES.items()}
        return {known.get(hop, hop) for hop in self.cluster.tor.next_hops(host(address))}

    def wait_hops(self, address, nodes, seconds=SECONDS):
        """When the tor's kernel had an address by way of exactly these nodes."""
        until(f"{address} by way of {sorted(nodes)}", lambda: Seen(self.hops(address) == set(nodes), self.hops(address)), seconds, 0.02)
        return time.monotonic()

    def wait_ready(self, name, nodes, seconds=SECONDS):
        """When exactly these nodes had ready endpoints of a service."""
        def probe():
            slices = self.api.list("EndpointSlice", "default", f"kubernetes.io/service-name={name}")
            seen = {end["nodeName"] for part in slices for end in part["endpoints"] or [] if end["conditions"]["ready"]}
            return Seen(seen == set(nodes), seen)

        until(f"endpoints of {name} ready on {sorted(nodes)}", probe, seconds, 0.1)
        return time.monotonic()

    def wait_unserving(self, name, node, seconds=SECONDS):
        """The last time that a node was seen to have endpoints of a service that serve, once it has none any more."""
        last = time.monotonic()

        def probe():
            nonlocal last
            begun = time.monotonic()
            slices = self.api.list("EndpointSlice", "default", f"kubernetes.io/service-name={name}")
            seen = {end["nodeName"] for part in slices for end in part["endpoints"] or [] if end["conditions"]["serving"]}
            if node in seen:
                last = begun
            return Seen(node not in seen, seen)

        until(f"no endpoint of {name} serves on {node}", probe, seconds, 0.01)
        return last

    def tell(self, what, load, begun):
        """Prints what a load has lost."""
        lost = load.failed()
        when = f", from {lost[0].at - begun:.2f} to {lost[-1].at - begun:.2f} s" if lost else ""
        why = sorted({request.why for request in lost})
        print(f"       {what}: {len(lost)} of {len(load.end())} requests lost{when}{': ' if why else ''}{'; '.join(why)}", flush=True)
        if early := load.uncounted():
            print(f"       before anything was done {len(early)}: {early}", flush=True)

    def assert_none_lost(self, load, changes=0, since=0.0, but=(0.0, 0.0), late=0):
        """No request has failed, but for those that were under way when the router's next hops changed: its kernel shares connections out
        anew then. At most one for each of these changes. `but`: nor are those counted that were made in this time. `late`: so many may be
        answered, though not in time.
        """
        failed = [request for request in load.failed(since) if not but[0] <= request.at <= but[1]]
        slow = [request for request in failed if request.node]
        cut = [request for request in failed if request.why.endswith("once connected")]
        self.assertEqual([request for request in failed if request not in cut + slow], [])
        self.assertLessEqual(len(slow), late, slow)
        self.assertLessEqual(len(cut), changes, cut)

    def assert_unchanged(self, before, *others):
        """Nothing that was `written` before has been written again, kinds left out that have reason to be."""
        kept = {key: version for key, version in before.items() if key[0] not in others}
        after = self.written()
        self.assertEqual({key: after.get(key) for key in kept}, kept)

    def restart(self, kind, name):
        """What `kubectl rollout restart` does; until it is over."""
        stamp = {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": str(time.time())}}}}
        self.api.patch(kind, name, {"spec": stamp}, SYSTEM)
        self.stand.wait_rollout(kind, name, SYSTEM)


class Nodes(Traffic):
    def test_a_node_without_power_costs_what_the_hold_time_allows(self):
        self.pool()
        self.advertise()
        service, local = self.serve(), self.serve(externalTrafficPolicy="Local")
        loads = {name: self.load(one.addresses[0]) for name, one in (("Cluster", service), ("Local", local))}
        lost = "n3"
        self.addCleanup(lambda: lost in self.cluster.lab.nodes or self.cluster.start_node(lost))
        cut = self.begin(loads.values())
        self.cluster.poweroff(lost)
        gone = {name: self.wait_hops(one.addresses[0], ALL - {lost}, 20.0) for name, one in (("Cluster", service), ("Local", local))}
        unready = self.wait_ready(service.name, ALL - {lost})
        self.cluster.start_node(lost)
        for one in (service, local):
            self.wait_served(one)
        back = self.wait_ready(service.name, ALL)
        time.sleep(AFTER_SECONDS)
        for name, load in loads.items():
            times = f"routes gone after {gone[name] - cut:.1f} s, endpoints unready after {unready - cut:.1f} s, back after {back - cut:.1f} s"
            self.tell(f"{name}, power cut, {times}", load, cut)
            self.assertLess(gone[name] - cut, HOLD_SECONDS + ROUTER_SECONDS)
        self.assert_none_lost(loads["Local"], 1, gone["Local"])
        # Until Kubernetes has noticed, the other nodes' kube-proxies send to its pod.
        self.assert_none_lost(loads["Cluster"], 1, unready + PROXY_SECONDS)

    def test_a_node_that_is_drained_and_removed_costs_no_request(self):
        self.pool()
        self.advertise()
        self.deploy("steady")
        service, local = self.serve(app="steady"), self.serve(app="steady", externalTrafficPolicy="Local")
        loads = {name: self.load(one.addresses[0]) for name, one in (("Cluster", service), ("Local", local))}
        removed = "n3"
        self.addCleanup(self.spread)
        begun = self.begin(loads.values())
        # First the label that is made for this: the speaker's own pod isn't drained, and would announce on.
        self.api.label("Node", removed, {EXCLUDE: ""})
        for one in (service, local):
            self.wait_hops(one.addresses[0], ALL - {removed})
        self.cluster.kubectl("drain", removed, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=60s")
        left = time.monotonic()
        # What the other nodes' kube-proxies take to hear that its pods are gone: until then they send there.
        time.sleep(PROXY_SECONDS)
        self.api.delete("Node", removed)
        self.addCleanup(lambda: removed in self.cluster.lab.nodes or self.cluster.start_node(removed))
        # Its speaker runs on, and knows that there is no such node: the label that has gone with it brings no route back.
        self.stand.wait_sessions("tor", {one for one in SESSIONS if not one.startswith(removed)}, routes=None)
        self.cluster.poweroff(removed)
        time.sleep(AFTER_SECONDS)
        self.cluster.start_node(removed)
        # Its pod is elsewhere now, and stays there.
        self.wait_served(service)
        time.sleep(AFTER_SECONDS)
        for name, load in loads.items():
            self.tell(f"{name}, a node excluded and drained after {left - begun:.1f} s, removed, and back", load, begun)
        for load in loads.values():
            self.assert_none_lost(load, changes=2)

    def spread(self):
        """Pods on each node again: those that are there don't move, and count for where new ones go."""
        for replicas in (0, len(NODES)):
            self.api.patch("Deployment", "web", {"spec": {"replicas": replicas}})
            self.stand.wait_rollout("Deployment", "web")
            until("none too many", lambda: len(self.api.list("Pod", "default", "app=web")) == replicas, SECONDS)


class Pods(Traffic):
    def test_a_local_pod_moves_to_another_node_and_no_request_fails_but_while_the_router_learns_of_it(self):
        self.pool()
        self.advertise()
        self.deploy("mover", replicas=1, node="n2")
        service = self.service(IPV4, app="mover", externalTrafficPolicy="Local")
        self.wait_served(service, {"n2"}, local=True)
        self.stand.wait_answers("client", service, {"n2"})
        load = self.load(service.addresses[0])
        begun = self.begin([load])
        self.api.patch("Deployment", "mover", {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "n3"}}}}})
        both = self.wait_hops(service.addresses[0], {"n2", "n3"})
        gone = self.wait_unserving(service.name, "n2")
        one = self.wait_hops(service.addresses[0], {"n3"})
        until("the old pod gone", lambda: len(self.api.list("Pod", "default", "app=mover")) == 1, SECONDS)
        time.sleep(AFTER_SECONDS)
        self.tell(f"a Local pod moved, both nodes after {both - begun:.1f} s, the new one alone after {one - begun:.1f} s", load, begun)
        # While the old pod serves, its node has the route, as with MetalLB; and kube-proxy there serves no longer from the very event on
        # that FerroLB withdraws for. What comes until the router's kernel has changed finds nobody.
        self.assertLess(one - gone, LEARNING_LIMIT)
        self.assert_none_lost(load, changes=2, but=(gone, one))
        self.assertEqual({request.node for request in load.end() if request.at > one + 1.0}, {"n3"})


class Restarts(Traffic):
    def test_speakers_that_are_restarted_one_by_one(self):
        self.pool()
        self.advertise()
        service, local = self.serve(), self.serve(externalTrafficPolicy="Local")
        alone = self.service(IPV4, app="alone", externalTrafficPolicy="Local")
        self.wait_served(alone, {"n2"}, local=True)
        named = {"Cluster": service, "Local": local, "Local with one pod": alone}
        loads = {name: self.load(one.addresses[0]) for name, one in named.items()}
        begun = self.begin(loads.values())
        self.restart("DaemonSet", "speaker")
        over = time.monotonic()
        for one in (service, local):
            self.wait_served(one)
        self.wait_served(alone, {"n2"}, local=True)
        done = time.monotonic()
        time.sleep(AFTER_SECONDS)
        print(f"       rolled out after {over - begun:.1f} s, all routes after {done - begun:.1f} s", flush=True)
        for name, load in loads.items():
            self.tell(f"{name}, speakers restarted", load, begun)
        for name in ("Cluster", "Local"):
            self.assert_none_lost(loads[name], changes=2 * len(NODES))
        # Without a route while its one speaker is away.
        lost = loads["Local with one pod"].failed()
        self.assertLess(max(request.at for request in lost) - min(request.at for request in lost), AWAY_LIMIT)
        for load in loads.values():
            self.assert_none_lost(load, since=done + 1.0)

    def test_a_controller_that_is_restarted_costs_nothing(self):
        self.pool()
        self.advertise()
        service = self.serve()
        self.wait_statuses(service)
        before, lives, changes = self.wait_still(), self.lives(), Changes(self, "tor")
        load = self.load(service.addresses[0])
        begun = self.begin([load])
        self.restart("Deployment", "controller")
        later = self.serve()
        self.tell("the controller restarted", load, begun)
        self.assert_none_lost(load, late=1)
        self.assertEqual(changes.of(service.addresses), [])
        self.assertEqual(self.lives(), lives)
        # The new pod is the owner of its ConfigurationState from now on.
        self.assert_unchanged(before, "IPAddressPool", "ConfigurationState")
        self.assertNotEqual(later.addresses, service.addresses)


class Stopped(Traffic):
    def test_while_ferrolb_is_stopped_nobody_answers_on_the_wire(self):
        name = self.pool(name="wire", prefixes=("192.168.1.240-192.168.1.250", "fd00:1::240-fd00:1::250"))
        self.apply(config("L2Advertisement", "wire", {"ipAddressPools": [name]}))
        service = self.service(DUAL)
        wire, owner = Wire(self.cluster), elected(service.addresses[0])
        for address in service.addresses:
            wire.wait(address, owner)
            wire.wait_pods(address, NODES)
        self.addCleanup(self.start)
        self.stop()
        # The client's kernel knows from before where they are.
        self.cluster.in_ns("lan", "ip", "neighbour", "flush", "dev", "eth0")
        for address in service.addresses:
            wire.wait(address)
            self.assertEqual(wire.fetch(address), "")
        self.start()
        for address in service.addresses:
            wire.wait(address, owner)
            wire.wait_pods(address, NODES)
        self.assertEqual(self.addresses(service.name, 2), service.addresses)

    def stop(self):
        self.api.patch("DaemonSet", "speaker", {"spec": {"template": {"spec": {"nodeSelector": {"nobody": "has"}}}}}, SYSTEM)
        self.api.patch("Deployment", "controller", {"spec": {"replicas": 0}}, SYSTEM)
        until("no pod of FerroLB", lambda: not self.api.list("Pod", SYSTEM, "app=metallb"), SECONDS)

    def start(self):
        self.api.patch("DaemonSet", "speaker", {"spec": {"template": {"spec": {"nodeSelector": {"nobody": None}}}}}, SYSTEM)
        self.api.patch("Deployment", "controller", {"spec": {"replicas": 1}}, SYSTEM)
        self.stand.wait_rollout("DaemonSet", "speaker", SYSTEM)
        self.stand.wait_rollout("Deployment", "controller", SYSTEM)


class Bad(Traffic):
    def test_objects_that_no_api_server_lets_pass_change_nothing_and_are_named(self):
        self.pool(DUAL)
        self.advertise()
        service = self.serve(DUAL)
        self.wait_statuses(service)
        before, lives, changes = self.wait_still(), self.lives(), Changes(self, "tor")
        loads = [self.load(address) for address in service.addresses]
        begun = self.begin(loads)
        bad = {(kind, f"bad-{what}"): spec for kind, specs in BAD_SPECS.items() for what, spec in specs.items()}
        for (kind, name), spec in bad.items():
            self.addCleanup(self.api.delete, kind, name, SYSTEM)
            self.put(kind, name, spec)
        for what, (annotations, spec) in BAD_SERVICES.items():
            self.apply(workload.service(f"bad-{what}", app="web", annotations=annotations, **spec))

        def named():
            text = " ".join(one.get("status", {}).get("errorSummary", "") for one in self.api.list("ConfigurationState", SYSTEM))
            silent = [key for key in bad if f"{key[0]} {SYSTEM}/{key[1]}" not in text]
            return Seen(not silent, (silent, text))

        until("each is named", named, SECONDS)
        for what in BAD_SERVICES:
            until(f"an event of bad-{what}", lambda name=f"bad-{what}": self.stand.events(name, "AllocationFailed"), SECONDS)
        # What stands goes on, and what comes is taken.
        later = self.serve()
        self.wait_statuses(later)
        for (kind, name) in bad:
            self.api.delete(kind, name, SYSTEM)
        until("all valid again", lambda: Seen(set(self.stand.results().values()) == {"Valid"}, self.stand.results()), SECONDS)
        for address, load in zip(service.addresses, loads):
            self.tell(f"{address}, bad objects", load, begun)
            self.assert_none_lost(load, late=1)
        self.assertEqual(changes.of(service.addresses), [])
        self.assertEqual(self.lives(), lives)
        self.assert_unchanged(before, "IPAddressPool", "ConfigurationState")

    def put(self, kind, name, spec):
        """Puts an object straight into etcd, past all validation."""
        group, plural = KINDS[kind]
        version = group.removeprefix("apis/")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        meta = {"name": name, "namespace": SYSTEM, "uid": str(uuid.uuid4()), "creationTimestamp": now, "generation": 1}
        key = f"/registry/{version.split('/')[0]}/{plural}/{SYSTEM}/{name}"
        pair = {"key": key, "value": json.dumps({"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec})}
        document = json.dumps({what: base64.b64encode(text.encode()).decode() for what, text in pair.items()})
        self.cluster.in_ns(CONTROL_PLANE, "curl", "-sSf", "-m", "10", "-d", document, "http://127.0.0.1:2379/v3/kv/put")


class WithoutApi(Traffic):
    """The last one, by its name: Kubernetes' own programs may take a minute to follow the API server again."""

    def test_a_minute_without_the_api_costs_no_request_and_its_return_writes_nothing(self):
        self.pool(DUAL)
        self.advertise()
        service, local = self.serve(DUAL), self.serve(DUAL, externalTrafficPolicy="Local")
        for one in (service, local):
            self.wait_statuses(one)
        # A session is told of when it has stood for a while.
        until("each session told of", lambda: len(self.api.list("BGPSessionState", SYSTEM)) == len(PEERS) * len(NODES), SECONDS)
        addresses = (*service.addresses, *local.addresses)
        before, lives, changes = self.wait_still(), self.lives(), Changes(self, "tor")
        loads = [self.load(address) for address in addresses]
        begun = self.begin(loads)
        self.addCleanup(self.restart_proxies)
        # A controller manager that leads ends when it can't renew its Lease: it mustn't judge nodes by what it last saw.
        for name in ("kube-apiserver", "kube-controller-manager"):
            self.cluster.kill_program(CONTROL_PLANE, name)
        while time.monotonic() - begun < AWAY_SECONDS:
            for node in NODES:
                self.assertEqual(scrape.get(self.cluster, node, "http://127.0.0.1:17472/readyz")[0], "200")
            time.sleep(0.5)
        for name in ("kube-apiserver", "kube-controller-manager"):
            self.cluster.start_program(CONTROL_PLANE, name)
        self.cluster.wait_api()
        back = time.monotonic()
        # kube-proxy's watches may come back a minute later.
        later = self.service(IPV4)
        self.wait_served(later, reached=False)
        self.wait_statuses(later)
        print(f"       {time.monotonic() - back:.1f} s after the API's return a new service is told of by all", flush=True)
        for node in (None, *NODES):
            self.wait_followed(node)
        self.wait_still()
        for address, load in zip(addresses, loads):
            self.tell(f"{address}, the API away for {AWAY_SECONDS:g} s", load, begun)
            self.assert_none_lost(load, late=1)
        self.assertEqual(changes.of(addresses), [])
        self.assertEqual(self.lives(), lives)
        self.assert_unchanged(before, "IPAddressPool")
        written = counts.writes(self.cluster.kubectl("get", "--raw", "/metrics"))
        ours = {what: count for what, count in written.items() if what.split(" ")[1].split("/")[0] in OURS}
        # The later service, made here, and what is told of it.
        self.assertEqual(ours, {
            "APPLY services": 1, "PATCH services/status": 1, "PATCH ipaddresspools/status": 1,
            "POST servicebgpstatuses": 3, "PATCH servicebgpstatuses/status": 3,
        })

    def wait_followed(self, node):
        """Until the speaker on a node, or the controller, follows the API server in all kinds: each of its watches comes back by itself."""
        def probe():
            behind = {labels: value for (name, labels), value in self.stand.metrics(node).items() if name == "ferrolb_watch_behind_seconds"}
            return Seen(behind and not any(behind.values()), behind)

        until(f"all watches of {node or 'the controller'} go on", probe, SECONDS)

    def restart_proxies(self):
        """So that the next test needn't wait for their watches."""
        for node in NODES:
            self.cluster.kill_program(node, "kube-proxy", "TERM")
            self.cluster.start_program(node, "kube-proxy")


if __name__ == "__main__":
    unittest.main()
