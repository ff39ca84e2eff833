"""Container images without a registry: archives as `docker save` writes them, made here."""

import hashlib
import io
import json
import os
import platform
import re
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

from . import cache, packages
from .build import BuildError, go, say

HERE = Path(__file__).resolve().parent
WEB_SOURCE = HERE / "web"
PAUSE, WEB, NGINX = "localhost/pause:1", "localhost/web:1", "localhost/nginx:1"
FERROLB = "localhost/ferrolb"
# What deploy/Dockerfile makes; a test compares.
FERROLB_PROGRAM, FERROLB_USER = "/ferrolb", "65534:65534"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
NGINX_CONF = b"""user www-data; daemon off; worker_processes 1; error_log stderr; pid /run/nginx.pid;
events { worker_connections 256; }
http { access_log off; server { listen 80; listen [::]:80 ipv6only=on; root /srv; } }
"""


def folder():
    """The folder with the lab's own images, made where there is none."""
    return cache.folder(*made(), _make)


def made():
    """What `folder` makes, as the cache names it."""
    sources = [HERE / "images.py", *sorted(WEB_SOURCE.iterdir()), HERE / "pause.c"]
    return "images", cache.key(*sources, packages.key())


def _make(draft):
    say("making the images: pause, web, nginx")
    pause, web = draft / "pause", draft / "web"
    done = subprocess.run(["gcc", "-Os", "-static", "-s", "-o", str(pause), str(HERE / "pause.c")], capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"gcc can't build the pause program: {done.stderr.strip()}")
    go(["build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", str(web), "."], WEB_SOURCE)
    write(draft / "pause.tar", PAUSE, {"/pause": pause}, ["/pause"])
    write(draft / "web.tar", WEB, {"/web": web}, ["/web"])
    write(draft / "nginx.tar", NGINX, _nginx(packages.folder()), ["/usr/sbin/nginx"])
    pause.unlink()
    web.unlink()


def _nginx(root):
    return {
        **program(root / "usr/sbin/nginx", "/usr/sbin/nginx", root),
        "/etc/nginx/nginx.conf": NGINX_CONF,
        "/etc/passwd": b"www-data:x:33:33::/:/bin/false\n",
        "/etc/group": b"www-data:x:33:\n",
        "/srv/index.html": b"nginx in the lab\n",
        "/var/lib/nginx/": None, "/var/log/nginx/": None, "/run/": None,
    }


def ferrolb(binary, target, entrypoint=FERROLB_PROGRAM):
    """Writes `localhost/ferrolb:VERSION` from a binary, static or not, to `target`; returns the image's name."""
    said = subprocess.run([str(binary), "--version"], capture_output=True, text=True).stdout
    number = re.search(r"\d+\.\d+\.\d+\S*", said)
    if not number:
        raise BuildError(f"`{binary} --version` says no version but {said!r}")
    name = f"{FERROLB}:{number[0]}"
    write(target, name, program(Path(binary), entrypoint), [entrypoint], FERROLB_USER)
    return name


def program(binary, place, root=None):
    """The files of an image for one program: itself, and where it is dynamic its libraries and loader."""
    env = {**os.environ, **({"LD_LIBRARY_PATH": str(packages.libraries(root))} if root else {})}
    said = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, env=env).stdout
    if "not found" in said:
        raise BuildError(f"{binary} doesn't find its libraries:\n{said}")
    files = {place: Path(binary)}
    for path in re.findall(r"(/\S+) \(0x", said):
        inside = path.removeprefix(str(root)) if root else path
        files[inside] = Path(path).resolve()
    return files


def write(target, name, files, entrypoint, user=""):
    """Writes an image of one layer. `files`: path inside -> bytes, a file to copy, or None for a folder (`/run/`)."""
    layer = _layer(files)
    layer_id = hashlib.sha256(layer).hexdigest()
    config = json.dumps({
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], **({"User": user} if user else {})},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_id}"]}, "history": [{"created_by": "testbed/kube/images.py"}],
    }).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": [f"{layer_id}/layer.tar"]}]).encode()
    with tarfile.open(target, "w") as archive:
        for member, content in ((config_name, config), (f"{layer_id}/layer.tar", layer), ("manifest.json", manifest)):
            _add(archive, member, content)


def _layer(files):
    folders = {parent for path in files for parent in PurePosixPath(path.rstrip("/")).parents if str(parent) != "/"}
    folders |= {PurePosixPath(path) for path, content in files.items() if content is None}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folders):
            entry = tarfile.TarInfo(str(path).lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for path, content in sorted(files.items()):
            if content is not None:
                data, mode = (content.read_bytes(), 0o755) if isinstance(content, Path) else (content, 0o644)
                _add(archive, path.lstrip("/"), data, mode)
    return buffer.getvalue()


def _add(archive, name, content, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
