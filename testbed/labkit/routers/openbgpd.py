"""OpenBGPD, asked through bgpctl; its neighbours have the sessions' names as descriptions."""

import json
import re

from .base import ADMINISTRATIVE_SHUTDOWN, HOLD_TIMER_EXPIRED, Path, Router, end

LOG = "/run/openbgpd.log"
ENDED = re.compile(r"\((\w+)\): (received|sending) notification: (.*)")
DIRECTIONS = {"received": "received", "sending": "sent"}
ENDS = {"Cease, administratively down": ADMINISTRATIVE_SHUTDOWN, "HoldTimer expired": HOLD_TIMER_EXPIRED}


class Openbgpd(Router):
    NAME = "OpenBGPD"
    PACKAGE = "openbgpd"
    PROCESSES = "bgpd"

    def established(self, session):
        return self._neighbor(session)["state"] == "Established"

    def hold_time(self, session):
        return self._neighbor(session)["session"]["holdtime"]

    def life(self, session):
        """The neighbour's port: each connection has its own."""
        neighbor = self._neighbor(session)
        return neighbor["session"]["remote"]["port"] if neighbor["state"] == "Established" else None

    @staticmethod
    def same_life(one, other):
        return one == other and one is not None

    def families(self, session):
        remote = self._neighbor(session)["session"]["remote"]
        return {name.split()[0].lower() for name in remote["capabilities"]["multiprotocol"]}

    def last_end(self, session):
        said = [found.groups() for found in ENDED.finditer(self.lab.run(self.node, ["cat", LOG])) if found.group(1) == session]
        if not said:
            return None
        _, direction, reason = said[-1]
        return end(DIRECTIONS[direction], reason, ENDS)

    def updates(self, session):
        return self._neighbor(session)["stats"]["message"]["received"]["updates"]

    def four_octets(self, session):
        return self._neighbor(session)["session"]["capabilities"]["as4byte"]

    def count(self, session):
        return self._neighbor(session)["stats"]["prefixes"]["received"]

    def reset(self, session):
        self._bgpctl("neighbor", session, "clear")

    def refresh(self, session):
        self._bgpctl("neighbor", session, "refresh")

    def forgive(self, session):
        """It waits for half a minute after each failure, and no setting changes that."""
        self._bgpctl("neighbor", session, "clear")

    def forgive_all(self):
        self.restart()

    def path(self, prefix, session):
        listed = self._bgpctl("show", "rib", "detail", "in", prefix).get("rib", [])
        # Where there is no such prefix it shows the one that covers it.
        found = (path for path in listed if path["prefix"] == prefix and path["neighbor"]["description"] == session)
        return next((_path(session, path) for path in found), None)

    def _neighbor(self, session):
        return self._bgpctl("show", "neighbor", session)["neighbors"][0]

    def _bgpctl(self, *argv):
        said = self.lab.run(self.node, ["bgpctl", "-j", *argv])
        return json.loads(said) if said.startswith("{") else {}


def _path(session, path):
    return Path(
        session=session,
        next_hop=path["exit_nexthop"],
        as_path=tuple(map(int, path["aspath"].split())),
        origin=path["origin"],
        # It gives each route a local preference, received or not.
        local_pref=path["localpref"],
        communities=frozenset(path.get("communities", [])),
        large_communities=frozenset(path.get("large_communities", [])),
    )
