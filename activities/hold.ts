import type { NodeInHand } from '../api/messages.ts';
import { isReason } from '../kube/errors.ts';
import { type NodeView, readNode } from '../kube/nodes.ts';
import { isOlder } from '../kube/raw-object.ts';
import { holdLost } from '../policy/hold.ts';
import type { ClusterView } from './cluster-view.ts';

/** Why a node is not ours any more as we cordoned it. */
export type HoldEnd =
  /** It rebooted by itself, is gone, or another one has its name. */
  | { outcome: 'BootChanged' }
  /** A person took it back: by our mark, or by its cordon. */
  | { outcome: 'Taken'; message: string };

/**
 * Whether a node that we cordoned still is ours, by a fresh read: the watch may lag behind our own cordon as well as
 * behind a person's uncordon. Undefined: it is.
 * @param doing what we are about, for the message: `it was drained`
 */
async function lookAtHold(
  view: ClusterView,
  hand: NodeInHand,
  doing: string,
): Promise<HoldEnd | { outcome: 'Held'; resourceVersion: string }> {
  try {
    const node = await readNode(view.client, hand.node.name);
    return endOf(node, hand, doing) ?? { outcome: 'Held', resourceVersion: node.resourceVersion };
  } catch (error) {
    if (isReason(error, 'NotFound')) return { outcome: 'BootChanged' };
    throw error;
  }
}

/**
 * Resolves when a node that we cordoned is not ours any more: looked at once, then woken by the shared watch, of which
 * nothing older counts than that look. Rejects with the signal's reason.
 */
export async function untilHoldEnds(
  view: ClusterView,
  hand: NodeInHand,
  doing: string,
  signal: AbortSignal,
): Promise<HoldEnd> {
  const look = await lookAtHold(view, hand, doing);
  if (look.outcome !== 'Held') return look;
  return view.nodes.waitFor<HoldEnd>(
    hand.node.name,
    (node) =>
      node !== undefined && isOlder(node.resourceVersion, look.resourceVersion) ? undefined : endOf(node, hand, doing),
    signal,
  );
}

function endOf(node: NodeView | undefined, hand: NodeInHand, doing: string): HoldEnd | undefined {
  if (node?.uid !== hand.node.uid || node.bootID !== hand.bootID) return { outcome: 'BootChanged' };
  const message = holdLost(node, hand.workflowID, doing);
  return message === undefined ? undefined : { outcome: 'Taken', message };
}
