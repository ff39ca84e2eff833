#!/bin/sh
set -eu

mkdir -p /run/exabgp
[ -p /run/exabgp/commands ] || mkfifo /run/exabgp/commands
# The reports are of one process: what the one before saw is gone with it.
: >/run/exabgp/events
export exabgp_daemon_user=root exabgp_api_cli=false exabgp_api_ack=false exabgp_log_all=false
setsid exabgp /run/lab/router/exabgp.conf </dev/null >>/run/exabgp.log 2>&1 &
