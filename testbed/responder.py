#!/usr/bin/python3
"""The workload of a lab node: answers every HTTP request with the node's name.

It listens on every address of the node, so that it answers for whatever service address arrives.
"""

import argparse
import socket
import socketserver

REQUEST_LIMIT = 4096
IDLE_SECONDS = 5.0


class Answer(socketserver.BaseRequestHandler):
    """One connection, one answer."""

    def handle(self):
        self.request.settimeout(IDLE_SECONDS)
        try:
            if self.request.recv(REQUEST_LIMIT):
                self.request.sendall(self.server.answer)
        except OSError:
            pass  # the client went away; it knows best why


class Responder(socketserver.ThreadingTCPServer):
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="what to answer")
    parser.add_argument("--port", type=int, default=80)
    options = parser.parse_args()
    Responder(options.name, options.port).serve_forever()


if __name__ == "__main__":
    main()
