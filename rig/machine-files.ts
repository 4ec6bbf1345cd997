import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import type { Authority } from './credentials.ts';

export type Role = 'control-plane' | 'worker';

/** Addresses are 10.77.0.(10 + index), pods 10.88.index.0/24; index from 1. */
export interface MachineIdentity {
  readonly name: string;
  readonly role: Role;
  readonly index: number;
}

const START = fileURLToPath(new URL('machine/start.sh', import.meta.url));
export const SWITCH_ADDRESS = '10.77.0.1';
export const API_PORT = 6443;
const API_SERVICE = '10.96.0.1';
const KUBELET_PORT = 10250;
const ISSUER = 'https://kubernetes.default.svc.cluster.local';

export const addressOf = ({ index }: Pick<MachineIdentity, 'index'>) => `10.77.0.${10 + index}`;
const podsOf = ({ index }: MachineIdentity) => `10.88.${index}.0/24`;

export interface ClusterFiles {
  readonly authority: Authority;
  readonly machines: readonly MachineIdentity[];
  /** Audiences that the API server accepts beside its own. */
  readonly audiences: readonly string[];
}

/** The URL of the API server, for what runs in the cluster. */
function apiServerURL(machines: readonly MachineIdentity[]): string {
  const first = machines.find(({ role }) => role === 'control-plane');
  if (first === undefined) throw new Error('a cluster needs a machine with the role control-plane');
  return `https://${addressOf(first)}:${API_PORT}`;
}

/** Writes what an administrator would put on a machine's partition COS_OEM: its configuration, which outlives upgrades. */
export function writeMachineFiles(folder: string, machine: MachineIdentity, cluster: ClusterFiles): void {
  mkdirSync(folder, { recursive: true });
  const { name } = machine;
  const { authority, machines } = cluster;
  const address = addressOf(machine);
  const server = apiServerURL(machines);
  const kubeconfig = (user: string, subject: string) => authority.kubeconfig({ name: user, subject }, server);
  const files: Record<string, string> = {
    'machine.env': `NAME=${name}\nADDRESS=${address}\nROLE=${machine.role}\n`,
    hosts: ['127.0.0.1 localhost', ...machines.map((one) => `${addressOf(one)} ${one.name}`), ''].join('\n'),
    routes: machines
      .filter((one) => one.name !== name)
      .map((one) => `${podsOf(one)} via ${addressOf(one)}\n`)
      .join(''),
    'containerd.toml': CONTAINERD,
    'cni.conflist': cniConfig(podsOf(machine)),
    'kubelet.yaml': kubeletConfig(address),
    'kubelet.kubeconfig': kubeconfig(`kubelet-${name}`, `/O=system:nodes/CN=system:node:${name}`),
    'kube-proxy.yaml': KUBE_PROXY,
    'kube-proxy.kubeconfig': kubeconfig('kube-proxy', '/CN=system:kube-proxy'),
  };
  if (machine.role === 'control-plane') {
    const manager = 'kube-controller-manager';
    files[`${manager}.kubeconfig`] = kubeconfig(manager, `/CN=system:${manager}`);
    files['kube-scheduler.kubeconfig'] = kubeconfig('kube-scheduler', '/CN=system:kube-scheduler');
    files['control-plane'] = controlPlaneCommands(address, cluster.audiences);
  }
  for (const [file, text] of Object.entries(files)) writeFileSync(path.join(folder, file), text, { mode: 0o600 });
  copyCertificates(folder, machine, authority);
}

function copyCertificates(folder: string, machine: MachineIdentity, authority: Authority): void {
  copyInto(folder, { 'ca.crt': authority.caFile, 'start.sh': START });
  if (machine.role !== 'control-plane') return;
  const names = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'localhost', machine.name];
  const addresses = ['127.0.0.1', API_SERVICE, addressOf(machine)];
  const serves = [...names.map((name) => `DNS:${name}`), ...addresses.map((address) => `IP:${address}`)].join(',');
  const server = authority.issue({ name: 'kube-apiserver', subject: '/CN=kube-apiserver', serves });
  const client = authority.issue({ name: 'kubelet-client', subject: '/O=system:masters/CN=kube-apiserver-kubelet' });
  copyInto(folder, {
    'ca.key': path.join(path.dirname(authority.caFile), 'ca.key'),
    'kube-apiserver.crt': server.certificateFile,
    'kube-apiserver.key': server.keyFile,
    'kubelet-client.crt': client.certificateFile,
    'kubelet-client.key': client.keyFile,
    'service-accounts.key': authority.serviceAccountKeyFile,
    'service-accounts.pub': authority.serviceAccountPublicFile,
  });
}

function copyInto(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, source] of Object.entries(files)) copyFileSync(source, path.join(folder, name));
}

/** One line for each program: its name, then its command. */
function controlPlaneCommands(address: string, audiences: readonly string[]): string {
  const etcd = 'http://127.0.0.1:2379';
  const peer = 'http://127.0.0.1:2380';
  const client = (name: string, port: number) =>
    `--kubeconfig=/oem/${name}.kubeconfig --authentication-kubeconfig=/oem/${name}.kubeconfig --authorization-kubeconfig=/oem/${name}.kubeconfig --leader-elect=false --bind-address=127.0.0.1 --secure-port=${port} --profiling=false`;
  const commands = [
    // What a killed process wrote is safe in the page cache of the outer machine, whose power stays on.
    `etcd etcd --name=rig --data-dir=/var/lib/etcd --unsafe-no-fsync --log-level=warn --listen-client-urls=${etcd} --advertise-client-urls=${etcd} --listen-peer-urls=${peer} --initial-advertise-peer-urls=${peer} --initial-cluster=rig=${peer}`,
    [
      `kube-apiserver kube-apiserver --etcd-servers=${etcd} --bind-address=0.0.0.0 --advertise-address=${address} --secure-port=${API_PORT}`,
      '--tls-cert-file=/oem/kube-apiserver.crt --tls-private-key-file=/oem/kube-apiserver.key --client-ca-file=/oem/ca.crt',
      '--kubelet-client-certificate=/oem/kubelet-client.crt --kubelet-client-key=/oem/kubelet-client.key',
      '--kubelet-preferred-address-types=InternalIP',
      `--service-account-issuer=${ISSUER} --api-audiences=${[ISSUER, ...audiences].join(',')}`,
      '--service-account-key-file=/oem/service-accounts.pub --service-account-signing-key-file=/oem/service-accounts.key',
      '--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true',
      '--service-cluster-ip-range=10.96.0.0/16 --profiling=false',
    ].join(' '),
    `kube-controller-manager kube-controller-manager ${client('kube-controller-manager', 10257)} --service-account-private-key-file=/oem/service-accounts.key --root-ca-file=/oem/ca.crt --cluster-signing-cert-file=/oem/ca.crt --cluster-signing-key-file=/oem/ca.key --use-service-account-credentials=true --node-monitor-period=1s --node-monitor-grace-period=${NODE_GRACE}`,
    `kube-scheduler kube-scheduler ${client('kube-scheduler', 10259)}`,
  ];
  return `${commands.join('\n')}\n`;
}

/** Two renewals of the lease below may be missed: several busy machines share two processors. */
const NODE_GRACE = '24s';
const LEASE_SECONDS = 10;

function kubeletConfig(address: string): string {
  const none = '0%';
  return stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    failCgroupV1: false,
    cgroupDriver: 'cgroupfs',
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    address,
    port: KUBELET_PORT,
    readOnlyPort: 0,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: '/oem/ca.crt' },
    },
    authorization: { mode: 'Webhook' },
    clusterDomain: 'cluster.local',
    clusterDNS: ['10.96.0.10'],
    resolvConf: '/etc/resolv.conf',
    failSwapOn: false,
    // The disk and the memory are those of the outer machine, whose other users are none of this node's business.
    evictionHard: {
      'memory.available': none,
      'nodefs.available': none,
      'nodefs.inodesFree': none,
      'imagefs.available': none,
    },
    imageGCHighThresholdPercent: 100,
    nodeStatusUpdateFrequency: '4s',
    nodeLeaseDurationSeconds: LEASE_SECONDS,
  });
}

const KUBE_PROXY = stringify({
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
  mode: 'nftables',
  clusterCIDR: '10.88.0.0/16',
  clientConnection: { kubeconfig: '/oem/kube-proxy.kubeconfig' },
  // Of the outer machine's kernel: left as they are.
  conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
});

function cniConfig(subnet: string): string {
  const ipam = { type: 'host-local', ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }] };
  return JSON.stringify({
    cniVersion: '1.0.0',
    name: 'rig',
    plugins: [
      { type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: false, hairpinMode: true, ipam },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });
}

// restrict_oom_score_adj: root in a virtual machine or container may lack CAP_SYS_RESOURCE, and runc could start nothing.
export const CONTAINERD = `version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:test"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`;
