"""What the tours say and show: paragraphs, headings, commands with their output."""

import shlex
import signal
import subprocess
import sys

from .build import BuildError
from .runner import LabError
from .topology import TopologyError
from .wait import Late

WIDTH = 100


class Disproved(Exception):
    """Something that a tour claims turned out not to be so."""


def guarded(name, *acts):
    """Does one thing after the other for a person; the answer is the exit status, the reason for a bad one is on standard error."""
    # An orderly end on SIGTERM too: each `finally` takes its lab down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for act in acts:
            act()
    except (BuildError, Disproved, LabError, Late, TopologyError) as error:
        print(f"\n{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; the lab is gone", file=sys.stderr)
        return 130
    return 0


def title(text):
    print(f"\n\n=== {text} {'=' * (WIDTH - len(text) - 5)}", flush=True)


def say(text):
    """A paragraph, wrapped."""
    line = ""
    print()
    for word in text.split():
        if len(line) + len(word) + 1 > WIDTH:
            print(line)
            line = ""
        line = f"{line} {word}".strip()
    print(line, flush=True)


def row(label, value):
    """One line of a small table."""
    print(f"    {label:<26} {value}", flush=True)


def run(shown, argv):
    """Shows a command and its output, run here."""
    print(f"\n  $ {shlex.join(shown)}", flush=True)
    done = subprocess.run(argv, capture_output=True, text=True)
    indent(done.stdout + done.stderr)


def inside(lab, node, command):
    """Shows a command and its output, run inside a node; the answer is that output."""
    print(f"\n  {node}$ {command}", flush=True)
    output = lab.run(node, family_aware(shlex.split(command)), check=False)
    indent(output or "(nothing)")
    return output


def family_aware(argv):
    """`ip route show 2001:..` needs telling that it is about IPv6, unlike a person who reads it."""
    if argv[:2] == ["ip", "route"] and ":" in argv[-1]:
        return ["ip", "-6", *argv[1:]]
    return argv


def indent(output):
    for line in output.splitlines():
        if line.strip():
            print(f"    {line}", flush=True)
