"""What this machine must have for a cluster, beside what `setup.sh` installs and the cache holds."""

import os
import shutil
import subprocess
from pathlib import Path

from labkit import cgroups
from labkit.runner import STATE_ROOT, LabError

COMMANDS = ("ip", "mount", "nft", "nsenter", "openssl", "setsid", "tar", "unshare")
# What the kubelet insists on; v1 has a hierarchy for each.
CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
MEMORY_MIB = 3000


def check():
    """Raises a `LabError` that names all that is missing, each with its remedy."""
    lacking = [sentence for sentence in (_root(), _commands(), _router(), _overlay(), _bridge(), _cgroups(), _disk(), _memory()) if sentence]
    if lacking:
        raise LabError("\n".join(["this machine can't carry a Kubernetes cluster yet:", *(f"  - {sentence}" for sentence in lacking)]))


def _root():
    return "it needs root; run this with sudo" if os.geteuid() != 0 else None


def _commands():
    lost = [name for name in COMMANDS if not shutil.which(name)]
    return f"no {', '.join(lost)}: run `make setup`" if lost else None


def _router():
    return None if Path("/usr/lib/frr/bgpd").exists() else "no FRR, which is the lab's router: run `make setup`"


def _overlay():
    if "\toverlay\n" in Path("/proc/filesystems").read_text(encoding="ascii") or _modprobe("overlay"):
        return None
    return "the kernel has no overlayfs (CONFIG_OVERLAY_FS), of which containers are made"


def _bridge():
    if Path("/proc/sys/net/bridge").exists() or _modprobe("br_netfilter"):
        return None
    return "the kernel has no br_netfilter, without which a pod can't reach a Service whose pod is on the same node"


def _modprobe(module):
    try:
        return subprocess.run(["modprobe", module], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _cgroups():
    roots = cgroups.hierarchies() if cgroups.ROOT.is_dir() else []
    unified = [root / "cgroup.controllers" for root in roots if (root / "cgroup.controllers").exists()]
    have = {root.name for root in roots} | {name for file in unified for name in file.read_text(encoding="ascii").split()}
    have |= {entry.name for entry in cgroups.ROOT.iterdir()} if roots else set()
    lost = [name for name in CONTROLLERS if name not in have]
    return f"no cgroup controller {', '.join(lost)} below {cgroups.ROOT}: is it mounted, and writable for us?" if lost else None


def _disk():
    folder = next(folder for folder in (STATE_ROOT, *STATE_ROOT.parents) if folder.exists())
    kind = subprocess.run(["stat", "--file-system", "--format=%T", str(folder)], capture_output=True, text=True).stdout.strip()
    if kind in ("overlayfs", "overlay"):
        return f"{folder} lies on an overlay, on which containerd can't lay another: set FERROLB_LAB_STATE to a folder of a real disk"
    return None


def _memory():
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    free = int(lines["MemAvailable"].split()[0]) // 1024
    return f"{free} MiB of memory are available, and a cluster takes {MEMORY_MIB}" if free < MEMORY_MIB else None
