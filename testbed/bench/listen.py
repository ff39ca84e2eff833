#!/usr/bin/python3
"""Takes one BGP session's routes and prints when they came: the far end of `feed.py`.

    listen.py ADDRESS PORT ROUTES

Counts only host routes of one length, by arithmetic, so that it costs next to nothing while it measures. Prints `ready`
once it listens, then one JSON object: seconds from our OPEN and KEEPALIVE to the last of ROUTES prefixes, and
how many UPDATEs brought them.
"""
import json
import socket
import struct
import sys
import time

from sink import KEEPALIVE, OPEN, UPDATE, message, open_message

END_OF_RIB = message(UPDATE, b"\0\0\0\0")
HOST_ROUTE = 5  # octets of a /32 in an NLRI field


def main():
    address, port, routes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    listener = socket.create_server((address, port))
    print("ready", flush=True)
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer, up, count, updates = b"", None, 0, 0
    while count < routes:
        data = connection.recv(1 << 20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        now, buffer, at = time.monotonic(), buffer + data, 0
        if not data:
            sys.exit(f"the announcer closed the session after {count} routes")
        while len(buffer) - at >= 19 and len(buffer) - at >= (size := struct.unpack_from("!H", buffer, at + 16)[0]):
            kind = buffer[at + 18]
            if kind == OPEN:
                # With this in hand the announcer is Established: nothing can come before.
                up = time.monotonic()
                connection.sendall(open_message(64513, address) + message(KEEPALIVE) + END_OF_RIB)
            elif kind == UPDATE:
                withdrawn = struct.unpack_from("!H", buffer, at + 19)[0]
                attributes = struct.unpack_from("!H", buffer, at + 21 + withdrawn)[0]
                prefixes = (size - 23 - withdrawn - attributes) // HOST_ROUTE
                count, updates = count + prefixes, updates + (prefixes > 0)
            at += size
        buffer = buffer[at:]
    print(json.dumps({"seconds": now - up, "updates": updates}), flush=True)


if __name__ == "__main__":
    main()
