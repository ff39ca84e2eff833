#!/usr/bin/python3
"""The workload of a lab node: answers with the node's name, over HTTP and over UDP.

It listens on every address of the node, so that it answers for whatever service address arrives.
A datagram is sent back with the name behind it.
"""

import argparse
import socket
import socketserver
import threading

REQUEST_LIMIT = 4096
IDLE_SECONDS = 5.0
PKTINFO_BYTES = 20  # struct in6_pktinfo: an address and an interface index


class Answer(socketserver.BaseRequestHandler):
    """One connection, one answer."""

    def handle(self):
        self.request.settimeout(IDLE_SECONDS)
        try:
            if self.request.recv(REQUEST_LIMIT):
                self.request.sendall(self.server.answer)
        except OSError:
            pass  # the client went away; it knows best why


class HttpResponder(socketserver.ThreadingTCPServer):
    """IPv6 and IPv4 on one socket."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, name, port):
        body = f"{name}\n"
        head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        self.answer = (head + body).encode()
        super().__init__(("::", port), Answer)

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def answer_datagrams(name, port):
    """Sends each datagram back, from the very address that it was sent to."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        udp.bind(("::", port))
        while True:
            data, control, _, client = udp.recvmsg(REQUEST_LIMIT, socket.CMSG_SPACE(PKTINFO_BYTES))
            ours = [
                # Without the interface index: the route decides where the answer leaves.
                (level, kind, value[:16] + bytes(4))
                for level, kind, value in control
                if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
            ]
            try:
                udp.sendmsg([data + b" " + name.encode()], ours, 0, client)
            except OSError:
                pass  # no route to the client for the moment; it counts what it lost


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="what to answer")
    parser.add_argument("--port", type=int, default=80)
    options = parser.parse_args()
    threading.Thread(target=answer_datagrams, args=(options.name, options.port), daemon=True).start()
    HttpResponder(options.name, options.port).serve_forever()


if __name__ == "__main__":
    main()
