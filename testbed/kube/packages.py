"""Debian packages unpacked beside the machine, not installed on it: nothing of them starts, and nothing of its own is replaced.

Installed, `containerd` would push out Docker's, and each daemon would start with the machine.
"""

import os
import subprocess
from pathlib import Path

from . import cache
from .build import BuildError, say

# Each with the libraries that a Debian without it may lack.
PACKAGES = (
    "containerd", "runc", "libseccomp2", "containernetworking-plugins", "etcd-server", "nginx",
    "iptables", "libxtables12", "libip4tc2", "libip6tc2", "libnetfilter-conntrack3", "libnfnetlink0", "libnftnl11", "libmnl0",
)
PROGRAMS = (
    "usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr", "usr/sbin/runc", "usr/bin/etcd", "usr/sbin/nginx",
    "usr/sbin/xtables-nft-multi", "usr/lib/cni/bridge", "usr/lib/cni/host-local", "usr/lib/cni/loopback",
)
# Made by update-alternatives on a machine that has the package installed.
ALTERNATIVES = tuple(f"{family}{verb}" for family in ("iptables", "ip6tables") for verb in ("", "-save", "-restore"))
DOWNLOAD = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *PACKAGES]


def folder():
    """The folder with the packages' files, fetched where there is none."""
    return cache.folder("packages", key(), _fetch)


def key():
    """Changes with the list and with the machine's Debian."""
    return cache.key(*PACKAGES, *PROGRAMS, Path("/etc/os-release"))


def libraries(root):
    """The packages' folder of shared libraries."""
    return next(root.glob("usr/lib/*-linux-gnu*"))


def _fetch(draft):
    say(f"fetching {len(PACKAGES)} Debian packages, once")
    archives = draft / "archives"
    archives.mkdir()
    if _run(DOWNLOAD, archives, check=False).returncode != 0:
        _run(["apt-get", "update", "-qq"], archives)
        _run(DOWNLOAD, archives)
    for name in ("bin", "sbin", "lib", "lib64"):
        (draft / "usr" / name).mkdir(parents=True, exist_ok=True)
        (draft / name).symlink_to(f"usr/{name}")
    for archive in sorted(archives.iterdir()):
        _unpack(archive, draft)
        archive.unlink()
    archives.rmdir()
    for name in ALTERNATIVES:
        (draft / "usr/sbin" / name).symlink_to("xtables-nft-multi")
    for program in PROGRAMS:
        _check(draft, program)


def _unpack(archive, target):
    """Where a package still says /lib or /sbin, its files land below /usr, as on a machine."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as packed:
        _run(["tar", "--extract", "--keep-directory-symlink", "--directory", str(target)], target, stdin=packed.stdout)
    if packed.returncode != 0:
        raise BuildError(f"{archive.name} can't be unpacked")


def _check(root, program):
    path = root / program
    if not path.exists():
        raise BuildError(f"Debian's packages don't contain {program}, which the lab needs: is this Debian 12?")
    env = {**os.environ, "LD_LIBRARY_PATH": str(libraries(root))}
    said = subprocess.run(["ldd", str(path)], capture_output=True, text=True, env=env).stdout
    lost = [line.split()[0] for line in said.splitlines() if "not found" in line]
    if lost:
        raise BuildError(f"{program} lacks {', '.join(lost)} on this machine; add its package to {__file__}")


def _run(argv, folder, check=True, **options):
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, **options)
    except FileNotFoundError as error:
        raise BuildError(f"{argv[0]} isn't here: the lab takes its packages from Debian") from error
    if check and done.returncode != 0:
        raise BuildError(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")
    return done
