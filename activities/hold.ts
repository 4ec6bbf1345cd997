import type { NodeInHand } from '../api/messages.ts';
import { type NodeView, readNode } from '../kube/nodes.ts';
import { isOlder } from '../kube/raw-object.ts';
import { takenFromUs } from '../policy/ownership.ts';
import type { ClusterView } from './cluster-view.ts';
import { orNone } from './contact.ts';

/** Why a node is not ours any more as we cordoned it. */
export type HoldEnd =
  /** It rebooted by itself, is gone, or another one has its name. */
  | { outcome: 'BootChanged' }
  /** A person took it back: by our mark, or by its cordon. */
  | { outcome: 'Taken'; message: string };

/**
 * Resolves when a node that we cordoned, and whose image was not touched yet, is not ours any more, as the shared watch
 * tells. It may lag behind our own cordon: nothing older counts than the version that carries it. Where that is not
 * known (the Node was cordoned by an earlier version of this operator) it is read once. Rejects with the signal's reason.
 */
export async function untilHoldEnds(view: ClusterView, hand: NodeInHand, signal: AbortSignal): Promise<HoldEnd> {
  const untilSeenToEnd = (version: string) =>
    view.nodes.waitFor<HoldEnd>(
      hand.node.name,
      (node) => (node !== undefined && isOlder(node.resourceVersion, version) ? undefined : endOf(node)),
      signal,
    );
  const endOf = (node: NodeView | undefined): HoldEnd | undefined => {
    if (node?.uid !== hand.node.uid || node.bootID !== hand.bootID) return { outcome: 'BootChanged' };
    const taken = takenFromUs(node, hand.workflowID, true);
    return taken === undefined ? undefined : { outcome: 'Taken', message: `${taken}; its image was not touched` };
  };
  if (hand.cordonedVersion !== undefined) return untilSeenToEnd(hand.cordonedVersion);
  const live = await orNone(readNode(view.client, hand.node.name));
  return endOf(live) ?? untilSeenToEnd(live?.resourceVersion ?? '');
}
