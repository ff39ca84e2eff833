"""The API server for measuring: plain requests side by side, each with its time, plain watches, and its own count of requests."""
import base64
import contextlib
import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from labkit.sockets import open_socket

from . import counts
from .network import API_ADDRESS, CONTROL_PLANE

PORT = 6443
WRITERS = 6
IDLE_SECONDS = 30.0


class Failed(Exception):
    """The API server's answer wasn't a success; `status` is HTTP's."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


class Api:
    """Requests to the API server of a cluster, as an administrator; each thread has a connection of its own."""

    def __init__(self, cluster):
        self.lab = cluster.lab
        document = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
        self.token = document["users"][0]["user"]["token"]
        authority = document["clusters"][0]["cluster"]["certificate-authority-data"]
        self.tls = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
        self.own = threading.local()

    def stream(self):
        """A connection that is ready for requests."""
        connection = open_socket(self.lab, CONTROL_PLANE, socket.AF_INET, socket.SOCK_STREAM)
        connection.connect((API_ADDRESS, PORT))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(connection, server_hostname=API_ADDRESS)

    def head(self, method, path, kind="application/json", size=0):
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {API_ADDRESS}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {size}\r\nAccept: application/json\r\n\r\n"
        ).encode()

    def call(self, method, path, body=None, kind="application/json"):
        """The answer, and when it was there (time.monotonic)."""
        # The API server closes connections that nothing passes on.
        if time.monotonic() - getattr(self.own, "used", -IDLE_SECONDS) >= IDLE_SECONDS:
            self.own.stream = self.stream()
            self.own.file = self.own.stream.makefile("rb")
        self.own.used = time.monotonic()
        data = b"" if body is None else json.dumps(body).encode()
        self.own.stream.sendall(self.head(method, path, kind, len(data)) + data)
        status, headers = answer_head(self.own.file)
        text = b"".join(chunks(self.own.file)) if "chunked" in headers.get("transfer-encoding", "") else self.own.file.read(int(headers.get("content-length", 0)))
        now = time.monotonic()
        if status >= 500:
            # The API server ends the connection after it.
            self.own.used -= IDLE_SECONDS
        if status >= 300:
            raise Failed(f"{method} {path}: {status} {text.decode(errors='replace')[:300]}", status)
        return (json.loads(text) if text[:1] == b"{" else text.decode()), now

    def create(self, path, item):
        """When the API server had acknowledged it."""
        return self.call("POST", path, item)[1]

    def create_all(self, path, items):
        """Creates them side by side; how long it took."""
        begun = time.monotonic()
        side_by_side(lambda item: self.create(path, item), items)
        return time.monotonic() - begun

    def delete_all(self, paths):
        side_by_side(self.delete, paths)

    def patch(self, path, body):
        return self.call("PATCH", path, body, "application/merge-patch+json")[1]

    def delete(self, path):
        return self.call("DELETE", path)[1]

    def writes(self):
        """How many writes it has answered, by what: `PATCH services/status`; renewed Leases and what failed left out."""
        return counts.writes(self.call("GET", "/metrics")[0])


def side_by_side(act, items):
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(act, items):
            pass


class Watch(threading.Thread):
    """A plain watch client: `seen(moment, type, object)` for each event, in its own thread.

    The API server ends a watch that can't keep up, or that has been open for long: it goes on from where it was.
    """

    def __init__(self, api, path, seen):
        super().__init__(daemon=True)
        self.api, self.path, self.seen = api, path, seen
        self.version = api.call("GET", f"{path}?limit=1")[0]["metadata"]["resourceVersion"]
        self.closed = False
        self.begin()
        self.start()

    def begin(self):
        self.connection = self.api.stream()
        self.connection.sendall(self.api.head("GET", f"{self.path}?watch=1&resourceVersion={self.version}"))
        self.file = self.connection.makefile("rb")
        status, _ = answer_head(self.file)
        if status >= 300:
            raise Failed(f"watching {self.path}: {status}", status)

    def run(self):
        while not self.closed:
            # It was closed, here or there.
            with contextlib.suppress(OSError, ValueError):
                self.follow()
            if not self.closed:
                self.begin()

    def follow(self):
        rest = b""
        for chunk in chunks(self.file):
            now = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise Failed(f"watching {self.path}: {event['object'].get('message')}", event["object"].get("code", 500))
                self.version = event["object"]["metadata"]["resourceVersion"]
                self.seen(now, event["type"], event["object"])

    def close(self):
        self.closed = True
        # Closing alone would leave it to the thread, which reads on.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.join()


def answer_head(file):
    line = file.readline()
    if not line:
        raise ConnectionError("the API server has closed the connection")
    status = int(line.split()[1])
    headers = {}
    while line := file.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers


def chunks(file):
    """The chunks of a body that is sent as such."""
    while size := int(file.readline() or b"0", 16):
        yield file.read(size)
        file.readline()
    file.readline()
