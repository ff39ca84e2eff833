"""Admission, as MetalLB's end-to-end tests want it: cases 105 to 120; and what becomes of the webhook's certificates.

The API server asks the controller's pod by way of the Service, as everywhere. Writes are only tried (`dryRun`), except for what
others are judged by. Each test has names and addresses of its own: what one deletes may be known to the webhook for a moment.
"""

import base64
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path

from conform import Declaring, case
from kube.api import MERGE, STRATEGIC, ApiError, path
from kube.network import CONTROL_PLANE
from kube.stand import ROOT, SYSTEM, config
from labkit.sockets import connect
from labkit.wait import Seen, until
from stand import stand

MANIFEST = ROOT / "config/webhook/webhook.yaml"
CONFIGURATION, SECRET, SERVICE = "metallb-webhook-configuration", "metallb-webhook-cert", "metallb-webhook-service"
SERVER = f"{SERVICE}.{SYSTEM}.svc"
NOWHERE = [{"matchLabels": {"nobody": "has"}}]
COMMUNITY = {"legacy": "1111:2222", "large": "large:123:456:7890"}
NO_COMMUNITY = {"legacy": "99999999:1", "large": "large:99999999999:1:1"}
SECONDS = 60.0
api = None


def setUpModule():
    global api
    stand().reset()
    unittest.addModuleCleanup(stand().reset)
    api = stand().api
    # As it is shipped, nobody is kept from writing while nobody serves; so that is waited for first.
    wait_denied(pool("broken", "198.18.0.1"))
    # From here on, what isn't denied has been asked about.
    fails("Fail")
    unittest.addModuleCleanup(fails, "Ignore")


def fails(policy):
    """Sets what becomes of writes that nobody could be asked about: Fail or Ignore."""
    hooks = [{"name": hook["name"], "failurePolicy": policy} for hook in hooks_of_it()]
    api.patch("ValidatingWebhookConfiguration", CONFIGURATION, {"webhooks": hooks}, form=STRATEGIC)


def hooks_of_it():
    return api.get("ValidatingWebhookConfiguration", CONFIGURATION)["webhooks"]


def pool(name, *addresses, **spec):
    return config("IPAddressPool", name, {"addresses": list(addresses), **spec})


def peer(name, address, **spec):
    """Towards nobody: no node has it, unless `spec` says otherwise."""
    return config("BGPPeer", name, {"myASN": 1000, "peerASN": 64500, "peerAddress": address, "nodeSelectors": NOWHERE, **spec}, "v1beta2")


def community(name, *pairs):
    return config("Community", name, {"communities": [{"name": alias, "value": value} for alias, value in pairs]})


def try_create(body):
    """What the API server says to a new object that it isn't to keep: nothing, or why not."""
    where = path(body["kind"], namespace=body["metadata"]["namespace"])
    return said("POST", f"{where}?dryRun=All", body, "json")


def try_change(body):
    """The same of an object that is there."""
    where = path(body["kind"], body["metadata"]["name"], SYSTEM)
    return said("PATCH", f"{where}?dryRun=All", {"spec": body["spec"]}, MERGE)


def try_delete(kind, name):
    return said("DELETE", f"{path(kind, name, SYSTEM)}?dryRun=All")


def said(*request):
    try:
        api.request(*request)
    except ApiError as error:
        return str(error)
    return None


def wait_denied(body, *words, how=try_create):
    """Until a write is denied, by the webhook and with these words. What was stored a moment ago may not be known there yet."""
    def probe():
        found = how(body)
        return Seen(found and "admission webhook" in found and "denied the request" in found, found)

    text = until(f"{body['kind']} {body['metadata']['name']} is denied", probe, SECONDS).value
    for word in (body["metadata"]["name"], *words):
        if word not in text:
            raise AssertionError(f"{word!r} isn't in {text!r}")


class Case(Declaring):
    def keep(self, body):
        """Stores an object until the end of the test."""
        api.create(body)
        self.addCleanup(api.delete, body["kind"], body["metadata"]["name"], SYSTEM)

    def assert_allowed(self, answer):
        self.assertIsNone(answer)


class Refuses(Case):
    @case(105)
    def overlapping_pools(self):
        self.keep(pool("one", "1.1.1.1-1.1.1.100"))
        wait_denied(pool("two", "1.1.1.15-1.1.1.20"), "overlap")
        self.keep(pool("two", "1.1.1.101-1.1.1.200"))
        wait_denied(pool("two", "1.1.1.0/24"), "overlap", how=try_change)
        self.assert_allowed(try_change(pool("two", "1.1.1.101-1.1.1.210")))

    @case(106)
    def an_aggregate_wider_than_a_pool(self):
        self.keep(pool("wide", "1.1.2.0/28"))
        wait_denied(config("BGPAdvertisement", "aggregate", {"ipAddressPools": ["wide"], "aggregationLength": 26}), "aggregationLength", "26")
        self.assert_allowed(try_create(config("BGPAdvertisement", "aggregate", {"ipAddressPools": ["wide"], "aggregationLength": 28})))

    @case(107)
    def service_selectors_beside_an_aggregation_length(self):
        selected = {"serviceSelectors": [{"matchLabels": {"app": "web"}}]}
        for length in ({"aggregationLength": 24}, {"aggregationLengthV6": 124}):
            with self.subTest(length):
                # By the schema of the definition, before the webhook is asked.
                self.assertRegex(try_create(config("BGPAdvertisement", "selecting", {**selected, **length})), "(?s)selecting.*serviceSelectors")
        self.assert_allowed(try_create(config("BGPAdvertisement", "selecting", {**selected, "aggregationLength": 32})))

    @case(108)
    def an_address_of_a_peer_that_is_none(self):
        # By the schema of the definition, before the webhook is asked.
        self.assertRegex(try_create(peer("peer", "1.1.1")), '(?s)"peer".*spec.peerAddress.*"1.1.1" is not')
        # The version before is the same object.
        older = {**peer("peer", "1.1.1"), "apiVersion": "metallb.io/v1beta1"}
        where = path("BGPPeer", namespace=SYSTEM).replace("v1beta2", "v1beta1")
        self.assertRegex(said("POST", f"{where}?dryRun=All", older, "json"), '(?s)"peer".*spec.peerAddress.*"1.1.1" is not')

    @case(109)
    def two_peers_of_one_address_on_one_node(self):
        on = lambda *nodes: {"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": node}} for node in nodes]}
        self.keep(peer("first", "1.1.1.9", **on("n1", "n2")))
        wait_denied(peer("second", "1.1.1.9", **on("n2", "n3")), "first")
        wait_denied(peer("second", "1.1.1.9", nodeSelectors=[]), "first")

    @case(110)
    def not_two_peers_of_one_address_on_different_nodes(self):
        on = lambda node: {"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": node}}]}
        self.keep(peer("first", "1.1.1.10", **on("n1")))
        # It is known.
        wait_denied(peer("second", "1.1.1.10", **on("n1")), "first")
        self.assert_allowed(try_create(peer("second", "1.1.1.10", **on("n2"))))

    @case(111, "legacy", "large")
    def a_community_that_is_none(self, kind):
        wait_denied(community("some", ("ALIAS", NO_COMMUNITY[kind])), NO_COMMUNITY[kind])

    @case(112, "legacy", "large")
    def a_change_to_a_community_that_is_none(self, kind):
        self.keep(community("some", ("CHANGED", COMMUNITY[kind])))
        wait_denied(community("some", ("CHANGED", NO_COMMUNITY[kind])), NO_COMMUNITY[kind], how=try_change)
        self.assert_allowed(try_change(community("some", ("OTHER", COMMUNITY[kind]))))

    @case(113, *(("in one object", kind) for kind in COMMUNITY))
    def an_alias_twice(self, _where, kind):
        wait_denied(community("some", ("ALIAS", COMMUNITY[kind]), ("ALIAS", COMMUNITY[kind])), "ALIAS")

    @case(113, *(("in two objects", kind) for kind in COMMUNITY))
    def an_alias_of_another_object(self, _where, kind):
        self.keep(community("first", (f"TWICE_{kind}", COMMUNITY[kind])))
        wait_denied(community("second", (f"TWICE_{kind}", COMMUNITY[kind])), f"TWICE_{kind}", "first")

    @case(114)
    def to_delete_a_profile_in_use(self):
        profile = config("BFDProfile", "profile", {})
        self.keep(profile)
        self.assert_allowed(try_delete("BFDProfile", "profile"))
        api.create(peer("using", "1.1.1.14", bfdProfile="profile"))
        try:
            wait_denied(profile, "using", how=lambda body: try_delete("BFDProfile", body["metadata"]["name"]))
        finally:
            api.delete("BGPPeer", "using", SYSTEM)
        until("it may be deleted", lambda: try_delete("BFDProfile", "profile") is None, SECONDS)

    def elsewhere(self, body):
        self.assert_allowed(try_create(body))
        wait_denied({**body, "metadata": {**body["metadata"], "namespace": "default"}}, SYSTEM)

    @case(115)
    def a_profile_elsewhere(self):
        self.elsewhere(config("BFDProfile", "astray", {}))

    @case(116)
    def a_pool_elsewhere(self):
        self.elsewhere(pool("astray", "1.1.3.0/24"))

    @case(117)
    def a_peer_elsewhere(self):
        self.elsewhere(peer("astray", "1.1.1.17"))

    @case(118)
    def a_bgp_advertisement_elsewhere(self):
        self.elsewhere(config("BGPAdvertisement", "astray", {}))

    @case(119)
    def a_layer_2_advertisement_elsewhere(self):
        self.elsewhere(config("L2Advertisement", "astray", {}))

    @case(120)
    def a_community_elsewhere(self):
        self.elsewhere(community("astray", ("ALIAS", "1:1")))


class Knows(Case):
    def test_what_was_deleted_a_moment_ago_denies_nothing(self):
        for number in range(20):
            body = pool("brief", f"198.18.{number}.0/24")
            api.create(body)
            wait_denied(pool("other", f"198.18.{number}.7/32"), "brief")
            api.delete("IPAddressPool", "brief", SYSTEM)
            self.assert_allowed(try_create(pool("other", f"198.18.{number}.7/32")))


class Lasts(Case):
    """The webhook, its certificates, and what becomes of writes without it."""

    def test_without_a_controller_the_policy_decides_and_the_certificates_outlive_it(self):
        broken = pool("broken", "198.18.0.1")
        before = (bundles(), secret())
        self.assertEqual(len(before[0]), 1)
        scale(0)
        self.addCleanup(scale, 1)
        self.assertIn("failed calling webhook", try_create(broken))
        fails("Ignore")
        self.addCleanup(fails, "Fail")
        until("the policy counts", lambda: try_create(broken) is None, SECONDS)
        scale(1)
        wait_denied(broken)
        self.assertEqual((bundles(), secret()), before)

    def test_a_certificate_that_ends_soon_is_made_anew_and_its_ca_stays_trusted(self):
        made = certificates(days=30)
        self.put(made)
        restart()
        wait_denied(pool("broken", "198.18.0.1"))
        (bundle,) = bundles()
        self.assertEqual(bundle.count(b"BEGIN CERTIFICATE"), 2)
        self.assertTrue(bundle.endswith(made["ca.crt"].strip() + b"\n"), bundle)
        self.assertNotEqual(secret()["tls.crt"], made["tls.crt"])
        self.assertEqual(secret()["ca.crt"], bundle)

    def test_certificates_of_another_controller_are_used_while_they_hold(self):
        made = certificates(days=365)
        self.put(made)
        restart()
        until("trusted", lambda: Seen(bundles() == {made["ca.crt"]}, bundles()), SECONDS)
        wait_denied(pool("broken", "198.18.0.1"))
        self.assert_allowed(try_create(pool("fine", "198.18.0.0/24")))
        self.assertEqual(secret(), made)

    def test_the_manifest_applied_again_takes_nothing_away(self):
        before = (bundles(), secret())
        stand().cluster.apply(MANIFEST.read_text(encoding="utf-8"))
        self.addCleanup(fails, "Fail")
        self.assertEqual((bundles(), secret()), before)
        self.assertEqual({hook["failurePolicy"] for hook in hooks_of_it()}, {"Ignore"})
        wait_denied(pool("broken", "198.18.0.1"))

    def test_a_webhook_alone_gives_no_addresses(self):
        (template,) = [p for p in api.list("Pod", SYSTEM, "component=controller") if "deletionTimestamp" not in p["metadata"]]
        spec = template["spec"]
        container = {key: spec["containers"][0][key] for key in ("name", "image", "env", "readinessProbe", "ports")}
        container["args"] = ["controller", "--webhook-mode=onlywebhook"]
        alone = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "webhook", "namespace": SYSTEM, "labels": {"app": "metallb", "component": "webhook"}},
            "spec": {"serviceAccountName": "controller", "containers": [container]},
        }
        api.apply(alone)
        self.addCleanup(api.delete, "Pod", "webhook", SYSTEM)
        scale(0)
        self.addCleanup(scale, 1)
        api.patch("Service", SERVICE, {"spec": {"selector": {"component": "webhook"}}}, SYSTEM)
        self.addCleanup(api.patch, "Service", SERVICE, {"spec": {"selector": {"component": "controller"}}}, SYSTEM)
        wait_denied(pool("broken", "198.18.0.1"))
        self.assert_allowed(try_create(pool("fine", "198.18.0.0/24")))
        conditions = {c["type"]: c["status"] for c in api.get("Pod", "webhook", SYSTEM)["status"]["conditions"]}
        self.assertEqual(conditions["Ready"], "True")
        held = api.get("Lease", "ferrolb-controller", SYSTEM)["spec"].get("holderIdentity")
        self.assertNotEqual(held, "webhook")

    def test_two_controllers_that_start_together_serve_one_certificate(self):
        scale(0)
        self.addCleanup(scale, 1)
        api.patch("Secret", SECRET, {"data": None}, SYSTEM)
        scale(2)
        addresses = {pod["status"]["podIP"] for pod in api.list("Pod", SYSTEM, "component=controller")}
        self.assertEqual(len(addresses), 2)

        def probe():
            kept = ssl.PEM_cert_to_DER_cert(secret()["tls.crt"].decode()) if "tls.crt" in secret() else b""
            seen = [shown(address) == kept for address in addresses]
            return Seen(all(seen) and bundles() == {secret()["ca.crt"]}, seen)

        until("both serve what is in the Secret", probe, SECONDS)
        wait_denied(pool("broken", "198.18.0.1"))

    def put(self, made):
        """Fills the Secret, as another controller would have done."""
        data = {name: base64.b64encode(pem).decode() for name, pem in made.items()}
        api.patch("Secret", SECRET, {"data": data}, SYSTEM)


def bundles():
    """What the API server trusts, by all hooks."""
    return {base64.b64decode(hook["clientConfig"].get("caBundle", "")) for hook in hooks_of_it()}


def secret():
    data = api.get("Secret", SECRET, SYSTEM).get("data", {})
    return {name: base64.b64decode(text) for name, text in data.items()}


def shown(address):
    """The certificate that a controller shows a client that trusts what the API server does; nothing where it wouldn't be trusted."""
    try:
        (bundle,) = bundles()
        trusting = ssl.create_default_context(cadata=bundle.decode())
        with connect(stand().cluster.lab, CONTROL_PLANE, address, 9443, 5.0) as plain, trusting.wrap_socket(plain, server_hostname=SERVER) as secure:
            return secure.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return None


def certificates(days):
    """A CA and a certificate that it signs, as MetalLB's controller makes them: RSA keys."""
    rsa = ["-newkey", "rsa:2048", "-noenc", "-days", str(days)]
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            ["req", "-x509", *rsa, "-subj", "/CN=cert/O=metallb", "-keyout", "ca.key", "-out", "ca.crt",
             "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign"],
            ["req", "-x509", *rsa, "-subj", f"/CN={SERVER}", "-keyout", "tls.key", "-out", "tls.crt", "-CA", "ca.crt", "-CAkey", "ca.key",
             "-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName=DNS:{SERVER}", "-addext", "extendedKeyUsage=serverAuth",
             "-addext", "keyUsage=critical,digitalSignature,keyEncipherment"],
        ):
            subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
        return {name: Path(folder, name).read_bytes() for name in ("ca.crt", "ca.key", "tls.crt", "tls.key")}


def scale(replicas):
    """Waits until there are so many controllers that are ready, and no others."""
    api.patch("Deployment", "controller", {"spec": {"replicas": replicas}}, SYSTEM)

    def probe():
        pods = api.list("Pod", SYSTEM, "component=controller")
        slices = api.list("EndpointSlice", SYSTEM, f"kubernetes.io/service-name={SERVICE}")
        ready = [e for s in slices for e in s["endpoints"] or () if e["conditions"]["ready"]]
        return Seen(len(pods) == len(ready) == replicas, (len(pods), len(ready)))

    until(f"{replicas} controllers", probe, SECONDS)


def restart():
    scale(0)
    scale(1)


if __name__ == "__main__":
    unittest.main()
