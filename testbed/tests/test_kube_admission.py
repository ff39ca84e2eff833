"""The definitions' own rules (CEL) at a real API server, without a webhook and without FerroLB: what they deny, and what they let pass.

The API server stands alone, so that nothing runs.
"""

import json
import subprocess
import unittest

import yaml
from kube.api import Api, ApiError
from kube.cluster import Cluster
from labkit import build
from labkit.build import ROOT
from labkit.wait import until
from manifests import SYSTEM

RULES = "x-kubernetes-validations"
PEER = {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}
# What a field of PEER is changed to; None takes it away. Each is refused for itself alone.
BAD_PEERS = {
    "myASN": {"myASN": 0},
    "no AS of the peer": {"peerASN": None},
    "a peer of AS 0": {"peerASN": 0},
    "two AS numbers of the peer": {"dynamicASN": "external"},
    "multihop within an AS": {"peerASN": 64512, "ebgpMultiHop": True},
    "no place": {"peerAddress": None},
    "an empty place": {"peerAddress": ""},
    "two places": {"interface": "eth0"},
    "no address": {"peerAddress": "tor.example.com"},
    "leading zeros": {"peerAddress": "192.000.002.001"},
    "a prefix": {"peerAddress": "192.0.2.1/24"},
    "a zone": {"peerAddress": "fe80::1%eth0"},
    "no source": {"sourceAddress": "here"},
    "no router ID": {"routerID": "1"},
    "a short hold time": {"holdTime": "2900ms"},
    "a negative hold time": {"holdTime": "-5s"},
    "no hold time": {"holdTime": "soon"},
    "a negative keepalive time": {"keepaliveTime": "-1s", "holdTime": "9s"},
    "keepalives that come too late": {"holdTime": "9s", "keepaliveTime": "9001ms"},
    "keepalives that make a short hold time": {"keepaliveTime": "500ms"},
    "two passwords": {"password": "a", "passwordSecret": {"name": "b"}},
}
GOOD_PEERS = {
    "the least": {},
    "an AS of either kind": {"peerASN": None, "dynamicASN": "internal"},
    "an AS of the peer that a zero unsets": {"peerASN": 0, "dynamicASN": "external"},
    "multihop": {"ebgpMultiHop": True},
    "multihop that is off": {"peerASN": 64512, "ebgpMultiHop": False},
    "an interface": {"peerAddress": None, "interface": "eth0"},
    "an interface beside an empty address": {"peerAddress": "", "interface": "eth0"},
    "IPv6": {"peerAddress": "2001:DB8::1", "sourceAddress": "2001:db8:0:0:0:0:0:2"},
    "an IPv4-mapped address": {"peerAddress": "::ffff:192.0.2.1"},
    "an IPv4-mapped address in full": {"peerAddress": "0:0:0:0:0:FFFF:c000:201"},
    "empty texts": {"sourceAddress": "", "routerID": "", "password": ""},
    "no hold time at all": {"holdTime": "0s"},
    "a hold time of parts": {"holdTime": "1m30.5s", "keepaliveTime": "30s"},
    "keepalives alone": {"keepaliveTime": "1s"},
    "keepalives off": {"keepaliveTime": "0s", "holdTime": "0s"},
    "a password": {"password": "a"},
    "a password beside no Secret": {"password": "a", "passwordSecret": {}},
}
BAD = [
    *(("BGPPeer", name, {**PEER, **change}) for name, change in BAD_PEERS.items()),
    ("BGPAdvertisement", "IPv4", {"aggregationLength": 33}),
    ("BGPAdvertisement", "IPv6", {"aggregationLengthV6": 129}),
    ("IPAddressPool", "empty", {"addresses": []}),
]
GOOD = [
    *(("BGPPeer", name, {**PEER, **change}) for name, change in GOOD_PEERS.items()),
    ("BGPAdvertisement", "lengths", {"aggregationLength": 32, "aggregationLengthV6": 0}),
    ("IPAddressPool", "one address", {"addresses": ["192.0.2.1/32"]}),
]
cluster = None
api = None


def setUpModule():
    global cluster, api
    build.binary()
    cluster = Cluster.api_alone()
    unittest.addModuleCleanup(cluster.down)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    api = Api(cluster.lab, cluster.kubeconfig)


def definitions(bare=False):
    """The definitions as they are shipped; `bare`: without any rule, as a cluster had them that knew none."""
    found = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "config/crd").glob("*.yaml"))]
    return [without_rules(one) for one in found] if bare else found


def without_rules(schema):
    if isinstance(schema, list):
        return [without_rules(one) for one in schema]
    if isinstance(schema, dict):
        return {key: without_rules(value) for key, value in schema.items() if key != RULES}
    return schema


def define(bare=False):
    """Applies the definitions, and waits until the API server goes by them."""
    cluster.apply(definitions(bare))
    until("the definitions served", lambda: (denied("BGPPeer", "probe", BAD[0][2]) is None) == bare, 30.0)


def made(kind, name, spec, version=None):
    version = version or ("v1beta2" if kind == "BGPPeer" else "v1beta1")
    name = "-".join(name.lower().split())
    return {
        "apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def denied(kind, name, spec):
    """Why the API server doesn't take an object; None where it would. Nothing is stored."""
    return said_of(made(kind, name, spec))


def said_of(one):
    command = cluster.kubectl_command("create", "--dry-run=server", "--request-timeout=80s", "-f", "-")
    done = subprocess.run(command, input=json.dumps(one), capture_output=True, text=True)
    return done.stderr if done.returncode else None


def refused_offline(kind, name, spec):
    """Whether `ferrolb plan` names an error of the object's own."""
    done = subprocess.run(
        [str(build.binary()), "plan", "-o", "json", "-f", "-"], input=json.dumps(made(kind, name, spec)), capture_output=True, text=True)
    return done.stdout and any(error["kind"] == kind for error in json.loads(done.stdout)["errors"])


class Rules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        define()

    def test_what_metallb_rejects_in_every_mode_is_denied(self):
        for kind, name, spec in BAD:
            with self.subTest(f"{kind}: {name}"):
                self.assertIn("is invalid", denied(kind, name, spec) or "it is taken")
                self.assertTrue(refused_offline(kind, name, spec))

    def test_what_is_valid_is_taken(self):
        for kind, name, spec in GOOD:
            with self.subTest(f"{kind}: {name}"):
                self.assertIsNone(denied(kind, name, spec))
                self.assertFalse(refused_offline(kind, name, spec))

    def test_the_older_version_has_the_same_rules(self):
        self.assertIsNone(said_of(made("BGPPeer", "old", PEER, "v1beta1")))
        self.assertIn("not an IP address", said_of(made("BGPPeer", "old", {**PEER, "peerAddress": "tor"}, "v1beta1")))
        self.assertIn("ebgpMultiHop", said_of(made("BGPPeer", "old", {**PEER, **BAD_PEERS["multihop within an AS"]}, "v1beta1")))


class Stored(unittest.TestCase):
    """Objects from a time without rules."""

    @classmethod
    def setUpClass(cls):
        define(bare=True)
        for kind, name, spec in BAD:
            api.create(made(kind, name, spec))
        define()

    def test_an_invalid_object_can_be_edited_elsewhere(self):
        for kind, name, spec in BAD:
            with self.subTest(f"{kind}: {name}"):
                one = made(kind, name, spec)
                elsewhere = {"spec": {"nodeSelectors": [{"matchLabels": {"rack": "1"}}]} if kind != "IPAddressPool" else {"autoAssign": False}}
                api.patch(kind, one["metadata"]["name"], {**elsewhere, "metadata": {"labels": {"seen": "yes"}}}, SYSTEM)

    def test_one_fault_can_be_mended_while_another_stands(self):
        twice = {**PEER, "peerAddress": "tor", "password": "a", "passwordSecret": {"name": "b"}}
        define(bare=True)
        api.create(made("BGPPeer", "twice", twice))
        define()
        api.patch("BGPPeer", "twice", {"spec": {"password": None}}, SYSTEM)
        api.patch("BGPPeer", "twice", {"spec": {"peerAddress": "192.0.2.9"}}, SYSTEM)

    def test_it_cannot_become_worse(self):
        for change in ({"password": "a", "passwordSecret": {"name": "b"}}, {"holdTime": "1s"}, {"sourceAddress": "here"}, {"peerASN": None}):
            with self.subTest(change), self.assertRaisesRegex(ApiError, "is invalid"):
                api.patch("BGPPeer", "no-place", {"spec": change}, SYSTEM)
