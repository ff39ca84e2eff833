"""Sockets that belong to a node's network and are held by this process."""

import ctypes
import socket
import threading
from pathlib import Path

CLONE_NEWNET = 0x40000000


def open_socket(lab, node, *kind):
    """A socket in the node's network: a thread enters it, opens the socket and ends."""
    made = []

    def work():
        try:
            with Path(f"/proc/{lab.nodes[node][0]}/ns/net").open("rb") as network:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"can't enter the network of node {node}")
            made.append(socket.socket(*kind))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def connect(lab, node, address, port, seconds):
    """A TCP connection made in the node's network; OSError where there is none within `seconds`."""
    connection = open_socket(lab, node, socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect((address, port))
    except OSError:
        connection.close()
        raise
    return connection
