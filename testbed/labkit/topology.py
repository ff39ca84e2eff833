"""Reads a containerlab file and says precisely what is wrong with it.

Only the keys that mean the same to containerlab and to our own runner are taken; any other key is
an error, so that a file which passes here never relies on something that one of the two ignores.
"""

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import yaml

TOP_KEYS = {"name", "mgmt", "topology"}
MGMT_KEYS = {"network", "ipv4-subnet", "ipv6-subnet", "skip-when-unused"}
TOPOLOGY_KEYS = {"defaults", "nodes", "links"}
# Read by containerlab alone: how the container is made. Our nodes aren't containers.
CONTAINER_KEYS = {"image", "image-pull-policy", "network-mode", "restart-policy", "privileged", "cap-add"}
DEFAULT_KEYS = CONTAINER_KEYS | {"kind", "cmd", "env", "sysctls"}
NODE_KEYS = DEFAULT_KEYS | {"binds", "exec"}
LINK_KEYS = {"endpoints"}

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,62}")
INTERFACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")  # IFNAMSIZ is 16, with the final zero
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::[=-]([^}]*))?\}")


class TopologyError(Exception):
    """The file can't be brought up; the text names the file, the place and the reason."""


@dataclass(frozen=True)
class Bind:
    """One file or folder of the host, seen inside a node."""

    source: Path
    target: Path
    read_only: bool


@dataclass(frozen=True)
class Endpoint:
    """One end of a link."""

    node: str
    interface: str

    def __str__(self):
        return f"{self.node}:{self.interface}"


@dataclass(frozen=True)
class Node:
    """One machine of the lab."""

    name: str
    cmd: list[str]
    exec: list[list[str]]
    binds: list[Bind]
    sysctls: dict[str, str]
    env: dict[str, str]


@dataclass(frozen=True)
class Topology:
    """A whole lab, checked."""

    name: str
    path: Path
    nodes: dict[str, Node]
    links: list[tuple[Endpoint, Endpoint]] = field(default_factory=list)


def load(path, variables=None):
    """Reads the file at `path`; `${NAME:=default}` in it comes from `variables`, else the environment."""
    path = Path(path).resolve()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TopologyError(f"{path}: {error.strerror}") from error
    return parse(text, path, {**os.environ, **(variables or {})})


def parse(text, path, variables):
    """The topology in `text`; `path` gives relative binds their folder and errors their file."""
    try:
        document = yaml.safe_load(_expand(text, variables))
        return _Reader(Path(path)).topology(document)
    except yaml.YAMLError as error:
        raise TopologyError(f"{path}: not YAML: {error}") from error
    except _Fault as fault:
        raise TopologyError(f"{path}: {fault}") from fault


class _Fault(Exception):
    """What is wrong, without the file's name."""


def _expand(text, variables):
    def value(match):
        name, default = match.groups()
        # As in a shell, `:=` counts an empty variable as unset.
        found = variables.get(name) or default
        if found is None:
            raise _Fault(f"variable {name} isn't set and has no default")
        return found

    expanded = VARIABLE.sub(value, text)
    if "$" in VARIABLE.sub("", text):
        # containerlab would replace `$NAME` too, so a `$` meant for a shell wouldn't reach it there.
        raise _Fault("a `$` that isn't ${NAME} or ${NAME:=default}; put shell variables into a script of their own")
    return expanded


class _Reader:
    """Walks the document from the top; each method reads one kind of mapping."""

    def __init__(self, path):
        self.path = path

    def topology(self, document):
        document = _mapping(document, "the file", TOP_KEYS)
        name = document.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise _Fault(f"name: {name!r} is no lab name (letters, digits and hyphens)")
        _mapping(document.get("mgmt", {}), "mgmt", MGMT_KEYS)
        body = _mapping(document.get("topology"), "topology", TOPOLOGY_KEYS)
        defaults = _mapping(body.get("defaults", {}), "topology.defaults", DEFAULT_KEYS)
        raw_nodes = _mapping(body.get("nodes"), "topology.nodes")
        if not raw_nodes:
            raise _Fault("topology.nodes: no node at all")
        nodes = {name: self.node(name, raw, defaults) for name, raw in raw_nodes.items()}
        links = self.links(body.get("links", []), nodes)
        return Topology(document["name"], self.path, nodes, links)

    def node(self, name, raw, defaults):
        place = f"topology.nodes.{name}"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise _Fault(f"{place}: no node name (letters, digits and hyphens)")
        raw = _mapping(raw if raw is not None else {}, place, NODE_KEYS)
        merged = {**defaults, **raw}
        if merged.get("kind") != "linux":
            raise _Fault(f"{place}.kind: {merged.get('kind')!r}, but this runner knows `linux` only")
        return Node(
            name=name,
            cmd=_words(merged.get("cmd", ""), f"{place}.cmd"),
            exec=[_words(line, f"{place}.exec") for line in _list(raw.get("exec", []), f"{place}.exec")],
            binds=[self.bind(line, f"{place}.binds") for line in _list(raw.get("binds", []), f"{place}.binds")],
            sysctls=_settings(defaults, raw, "sysctls", place),
            env=_settings(defaults, raw, "env", place),
        )

    def bind(self, line, place):
        parts = line.split(":") if isinstance(line, str) else []
        options = parts[2] if len(parts) == 3 else "rw"
        if len(parts) not in (2, 3) or options not in ("ro", "rw"):
            raise _Fault(f"{place}: {line!r} isn't SOURCE:TARGET or SOURCE:TARGET:ro")
        source, target = (self.path.parent / parts[0]).resolve(), Path(parts[1])
        if not target.is_absolute():
            raise _Fault(f"{place}: target {parts[1]!r} isn't an absolute path")
        return Bind(source, target, options == "ro")

    def links(self, raw_links, nodes):
        links, taken = [], set()
        for index, raw in enumerate(_list(raw_links, "topology.links")):
            place = f"topology.links[{index}]"
            ends = _list(_mapping(raw, place, LINK_KEYS).get("endpoints"), f"{place}.endpoints")
            if len(ends) != 2:
                raise _Fault(f"{place}: a link has two endpoints, here are {len(ends)}")
            link = tuple(_endpoint(text, nodes, place) for text in ends)
            for end in link:
                if end in taken:
                    raise _Fault(f"{place}: interface {end} is used twice")
                taken.add(end)
            links.append(link)
        return links


def _endpoint(text, nodes, place):
    node, colon, interface = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not colon or not INTERFACE.fullmatch(interface):
        raise _Fault(f"{place}: {text!r} isn't NODE:INTERFACE")
    if node not in nodes:
        raise _Fault(f"{place}: {text} names node {node!r}, which isn't among topology.nodes")
    return Endpoint(node, interface)


def _mapping(value, place, known=None):
    if not isinstance(value, dict):
        raise _Fault(f"{place}: a mapping is needed")
    for key in value:
        if known is not None and key not in known:
            raise _Fault(f"{place}: unknown key {key!r} (known: {', '.join(sorted(known))})")
    return value


def _list(value, place):
    if not isinstance(value, list):
        raise _Fault(f"{place}: a list is needed")
    return value


def _words(value, place):
    if not isinstance(value, str):
        raise _Fault(f"{place}: {value!r} isn't a command line")
    try:
        return shlex.split(value)
    except ValueError as error:
        raise _Fault(f"{place}: {value!r}: {error}") from error


def _settings(defaults, raw, key, place):
    merged = {**_mapping(defaults.get(key, {}), f"topology.defaults.{key}"), **_mapping(raw.get(key, {}), f"{place}.{key}")}
    return {str(name): str(value) for name, value in merged.items()}
