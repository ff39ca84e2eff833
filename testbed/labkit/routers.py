"""What a router says about its sessions and routes, in one form for FRR and BIRD.

Every answer is the router's own output; nothing is taken from FerroLB. Sessions go by the names
that a topology's neighbours have, whatever the router itself calls them.
"""

import json
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Path:
    """One path to a prefix, as a router received it."""

    session: str
    next_hop: str
    as_path: tuple[int, ...]
    origin: str
    local_pref: int | None
    communities: frozenset[str]
    large_communities: frozenset[str]


class Router:
    """What FRR and BIRD have in common: the kernel below them."""

    def __init__(self, lab, node, neighbors):
        self.lab = lab
        self.node = node
        # Session name -> the neighbour's address.
        self.neighbors = neighbors

    def next_hops(self, prefix):
        """The gateways that the router's kernel has for exactly this prefix, sorted."""
        family = "-6" if ":" in prefix else "-4"
        listed = json.loads(self.lab.run(self.node, ["ip", "-j", family, "route", "show", prefix]) or "[]")
        hops = [hop for route in listed for hop in route.get("nexthops", [route])]
        # After a link is gone the kernel keeps the next hop for a moment, marked.
        return sorted(hop["gateway"] for hop in hops if "gateway" in hop and not set(hop["flags"]) & {"dead", "linkdown"})

    def path(self, prefix, session):
        """The path to `prefix` that came over `session`, or None."""
        return next((path for path in self.paths(prefix) if path.session == session), None)


class Frr(Router):
    """FRR, asked through vtysh."""

    def established(self, session):
        return self._neighbor(session)["bgpState"] == "Established"

    def hold_time(self, session):
        """The negotiated hold time in seconds."""
        return self._neighbor(session)["bgpTimerHoldTimeMsecs"] // 1000

    def life(self, session):
        """Something that changes with each new establishment of the session."""
        return self._neighbor(session)["connectionsEstablished"]

    @staticmethod
    def same_life(one, other):
        """Whether two answers of `life` are of one establishment."""
        return one == other

    def families(self, session):
        """The address families that the neighbour's OPEN offered."""
        offered = self._neighbor(session)["neighborCapabilities"]["multiprotocolExtensions"]
        received = {name for name, sides in offered.items() if sides.get("received") or sides.get("advertisedAndReceived")}
        return {name.removesuffix("Unicast") for name in received}

    def said_goodbye(self, session):
        """Whether the last session ended with the neighbour's Cease/Administrative Shutdown."""
        neighbor = self._neighbor(session)
        received = neighbor.get("lastResetDueTo") == "BGP Notification received"
        return received and neighbor.get("lastNotificationReason") == "Cease/Administrative Shutdown"

    def updates(self, session):
        """How many UPDATE messages the session has brought, End-of-RIB included."""
        return self._neighbor(session)["messageStats"]["updatesRecv"]

    def reset(self, session):
        """Ends the session with a Cease of the router's own."""
        self._vtysh(f"clear bgp {self.neighbors[session]}")

    def paths(self, prefix):
        family = "ipv6" if ":" in prefix else "ipv4"
        listed = json.loads(self._vtysh(f"show bgp {family} unicast {prefix} json"))
        return [self._path(path) for path in listed.get("paths", [])]

    def _path(self, path):
        names = {address: name for name, address in self.neighbors.items()}
        (next_hop,) = [hop["ip"] for hop in path["nexthops"] if hop.get("scope") != "link-local"]
        return Path(
            session=names[path["peer"]["peerId"]],
            next_hop=next_hop,
            as_path=tuple(asn for segment in path["aspath"]["segments"] for asn in segment["list"]),
            origin=path["origin"],
            local_pref=path.get("locPrf"),
            communities=frozenset(path.get("community", {}).get("list", [])),
            large_communities=frozenset(path.get("largeCommunity", {}).get("list", [])),
        )

    def _neighbor(self, session):
        address = self.neighbors[session]
        return json.loads(self._vtysh(f"show bgp neighbors {address} json"))[address]

    def _vtysh(self, command):
        return self.lab.run(self.node, ["vtysh", "-c", command])


class Bird(Router):
    """BIRD 2, asked through birdc; its protocols have the sessions' names."""

    ATTRIBUTE = re.compile(r"^\tBGP\.(\w+): (.*)$", re.MULTILINE)
    PATH = re.compile(r"^\S*\s+\w+ \[(\w+) ", re.MULTILINE)

    def established(self, session):
        return re.search(r"\bEstablished\b", self._protocol(session)) is not None

    def hold_time(self, session):
        """The negotiated hold time in seconds."""
        return int(re.search(r"Hold timer: +[\d.]+/(\d+)", self._protocol(session)).group(1))

    def life(self, session):
        """Something that changes with each new establishment of the session."""
        since = re.search(rf"^{session} +BGP +\S+ +up +(\d+):(\d+):([\d.]+)", self._protocol(session), re.MULTILINE)
        hours, minutes, seconds = map(float, since.groups())
        return (hours * 60 + minutes) * 60 + seconds

    @staticmethod
    def same_life(one, other):
        """Whether two answers of `life` are of one establishment: BIRD's own clock readings differ by a millisecond or so."""
        return abs(one - other) < 0.05

    def families(self, session):
        """The address families that the neighbour's OPEN offered."""
        neighbor = self._protocol(session).partition("Neighbor capabilities")[2]
        return set(re.search(r"AF announced: (.*)", neighbor).group(1).split())

    def said_goodbye(self, session):
        """Whether the last session ended with the neighbour's Cease/Administrative Shutdown."""
        return "Received: Administrative shutdown" in self._protocol(session)

    def updates(self, session):
        """How many prefixes the session has brought or withdrawn; BIRD doesn't count messages."""
        found = re.findall(r"Import (?:updates|withdraws): +(\d+)", self._protocol(session))
        return sum(map(int, found))

    def reset(self, session):
        """Ends the session with a Cease of the router's own."""
        self._birdc(f"restart {session}")

    def paths(self, prefix):
        text = self._birdc(f"show route all {prefix}")
        starts = list(self.PATH.finditer(text))
        ends = [start.start() for start in starts[1:]] + [len(text)]
        return [self._path(start.group(1), text[start.end():end]) for start, end in zip(starts, ends)]

    def _path(self, session, text):
        attributes = dict(self.ATTRIBUTE.findall(text))
        # Of two IPv6 next hops the second is the link-local one.
        return Path(
            session=session,
            next_hop=attributes["next_hop"].split()[0],
            as_path=tuple(map(int, attributes.get("as_path", "").split())),
            origin=attributes["origin"],
            local_pref=int(attributes["local_pref"]) if "local_pref" in attributes else None,
            communities=_communities(attributes.get("community", "")),
            large_communities=_communities(attributes.get("large_community", "")),
        )

    def _protocol(self, session):
        return self._birdc(f"show protocols all {session}")

    def _birdc(self, command):
        # birdc says "no such route" with an exit status too; here it is an answer like any other.
        return self.lab.run(self.node, ["birdc", *command.split()], check=False)


def _communities(text):
    """`(64512,100) (64512, 1, 100)` -> `64512:100`, `64512:1:100`."""
    return frozenset(re.sub(r",\s*", ":", inner) for inner in re.findall(r"\(([^)]*)\)", text))
