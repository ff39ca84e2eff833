"""What all routers have in common: the kernel below them, their processes, their packages."""

import json
import subprocess
from dataclasses import dataclass

# Codes and subcodes of a NOTIFICATION.
HOLD_TIMER_EXPIRED = (4, 0)
ADMINISTRATIVE_SHUTDOWN = (6, 2)


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
    # Kept by graceful restart although its session is gone, where the router tells.
    stale: bool = False


def end(direction, reason, ends):
    """An answer of `last_end`: `ends` has the codes by how a router's text for them begins; None where it's none of these."""
    return next(((direction, code) for text, code in ends.items() if reason.startswith(text)), None)


class Router:
    """A router in one node of a lab. Each kind answers these questions of its own:

    established(session)    whether the session is
    hold_time(session)      the negotiated one in seconds
    life(session)           something that changes with each new establishment
    families(session)       the address families that the neighbour's OPEN offered
    last_end(session)       `("received" or "sent", (code, subcode))` of the NOTIFICATION that ended the last session;
                            some routers forget it with the next establishment
    updates(session)        a number that grows by one with each UPDATE, End-of-RIB included where the router counts it
    four_octets(session)    whether the session has AS numbers of four octets
    count(session)          how many prefixes the session has brought and not withdrawn
    path(prefix, session)   the path to the prefix that came over the session, or None

    and takes these commands:

    reset(session)          ends the session with a Cease
    refresh(session)        asks the neighbour to send everything again
    """

    NAME = None
    PACKAGE = None
    # The names of its processes that speak BGP, as a regular expression.
    PROCESSES = None

    def __init__(self, lab, node, neighbors):
        self.lab = lab
        self.node = node
        # Session name -> the neighbour's address.
        self.neighbors = neighbors

    @classmethod
    def version(cls):
        """The version of the Debian package."""
        asked = ["dpkg-query", "--show", "--showformat=${Version}", cls.PACKAGE]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout

    @staticmethod
    def same_life(one, other):
        """Whether two answers of `life` are of one establishment."""
        return one == other

    @classmethod
    def next_life(cls, one, other):
        """Whether two answers of `life` are of one establishment and the next, as far as the router counts them."""
        return not cls.same_life(one, other)

    def next_hops(self, prefix):
        """The gateways that the router's kernel has for exactly this prefix, sorted."""
        family = "-6" if ":" in prefix else "-4"
        listed = json.loads(self.lab.run(self.node, ["ip", "-j", family, "route", "show", prefix]) or "[]")
        hops = [hop for route in listed for hop in route.get("nexthops", [route])]
        # After a link is gone the kernel keeps the next hop for a moment, marked.
        return sorted(hop["gateway"] for hop in hops if "gateway" in hop and not set(hop["flags"]) & {"dead", "linkdown"})

    def forgive(self, session):
        """Ends the time for which the router refuses a neighbour whose session has failed, where that is long."""

    def forgive_all(self):
        """The same for all neighbours."""

    def signal(self, name):
        """Sends a signal to each of the router's processes."""
        pids = self.lab.run(self.node, ["pgrep", "-x", self.PROCESSES]).split()
        # Where one ends by the end of another it may be gone already.
        self.lab.run(self.node, ["kill", f"-{name}", *pids], check=False)

    def restart(self):
        """Kills the router as a crash would and starts it again."""
        self.signal("KILL")
        gone = f"while pgrep -x '{self.PROCESSES}' >/dev/null; do sleep 0.01; done"
        self.lab.run(self.node, ["sh", "-c", gone])
        self.lab.run(self.node, ["sh", "/run/lab/router/start.sh"])
