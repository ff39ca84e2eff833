"""Brings a topology up in namespaces of this machine, and takes it down without a trace.

A node is one process (`init.py`) in network, mount, process, host-name and IPC namespaces of its
own; a link is a veth pair made directly between two of them. So nothing of a lab has a name on the
host: no named namespace, no interface, no mount. All that there is to remember are the process ids,
and the state folder holds them. Killing a node's process 1 ends all that runs in the node, its links
and mounts. Where a lab uses cgroups, they are below one that bears its name, and go last.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import cgroups
from .topology import NAME
from .wait import until

STATE_ROOT = Path(os.environ.get("FERROLB_LAB_STATE", "/var/lib/ferrolb-lab"))
PYTHON = "/usr/bin/python3"
INIT = Path(__file__).with_name("init.py")
LAB = Path(__file__).parent.with_name("lab.py")
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--propagation", "private"]
EXEC_SECONDS = 60.0


class LabError(Exception):
    """The lab can't do what was asked; the text says why."""


class Lab:
    """A lab that is up, or is being brought up or down."""

    def __init__(self, name, nodes=None, env=None):
        if not NAME.fullmatch(name):
            raise LabError(f"{name!r} is no lab name (letters, digits and hyphens)")
        self.name = name
        self.folder = STATE_ROOT / name
        # Whoever wants cgroups makes them below this one (`cgroups.make`).
        self.cgroup = f"ferrolb-lab-{name}"
        # Node name -> process id and start time of its process 1.
        self.nodes = nodes or {}
        self.env = env or {}
        self._children = []
        self._keeper = None

    @classmethod
    def claim(cls, name, keep=True):
        """Takes the name and makes the lab's folder, which is the caller's to use until `down`.

        With `keep` false the lab ends with this process, by whatever cause.
        """
        if os.geteuid() != 0:
            raise LabError("network namespaces need root; run this with sudo")
        # A folder whose nodes are all dead is what a crash left.
        if any(_start_time(pid) == started for pid, started in Lab.load(name).nodes.values()):
            raise LabError(f"lab {name} is up already; take it down first: {LAB} down {name}")
        lab = cls(name)
        lab._remove_traces()
        lab.folder.mkdir(parents=True, mode=0o700)
        lab._save()
        if not keep:
            lab._keeper = subprocess.Popen([PYTHON, str(LAB), "keep", name], stdin=subprocess.PIPE, start_new_session=True)
        return lab

    @classmethod
    def load(cls, name):
        """The lab that another process brought up."""
        try:
            state = json.loads((STATE_ROOT / name / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(name)
        return cls(name, {node: tuple(mark) for node, mark in state["nodes"].items()}, state["env"])

    def build(self, plan, at_once=False):
        """Brings the topology up; where that fails, takes down what there is of it.

        Nodes run their commands in turn, or with `at_once` side by side.
        """
        try:
            for node in plan.nodes.values():
                self._start_node(node)
            for first, second in plan.links:
                self._link(first, second)
            with ThreadPoolExecutor(len(plan.nodes) if at_once else 1) as pool:
                list(pool.map(self._furnish, plan.nodes.values()))
        except BaseException:
            self.down()
            raise

    def down(self):
        """Removes all of the lab; without one it does nothing."""
        for node in list(self.nodes):
            self.kill(node)
        for child in self._children:
            child.wait()
        self._remove_traces()
        try:
            STATE_ROOT.rmdir()
        except OSError:
            pass  # other labs are up, or this was the last lab's second `down`
        if self._keeper:
            self._keeper.stdin.close()
            self._keeper.wait()

    def revive(self, plan, name):
        """Starts a killed node of the topology again, with new links and its commands.

        Whatever was done at the other end of a link is to be done again.
        """
        if name in self.nodes and _start_time(self.nodes[name][0]) == self.nodes[name][1]:
            raise LabError(f"node {name} of lab {self.name} is up")
        links = [link for link in plan.links if name in (link[0].node, link[1].node)]
        for first, second in links:
            self._unlink(second if first.node == name else first)
        try:
            self._start_node(plan.nodes[name])
            for first, second in links:
                self._link(first, second)
            self._furnish(plan.nodes[name])
        except BaseException:
            if name in self.nodes:
                self.kill(name)
            raise

    def kill(self, node):
        """Ends a node as a power cut does: all its processes and links at once."""
        pid, started = self.nodes.pop(node)
        if _start_time(pid) == started:
            os.kill(pid, signal.SIGKILL)
            until(f"end of node {node}", lambda: _start_time(pid) != started, 30.0, 0.005)

    def command(self, node, argv):
        """The host's command line that runs `argv` inside the node."""
        environment = [f"{key}={value}" for key, value in self.env.get(node, {}).items()]
        return ["nsenter", "-t", self._process(node), "-n", "-m", "-p", "-u", "-i", "--wd=/", "--", "env", *environment, *argv]

    def beside(self, node, argv):
        """The host's command line that runs `argv` in the node's network, and on the host in all else."""
        return ["nsenter", "-t", self._process(node), "-n", "--", *argv]

    def run(self, node, argv, seconds=EXEC_SECONDS, check=True):
        """Runs `argv` inside the node and returns what it wrote to standard output."""
        command = self.command(node, argv)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise LabError(f"{node}: {' '.join(argv)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self, node, argv, **options):
        """Starts `argv` inside the node and doesn't wait; the caller owns the process."""
        return subprocess.Popen(self.command(node, argv), stdin=subprocess.DEVNULL, text=True, **options)

    def _remove_traces(self):
        cgroups.remove(self.cgroup)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _process(self, node):
        if node not in self.nodes:
            raise LabError(f"lab {self.name} has no node {node!r} (there are: {', '.join(self.nodes) or 'none'})")
        pid, started = self.nodes[node]
        if _start_time(pid) != started:
            raise LabError(f"node {node} of lab {self.name} isn't running any more")
        return str(pid)

    def _save(self):
        """Written whole and renamed, so that a reader never sees half of it."""
        text = json.dumps({"nodes": self.nodes, "env": self.env})
        draft = self.folder / ".state.json"
        draft.write_text(text, encoding="utf-8")
        draft.rename(self.folder / "state.json")

    def _start_node(self, node):
        for bind in node.binds:
            if not bind.source.exists():
                raise LabError(f"node {node.name}: bind source {bind.source} doesn't exist")
            if bind.source.is_relative_to("/run"):
                raise LabError(f"node {node.name}: bind source {bind.source} lies below /run, where each node has files of its own")
        with (self.folder / f"{node.name}.log").open("w", encoding="utf-8") as log:
            # A session of its own: Ctrl-C is for the runner, which then takes the nodes down in order.
            child = subprocess.Popen(
                [*UNSHARE, PYTHON, str(INIT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, start_new_session=True, cwd="/", env={**os.environ, **node.env},
            )
        self._children.append(child)
        with child.stdin, child.stdout:
            pid = _answer(child, node.name)["pid"]
            self.nodes[node.name] = (pid, _start_time(pid))
            self.env[node.name] = node.env
            self._save()
            print(json.dumps(_furniture(node)), file=child.stdin, flush=True)
            error = _answer(child, node.name)["error"]
        if error:
            raise LabError(f"node {node.name}: {error}")

    def _furnish(self, node):
        for argv in node.exec:
            self.run(node.name, argv)

    def _link(self, first, second):
        pids = [str(self.nodes[end.node][0]) for end in (first, second)]
        macs = [_mac(end) for end in (first, second)]
        _run("ip", "link", "add", "name", first.interface, "netns", pids[0], "address", macs[0],
             "type", "veth", "peer", "name", second.interface, "netns", pids[1], "address", macs[1])
        for end, pid in zip((first, second), pids):
            _run("nsenter", "-t", pid, "-n", "ip", "link", "set", end.interface, "up")

    def _unlink(self, end):
        """A busy kernel takes its time to remove the links of a node that is gone."""
        argv = ["ip", "link", "delete", end.interface]
        subprocess.run(["nsenter", "-t", self._process(end.node), "-n", "--", *argv], capture_output=True)


def _mac(end):
    """The address of an interface: the same when its node comes back, since others remember it."""
    return "02:" + hashlib.sha256(f"{end.node} {end.interface}".encode()).digest()[:5].hex(":")


def names():
    """The labs that are up, or that a crash left behind."""
    return sorted(path.name for path in STATE_ROOT.iterdir()) if STATE_ROOT.is_dir() else []


def _furniture(node):
    binds = [{"source": str(b.source), "target": str(b.target), "read_only": b.read_only} for b in node.binds]
    return {"hostname": node.name, "binds": binds, "sysctls": node.sysctls, "cmd": node.cmd}


def _answer(child, node):
    line = child.stdout.readline()
    if not line:
        raise LabError(f"node {node} couldn't be started: this machine doesn't allow new namespaces, or lacks {PYTHON}")
    return json.loads(line)


def _start_time(pid):
    """The moment a process started, in clock ticks; it tells a process from a later one with its id.

    None where there is no such process, or only what is left of it until its parent asks.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, so count from its end (proc(5): state is field 3).
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip()}")


def keep(name):
    """The keeper's life: wait for the end of the pipe, then take the lab down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    Lab.load(name).down()
