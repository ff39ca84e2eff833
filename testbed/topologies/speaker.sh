#!/bin/sh
# FerroLB on a node of the lab. Its log is /run/ferrolb.log, its process id is in /run/ferrolb.pid.
# Usage: speaker.sh NODE
set -eu

setsid /run/lab/ferrolb standalone --manifests /run/lab/manifests --node "$1" --state /run/ferrolb \
    </dev/null >>/run/ferrolb.log 2>&1 &
echo $! >/run/ferrolb.pid
