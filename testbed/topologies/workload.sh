#!/bin/sh
# What the services of the demo lead to: a responder that owns their addresses on the loopback.
# Usage: workload.sh NODE
set -eu

for address in 192.0.2.10/32 192.0.2.11/32 192.0.2.128/32 2001:db8:5::10/128; do
    ip address add "$address" dev lo
done
setsid /usr/bin/python3 /run/lab/responder.py --name "$1" </dev/null >/run/responder.log 2>&1 &
