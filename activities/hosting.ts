import type { NodeRef, RolloutContext } from '../api/messages.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';

/** Pods that an answer names. */
const NAMED = 3;

/** `pods`: the first of those without which a rollout stands still and that are on the node now, as namespace/name. */
export interface Hosting {
  pods: string[];
}

/**
 * Whether a node carries the operator or what it runs on, by the watch, now: such pods move while a rollout goes on, as
 * their nodes are drained. Asked when a node is about to be started.
 */
export function readHosting(view: ClusterView, { cluster, node }: RolloutContext & { node: NodeRef }): Hosting {
  assertCluster(view, cluster);
  return { pods: hostedOn(view, node.name).slice(0, NAMED) };
}

/** All such pods on a node. */
export const hostedOn = (view: ClusterView, node: string): string[] =>
  view.hosted
    .flatMap((pods) => [...pods.values()])
    .filter((pod) => pod.stays && pod.nodeName === node)
    .map(({ namespace, name }) => `${namespace}/${name}`)
    .sort();
