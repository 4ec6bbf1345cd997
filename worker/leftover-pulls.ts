import { Client, type ConnectionLike } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import type { Logger } from 'pino';
import type { ClusterView } from '../activities/cluster-view.ts';
import { removePod } from '../activities/end.ts';
import { HELD_PREFIX, STEP_LABEL, WORKFLOW_ANNOTATION } from '../api/names.ts';
import { pause } from '../kube/pause.ts';

const LOOK_EVERY_MS = 60_000;

type View = Pick<ClusterView, 'nodes' | 'pods' | 'client' | 'namespaces'>;

/**
 * Removes pre-pull pods that nobody will remove: their rollout has closed, terminated or lost with Temporal's database,
 * and their node is in nobody's hand, so that no end of an upgrade clears it. Answers the names of the pods.
 */
export async function removeLeftoverPulls(
  view: View,
  isClosed: (workflowID: string) => Promise<boolean>,
): Promise<string[]> {
  const removed: string[] = [];
  const closed = new Map<string, boolean>();
  for (const pod of view.pods.values()) {
    const rollout = pod.annotations[WORKFLOW_ANNOTATION];
    if (pod.labels[STEP_LABEL] !== 'pre-pull' || pod.deleting || rollout === undefined) continue;
    const owner = view.nodes.get(pod.nodeName)?.owner;
    if (owner?.startsWith(HELD_PREFIX) === false) continue;
    const isOver = closed.get(rollout) ?? (await isClosed(rollout));
    closed.set(rollout, isOver);
    if (!isOver) continue;
    await removePod(view, pod);
    removed.push(`${pod.namespace}/${pod.name}`);
  }
  return removed;
}

/** Looks for them once a minute, until the signal is aborted. Without Temporal nothing is known, and nothing removed. */
export async function keepRemovingPulls(
  view: View,
  connection: () => ConnectionLike,
  namespace: string,
  { log, signal }: { log: Logger; signal: AbortSignal },
): Promise<void> {
  const isClosed = async (workflowID: string) => {
    try {
      const { workflow } = new Client({ connection: connection(), namespace });
      return (await workflow.getHandle(workflowID).describe()).status.name !== 'RUNNING';
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return true;
      throw error;
    }
  };
  while (!signal.aborted) {
    try {
      const removed = await removeLeftoverPulls(view, isClosed);
      if (removed.length > 0) log.info({ pods: removed }, 'removed pre-pull pods whose rollout has closed');
    } catch (error) {
      log.debug({ error: (error as Error).message }, 'leftover pre-pull pods were not looked for');
    }
    await pause(LOOK_EVERY_MS, signal);
  }
}
