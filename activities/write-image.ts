import { Context } from '@temporalio/activity';
import type { NodeInHand } from '../api/messages.ts';
import type { WriteRecord } from '../api/types.ts';
import { defined } from '../kube/defined.ts';
import { KubeError, isReason } from '../kube/errors.ts';
import { type JobView, createJob, deleteJob, readJob } from '../kube/jobs.ts';
import { patchKairosNodeStatus } from '../kube/kairos-nodes.ts';
import type { PodView } from '../kube/pods.ts';
import { type NodeView, readNode } from '../kube/nodes.ts';
import { formatDuration } from '../policy/duration.ts';
import { takenFromUs } from '../policy/ownership.ts';
import { judgeGone } from '../policy/verdict.ts';
import { type WriteOutcome, type WriterEnd, writeOutcome } from '../policy/write-outcome.ts';
import { rebootedRecord, withRecord, writeRecord } from '../policy/write-record.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { askedAtMs, lookNow, orNone } from './contact.ts';
import { type WriteStep, writeJob, writeJobName } from './manifests.ts';
import { isGone } from './node-there.ts';
import { goesWithItsNamespace } from './served-namespace.ts';
import { inHandOf, showStep, stepChange } from './step-status.ts';
import { rebootText } from './reboot.ts';
import { onTrustedBoot } from './trusted-boot.ts';
import { firstOf, pause, waitInActivity } from './waiting.ts';

export type WriteAnswer =
  | { outcome: 'Written' }
  /** `gone`: the node is not there any more, which is said. */
  | { outcome: 'BootChanged'; gone?: string }
  | { outcome: 'Failed'; message: string }
  /** Nothing has been done to the node: the API server refuses the Job, or the Job could not begin. */
  | { outcome: 'NotWritten'; message: string };

type JobOfNode = Pick<JobView, 'namespace' | 'name' | 'uid'>;

/** How often a Job is looked at whose pod says nothing: somebody may have deleted one of them. */
const LOOK_AT_JOB_MS = 20_000;
const AGAIN_MS = 1000;
/** A write that takes longer is said to be slow, again each time as much has passed; nothing else is done about it. */
const SLOW_MS = 10 * 60_000;

/**
 * Writes the image by a Job that runs at most once per boot: its name is made of the node's UID and the boot id, so
 * repeating this finds the same Job, and the lock on the host covers the rest. It is never killed, and has no deadline
 * once it runs. The pod is watched, not the Job, which is complete a second later.
 *
 * A pod of which no container ever started (the kubelet refused it) is made again. So is one that somebody deleted:
 * the lock lets its successor only wait for it, and repeat its outcome.
 *
 * Immediately before a Job is made the Node is read: one that somebody has put back to service is not written to.
 * How it ended, and the end of its log, is kept in the KairosNode before this answers, and so before its pod can go.
 */
export async function writeImage(
  view: ClusterView,
  { hand, step }: { hand: NodeInHand; step: WriteStep },
): Promise<WriteAnswer> {
  assertCluster(view, hand.cluster);
  const label = step === 'upgrade' ? 'Upgrade' : 'Recovery';
  await showStep(view, hand, label, `writing ${hand.target.image}`);
  // From here on until it is written, what is in the recovery system is not known.
  if (step === 'recovery' && view.kairosNodes.get(hand.node.name)?.status.recovery !== undefined)
    await patchWhereThere(view, hand, { recovery: null });
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
  if (node?.uid !== hand.node.uid || node.bootID !== hand.bootID) return leftItsBoot(view, hand, step, undefined);
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
  const name = writeJobName(hand, step);
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
  if (sameNode(view, hand.node)?.bootID !== hand.bootID) return leftItsBoot(view, hand, step, undefined);
  const manifest = writeJob(hand, step, { trustedBoot: onTrustedBoot(view, hand.node.name) });
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
  const ended = await waitForWriter(view, { hand, step, job }, signal);
  switch (ended.outcome) {
    case 'Written':
      await keepWritten(view, hand, writeRecord(step, hand.bootID, ended.pod));
      return { outcome: 'Written' };
    case 'BootChanged':
      return leftItsBoot(view, hand, step, job);
    case 'NotTouched':
      await keepRecord(view, hand, writeRecord(step, hand.bootID, ended.pod));
      return { outcome: 'NotWritten', message: ended.message };
    case 'Failed': {
      // A machine that rebooted while it wrote ends its pod as failed, and says so on its Node, in either order.
      const { node } = await lookNow(view, hand, signal);
      if (node?.uid !== hand.node.uid || node.bootID !== hand.bootID) return leftItsBoot(view, hand, step, job);
      await keepRecord(view, hand, writeRecord(step, hand.bootID, ended.pod));
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

/** The machine rebooted meanwhile, or before. What its pod said of the end is kept where kubelet has told it. */
async function leftItsBoot(
  view: ClusterView,
  hand: NodeInHand,
  step: WriteStep,
  job: JobOfNode | undefined,
): Promise<WriteAnswer> {
  const pods = job === undefined ? [] : podsOf(view, job);
  const told = pods.find((pod) => pod.containers[0]?.terminated !== undefined);
  const before = view.kairosNodes.get(hand.node.name)?.status.inHand?.writes;
  if (told !== undefined) await keepRecord(view, hand, writeRecord(step, hand.bootID, endOf(told)));
  else if (before?.some((record) => record.step === step) !== true)
    await keepRecord(view, hand, rebootedRecord(step, hand.bootID));
  if (sameNode(view, hand.node) !== undefined || !(await isGone(view, hand.node))) return { outcome: 'BootChanged' };
  return { outcome: 'BootChanged', gone: judgeGone(hand.node.name).message };
}

/** Keeps how a write ended. Repeating it changes nothing. */
async function keepRecord(view: ClusterView, hand: NodeInHand, record: WriteRecord): Promise<void> {
  await patchWhereThere(view, hand, { inHand: { ...inHandOf(hand), writes: withEarlier(view, hand, record) } });
}

const withEarlier = (view: ClusterView, { node }: NodeInHand, record: WriteRecord) =>
  withRecord(view.kairosNodes.get(node.name)?.status.inHand?.writes, record);

/**
 * Keeps how a write ended that succeeded, and with it what comes of it, in one write: what is in the recovery system now;
 * or that the node reboots, which is the next step. Repeating it changes nothing but a time.
 */
async function keepWritten(view: ClusterView, hand: NodeInHand, record: WriteRecord): Promise<void> {
  const writes = withEarlier(view, hand, record);
  if (record.step === 'recovery') {
    const { image, digest, version } = hand.target;
    const writtenAt = new Date().toISOString();
    const recovery = { image, version, ...defined({ digest }), writtenAt, rollout: hand.rolloutID };
    await patchWhereThere(view, hand, { inHand: { ...inHandOf(hand), writes }, recovery });
    return;
  }
  const now = view.kairosNodes.get(hand.node.name)?.status;
  const change = stepChange(now, hand, 'Reboot', rebootText(hand));
  await patchWhereThere(view, hand, { ...change, inHand: { ...inHandOf(hand), writes } });
}

/** A KairosNode that is gone stops no upgrade. */
async function patchWhereThere(
  view: ClusterView,
  hand: NodeInHand,
  change: Parameters<typeof patchKairosNodeStatus>[2],
): Promise<void> {
  try {
    await patchKairosNodeStatus(view.client, hand.node.name, change);
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
  }
}

const podOf = (view: ClusterView, job: string) => [...view.pods.values()].find((pod) => pod.owner?.name === job);

type Ended = (WriteOutcome & { pod: WriterEnd }) | { outcome: 'BootChanged' | 'Gone' };

interface Writing {
  hand: NodeInHand;
  step: WriteStep;
  job: JobOfNode;
}

async function waitForWriter(view: ClusterView, writing: Writing, signal: AbortSignal): Promise<Ended> {
  const { hand, job } = writing;
  const leftBoot = (node: NodeView | undefined): Ended | undefined =>
    node?.uid === hand.node.uid && node.bootID === hand.bootID ? undefined : { outcome: 'BootChanged' };
  const writerEnd = (): Ended | undefined => {
    for (const pod of podsOf(view, job)) {
      const answer = writeOutcome(hand.node.name, endOf(pod));
      // It did nothing, since the machine is in another boot: the Node is about to say so.
      if (answer !== undefined && answer.outcome !== 'AnotherBoot') return { ...answer, pod: endOf(pod) };
    }
    return undefined;
  };
  return firstOf<Ended>(
    signal,
    (either) => view.pods.waitFor(undefined, writerEnd, either),
    (either) => view.nodes.waitFor(hand.node.name, leftBoot, either),
    (either) => untilGone(view, job, either),
    (either) => saySlow(view, writing, either),
  );
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

function endOf(pod: PodView): WriterEnd {
  const container = pod.containers[0];
  const { phase, reason, message } = pod;
  return {
    phase,
    started: container?.started === true,
    ...defined({ reason, message, terminated: container?.terminated }),
  };
}

/** Says of a write that it takes long. It is the only thing that is done about it, and never ends. */
async function saySlow(view: ClusterView, { hand, step, job }: Writing, signal: AbortSignal): Promise<never> {
  for (;;) {
    const forMs = Date.now() - askedAtMs();
    await pause(SLOW_MS - (forMs % SLOW_MS), signal);
    const minutes = formatDuration(Math.round((Date.now() - askedAtMs()) / SLOW_MS) * SLOW_MS);
    const message = `writing ${hand.target.image} for ${minutes}: slow, and not killed; kubectl logs -n ${job.namespace} job/${job.name} shows what it does`;
    try {
      await showStep(view, hand, step === 'upgrade' ? 'Upgrade' : 'Recovery', message);
    } catch (error) {
      if (!(error instanceof KubeError && error.retryable)) throw error;
    }
  }
}
