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
 * Resolves when a node that we cordoned, and whose image was not touched yet, is not ours any more. It is read once,
 * since the watch may lag behind our own cordon as well as behind a person's uncordon; then the shared watch wakes it,
 * of which nothing older counts than that read. Rejects with the signal's reason.
 */
export async function untilHoldEnds(view: ClusterView, hand: NodeInHand, signal: AbortSignal): Promise<HoldEnd> {
  const live = await orNone(readNode(view.client, hand.node.name));
  const endOf = (node: NodeView | undefined): HoldEnd | undefined => {
    if (node?.uid !== hand.node.uid || node.bootID !== hand.bootID) return { outcome: 'BootChanged' };
    const taken = takenFromUs(node, hand.workflowID, true);
    return taken === undefined ? undefined : { outcome: 'Taken', message: `${taken}; its image was not touched` };
  };
  const isOld = (node: NodeView | undefined) =>
    node !== undefined && live !== undefined && isOlder(node.resourceVersion, live.resourceVersion);
  return (
    endOf(live) ??
    view.nodes.waitFor<HoldEnd>(hand.node.name, (node) => (isOld(node) ? undefined : endOf(node)), signal)
  );
}
