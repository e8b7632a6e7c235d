#!/bin/sh
# Run by the feed on the built package: $1 is its name, $2 its version.
[ "$1" = coracle ] || exit 0
coracle --version | grep -F "$2"
