#!/bin/bash
# Puts itself into a cgroup of its own in every hierarchy, then becomes the command: launch.sh CGROUP COMMAND …
set -eu
group=$1
shift
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup/$group"
  echo $$ > "/sys/fs/cgroup/$group/cgroup.procs"
else
  for hierarchy in /sys/fs/cgroup/*; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir -p "$hierarchy/$group"
    if [ "${hierarchy##*/}" = cpuset ]; then
      # A new group of this controller has neither processors nor memory until it is told.
      path=$hierarchy
      for part in ${group//\// }; do
        path=$path/$part
        cat "$hierarchy/cpuset.cpus" > "$path/cpuset.cpus"
        cat "$hierarchy/cpuset.mems" > "$path/cpuset.mems"
      done
    fi
    echo $$ > "$hierarchy/$group/cgroup.procs"
  done
fi
exec "$@"
