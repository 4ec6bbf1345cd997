import { ApplicationFailure } from '@temporalio/common';
import type { ClusterRef, NodeRef } from '../api/messages.ts';
import type { PrometheusServer } from '../api/schemas/prometheus-servers.ts';
import type { KubeClient } from '../kube/client.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { watchEtcdPods, watchHostedPods, type GuardedPod } from '../kube/guarded-pods.ts';
import { watchKairosNodes, type KairosNodeView } from '../kube/kairos-nodes.ts';
import { watchNodeLeases, type NodeLeaseView } from '../kube/node-leases.ts';
import { watchNodeOpUpgrades } from '../kube/node-op-upgrades.ts';
import { watchNodes, type NodeView } from '../kube/nodes.ts';
import { watchOperatorPods, type PodView } from '../kube/pods.ts';
import type { Reflector, ReflectorLog } from '../kube/reflector.ts';
import { NodePods } from './node-pods.ts';
import { OutageIndex } from './outage-index.ts';
import { firstOf } from './waiting.ts';

/** The worker's shared view of the cluster: one watch of each kind for all nodes in hand, projected to what steps need. */
export interface ClusterView {
  readonly client: KubeClient;
  readonly ref: ClusterRef;
  /** The namespaces in which pods of ours may run. */
  readonly namespaces: readonly string[];
  readonly nodes: Reflector<NodeView>;
  readonly kairosNodes: Reflector<KairosNodeView>;
  readonly pods: Reflector<PodView>;
  readonly outages: OutageIndex;
  /** kubeadm's etcd, by its static pods; nothing where etcd runs otherwise. */
  readonly etcdPods: Reflector<GuardedPod>;
  /** The pods without which a rollout stands still, such as the operator's own. */
  readonly hosted: readonly Reflector<GuardedPod>[];
  /** The NodeOpUpgrades of the namespaces that are served, by `namespace/name`: who wants which nodes. */
  readonly upgrades: Reflector<NodeOpUpgrade>;
  /** All pods of the nodes in hand. */
  readonly nodePods: NodePods;
  /** The Leases on Nodes that are shared with other tools; absent where that is turned off. */
  readonly leases?: NodeLeases;
  /** The Prometheus servers that health gates need credentials for; absent where there are none. */
  readonly prometheusServers?: readonly PrometheusServer[];
  stop(): void;
}

/** One watch for the Leases of all nodes. */
export interface NodeLeases {
  readonly namespace: string;
  readonly byName: Reflector<NodeLeaseView>;
}

/** What the worker was told that is no part of the cluster. */
interface Told {
  namespaces: readonly string[];
  nodeLeaseNamespace?: string;
  prometheusServers?: readonly PrometheusServer[];
}

/** Opens the watches and waits until each has been filled once. Rejects with the signal's reason when aborted before. */
export async function openClusterView(
  client: KubeClient,
  ref: ClusterRef,
  { namespaces, nodeLeaseNamespace, prometheusServers }: Told,
  signal?: AbortSignal,
  log?: ReflectorLog,
): Promise<ClusterView> {
  const nodes = watchNodes(client, log);
  const kairosNodes = watchKairosNodes(client, log);
  const pods = watchOperatorPods(client, 'everywhere', log);
  const etcdPods = watchEtcdPods(client, log);
  const hosted = watchHostedPods(client, log);
  const upgrades = watchNodeOpUpgrades(client, namespaces, log);
  const outages = new OutageIndex(nodes);
  const leases =
    nodeLeaseNamespace === undefined
      ? undefined
      : { namespace: nodeLeaseNamespace, byName: watchNodeLeases(client, nodeLeaseNamespace, log) };
  const reflectors = [
    nodes,
    kairosNodes,
    pods,
    etcdPods,
    ...hosted,
    upgrades,
    ...(leases === undefined ? [] : [leases.byName]),
  ];
  await Promise.all(reflectors.map((reflector) => reflector.synced(signal)));
  const nodePods = new NodePods(client);
  const stop = () => {
    for (const reflector of [...reflectors, nodePods]) reflector.stop();
  };
  return {
    client,
    ref,
    namespaces,
    nodes,
    kairosNodes,
    pods,
    outages,
    nodePods,
    etcdPods,
    hosted,
    upgrades,
    ...(leases && { leases }),
    ...(prometheusServers && { prometheusServers }),
    stop,
  };
}

/**
 * Refuses work of another cluster: two clusters of one name may share a Temporal.
 * @throws ApplicationFailure `WrongCluster`, not retried
 */
export function assertCluster(view: ClusterView, cluster: ClusterRef): void {
  if (cluster.uid === view.ref.uid) return;
  throw ApplicationFailure.nonRetryable(
    `this worker serves cluster ${view.ref.id} (${view.ref.uid}), the work is for ${cluster.id} (${cluster.uid}): give each cluster its own name`,
    'WrongCluster',
  );
}

/** The node, if it still is the one that was meant: a node deleted and made again under the same name is another one. */
export function sameNode(view: ClusterView, node: NodeRef): NodeView | undefined {
  const found = view.nodes.get(node.name);
  return found?.uid === node.uid ? found : undefined;
}

/**
 * Resolves with the first answer of `decide` that is not undefined: asked now, and after each change of a Node that may
 * be out, or of a KairosNode. Rejects with the signal's reason.
 */
export async function untilSeen<R>(view: ClusterView, decide: () => R | undefined, signal: AbortSignal): Promise<R> {
  return firstOf<R>(
    signal,
    (either) => view.outages.waitFor(decide, either),
    (either) => view.kairosNodes.waitFor(undefined, decide, either),
  );
}
