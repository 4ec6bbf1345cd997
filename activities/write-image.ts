import { Context } from '@temporalio/activity';
import type { NodeInHand } from '../api/messages.ts';
import { defined } from '../kube/defined.ts';
import { isReason } from '../kube/errors.ts';
import { type JobView, createJob, deleteJob, readJob } from '../kube/jobs.ts';
import type { PodView } from '../kube/pods.ts';
import { readNode } from '../kube/nodes.ts';
import { takenFromUs } from '../policy/ownership.ts';
import { type WriteOutcome, writeOutcome } from '../policy/write-outcome.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { lookNow, orNone } from './contact.ts';
import { type WriteStep, writeJob, writeJobName } from './manifests.ts';
import { goesWithItsNamespace } from './served-namespace.ts';
import { showStep } from './step-status.ts';
import { pause, waitInActivity } from './waiting.ts';

export type WriteAnswer =
  | { outcome: 'Written' }
  | { outcome: 'BootChanged' }
  | { outcome: 'Failed'; message: string }
  /** Nothing has been done to the node: the API server refuses the Job, or the Job could not begin. */
  | { outcome: 'NotWritten'; message: string };

type JobOfNode = Pick<JobView, 'namespace' | 'name' | 'uid'>;

/** How often a Job is looked at whose pod says nothing: somebody may have deleted one of them. */
const LOOK_AT_JOB_MS = 20_000;
const AGAIN_MS = 1000;

/**
 * Writes the image by a Job that runs at most once per boot: its name is made of the node's UID and the boot id, so
 * repeating this finds the same Job, and the lock on the host covers the rest. It is never killed, and has no deadline
 * once it runs. The pod is watched, not the Job, which is complete a second later.
 *
 * A pod of which no container ever started (the kubelet refused it) is made again. So is one that somebody deleted:
 * the lock lets its successor only wait for it, and repeat its outcome.
 *
 * Immediately before a Job is made the Node is read: one that somebody has put back to service is not written to.
 */
export async function writeImage(
  view: ClusterView,
  { hand, step }: { hand: NodeInHand; step: WriteStep },
): Promise<WriteAnswer> {
  assertCluster(view, hand.cluster);
  const label = step === 'upgrade' ? 'Upgrade' : 'Recovery';
  await showStep(view, hand, label, `writing ${hand.target.image}`);
  return waitInActivity(undefined, async (signal) => {
    let isFirst = Context.current().info.attempt === 1 && hand.recoveredAt === undefined;
    for (; ; isFirst = false) {
      const freed = await freedBeforeWrite(view, hand, step, isFirst);
      if (freed !== undefined) return freed;
      const answer = await writeOnce(view, hand, step, signal);
      if (answer !== undefined) return answer;
      await pause(AGAIN_MS, signal);
    }
  });
}

/**
 * Whether the node was taken from us before its Job was made. A recovery image that follows a verified upgrade disrupts
 * nobody, and is not asked. When it `isFirst`, no Job can have been made; later on one may have been, and be gone.
 */
async function freedBeforeWrite(
  view: ClusterView,
  hand: NodeInHand,
  step: WriteStep,
  isFirst: boolean,
): Promise<WriteAnswer | undefined> {
  if (step === 'recovery' && hand.spec.upgradeActive) return undefined;
  if (!isFirst && (await mayHaveJob(view, hand, step))) return undefined;
  const node = await orNone(readNode(view.client, hand.node.name));
  if (node?.uid !== hand.node.uid || node.bootID !== hand.bootID) return { outcome: 'BootChanged' };
  const freed = takenFromUs(node, hand.workflowID, hand.spec.upgradeActive);
  if (freed === undefined) return undefined;
  return isFirst
    ? { outcome: 'NotWritten', message: `${freed}; its image was not touched` }
    : {
        outcome: 'Failed',
        message: `${freed}; whether ${hand.target.image} was written in this boot is not known, as its Job is gone: look into /run/kairos-operator on the node, and reboot it when it may start that image`,
      };
}

async function mayHaveJob(view: ClusterView, hand: NodeInHand, step: WriteStep): Promise<boolean> {
  const name = writeJobName(step, hand.node, hand.bootID);
  if (podOf(view, name) !== undefined) return true;
  const { namespace } = hand.request;
  try {
    return (await orNone(readJob(view.client, namespace, name))) !== undefined;
  } catch (error) {
    if (goesWithItsNamespace(view, namespace, error)) return true;
    throw error;
  }
}

/** Undefined: its pod is gone without having run to an end, and is to be made again. */
async function writeOnce(
  view: ClusterView,
  hand: NodeInHand,
  step: WriteStep,
  signal: AbortSignal,
): Promise<WriteAnswer | undefined> {
  if (sameNode(view, hand.node)?.bootID !== hand.bootID) return { outcome: 'BootChanged' };
  const manifest = writeJob(hand, step);
  const { namespace, name } = manifest.metadata;
  let job: JobOfNode;
  try {
    job = await createJob(view.client, namespace, manifest);
  } catch (error) {
    if (!isReason(error, 'Forbidden', 'Invalid')) throw error;
    // From its first pod on nobody can say that the image was not touched. In a namespace that is being deleted a Job
    // that writes is there until it has ended, but no longer ours to make or to read.
    const owner = podOf(view, name)?.owner;
    if (owner === undefined)
      return { outcome: 'NotWritten', message: `${(error as Error).message}; its image was not touched` };
    job = { namespace, name, uid: owner.uid };
  }
  const ended = await waitForWriter(view, hand, job, signal);
  switch (ended.outcome) {
    case 'Written':
    case 'BootChanged':
      return { outcome: ended.outcome };
    case 'NotTouched':
      return { outcome: 'NotWritten', message: ended.message };
    case 'Failed': {
      // A machine that rebooted while it wrote ends its pod as failed, and says so on its Node, in either order.
      const { node } = await lookNow(view, hand, signal);
      if (node?.uid !== hand.node.uid || node.bootID !== hand.bootID) return { outcome: 'BootChanged' };
      return { outcome: 'Failed', message: ended.message };
    }
    case 'Refused':
    case 'AnotherBoot':
    case 'Gone':
      try {
        await deleteJob(view.client, namespace, name, { uid: job.uid });
      } catch (error) {
        if (!goesWithItsNamespace(view, namespace, error)) throw error;
      }
      return undefined;
  }
}

const podOf = (view: ClusterView, job: string) => [...view.pods.values()].find((pod) => pod.owner?.name === job);

type Ended = WriteOutcome | { outcome: 'BootChanged' | 'Gone' };

async function waitForWriter(view: ClusterView, hand: NodeInHand, job: JobOfNode, signal: AbortSignal): Promise<Ended> {
  const ended = new AbortController();
  const either = AbortSignal.any([signal, ended.signal]);
  const bootChanged = view.nodes.waitFor<Ended>(
    hand.node.name,
    (node) => (node?.uid === hand.node.uid && node.bootID === hand.bootID ? undefined : { outcome: 'BootChanged' }),
    either,
  );
  const writer = view.pods.waitFor<Ended>(
    undefined,
    () => {
      for (const pod of podsOf(view, job)) {
        const answer = outcomeOf(hand.node.name, pod);
        // It did nothing, since the machine is in another boot: the Node is about to say so.
        if (answer !== undefined && answer.outcome !== 'AnotherBoot') return answer;
      }
      return undefined;
    },
    either,
  );
  const waits = [writer, bootChanged, untilGone(view, job, either)];
  try {
    return await Promise.race(waits);
  } finally {
    ended.abort(new Error('answered'));
    await Promise.allSettled(waits);
  }
}

const podsOf = (view: ClusterView, { uid }: JobOfNode) =>
  [...view.pods.values()].filter((pod) => pod.owner?.uid === uid);

/** Resolves when nothing is left that could end: a Job that was deleted, or has ended, and has no pod any more. */
async function untilGone(view: ClusterView, job: JobOfNode, signal: AbortSignal): Promise<Ended> {
  for (let gone = 0; gone < 2;) {
    await pause(LOOK_AT_JOB_MS, signal);
    // Twice in a row: what the watch of pods is about to deliver must not be overlooked.
    gone = podsOf(view, job).length === 0 && (await isOver(view, job)) ? gone + 1 : 0;
  }
  return { outcome: 'Gone' };
}

async function isOver(view: ClusterView, { namespace, name, uid }: JobOfNode): Promise<boolean> {
  try {
    const now = await readJob(view.client, namespace, name);
    return now.uid !== uid || now.deleting || now.ended !== undefined;
  } catch (error) {
    return isReason(error, 'NotFound');
  }
}

function outcomeOf(node: string, pod: PodView): WriteOutcome | undefined {
  const container = pod.containers[0];
  const { phase, reason, message } = pod;
  return writeOutcome(node, {
    phase,
    started: container?.started === true,
    ...defined({ reason, message, terminated: container?.terminated }),
  });
}
