"""What a lab would leave behind, if it did."""

import os
from pathlib import Path

from labkit.runner import STATE_ROOT
from labkit.wait import until

SECONDS = 10.0


def namespaces(lab):
    """The network namespaces of a lab that stands."""
    return {os.readlink(f"/proc/{pid}/ns/net") for pid, _ in lab.nodes.values()}


def wait_gone(name, spaces):
    """Until a lab's folder is gone, and no process is in its namespaces, which go with the last one."""
    until("the state folder gone", lambda: not (STATE_ROOT / name).exists(), SECONDS)
    until("no process in the lab's namespaces", lambda: not spaces & _all_namespaces(), SECONDS)


def _all_namespaces():
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.add(os.readlink(entry / "ns/net"))
            except OSError:
                pass  # it ended while we looked
    return found
