"""The binary that the labs run: built when it is needed, with one sentence when that can't be."""

import functools
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class BuildError(Exception):
    """Something can't be built here; the text says what is missing and what to do."""


@functools.cache
def binary(quiet=True):
    """The path of a current release binary; `FERROLB_BIN` names another one to use as it is."""
    given = os.environ.get("FERROLB_BIN")
    if given:
        return Path(given).resolve()
    command = [cargo(), "build", "--locked", "--release", "--package", "ferrolb", *(["--quiet"] if quiet else [])]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        raise BuildError(f"the build failed; `{' '.join(command)}` shows why")
    return target_folder() / "release" / "ferrolb"


def target_folder():
    """Where cargo puts what it builds."""
    return (ROOT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve()


def cargo():
    """The cargo to use, new enough for this workspace."""
    needed = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["rust-version"]
    remedy = f"install Rust {needed} or newer from https://rustup.rs, then run this again"
    # A root shell often lacks the folder that rustup installs to.
    path = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo/bin"))
    if not path:
        raise BuildError(f"there is no Rust toolchain here: {remedy}")
    said = subprocess.run([path, "--version"], cwd=ROOT, capture_output=True, text=True)
    found = re.match(r"cargo (\d+)\.(\d+)", said.stdout)
    if not found:
        raise BuildError(f"`{path} --version` doesn't work ({said.stderr.strip()}): {remedy}")
    if tuple(map(int, found.groups())) < tuple(map(int, needed.split(".")[:2])):
        raise BuildError(f"{said.stdout.strip()} is too old: {remedy}")
    return path
