"""What a cluster would leave on this machine, if it did."""

import os
import subprocess
from pathlib import Path

from labkit import cgroups
from labkit.runner import STATE_ROOT
from labkit.wait import Seen, until

# What Kubernetes, containerd and CNI would make or set on a machine of their own.
FOLDERS = (
    "/etc/cni", "/etc/containerd", "/etc/kubernetes", "/opt/cni", "/opt/containerd", "/run/containerd", "/run/netns", "/usr/lib/cni",
    "/usr/libexec/kubernetes", "/var/lib/cni", "/var/lib/containerd", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods",
)
SETTINGS = (
    "kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding", "vm/overcommit_memory", "vm/panic_on_oom",
)
GONE_SECONDS = 20.0


def machine():
    """What the machine itself is like; a cluster changes nothing of it."""
    return {
        "folders": {folder: sorted(os.listdir(folder)) for folder in FOLDERS if os.path.isdir(folder)},
        "settings": {name: Path("/proc/sys", name).read_text(encoding="ascii") for name in SETTINGS},
        "links": sorted(os.listdir("/sys/class/net")),
        "rules": subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout,
        "mounts": _mounts(),
    }


def processes(lab):
    """All that runs in a lab that stands, pods included: process ids with their start times.

    Namespaces wouldn't do: the kernel gives their numbers to the next lab at once.
    """
    table = {pid: stat for pid in _pids() if (stat := _stat(pid))}
    found = {pid for pid, _ in lab.nodes.values()}
    while inner := {pid for pid, (_, parent, _) in table.items() if parent in found} - found:
        found |= inner
    return {(pid, table[pid][2]) for pid in found if pid in table}


def left(lab, before):
    """What there is of a lab whose processes were `before`: processes, mounts, cgroups, files, its keeper."""
    return {
        "processes": [_name(pid) for pid, started in before if (stat := _stat(pid)) and stat[2] == started and stat[0] not in "ZX"],
        "mounts": [line for line in _mounts() if lab.name in line],
        "cgroups": [str(root / lab.cgroup) for root in cgroups.hierarchies() if (root / lab.cgroup).exists()],
        "files": [str(folder) for folder in (STATE_ROOT / lab.name,) if folder.exists()],
        "keepers": [pid for pid in _pids() if lab.name in _command(pid) and "keep" in _command(pid)],
    }


def wait_gone(lab, before):
    """Until nothing is left."""
    def probe():
        found = left(lab, before)
        return Seen(not any(found.values()), found)

    until(f"nothing left of {lab.name}", probe, GONE_SECONDS)


def memory(lab):
    """Resident memory in MiB by program, of all that runs in a lab."""
    total = {}
    for pid, _ in processes(lab):
        lines = _text(pid, "status").splitlines()
        kib = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
        name = _name(pid)
        total[name] = total.get(name, 0) + kib / 1024
    return {name: round(mib) for name, mib in sorted(total.items(), key=lambda item: -item[1]) if mib >= 1}


def _pids():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _stat(pid):
    """State, parent and start time of a process, or None where there is none."""
    # The name in parentheses may hold anything, so count from its end.
    fields = _text(pid, "stat").rpartition(")")[2].split()
    return (fields[0], int(fields[1]), int(fields[19])) if fields else None


def _text(pid, file):
    try:
        return Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _name(pid):
    return os.path.basename(_command(pid).split(" ")[0]) or _text(pid, "comm").strip()


def _command(pid):
    return _text(pid, "cmdline").replace("\0", " ")


def _mounts():
    # Without ids and options, which say nothing about what is mounted where.
    return sorted(" ".join(line.split()[3:5]) for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines())
