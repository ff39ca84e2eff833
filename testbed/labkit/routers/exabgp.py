"""ExaBGP, which keeps no table to look into: what it reports to its program, event by event, is replayed here."""

import json
from dataclasses import dataclass, field

from .base import Path, Router

EVENTS = "/run/exabgp/events"
COMMANDS = "/run/exabgp/commands"
ORIGINS = {"igp": "IGP", "egp": "EGP", "incomplete": "incomplete"}


@dataclass
class Neighbor:
    """What the events say about one neighbour."""

    established: bool = False
    hold_time: int | None = None
    four_octets: bool = False
    life: float | None = None
    families: set[str] = field(default_factory=set)
    last_end: tuple | None = None
    updates: int = 0
    # Prefix -> next hop and attributes.
    routes: dict = field(default_factory=dict)


class Exabgp(Router):
    NAME = "ExaBGP"
    PACKAGE = "exabgp"
    # Its program, made of two `cat`, goes with it.
    PROCESSES = "exabgp|cat"

    def __init__(self, lab, node, neighbors):
        super().__init__(lab, node, neighbors)
        self._forget()

    def restart(self):
        super().restart()
        self._forget()

    def established(self, session):
        return self._neighbor(session).established

    def hold_time(self, session):
        return self._neighbor(session).hold_time

    def life(self, session):
        """When it came up."""
        return self._neighbor(session).life

    def families(self, session):
        return self._neighbor(session).families

    def last_end(self, session):
        return self._neighbor(session).last_end

    def updates(self, session):
        return self._neighbor(session).updates

    def four_octets(self, session):
        return self._neighbor(session).four_octets

    def count(self, session):
        return len(self._neighbor(session).routes)

    def reset(self, session):
        self._command(f"neighbor {self.neighbors[session]} teardown 4")

    def refresh(self, session):
        self._command(f"neighbor {self.neighbors[session]} announce route-refresh ipv4 unicast")

    def path(self, prefix, session):
        route = self._neighbor(session).routes.get(prefix)
        return _path(session, *route) if route else None

    def _command(self, text):
        self.lab.run(self.node, ["sh", "-c", f"echo '{text}' >{COMMANDS}"])

    def _forget(self):
        self._read = 0
        self._seen = {}

    def _neighbor(self, session):
        """The neighbour after all events that are there by now."""
        text = self.lab.run(self.node, ["tail", "-c", f"+{self._read + 1}", EVENTS])
        # The last line may still be being written.
        whole = text[:text.rfind("\n") + 1]
        self._read += len(whole.encode())
        for line in whole.splitlines():
            # It puts the text of some errors in as it is, line breaks included.
            self._replay(json.loads(line, strict=False))
        return self._seen.setdefault(self.neighbors[session], Neighbor())

    def _replay(self, event):
        if "neighbor" not in event:
            return
        body = event["neighbor"]
        neighbor = self._seen.setdefault(body["address"]["peer"], Neighbor())
        match event["type"], body.get("direction"):
            case "state", _:
                neighbor.established = body["state"] == "up"
                if body["state"] == "up":
                    neighbor.life = event["time"]
                elif body["state"] == "down":
                    neighbor.routes.clear()
            case "open", "receive":
                capability = body["open"]["capabilities"].get("1", {})
                neighbor.families = {family.split("/")[0] for family in capability.get("families", [])}
            case "negotiated", _:
                neighbor.hold_time = body["negotiated"]["hold_time"]
                neighbor.four_octets = body["negotiated"]["asn4"]
            case "notification", direction:
                said = body["notification"]
                neighbor.last_end = {"receive": "received", "send": "sent"}[direction], (said["code"], said["subcode"])
            case "update", "receive":
                neighbor.updates += 1
                _update(neighbor.routes, body["message"].get("update", {}))


def _update(routes, update):
    for listed in update.get("withdraw", {}).values():
        for route in listed:
            routes.pop(route["nlri"], None)
    for by_next_hop in update.get("announce", {}).values():
        for next_hop, listed in by_next_hop.items():
            routes.update((route["nlri"], (next_hop, update["attribute"])) for route in listed)


def _path(session, next_hop, attributes):
    return Path(
        session=session,
        next_hop=next_hop,
        as_path=tuple(attributes.get("as-path", [])),
        origin=ORIGINS[attributes["origin"]],
        local_pref=attributes.get("local-preference"),
        communities=_communities(attributes, "community"),
        large_communities=_communities(attributes, "large-community"),
    )


def _communities(attributes, kind):
    return frozenset(":".join(map(str, parts)) for parts in attributes.get(kind, []))
