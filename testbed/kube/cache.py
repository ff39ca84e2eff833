"""What is made once and kept outside the tree: folders that are there whole or not at all."""

import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager
from pathlib import Path


def root():
    """The cache's folder; `FERROLB_KUBE_CACHE` names another one."""
    given = os.environ.get("FERROLB_KUBE_CACHE")
    if given:
        return Path(given).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "ferrolb/kube").resolve()


def key(*parts):
    """A name for what is made from these texts and files: the same when all of them are."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]


def find(kind, name):
    """The folder made for `name`, or None."""
    folder = root() / f"{kind}-{name}"
    return folder if folder.is_dir() else None


def folder(kind, name, make):
    """The folder made for `name`; when there is none, `make(draft)` fills it, in one process at a time."""
    found = find(kind, name)
    if found:
        return found
    with _locked(kind):
        found = find(kind, name)
        return found or _make(kind, name, make)


def _make(kind, name, make):
    for left in root().glob(f".{kind}-*.draft"):
        shutil.rmtree(left, ignore_errors=True)  # of a run that was killed: we hold the lock, so nobody is at it
    draft = root() / f".{kind}-{name}.draft"
    draft.mkdir(mode=0o755)
    try:
        make(draft)
        return draft.rename(root() / f"{kind}-{name}")
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _locked(kind):
    """Released by the kernel whatever ends the holder."""
    root().mkdir(parents=True, exist_ok=True)
    with (root() / f".{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
