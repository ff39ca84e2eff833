#!/bin/sh
# What a node of the lab runs: the workload behind the service addresses, and FerroLB beside it.
# Usage: node.sh NODE
set -eu

for address in 192.0.2.10 192.0.2.11 192.0.2.128; do
    ip address add "$address/32" dev lo
done
for address in 2001:db8:5::10; do
    ip address add "$address/128" dev lo
done

setsid /usr/bin/python3 /run/lab/responder.py --name "$1" </dev/null >/run/responder.log 2>&1 &
setsid /run/lab/ferrolb standalone --manifests /run/lab/manifests --node "$1" --state /run/ferrolb \
    </dev/null >/run/ferrolb.log 2>&1 &
echo $! >/run/ferrolb.pid
