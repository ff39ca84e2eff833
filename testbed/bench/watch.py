"""What passes on the top-of-rack router's link, what is in its kernel, and what a client is answered, each with its moment."""
import selectors
import socket
import struct
import threading
import time

from inside import RTMGRP_IPV4_ROUTE, route_changes
from labkit.sink import KEEPALIVE, PORT, UPDATE, Framer, counts
from labkit.sockets import open_socket

ETH_P_ALL = 3
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
BUFFER = 256 << 20  # a hundred thousand notifications must fit while nobody has time to read them
ETHERNET = 14


class Watch:
    """Listens on one interface of a router, and to its kernel's routes, until it is closed.

    `up` is when the router's first KEEPALIVE passed: with that in hand the announcer is Established.
    `wire` and `kernel` are the moments of the last route that passed and of each route's last change in the kernel.
    """

    def __init__(self, lab, node, interface, router):
        self.router = socket.inet_aton(router)
        self.up, self.wire, self.announced, self.withdrawn = None, None, 0, 0
        self.kernel, self.installed = {}, 0
        self.changed, self.over = threading.Condition(), False
        # Packets carry the wall clock's time, everything else is in monotonic time.
        self.offset = time.time_ns() - time.monotonic_ns()
        self.streams = {}
        self.packets = open_socket(lab, node, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.packets.bind((interface, ETH_P_ALL))
        self.packets.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.netlink = open_socket(lab, node, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.netlink.bind((0, RTMGRP_IPV4_ROUTE))
        for each in (self.packets, self.netlink):
            each.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            each.setblocking(False)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.packets, selectors.EVENT_READ, self._packet)
            selector.register(self.netlink, selectors.EVENT_READ, self._routes)
            while not self.over:
                for key, _ in selector.select(0.1):
                    with self.changed:
                        key.data()
                        self.changed.notify_all()

    def _packet(self):
        data, control, _, _ = self.packets.recvmsg(1 << 17, 64)
        payload = bgp_payload(data)
        if payload is None:
            return
        source, stream, octets = payload
        seconds, nanoseconds = struct.unpack("=qq", control[0][2])
        at = (seconds * 1_000_000_000 + nanoseconds - self.offset) / 1e9
        for kind, body in self.streams.setdefault(stream, Framer()).feed(octets):
            if source == self.router:
                if kind == KEEPALIVE and self.up is None:
                    self.up = at
            elif kind == UPDATE:
                withdrawn, announced = counts(body)
                if withdrawn or announced:
                    self.wire = at
                self.withdrawn += withdrawn
                self.announced += announced

    def _routes(self):
        data, now = self.netlink.recv(1 << 16), time.monotonic()
        for address, there in route_changes(data):
            # A route that is replaced is there twice.
            self.installed += there - self.kernel.get(address, (0, False))[1]
            self.kernel[address] = (now, there)

    def wait(self, condition, seconds):
        """Waits until `condition(self)` holds; False where it doesn't in time."""
        with self.changed:
            return self.changed.wait_for(lambda: condition(self), seconds)

    def close(self):
        self.over = True
        self.thread.join(2)
        self.packets.close()
        self.netlink.close()


def bgp_payload(frame):
    """Of an Ethernet frame with IPv4 and BGP: the sender's address, the stream that it belongs to, the octets; or None."""
    if len(frame) < ETHERNET + 40 or frame[12:14] != b"\x08\x00" or frame[ETHERNET + 9] != socket.IPPROTO_TCP:
        return None
    tcp = ETHERNET + (frame[ETHERNET] & 15) * 4
    ports = struct.unpack_from("!HH", frame, tcp)
    if PORT not in ports:
        return None
    total = struct.unpack_from("!H", frame, ETHERNET + 2)[0]
    octets = frame[tcp + (frame[tcp + 12] >> 4) * 4:ETHERNET + total]
    source = frame[ETHERNET + 12:ETHERNET + 16]
    return source, (source, ports), octets


class Client:
    """Asks services over UDP, each once a period, and notes when each was answered first and last."""

    def __init__(self, lab, node, targets, period=0.001):
        self.udp = open_socket(lab, node, socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.settimeout(0.1)
        self.targets, self.period = list(targets), period
        self.first, self.last = {}, {}
        self.over = threading.Event()
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._ask, self._hear)]
        for thread in self.threads:
            thread.start()

    def _ask(self):
        while not self.over.wait(self.period):
            for target in self.targets:
                self.udp.sendto(b"1", (target, 80))

    def _hear(self):
        while not self.over.is_set():
            try:
                _, (address, _) = self.udp.recvfrom(64)
            except TimeoutError:
                continue
            with self.changed:
                now = time.monotonic()
                self.first.setdefault(address, now)
                self.last[address] = now
                self.changed.notify_all()

    def ask(self, targets):
        """Asks these from now on; what was answered before is forgotten."""
        with self.changed:
            self.targets = list(targets)
            self.first.clear()

    def wait_all(self, seconds):
        """Waits until every service has answered; False where that doesn't come in time."""
        with self.changed:
            return self.changed.wait_for(lambda: all(target in self.first for target in self.targets), seconds)

    def close(self):
        self.over.set()
        for thread in self.threads:
            thread.join(2)
        self.udp.close()
