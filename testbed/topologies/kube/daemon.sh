#!/bin/sh
# Starts a program inside a node and lets go of it. Its log is /run/node/NAME.log, its process id is in /run/node/NAME.pid.
# Where the node has a cgroup, the program is in that.
# Usage: daemon.sh NAME PROGRAM [ARGUMENT...]
set -eu

name=$1
shift
(
    if [ -n "${KUBE_CGROUP:-}" ]; then
        for members in /sys/fs/cgroup"$KUBE_CGROUP"/system/cgroup.procs /sys/fs/cgroup/*"$KUBE_CGROUP"/system/cgroup.procs; do
            [ ! -e "$members" ] || echo 0 >"$members"
        done
    fi
    exec setsid "$@" </dev/null >>"/run/node/$name.log" 2>&1
) &
echo $! >"/run/node/$name.pid"
