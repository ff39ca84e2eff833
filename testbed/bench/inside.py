"""Sockets and processes inside a lab's nodes, held by the one process that measures, so that all share its clock."""
import os
import socket
import struct
from pathlib import Path

from labkit.sockets import open_socket

RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTMGRP_IPV4_ROUTE = 0x40
RTA_DST, RTA_GATEWAY = 1, 5
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
NLMSG_ERROR = 2
TABLE_MAIN, PROTOCOL_BOOT, TYPE_UNICAST = 254, 3, 1
NETLINK_HEADER, ROUTE_MESSAGE = struct.Struct("=IHHII"), struct.Struct("=BBBBBBBBI")


def inner_pid(process):
    """The host's id of what `Lab.start` started, or None where it has ended: nsenter waits for it, as its only child."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(children[0]) if children else None


def cpu_seconds(pid):
    """What all threads of a process have run for, to the nanosecond (its ended threads are left out)."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        spent += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return spent / 1e9


def resident_mib(pid, field="VmRSS"):
    """Resident memory now, or at its peak (`VmHWM`)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


class KernelTable:
    """Adds routes to a node's kernel and removes them: what a routing daemon sees as an event."""

    def __init__(self, lab, node, gateway):
        self.gateway = socket.inet_aton(gateway)
        self.netlink = open_socket(lab, node, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def set(self, address, there):
        """Adds or removes a host route; raises OSError where the kernel refuses."""
        kind, flags = (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL) if there else (RTM_DELROUTE, 0)
        body = ROUTE_MESSAGE.pack(socket.AF_INET, 32, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, 0, TYPE_UNICAST, 0)
        body += attribute(RTA_DST, socket.inet_aton(address)) + attribute(RTA_GATEWAY, self.gateway)
        size = NETLINK_HEADER.size + len(body)
        self.netlink.send(NETLINK_HEADER.pack(size, kind, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0) + body)
        answer = self.netlink.recv(1 << 16)
        code = struct.unpack_from("=i", answer, NETLINK_HEADER.size)[0]
        if NETLINK_HEADER.unpack_from(answer)[1] == NLMSG_ERROR and code:
            raise OSError(-code, f"{address}: {os.strerror(-code)}")


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value


def route_changes(data):
    """The IPv4 host routes in what a netlink socket of the group of routes received: (address, there)."""
    at = 0
    while len(data) - at >= NETLINK_HEADER.size:
        size, kind = NETLINK_HEADER.unpack_from(data, at)[:2]
        if size < NETLINK_HEADER.size + ROUTE_MESSAGE.size or at + size > len(data):
            return
        inner, end = at + NETLINK_HEADER.size + ROUTE_MESSAGE.size, at + size
        if kind in (RTM_NEWROUTE, RTM_DELROUTE) and data[at + NETLINK_HEADER.size + 1] == 32:
            while end - inner >= 4:
                length, name = struct.unpack_from("=HH", data, inner)
                if name == RTA_DST:
                    yield socket.inet_ntoa(data[inner + 4:inner + 8]), kind == RTM_NEWROUTE
                    break
                inner += (length + 3) & ~3
        at += (size + 3) & ~3
