#!/usr/bin/python3
"""Runs containerlab files in plain network namespaces.

    lab.py up FILE [--name NAME]     bring a topology up and leave it standing
    lab.py down NAME                 take it down; without such a lab it does nothing
    lab.py exec NAME NODE CMD...     run a command inside a node
    lab.py list                      the labs that are up
"""

import argparse
import os
import sys

from labkit import runner, topology
from labkit.runner import Lab, LabError
from labkit.topology import TopologyError


def main():
    options = _parser().parse_args()
    try:
        return options.act(options) or 0
    except (LabError, TopologyError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _parser():
    parser = argparse.ArgumentParser(description="Runs containerlab files in plain network namespaces.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    up = verbs.add_parser("up", help="bring a topology up and leave it standing")
    up.add_argument("file", help="a *.clab.yml file")
    up.add_argument("--name", help="instead of the name in the file, so that it can stand more than once")
    up.set_defaults(act=_up)
    down = verbs.add_parser("down", help="take a lab down; without such a lab it does nothing")
    down.add_argument("name")
    down.set_defaults(act=lambda options: Lab.load(options.name).down())
    inside = verbs.add_parser("exec", help="run a command inside a node")
    inside.add_argument("name")
    inside.add_argument("node")
    inside.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    inside.set_defaults(act=_exec)
    listing = verbs.add_parser("list", help="the labs that are up")
    listing.set_defaults(act=lambda _options: print("\n".join(runner.names()) or "no lab is up"))
    keep = verbs.add_parser("keep", help="take a lab down at the end of standard input (used by the runner itself)")
    keep.add_argument("name")
    keep.set_defaults(act=lambda options: runner.keep(options.name))
    return parser


def _up(options):
    plan = topology.load(options.file)
    lab = Lab.claim(options.name or plan.name)
    lab.build(plan)
    print(f"lab {lab.name} is up")


def _exec(options):
    command = Lab.load(options.name).command(options.node, options.argv or ["bash"])
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main())
