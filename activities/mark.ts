import { Context } from '@temporalio/activity';
import type { NodeInHand } from '../api/messages.ts';
import { KubeError, isReason } from '../kube/errors.ts';
import { applyKairosNodeSpec } from '../kube/kairos-nodes.ts';
import { readNode, writeNode } from '../kube/nodes.ts';
import { whoIsInTheWay } from '../policy/budget.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { budgetText, nodeClosed } from './gates.ts';
import { showStep } from './step-status.ts';
import { waitInActivity } from './waiting.ts';

export type MarkAnswer = { outcome: 'Marked' } | { outcome: 'Full'; reason: string };

/**
 * Writes our owner mark, waits until the shared watch has delivered it, and counts the marks before it. Mark first,
 * count after: whoever is earlier in the watch goes on, whatever the number of rollouts and workers, without a lock.
 * Over budget, the mark is taken back. Repeating finds the own mark and only counts again.
 */
export async function markNode(view: ClusterView, hand: NodeInHand): Promise<MarkAnswer> {
  assertCluster(view, hand.cluster);
  const refused = await writeMark(view, hand);
  if (refused !== undefined) return { outcome: 'Full', reason: refused };
  const order = await waitInActivity(undefined, (signal) =>
    view.nodes.waitFor(hand.node.name, (node) => (node === undefined ? -1 : ownOrder(node, hand)), signal),
  );
  if (order < 0) return { outcome: 'Full', reason: `node ${hand.node.name} is gone` };
  const rivals = whoIsInTheWay(hand.place, hand.node.name, view.outages.values(), order);
  if (rivals === undefined) return { outcome: 'Marked' };
  await takeMarkBack(view, hand);
  return { outcome: 'Full', reason: budgetText(rivals) };
}

const ownOrder = (node: { uid: string; owner?: string; ownerOrder?: number }, hand: NodeInHand) =>
  node.uid === hand.node.uid && node.owner === hand.workflowID ? (node.ownerOrder ?? 0) : undefined;

/** Decided on a fresh read and written only to that version: a node cordoned by somebody meanwhile is not claimed. */
async function writeMark(view: ClusterView, hand: NodeInHand): Promise<string | undefined> {
  for (;;) {
    const node = await readNode(view.client, hand.node.name);
    if (node.uid !== hand.node.uid) return `node ${node.name} was replaced by another one`;
    if (node.owner === hand.workflowID) {
      // The first run of this step has not written yet: the mark is one that a lost workflow left behind.
      return Context.current().info.attempt > 1 ? undefined : `node ${node.name} carries the mark of an earlier run`;
    }
    const closed = nodeClosed(node, hand.takesOver !== undefined && node.owner === hand.takesOver);
    if (closed !== undefined) return closed;
    try {
      await writeNode(view.client, node.name, { owner: hand.workflowID, resourceVersion: node.resourceVersion });
      return undefined;
    } catch (error) {
      if (!isReason(error, 'Conflict')) throw error;
    }
  }
}

async function takeMarkBack(view: ClusterView, hand: NodeInHand): Promise<void> {
  const node = sameNode(view, hand.node);
  if (node?.owner === hand.workflowID) await writeNode(view.client, node.name, { owner: hand.takesOver ?? null });
}

/**
 * Stamps what the node should run, then cordons it. The stamp comes first: a field that somebody else holds means the
 * node is refused before it is disrupted. Both writes may be repeated.
 * @throws KubeError `Conflict` as `Invalid` (not retried) when somebody else holds the KairosNode's spec
 */
export async function cordonNode(view: ClusterView, hand: NodeInHand): Promise<void> {
  assertCluster(view, hand.cluster);
  await showStep(view, hand, 'Cordon', `cordoning, to upgrade to ${hand.target.version}`);
  await stampSpec(view, hand);
  await writeNode(view.client, hand.node.name, { unschedulable: true });
}

async function stampSpec(view: ClusterView, hand: NodeInHand): Promise<void> {
  if (hand.request.kind === 'KairosNode') return;
  const source = { rollout: hand.rolloutID, uid: hand.request.uid, generation: hand.request.generation };
  try {
    await applyKairosNodeSpec(view.client, hand.node.name, {
      version: hand.target.version,
      image: hand.target.image,
      source,
    });
  } catch (error) {
    if (!(error instanceof KubeError) || error.reason !== 'Conflict' || error.causes.length === 0) throw error;
    const held = error.causes.map((cause) => cause.message).join('; ');
    throw new KubeError(
      `KairosNode ${hand.node.name}: its spec is held by somebody else (${held}): remove those fields, or let them name the same image`,
      { verb: error.verb, path: error.path, reason: 'Invalid', retryable: false },
    );
  }
}
