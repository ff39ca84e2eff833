"""A BGP peer that accepts one session, takes every UPDATE, and notes when it came.

It is a listener for measuring, not a router: it checks nothing but message framing.
"""
import dataclasses
import socket
import struct
import threading
import time

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4


@dataclasses.dataclass
class Received:
    """One UPDATE: when its last octet was read (time.monotonic), its withdrawn and announced IPv4 prefixes."""

    at: float
    withdrawn: list
    announced: list


def message(kind, body=b""):
    return MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def open_message(asn, router_id, hold=180):
    """An OPEN with IPv4 unicast and 4-octet AS numbers."""
    capabilities = b"\x01\x04\x00\x01\x00\x01" + b"\x41\x04" + struct.pack("!I", asn)
    parameters = b"\x02" + bytes([len(capabilities)]) + capabilities
    short = asn if asn < 65536 else 23456
    fixed = struct.pack("!BHH4sB", 4, short, hold, socket.inet_aton(router_id), len(parameters))
    return message(OPEN, fixed + parameters)


def prefixes(data):
    """The prefixes of an NLRI field, as (length, octets)."""
    out, i = [], 0
    while i < len(data):
        octets = (data[i] + 7) // 8
        out.append((data[i], data[i + 1 : i + 1 + octets]))
        i += 1 + octets
    return out


class Sink:
    """Listens on an address; `updates` grows while the session lasts."""

    def __init__(self, address="127.0.0.1", port=1790, asn=64513):
        self.asn = asn
        self.updates = []
        self.end_of_rib = None
        self.established = threading.Event()
        self.changed = threading.Condition()
        self.listener = socket.create_server((address, port))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        connection, _ = self.listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(open_message(self.asn, "192.0.2.254") + message(KEEPALIVE))
        self.connection, buffer = connection, b""
        while data := connection.recv(1 << 20):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            now, buffer = time.monotonic(), buffer + data
            while len(buffer) >= 19 and len(buffer) >= (size := struct.unpack_from("!H", buffer, 16)[0]):
                self._take(now, buffer[18], buffer[19:size])
                buffer = buffer[size:]

    def _take(self, now, kind, body):
        if kind == KEEPALIVE:
            self.established.set()
            self.connection.sendall(message(KEEPALIVE))
        if kind != UPDATE:
            return
        withdrawn_length = struct.unpack_from("!H", body)[0]
        attributes_at = 2 + withdrawn_length
        attributes_length = struct.unpack_from("!H", body, attributes_at)[0]
        withdrawn = prefixes(body[2:attributes_at])
        announced = prefixes(body[attributes_at + 2 + attributes_length :])
        with self.changed:
            if len(body) == 4:
                self.end_of_rib = now
            self.updates.append(Received(now, withdrawn, announced))
            self.changed.notify_all()

    def wait(self, condition, seconds):
        """Waits until `condition(self)` holds; False where it doesn't in time."""
        with self.changed:
            return self.changed.wait_for(lambda: condition(self), seconds)

    def close(self):
        self.listener.close()
