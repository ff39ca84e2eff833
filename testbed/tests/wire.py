"""Layer 2 as a client on the wire has it: who answers for an address, and what is behind it."""

import hashlib
import ipaddress
import json
import socket

import segment
from kube.network import NODES
from labkit.sockets import connect, open_socket
from labkit.wait import Seen, until

CLIENT, INTERFACE = "lan", "eth0"
# One node answers within this time of another, where two do: soon looked at, and at last.
SOON, AT_LAST = 0.05, 0.2
SECONDS = 60.0
# A datagram or a connection that isn't answered by then is tried again.
PATIENCE = 1.0


def elected(address, nodes=tuple(NODES)):
    """Who of these nodes answers for a service whose first address is this, where none is preferred."""
    text = str(ipaddress.ip_address(address))
    return min(nodes, key=lambda node: hashlib.sha256(f"{node}#{text}".encode()).digest())


class Wire:
    """The client on the wire of a cluster, without its kernel's help and cache."""

    def __init__(self, cluster):
        self.lab = cluster.lab
        self.macs = {}
        self.learn()

    def learn(self):
        """Looks again which MACs there are: (node, interface) by MAC."""
        self.macs = {}
        for node in NODES:
            links = json.loads(self.lab.run(node, ["ip", "-json", "link"]))
            self.macs |= {link["address"]: (node, link["ifname"]) for link in links if link["ifname"].startswith("eth")}

    def answers(self, address, settled=None):
        """The nodes and interfaces that answer one question, as `segment.ask` waits."""
        with open_socket(self.lab, CLIENT, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(segment.PROTOCOL)) as tap:
            tap.bind((INTERFACE, segment.PROTOCOL))
            found = segment.ask(tap, address, settled=settled)
        return {self.macs.get(mac, (mac, None)) for mac in found}

    def wait(self, address, *owners):
        """Until exactly these answer: each a node, which means its first interface, or a pair of node and interface."""
        expected = {(owner, INTERFACE) if isinstance(owner, str) else owner for owner in owners}

        def probe():
            found = self.answers(address, SOON)
            return Seen(found == expected, found)

        until(f"{address} is answered for by {sorted(expected) or 'nobody'}", probe, SECONDS)
        # One that lags would show; an answer that doesn't come in time is a busy machine's.
        others = self.answers(address, AT_LAST) - expected
        if others:
            raise AssertionError(f"{address} is answered for by {others} too, not by {expected} alone")

    def fetch(self, address, port=80):
        """What the web server behind an address says over a new connection, or nothing."""
        try:
            with connect(self.lab, CLIENT, address, port, PATIENCE) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b""
                while chunk := connection.recv(4096):
                    answer += chunk
        except OSError:
            return ""
        head, _, body = answer.partition(b"\r\n\r\n")
        return body.decode() if b" 200 " in head.split(b"\r\n")[0] else ""

    def datagram(self, address, port=80):
        """What it says to a datagram, or nothing."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with open_socket(self.lab, CLIENT, family, socket.SOCK_DGRAM) as udp:
                udp.settimeout(PATIENCE)
                udp.connect((address, port))
                udp.send(b"x")
                return udp.recv(4096).decode()
        except OSError:
            return ""

    def wait_pods(self, address, nodes, ask=None, port=80):
        """Until pods on each of these nodes, and on no other, have answered."""
        seen = set()

        def probe():
            said = (ask or self.fetch)(address, port)
            seen.update(word.removeprefix("node=") for word in said.split() if word.startswith("node="))
            return Seen(seen == set(nodes), seen)

        until(f"answers of pods on {sorted(nodes)} from {address}", probe, SECONDS, 0.01)
