import type { RolloutInput, RolloutMemo } from '../api/messages.ts';
import { driftRolloutId } from '../kube/names.ts';
import { isReason } from '../kube/errors.ts';
import { patchKairosNodeStatus, type KairosNodeView } from '../kube/kairos-nodes.ts';
import { pause } from '../kube/pause.ts';
import { driftKey, handMadeDrift } from '../policy/drift.ts';
import { timingFor } from '../policy/strategy.ts';
import type { WatcherContext } from './context.ts';
import { mustMayStart } from './may-start.ts';
import { specOf } from './spec.ts';

/** How long a hand-edited drift settles: a person who edits ten nodes gets one rollout, not ten. */
const SETTLE_MS = 10_000;

/**
 * Starts the rollout for an image that people asked for by editing KairosNodes, one rollout per image. Looked at again
 * when a rollout of that image closes. One that was terminated, or failed, is not started again by itself: its nodes
 * are settled, as it would have done.
 */
export async function reconcileDrift(
  context: WatcherContext,
  image: string,
  again: () => void,
  signal: AbortSignal,
): Promise<void> {
  const { engine, cluster, log } = context;
  await pause(SETTLE_MS, signal);
  if (signal.aborted) return;
  const workflowID = driftRolloutId(cluster.id, image);
  if (nodesThatWant(context, image).length === 0) return;
  const described = await engine.describe(workflowID);
  if (described.state !== 'Open') {
    const settled =
      described.state === 'NotFound' || described.state === 'Completed'
        ? []
        : await settle(context, workflowID, image, described.state, described.memo);
    // By name: the watch may have delivered them anew meanwhile, still without their end.
    const isSettled = (node: KairosNodeView) =>
      settled.some((other) => other.name === node.name && driftKey(other) === driftKey(node));
    const wanted = nodesThatWant(context, image).filter((node) => !isSettled(node));
    if (wanted.length === 0) return;
    const names = wanted.map((node) => node.name);
    const keys = Object.fromEntries(wanted.map((node) => [node.name, driftKey(node)]));
    await mustMayStart(context);
    log.info({ image, nodes: names.length, workflow: workflowID }, 'starting rollout of hand-edited KairosNodes');
    await engine.start(workflowID, driftInput(context, image, names), `hand-edited: ${names.length} → ${image}`, keys);
  }
  context.closings.watch(workflowID, again);
}

const nodesThatWant = ({ kairosNodes }: Pick<WatcherContext, 'kairosNodes'>, image: string): KairosNodeView[] =>
  [...kairosNodes.values()].filter((node) => handMadeDrift(node) === image);

/** Records the end of an attempt that its rollout could not record any more, for the nodes that it was for. */
async function settle(
  context: WatcherContext,
  workflowID: string,
  image: string,
  state: string,
  memo: RolloutMemo | undefined,
): Promise<KairosNodeView[]> {
  const { client, namespace, log } = context;
  const left = nodesThatWant(context, image).filter((node) => memo?.nodes?.[node.name] === driftKey(node));
  if (left.length > 0)
    log.warn({ workflow: workflowID, state, nodes: left.length }, 'settling hand-edited KairosNodes');
  for (const node of left) {
    const message = `${state}: its rollout did not end by itself; edit spec.image or set the annotation kairos.io/retry to ask again`;
    const lastAttempt = {
      rollout: workflowID,
      request: { kind: 'KairosNode' as const, namespace, name: 'hand-edited', uid: '', generation: 0, attempt: 0 },
      specGeneration: node.generation,
      image,
      verdict: 'Cancelled' as const,
      message,
      finishedAt: new Date().toISOString(),
      ...(node.retry === undefined ? {} : { retry: node.retry }),
    };
    try {
      await patchKairosNodeStatus(client, node.name, { lastAttempt, message });
    } catch (error) {
      if (!isReason(error, 'NotFound')) throw error;
    }
  }
  return left;
}

function driftInput(context: WatcherContext, image: string, nodeNames: string[]) {
  const { cluster, engine, namespace, nodes } = context;
  const input: RolloutInput = {
    cluster,
    request: { kind: 'KairosNode', namespace, name: 'hand-edited', uid: '', generation: 0, attempt: Date.now() },
    spec: { ...specOf(context, { image }), nodeNames },
    timing: timingFor(nodes.size, engine.searchAttributes),
  };
  return input;
}
