#!/usr/bin/python3
"""What a station sees of ARP and Neighbor Discovery on its segment, and what it can ask there.

    segment.py watch --interface NAME --seconds S [--quiet Q]
        Prints one JSON line for each frame: {"at": seconds, "kind": "request", "reply" or "advertisement",
        "mac": who sends, "ip": the address that it claims, "gratuitous": true or false}. `at` is the kernel's time.
        The first line is {"listening": true}. It ends after S seconds, or Q seconds after the last frame.
    segment.py ask --interface NAME --to ADDRESS [--quietly] [--mac MAC]
        Asks once for an address, without the kernel's help and cache, and prints the MACs of all who answer within
        0.4 s as a JSON list. `--quietly` leaves out the source link-layer option; `--mac` asks one station alone.
"""

import argparse
import json
import socket
import struct
import sys
import time

ALL = b"\xff" * 6
ARP, IPV6 = 0x0806, 0x86DD
# All of them.
PROTOCOL = 0x0003
SO_TIMESTAMPNS = 35
ANSWER_SECONDS = 0.4


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    watch = verbs.add_parser("watch")
    watch.add_argument("--interface", required=True)
    watch.add_argument("--seconds", type=float, required=True)
    watch.add_argument("--quiet", type=float)
    watch.set_defaults(act=_watch)
    ask = verbs.add_parser("ask")
    ask.add_argument("--interface", required=True)
    ask.add_argument("--to", required=True, metavar="ADDRESS")
    ask.add_argument("--quietly", action="store_true")
    ask.add_argument("--mac")
    ask.set_defaults(act=_ask)
    options = parser.parse_args()
    options.act(options)


def _watch(options):
    with _tap(options.interface) as tap:
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        tap.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        print(json.dumps({"listening": True}), flush=True)
        last = None
        for at, frame in _frames(tap, options.seconds, poll=0.2):
            seen = frame and _read(frame)
            if seen:
                last = time.monotonic()
                print(json.dumps({"at": at, **seen}), flush=True)
            elif options.quiet and last and time.monotonic() - last > options.quiet:
                return


def _ask(options):
    with _tap(options.interface) as tap:
        print(json.dumps(sorted(ask(tap, options.to, options.mac, options.quietly))))


def ask(tap, address, mac=None, quietly=False, settled=None):
    """The MACs of all who answer one question that is asked on a packet socket (`PROTOCOL`, bound to an interface).

    With `settled`, it waits that many seconds after the first answer, not the whole time.
    """
    own, to = tap.getsockname()[4], _mac(mac) if mac else None
    if ":" in address:
        tap.send(_solicitation(own, to, socket.inet_pton(socket.AF_INET6, address), quietly))
    else:
        arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + socket.inet_aton("192.0.2.250") + bytes(6)
        tap.send((to or ALL) + own + struct.pack("!H", ARP) + arp + socket.inet_aton(address))
    answers, first = set(), None
    for _, frame in _frames(tap, ANSWER_SECONDS, settled):
        seen = frame and _read(frame)
        if seen and seen["ip"] == address and not seen["gratuitous"] and seen["kind"] != "request":
            answers.add(seen["mac"])
            first = first or time.monotonic()
        if settled and first and time.monotonic() - first >= settled:
            break
    return answers


def _solicitation(own, to, target, quietly):
    """From a link-local address of our own, or `::` never: that is for the kernel's own duplicate detection."""
    source = socket.inet_pton(socket.AF_INET6, "fe80::fa")
    group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
    destination = target if to else group
    message = struct.pack("!BBHI", 135, 0, 0, 0) + target + (b"" if quietly else b"\x01\x01" + own)
    pseudo = source + destination + struct.pack("!II", len(message), 58)
    message = message[:2] + struct.pack("!H", _checksum(pseudo + message)) + message[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + source + destination + message
    return (to or b"\x33\x33" + group[12:]) + own + struct.pack("!H", IPV6) + packet


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF ^ total


def _tap(interface):
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(PROTOCOL))
    tap.bind((interface, PROTOCOL))
    return tap


def _frames(tap, seconds, poll=None):
    """(time, octets) of each frame that comes in until the time is over; with `poll`, None that often where none comes."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        tap.settimeout(min(left, poll or left))
        try:
            frame, ancillary, _, address = tap.recvmsg(2048, 64)
        except TimeoutError:
            yield time.time(), None
            continue
        if address[2] == socket.PACKET_OUTGOING:
            continue
        at = time.time()
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                whole, rest = struct.unpack("qq", data[:16])
                at = whole + rest / 1e9
        yield at, frame


def _read(frame):
    """What an ARP packet or a Neighbor Advertisement says; None for all others."""
    kind = struct.unpack("!H", frame[12:14])[0] if len(frame) >= 14 else 0
    if kind == ARP and len(frame) >= 42:
        operation = struct.unpack("!H", frame[20:22])[0]
        claimed, asked = frame[28:32], frame[38:42]
        if claimed == bytes(4):
            return None
        return {
            "kind": {1: "request", 2: "reply"}.get(operation, "other"), "mac": frame[22:28].hex(":"),
            "ip": socket.inet_ntoa(claimed), "gratuitous": claimed == asked,
        }
    if kind == IPV6 and len(frame) >= 86 and frame[20] == 58 and frame[54] == 136:
        return {
            "kind": "advertisement", "mac": frame[80:86].hex(":"),
            "ip": socket.inet_ntop(socket.AF_INET6, frame[62:78]), "gratuitous": not frame[58] & 0x40,
        }
    return None


def _mac(text):
    return bytes.fromhex(text.replace(":", ""))


if __name__ == "__main__":
    sys.exit(main())
