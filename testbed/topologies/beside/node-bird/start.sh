#!/bin/sh
set -eu

mkdir -p /run/bird
bird -c /run/lab/router/bird.conf
