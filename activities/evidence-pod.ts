import type { NodeInHand } from '../api/messages.ts';
import { isReason } from '../kube/errors.ts';
import type { PodView } from '../kube/pods.ts';
import { type PodReading, parseNodeEvidence } from '../policy/node-evidence.ts';
import { type Due, answerInTime, contactNeededMs } from './contact.ts';
import type { ClusterView } from './cluster-view.ts';
import { evidencePod } from './manifests.ts';
import { createPodToFinish } from './served-namespace.ts';

/**
 * Reads what a node runs by a one-shot pod, where its agent has said nothing. Repeating it finds the same pod. It never
 * fails for what the pod does: that is what was seen. The pod goes with the end of its node.
 */
export async function readByPod(view: ClusterView, hand: NodeInHand, bootID: string, due: Due): Promise<PodReading> {
  const manifest = evidencePod(hand, bootID);
  let key: string;
  try {
    const { namespace, name } = await createPodToFinish(view, manifest);
    key = `${namespace}/${name}`;
  } catch (error) {
    if (!isReason(error, 'Forbidden', 'Invalid')) throw error;
    return { seen: `was refused: ${(error as Error).message}` };
  }
  const isOver = (pod: PodView | undefined) =>
    pod?.phase === 'Succeeded' || pod?.phase === 'Failed' ? pod : undefined;
  // Also where the worker came late to it: a pod needs its time to start.
  const atMs = Math.max(due.atMs, Date.now() + contactNeededMs(hand));
  const ended = await answerInTime(view, hand, { atMs, signal: due.signal }, (signal) =>
    view.pods.waitFor(key, isOver, signal),
  );
  return ended === undefined ? { seen: waiting(view.pods.get(key)) } : readingOf(ended);
}

function readingOf(pod: PodView): PodReading {
  const container = pod.containers[0];
  if (container?.terminated === undefined)
    return { seen: `was refused by kubelet: ${pod.reason ?? 'no reason'} ${pod.message ?? ''}`.trim() };
  const { exitCode, message = '' } = container.terminated;
  const report = parseNodeEvidence(message);
  const words = message.trim() === '' ? 'it left no words' : `it said: ${message.trim().slice(-300)}`;
  if (report === undefined) return { seen: `ended with ${exitCode}, and read no Kairos release; ${words}` };
  return { report, seen: `read boot ${report.bootID ?? 'unknown'}` };
}

function waiting(pod: PodView | undefined): string {
  if (pod === undefined) return 'was deleted by somebody';
  const why = pod.containers[0]?.waiting;
  return why === undefined
    ? `did not end (${pod.phase}); see kubectl describe pod -n ${pod.namespace} ${pod.name}`
    : `did not start: ${`${why.reason} ${why.message}`.trim()}`;
}
