#!/usr/bin/python3
"""A real Kubernetes cluster of three nodes in network namespaces.

    kubelab.py build                   make ready what is made once: Kubernetes, packages, images
    kubelab.py up [NAME]               bring a cluster up and leave it standing
    kubelab.py down [NAME]             take it down; without such a cluster it does nothing
    kubelab.py kubectl NAME ARG...     kubectl, as an administrator
    kubelab.py load NAME FILE...       images from `docker save` archives, or from a ferrolb binary
    kubelab.py poweroff NAME NODE      a power cut; `start NAME NODE` is its end
"""

import argparse
import os
import sys
import tarfile
import time
from pathlib import Path

from kube import build, cluster
from kube.cluster import Cluster
from labkit.runner import LAB, Lab, LabError
from labkit.topology import TopologyError
from labkit.wait import Late

DEFAULT = "kube"


def main():
    options = _parser().parse_args()
    try:
        options.act(options)
    except (build.BuildError, LabError, Late, TopologyError) as error:
        print(f"kubelab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("kubelab: interrupted", file=sys.stderr)
        return 130
    return 0


def _build(_options):
    # What helm wants isn't to be found out after minutes of building Kubernetes.
    cluster.check_go((*cluster.MODULES, build.HELM))
    cluster.prepare()
    build.helm()


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("build", help="make ready what is made once").set_defaults(act=_build)
    up = verbs.add_parser("up", help="bring a cluster up and leave it standing")
    up.add_argument("name", nargs="?", default=DEFAULT)
    up.add_argument("--proxy", choices=("nftables", "iptables"), default="nftables", help="kube-proxy's mode")
    up.set_defaults(act=_up)
    down = verbs.add_parser("down", help="take a cluster down; without such a cluster it does nothing")
    down.add_argument("name", nargs="?", default=DEFAULT)
    down.set_defaults(act=lambda options: Lab.load(options.name).down())
    kubectl = verbs.add_parser("kubectl", help="kubectl, as an administrator")
    kubectl.add_argument("name")
    kubectl.add_argument("argv", nargs=argparse.REMAINDER, metavar="ARG")
    kubectl.set_defaults(act=_kubectl)
    load = verbs.add_parser("load", help="images from `docker save` archives, or from a ferrolb binary")
    load.add_argument("name")
    load.add_argument("files", nargs="+", type=Path, metavar="FILE")
    load.set_defaults(act=_load)
    for verb, help_text in (("poweroff", "a power cut of a node"), ("start", "the end of a node's power cut")):
        power = verbs.add_parser(verb, help=help_text)
        power.add_argument("name")
        power.add_argument("node")
        power.set_defaults(act=_start if verb == "start" else _poweroff)
    return parser


def _up(options):
    cluster.prepare()
    begun = time.monotonic()
    standing = Cluster.up(options.name, keep=True, proxy=options.proxy)
    seconds = time.monotonic() - begun
    script = _kubectl_script(standing)
    here = os.path.relpath(Path(__file__))
    inside = f"{os.path.relpath(LAB)} exec {options.name}"
    things = (
        (f"export PATH={script.parent}:$PATH", "then kubectl is this cluster's:"),
        ("kubectl get nodes -o wide", ""),
        ("kubectl create deployment web --image=localhost/web:1", "also there: localhost/nginx:1"),
        (f"{here} load {options.name} target/release/ferrolb", "the image localhost/ferrolb:VERSION"),
        (f"{inside} client curl -s http://192.168.1.240/", "ask a Service from outside, behind the router"),
        (f"{inside} lan curl -s http://192.168.1.240/", "the same from the nodes' own wire"),
        (f"{inside} tor vtysh -c 'show bgp summary'", "the router"),
        (f"{inside} n1 bash", "a shell on a node: crictl's work does `ctr -n k8s.io containers ls`"),
        (f"{inside} n1 tail -f /run/node/kubelet.log", "beside it: kube-proxy.log, containerd.log; on cp: kube-apiserver.log, ..."),
        (f"{here} poweroff {options.name} n1", f"and back: {here} start {options.name} n1"),
    )
    width = max(len(command) for command, _ in things)
    print(f"\nThe cluster stands after {seconds:.0f} s: three nodes, Kubernetes {build.version()}. Things to try:\n")
    for command, what in things:
        print(f"    {command:<{width}}   {what}".rstrip())
    print(f"\nKUBECONFIG is {standing.kubeconfig}; its address is one inside the lab, so a program of yours is run with\n"
          f"`{inside} cp env KUBECONFIG=/run/node/admin.conf PROGRAM` (it sees this machine's files).")
    print(f"Take it down with `{'make kube-down' if options.name == DEFAULT else f'{here} down {options.name}'}`.")


def _kubectl_script(standing):
    script = standing.lab.folder / "bin/kubectl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} kubectl {standing.lab.name} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return script


def _kubectl(options):
    command = Cluster.load(options.name).kubectl_command(*options.argv)
    os.execvp(command[0], command)


def _load(options):
    standing = Cluster.load(options.name)
    for file in options.files:
        if tarfile.is_tarfile(file):
            standing.load_image(file)
            print(f"loaded {file}")
        else:
            print(f"loaded {standing.load_ferrolb(file)}")


def _poweroff(options):
    Cluster.load(options.name).poweroff(options.node)


def _start(options):
    Cluster.load(options.name).start_node(options.node)


if __name__ == "__main__":
    sys.exit(main())
