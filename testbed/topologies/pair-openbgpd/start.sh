#!/bin/sh
set -eu

# bgpd takes no configuration that others may read, since passwords are in it.
mkdir -p /run/openbgpd
install -m 600 /run/lab/router/bgpd.conf /run/openbgpd/bgpd.conf
setsid bgpd -d -v -f /run/openbgpd/bgpd.conf </dev/null >>/run/openbgpd.log 2>&1 &
timeout 10 sh -c 'until bgpctl show >/dev/null 2>&1; do sleep 0.05; done'
