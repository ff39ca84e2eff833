"""A cluster while it stands: what one can ask and do there.

    with Cluster.up() as cluster:
        cluster.apply(manifest)
        cluster.in_ns("client", "curl", "-s", "http://192.168.1.240/")
"""

import dataclasses
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labkit import cgroups, topology
from labkit.routers import Frr
from labkit.runner import Lab, LabError
from labkit.wait import Late, Seen, until

from . import build, cache, config, images, load, machine, packages
from .network import CONTROL_PLANE, NODES, ROUTERS, TOPOLOGY

# A deadline for a busy machine: on an idle one it is a matter of seconds.
READY_SECONDS = 300.0
NEIGHBORS = {f"{node}v{version}": address for node, pair in NODES.items() for version, address in zip((4, 6), pair)}
CONTROL_PROGRAMS = {
    "etcd": config.etcd,
    "kube-apiserver": config.api_server,
    "kube-controller-manager": config.controller_manager,
    "kube-scheduler": config.scheduler,
}


# The modules that Go builds, and what of each the cache holds.
GO_BUILDS = {
    images.WEB_SOURCE: images.made, load.SOURCE: load.made, build.TOOLS: build.binaries_made,
    build.HELM: build.helm_made, build.METALLB: build.metallb_made,
}
# Those of them that each cluster needs.
MODULES = (images.WEB_SOURCE, load.SOURCE, build.TOOLS)


def check_go(modules=MODULES):
    """Raises a `BuildError` where one of these modules is still to be built, and Go isn't here or too old for it."""
    missing = [module for module in modules if not cache.find(*GO_BUILDS[module]())]
    if missing:
        build.toolchain(*missing)


def check():
    """Says what this machine lacks, before anything is built."""
    machine.check()
    check_go()


def prepare():
    """Makes all that is made once, and says what this machine lacks."""
    check()
    packages.folder()
    images.folder()
    load.program()
    build.binaries()


class Cluster:
    """Three nodes, a control plane, routers and clients; see `topologies/kube.clab.yml` for who is where."""

    def __init__(self, lab):
        self.lab = lab
        self.state = lab.folder / "state"
        self.kubeconfig = self.state / CONTROL_PLANE / config.ADMIN
        self._images = lab.folder / "images"
        self._kubectl = build.binaries() / "kubectl"
        self._plan = topology.load(TOPOLOGY, {
            "KUBE_BIN": str(build.binaries()), "KUBE_PACKAGES": str(packages.folder()),
            "KUBE_STATE": str(self.state), "KUBE_CGROUP": f"/{lab.cgroup}",
        })
        self.routers = {name: Frr(lab, name, NEIGHBORS) for name in ROUTERS}
        self.tor = self.routers["tor"]

    @classmethod
    def up(cls, name=None, keep=False, proxy="nftables"):
        """Brings a cluster up until all nodes are ready. `proxy`: kube-proxy's mode, nftables or iptables.

        With `keep` false it ends with this process, by whatever cause.
        """
        prepare()
        lab = Lab.claim(name or f"kube-{os.getpid()}", keep)
        try:
            cluster = cls(lab)
            config.write(cluster.state, lab.cgroup, proxy)
            shutil.copytree(images.folder(), cluster._images)
            for node in NODES:
                cgroups.make(cluster._cgroup(node))
            lab.build(cluster._plan, at_once=True)
            cluster._start()
        except BaseException:
            lab.down()
            raise
        return cluster

    @classmethod
    def api_alone(cls, *others):
        """etcd and the API server without Kubernetes' nodes, for what only an API server can judge. It ends with this process.

        `others` are nodes of the network that are there besides, with nothing running in them.
        """
        prepare()
        lab = Lab.claim(f"kube-api-{os.getpid()}", keep=False)
        try:
            cluster = cls(lab)
            config.write(cluster.state, lab.cgroup, "nftables")
            nodes = {name: cluster._plan.nodes[name] for name in ("wire", CONTROL_PLANE, *others)}
            links = [link for link in cluster._plan.links if all(end.node in nodes for end in link)]
            lab.build(dataclasses.replace(cluster._plan, nodes=nodes, links=links))
            cluster._start_api()
        except BaseException:
            lab.down()
            raise
        return cluster

    @classmethod
    def load(cls, name):
        """The cluster that another process brought up."""
        lab = Lab.load(name)
        if CONTROL_PLANE not in lab.nodes:
            raise LabError(f"no cluster {name} is up")
        return cls(lab)

    def down(self):
        """Removes all of the cluster."""
        self.lab.down()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    # Kubernetes

    def kubectl(self, *arguments, data=None, check=True, seconds=90.0):
        """What kubectl writes to standard output, as an administrator; `data` is its standard input."""
        command = self.kubectl_command(*arguments)
        done = subprocess.run(command, input=data or "", capture_output=True, text=True, timeout=seconds)
        if check and done.returncode != 0:
            raise LabError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kubectl_command(self, *arguments):
        """The host's command line for kubectl; files that it names are the host's."""
        options = [f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.lab.folder}/kubectl"]
        return self.lab.beside(CONTROL_PLANE, [str(self._kubectl), *options, *arguments])

    def apply(self, manifest):
        """Applies YAML text, or an object or a list of objects."""
        objects = manifest if isinstance(manifest, list) else [manifest]
        text = manifest if isinstance(manifest, str) else json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        # Its own patience with an API server that has just started on a busy machine ends too soon.
        return self.kubectl("apply", "--request-timeout=80s", "-f", "-", data=text)

    def get(self, kind, name=None, namespace="default"):
        """An object, or without a name a list of objects, as dictionaries."""
        document = json.loads(self.kubectl("get", kind, *([name] if name else []), "--namespace", namespace, "--output", "json"))
        return document if name else document["items"]

    def wait_nodes(self, nodes=tuple(NODES), ready=True, seconds=READY_SECONDS):
        """Until each of these nodes is ready, or none of them is."""
        def probe():
            seen = {node["metadata"]["name"]: _is_ready(node) for node in self.get("nodes")}
            return Seen(all(seen.get(_name(node), False) == ready for node in nodes), seen)

        return until(f"nodes {', '.join(map(_name, nodes))} {'ready' if ready else 'not ready'}", probe, seconds, 0.2)

    def wait_rollout(self, what, namespace="default", seconds=READY_SECONDS):
        """Until all pods of a Deployment or DaemonSet (`deployment/web`) are there and ready."""
        self.kubectl("rollout", "status", what, "--namespace", namespace, f"--timeout={seconds:g}s", seconds=seconds + 5)

    def load_image(self, archive):
        """Makes the images of a `docker save` archive known to every node, also to those that start later."""
        copy = self._images / f"{len(list(self._images.iterdir()))}-{Path(archive).name}"
        shutil.copyfile(archive, copy)
        self._everywhere(lambda node: self._import(node, copy), self._running())

    def load_ferrolb(self, binary):
        """Makes an image of a ferrolb binary, static or dynamic, known to every node; returns its name."""
        draft = self.lab.folder / "ferrolb.tar"
        name = images.ferrolb(binary, draft)
        self.load_image(draft)
        draft.unlink()
        return name

    # The network

    def in_ns(self, node, *argv, check=True, seconds=60.0):
        """What a command wrote to standard output, run inside a node: n1, tor, client, lan, ..."""
        return self.lab.run(node, list(argv), seconds, check)

    def ask(self, node, address, seconds=1):
        """What the web server behind an address says to a client on `node`, or nothing."""
        host = f"[{address}]" if ":" in address else address
        return self.in_ns(node, "curl", "-gsS", "-m", str(seconds), f"http://{host}/", check=False)

    def wait_answers(self, node, address, nodes):
        """Until new connections have been answered on each of these nodes, and on no other."""
        seen = set()

        def probe():
            seen.update(word.removeprefix("node=") for word in self.ask(node, address).split() if word.startswith("node="))
            return Seen(seen == nodes, seen)

        until(f"answers from {sorted(nodes)} for {address}, asked from {node}", probe, 30.0)

    def start_router(self, name):
        """Starts FRR on one of the routers that don't run from the beginning."""
        self.lab.run(name, ["sh", "/run/lab/router/start.sh"])
        return self.routers[name]

    # Failures

    def poweroff(self, node):
        """A power cut: silence at once. Nobody sees a link go, since the wire's end of it isn't theirs."""
        node = _name(node)
        # First the link: the end of the processes would close their connections, which their peers would see.
        self.lab.run("wire", ["ip", "link", "set", node, "down"])
        self.lab.kill(node)
        cgroups.remove(f"{self.lab.cgroup}/{node}")

    def start_node(self, node, wait=True):
        """Power again, on the node's old disk."""
        node = _name(node)
        cgroups.make(self._cgroup(node))
        self.lab.revive(self._plan, node)
        self.lab.run("wire", ["sh", "/run/lab/kube/wire.sh"])
        self._start_containerd(node)
        self._start_kubelet(node)
        if wait:
            self.wait_nodes([node])

    def kill_program(self, node, name, number="KILL"):
        """Ends a program as a crash would: `cp`'s kube-apiserver, a node's kube-proxy, ..."""
        self.lab.run(node, ["sh", "-c", f"kill -{number} $(cat {config.NODE}/{name}.pid)"])

    def start_program(self, node, name):
        """Starts a program that was ended."""
        programs = {
            **CONTROL_PROGRAMS, "containerd": config.containerd, "kube-proxy": config.kube_proxy,
            "kubelet": lambda: config.kubelet(node),
        }
        self.lab.run(node, ["sh", "/run/lab/kube/daemon.sh", name, *programs[name]()])

    def log(self, node, name, lines=20):
        """The end of a program's log."""
        return self.lab.run(node, ["tail", "-n", str(lines), f"{config.NODE}/{name}.log"], check=False)

    # Start

    def _start(self):
        """Each thing as soon as what it needs is there."""
        self._start_api(lambda: self._everywhere(self._start_containerd))
        self.start_program(CONTROL_PLANE, "kube-controller-manager")
        self.start_program(CONTROL_PLANE, "kube-scheduler")
        self._everywhere(self._start_kubelet)
        with self._explained((CONTROL_PLANE, "kube-controller-manager"), *((node, "kubelet") for node in NODES)):
            self.wait_nodes()
            # Pods are refused before.
            until("the default account", lambda: self.kubectl("get", "serviceaccount", "default", check=False), READY_SECONDS)

    def _start_api(self, meanwhile=lambda: None):
        self.start_program(CONTROL_PLANE, "etcd")
        self.start_program(CONTROL_PLANE, "kube-apiserver")
        meanwhile()
        with self._explained((CONTROL_PLANE, "etcd"), (CONTROL_PLANE, "kube-apiserver")):
            self.wait_api()

    def wait_api(self, seconds=READY_SECONDS):
        """Until the API server is ready."""
        until("the API server ready", lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok", seconds, 0.2)

    def _start_containerd(self, node):
        self.start_program(node, "containerd")
        with self._explained((node, "containerd")):
            until("containerd", lambda: self.lab.run(node, ["ctr", "version"], check=False), READY_SECONDS, 0.1)
        for archive in sorted(self._images.iterdir()):
            self._import(node, archive)

    def _start_kubelet(self, node):
        self.start_program(node, "kubelet")
        self.start_program(node, "kube-proxy")

    def _import(self, node, archive):
        with archive.open("rb") as stream:
            command = self.lab.command(node, ["ctr", "--namespace=k8s.io", "images", "import", "-"])
            done = subprocess.run(command, stdin=stream, capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"{node}: {archive.name} isn't taken as an image: {done.stderr.strip()}")

    def _everywhere(self, act, nodes=tuple(NODES)):
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(act, nodes))

    def _running(self):
        return [node for node in NODES if node in self.lab.nodes]

    def _cgroup(self, node):
        return f"{self.lab.cgroup}/{node}/system"

    def _explained(self, *programs):
        return _Explained(self, programs)


class _Explained:
    """Adds the programs' last words to the error of a wait."""

    def __init__(self, cluster, programs):
        self._cluster = cluster
        self._programs = programs

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _trace):
        if isinstance(error, Late):
            logs = [f"{name} on {node} said last:\n{self._cluster.log(node, name)}" for node, name in self._programs]
            raise LabError("\n".join([str(error), *logs])) from error


def _is_ready(node):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))


def _name(node):
    """`n1` of 1 or `n1`."""
    name = f"n{node}" if isinstance(node, int) else node
    if name not in NODES:
        raise LabError(f"no cluster node {node!r} (there are: {', '.join(NODES)})")
    return name
