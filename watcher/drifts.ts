import type { RolloutInput } from '../api/messages.ts';
import { driftRolloutId } from '../kube/names.ts';
import { pause } from '../kube/pause.ts';
import { handMadeDrift } from '../policy/drift.ts';
import { resolveSpec, timingFor } from '../policy/strategy.ts';
import type { WatcherContext } from './context.ts';

/** How long a hand-edited drift settles: a person who edits ten nodes gets one rollout, not ten. */
const SETTLE_MS = 10_000;

/**
 * Starts the rollout for an image that people asked for by editing KairosNodes, one rollout per image. Looked at again
 * when a rollout of that image closes.
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
  const names = nodesThatWant(context, image);
  if (names.length === 0) return;
  const workflowID = driftRolloutId(cluster.id, image);
  const described = await engine.describe(workflowID);
  if (described.state !== 'Open') {
    log.info({ image, nodes: names.length, workflow: workflowID }, 'starting rollout of hand-edited KairosNodes');
    await engine.start(workflowID, driftInput(context, image, names), `hand-edited: ${names.length} nodes → ${image}`);
  }
  engine.closed(workflowID).then(again, again);
}

function nodesThatWant({ kairosNodes }: Pick<WatcherContext, 'kairosNodes'>, image: string): string[] {
  return [...kairosNodes.values()].filter((node) => handMadeDrift(node) === image).map((node) => node.name);
}

function driftInput(
  { cluster, engine, namespace, nodes }: WatcherContext,
  image: string,
  nodeNames: string[],
): RolloutInput {
  return {
    cluster,
    request: { kind: 'KairosNode', namespace, name: 'hand-edited', uid: '', generation: 0, attempt: Date.now() },
    spec: { ...resolveSpec({ image }), nodeNames },
    timing: timingFor(nodes.size, engine.searchAttributes),
  };
}
