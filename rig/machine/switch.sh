#!/bin/bash
# The network between the machines, in a namespace of its own, and the way in for the test: switch.sh ADDRESS COMMAND …
set -eu
address=$1
shift
ip link set lo up
ip link add switch type bridge
ip address add "$address/24" dev switch
ip link set switch up
sysctl -qw net.ipv4.ip_forward=1
exec "$@"
