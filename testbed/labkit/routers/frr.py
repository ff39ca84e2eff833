"""FRR, asked through vtysh."""

import json
import socket

from ..runner import LabError
from .base import ADMINISTRATIVE_SHUTDOWN, HOLD_TIMER_EXPIRED, Path, Router, end

VTY_SECONDS = 10.0
ENDS = {"Cease/Administrative Shutdown": ADMINISTRATIVE_SHUTDOWN, "Hold Timer Expired": HOLD_TIMER_EXPIRED}
DIRECTIONS = {"BGP Notification received": "received", "BGP Notification send": "sent"}


class Frr(Router):
    NAME = "FRR"
    PACKAGE = "frr"
    PROCESSES = "bgpd"

    def established(self, session):
        return self.neighbor(session)["bgpState"] == "Established"

    def hold_time(self, session):
        return self.neighbor(session)["bgpTimerHoldTimeMsecs"] // 1000

    def life(self, session):
        return self.neighbor(session)["connectionsEstablished"]

    @classmethod
    def next_life(cls, one, other):
        return other == one + 1

    def families(self, session):
        offered = self.neighbor(session)["neighborCapabilities"]["multiprotocolExtensions"]
        received = {name for name, sides in offered.items() if sides.get("received") or sides.get("advertisedAndReceived")}
        return {name.removesuffix("Unicast") for name in received}

    def last_end(self, session):
        neighbor = self.neighbor(session)
        reason = neighbor.get("lastNotificationReason", "")
        return end(DIRECTIONS.get(neighbor.get("lastResetDueTo")), reason, ENDS)

    def updates(self, session):
        return self.neighbor(session)["messageStats"]["updatesRecv"]

    def four_octets(self, session):
        return self.neighbor(session)["neighborCapabilities"].get("4byteAs") == "advertisedAndReceived"

    def count(self, session):
        families = self.neighbor(session)["addressFamilyInfo"].values()
        return sum(family.get("acceptedPrefixCounter", 0) for family in families)

    def reset(self, session):
        self.vtysh(f"clear bgp {self.neighbors[session]}")

    def refresh(self, session):
        self.vtysh(f"clear bgp {self.neighbors[session]} soft in")

    def path(self, prefix, session):
        return self.paths(prefix).get(session)

    def paths(self, prefix):
        """Session -> path, of all paths to exactly this prefix."""
        family = "ipv6" if ":" in prefix else "ipv4"
        listed = self.show(f"show bgp {family} unicast {prefix} json")
        names = {address: session for session, address in self.neighbors.items()}
        found = ((names.get(path["peer"]["peerId"], path["peer"]["peerId"]), path) for path in listed.get("paths", []))
        return {session: _path(session, path) for session, path in found}

    def neighbor(self, session):
        """All that bgpd says of a neighbour, in its own words."""
        address = self.neighbors[session]
        return self.show(f"show bgp neighbors {address} json")[address]

    def summary(self):
        """Session -> (whether it is established, how many prefixes it has brought), of all configured neighbours."""
        sessions = {session: (False, 0) for session in self.neighbors}
        names = {address: session for session, address in self.neighbors.items()}
        for family in self.show("show bgp summary json").values():
            for address, peer in family.get("peers", {}).items():
                session = names.get(address, address)
                up, count = sessions.get(session, (False, 0))
                sessions[session] = (up or peer["state"] == "Established", count + peer.get("pfxRcd", 0))
        return sessions

    def show(self, command):
        """bgpd's own answer to a `show ... json`, without a vtysh, which would take ten times as long."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as shell:
            shell.settimeout(VTY_SECONDS)
            shell.connect(f"/proc/{self.lab.nodes[self.node][0]}/root/run/frr/bgpd.vty")
            shell.sendall(command.encode() + b"\0")
            answer = b""
            # Three null octets and the result of the command end it.
            while answer[-4:-1] != bytes(3):
                part = shell.recv(1 << 16)
                if not part:
                    raise LabError(f"{self.node}: bgpd has no answer to {command!r} but {answer!r}")
                answer += part
        return json.loads(answer[:-4])

    def vtysh(self, *commands):
        """What FRR's shell answers."""
        return self.lab.run(self.node, ["vtysh", *(word for command in commands for word in ("-c", command))])

    def configure(self, *lines):
        """Enters lines of configuration, as a person would after `configure terminal`."""
        self.vtysh("configure terminal", *lines)


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
        stale=path.get("stale", False),
    )
