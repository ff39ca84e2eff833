"""GoBGP, asked through its command line tool; how a session ended is in its log only."""

import json
import re

from .base import ADMINISTRATIVE_SHUTDOWN, HOLD_TIMER_EXPIRED, Path, Router

LOG = "/run/gobgpd.log"
ESTABLISHED = 6
ORIGINS = ("IGP", "EGP", "incomplete")
# Types of path attributes.
ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF, COMMUNITIES, MP_REACH, LARGE_COMMUNITIES = 1, 2, 3, 5, 8, 14, 32


class Gobgp(Router):
    NAME = "GoBGP"
    PACKAGE = "gobgpd"
    PROCESSES = "gobgpd"

    def established(self, session):
        return self._neighbor(session)["state"].get("session_state") == ESTABLISHED

    def hold_time(self, session):
        return self._neighbor(session)["timers"]["state"]["negotiated_hold_time"]

    def life(self, session):
        neighbor = self._neighbor(session)
        return neighbor["state"].get("flops", 0), neighbor["timers"]["state"]["uptime"]["seconds"]

    def families(self, session):
        said = self._gobgp("neighbor", self.neighbors[session])
        return set(re.findall(r"^ +(ipv[46])-unicast:\t(?:.* )?received", said, re.MULTILINE))

    def last_end(self, session):
        lines = self.lab.run(self.node, ["grep", "Peer Down", LOG], check=False).splitlines()
        reasons = [event["Reason"] for event in map(json.loads, lines) if event["Key"] == self.neighbors[session]]
        if not reasons:
            return None
        if reasons[-1].startswith("hold-timer-expired"):
            return "sent", HOLD_TIMER_EXPIRED
        received = re.match(r"notification-received code (\d+)\(.*\) subcode (\d+)\(", reasons[-1])
        return ("received", tuple(map(int, received.groups()))) if received else None

    def updates(self, session):
        return self._neighbor(session)["state"]["messages"]["received"].get("update", 0)

    def four_octets(self, session):
        said = self._gobgp("neighbor", self.neighbors[session])
        return re.search(r"4-octet-as:\tadvertised and received", said) is not None

    def count(self, session):
        return sum(family["state"].get("received", 0) for family in self._neighbor(session)["afi_safis"])

    def reset(self, session):
        # After its `reset` it refuses the neighbour for half a minute, whatever idle-hold-time-after-reset says.
        self._gobgp("neighbor", self.neighbors[session], "disable")
        self._gobgp("neighbor", self.neighbors[session], "enable")

    def forgive(self, session):
        """It waits for some seconds after each end; this is how it stops waiting."""
        if not self.established(session):
            self.reset(session)

    def refresh(self, session):
        """As near as GoBGP comes to it; it asks the neighbour for nothing."""
        self._gobgp("neighbor", self.neighbors[session], "softresetin")

    def refreshes_sent(self, session):
        """How many ROUTE-REFRESH messages GoBGP says it sent."""
        return self._neighbor(session)["state"]["messages"]["sent"].get("refresh", 0)

    def path(self, prefix, session):
        family = "ipv6" if ":" in prefix else "ipv4"
        said = self._gobgp("neighbor", self.neighbors[session], "adj-in", prefix, "-a", family, "-j", check=False)
        # Where there is no such prefix it says so in words.
        paths = json.loads(said).get(prefix) if said.startswith("{") else None
        return _path(session, paths[0]) if paths else None

    def _neighbor(self, session):
        return json.loads(self._gobgp("neighbor", self.neighbors[session], "-j"))

    def _gobgp(self, *argv, check=True):
        return self.lab.run(self.node, ["gobgp", *argv], check=check)


def _path(session, path):
    attributes = {attribute["type"]: attribute for attribute in path["attrs"]}
    segments = attributes[AS_PATH]["as_paths"]
    next_hop = attributes.get(NEXT_HOP) or attributes[MP_REACH]
    return Path(
        session=session,
        next_hop=next_hop["nexthop"],
        as_path=tuple(asn for segment in segments for asn in segment["asns"]),
        origin=ORIGINS[attributes[ORIGIN]["value"]],
        local_pref=attributes.get(LOCAL_PREF, {}).get("value"),
        communities=frozenset(f"{value >> 16}:{value & 0xFFFF}" for value in attributes.get(COMMUNITIES, {}).get("communities", [])),
        large_communities=frozenset(
            f"{value['ASN']}:{value['LocalData1']}:{value['LocalData2']}" for value in attributes.get(LARGE_COMMUNITIES, {}).get("value", [])
        ),
    )
