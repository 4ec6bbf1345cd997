import type { NodeInHand, NodeRef } from '../api/messages.ts';
import type { PodView } from '../kube/pods.ts';
import { drainOf, drainRefusal } from '../policy/drain.ts';
import type { ClusterView } from './cluster-view.ts';

/** Whether a pod of this node could go anywhere: where not, evicted pods would only wait for the node. */
export function canMoveElsewhere(view: ClusterView, { name }: NodeRef): boolean {
  return [...view.nodes.values()].some((node) => node.name !== name && node.ready && !node.unschedulable);
}

/**
 * What a drain of this node would refuse of its pods, before anything is done to it. Undefined where it would refuse
 * nothing, or nothing will be evicted. The drain decides again, of the pods that are there then.
 */
export function refusedByDrain(view: ClusterView, hand: NodeInHand, pods: readonly PodView[]): string | undefined {
  if (!canMoveElsewhere(view, hand.node)) return undefined;
  const refused = drainRefusal(pods, drainOf(hand.spec), Date.now());
  return refused && `node ${hand.node.name} was not touched, its drain would refuse ${refused}`;
}
