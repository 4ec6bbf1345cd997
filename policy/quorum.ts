import { markedBefore, type OutNode } from './budget.ts';
import { byName } from './order.ts';

/** The label that k3s and RKE2 give to the nodes of their embedded etcd; it stays on nodes that are down. */
const ETCD_ROLE = 'node-role.kubernetes.io/etcd';

/** A control-plane node as far as it decides about the quorum. */
export interface ControlPlaneNode {
  name: string;
  ready: boolean;
  labels: Readonly<Record<string, string>>;
  kubeletVersion: string;
  /** What the condition EtcdIsVoter says, where it is there. It stays true on a node that is down. */
  etcdVoter?: boolean;
}

/** One of kubeadm's static etcd pods. */
export interface EtcdPod {
  nodeName: string;
  ready: boolean;
}

/** A member of etcd. `trouble`: why it does not count as healthy, in words that follow its name. */
export interface EtcdMember {
  name: string;
  trouble?: string;
}

/**
 * Where the cluster keeps its state, by what the API shows. `seenBy`: `Role`, the etcd role of k3s and RKE2; `Pods`,
 * kubeadm's etcd pods; `Assumed`, nothing says it, and every control-plane node is taken for a member: to guard a quorum
 * that is elsewhere costs nothing, to lose one that is here costs the cluster.
 */
export type Datastore =
  | { kind: 'Etcd'; members: EtcdMember[]; seenBy: 'Role' | 'Pods' | 'Assumed' }
  /** A database outside (k3s or RKE2 with --datastore-endpoint), or SQLite on a single server. */
  | { kind: 'External' | 'SQLite' }
  /** No control-plane node is a node of the cluster: k0s controllers, hosted control planes. */
  | { kind: 'NotVisible' };

/**
 * The datastore by its nodes. Members are all nodes of the etcd role, those that are down included. Where kubeadm runs
 * etcd, every control-plane node has a member: one whose pod is not there just now, such as between two pictures of a
 * static pod, is a member that is down, or a cluster of three would pass for one of two.
 */
export function datastoreOf(controlPlane: readonly ControlPlaneNode[], etcdPods: readonly EtcdPod[]): Datastore {
  if (controlPlane.length === 0) return { kind: 'NotVisible' };
  const members = (nodes: readonly ControlPlaneNode[], pods?: readonly EtcdPod[]) =>
    nodes.map((node) => memberOf(node, pods)).sort(byName);
  const roles = controlPlane.filter(({ labels }) => ETCD_ROLE in labels);
  if (roles.length > 0) return { kind: 'Etcd', members: members(roles), seenBy: 'Role' };
  const pods = etcdPods.filter((pod) => controlPlane.some(({ name }) => name === pod.nodeName));
  if (pods.length > 0) return { kind: 'Etcd', members: members(controlPlane, pods), seenBy: 'Pods' };
  // They label the nodes of an embedded etcd; without one there is none.
  if (controlPlane.every(({ kubeletVersion }) => /[+-](k3s|rke2)/.test(kubeletVersion)))
    return { kind: controlPlane.length === 1 ? 'SQLite' : 'External' };
  return { kind: 'Etcd', members: members(controlPlane), seenBy: 'Assumed' };
}

function memberOf({ name, ready, etcdVoter }: ControlPlaneNode, pods: readonly EtcdPod[] | undefined): EtcdMember {
  const pod = pods?.find(({ nodeName }) => nodeName === name);
  if (!ready) return { name, trouble: 'is not Ready' };
  if (etcdVoter === false) return { name, trouble: 'does not vote (EtcdIsVoter)' };
  if (pods !== undefined && pod?.ready !== true)
    return { name, trouble: pod === undefined ? 'has no etcd pod' : 'has an etcd pod that is not Ready' };
  return { name };
}

/** How many members must be there for etcd to go on. */
export const majorityOf = (members: number): number => Math.floor(members / 2) + 1;

/**
 * Why a node may not be taken out because etcd would lose its majority, or undefined. With three members or more, those
 * that are healthy without it must be a majority; a member whose node is in hand counts as gone already. One member is
 * taken out with the cluster, two cannot keep a majority without one of them: both may go, which the plan says.
 * @param out nodes that are out, by the watch
 * @param order position of the node's own mark, once it has one: marks that came later give way to it
 */
export function quorumLost(
  datastore: Datastore,
  node: string,
  out: Iterable<OutNode>,
  order?: number,
): string | undefined {
  if (datastore.kind !== 'Etcd') return undefined;
  const { members } = datastore;
  if (members.length < 3 || members.every(({ name }) => name !== node)) return undefined;
  const leaving = new Set(
    [...out].filter((other) => isLeaving(other) && markedBefore(other, order)).map((other) => other.name),
  );
  const troubles = members.flatMap((member) => {
    if (member.name === node) return [];
    const trouble = member.trouble ?? (leaving.has(member.name) ? 'is in hand' : undefined);
    return trouble === undefined ? [] : [`${member.name} ${trouble}`];
  });
  const healthy = members.length - 1 - troubles.length;
  const needed = majorityOf(members.length);
  if (healthy >= needed) return undefined;
  const all = members.map(({ name }) => name).join(', ');
  return `etcd would lose its majority: of its ${members.length} members (${all}) ${healthy} would be left, and ${needed} are needed; ${troubles.join(', ')}`;
}

/** In the hand of a workflow. A node that is held serves, where it is Ready. */
const isLeaving = ({ marked, held }: OutNode) => marked && held !== true;

/** What a person should know of the control plane before its nodes are taken out one by one, or undefined. */
export function quorumWarning(datastore: Datastore): string | undefined {
  switch (datastore.kind) {
    case 'NotVisible':
      return 'control plane not visible: none of its nodes is a node of this cluster, so no quorum can be guarded';
    case 'External':
    case 'SQLite':
      return undefined;
    case 'Etcd': {
      const names = datastore.members.map(({ name }) => name).join(' and ');
      if (datastore.members.length === 2)
        return `etcd has two members, ${names}: while one of them reboots the API server cannot write; three would go on`;
      return datastore.members.length > 2 && datastore.seenBy === 'Assumed'
        ? `nothing shows where etcd runs: each of the ${datastore.members.length} control-plane nodes is taken for a member`
        : undefined;
    }
  }
}
