import type { NodeInHand } from '../api/messages.ts';
import { isReason } from '../kube/errors.ts';
import { type JobView, createJob, deleteJob } from '../kube/jobs.ts';
import type { PodView } from '../kube/pods.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { type WriteStep, writeJob } from './manifests.ts';
import { showStep } from './step-status.ts';
import { waitInActivity } from './waiting.ts';

export type WriteAnswer =
  | { outcome: 'Written' }
  | { outcome: 'BootChanged' }
  | { outcome: 'Failed'; message: string }
  /** The API server refuses the Job: nothing has been done to the node. */
  | { outcome: 'NotWritten'; message: string };

/**
 * Writes the image by a Job that runs at most once per boot: its name is made of the node's UID and the boot id, so
 * repeating this finds the same Job, and the lock on the host covers the rest. It is never killed, and has no deadline
 * once it runs. The pod is watched, not the Job, which is complete a second later.
 *
 * A pod of which no container ever started (the kubelet refused it) is made again; nothing else is.
 */
export async function writeImage(
  view: ClusterView,
  { hand, step }: { hand: NodeInHand; step: WriteStep },
): Promise<WriteAnswer> {
  assertCluster(view, hand.cluster);
  const label = step === 'upgrade' ? 'Upgrade' : 'Recovery';
  await showStep(view, hand, label, `writing ${hand.target.image}`);
  const manifest = writeJob(hand, step);
  const { namespace, name } = manifest.metadata;
  for (;;) {
    if (sameNode(view, hand.node)?.bootID !== hand.bootID) return { outcome: 'BootChanged' };
    let job: JobView;
    try {
      job = await createJob(view.client, namespace, manifest);
    } catch (error) {
      if (!isReason(error, 'Forbidden', 'Invalid') || hasPod(view, name)) throw error;
      return { outcome: 'NotWritten', message: `${(error as Error).message}; its image was not touched` };
    }
    const answer = await waitInActivity(undefined, (signal) => waitForWriter(view, hand, job.uid, signal));
    if (answer.outcome === 'Refused') {
      await deleteJob(view.client, namespace, name, { uid: job.uid });
      continue;
    }
    return answer;
  }
}

/** Whether the Job has ever had a pod: from then on nobody can say that the image was not touched. */
const hasPod = (view: ClusterView, job: string) => [...view.pods.values()].some((pod) => pod.owner?.name === job);

type Ended = WriteAnswer | { outcome: 'Refused' };

async function waitForWriter(view: ClusterView, hand: NodeInHand, jobUID: string, signal: AbortSignal): Promise<Ended> {
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
      for (const pod of view.pods.values()) {
        const answer = pod.owner?.uid === jobUID ? outcomeOf(pod) : undefined;
        if (answer !== undefined) return answer;
      }
      return undefined;
    },
    either,
  );
  try {
    return await Promise.race([writer, bootChanged]);
  } finally {
    ended.abort(new Error('answered'));
    await Promise.allSettled([writer, bootChanged]);
  }
}

function outcomeOf(pod: PodView): Ended | undefined {
  if (pod.phase === 'Succeeded') return { outcome: 'Written' };
  if (pod.phase !== 'Failed') return undefined;
  const container = pod.containers[0];
  if (container?.started !== true) return { outcome: 'Refused' };
  const log = container.terminated?.message?.trim() ?? 'it left no message';
  return {
    outcome: 'Failed',
    message: `kairos-agent upgrade ended with ${container.terminated?.exitCode ?? 'no exit code'}: ${log.slice(-1500)}`,
  };
}
