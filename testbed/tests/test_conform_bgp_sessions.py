"""BGP sessions, both families over one, BGP beside layer 2, metrics: cases 23 to 26, 45, 46, 49, 50, 52, 53."""

import time
import unittest

from conform import case
from inventory import DUAL, IPV4, IPV6, SINGLE
from kube.network import NODES
from kube.stand import ROUTERS, SECONDS, SESSIONS, SYSTEM, config, peer, peer_name, session
from labkit.wait import Seen, until
from routes import EVERYWHERE, INTERNAL, RoutesCase, host, metrics_label

COMMUNITY = "64500:7"
CONNECT_SECONDS = 2.0


class Timers(RoutesCase):
    @case(23)
    def attempts_come_at_the_distance_given_and_offer_one_family(self):
        for name, router in self.stand.routers.items():
            for one in sorted(SESSIONS):
                self.assertEqual(router.families(one), {f"ipv{one[-1]}"}, f"{one} at {name}")
        self.apply(peer("tor", IPV4, connectTime=f"{CONNECT_SECONDS:g}s"))
        # A table of the tor's own kernel counts who dials, and refuses it.
        table = "table ip dials { chain input { type filter hook input priority 0; tcp dport 179 tcp flags syn ip saddr 192.168.1.11 " \
                "counter reject with tcp reset; tcp dport 179 ip saddr 192.168.1.11 counter reject with tcp reset; }; }"
        self.cluster.in_ns("tor", "nft", table)
        self.addCleanup(self.cluster.in_ns, "tor", "nft", "delete table ip dials", check=False)
        moments = []

        def dialled():
            moments.extend([time.monotonic()] * (self.dials() - len(moments)))
            return Seen(len(moments) >= 6, moments)

        until("six attempts", dialled, SECONDS, 0.02)
        # The first attempts come sooner; each is up to a quarter sooner by the jitter of RFC 4271, 10.
        distance = (moments[5] - moments[3]) / 2
        self.assertTrue(0.7 * CONNECT_SECONDS < distance < 1.3 * CONNECT_SECONDS, moments)

    def dials(self):
        """How many connections n1 has begun to the tor."""
        return int(self.cluster.in_ns("tor", "nft", "list table ip dials").split("packets ")[1].split()[0])

    @case(24, IPV4)
    def changed_timers_apply_from_the_next_session_on(self, family):
        tor, sessions = self.stand.routers["tor"], [session(node, family) for node in NODES]
        tor.configure("router bgp 64513", "neighbor nodes4 timers 60 180")
        self.addCleanup(tor.configure, "router bgp 64513", "no neighbor nodes4 timers 60 180")
        self.apply(peer("tor", family, holdTime="180s", keepaliveTime="60s"))
        self.reset_until(sessions, 180)
        lives = [tor.life(one) for one in sessions]
        self.apply(peer("tor", family, holdTime="30s", keepaliveTime="10s"))
        self.pool(family)
        self.advertise()
        self.wait_served(self.service(family))
        # What came later was acted on, over the sessions that there were.
        self.assertEqual([tor.life(one) for one in sessions], lives)
        self.assertEqual([tor.hold_time(one) for one in sessions], [180] * 3)
        self.reset_until(sessions, 30)

    def reset_until(self, sessions, hold):
        """Ends the tor's sessions until they come back with this hold time. An edit that is on its way may need another try."""
        tor = self.stand.routers["tor"]

        def probe():
            seen = [tor.hold_time(one) if tor.established(one) else None for one in sessions]
            for one, found in zip(sessions, seen):
                if found not in (None, hold):
                    tor.reset(one)
            return Seen(seen == [hold] * len(sessions), seen)

        until(f"a hold time of {hold} s", probe, SECONDS, 0.3)

    @case(25, IPV4)
    def a_reset_session_is_back_within_twice_its_connect_time(self, family):
        tor, sessions = self.stand.routers["tor"], [session(node, family) for node in NODES]
        self.apply(peer("tor", family, connectTime="10s"))
        lives = {one: tor.life(one) for one in sessions}
        tor.vtysh("clear bgp *")
        until("sessions", lambda: all(tor.established(one) and tor.life(one) > lives[one] for one in sessions), 20.0)


class BesideLayer2(RoutesCase):
    @case(26, *SINGLE)
    def each_protocol_by_its_own_advertisement(self, family):
        prefixes = ("192.168.1.200-192.168.1.210",) if family == IPV4 else ("fd00:1::200-fd00:1::210",)
        self.pool(family, prefixes=prefixes)
        self.advertise()
        service = self.service(family)
        (address,) = service.addresses
        self.wait_served(service)
        self.assertFalse(self.answered(address))
        self.apply(config("L2Advertisement", "all", {}))
        until("an answer on the wire", lambda: self.answered(address), SECONDS)
        self.wait_served(service)
        self.api.delete("L2Advertisement", "all", SYSTEM)
        until("silence on the wire", lambda: not self.answered(address), 5.0)
        self.wait_served(service)

    def answered(self, address):
        """Whether anybody on the nodes' wire says that an address is his, asked anew."""
        self.cluster.in_ns("lan", "ip", "neighbour", "flush", "dev", "eth0")
        return self.stand.ask("lan", address) is not None or "lladdr" in self.cluster.in_ns("lan", "ip", "neighbour", "show", address)


class BothFamilies(RoutesCase):
    """Sessions of one family that carry routes of both."""

    def only(self, *families):
        """Peers of these families alone, each for both families' routes."""
        for name in ROUTERS:
            for family in SINGLE:
                if family in families:
                    self.apply(peer(name, family, dualStackAddressFamily=True))
                else:
                    self.api.delete("BGPPeer", peer_name(name, family), SYSTEM)
        for name in ROUTERS:
            wanted = {session(node, family) for node in NODES for family in families}
            self.stand.wait_sessions(name, wanted, None)

    @case(45, "over IPv4", "over IPv6", "only IPv6 over both", "only IPv4 over both")
    def routes_of_both_families(self, variant):
        over = {"over IPv4": (IPV4,), "over IPv6": (IPV6,)}.get(variant, SINGLE)
        family = {"only IPv6 over both": IPV6, "only IPv4 over both": IPV4}.get(variant, DUAL)
        self.only(*over)
        self.pool(family)
        self.advertise()
        service = self.service(family)
        for router in EVERYWHERE:
            for address in service.addresses:
                self.wait_route(router, host(address), over=over)
            self.wait_reached(router, service)

    @case(46, "over IPv4", "over IPv6")
    def attributes_are_on_routes_of_both_families(self, variant):
        over = (IPV4,) if variant == "over IPv4" else (IPV6,)
        self.only(*over)
        self.pool(DUAL)
        self.advertise(communities=[COMMUNITY], localPref=150)
        service = self.service(DUAL)
        for router in EVERYWHERE:
            preference = {"local_pref": 150} if router in INTERNAL else {}
            for address in service.addresses:
                self.wait_route(router, host(address), over=over, communities=frozenset({COMMUNITY}), **preference)


class Metrics(RoutesCase):
    @case(49, *SINGLE)
    def messages_are_counted_for_each_peer(self, family):
        before = self.counters(family)
        for (node, name), counted in before.items():
            with self.subTest(node=node, peer=name):
                sent = ("opens_sent", "keepalives_sent", "updates_total", "total_sent")
                for counter in (*sent, "opens_received", "keepalives_received", "total_received"):
                    self.assertGreaterEqual(counted.get(counter, 0), 1, counter)
                self.assertIn("route_refresh_sent", counted)
                self.assertIn("notifications_sent", counted)
                self.assertIn("updates_total_received", counted)
                self.assertGreaterEqual(counted["total_sent"], sum(counted[counter] for counter in sent[:-1]))
        self.pool(family)
        self.advertise()
        self.wait_served(self.service(family))
        for name, router in self.stand.routers.items():
            for node in NODES:
                router.refresh(session(node, family))

        def more():
            now = self.counters(family)
            lacking = [f"{where}: {counter}" for where in now for counter in ("updates_total", "total_received")
                       if now[where][counter] <= before[where][counter]]
            return Seen(not lacking, lacking)

        until("more of each", more, SECONDS)

    def counters(self, family):
        """(node, router) -> name without prefix -> value, of all `metallb_bgp_` series."""
        routers = {metrics_label(name, family): name for name in ROUTERS}
        found = {(node, name): {} for node in NODES for name in ROUTERS}
        for node in NODES:
            for (metric, labels), value in self.stand.metrics(node).items():
                name = routers.get(dict(labels).get("peer"))
                if metric.startswith("metallb_bgp_") and name:
                    found[node, name][metric.removeprefix("metallb_bgp_")] = value
        return found

    @case(50, *SINGLE)
    def what_is_announced_is_counted(self, family):
        pool = self.pool(family)
        self.advertise()
        self.wait_counted(family, pool, 0, None)
        updates = {node: self.peers_of("metallb_bgp_updates_total", node, family) for node in NODES}
        service = self.service(family)
        self.wait_served(service)
        self.wait_counted(family, pool, 1, service)
        for node in NODES:
            now = self.peers_of("metallb_bgp_updates_total", node, family)
            self.assertTrue(all(now[name] > updates[node][name] for name in ROUTERS), (updates[node], now))
        self.api.delete("Service", service.name)
        self.wait_counted(family, pool, 0, service)

    @case(53, *SINGLE)
    def layer_2_is_counted_where_it_answers(self, family):
        prefixes = ("192.168.1.211-192.168.1.220",) if family == IPV4 else ("fd00:1::211-fd00:1::220",)
        pool = self.pool(family, prefixes=prefixes)
        self.apply(config("L2Advertisement", "all", {}))
        service = self.service(family)
        (address,) = service.addresses
        until("an answer on the wire", lambda: self.stand.ask("lan", address), SECONDS)
        (owner,) = until("an owner", lambda: self.layer2_owners(service), SECONDS)

        def counted():
            # What a client has learnt from an announcement it needn't ask for.
            self.cluster.in_ns("lan", "ip", "neighbour", "flush", "dev", "eth0")
            self.stand.ask("lan", address)
            seen = {node: [self.stand.metric(f"metallb_layer2_{what}", node, ip=address)
                           for what in ("requests_received", "responses_sent", "gratuitous_sent")] for node in NODES}
            good = all((values and values[0] >= 1) if node == owner else not values for node, found in seen.items() for values in found)
            return Seen(good, seen)

        until(f"counted on {owner} alone", counted, SECONDS)
        self.wait_in_use(pool, 1)
        self.api.delete("Service", service.name)
        until("no owner", lambda: not self.layer2_owners(service), SECONDS)
        until("no series", lambda: not any(
            self.stand.metric("metallb_layer2_gratuitous_sent", node, ip=address) for node in NODES), SECONDS)
        self.wait_in_use(pool, 0)

    def layer2_owners(self, service):
        """The nodes whose metrics say that they answer for a service."""
        labels = {"service": f"default/{service.name}", "protocol": "layer2", "ip": service.addresses[0]}
        return [node for node in NODES if self.stand.metric("metallb_speaker_announced", node, node=node, **labels) == [1.0]]

    def wait_in_use(self, pool, count):
        def probe():
            used = self.stand.metric("metallb_allocator_addresses_in_use_total", pool=pool)
            return Seen(used == [float(count)], used)

        until(f"{count} in use", probe, SECONDS)

    def wait_counted(self, family, pool, count, service):
        """Until all of a speaker's and the controller's series say that there are so many addresses in use, routes and announcements."""
        def announced():
            wrong = []
            for node in NODES:
                up, routes = (self.peers_of(f"metallb_bgp_{what}", node, family) for what in ("session_up", "announced_prefixes_total"))
                if set(up.values()) != {1.0} or set(routes.values()) != {float(count)} or set(up) != set(ROUTERS):
                    wrong.append((node, up, routes))
                if service:
                    labels = {"service": f"default/{service.name}", "protocol": "bgp", "node": node, "ip": service.addresses[0]}
                    shown = self.stand.metric("metallb_speaker_announced", node, **labels)
                    if shown != [1.0] * count:
                        wrong.append((node, "speaker_announced", shown))
            return Seen(not wrong, wrong)

        until(f"{count} announced", announced, SECONDS)
        self.wait_in_use(pool, count)
        # More than 2^63 - 1 can't be said.
        self.assertEqual(self.stand.metric("metallb_allocator_addresses_total", pool=pool), [256.0 if family == IPV4 else 2.0**63])

    def peers_of(self, metric, node, family):
        """Router -> value."""
        routers = {metrics_label(name, family): name for name in ROUTERS}
        found = self.stand.metrics(node).items()
        return {routers[dict(labels)["peer"]]: value for (name, labels), value in found
                if name == metric and dict(labels).get("peer") in routers}

    @case(52)
    def a_missing_bfd_profile_makes_the_configuration_stale(self):
        self.wait_config(stale=0.0)
        self.apply(peer("tor", IPV4, bfdProfile="absent"))
        self.wait_config(stale=1.0)
        self.apply(config("BFDProfile", "absent", {}))
        self.wait_config(stale=0.0)

    def wait_config(self, stale):
        def probe():
            seen = {node: [self.stand.metric(f"metallb_k8s_client_{what}", node) for what in (
                "config_stale_bool", "config_loaded_bool", "updates_total")] for node in NODES}
            good = all(is_stale == [stale] and loaded == [1.0] and updates[0] > 0 for is_stale, loaded, updates in seen.values())
            return Seen(good, seen)

        until(f"config_stale_bool {stale:g} on every node", probe, SECONDS)


if __name__ == "__main__":
    unittest.main()
