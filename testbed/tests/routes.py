"""Whether routers have a service as they should: the check of all BGP cases."""

from inventory import DUAL, IPV4, IPV6
from kube.network import NODES
from kube.stand import ALL, OUR_AS, ROUTERS, SECONDS, peer_name, session
from labkit.wait import Seen, until
from stand import Case

# What the kernel of a router beyond the tor has as gateway to anywhere.
BEYOND = {"far-ebgp": ("192.168.3.1", "fd00:3::1"), "far-ibgp": ("192.168.4.1", "fd00:4::1")}
INTERNAL = tuple(name for name, (asn, _) in ROUTERS.items() if asn == OUR_AS)
EVERYWHERE = tuple(ROUTERS)


class RoutesCase(Case):
    """Tests about routes."""

    def wait_served(self, service, nodes=ALL, routers=EVERYWHERE, local=False, reached=True):
        """Until each router has each address of the service by way of exactly these nodes, and gets an answer through it.

        In its table there is one path from each node, of origin IGP, none of it stale, with the node as next hop; its kernel has just
        these next hops; and where there are any, the service answers it: under `local` from one of these nodes, which sees the router's own address.
        """
        for router in routers:
            for address in service.addresses:
                self.wait_route(router, host(address), nodes)
        for router in routers if reached and nodes else ():
            # The way to those beyond leads through the tor.
            if router not in BEYOND or "tor" in routers:
                self.wait_reached(router, service, nodes, local)

    def wait_route(self, router, prefix, nodes=ALL, over=None, **attributes):
        """Until a router has a prefix by way of exactly these nodes: paths with these attributes, and the same in its kernel.

        `over` is the families of the sessions that bring it, else the prefix's own.
        """
        def probe():
            found = flaws(self.stand.routers[router], router, prefix, nodes, over, attributes)
            return Seen(not found, found)

        until(f"{router} has {prefix} by way of {sorted(nodes)}", probe, SECONDS)

    def wait_reached(self, router, service, nodes=ALL, local=False):
        """Until a service answers on each of its addresses."""
        def good(answer):
            return answer is not None and (not local or answer["node"] in nodes and answer["client"] in own_addresses(router))

        for address in service.addresses:
            self.stand.wait_answer(router, address, service.port, f"an answer of {service.name}", good)

    def assert_absent(self, service, routers=EVERYWHERE):
        """No router has it now. For what would have been there by then: before a later service that is."""
        for router in routers:
            for address in service.addresses:
                self.assertEqual(self.stand.routers[router].paths(host(address)), {}, f"{address} at {router}")


def flaws(router, name, prefix, nodes, over, attributes):
    """What is wrong with a prefix at a router; nothing where nothing is."""
    family = IPV6 if ":" in prefix else IPV4
    paths = router.paths(prefix)
    wanted = {session(node, carried) for node in nodes for carried in over or (family,)}
    if set(paths) != wanted:
        return f"paths from {sorted(paths)}"
    found = []
    for one, path in paths.items():
        expected = {
            "stale": False, "origin": "IGP", "next_hop": NODES[one[:2]][family == IPV6],
            "as_path": () if name in INTERNAL else (OUR_AS,), **attributes,
        }
        found += [f"{one}: {key} {getattr(path, key)!r}" for key, value in expected.items() if getattr(path, key) != value]
    index = family == IPV6
    hops = {BEYOND[name][index]} if name in BEYOND and nodes else {NODES[node][index] for node in nodes}
    if not found and set(kernel := router.next_hops(prefix)) != hops:
        found.append(f"in the kernel: {kernel}")
    return "; ".join(found)


def host(address):
    """The prefix of one address."""
    return f"{address}/{128 if ':' in address else 32}"


def own_addresses(router):
    return ROUTERS[router][1]


def versions(family):
    """The families of sessions that carry a service of this family."""
    return (IPV4, IPV6) if family == DUAL else (family,)


def peers(family, *routers):
    """The names of the peers for these routers, over the sessions that carry a service of this family."""
    return [peer_name(router, version) for router in routers for version in versions(family)]


def on(*nodes):
    """Node selectors for exactly these nodes; for none they match nobody."""
    return [{"matchLabels": {"kubernetes.io/hostname": node}} for node in nodes or ("nobody",)]


def metrics_label(router, family):
    """What the metrics call a router's peer."""
    address = ROUTERS[router][1][family == IPV6]
    return f"[{address}]:179" if family == IPV6 else f"{address}:179"
