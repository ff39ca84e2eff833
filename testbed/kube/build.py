"""Builds Kubernetes, helm for the tests of the chart and MetalLB for that of the migration, from pinned modules, once."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from kube import cache

HERE = Path(__file__).resolve().parent
TOOLS = HERE / "tools"
HELM = HERE / "tools-helm"
METALLB = HERE / "tools-metallb"
METALLB_MODULE = "go.universe.tf/metallb"
COMMANDS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
NICENESS = 10
FLAGS = ("-mod=readonly", "-buildvcs=false", "-trimpath")
GO_FOLDERS = ("/usr/local/go/bin", "/usr/lib/go/bin")


class BuildError(Exception):
    """Something can't be made here; the text says what is missing and what to do."""


def version():
    """Kubernetes' version, as `tools/go.mod` pins it: `v1.34.4`."""
    return re.search(r"k8s\.io/kubernetes (v\S+)", (TOOLS / "go.mod").read_text(encoding="utf-8"))[1]


def binaries():
    """The folder with Kubernetes' six programs, built where there is none."""
    flags = _flags()
    pins = [TOOLS / name for name in ("go.mod", "go.sum", "tools.go")]
    return cache.folder("bin", cache.key(*pins, *flags, os.uname().machine), lambda draft: _build(draft, flags))


def _build(draft, flags):
    say(f"building Kubernetes {version()}, once: 10 to 15 minutes on two cores")
    # The modules first: where the proxy can't be reached, that shows at once.
    go(["mod", "download"], TOOLS)
    packages = [f"k8s.io/kubernetes/cmd/{command}" for command in COMMANDS]
    go(["build", *flags, "-o", f"{draft}/", *packages], TOOLS)
    say(f"built {', '.join(COMMANDS)}")


def helm():
    """The program helm, built where there is none; `tools-helm/go.mod` pins it."""
    pins = [HELM / name for name in ("go.mod", "go.sum", "tools.go")]
    number = re.search(r"helm\.sh/helm/v3 (v\S+)", (HELM / "go.mod").read_text(encoding="utf-8"))[1]
    flags = [*FLAGS, "-ldflags", f"-s -w -X helm.sh/helm/v3/internal/version.version={number}"]
    return cache.folder("helm", cache.key(*pins, *flags, os.uname().machine), lambda draft: _build_helm(draft, number, flags)) / "helm"


def _build_helm(draft, number, flags):
    say(f"building helm {number}, once: 2 to 5 minutes on two cores")
    go(["build", *flags, "-o", str(draft / "helm"), "helm.sh/helm/v3/cmd/helm"], HELM)


def metallb_version():
    """MetalLB's version, as `tools-metallb/go.mod` pins it: `v0.16.2`."""
    return re.search(rf"{re.escape(METALLB_MODULE)} (v\S+)", (METALLB / "go.mod").read_text(encoding="utf-8"))[1]


def metallb():
    """The folder with MetalLB's `controller` and `speaker`, and in `source` its module: its manifests and its chart."""
    # All of it: the stand-in for another module lies beside the pins.
    pins = sorted(path for path in METALLB.rglob("*") if path.is_file())
    return cache.folder("metallb", cache.key(*pins, *FLAGS, os.uname().machine), _build_metallb)


def _build_metallb(draft):
    say(f"building MetalLB {metallb_version()}, once: 4 to 8 minutes on two cores")
    packages = [f"{METALLB_MODULE}/{component}" for component in ("controller", "speaker")]
    go(["build", *FLAGS, "-ldflags", "-s -w", "-o", f"{draft}/", *packages], METALLB)
    source = go(["list", "-m", "-f", "{{.Dir}}", METALLB_MODULE], METALLB, capture=True).strip()
    for part in ("config/manifests", "charts/metallb"):
        shutil.copytree(Path(source) / part, draft / "source" / part)


def _flags():
    """Small and reproducible; without the `-X` the version would read v0.0.0-master."""
    number = version()
    major, minor = re.match(r"v(\d+)\.(\d+)", number).groups()
    stamps = {"gitVersion": number, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamped = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
    return [*FLAGS, "-ldflags", f"-s -w {stamped}"]


def go(arguments, folder, capture=False):
    """Runs Go without cgo, as a neighbour that lets others go first. `folder`'s go.mod says how new it has to be.

    What it says is shown, or with `capture` returned.
    """
    path = shutil.which("go") or shutil.which("go", path=":".join(GO_FOLDERS))
    module = next(file for file in (Path(folder) / "go.mod", TOOLS / "go.mod") if file.exists())
    needed = re.search(r"^go (\d+\.\d+)", module.read_text(encoding="utf-8"), re.MULTILINE)[1]
    remedy = f"install Go {needed} or newer from https://go.dev/dl/ (Debian 12's own is too old), then run this again"
    if not path:
        raise BuildError(f"there is no Go toolchain here: {remedy}")
    env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    said = subprocess.run([path, "version"], capture_output=True, text=True).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    if not found or tuple(map(int, found.groups())) < tuple(map(int, needed.split("."))):
        raise BuildError(f"{said.strip() or path} can't build what {module} asks for: {remedy}")
    step = max(0, NICENESS - os.nice(0))
    output = subprocess.PIPE if capture else None
    done = subprocess.run(["nice", "-n", str(step), path, *arguments], cwd=folder, env=env, stdout=output, text=True)
    if done.returncode != 0:
        raise BuildError(f"`go {arguments[0]}` failed in {folder}; what it said stands above")
    return done.stdout


def say(text):
    """Progress: on standard error, so that it never mixes with an answer."""
    print(f"kube: {text}", file=sys.stderr, flush=True)
