#!/bin/sh
# Run by the feed on the built package: $1 is its name, $2 its version.
case $1 in
coracle | coracle-nossl) ;;
*) exit 0 ;;
esac
coracle --version | grep -F "$2" || exit 1
# The variants differ in what they speak.
coracle -Vv | grep '^protocols:' | grep -q ftps
case $1:$? in
coracle:0 | coracle-nossl:1) ;;
*) exit 1 ;;
esac
