import type { NodeInHand } from '../api/messages.ts';
import type { PodView } from '../kube/pods.ts';
import { heldFor } from '../policy/recovery.ts';
import { notReadyBefore } from '../policy/soak.ts';
import type { ClusterView } from './cluster-view.ts';

/**
 * Which DaemonSets and pods of a node do not work before it is touched: the soak does not wait for them. On a node that
 * an earlier attempt left Unhealthy that is what was broken before that attempt: the rest is what the new image has to
 * mend.
 */
export function podsNotReady(view: ClusterView, hand: NodeInHand, pods: readonly PodView[]): string[] {
  const last = view.kairosNodes.get(hand.node.name)?.status.lastAttempt;
  if (heldFor(hand.takesOver) === 'Unhealthy' && last?.verdict === 'Unhealthy') return last.notReadyBefore ?? [];
  return notReadyBefore(pods);
}
