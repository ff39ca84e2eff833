#!/bin/sh
set -eu

setsid gobgpd -f /run/lab/router/gobgpd.toml --pprof-disable </dev/null >>/run/gobgpd.log 2>&1 &
timeout 10 sh -c 'until gobgp neighbor >/dev/null 2>&1; do sleep 0.05; done'
gobgp global rib add 192.0.2.200/32
