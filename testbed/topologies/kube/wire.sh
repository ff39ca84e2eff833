#!/bin/sh
# One bridge over all links of the wire; again after a node was started anew, whose link is a new one.
set -eu

if ! ip link show br0 >/dev/null 2>&1; then
    ip link add br0 type bridge
    ip link set br0 up
    # A wire has no firewall.
    for setting in /proc/sys/net/bridge/bridge-nf-call-*tables; do
        echo 0 >"$setting"
    done
fi
ip -o link show type veth | cut -d ' ' -f 2 | cut -d @ -f 1 | while read -r port; do
    ip link set "$port" master br0 up
done
