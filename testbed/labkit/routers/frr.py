"""FRR, asked through vtysh."""

import json

from .base import ADMINISTRATIVE_SHUTDOWN, HOLD_TIMER_EXPIRED, Path, Router, end

ENDS = {"Cease/Administrative Shutdown": ADMINISTRATIVE_SHUTDOWN, "Hold Timer Expired": HOLD_TIMER_EXPIRED}
DIRECTIONS = {"BGP Notification received": "received", "BGP Notification send": "sent"}


class Frr(Router):
    NAME = "FRR"
    PACKAGE = "frr"
    PROCESSES = "bgpd"

    def established(self, session):
        return self._neighbor(session)["bgpState"] == "Established"

    def hold_time(self, session):
        return self._neighbor(session)["bgpTimerHoldTimeMsecs"] // 1000

    def life(self, session):
        return self._neighbor(session)["connectionsEstablished"]

    @classmethod
    def next_life(cls, one, other):
        return other == one + 1

    def families(self, session):
        offered = self._neighbor(session)["neighborCapabilities"]["multiprotocolExtensions"]
        received = {name for name, sides in offered.items() if sides.get("received") or sides.get("advertisedAndReceived")}
        return {name.removesuffix("Unicast") for name in received}

    def last_end(self, session):
        neighbor = self._neighbor(session)
        reason = neighbor.get("lastNotificationReason", "")
        return end(DIRECTIONS.get(neighbor.get("lastResetDueTo")), reason, ENDS)

    def updates(self, session):
        return self._neighbor(session)["messageStats"]["updatesRecv"]

    def four_octets(self, session):
        return self._neighbor(session)["neighborCapabilities"].get("4byteAs") == "advertisedAndReceived"

    def count(self, session):
        families = self._neighbor(session)["addressFamilyInfo"].values()
        return sum(family.get("acceptedPrefixCounter", 0) for family in families)

    def reset(self, session):
        self.vtysh(f"clear bgp {self.neighbors[session]}")

    def refresh(self, session):
        self.vtysh(f"clear bgp {self.neighbors[session]} soft in")

    def path(self, prefix, session):
        family = "ipv6" if ":" in prefix else "ipv4"
        listed = json.loads(self.vtysh(f"show bgp {family} unicast {prefix} json"))
        address = self.neighbors[session]
        return next((_path(session, path) for path in listed.get("paths", []) if path["peer"]["peerId"] == address), None)

    def vtysh(self, *commands):
        """What FRR's shell answers."""
        return self.lab.run(self.node, ["vtysh", *(word for command in commands for word in ("-c", command))])

    def configure(self, *lines):
        """Enters lines of configuration, as a person would after `configure terminal`."""
        self.vtysh("configure terminal", *lines)

    def _neighbor(self, session):
        address = self.neighbors[session]
        return json.loads(self.vtysh(f"show bgp neighbors {address} json"))[address]


def _path(session, path):
    (next_hop,) = [hop["ip"] for hop in path["nexthops"] if hop.get("scope") != "link-local"]
    return Path(
        session=session,
        next_hop=next_hop,
        as_path=tuple(asn for segment in path["aspath"]["segments"] for asn in segment["list"]),
        origin=path["origin"],
        local_pref=path.get("locPrf"),
        communities=frozenset(path.get("community", {}).get("list", [])),
        large_communities=frozenset(path.get("largeCommunity", {}).get("list", [])),
    )
