import { parseReleaseFile } from '../policy/release.ts';

/** kwok keeps alive the nodes that carry it with the value `on`: the one thing that power means to Kubernetes. */
export const POWER_LABEL = 'sim.kairos.io/power';
const SIMULATED_NODE_LABEL = 'sim.kairos.io/node';

export interface NodeIdentity {
  readonly name: string;
  readonly controlPlane: boolean;
  /** Counted from 0 over all nodes: decides the address. */
  readonly index: number;
  readonly zone: string;
}

const CAPACITY = { cpu: '8', memory: '16Gi', pods: '250', 'ephemeral-storage': '100Gi' };

/** The Node as its kubelet registers it: not Ready yet. */
export function nodeObject(node: NodeIdentity): object {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: node.name,
      labels: {
        'kubernetes.io/hostname': node.name,
        'kubernetes.io/arch': 'amd64',
        'kubernetes.io/os': 'linux',
        'topology.kubernetes.io/region': 'sim',
        'topology.kubernetes.io/zone': node.zone,
        [SIMULATED_NODE_LABEL]: 'true',
        // As k3s labels its servers.
        ...(node.controlPlane && {
          'node-role.kubernetes.io/control-plane': 'true',
          'node-role.kubernetes.io/etcd': 'true',
        }),
      },
    },
    status: {
      addresses: [
        { type: 'InternalIP', address: addressOf(node.index) },
        { type: 'Hostname', address: node.name },
      ],
      capacity: CAPACITY,
      allocatable: CAPACITY,
    },
  };
}

/** What kubelet writes into the status after a boot. `release`: the text of the system's release files. */
export function statusAfterBoot(node: NodeIdentity, boot: { bootID: string; release: string }): object {
  const release = parseReleaseFile(boot.release);
  const kubernetes = release['KAIROS_SOFTWARE_VERSION'] ?? 'v1.33.9+k3s1';
  return {
    conditions: conditionsOf(node, 'True'),
    nodeInfo: {
      architecture: 'amd64',
      bootID: boot.bootID,
      containerRuntimeVersion: 'containerd://2.1.5-k3s1',
      kernelVersion: '6.12.48',
      kubeProxyVersion: '',
      kubeletVersion: kubernetes,
      machineID: String(node.index).padStart(32, '0'),
      operatingSystem: 'linux',
      osImage: release['PRETTY_NAME'] ?? 'Linux',
      systemUUID: `00000000-0000-4000-8000-${String(node.index).padStart(12, '0')}`,
    },
  };
}

/** What the controller manager writes when a node's heartbeats have stopped. */
export function statusWithoutHeartbeat(node: NodeIdentity): object {
  return { conditions: conditionsOf(node, 'Unknown') };
}

/** Whole, because a merge patch replaces lists. */
function conditionsOf(node: NodeIdentity, ready: 'True' | 'Unknown'): object[] {
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const condition = (type: string, status: string, reason: string, message: string): object => ({
    type,
    status: ready === 'True' ? status : 'Unknown',
    reason: ready === 'True' ? reason : 'NodeStatusUnknown',
    message: ready === 'True' ? message : 'Kubelet stopped posting node status.',
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  });
  // Not kubelet's: it stays as it was on a dead node.
  const stays = (type: string, status: string, reason: string): object => ({
    type,
    status,
    reason,
    message: '',
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  });
  return [
    condition('Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'),
    condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
    condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
    condition('PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
    stays('NetworkUnavailable', 'False', 'RouteCreated'),
    ...(node.controlPlane ? [stays('EtcdIsVoter', 'True', 'MemberNotLearner')] : []),
  ];
}

function addressOf(index: number): string {
  return `10.${32 + Math.floor(index / 62_500)}.${Math.floor(index / 250) % 250}.${(index % 250) + 1}`;
}
