"""Builds Kubernetes, helm for the tests of the chart and MetalLB for that of the migration, from pinned modules, once."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from kube import cache
from labkit.build import BuildError

HERE = Path(__file__).resolve().parent
TOOLS = HERE / "tools"
HELM = HERE / "tools-helm"
METALLB = HERE / "tools-metallb"
METALLB_MODULE = "go.universe.tf/metallb"
COMMANDS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
NICENESS = 10
FLAGS = ("-mod=readonly", "-buildvcs=false", "-trimpath")
GO_FOLDERS = ("/usr/local/go/bin", "/usr/lib/go/bin")


def version():
    """Kubernetes' version, as `tools/go.mod` pins it: `v1.34.4`."""
    return re.search(r"k8s\.io/kubernetes (v\S+)", (TOOLS / "go.mod").read_text(encoding="utf-8"))[1]


def binaries():
    """The folder with Kubernetes' six programs, built where there is none."""
    return cache.folder(*binaries_made(), _build)


def binaries_made():
    """What `binaries` makes, as the cache names it."""
    pins = [TOOLS / name for name in ("go.mod", "go.sum", "tools.go")]
    return "bin", cache.key(*pins, *_flags(), os.uname().machine)


def _build(draft):
    say(f"building Kubernetes {version()}, once: 10 to 15 minutes on two cores")
    # The modules first: where the proxy can't be reached, that shows at once.
    go(["mod", "download"], TOOLS)
    packages = [f"k8s.io/kubernetes/cmd/{command}" for command in COMMANDS]
    go(["build", *_flags(), "-o", f"{draft}/", *packages], TOOLS)
    say(f"built {', '.join(COMMANDS)}")


def helm():
    """The program helm, built where there is none; `tools-helm/go.mod` pins it."""
    return cache.folder(*helm_made(), _build_helm) / "helm"


def helm_made():
    """What `helm` makes, as the cache names it."""
    pins = [HELM / name for name in ("go.mod", "go.sum", "tools.go")]
    return "helm", cache.key(*pins, *_helm_flags(), os.uname().machine)


def _build_helm(draft):
    say(f"building helm {_helm_version()}, once: 2 to 5 minutes on two cores")
    go(["build", *_helm_flags(), "-o", str(draft / "helm"), "helm.sh/helm/v3/cmd/helm"], HELM)


def _helm_version():
    return re.search(r"helm\.sh/helm/v3 (v\S+)", (HELM / "go.mod").read_text(encoding="utf-8"))[1]


def _helm_flags():
    return [*FLAGS, "-ldflags", f"-s -w -X helm.sh/helm/v3/internal/version.version={_helm_version()}"]


def metallb_version():
    """MetalLB's version, as `tools-metallb/go.mod` pins it: `v0.16.2`."""
    return re.search(rf"{re.escape(METALLB_MODULE)} (v\S+)", (METALLB / "go.mod").read_text(encoding="utf-8"))[1]


def metallb():
    """The folder with MetalLB's `controller` and `speaker`, and in `source` its module: its manifests and its chart."""
    return cache.folder(*metallb_made(), _build_metallb)


def metallb_made():
    """What `metallb` makes, as the cache names it."""
    # All of it: the stand-in for another module lies beside the pins.
    pins = sorted(path for path in METALLB.rglob("*") if path.is_file())
    return "metallb", cache.key(*pins, *FLAGS, os.uname().machine)


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


def needed(*folders):
    """The oldest Go that builds the modules in all these folders, as their go.mod say: `1.26`."""
    texts = [(Path(folder) / "go.mod").read_text(encoding="utf-8") for folder in folders]
    versions = [re.search(r"^go (\d+(?:\.\d+)+)$", text, re.MULTILINE)[1] for text in texts]
    return max(versions, key=_numbers).removesuffix(".0")


def toolchain(*folders):
    """The go to use, new enough for the modules in all these folders."""
    wanted = needed(*folders)
    remedy = f"install Go {wanted} or newer from https://go.dev/dl/ (Debian 12's own is too old), then run this again"
    path = shutil.which("go") or shutil.which("go", path=":".join(GO_FOLDERS))
    if not path:
        raise BuildError(f"there is no Go toolchain here: {remedy}")
    said = subprocess.run([path, "version"], env=_environment(), capture_output=True, text=True)
    found = re.search(r"go(\d+(?:\.\d+)+)", said.stdout)
    if not found:
        raise BuildError(f"`{path} version` doesn't work ({said.stderr.strip()}): {remedy}")
    if _numbers(found[1]) < _numbers(wanted):
        raise BuildError(f"{said.stdout.strip()} is too old: {remedy}")
    return path


def _numbers(version):
    return tuple(map(int, version.split(".")))


def _environment():
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def go(arguments, folder, capture=False):
    """Runs Go without cgo, as a neighbour that lets others go first. `folder`'s go.mod says how new it has to be.

    What it says is shown, or with `capture` returned.
    """
    path = toolchain(folder)
    step = max(0, NICENESS - os.nice(0))
    output = subprocess.PIPE if capture else None
    done = subprocess.run(["nice", "-n", str(step), path, *arguments], cwd=folder, env=_environment(), stdout=output, text=True)
    if done.returncode != 0:
        raise BuildError(f"`go {arguments[0]}` failed in {folder}; what it said stands above")
    return done.stdout


def say(text):
    """Progress: on standard error, so that it never mixes with an answer."""
    print(f"kube: {text}", file=sys.stderr, flush=True)
