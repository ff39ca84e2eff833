"""A BGP peer that takes one session's IPv4 host routes and notes when they came.

It measures and isn't a router: it checks nothing but message framing, and counts by arithmetic, so that it costs next to
nothing while the clock runs. It sends End-of-RIB and acknowledges at once, since some announcers wait for either.
"""
import socket
import struct
import threading
import time
from dataclasses import dataclass

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
HEADER = 19
HOST_ROUTE = 5  # octets of a /32 in an NLRI field
PORT = 179


def message(kind, body=b""):
    return MARKER + struct.pack("!HB", HEADER + len(body), kind) + body


END_OF_RIB = message(UPDATE, b"\0\0\0\0")


def open_message(asn, router_id, hold=180):
    """An OPEN with IPv4 unicast and 4-octet AS numbers."""
    capabilities = b"\x01\x04\x00\x01\x00\x01" + b"\x41\x04" + struct.pack("!I", asn)
    parameters = b"\x02" + bytes([len(capabilities)]) + capabilities
    short = asn if asn < 65536 else 23456
    fixed = struct.pack("!BHH4sB", 4, short, hold, socket.inet_aton(router_id), len(parameters))
    return message(OPEN, fixed + parameters)


@dataclass(frozen=True)
class Update:
    """One UPDATE: when its last octet was read (time.monotonic), how many host routes it withdraws and announces."""

    at: float
    withdrawn: int
    announced: int


class Framer:
    """Cuts a stream of octets into BGP messages: (type, body)."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        buffer, at = self.rest + data, 0
        while len(buffer) - at >= HEADER and len(buffer) - at >= (size := struct.unpack_from("!H", buffer, at + 16)[0]):
            yield buffer[at + 18], buffer[at + HEADER:at + size]
            at += size
        self.rest = buffer[at:]


def counts(body):
    """How many host routes an UPDATE withdraws and announces."""
    withdrawn = struct.unpack_from("!H", body)[0]
    attributes = struct.unpack_from("!H", body, 2 + withdrawn)[0]
    return withdrawn // HOST_ROUTE, (len(body) - 4 - withdrawn - attributes) // HOST_ROUTE


class Sink:
    """One session. `updates` grows while it lasts; `up` is when our OPEN and KEEPALIVE went out, `ended` whether it is over."""

    def __init__(self, connected, asn=64513, router_id="192.0.2.254"):
        """`connected` gives the connection; it is called in the sink's own thread."""
        self.asn, self.router_id = asn, router_id
        self.up, self.ended, self.connection = None, False, None
        self.updates = []
        self.announced = self.withdrawn = 0
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._serve, args=(connected,), daemon=True)
        self.thread.start()

    @classmethod
    def listening(cls, listener, address):
        """Waits for the announcer's connection on a TCP socket that isn't bound yet."""
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, PORT))
        listener.listen()

        def accept():
            with listener:
                return listener.accept()[0]

        return cls(accept, router_id=address)

    @classmethod
    def dialling(cls, connection, address, announcer):
        """Connects to an announcer that listens."""
        connection.bind((address, 0))

        def dial():
            connection.connect((announcer, PORT))
            return connection

        return cls(dial, router_id=address)

    def _serve(self, connected):
        try:
            self._converse(connected())
        except OSError:
            pass  # it was closed, by either side
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _converse(self, connection):
        self.connection, framer = connection, Framer()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(1 << 20):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            now = time.monotonic()
            with self.changed:
                for kind, body in framer.feed(data):
                    self._take(now, kind, body)
                self.changed.notify_all()

    def _take(self, now, kind, body):
        if kind == OPEN:
            # With this in hand the announcer is Established: no route can come before.
            self.up = time.monotonic()
            self.connection.sendall(open_message(self.asn, self.router_id) + message(KEEPALIVE) + END_OF_RIB)
        elif kind == KEEPALIVE:
            self.connection.sendall(message(KEEPALIVE))
        elif kind == UPDATE:
            withdrawn, announced = counts(body)
            self.withdrawn += withdrawn
            self.announced += announced
            self.updates.append(Update(now, withdrawn, announced))

    def wait(self, condition, seconds):
        """Waits until `condition(self)` holds; False where it doesn't in time, or can't any more."""
        with self.changed:
            self.changed.wait_for(lambda: self.ended or condition(self), seconds)
            return condition(self)

    def close(self):
        if self.connection:
            self.connection.close()
