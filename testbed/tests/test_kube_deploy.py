"""What is shipped for installing, judged by a real API server: manifest, kustomizations, monitors, chart; and a Helm release's whole life.

The API server stands alone, so that nothing runs. Definitions of monitoring.coreos.com are the Prometheus operator's, which
isn't here: stand-ins are, which know the names of an endpoint's and a rule's fields and nothing of what is in them.
"""

import json
import subprocess
import unittest

import yaml
from kube import build
from kube.cluster import Cluster
from kube.network import CONTROL_PLANE
from labkit.build import ROOT, binary
from manifests import SYSTEM, pool
from test_chart import CHART, FULL, METALLB_DEFAULTS, PROMETHEUS, RELEASE, helm

cluster = None


def setUpModule():
    global cluster
    build.helm()
    cluster = Cluster.api_alone()
    unittest.addModuleCleanup(cluster.down)
    # A dry run makes nothing, so that what is in a namespace needs it beforehand.
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    cluster.apply([monitoring(kind, plural) for kind, plural in (
        ("PodMonitor", "podmonitors"), ("ServiceMonitor", "servicemonitors"), ("PrometheusRule", "prometheusrules"))])
    for plural in ("podmonitors", "servicemonitors", "prometheusrules"):
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{plural}.monitoring.coreos.com", "--timeout=60s")


# What the operator's definitions have; it refuses a token's file in a PodMonitor.
ENDPOINT = ("authorization", "basicAuth", "bearerTokenSecret", "enableHttp2", "followRedirects", "honorLabels", "honorTimestamps", "interval",
            "metricRelabelings", "oauth2", "params", "path", "port", "proxyUrl", "relabelings", "scheme", "scrapeTimeout", "targetPort", "tlsConfig")
MONITOR = ("jobLabel", "namespaceSelector", "podTargetLabels", "sampleLimit", "selector", "targetLimit")
RULE = ("alert", "annotations", "expr", "for", "keep_firing_for", "labels", "record")


def monitoring(kind, plural):
    """The definition of a kind of the Prometheus operator, as far as this test knows it."""
    if kind == "PrometheusRule":
        spec = fields(groups=each(fields("name", "interval", rules=each(fields(*RULE)))))
    elif kind == "PodMonitor":
        spec = fields(*MONITOR, podMetricsEndpoints=each(fields(*ENDPOINT, "filterRunning")))
    else:
        spec = fields(*MONITOR, "targetLabels", endpoints=each(fields(*ENDPOINT, "bearerTokenFile")))
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                 "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": fields(spec=spec)}}]},
    }


def fields(*anything, **known):
    return {"type": "object", "properties": {**{name: {"x-kubernetes-preserve-unknown-fields": True} for name in anything}, **known}}


def each(schema):
    return {"type": "array", "items": schema}


def judged(*source, data=None):
    """What a dry run says, a line an object, and its warnings."""
    command = cluster.kubectl_command("apply", "--dry-run=server", "--validate=strict", "--request-timeout=80s", *source)
    done = subprocess.run(command, input=data or "", capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    warnings = [line for line in done.stderr.splitlines() if "last-applied-configuration" not in line]
    return done.stdout.splitlines(), warnings


class Manifests(unittest.TestCase):
    def check(self, objects, *source, data=None):
        lines, warnings = judged(*source, data=data)
        self.assertEqual(warnings, [])
        self.assertEqual(len(lines), objects, lines)
        self.assertTrue(all("(server dry run)" in line for line in lines), lines)

    def kustomized(self, folder):
        return list(yaml.safe_load_all(cluster.kubectl("kustomize", str(ROOT / folder))))

    def test_the_one_file(self):
        path = ROOT / "deploy/ferrolb.yaml"
        count = len(list(yaml.safe_load_all(path.read_text(encoding="utf-8"))))
        self.assertGreater(count, 25)
        self.check(count, "-f", str(path))

    def test_the_kustomizations(self):
        whole, without, webhook = (self.kustomized(folder) for folder in ("deploy", "config/without-webhook", "config/webhook"))
        for folder, documents in (("deploy", whole), ("config/without-webhook", without), ("config/webhook", webhook)):
            self.check(len(documents), "-k", str(ROOT / folder))

        def names(documents):
            return {(d["kind"], d["metadata"]["name"]) for d in documents}

        # The two are all of it, and nothing of the one is in the other.
        self.assertEqual(names(without) | names(webhook), names(whole))
        self.assertFalse(names(without) & names(webhook))
        (controller,) = (d for d in without if d["kind"] == "Deployment")
        self.assertIn("--webhook-mode=disabled", controller["spec"]["template"]["spec"]["containers"][0]["args"])

    def test_the_monitoring(self):
        self.check(len(self.kustomized("deploy/monitoring")), "-k", str(ROOT / "deploy/monitoring"))
        self.check(6, "-f", str(ROOT / "deploy/monitoring/podmonitors.yaml"))

    def test_a_field_that_the_operator_does_not_know_is_found(self):
        monitors = yaml.safe_load_all((ROOT / "deploy/monitoring/servicemonitors.yaml").read_text(encoding="utf-8"))
        monitor = next(document for document in monitors if document["kind"] == "ServiceMonitor")
        monitor["spec"]["endpoints"][0]["tokenFile"] = "x"
        with self.assertRaisesRegex(AssertionError, "tokenFile"):
            judged("-f", "-", data=json.dumps(monitor))

    def test_the_network_policies(self):
        self.check(2, "-f", str(ROOT / "deploy/networkpolicies.yaml"))

    def test_the_rbac_of_its_own(self):
        for name in ("controller", "speaker"):
            self.check(5, "-f", str(ROOT / f"config/rbac/{name}.yaml"))

    def test_the_chart_with_several_values(self):
        service_monitors = {"prometheus": {**PROMETHEUS, "serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
        for values in ({}, METALLB_DEFAULTS, FULL, service_monitors, {"controller": {"webhookMode": "onlywebhook"}}):
            text = helm("template", RELEASE, str(CHART), "--namespace", SYSTEM, "--kube-version", build.version(), values=values)
            count = len([d for d in yaml.safe_load_all(text) if d])
            with self.subTest(values=json.dumps(values)[:60]):
                self.check(count, "-f", "-", data=text)


def metallbs_objects():
    """A stand-in for what MetalLB's chart makes in a release called metallb: what can't be changed later, and what must not stay."""
    with_conversion = next(yaml.safe_load_all((ROOT / "config/crd/bgppeers.metallb.io.yaml").read_text(encoding="utf-8")))
    service = {"name": "metallb-webhook-service", "namespace": SYSTEM, "path": "/convert"}
    with_conversion["spec"]["conversion"] = {
        "strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1beta1", "v1beta2"], "clientConfig": {"service": service}}}
    yield with_conversion
    rbac = "rbac.authorization.k8s.io/v1"
    for kind, component in (("DaemonSet", "speaker"), ("Deployment", "controller")):
        name, labels = f"metallb-{component}", {
            "app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": RELEASE, "app.kubernetes.io/component": component}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        yield {
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                "serviceAccountName": name, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": component, "image": f"quay.io/metallb/{component}", "args": ["--port=9120"]},
                               *([{"name": "frr", "image": "quay.io/frrouting/frr"}] if component == "speaker" else [])],
            }}},
        }
        yield {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": f"metallb:{component}"}, "rules": []}
        yield {
            "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": {"name": f"metallb:{component}"},
            "roleRef": {"apiGroup": rbac.split("/")[0], "kind": "ClusterRole", "name": f"metallb:{component}"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": SYSTEM}],
        }
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "metallb-memberlist"}}


class Release(unittest.TestCase):
    """Helm itself against the API server."""

    def tearDown(self):
        self.helm("uninstall", RELEASE, "--ignore-not-found")
        definitions = [file.stem for file in (ROOT / "config/crd").iterdir()]
        cluster.kubectl("delete", "crd", "--ignore-not-found", *definitions)

    def helm(self, *arguments, values=None):
        path = cluster.lab.folder / "values.json"
        path.write_text(json.dumps(values or {}), encoding="utf-8")
        flags = [] if values is None else ["--values", str(path)]
        command = [str(build.helm()), "--kubeconfig", str(cluster.kubeconfig), "--namespace", SYSTEM, *arguments, *flags]
        done = subprocess.run(cluster.lab.beside(CONTROL_PLANE, command), capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"helm {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def test_a_release_is_installed_upgraded_and_removed_and_leaves_the_configuration(self):
        said = self.helm("install", RELEASE, str(CHART), values={"speaker": {"memberlist": {"enabled": False}}})
        self.assertIn("speaker.memberlist: ", said)
        cluster.kubectl("wait", "--for=condition=Established", "crd/ipaddresspools.metallb.io", "--timeout=60s")
        # Nobody serves the webhook, which then is passed over.
        cluster.apply(pool("kept", "192.168.1.240/28"))
        args = self.controller()["args"]
        self.assertNotIn("--log-level=debug", args)

        # All that can be changed, and back to nothing said.
        for values in (FULL, {}):
            # Without any, those of before would count.
            self.helm("upgrade", RELEASE, str(CHART), "--reset-values", values=values)
        self.assertEqual(self.controller()["args"], args)

        # `Fail`, as MetalLB has it: without a controller nothing of metallb.io can be written.
        self.helm("upgrade", RELEASE, str(CHART), values={"crds": {"validationFailurePolicy": "Fail"}})
        done = subprocess.run(cluster.kubectl_command("apply", "-f", "-"), input=json.dumps(pool("refused", "192.168.2.0/24")),
                              capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ipaddresspoolvalidationwebhook.metallb.io", done.stderr)

        self.helm("uninstall", RELEASE)
        self.assertEqual(cluster.get("deployments", namespace=SYSTEM) + cluster.get("daemonsets", namespace=SYSTEM), [])
        self.assertEqual([p["metadata"]["name"] for p in cluster.get("ipaddresspools", namespace=SYSTEM)], ["kept"])
        # A later release takes them over.
        self.helm("install", RELEASE, str(CHART), values={})
        self.assertEqual([p["metadata"]["name"] for p in cluster.get("ipaddresspools", namespace=SYSTEM)], ["kept"])
        self.helm("uninstall", RELEASE)

    def test_a_release_of_metallbs_chart_is_upgraded_to_this_one(self):
        folder = cluster.lab.folder / "metallb"
        (folder / "templates").mkdir(parents=True)
        (folder / "Chart.yaml").write_text("{apiVersion: v2, name: metallb, version: 0.16.1}", encoding="utf-8")
        (folder / "templates/all.yaml").write_text(yaml.safe_dump_all(metallbs_objects()), encoding="utf-8")
        self.helm("install", RELEASE, str(folder))
        self.helm("upgrade", RELEASE, str(CHART), values=METALLB_DEFAULTS)
        for kind, name in (("daemonset", "speaker"), ("deployment", "controller")):
            (container,) = cluster.get(kind, f"metallb-{name}", SYSTEM)["spec"]["template"]["spec"]["containers"]
            self.assertRegex(container["image"], "^localhost/ferrolb:")
            self.assertEqual(container["args"][0], name)
        self.assertEqual(cluster.get("crd", "bgppeers.metallb.io")["spec"]["conversion"], {"strategy": "None"})
        # An object that only MetalLB has is gone with it.
        self.assertEqual(cluster.kubectl("get", "secret", "metallb-memberlist", "-n", SYSTEM, "--ignore-not-found"), "")

    def test_the_printed_definitions_take_the_place_of_those_of_metallbs_chart(self):
        # As helm makes them: without the annotation by which `kubectl apply` knows what was there before.
        theirs = next(metallbs_objects())
        cluster.kubectl("delete", "crd", theirs["metadata"]["name"], "--ignore-not-found")
        cluster.kubectl("create", "-f", "-", data=yaml.safe_dump(theirs))
        printed = subprocess.run([str(binary()), "crds"], check=True, capture_output=True, text=True).stdout
        cluster.apply(printed)
        self.assertEqual(cluster.get("crd", theirs["metadata"]["name"])["spec"]["conversion"], {"strategy": "None"})
        cluster.kubectl("delete", "-f", "-", data=printed)

    def controller(self):
        return cluster.get("deployment", "metallb-controller", SYSTEM)["spec"]["template"]["spec"]["containers"][0]


if __name__ == "__main__":
    unittest.main()
