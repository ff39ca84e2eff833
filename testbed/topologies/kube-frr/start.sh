#!/bin/sh
# FRR on a router of the Kubernetes lab; bgpd again after a crash.
set -eu

install -d -o frr -g frr /run/frr
pidof -q zebra || /usr/lib/frr/zebra -d
pidof -q staticd || /usr/lib/frr/staticd -d
/usr/lib/frr/bgpd -d
vtysh -b
