import { Client, type ConnectionLike } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import type { Logger } from 'pino';
import type { ClusterView } from '../activities/cluster-view.ts';
import { removePod } from '../activities/end.ts';
import { clearGate, waitsFor } from '../activities/gate-status.ts';
import { goesWithItsNamespace } from '../activities/served-namespace.ts';
import { nodeWorkflowID } from '../api/messages.ts';
import {
  HELD_PREFIX,
  NODE_NAME_ANNOTATION,
  NODE_UID_ANNOTATION,
  STEP_LABEL,
  WORKFLOW_ANNOTATION,
} from '../api/names.ts';
import { deleteJob, listJobs } from '../kube/jobs.ts';
import { isReason } from '../kube/errors.ts';
import { pause } from '../kube/pause.ts';

const LOOK_EVERY_MS = 60_000;
/** Jobs are not watched: they are listed at every so many looks. */
const JOBS_EVERY_LOOKS = 5;

type View = Pick<ClusterView, 'nodes' | 'kairosNodes' | 'pods' | 'client' | 'namespaces' | 'ref'>;
type IsClosed = (workflowID: string) => Promise<boolean>;
type Annotated = { labels: Record<string, string>; annotations: Record<string, string>; deleting: boolean };

/**
 * Removes pods of the steps that nobody will remove: their rollout and the workflow of their node have closed, ended,
 * terminated or lost with Temporal's database, and their node is in nobody's hand, so that no end of an upgrade clears
 * it. One that writes is left as long as its node is there. Answers their names.
 */
export async function removeLeftoverPods(view: View, isClosed: IsClosed): Promise<string[]> {
  const removed: string[] = [];
  const over = isOver(view, isClosed);
  for (const pod of view.pods.values()) {
    const there = isThere(view, pod);
    if (there && isWriter(pod)) continue;
    if (!(await over(pod))) continue;
    await removePod(view, pod, there ? 'Left' : 'Gone');
    removed.push(`${pod.namespace}/${pod.name}`);
  }
  return removed;
}

/**
 * Removes the Jobs of nodes that are gone, where nobody else will: the workflow that would have done it was terminated,
 * and without its node there is none to find it by. Answers their names.
 */
export async function removeLeftoverJobs(view: View, isClosed: IsClosed): Promise<string[]> {
  const removed: string[] = [];
  const over = isOver(view, isClosed);
  for (const namespace of view.namespaces) {
    try {
      for (const job of await listJobs(view.client, namespace, STEP_LABEL)) {
        if (isThere(view, job) || !(await over(job))) continue;
        await deleteJob(view.client, namespace, job.name, { uid: job.uid });
        removed.push(`${namespace}/${job.name}`);
      }
    } catch (error) {
      if (!goesWithItsNamespace(view, namespace, error)) throw error;
    }
  }
  return removed;
}

/**
 * Takes back what KairosNodes say of gates at which nobody waits any more: the rollout that waited was terminated, or its
 * wait ended without the API server. Answers their names.
 */
export async function clearLeftoverGates(view: View, isClosed: IsClosed): Promise<string[]> {
  const cleared: string[] = [];
  const closed = onceEach(isClosed);
  for (const node of view.kairosNodes.values()) {
    const rollout = waitsFor(node);
    if (rollout === undefined || !(await closed(rollout))) continue;
    try {
      await clearGate(view.client, node);
      cleared.push(node.name);
    } catch (error) {
      if (!isReason(error, 'Conflict', 'NotFound')) throw error;
    }
  }
  return cleared;
}

function onceEach(isClosed: IsClosed): IsClosed {
  const known = new Map<string, Promise<boolean>>();
  return (id) => {
    const answer = known.get(id) ?? isClosed(id);
    known.set(id, answer);
    return answer;
  };
}

/** Whether nobody is left who would remove it. Each workflow is asked for once. */
function isOver(view: View, isClosed: IsClosed): (object: Annotated) => Promise<boolean> {
  const closed = onceEach(isClosed);
  return async ({ annotations, deleting }) => {
    const {
      [WORKFLOW_ANNOTATION]: rollout,
      [NODE_NAME_ANNOTATION]: name = '',
      [NODE_UID_ANNOTATION]: uid,
    } = annotations;
    if (deleting || rollout === undefined || uid === undefined) return false;
    const node = view.nodes.get(name);
    const inHand = node?.uid === uid && node.owner?.startsWith(HELD_PREFIX) === false;
    return !inHand && (await closed(rollout)) && (await closed(nodeWorkflowID(view.ref, { name, uid })));
  };
}

const isThere = (view: View, { annotations }: Annotated) =>
  view.nodes.get(annotations[NODE_NAME_ANNOTATION] ?? '')?.uid === annotations[NODE_UID_ANNOTATION];

const isWriter = ({ labels }: Annotated) => labels[STEP_LABEL] === 'upgrade' || labels[STEP_LABEL] === 'recovery';

/** Looks for them once a minute, until the signal is aborted. Without Temporal nothing is known, and nothing removed. */
export async function keepRemovingLeftovers(
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
  for (let looks = 1; !signal.aborted; looks += 1) {
    try {
      const pods = await removeLeftoverPods(view, isClosed);
      if (pods.length > 0) log.info({ pods }, 'removed pods whose rollout has closed');
      const gates = await clearLeftoverGates(view, isClosed);
      if (gates.length > 0) log.info({ nodes: gates }, 'nobody waits at the gates of these nodes any more');
      const jobs = looks % JOBS_EVERY_LOOKS === 0 ? await removeLeftoverJobs(view, isClosed) : [];
      if (jobs.length > 0) log.info({ jobs }, 'removed Jobs of nodes that are gone, whose rollout has closed');
    } catch (error) {
      log.debug({ error: (error as Error).message }, 'leftover pods and Jobs were not looked for');
    }
    await pause(LOOK_EVERY_MS, signal);
  }
}
