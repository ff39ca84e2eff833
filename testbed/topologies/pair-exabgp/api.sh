#!/bin/sh
# ExaBGP's program: /run/exabgp/events gets each report, a JSON document a line; what is written to the pipe
# /run/exabgp/commands goes to ExaBGP.
exec 3<&0
cat <&3 >>/run/exabgp/events &
exec cat <>/run/exabgp/commands
