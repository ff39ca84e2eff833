"""Process 1 of a node: makes the node's inside, then reaps what dies in it.

Started by the runner inside new namespaces, it talks to it over its standard streams, one JSON
document a line:

    init -> runner   {"pid": ...}          its process id as the runner sees it
    runner -> init   {"hostname": ...}     the node; end of file instead: the runner died, so exit
    init -> runner   {"error": null}       ready, or the reason why not

Since nothing is made before the runner has written the process id down, a crash at any moment
leaves either nothing or a process that `down` finds; all else lives in its namespaces and ends
with it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path


def main():
    # The host's /proc is still in place, so this is the host's number, not 1.
    _say({"pid": int(os.readlink("/proc/self"))})
    line = sys.stdin.readline()
    if not line:
        return 1
    node = json.loads(line)
    try:
        _furnish(node)
        main_process = _start(node["cmd"])
    except (OSError, subprocess.CalledProcessError) as error:
        _say({"error": _reason(error)})
        return 1
    _say({"error": None})
    _forget_runner()
    return _reap_until(main_process)


def _furnish(node):
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    for bind in node["binds"]:
        _bind(Path(bind["source"]), Path(bind["target"]), bind["read_only"])
    for name, value in node["sysctls"].items():
        Path("/proc/sys", *name.split(".")).write_text(value, encoding="ascii")
    socket.sethostname(node["hostname"])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, capture_output=True, text=True)


def _bind(source, target, read_only):
    if not target.exists():
        # Below /run is the node's own tmpfs; anywhere else a new name would appear on the host.
        if not target.is_relative_to("/run"):
            raise OSError(f"bind target {target} must exist on this machine or lie below /run")
        if source.is_dir():
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    _mount("--bind", str(source), str(target))
    if read_only:
        _mount("-o", "remount,bind,ro", str(target))


def _mount(*arguments):
    subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)


def _start(command):
    if not command:
        return None
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, cwd="/").pid


def _reap_until(main_process):
    """Ends with the node's own command, as a container does; without one, when killed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            signal.sigwait([signal.SIGCHLD])
            continue
        if pid == main_process:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _say(document):
    print(json.dumps(document), flush=True)


def _forget_runner():
    """Lets go of the runner's pipes, which would otherwise stay open for as long as the node runs."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)


def _reason(error):
    stderr = getattr(error, "stderr", None)
    return f"{error}: {stderr.strip()}" if stderr else str(error)


if __name__ == "__main__":
    sys.exit(main())
