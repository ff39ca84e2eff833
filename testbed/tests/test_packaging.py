"""What is shipped beside the binary says the truth about it: alerts, dashboard, monitors, bill of materials, image. Without root."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unittest
from pathlib import Path
from unittest import mock

import yaml
from kube import images
from labkit.build import ROOT, cargo

MONITORING = ROOT / "deploy/monitoring"
# What may stand in an expression beside metrics.
WORDS = {"and", "or", "unless", "by", "on", "bool"}


def documents(path):
    return list(yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")))


def declared():
    """The metrics in docs/metrics.md, which a test of the crate compares with the code: name -> labels, with a histogram's series."""
    found = {}
    for line in (ROOT / "docs/metrics.md").read_text(encoding="utf-8").splitlines():
        row = re.match(r"\| `(\w+)` \| (\w+) \| ([^|]*)\|", line)
        if row:
            name, kind, labels = row.groups()
            labels = set(re.findall(r"`(\w+)`", labels))
            names = [f"{name}_{suffix}" for suffix in ("bucket", "sum", "count")] if kind == "histogram" else [name]
            found.update({name: labels | ({"le"} if kind == "histogram" else set()) for name in names})
    return found


def used(expression):
    """The metrics in a PromQL expression, each with the labels that it is matched by."""
    text = re.sub(r'"[^"]*"', '""', expression)
    matched = {name: set(re.findall(r"(\w+)\s*[=!]", labels)) for name, labels in re.findall(r"(\w+)\{([^}]*)\}", text)}
    text = re.sub(r"\{[^}]*\}|\[\w+\]|\b(by|on)\s*\([^)]*\)", " ", text)
    names = re.findall(r"(?<![\w.])([A-Za-z_:]\w*)(?!\s*\(|\w)", text)
    return {name: matched.get(name, set()) for name in names if name not in WORDS}


def rules():
    (document,) = documents("deploy/monitoring/prometheusrule.yaml")
    return [rule for group in document["spec"]["groups"] for rule in group["rules"]]


def dashboard():
    return json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))


class Monitoring(unittest.TestCase):
    # Those that Prometheus adds.
    TARGET = {"pod", "instance", "namespace", "container", "job"}

    def check(self, where, expression, known):
        metrics = used(expression)
        self.assertTrue(metrics, where)
        for name, labels in metrics.items():
            self.assertIn(name, known, where)
            self.assertLessEqual(labels, known[name] | self.TARGET, f"{where}: {name}")

    def test_alerts_and_panels_ask_for_metrics_that_exist(self):
        known = declared()
        self.assertGreater(len(known), 40)
        for rule in rules():
            self.check(rule["alert"], rule["expr"], known)
        panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
        self.assertGreater(len(panels), 15)
        for panel in panels:
            for target in panel["targets"]:
                self.check(panel["title"], target["expr"], known)
                for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                    of = set.union(*(known[name] for name in used(target["expr"])))
                    self.assertIn(label, of | self.TARGET, panel["title"])
        for variable in dashboard()["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
                self.assertIn(label, known[metric] | self.TARGET)

    def test_the_reader_of_expressions_misses_nothing(self):
        self.assertEqual(used('sum by (le) (rate(a_bucket{pod=~"$pod"}[5m])) > 0.5 or absent(b) unless on (pool) c{pool!="x"}'),
                         {"a_bucket": {"pod"}, "b": set(), "c": {"pool"}})

    def test_metallbs_alerts_are_there_by_name_and_all_are_documented(self):
        names = [rule["alert"] for rule in rules()]
        self.assertEqual([name for name in names if name.startswith("MetalLB")], [
            "MetalLBStaleConfig", "MetalLBConfigNotLoaded", "MetalLBAddressPoolExhausted", "MetalLBAddressPoolUsage75Percent",
            "MetalLBAddressPoolUsage85Percent", "MetalLBAddressPoolUsage95Percent", "MetalLBBGPSessionDown",
        ])
        text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
        told = re.findall(r"^\| `((?:MetalLB|FerroLB)\w+)` \|", text, re.MULTILINE)
        self.assertEqual(told, names)

    def test_panels_have_distinct_numbers_and_don_t_overlap(self):
        panels = dashboard()["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        cells = [(x, y) for p in panels for g in [p["gridPos"]]
                 for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])]
        self.assertEqual(len(set(cells)), len(cells))
        self.assertLess(max(x for x, _ in cells), 24)

    def test_monitors_find_the_pods_and_their_port(self):
        pods = {}
        for document in documents("deploy/ferrolb.yaml"):
            if document["kind"] in ("Deployment", "DaemonSet"):
                template = document["spec"]["template"]
                ports = {port["name"]: port["containerPort"] for c in template["spec"]["containers"] for port in c["ports"]}
                pods[document["metadata"]["name"]] = (template["metadata"]["labels"], ports)
        services = {}
        for document in documents("deploy/monitoring/servicemonitors.yaml"):
            component = document["metadata"]["labels"]["component"]
            if document["kind"] == "Service":
                self.assertEqual(document["spec"]["selector"], pods[component][0])
                (port,) = document["spec"]["ports"]
                self.assertEqual((port["name"], port["targetPort"], port["port"]), ("metricshttps", "metricshttps", pods[component][1]["metricshttps"]))
                services[component] = document["metadata"]["labels"]
            else:
                self.assertLessEqual(document["spec"]["selector"]["matchLabels"].items(), services[component].items())
                endpoint = self.secure(document["spec"]["endpoints"])
                self.assertEqual(endpoint["bearerTokenFile"], "/var/run/secrets/kubernetes.io/serviceaccount/token")
        *account, first, second = documents("deploy/monitoring/podmonitors.yaml")
        monitors = (first, second)
        self.assertEqual([m["metadata"]["name"] for m in monitors], ["controller", "speaker"])
        for document in monitors:
            labels, _ = pods[document["metadata"]["name"]]
            self.assertEqual(document["spec"]["selector"]["matchLabels"], labels)
            endpoint = self.secure(document["spec"]["podMetricsEndpoints"])
            (secret,) = (d for d in account if d["kind"] == "Secret")
            self.assertEqual(endpoint["authorization"]["credentials"], {"name": secret["metadata"]["name"], "key": "token"})

    def secure(self, endpoints):
        (endpoint,) = endpoints
        self.assertEqual((endpoint["port"], endpoint["scheme"], endpoint["tlsConfig"]), ("metricshttps", "https", {"insecureSkipVerify": True}))
        return endpoint


class BillOfMaterials(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        spec = importlib.util.spec_from_file_location("sbom", ROOT / "deploy/sbom.py")
        cls.sbom = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(cls.sbom)

    def test_it_holds_what_is_linked_and_nothing_else(self):
        def package(name, local=False, **more):
            return {"id": name, "name": name, "version": "1.0.0", "source": None if local else "registry+x", **more}

        def node(name, **deps):
            return {"id": name, "deps": [{"pkg": pkg, "dep_kinds": [{"kind": kind} for kind in kinds]} for pkg, kinds in deps.items()]}

        metadata = {
            "packages": [package("ferrolb", local=True, license="Apache-2.0"), package("linked", license="MIT/Apache-2.0"),
                         package("tests"), package("builds"), package("behind-tests"), package("both")],
            "resolve": {"nodes": [
                node("ferrolb", linked=[None], tests=["dev"], builds=["build"], both=["dev", None]), node("linked"),
                node("tests", **{"behind-tests": [None]}), node("builds"), node("behind-tests"), node("both"),
            ]},
        }
        tree = {(name, "1.0.0") for name in ("ferrolb", "linked", "both")}
        document = self.sbom.bill(metadata, tree, {("linked", "1.0.0"): "00ff"}, [("glibc", "2.36")], "x86_64-unknown-linux-gnu")
        self.assertEqual([c["name"] for c in document["components"]], ["both", "linked", "glibc"])
        linked = document["components"][1]
        self.assertEqual(linked["licenses"], [{"expression": "MIT OR Apache-2.0"}])
        self.assertEqual(linked["hashes"], [{"alg": "SHA-256", "content": "00ff"}])
        self.assertEqual(document["dependencies"][1], {
            "ref": "pkg:cargo/ferrolb@1.0.0", "dependsOn": ["pkg:cargo/both@1.0.0", "pkg:cargo/linked@1.0.0", "pkg:generic/glibc@2.36"]})

    def test_that_of_this_tree_is_whole_and_the_same_each_time(self):
        with tempfile.TemporaryDirectory(prefix="ferrolb-sbom-") as folder:
            texts = []
            for name in ("one", "two"):
                path = Path(folder, name, "x.json")
                command = [sys.executable, str(ROOT / "deploy/sbom.py"), "--output", str(path)]
                with mock.patch.dict("os.environ", {"PATH": f"{os.environ['PATH']}:{Path(cargo()).parent}:{Path.home()}/.cargo/bin"}):
                    subprocess.run(command, check=True, capture_output=True)
                texts.append(path.read_text(encoding="utf-8"))
        self.assertEqual(*texts)
        document = json.loads(texts[0])
        references = [c["bom-ref"] for c in document["components"]] + [document["metadata"]["component"]["bom-ref"]]
        self.assertEqual(len(set(references)), len(references))
        self.assertEqual(sorted(entry["ref"] for entry in document["dependencies"]), sorted(references))
        self.assertLessEqual({ref for entry in document["dependencies"] for ref in entry["dependsOn"]}, set(references))
        names = {component["name"]: component for component in document["components"]}
        self.assertLessEqual({"ferrolb-api", "ferrolb-core", "tokio", "kube", "rust-std", "glibc"}, set(names))
        self.assertFalse({"proptest", "bgp-rs", "netgauze-bgp-pkt", "protox", "syn"} & set(names))
        for name, component in names.items():
            self.assertTrue(name.startswith("ferrolb-") or "hashes" in component or component["purl"].startswith("pkg:generic/"), name)
            self.assertTrue("licenses" in component or component["purl"].startswith("pkg:generic/"), name)


class Image(unittest.TestCase):
    def setUp(self):
        self.dockerfile = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
        self.final = self.dockerfile[self.dockerfile.index("FROM scratch"):]

    def test_the_labs_image_is_the_dockerfiles(self):
        with tempfile.TemporaryDirectory(prefix="ferrolb-image-") as folder:
            program = Path(folder, "ferrolb")
            program.write_text("#!/bin/sh\necho ferrolb 1.2.3\n", encoding="utf-8")
            program.chmod(0o755)
            target = Path(folder, "image.tar")
            self.assertEqual(images.ferrolb(program, target), "localhost/ferrolb:1.2.3")
            with tarfile.open(target) as archive:
                (manifest,) = json.load(archive.extractfile("manifest.json"))
                config = json.load(archive.extractfile(manifest["Config"]))["config"]
        self.assertEqual(json.loads(re.search(r"^ENTRYPOINT (.*)", self.final, re.MULTILINE)[1]), config["Entrypoint"])
        self.assertEqual(re.search(r"^USER (\S+)", self.final, re.MULTILINE)[1], config["User"])
        self.assertEqual(re.findall(r"^COPY .* (\S+)", self.final, re.MULTILINE), config["Entrypoint"])

    def test_one_toolchain_one_version(self):
        toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text(encoding="utf-8"))["toolchain"]["channel"]
        self.assertEqual(set(re.findall(r"(?:rust:|RUSTUP_TOOLCHAIN=)(\d+\.\d+\.\d+)", self.dockerfile)), {toolchain})
        version = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["version"]
        said = subprocess.run(["make", "--dry-run", "image"], cwd=ROOT, capture_output=True, text=True).stdout
        self.assertIn(f"--tag localhost/ferrolb:{version} ", said)
        named = {container["image"] for document in documents("deploy/ferrolb.yaml") if document["kind"] in ("Deployment", "DaemonSet")
                 for container in document["spec"]["template"]["spec"]["containers"]}
        self.assertEqual(named, {f"localhost/ferrolb:{version}"})


if __name__ == "__main__":
    unittest.main()
