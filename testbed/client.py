#!/usr/bin/python3
"""The client of the labs: asks a service over HTTP, one TCP connection a request, and counts.

    client.py spread --to URL --count N
        N requests from N source ports; prints how many each node answered.
    client.py watch --to URL --flows N --rate R --seconds S
        R requests a second, in turn from N fixed source ports, each a flow of its own. Prints one JSON line
        a request when it is over: {"at": start, "flow": number, "node": name or null, "ms": duration}.

A request that isn't answered within half a second counts as lost. The kernel would repeat a lost
SYN only after a second, so nothing that was lost is hidden by a repetition.
"""

import argparse
import asyncio
import collections
import json
import socket
import struct
import sys
import time
import urllib.parse

LOST_SECONDS = 0.5
PARALLEL = 32
FIRST_PORT = 20000
# Closing with a reset frees the port at once, so that a flow can come again from the same one.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def main():
    options = _parser().parse_args()
    url = urllib.parse.urlsplit(options.to)
    target = (url.hostname, url.port or 80)
    try:
        asyncio.run(options.act(target, options))
    except KeyboardInterrupt:
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(description="Asks a service over HTTP and counts who answers.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    spread = verbs.add_parser("spread", help="who answers how many of N requests")
    spread.add_argument("--to", required=True, metavar="URL")
    spread.add_argument("--count", type=int, default=300)
    spread.set_defaults(act=_spread)
    watch = verbs.add_parser("watch", help="ask at a steady rate and print what became of each request")
    watch.add_argument("--to", required=True, metavar="URL")
    watch.add_argument("--flows", type=int, default=100)
    watch.add_argument("--rate", type=float, default=200.0, help="requests a second, all flows together")
    watch.add_argument("--seconds", type=float, default=10.0)
    watch.set_defaults(act=_watch)
    return parser


async def _spread(target, options):
    gate = asyncio.Semaphore(PARALLEL)

    async def one(flow):
        async with gate:
            return await _ask(target, FIRST_PORT + flow)

    nodes = await asyncio.gather(*(one(flow) for flow in range(options.count)))
    print(json.dumps(collections.Counter(node or "lost" for node in nodes), sort_keys=True))


async def _watch(target, options):
    begun = time.monotonic()
    tasks = []
    for number in range(int(options.rate * options.seconds)):
        await asyncio.sleep(begun + number / options.rate - time.monotonic())
        tasks.append(asyncio.create_task(_report(target, number % options.flows)))
    await asyncio.gather(*tasks)


async def _report(target, flow):
    # The clock of the whole machine, so that a reader in another process can place its own events.
    started = time.monotonic()
    node = await _ask(target, FIRST_PORT + flow)
    ms = round((time.monotonic() - started) * 1000, 2)
    print(json.dumps({"at": round(started, 5), "flow": flow, "node": node, "ms": ms}), flush=True)


async def _ask(target, port):
    """The name of the node that answered, or None."""
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        try:
            connection.bind(("", port))
            async with asyncio.timeout(LOST_SECONDS):
                await loop.sock_connect(connection, target)
                await loop.sock_sendall(connection, b"GET / HTTP/1.0\r\n\r\n")
                return await _body(loop, connection)
        except (OSError, TimeoutError):
            return None


async def _body(loop, connection):
    answer = b""
    while chunk := await loop.sock_recv(connection, 4096):
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode().strip() if head.startswith(b"HTTP/1.0 200") else None


if __name__ == "__main__":
    sys.exit(main())
