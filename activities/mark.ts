import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Marking, NodeInHand } from '../api/messages.ts';
import { KubeError, isReason } from '../kube/errors.ts';
import { applyKairosNodeSpec } from '../kube/kairos-nodes.ts';
import { readNode, writeNode, type NodeView } from '../kube/nodes.ts';
import { listPodsOnNode } from '../kube/pods.ts';
import { isOlder } from '../kube/raw-object.ts';
import { whoIsInTheWay } from '../policy/budget.ts';
import { closedBudget, closedReport, type ClosedGate } from '../policy/gates.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { closedByQuorum } from './control-plane.ts';
import { refusedByDrain } from './drain-refusal.ts';
import { nodeClosed } from './gates.ts';
import { closedHealth, refreshHealth } from './health-gate.ts';
import { giveLeaseBack, takeNodeLease } from './node-lease.ts';
import { failWhereGone } from './node-there.ts';
import { podsNotReady } from './pods-before.ts';
import { showStep } from './step-status.ts';
import { waitInActivity } from './waiting.ts';
import { closedWindow } from './window-gate.ts';

export type MarkAnswer =
  /** `notReadyBefore`: which of its pods did not work before, where they were looked at. */
  | { outcome: 'Marked'; notReadyBefore?: string[] }
  | { outcome: 'Full'; reason: string }
  /** The node cannot be drained as it is, and was not touched: it is not tried again in this attempt. */
  | { outcome: 'Refused'; message: string };

/**
 * Writes our owner mark, waits until the shared watch has delivered that write, and counts the marks before it. Mark
 * first, count after: whoever is earlier in the watch goes on, whatever the number of rollouts and workers, without a
 * lock. Over budget, the mark is taken back. Repeating finds the own mark and only counts again.
 *
 * A node whose drain would be refused is not marked: its pods are looked at right before, once. What of them does not
 * work then is told to the steps that follow.
 * @throws ApplicationFailure `NodeGone` (not retried)
 */
export async function markNode(view: ClusterView, hand: Marking): Promise<MarkAnswer> {
  assertCluster(view, hand.cluster);
  let isMarked = false;
  try {
    const answer = await markOrRefuse(view, hand);
    isMarked = answer.outcome === 'Marked';
    return answer;
  } finally {
    if (!isMarked) view.nodePods.forget(hand.node.name);
  }
}

async function markOrRefuse(view: ClusterView, hand: Marking): Promise<MarkAnswer> {
  const mark = await failWhereGone(view, hand.node, () => writeMark(view, hand));
  if ('refused' in mark) return { outcome: 'Full', reason: mark.refused };
  if ('cannotDrain' in mark) return { outcome: 'Refused', message: mark.cannotDrain };
  const order = await waitInActivity(undefined, (signal) =>
    view.nodes.waitFor(hand.node.name, (node) => orderOf(node, hand, mark.version), signal),
  );
  if (order < 0) return { outcome: 'Full', reason: `node ${hand.node.name} is gone` };
  const controlPlane = view.nodes.get(hand.node.name)?.controlPlane === true;
  const rivals = whoIsInTheWay(hand.place, { ...hand.node, controlPlane }, view.outages.values(), order);
  // Only who has the place takes the Lease that other tools look at; and without it the place is given up.
  const closed =
    rivals === undefined
      ? (closedByQuorum(view, hand.node.name, view.outages.values(), order) ?? (await takeNodeLease(view, hand.node)))
      : closedBudget(rivals);
  if (closed === undefined) {
    const { notReadyBefore } = mark;
    return { outcome: 'Marked', ...(notReadyBefore && { notReadyBefore }) };
  }
  await takeMarkBack(view, hand);
  // An attempt whose answer was lost may have had the place, and taken it.
  await giveLeaseBack(view, hand.node);
  return { outcome: 'Full', reason: closed.reason };
}

/** The order of our mark. A watch that lags may still show an earlier mark of this workflow, which was taken back. */
function orderOf(node: NodeView | undefined, hand: NodeInHand, version: string): number | undefined {
  if (node === undefined || node.uid !== hand.node.uid) return -1;
  if (isOlder(node.resourceVersion, version)) return undefined;
  return node.owner === hand.workflowID ? (node.ownerOrder ?? 0) : undefined;
}

/**
 * Written only to the version that it was decided on: a node cordoned by somebody meanwhile is not claimed. What the
 * watch shows is enough to go on, as the write fails where that is not the present version; what speaks against the
 * mark is read afresh first. Answers the version that carries the mark.
 */
async function writeMark(
  view: ClusterView,
  hand: Marking,
): Promise<{ refused: string } | { cannotDrain: string } | { version: string; notReadyBefore?: string[] }> {
  const seen = sameNode(view, hand.node);
  let known = seen !== undefined && mayBeMarked(view, hand, seen) ? seen : undefined;
  for (;;) {
    const node = known ?? (await readNode(view.client, hand.node.name));
    known = undefined;
    if (node.uid !== hand.node.uid) return { refused: `node ${node.name} was replaced by another one` };
    if (node.owner === hand.workflowID) {
      // The first run of this step has not written yet: the mark is one that a lost workflow left behind.
      return Context.current().info.attempt > 1
        ? { version: node.resourceVersion }
        : { refused: `node ${node.name} carries the mark of an earlier run` };
    }
    await refreshHealth(view, hand);
    const closed = closedWindow(view, hand) ?? closedForMark(view, hand, node) ?? closedHealth(view, hand);
    if (closed !== undefined) return { refused: closed.reason };
    const pods = hand.drains === true ? await view.nodePods.list(node.name) : undefined;
    const cannotDrain = pods && refusedByDrain(view, hand, pods);
    if (cannotDrain !== undefined) return { cannotDrain };
    try {
      const { resourceVersion } = node;
      const marked = await writeNode(view.client, node.name, { owner: hand.workflowID, resourceVersion });
      return { version: marked.resourceVersion, ...(pods && { notReadyBefore: podsNotReady(view, hand, pods) }) };
    } catch (error) {
      if (!isReason(error, 'Conflict')) throw error;
    }
  }
}

const mayBeMarked = (view: ClusterView, hand: NodeInHand, node: NodeView) =>
  node.owner !== hand.workflowID && closedForMark(view, hand, node) === undefined;

function closedForMark(view: ClusterView, hand: NodeInHand, node: NodeView): ClosedGate | undefined {
  const takesOver = hand.takesOver !== undefined && node.owner === hand.takesOver;
  return nodeClosed(node, takesOver) ?? (takesOver ? undefined : staleNow(view, hand, node));
}

/**
 * Whether what was known of the node when it was let through the gates is of an earlier boot by now. Not asked of a node
 * that is held: it may be taken up again just because it does not report.
 */
function staleNow(view: ClusterView, hand: NodeInHand, node: NodeView): ClosedGate | undefined {
  if (node.bootID !== hand.bootID) return { gate: 'Report', reason: `node ${node.name} has just rebooted by itself` };
  return closedReport(node, view.kairosNodes.get(node.name)?.status);
}

async function takeMarkBack(view: ClusterView, hand: NodeInHand): Promise<void> {
  for (;;) {
    try {
      const { uid, owner, resourceVersion } = await readNode(view.client, hand.node.name);
      if (uid !== hand.node.uid || owner !== hand.workflowID) return;
      await writeNode(view.client, hand.node.name, { owner: hand.takesOver ?? null, resourceVersion });
      return;
    } catch (error) {
      if (isReason(error, 'NotFound')) return;
      if (!isReason(error, 'Conflict')) throw error;
    }
  }
}

/** `version`: of the Node, with our cordon; absent in older histories. */
export interface CordonAnswer {
  notReadyBefore: string[];
  version?: string;
}

/**
 * Stamps what the node should run, then cordons it. The stamp comes first: a field that somebody else holds means the
 * node is refused before it is disrupted. Both writes may be repeated. Answers which of its pods did not work before.
 * @throws KubeError `Conflict` as `Invalid` (not retried) when somebody else holds the KairosNode's spec
 * @throws ApplicationFailure `MarkLost` (not retried) when the node does not carry our mark any more, `NodeGone` (not
 *   retried) when it is not there any more
 */
export async function cordonNode(view: ClusterView, hand: NodeInHand): Promise<CordonAnswer> {
  assertCluster(view, hand.cluster);
  await showStep(view, hand, 'Cordon', `cordoning, to upgrade to ${hand.target.version}`);
  return failWhereGone(view, hand.node, async () => {
    await stampSpec(view, hand);
    const notReadyBefore =
      hand.notReadyBefore ?? podsNotReady(view, hand, await listPodsOnNode(view.client, hand.node.name));
    return { notReadyBefore, version: await cordon(view, hand) };
  });
}

/**
 * Cordons only the version that carries our mark, and answers the one that is cordoned: of a workflow that was terminated an attempt may still be running,
 * and must not cordon a node that has been given back meanwhile.
 */
async function cordon(view: ClusterView, hand: NodeInHand): Promise<string> {
  const isOurs = (node: NodeView | undefined) => node?.uid === hand.node.uid && node.owner === hand.workflowID;
  const seen = sameNode(view, hand.node);
  let node = seen !== undefined && isOurs(seen) ? seen : await readNode(view.client, hand.node.name);
  for (;;) {
    if (!isOurs(node))
      throw ApplicationFailure.nonRetryable(
        `node ${hand.node.name} does not carry the mark ${hand.workflowID} any more: somebody freed it, so it is left alone`,
        'MarkLost',
      );
    try {
      const { resourceVersion } = node;
      return (await writeNode(view.client, node.name, { unschedulable: true, resourceVersion })).resourceVersion;
    } catch (error) {
      if (!isReason(error, 'Conflict')) throw error;
      node = await readNode(view.client, hand.node.name);
    }
  }
}

async function stampSpec(view: ClusterView, hand: NodeInHand): Promise<void> {
  if (hand.request.kind === 'KairosNode') return;
  const source = { rollout: hand.rolloutID, uid: hand.request.uid, generation: hand.request.generation };
  try {
    const { version, image } = hand.target;
    const seenUID = view.kairosNodes.get(hand.node.name)?.uid;
    await applyKairosNodeSpec(view.client, hand.node.name, { version, image, source }, seenUID);
  } catch (error) {
    if (!(error instanceof KubeError) || error.reason !== 'Conflict' || error.causes.length === 0) throw error;
    const held = error.causes.map((cause) => cause.message).join('; ');
    throw new KubeError(
      `KairosNode ${hand.node.name}: its spec is held by somebody else (${held}): remove those fields, or let them name the same image`,
      { verb: error.verb, path: error.path, reason: 'Invalid', retryable: false },
    );
  }
}
