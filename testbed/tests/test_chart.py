"""The Helm chart, rendered: its objects are those of deploy/ferrolb.yaml, and MetalLB's values do what they say or are named. Without root.

Helm is built once from pinned modules, which needs Go.
"""

import copy
import functools
import json
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml
from kube import build
from labkit.build import ROOT

CHART = ROOT / "deploy/helm/ferrolb"
RELEASE, NAMESPACE = "metallb", "metallb-system"
PLACE = ("--namespace", NAMESPACE, "--kube-version", build.version())
HELM_LABELS = {"app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": RELEASE}
# MetalLB's values.yaml as far as it says something that means nothing here, or less.
METALLB_DEFAULTS = {
    "frrk8s": {"enabled": True, "external": False, "namespace": ""}, "frr-k8s": {},
    "crds": {"enabled": True, "validationFailurePolicy": "Fail"},
    "tls": {"cipherSuites": "", "curvePreferences": "", "minVersion": ""},
    "controller": {"image": {"repository": "quay.io/metallb/controller", "tag": None, "pullPolicy": None},
                   "strategy": {"type": "RollingUpdate"}, "livenessProbe": {"enabled": True, "timeoutSeconds": 1}},
    "speaker": {
        "image": {"repository": "quay.io/metallb/speaker", "tag": None, "pullPolicy": None},
        "memberlist": {"enabled": True, "mlBindPort": 7946, "mlBindAddrOverride": "", "mlSecretKeyPath": "/etc/ml_secret_key"},
        "bgpDebounceTimeout": None, "startupProbe": {"enabled": True, "failureThreshold": 30, "periodSeconds": 5},
        "frr": {"enabled": False, "image": {"repository": "quay.io/frrouting/frr", "tag": "10.5.3", "pullPolicy": None},
                "metricsPort": 9121, "resources": {}},
        "reloader": {"resources": {}}, "frrMetrics": {"resources": {}},
        "initContainers": {"cpFrrFiles": {"resources": {}}, "cpReloader": {"resources": {}}, "cpMetrics": {"resources": {}}},
    },
}
PROMETHEUS = {"serviceAccount": "prometheus-k8s", "namespace": "monitoring"}


def helm(*arguments, values=None, check=True):
    """What helm wrote to standard output; where it may fail, to both."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values or {}, file)
        file.flush()
        command = [str(build.helm()), *arguments, "--values", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"helm {' '.join(arguments)}: {done.stderr}")
    return done.stdout if check else done.stdout + done.stderr


def render(values=None, release=RELEASE):
    """The objects for these values, by kind and name."""
    text = helm("template", release, str(CHART), *PLACE, values=values)
    objects = [document for document in yaml.safe_load_all(text) if document]
    found = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    assert len(found) == len(objects), "two objects of one name"
    return found


def notes(values=None):
    """What is said after an installation; without a cluster helm shows it only where it is part of an object."""
    with tempfile.TemporaryDirectory(prefix="ferrolb-helm-") as folder:
        chart = Path(shutil.copytree(CHART, Path(folder, "ferrolb")))
        told = chart / "templates/NOTES.txt"
        text = told.read_text(encoding="utf-8")
        told.unlink()
        (chart / "templates/notes.yaml").write_text(
            f'{{{{- define "notes" }}}}{text}{{{{ end }}}}\n{{"notes": {{{{ include "notes" . | toJson }}}}}}\n', encoding="utf-8")
        said = helm("template", RELEASE, str(chart), *PLACE, "--show-only", "templates/notes.yaml", values=values)
    return yaml.safe_load(said)["notes"]


def ignored(values=None):
    """The values that the notes name, each with what is said of it."""
    lines = [line.removeprefix("  - ") for line in notes(values).splitlines() if line.startswith("  - ")]
    return dict(line.split(": ", 1) for line in lines)


def container(objects, component):
    kind = {"controller": "Deployment", "speaker": "DaemonSet"}[component]
    return objects[kind, f"metallb-{component}"]["spec"]["template"]["spec"]["containers"][0]


def pod(objects, component):
    kind = {"controller": "Deployment", "speaker": "DaemonSet"}[component]
    return objects[kind, f"metallb-{component}"]["spec"]["template"]


def shipped():
    """The objects of deploy/ferrolb.yaml, by kind and name."""
    documents = yaml.safe_load_all((ROOT / "deploy/ferrolb.yaml").read_text(encoding="utf-8"))
    return {(d["kind"], d["metadata"]["name"]): d for d in documents}


def renamed(name):
    """The chart's name of an object of deploy/ferrolb.yaml."""
    if name.startswith("metallb-system:"):
        return name.replace("metallb-system:", f"{RELEASE}:")
    return name if name.startswith("metallb-") or "." in name else f"{RELEASE}-{name}"


class Same(unittest.TestCase):
    """All that differs between the chart's default objects and deploy/ferrolb.yaml is what `translated` and `expected_labels` do."""

    def translated(self, document):
        document = copy.deepcopy(document)
        kind, name = document["kind"], document["metadata"]["name"]
        document["metadata"]["name"] = renamed(name)
        document["metadata"].pop("labels", None)
        if kind == "CustomResourceDefinition":
            # They stay when the release goes.
            document["metadata"].setdefault("annotations", {})["helm.sh/resource-policy"] = "keep"
        if "roleRef" in document:
            document["roleRef"]["name"] = renamed(document["roleRef"]["name"])
            for subject in document["subjects"]:
                subject["name"] = renamed(subject["name"])
        if kind in ("Deployment", "DaemonSet"):
            labels = {**HELM_LABELS, "app.kubernetes.io/component": name}
            document["spec"]["selector"]["matchLabels"] = labels
            document["spec"]["template"]["metadata"]["labels"] = labels
            document["spec"]["template"]["spec"]["serviceAccountName"] = renamed(name)
        if kind == "Service":
            document["spec"]["selector"] = {**HELM_LABELS, "app.kubernetes.io/component": "controller"}
        return document

    def test_the_chart_s_objects_are_those_of_the_manifest(self):
        expected = {(kind, renamed(name)): self.translated(document) for (kind, name), document in shipped().items()}
        # Helm's own option makes the namespace.
        del expected["Namespace", NAMESPACE]
        found = render()
        self.assertEqual(sorted(found), sorted(expected))
        for key, document in found.items():
            labels = document["metadata"].pop("labels")
            self.assertLessEqual(HELM_LABELS.items(), labels.items(), key)
            self.assertEqual(labels["app.kubernetes.io/managed-by"], "Helm")
            self.assertEqual(document, expected[key], key)

    def test_every_object_is_in_the_release_s_namespace_or_in_none(self):
        for key, document in render(FULL).items():
            self.assertIn(document["metadata"].get("namespace", NAMESPACE), (NAMESPACE,), key)

    def test_helm_finds_no_fault(self):
        for values in ({}, METALLB_DEFAULTS, FULL):
            said = helm("lint", "--strict", str(CHART), values=values)
            self.assertIn("0 chart(s) failed", said)


FULL = {
    "imagePullSecrets": [{"name": "registry"}], "loadBalancerClass": "example.com/lb", "image": {"pullPolicy": "Always"},
    "tls": {"minVersion": "VersionTLS12", "cipherSuites": "A,B", "curvePreferences": "23,29",
            "controllerMetricsTLSSecret": "c-tls", "speakerMetricsTLSSecret": "s-tls"},
    "prometheus": {
        **PROMETHEUS, "metricsPort": 7472, "scrapeAnnotations": True, "dashboard": {"enabled": True},
        "podMonitor": {"enabled": True, "interval": "15s", "additionalLabels": {"release": "prom"}, "annotations": {"a": "b"},
                       "relabelings": [{"action": "labeldrop", "regex": "x"}]},
        "prometheusRule": {"enabled": True, "additionalLabels": {"release": "prom"}, "extraAlerts": [{"alert": "Mine", "expr": "up == 0"}]},
    },
    "controller": {
        "logLevel": "debug", "replicas": 2, "strategy": {"type": "Recreate"}, "resources": {"limits": {"cpu": "100m"}},
        "nodeSelector": {"role": "infra"}, "tolerations": [{"key": "infra", "operator": "Exists"}], "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical", "podAnnotations": {"x": "y"}, "labels": {"team": "net"},
        "securityContext": {"runAsUser": 1000}, "serviceAccount": {"name": "ctl", "annotations": {"k": "v"}},
        "livenessProbe": {"failureThreshold": 7}, "readinessProbe": {"enabled": False}, "extraContainers": [{"name": "side", "image": "x"}],
        "image": {"repository": "registry.example/ferrolb", "tag": "9"},
    },
    "speaker": {
        "logLevel": "warn", "tolerateMaster": False, "tolerations": [{"operator": "Exists"}], "ignoreExcludeLB": True,
        "gratuitousARPInterval": "5m", "excludeInterfaces": {"enabled": False}, "updateStrategy": {"type": "OnDelete"},
        "runtimeClassName": "crun", "livenessProbe": {"port": 17473}, "nodeSelector": {"edge": "true"},
    },
    "networkpolicies": {"enabled": True, "defaultDeny": True, "apiPort": 443},
    "crds": {"validationFailurePolicy": "Fail"},
}


class Values(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.full = render(FULL)

    def test_flags(self):
        default = {component: container(render(), component)["args"] for component in ("controller", "speaker")}
        shared = ["--port=7472", "--lb-class=example.com/lb", "--metrics-cert-dir=/etc/metrics", "--tls-cipher-suites=A,B",
                  "--tls-curve-preferences=23,29", "--tls-min-version=VersionTLS12"]
        expected = {
            "controller": ["--log-level=debug", *shared],
            "speaker": ["--log-level=warn", "--gratuitous-arp-interval=5m", "--health-probe-port=17473", "--ignore-exclude-lb=true", *shared],
        }
        for component, flags in expected.items():
            args = container(self.full, component)["args"]
            self.assertEqual(args[0], component)
            self.assertLessEqual(set(flags), set(args))
            # Nothing is said twice, and nothing is lost.
            names = [flag.split("=")[0] for flag in args]
            self.assertEqual(len(set(names)), len(names))
            self.assertLessEqual({flag.split("=")[0] for flag in default[component]}, set(names))

    def test_ports_and_probes(self):
        ports = {port["name"]: port["containerPort"] for port in container(self.full, "controller")["ports"]}
        self.assertLessEqual({"metricshttps": 7472, "health": 17472, "webhook-server": 9443}.items(), ports.items())
        controller, speaker = container(self.full, "controller"), container(self.full, "speaker")
        self.assertNotIn("readinessProbe", controller)
        self.assertEqual((controller["livenessProbe"]["failureThreshold"], controller["livenessProbe"]["timeoutSeconds"]), (7, 8))
        for probe in ("livenessProbe", "readinessProbe"):
            self.assertEqual(speaker[probe]["httpGet"]["port"], 17473)

    def test_pods(self):
        controller, speaker = pod(self.full, "controller"), pod(self.full, "speaker")
        spec = controller["spec"]
        self.assertEqual(spec["nodeSelector"], {"kubernetes.io/os": "linux", "role": "infra"})
        self.assertEqual(spec["tolerations"], [{"key": "infra", "operator": "Exists"}])
        self.assertEqual((spec["affinity"], spec["priorityClassName"]), ({"nodeAffinity": {}}, "system-cluster-critical"))
        self.assertEqual((spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsNonRoot"]), (1000, True))
        self.assertEqual((spec["imagePullSecrets"], spec["serviceAccountName"]), ([{"name": "registry"}], "ctl"))
        self.assertEqual([c["name"] for c in spec["containers"]], ["controller", "side"])
        self.assertEqual(spec["containers"][0]["resources"], {"limits": {"cpu": "100m"}})
        self.assertEqual({k: v for k, v in controller["metadata"]["labels"].items() if k == "team"}, {"team": "net"})
        self.assertEqual(controller["metadata"]["annotations"], {
            "x": "y", "prometheus.io/scrape": "true", "prometheus.io/scheme": "https", "prometheus.io/port": "7472"})
        self.assertEqual(speaker["spec"]["tolerations"], [{"operator": "Exists"}])
        self.assertEqual(speaker["spec"]["runtimeClassName"], "crun")
        self.assertEqual(self.full["ConfigMap", "metallb-excludel2"]["data"], {"excludel2.yaml": "announcedInterfacesToExclude: []\n"})
        for template, secret in ((controller, "c-tls"), (speaker, "s-tls")):
            self.assertIn({"name": "metrics-certs", "secret": {"secretName": secret}}, template["spec"]["volumes"])
            mounts = template["spec"]["containers"][0]["volumeMounts"]
            self.assertIn({"name": "metrics-certs", "mountPath": "/etc/metrics", "readOnly": True}, mounts)
        self.assertEqual(self.full["Deployment", "metallb-controller"]["spec"]["replicas"], 2)
        self.assertEqual(self.full["Deployment", "metallb-controller"]["spec"]["strategy"], {"type": "Recreate"})
        self.assertEqual(self.full["DaemonSet", "metallb-speaker"]["spec"]["updateStrategy"], {"type": "OnDelete"})

    def test_revisions(self):
        workloads = (("Deployment", "metallb-controller"), ("DaemonSet", "metallb-speaker"))
        plain = [render()[key]["spec"].get("revisionHistoryLimit") for key in workloads]
        self.assertEqual(plain, [shipped()[kind, name.removeprefix("metallb-")]["spec"].get("revisionHistoryLimit") for kind, name in workloads])
        given = render({"controller": {"revisionHistoryLimit": 0}, "speaker": {"revisionHistoryLimit": 10}})
        self.assertEqual([given[key]["spec"]["revisionHistoryLimit"] for key in workloads], [0, 10])

    def test_the_interval_of_gratuitous_arp_may_be_a_number_of_seconds(self):
        for given, said in ((30, "30"), (2_000_000, "2000000"), ("90s", "90s")):
            self.assertIn(f"--gratuitous-arp-interval={said}", container(render({"speaker": {"gratuitousARPInterval": given}}), "speaker")["args"])
        for nothing in (0, None, ""):
            self.assertFalse([flag for flag in container(render({"speaker": {"gratuitousARPInterval": nothing}}), "speaker")["args"] if "gratuitous" in flag])

    def test_accounts_and_rights(self):
        self.assertEqual(self.full["ServiceAccount", "ctl"]["metadata"]["annotations"], {"k": "v"})
        for kind, name in (("ClusterRoleBinding", "metallb:controller"), ("RoleBinding", "metallb-webhook"), ("RoleBinding", "metallb-controller")):
            self.assertEqual([(s["name"], s["namespace"]) for s in self.full[kind, name]["subjects"]], [("ctl", NAMESPACE)])
        none = render({"rbac": {"create": False}, "speaker": {"serviceAccount": {"create": False, "name": "mine"}}})
        self.assertFalse([key for key in none if "Role" in key[0]])
        self.assertEqual([name for kind, name in none if kind == "ServiceAccount"], ["metallb-controller"])
        self.assertEqual(pod(none, "speaker")["spec"]["serviceAccountName"], "mine")

    def test_images(self):
        self.assertEqual(container(self.full, "controller")["image"], "registry.example/ferrolb:9")
        self.assertEqual(container(self.full, "speaker")["imagePullPolicy"], "Always")
        shared = render({"image": {"repository": "r/ferrolb", "tag": "2"}})
        self.assertEqual([container(shared, c)["image"] for c in ("controller", "speaker")], ["r/ferrolb:2"] * 2)
        # MetalLB's program under our arguments would be no FerroLB at all.
        default = container(render(), "speaker")["image"]
        for image in ({"repository": "mirror.example/quay/metallb/speaker", "tag": "v0.15.2"}, {"tag": "v0.14.9"}):
            values = {"speaker": {"image": image}}
            self.assertEqual(container(render(values), "speaker")["image"], default)
            self.assertIn("speaker.image", ignored(values))

    def test_what_is_left_out(self):
        without = render({"controller": {"webhookMode": "disabled"}, "crds": {"enabled": False}})
        self.assertFalse([key for key in without if "ebhook" in "".join(key) or key[0] == "CustomResourceDefinition"])
        self.assertIn("--webhook-mode=disabled", container(without, "controller")["args"])
        self.assertFalse([key for key in render({"speaker": {"enabled": False}}) if "speaker" in key[1]])
        self.assertFalse([key for key in render({"controller": {"enabled": False}}) if "controller" in key[1] or "ebhook" in "".join(key)])
        policies = {webhook["failurePolicy"] for webhook in self.full["ValidatingWebhookConfiguration", "metallb-webhook-configuration"]["webhooks"]}
        self.assertEqual(policies, {"Fail"})

    def test_network_policies(self):
        policy = self.full["NetworkPolicy", "metallb-controller"]["spec"]
        self.assertEqual([port["port"] for rule in policy["ingress"] for port in rule["ports"]], ["metricshttps", "webhook-server"])
        self.assertEqual(policy["egress"], [{"ports": [{"port": 443, "protocol": "TCP"}]}])
        plain = list(yaml.safe_load_all((ROOT / "deploy/networkpolicies.yaml").read_text(encoding="utf-8")))
        default = render({"networkpolicies": {"enabled": True, "defaultDeny": True}})
        for document in plain:
            name = document["metadata"]["name"]
            if name == "controller":
                document["spec"]["podSelector"]["matchLabels"] = {**HELM_LABELS, "app.kubernetes.io/component": name}
            found = default["NetworkPolicy", name if name == "default-deny" else renamed(name)]
            self.assertEqual(found["spec"], document["spec"])
        # As in MetalLB's chart, the one is within the other.
        self.assertFalse([key for key in render({"networkpolicies": {"defaultDeny": True}}) if key[0] == "NetworkPolicy"])

    def test_names_are_metallbs_in_a_release_of_its_name_only(self):
        self.assertIn(("DaemonSet", "lb-metallb-speaker"), render(release="lb"))
        self.assertIn(("DaemonSet", "x-speaker"), render({"fullnameOverride": "x"}, release="lb"))

    def test_contradictions_end_it(self):
        for values, why in (
            ({"prometheus": {"podMonitor": {"enabled": True}}}, "who may read metrics"),
            ({"prometheus": {**PROMETHEUS, "podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}}, "enable one"),
            ({"configInline": {"peers": []}}, "configInline"),
            ({"controller": {"logLevel": "loud"}}, "logLevel"),
        ):
            said = helm("template", RELEASE, str(CHART), *PLACE, values=values, check=False)
            self.assertIn("Error", said)
            self.assertIn(why, said)


class Monitoring(unittest.TestCase):
    def plain(self, name):
        return list(yaml.safe_load_all((ROOT / "deploy/monitoring" / name).read_text(encoding="utf-8")))

    def test_monitors_are_the_plain_ones_but_for_names_and_selectors(self):
        for kind, file, key in (("podMonitor", "podmonitors.yaml", "PodMonitor"), ("serviceMonitor", "servicemonitors.yaml", "ServiceMonitor")):
            found = render({"prometheus": {**PROMETHEUS, kind: {"enabled": True}}})
            for document in self.plain(file):
                component = document["metadata"]["labels"].get("component")
                if not component:
                    self.assertIn((document["kind"], renamed(document["metadata"]["name"])), found)
                    continue
                rendered = found[document["kind"], renamed(document["metadata"]["name"])]["spec"]
                expected = document["spec"]
                labels = {**HELM_LABELS, "app.kubernetes.io/component": component}
                if document["kind"] == "Service":
                    expected["selector"] = labels
                else:
                    expected["jobLabel"] = "app.kubernetes.io/name"
                    expected["selector"]["matchLabels"] = labels if key == "PodMonitor" else {"name": f"metallb-{component}-monitor-service"}
                    if key == "PodMonitor":
                        expected["podMetricsEndpoints"][0]["authorization"]["credentials"]["name"] = "metallb-monitor-token"
                self.assertEqual(rendered, expected)
            if key == "ServiceMonitor":
                for component in ("controller", "speaker"):
                    wanted = found[key, f"metallb-{component}-monitor"]["spec"]["selector"]["matchLabels"]
                    labels = found["Service", f"metallb-{component}-monitor-service"]["metadata"]["labels"]
                    self.assertLessEqual(wanted.items(), labels.items())
            self.assertIn(("ClusterRole", "metallb:metrics-reader"), found)
            self.assertEqual(found["RoleBinding", "metallb-prometheus"]["subjects"],
                             [{"kind": "ServiceAccount", "name": "prometheus-k8s", "namespace": "monitoring"}])

    def test_the_token_of_pod_monitors_is_of_an_account_that_may_read_metrics(self):
        found = render({"prometheus": {**PROMETHEUS, "podMonitor": {"enabled": True}}})
        secret = found["Secret", "metallb-monitor-token"]
        self.assertEqual(secret["metadata"]["annotations"], {"kubernetes.io/service-account.name": "metallb-monitor"})
        self.assertIn(("ServiceAccount", "metallb-monitor"), found)
        binding = found["ClusterRoleBinding", "metallb:monitor"]
        self.assertEqual(binding["subjects"], [{"kind": "ServiceAccount", "name": "metallb-monitor", "namespace": NAMESPACE}])
        self.assertEqual(found["ClusterRole", binding["roleRef"]["name"]]["rules"], [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])

    def test_a_monitor_takes_its_values(self):
        monitor = render(FULL)["PodMonitor", "metallb-speaker"]
        self.assertEqual(monitor["metadata"]["labels"]["release"], "prom")
        self.assertEqual(monitor["metadata"]["annotations"], {"a": "b"})
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        self.assertEqual((endpoint["interval"], endpoint["relabelings"]), ("15s", [{"action": "labeldrop", "regex": "x"}]))

    def rules(self, values):
        found = render({"prometheus": {"prometheusRule": {"enabled": True, **values}}})
        return {rule["alert"]: rule for group in found["PrometheusRule", "metallb"]["spec"]["groups"] for rule in group["rules"]}

    def test_alerts_are_the_plain_ones(self):
        (plain,) = self.plain("prometheusrule.yaml")
        self.assertEqual(list(self.rules({}).values()), plain["spec"]["groups"][0]["rules"])

    def test_alerts_take_their_values(self):
        rules = self.rules({
            "staleConfig": {"enabled": False}, "bgpSessionDown": {"labels": {"severity": "page"}}, "ferrolb": {"enabled": False},
            "addressPoolExhausted": {"excludePools": "test-.*"}, "addressPoolUsage": {"thresholds": [{"percent": 60, "labels": {"a": "b"}}]},
            "extraAlerts": [{"alert": "Mine", "expr": "up == 0"}],
        })
        self.assertEqual(list(rules), ["MetalLBConfigNotLoaded", "MetalLBAddressPoolExhausted", "MetalLBAddressPoolUsage60Percent",
                                       "MetalLBBGPSessionDown", "Mine"])
        self.assertEqual(rules["MetalLBBGPSessionDown"]["labels"], {"severity": "page"})
        usage = rules["MetalLBAddressPoolUsage60Percent"]
        self.assertEqual((usage["expr"].count("> 60"), usage["labels"]), (2, {"a": "b"}))
        self.assertIn("more than 60 %", usage["annotations"]["summary"])
        self.assertIn('unless on (pool) metallb_allocator_addresses_total{pool=~"test-.*"}', rules["MetalLBAddressPoolExhausted"]["expr"])

    def test_the_dashboard_is_the_plain_one(self):
        config_map = render({"prometheus": {"dashboard": {"enabled": True}}})["ConfigMap", "metallb-dashboard"]
        plain = json.loads((ROOT / "deploy/monitoring/dashboard.json").read_text(encoding="utf-8"))
        self.assertEqual(json.loads(config_map["data"]["ferrolb.json"]), plain)
        self.assertEqual(config_map["metadata"]["labels"]["grafana_dashboard"], "1")


class Ignored(unittest.TestCase):
    def test_nothing_is_named_for_nothing(self):
        self.assertEqual(ignored(), {})
        self.assertEqual(set(ignored(METALLB_DEFAULTS)), {"controller.image", "speaker.image"})
        self.assertEqual(ignored(FULL), {})

    def test_what_changes_nothing_is_named_with_why(self):
        given = {
            "frrk8s": {"enabled": False}, "frr-k8s": {"prometheus": {"serviceMonitor": {"enabled": True}}},
            "speaker": {"memberlist": {"enabled": False}, "frr": {"enabled": True}, "secretName": "x", "bgpDebounceTimeout": 500, "typo": 1},
            "networkpolicies": {"enable": True}, "prometheus": {"podMonitor": {"enable": True}, "rbacProxy": {"tag": "v1"}, "secureMetricsPort": 9120}, "tls": {"sipherSuites": "x"}, "nonsense": True,
        }
        named = ignored(given)
        self.assertEqual(set(named), {
            "frrk8s", "frr-k8s", "speaker.memberlist", "speaker.frr", "speaker.secretName", "speaker.bgpDebounceTimeout", "speaker.typo",
            "networkpolicies.enable", "prometheus.podMonitor.enable", "prometheus.rbacProxy", "tls.sipherSuites", "nonsense"})
        self.assertEqual(named["nonsense"], "not known")
        self.assertIn("Leases", named["speaker.memberlist"])

    def test_the_lists_are_those_of_the_values_and_of_the_docs(self):
        lists = yaml.safe_load((CHART / "ignored.yaml").read_text(encoding="utf-8"))
        values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
        schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
        for section, names in lists["understood"].items():
            path = section.split(".") if section else []
            there = functools.reduce(dict.get, path, values)
            # Helm's own, for charts below a chart.
            self.assertEqual(sorted(set(names) - {"global"}), sorted(there), section)
            described = functools.reduce(lambda part, name: part["properties"][name], path, schema)
            self.assertEqual(sorted(described["properties"]), sorted(there), section)
        text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
        for entry in lists["ignored"]:
            self.assertIn(f"`{entry['value']}`", text)


def setUpModule():
    build.helm()


if __name__ == "__main__":
    unittest.main()
