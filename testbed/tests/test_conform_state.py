"""What ConfigurationState says, and whom the controller may talk to: cases 121 to 131."""

import unittest

import yaml

from conform import case
from inventory import IPV4
from kube.api import PORT as API_PORT
from kube.network import API_SERVICE, NODES
from kube.stand import METRICS_PORT, ROOT, SECONDS, SYSTEM, config, peer
from labkit.wait import Seen, until
from routes import RoutesCase, host, on
from stand import Case

SPEAKERS = {f"speaker-{node}" for node in NODES}
EVERYBODY = SPEAKERS | {"controller"}
UNUSED = "192.168.1.77"
COMMUNITY = "64500:1"


class States(RoutesCase):
    def setUp(self):
        super().setUp()
        self.wait_results()

    def wait_results(self, *invalid):
        """Until exactly these are `Invalid`, and all others `Valid`."""
        expected = {name: "Invalid" if name in invalid else "Valid" for name in EVERYBODY}

        def probe():
            seen = self.stand.results()
            return Seen(seen == expected, seen)

        until(f"invalid: {', '.join(sorted(invalid)) or 'nobody'}", probe, SECONDS)

    def summary(self, name):
        return self.api.get("ConfigurationState", name, SYSTEM)["status"].get("errorSummary", "")

    def wait_summary(self, name, *parts, without=()):
        """Until the text about one of them has these parts, and none of the others."""
        def probe():
            text = self.summary(name)
            return Seen(all(part in text for part in parts) and not any(part in text for part in without), text)

        until(f"{name} says {parts}, and not {without}", probe, SECONDS)

    @case(121)
    def a_secret_of_the_wrong_type_is_told_where_its_peer_is(self):
        self.apply(secret("login", "Opaque"))
        self.addCleanup(self.api.delete, "Secret", "login", SYSTEM)
        self.apply(unused("guarded", passwordSecret={"name": "login"}, nodeSelectors=on("n2")))
        self.wait_results("speaker-n2")
        self.wait_summary("speaker-n2", "BGPPeer metallb-system/guarded", "login")
        # A Secret's type can't be changed.
        self.api.delete("Secret", "login", SYSTEM)
        self.apply(secret("login", "kubernetes.io/basic-auth"))
        self.wait_results()

    @case(122)
    def a_missing_bfd_profile_is_told_until_it_comes(self):
        self.apply(unused("watched", bfdProfile="absent"))
        self.wait_results(*SPEAKERS)
        self.wait_summary("speaker-n1", "absent")
        self.apply(config("BFDProfile", "absent", {}))
        self.wait_results()

    @case(123)
    def a_reference_that_breaks_later_is_the_speakers_matter(self):
        aliases = config("Community", "aliases", {"communities": [{"name": "alias", "value": COMMUNITY}]})
        self.apply(aliases)
        self.pool(IPV4)
        self.advertise(communities=["alias"])
        service = self.service(IPV4)
        self.wait_served(service)
        self.wait_results()
        self.api.delete("Community", "aliases", SYSTEM)
        self.wait_results(*SPEAKERS)
        self.wait_summary("speaker-n2", "alias")
        self.apply(aliases)
        self.wait_results()
        self.wait_served(service)

    @case(123)
    def what_was_valid_stands_when_a_reference_breaks(self):
        self.apply(config("Community", "aliases", {"communities": [{"name": "alias", "value": COMMUNITY}]}))
        self.pool(IPV4)
        self.advertise(communities=["alias"])
        service = self.service(IPV4)
        self.wait_served(service)
        self.api.delete("Community", "aliases", SYSTEM)
        self.wait_results(*SPEAKERS)
        tor = self.stand.routers["tor"]
        self.never("the routes to go", lambda: not tor.paths(host(service.addresses[0])))

    @case(124)
    def a_missing_alias_is_told_until_it_comes(self):
        self.pool(IPV4)
        self.advertise(communities=["alias"])
        self.wait_results(*SPEAKERS)
        self.wait_summary("speaker-n3", "alias")
        self.apply(config("Community", "aliases", {"communities": [{"name": "alias", "value": COMMUNITY}]}))
        self.wait_results()

    @case(125)
    def of_two_errors_each_is_told_until_it_is_mended(self):
        self.apply(unused("first", bfdProfile="absent-1"), unused("second", address="192.168.1.78", bfdProfile="absent-2"))
        self.wait_summary("speaker-n1", "absent-1", "absent-2")
        self.wait_results(*SPEAKERS)
        self.apply(config("BFDProfile", "absent-1", {}))
        self.wait_summary("speaker-n1", "absent-2", without=("absent-1",))
        self.wait_results(*SPEAKERS)
        self.apply(config("BFDProfile", "absent-2", {}))
        self.wait_results()

    @case(126)
    def a_valid_configuration_is_valid_everywhere(self):
        self.pool()
        self.advertise(communities=["64500:1", "large:1:2:3"], localPref=200)
        self.apply(config("L2Advertisement", "all", {}), config("BFDProfile", "fast", {"receiveInterval": 100}))
        self.wait_served(self.service(IPV4))
        self.wait_results()
        states = self.api.list("ConfigurationState", SYSTEM)
        self.assertEqual([state["status"].get("errorSummary", "") for state in states], [""] * len(EVERYBODY))
        for state in states:
            reconciled = "poolReconcilerValid" if state["metadata"]["name"] == "controller" else "configReconcilerValid"
            self.assertIn((reconciled, "True"), [(c["type"], c["status"]) for c in state["status"]["conditions"]])

    @case(127)
    def a_label_brings_two_peers_of_one_address_together(self):
        self.api.label("Node", "n1", {"rack": "one"})
        self.apply(unused("first", nodeSelectors=[{"matchLabels": {"rack": "one"}}]))
        self.apply(unused("second", nodeSelectors=[{"matchLabels": {"zone": "one"}}]))
        self.wait_results()
        self.api.label("Node", "n1", {"zone": "one"})
        self.wait_results("speaker-n1")
        self.wait_summary("speaker-n1", "first", "second")
        self.api.label("Node", "n1", {"zone": None})
        self.wait_results()

    @case(128)
    def what_was_said_stands_without_objects(self):
        self.pool()
        self.advertise()
        self.wait_results()
        before = {state["metadata"]["name"]: state["metadata"]["uid"] for state in self.api.list("ConfigurationState", SYSTEM)}
        for kind in ("BGPPeer", "BGPAdvertisement", "IPAddressPool"):
            self.api.clear(kind, SYSTEM)
        for name in self.stand.routers:
            self.stand.wait_sessions(name, ())
        self.wait_results()
        after = {state["metadata"]["name"]: state["metadata"]["uid"] for state in self.api.list("ConfigurationState", SYSTEM)}
        self.assertEqual(after, before)

    @case(129)
    def each_node_has_its_own_result(self):
        for node in ("n1", "n2"):
            self.apply(unused(f"of-{node}", bfdProfile=f"of-{node}", nodeSelectors=on(node)))
        self.wait_results("speaker-n1", "speaker-n2")
        self.wait_summary("speaker-n1", "BGPPeer metallb-system/of-n1", without=("of-n2",))
        self.apply(config("BFDProfile", "of-n1", {}))
        self.wait_results("speaker-n2")

    @case(129)
    def a_conflict_on_one_node_is_told_on_the_nodes_of_the_refused_peer_alone(self):
        self.api.label("Node", "n1", {"rack": "one"})
        self.api.label("Node", "n2", {"zone": "one"})
        self.apply(unused("first", nodeSelectors=[{"matchLabels": {"rack": "one"}}]))
        self.apply(unused("second", nodeSelectors=[{"matchLabels": {"zone": "one"}}]))
        self.wait_results()
        # Both share n1 alone now. The younger peer is refused wherever it is for, so that all nodes agree on what is valid.
        self.api.label("Node", "n1", {"zone": "one"})
        self.wait_results("speaker-n1", "speaker-n2")
        self.wait_summary("speaker-n2", "BGPPeer metallb-system/second", "first")
        self.api.label("Node", "n1", {"zone": None})
        self.wait_results()

    @case(130)
    def a_state_that_is_deleted_is_written_again(self):
        before = {state["metadata"]["name"]: state["metadata"]["uid"] for state in self.api.list("ConfigurationState", SYSTEM)}
        self.api.clear("ConfigurationState", SYSTEM)
        self.wait_results()
        after = {state["metadata"]["name"]: state["metadata"]["uid"] for state in self.api.list("ConfigurationState", SYSTEM)}
        self.assertEqual([name for name in before if before[name] == after[name]], [])


class NetworkPolicies(Case):
    @case(131)
    def the_controller_is_asked_for_metrics_and_admission_and_asks_the_api_server(self):
        file = ROOT / "deploy/networkpolicies.yaml"
        said = self.cluster.kubectl("apply", "--dry-run=server", "-f", str(file))
        self.assertEqual(said.count("(server dry run)"), 2, said)
        policies = {one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))}
        everything = policies["default-deny"]
        self.assertEqual(everything, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        policy = policies["controller"]
        self.assertEqual(sorted(policy), ["egress", "ingress", "podSelector", "policyTypes"])
        self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
        # Ports alone: from and to anywhere.
        self.assertEqual(policy["ingress"], [{"ports": [{"port": name, "protocol": "TCP"} for name in ("metricshttps", "webhook-server")]}])
        self.assertEqual(policy["egress"], [{"ports": [{"port": API_PORT, "protocol": "TCP"}]}])
        selector = ",".join(f"{key}={value}" for key, value in policy["podSelector"]["matchLabels"].items())
        (pod,) = self.api.list("Pod", SYSTEM, selector)
        self.assertEqual(pod["metadata"]["labels"]["component"], "controller")
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        self.assertEqual([ports[rule["port"]] for rule in policy["ingress"][0]["ports"]], [METRICS_PORT, 9443])
        # The health page is the kubelet's, which no policy keeps away; what is dialled is the API server's Service, on 443 before and 6443 behind it.
        node = pod["spec"]["nodeName"]
        self.assertEqual(self.sockets(node, "-ltn", 3), {str(METRICS_PORT), "9443", "17472"})
        accepted = {str(METRICS_PORT), "9443", "17472"}
        dialled = [line.split()[4] for line in self.lines(node, "-tn") if line.split()[3].rsplit(":", 1)[1] not in accepted]
        self.assertEqual(set(dialled), {f"{API_SERVICE}:443"})

    def sockets(self, node, kind, column):
        """The ports in a column of what `ss` says of the controller's pod."""
        return {line.split()[column].rsplit(":", 1)[1] for line in self.lines(node, kind)}

    def lines(self, node, kind):
        inside = f"nsenter -t $(pgrep -f '^/ferrolb controller') -n ss -H {kind}"
        return [line for line in self.cluster.in_ns(node, "sh", "-c", inside).splitlines() if line]


def secret(name, kind):
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM}, "type": kind,
        "stringData": {"username": "", "password": "not-a-secret"},
    }


def unused(name, address=UNUSED, **spec):
    """A peer that nobody is."""
    return peer("tor", IPV4, name, peerAddress=address, **spec)


if __name__ == "__main__":
    unittest.main()
