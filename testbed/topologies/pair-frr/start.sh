#!/bin/sh
set -eu

install -d -o frr -g frr /run/frr
pidof -q zebra || /usr/lib/frr/zebra -d
/usr/lib/frr/bgpd -d
vtysh -b
