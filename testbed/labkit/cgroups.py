"""Cgroups of a lab, in every hierarchy of this machine: v1, v2, or both."""

import os
from pathlib import Path

from .wait import until

ROOT = Path("/sys/fs/cgroup")
# What v1 leaves empty in a new cpuset, and takes no process without.
CPUSET = ("cpuset.cpus", "cpuset.mems")


def hierarchies():
    """The roots of all hierarchies."""
    if (ROOT / "cgroup.procs").exists():
        return [ROOT]
    # Names such as `cpu` may be links to `cpu,cpuacct`.
    return sorted({entry.resolve() for entry in ROOT.iterdir() if (entry / "cgroup.procs").exists()})


def make(path):
    """Makes a cgroup, such as `lab/n1/system`, with all above it."""
    for root in hierarchies():
        above = root
        for part in path.split("/"):
            _delegate(above)
            folder = above / part
            folder.mkdir(exist_ok=True)
            for name in CPUSET:
                if (folder / name).exists() and not (root / "cgroup.controllers").exists():
                    (folder / name).write_bytes((above / name).read_bytes())
            above = folder


def remove(name, seconds=10.0):
    """Removes a cgroup and all below it, once the processes in it have ended."""
    until(f"cgroup {name} removed", lambda: not any([_left(root / name) for root in hierarchies()]), seconds, 0.02)


def _delegate(folder):
    """In v2 a group has the controllers that its parent hands on."""
    try:
        controllers = (folder / "cgroup.controllers").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return
    for controller in controllers:
        (folder / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")


def _left(folder):
    """Removes what can be removed; whether anything is left."""
    for inner, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(inner)
        except OSError:
            pass  # a process in it is about to end, or it went by itself
    return folder.exists()
