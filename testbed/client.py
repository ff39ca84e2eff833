#!/usr/bin/python3
"""The client of the labs: asks a service and counts who answers.

    client.py spread --to ADDRESS --count N
        N HTTP requests, each over a TCP connection of its own from a port of its own. Prints how many of them had which
        answer, as JSON; an answer that begins with "lost" is why there was none.
    client.py ask --to ADDRESS --rate R --seconds S
        R HTTP requests a second, each over a TCP connection of its own. Prints JSON lines as `watch` does.
    client.py watch --to ADDRESS --flows N --rate R --seconds S
        R requests a second, in turn from N fixed ports, each a flow of its own. Prints one JSON line a request:
        {"at": start, "flow": number, "node": name or null, "ms": duration}; `at` is the machine's monotonic clock.

A request that isn't answered within half a second counts as lost, and is never repeated. `spread`, which asks for much at once, has
more patience: it is about who answers.

`watch` asks over UDP, because a router in a network namespace of the same machine doesn't tell TCP
connections apart by their ports: it takes the hash that the kernel gave the client's socket, which is
another one for each connection. Unconnected UDP sockets have none, so addresses and ports decide.
"""

import argparse
import asyncio
import collections
import json
import socket
import sys
import time

LOST_SECONDS = 0.5
SPREAD_SECONDS = 3.0
PARALLEL = 32
PORT = 80
FIRST_PORT = 20000
ASK_PORT = 30000


def main():
    options = _parser().parse_args()
    try:
        asyncio.run(options.act((options.to, PORT), options))
    except KeyboardInterrupt:
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(description="Asks a service and counts who answers.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    spread = verbs.add_parser("spread", help="who answers how many of N requests")
    spread.add_argument("--to", required=True, metavar="ADDRESS")
    spread.add_argument("--count", type=int, default=300)
    spread.set_defaults(act=_spread)
    ask = verbs.add_parser("ask", help="the same over HTTP, each request over a connection of its own")
    ask.add_argument("--to", required=True, metavar="ADDRESS")
    ask.add_argument("--rate", type=float, default=20.0, help="requests a second")
    ask.add_argument("--seconds", type=float, default=10.0)
    ask.set_defaults(act=_ask_on)
    watch = verbs.add_parser("watch", help="ask at a steady rate and print what became of each request")
    watch.add_argument("--to", required=True, metavar="ADDRESS")
    watch.add_argument("--flows", type=int, default=100)
    watch.add_argument("--rate", type=float, default=200.0, help="requests a second, all flows together")
    watch.add_argument("--seconds", type=float, default=10.0)
    watch.set_defaults(act=_watch)
    return parser


async def _spread(target, options):
    gate = asyncio.Semaphore(PARALLEL)

    async def one(flow):
        async with gate:
            return await _ask(target, FIRST_PORT + flow, SPREAD_SECONDS)

    answers = await asyncio.gather(*(one(flow) for flow in range(options.count)))
    print(json.dumps(collections.Counter(node or f"lost: {why}" for node, why in answers), sort_keys=True))


async def _watch(target, options):
    loop = asyncio.get_running_loop()
    any_address = "::" if _family(target) == socket.AF_INET6 else "0.0.0.0"
    flows = []
    for number in range(options.flows):
        local = (any_address, FIRST_PORT + number)
        _, flow = await loop.create_datagram_endpoint(Flow, local_addr=local)
        flows.append(flow)
    await _paced(options, lambda number: _report(number % options.flows, flows[number % options.flows].ask(target)))


async def _ask_on(target, options):
    async def one(port):
        node, _ = await _ask(target, port)
        return node

    # Each port once: nodes remember ports for a while, and where one of a lost request led to, a new one would go too.
    await _paced(options, lambda number: _report(number, one(ASK_PORT + number)))


async def _paced(options, act):
    """Begins `act(number)` at the rate that was asked for, however long each takes."""
    begun = time.monotonic()
    answers = []
    for number in range(int(options.rate * options.seconds)):
        await asyncio.sleep(begun + number / options.rate - time.monotonic())
        answers.append(asyncio.create_task(act(number)))
    await asyncio.gather(*answers)


class Flow(asyncio.DatagramProtocol):
    """One fixed port; each request carries a number, which the answer repeats before the node's name."""

    def __init__(self):
        self.transport = None
        self.sent = 0
        self.waiting = {}

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, _address):
        number, _, node = data.decode().partition(" ")
        answer = self.waiting.get(number)
        if answer and not answer.done():
            answer.set_result(node)

    async def ask(self, target):
        """The name of the node that answered, or None."""
        self.sent += 1
        number = str(self.sent)
        answer = self.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self.transport.sendto(number.encode(), target)
            async with asyncio.timeout(LOST_SECONDS):
                return await answer
        except (OSError, TimeoutError):
            return None
        finally:
            del self.waiting[number]


async def _report(number, answer):
    started = time.monotonic()
    node = await answer
    ms = round((time.monotonic() - started) * 1000, 2)
    print(json.dumps({"at": round(started, 5), "flow": number, "node": node, "ms": ms}), flush=True)


async def _ask(target, port, patience=LOST_SECONDS):
    """The name of the node that answered over HTTP, or None, and why not."""
    loop = asyncio.get_running_loop()
    step = "connecting"
    with socket.socket(_family(target), socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            connection.bind(("", port))
            async with asyncio.timeout(patience):
                await loop.sock_connect(connection, target)
                step = "connected"
                await loop.sock_sendall(connection, b"GET / HTTP/1.0\r\n\r\n")
                node = await _body(loop, connection)
                return node, None if node else "the answer isn't 200 with a text"
        except TimeoutError:
            return None, f"no answer within {patience} s, {step}"
        except OSError as error:
            return None, f"{error.strerror or error}, {step}"


async def _body(loop, connection):
    answer = b""
    while chunk := await loop.sock_recv(connection, 4096):
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode().strip() if head.split(b" ")[1:2] == [b"200"] else None


def _family(target):
    return socket.AF_INET6 if ":" in target[0] else socket.AF_INET


if __name__ == "__main__":
    sys.exit(main())
