import { nodeWorkflowID, type NodeRef, type RolloutContext, type WaveResult } from '../api/messages.ts';
import { isFailure } from '../policy/placement.ts';
import { sameAttempt, sameTry } from '../policy/recovery.ts';
import { type ClusterView, assertCluster, sameNode, untilSeen } from './cluster-view.ts';
import { waitInActivity } from './waiting.ts';

/** Of so many nodes an answer says why they failed. */
const LISTED = 100;
/** Characters of that. */
const LONGEST_MESSAGE = 1_000;

/**
 * Waits until none of a wave's nodes is in a workflow's hand any more, and reads how they ended: for a wave that cannot
 * say so itself. Its nodes are being cancelled, or are recovered by the watcher, so this ends; it has no deadline of its
 * own, since nothing may be started before.
 */
export async function settleWave(
  view: ClusterView,
  { context, nodes }: { context: RolloutContext; nodes: NodeRef[] },
): Promise<Omit<WaveResult, 'targets' | 'stopped'>> {
  assertCluster(view, context.cluster);
  const inHand = (node: NodeRef) =>
    sameNode(view, node) !== undefined &&
    (sameNode(view, node)?.owner === nodeWorkflowID(context.cluster, node) ||
      sameAttempt(view.kairosNodes.get(node.name)?.status.inHand?.request, context.request));
  await waitInActivity(undefined, (signal) => untilSeen(view, () => (nodes.some(inHand) ? undefined : true), signal));
  const verdicts: Record<string, number> = {};
  const failed: WaveResult['failed'] = [];
  const left: string[] = [];
  for (const { name } of nodes) {
    const last = view.kairosNodes.get(name)?.status.lastAttempt;
    if (last === undefined || !sameTry(last.request, context.request)) {
      left.push(name);
      continue;
    }
    verdicts[last.verdict] = (verdicts[last.verdict] ?? 0) + 1;
    // Of thousands only the first say why: it is one message.
    const message = failed.length < LISTED ? (last.message ?? '').slice(0, LONGEST_MESSAGE) : '';
    if (isFailure(last.verdict)) failed.push({ name, verdict: last.verdict, message });
  }
  const ended = Object.values(verdicts).reduce((sum, count) => sum + count, 0);
  const untouched = nodes.length - ended;
  return { verdicts, failed, untouched, ...(context.request.try === undefined ? {} : { left }) };
}
