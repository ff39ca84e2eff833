"""Random edits of manifests that a node is running on, none of which may reset a session that stands."""

import json
import random

import manifests

# What an operator may write into a BGPPeer without a reset; each list has what the sessions began with.
HOLD_TIMES = ("9s", "12s", "30s", "90s")
KEEPALIVE_TIMES = ("1s", "2s", "3s")
CONNECT_TIMES = (None, "1s", "5s", "30s")
PASSWORDS = (None, "one", "two")
NODE_SELECTORS = (
    None,
    [{"matchLabels": {"kubernetes.io/hostname": "n1"}}],
    [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1", "n2"]}]}, {"matchLabels": {"nobody": "has"}}],
)
COMMUNITIES = (["64512:100"], ["64512:300", "64512:400"], ["large:64512:1:100"], [])
# Nobody answers there.
ABSENT = ("198.51.100.251", "198.51.100.252", "198.51.100.253")


class Edits:
    """One edit after the other, each of another kind, from a seed; `peers` are the BGPPeers by name, to be edited with `edit_peer`."""

    def __init__(self, folder, peers, quiet, password, seed):
        self.folder = folder
        self.peers = {peer["metadata"]["name"]: peer["spec"] for peer in peers}
        # The sessions that may be edited, sorted: a set has no order of its own.
        self.quiet = sorted(quiet)
        self.password = password
        self.random = random.Random(seed)
        self.count = 0
        self.services = set()
        self.absent = {}
        self.kinds = (
            *[self._timers] * 4, *[self._password] * 2, *[self._advertisement] * 3, *[self._service] * 3, *[self._absent_peer] * 3,
            self._secret, self._remote_as, self._node_selectors, self._pool, self._rejected,
        )

    def one(self):
        """Some edit."""
        self.random.choice(self.kinds)()
        self.count += 1

    def edit_peer(self, name, **fields):
        """This edit, which is counted too; `None` removes a field."""
        self._set(name, **fields)
        self.count += 1

    def clear(self):
        """Removes what was added; files that were there before stay as edited."""
        for name in ["edited-pool", "absent", *(f"edited-{number}" for number in self.services)]:
            self.folder.remove(name)

    def _set(self, name, **fields):
        spec = {**self.peers[name], **fields}
        self.peers[name] = {field: value for field, value in spec.items() if value is not None}
        self._write_peers()

    def _write_peers(self):
        peers = [manifests.metallb("BGPPeer", name, spec, "v1beta2") for name, spec in self.peers.items()]
        self._write("peers", *peers, manifests.secret("tor", self.password))

    def _write(self, name, *documents):
        # JSON is YAML too, and quicker to make.
        self.folder.write_text(name, "\n---\n".join(map(json.dumps, documents)))

    def _timers(self):
        field, values = self.random.choice((("holdTime", HOLD_TIMES), ("keepaliveTime", KEEPALIVE_TIMES), ("connectTime", CONNECT_TIMES)))
        self._set(self._someone(), **{field: self.random.choice(values)})

    def _password(self):
        name = self._someone()
        if "passwordSecret" not in self.peers[name]:
            self._set(name, password=self.random.choice(PASSWORDS))

    def _secret(self):
        self.password = self.random.choice(("another", "a-third"))
        self._write_peers()

    def _remote_as(self):
        name = self._someone()
        # All of them are external where the router's AS isn't theirs.
        kind = "internal" if self.peers[name]["myASN"] == 64513 else "external"
        if self.random.random() < 0.5:
            self._set(name, peerASN=None, dynamicASN=kind)
        else:
            self._set(name, peerASN=64513, dynamicASN=None)

    def _node_selectors(self):
        self._set(self._someone(), nodeSelectors=self.random.choice(NODE_SELECTORS))

    def _rejected(self):
        """What was last good goes on."""
        name = self._someone()
        before = self.peers[name]
        self._set(name, **self.random.choice(({"holdTime": "1s"}, {"myASN": 0}, {"sourceAddress": "nowhere"})))
        self.peers[name] = before

    def _advertisement(self):
        more = {"communities": self.random.choice(COMMUNITIES), "localPref": self.random.choice((100, 150, 200))}
        if self.random.random() < 0.3:
            more["peers"] = self.random.sample(self.quiet, 3)
        self._write("pools", self._base_pool(), manifests.advertisement("base", "base", **more))

    def _base_pool(self):
        last = self.random.choice((29, 30, 31))
        return manifests.pool("base", f"192.0.2.10-192.0.2.{last}", "2001:db8:5::10-2001:db8:5::29")

    def _pool(self):
        if self.random.random() < 0.3:
            return self.folder.remove("edited-pool")
        length = self.random.choice((28, 30, 32))
        self._write("edited-pool", manifests.pool("edited", "192.0.2.128/26"), manifests.advertisement("edited", "edited", aggregationLength=length))

    def _service(self):
        number = self.random.randrange(20)
        if number in self.services:
            self.services.remove(number)
            self.folder.remove(f"edited-{number}")
        else:
            self.services.add(number)
            self._write(f"edited-{number}", *manifests.service(f"edited-{number}", f"192.0.2.{(11 if number < 10 else 130) + number}"))

    def _absent_peer(self):
        """Peers come, go, and are edited in what resets them."""
        address = self.random.choice(ABSENT)
        if address in self.absent and self.random.random() < 0.4:
            del self.absent[address]
        else:
            spec = self.absent.setdefault(address, {"peerAddress": address, "peerASN": 64513, "myASN": 64512})
            field, values = self.random.choice((("peerASN", (64513, 64599)), ("peerPort", (179, 1790)), ("routerID", ("192.0.2.1", "192.0.2.2")),
                                                ("ebgpMultiHop", (False, True)), ("dualStackAddressFamily", (False, True))))
            spec[field] = self.random.choice(values)
        documents = [manifests.metallb("BGPPeer", f"absent-{address.rpartition('.')[2]}", spec, "v1beta2") for address, spec in self.absent.items()]
        self._write("absent", *documents)

    def _someone(self):
        return self.random.choice(self.quiet)
