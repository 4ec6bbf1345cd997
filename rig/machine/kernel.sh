#!/bin/bash
# What a kernel and an initramfs do on a real machine, as the first process of namespaces of its own: root, /proc, /dev,
# network, and then the init of the slot that was booted. Whatever ends this process ends the machine, as a power cut does.
#
# NAME, ADDRESS: of the machine. MACHINE: its folder. SLOT, FAILED: what GRUB chose. BOOT_ROOT: that slot's files.
# SWITCH: a process in the network namespace of the switch. BIN, RIG: folders of the outer machine, on which all
# this runs; OUTER_PID_NAMESPACE: its PID namespace, which nothing here may reboot.
set -eu
[ $$ = 1 ] || { echo 'not the first process of a PID namespace' >&2; exit 1; }

# `netns 1`: of the first process of this PID namespace, which is us. /proc still is that of the outer namespace.
nsenter "--net=/proc/$SWITCH/ns/net" ip link del "$NAME" 2>/dev/null || true
nsenter "--net=/proc/$SWITCH/ns/net" ip link add "$NAME" type veth peer name eth0 netns 1
nsenter "--net=/proc/$SWITCH/ns/net" ip link set "$NAME" master switch up
ip link set lo up
ip address add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip route add default via "${ADDRESS%.*}.1"
hostname "$NAME"

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$MACHINE/ephemeral"
mkdir "$MACHINE/ephemeral/upper" "$MACHINE/ephemeral/work"
mount -t overlay -o "lowerdir=$BOOT_ROOT,upperdir=$MACHINE/ephemeral/upper,workdir=$MACHINE/ephemeral/work" root "$MACHINE/root"
cd "$MACHINE/root"
mkdir -p etc dev proc sys run tmp oem usr var/lib var/log opt/rig/bin
for link in bin sbin lib lib64; do [ -e $link ] || ln -s usr/$link $link; done

# Programs and libraries are those of the outer machine; a few of ours lie over them. The image's own are for its containers.
mount -t overlay -o "lowerdir=$RIG/usr:/usr" usr usr
cp -a /etc/alternatives /etc/ld.so.cache etc/ 2>/dev/null || true
# The partition COS_PERSISTENT, and what Kairos binds from it.
mount --bind "$MACHINE/persistent/local" usr/local
for path in var/lib/containerd var/lib/kubelet var/lib/cni var/lib/etcd var/log; do
  mkdir -p "$path" "$MACHINE/persistent/$path"
  mount --bind "$MACHINE/persistent/$path" "$path"
done
mount --bind "$MACHINE/oem" oem
mount --bind "$BIN" opt/rig/bin
mount -o remount,bind,ro opt/rig/bin

mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p run/lock run/cos run/initramfs/cos-state run/rig
# The partition COS_STATE, mounted read-only as Kairos has it. A file system of its own, so that to mount it writable
# and back changes nothing outside of this machine.
mount -t overlay -o "ro,lowerdir=$MACHINE/empty,upperdir=$MACHINE/state,workdir=$MACHINE/state-work" cos-state run/initramfs/cos-state
echo 1 > "run/cos/${SLOT}_mode"
[ -z "$FAILED" ] || echo 1 > run/cos/upgrade_failure

echo "$OUTER_PID_NAMESPACE" > run/rig/outer-pid-namespace
mount -t proc proc proc
readlink proc/self/ns/pid > run/rig/pid-namespace
mount --bind "$MACHINE/boot/boot_id" proc/sys/kernel/random/boot_id
mount --bind "$MACHINE/boot/cmdline" proc/cmdline
# Values that a kubelet would set for the whole outer machine: it finds files that hold them already.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
  file=run/rig/$(echo "${setting%=*}" | tr / _)
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "proc/sys/${setting%=*}"
done
[ ! -e proc/sysrq-trigger ] || mount --bind /dev/null proc/sysrq-trigger
mount -t sysfs sysfs sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mkdir sys/fs/cgroup/init
  echo 1 > sys/fs/cgroup/init/cgroup.procs
  for controller in $(cat sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > sys/fs/cgroup/cgroup.subtree_control || true
  done
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
    mkdir sys/fs/cgroup/$controller
    mount -t cgroup -o $controller cgroup sys/fs/cgroup/$controller
  done
  mkdir sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm dev/mqueue
for device in null:1:3:666 zero:1:5:666 full:1:7:666 random:1:8:666 urandom:1:9:666 tty:5:0:666 kmsg:1:11:644; do
  IFS=: read -r name major minor mode <<< "$device"
  mknod -m "$mode" "dev/$name" c "$major" "$minor"
done
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
ln -s pts/ptmx dev/ptmx
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t mqueue mqueue dev/mqueue

mkdir run/outer
pivot_root . run/outer
cd /
umount -l /run/outer
rmdir /run/outer
mount --make-rshared /
[ -x /etc/init ] || { echo 'Kernel panic - not syncing: no init found'; exit 1; }
exec env -i PATH=/opt/rig/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root SLOT="$SLOT" /etc/init
