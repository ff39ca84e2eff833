"""BIRD 2, asked through birdc; its protocols have the sessions' names."""

import re

from .base import ADMINISTRATIVE_SHUTDOWN, HOLD_TIMER_EXPIRED, Path, Router, end

ATTRIBUTE = re.compile(r"^\tBGP\.(\w+): (.*)$", re.MULTILINE)
PATH = re.compile(r"^\S*\s+\w+ \[(\w+) ", re.MULTILINE)
LAST_ERROR = re.compile(r"Last error: +(BGP Error|Received): (.*)")
DIRECTIONS = {"BGP Error": "sent", "Received": "received"}
ENDS = {"Administrative shutdown": ADMINISTRATIVE_SHUTDOWN, "Hold timer expired": HOLD_TIMER_EXPIRED}


class Bird(Router):
    NAME = "BIRD"
    PACKAGE = "bird2"
    PROCESSES = "bird"

    def established(self, session):
        return re.search(r"\bEstablished\b", self._protocol(session)) is not None

    def hold_time(self, session):
        return int(re.search(r"Hold timer: +[\d.]+/(\d+)", self._protocol(session)).group(1))

    def life(self, session):
        """For how long BIRD has run without this session."""
        since = re.search(rf"^{session} +BGP +\S+ +up +(\d+):(\d+):([\d.]+)", self._protocol(session), re.MULTILINE)
        if since is None:
            return None
        hours, minutes, seconds = map(float, since.groups())
        return (hours * 60 + minutes) * 60 + seconds

    @staticmethod
    def same_life(one, other):
        """BIRD's own clock readings differ by a millisecond or so."""
        return None not in (one, other) and abs(one - other) < 0.05

    def families(self, session):
        neighbor = self._protocol(session).partition("Neighbor capabilities")[2]
        return set(re.search(r"AF announced: (.*)", neighbor).group(1).split())

    def last_end(self, session):
        found = LAST_ERROR.search(self._protocol(session))
        if found is None:
            return None
        direction, reason = found.groups()
        return end(DIRECTIONS[direction], reason, ENDS)

    def updates(self, session):
        """How many prefixes the session has brought or withdrawn; BIRD doesn't count messages."""
        found = re.findall(r"Import (?:updates|withdraws): +(\d+)", self._protocol(session))
        return sum(map(int, found))

    def four_octets(self, session):
        return re.search(r"Session: .*\bAS4\b", self._protocol(session)) is not None

    def count(self, session):
        return sum(map(int, re.findall(r"Routes: +(\d+) imported", self._protocol(session))))

    def reset(self, session):
        self._birdc(f"restart {session}")

    def refresh(self, session):
        self._birdc(f"reload in {session}")

    def path(self, prefix, session):
        text = self._birdc(f"show route all {prefix}")
        starts = list(PATH.finditer(text))
        ends = [start.start() for start in starts[1:]] + [len(text)]
        spans = {start.group(1): text[start.end():end] for start, end in zip(starts, ends)}
        return _path(session, spans[session]) if session in spans else None

    def _protocol(self, session):
        return self._birdc(f"show protocols all {session}")

    def _birdc(self, command):
        # birdc says "no such route" with an exit status too; here it is an answer like any other.
        return self.lab.run(self.node, ["birdc", *command.split()], check=False)


def _path(session, text):
    attributes = dict(ATTRIBUTE.findall(text))
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


def _communities(text):
    """`(64512,100) (64512, 1, 100)` -> `64512:100`, `64512:1:100`."""
    return frozenset(re.sub(r",\s*", ":", inner) for inner in re.findall(r"\(([^)]*)\)", text))
