#!/bin/bash
# The cloud config of a machine: starts what makes it a node, and keeps it running as a service manager would.
set -u
. /oem/machine.env
mkdir -p /etc/containerd /etc/cni/net.d /root
cp /oem/containerd.toml /etc/containerd/config.toml
cp /oem/cni.conflist /etc/cni/net.d/10-rig.conflist
cp /oem/hosts /etc/hosts
echo "$NAME" > /etc/hostname
echo 'nameserver 10.96.0.10' > /etc/resolv.conf
[ -s /usr/local/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > /usr/local/machine-id
cp /usr/local/machine-id /etc/machine-id
[ -s /etc/passwd ] || echo 'root:x:0:0:root:/root:/bin/bash' > /etc/passwd
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 || true
while read -r route; do ip route replace $route; done < /oem/routes

# service NAME COMMAND …
service() {
  local name=$1
  shift
  while :; do
    "$@" >> "/var/log/$name.log" 2>&1
    local code=$?
    echo "$(date -u +%FT%TZ) $name ended with $code" >> /var/log/services.log
    sleep 1
  done
}

if [ "$ROLE" = control-plane ]; then
  while read -r name command; do service "$name" $command & done < /oem/control-plane
fi
service containerd containerd --config /etc/containerd/config.toml &
until ctr version > /dev/null 2>&1; do sleep 0.1; done
service kubelet kubelet --config=/oem/kubelet.yaml --kubeconfig=/oem/kubelet.kubeconfig "--hostname-override=$NAME" "--node-ip=$ADDRESS" --v=2 &
service kube-proxy kube-proxy --config=/oem/kube-proxy.yaml "--hostname-override=$NAME" &
echo "machine $NAME is up"
# The first process of the machine: it has to take leave of every orphan.
while :; do wait -n || sleep 1; done
