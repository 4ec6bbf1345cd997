import type { NodeInHand } from '../api/messages.ts';
import { type PodView, deletePod } from '../kube/pods.ts';
import { askedAtMs, answerInTime, contactNeededMs, lookNow } from './contact.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { rebootPod } from './manifests.ts';
import { createPodToFinish, podToFinish } from './served-namespace.ts';
import { showStep } from './step-status.ts';
import { firstOf, pause, waitInActivity } from './waiting.ts';

export type RebootAnswer = { outcome: 'BootChanged' } | { outcome: 'NeverRebooted' };

/** How often a reboot that did not come is asked for, within the time that a node may take to come back. */
const TRIES = 3;
/** A pod that somebody deletes, or kubelet evicts, is made again so soon, and so many times within one try. */
const AGAIN_MS = 5000;
const MADE_AGAIN = 20;
/** Timers hold at most 2^31-1 ms; a try is shorter than that, or as good as endless. */
const LONGEST_PAUSE_MS = 2_000_000_000;

/** What is shown of a node that reboots; also with the end of the write that comes before. */
export const rebootText = ({ target }: NodeInHand) => `rebooting into ${target.version}`;

/**
 * Asks for the reboot by a small pod that reboots only in the boot that it was made for, so it may be made again as
 * often as one likes. How that pod ends says nothing: only a new boot id on the Node does. One that is deleted or evicted
 * meanwhile is made again.
 *
 * A node that is not Ready in its old boot when the time is over hangs on its way down: it is asked once more, by
 * force, and given as long as for another try. One that is Ready serves, and is never forced.
 */
export async function rebootNode(view: ClusterView, hand: NodeInHand): Promise<RebootAnswer> {
  assertCluster(view, hand.cluster);
  await showStep(view, hand, 'Reboot', rebootText(hand));
  return waitInActivity(undefined, async (signal) => {
    const tryMs = hand.spec.rebootTimeoutMs / TRIES;
    // A worker that was away goes on with the try that it is time for.
    const first = Math.min(TRIES, 1 + Math.floor((Date.now() - askedAtMs()) / tryMs));
    for (let attempt = Math.max(1, first); attempt <= TRIES; attempt += 1) {
      if (await rebootsWithin(view, hand, askedAtMs() + attempt * tryMs, attempt === TRIES, signal))
        return { outcome: 'BootChanged' };
    }
    const { node } = await lookNow(view, hand, signal);
    if (node?.uid !== hand.node.uid || node.bootID !== hand.bootID) return { outcome: 'BootChanged' };
    if (node.ready) return { outcome: 'NeverRebooted' };
    return (await forcedWithin(view, hand, askedAtMs() + (TRIES + 1) * tryMs, signal))
      ? { outcome: 'BootChanged' }
      : { outcome: 'NeverRebooted' };
  });
}

async function rebootsWithin(
  view: ClusterView,
  hand: NodeInHand,
  atMs: number,
  isLast: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  const pod = rebootPod(hand);
  if (hasLeft(view, hand)) return true;
  const { namespace, name } = await createPodToFinish(view, pod);
  const due = isLast ? { atMs, signal } : { atMs, signal, contactMs: 0 };
  const rebooted = await answerInTime(view, hand, due, (either) => untilItLeftByPod(view, hand, pod, either));
  if (rebooted === undefined) await deletePod(view.client, namespace, name, { gracePeriodSeconds: 0 });
  return rebooted === true;
}

async function forcedWithin(view: ClusterView, hand: NodeInHand, dueMs: number, signal: AbortSignal): Promise<boolean> {
  await showStep(view, hand, 'Reboot', 'not Ready, and still in its old boot: a forced reboot is asked for');
  const pod = rebootPod(hand, 'forced');
  await createPodToFinish(view, pod);
  const atMs = Math.max(dueMs, Date.now() + contactNeededMs(hand));
  return (
    (await answerInTime(view, hand, { atMs, signal }, (either) => untilItLeftByPod(view, hand, pod, either))) === true
  );
}

/** Waits until the node has left its boot, and sees to it that the pod which reboots it is there meanwhile. */
async function untilItLeftByPod(
  view: ClusterView,
  hand: NodeInHand,
  pod: ReturnType<typeof rebootPod>,
  signal: AbortSignal,
): Promise<true> {
  return firstOf<true>(
    signal,
    (either) => untilItLeft(view, hand, either),
    (either) => keepPod(view, hand, pod, either),
  );
}

/** Never resolves. A pod that kubelet has ended is deleted first; one that did its work and failed at nothing stays. */
async function keepPod(
  view: ClusterView,
  hand: NodeInHand,
  pod: ReturnType<typeof rebootPod>,
  signal: AbortSignal,
): Promise<never> {
  for (let again = 0; again < MADE_AGAIN; again += 1) {
    // The watch has to show it first, or one that was just made would seem to be gone.
    await pause(AGAIN_MS, signal);
    const { gone } = await view.pods.waitFor<{ gone: PodView | undefined }>(
      undefined,
      () => {
        const now = podToFinish(view, pod);
        return now === undefined || now.phase === 'Failed' ? { gone: now } : undefined;
      },
      signal,
    );
    if (hasLeft(view, hand)) break;
    if (gone !== undefined)
      await deletePod(view.client, gone.namespace, gone.name, { uid: gone.uid, gracePeriodSeconds: 0 });
    await createPodToFinish(view, pod);
  }
  await pause(LONGEST_PAUSE_MS, signal);
  throw new Error('a reboot is not waited for so long');
}

/** Whether a forced reboot was asked for in the boot that wrote the image. */
export function wasForced(view: ClusterView, hand: NodeInHand): boolean {
  return podToFinish(view, rebootPod(hand, 'forced')) !== undefined;
}

/** Whether the node has left the boot that wrote the image, or is not there any more. */
const hasLeft = (view: ClusterView, hand: NodeInHand) => sameNode(view, hand.node)?.bootID !== hand.bootID;

export const untilItLeft = (view: ClusterView, hand: NodeInHand, signal: AbortSignal): Promise<true> =>
  view.nodes.waitFor(hand.node.name, () => (hasLeft(view, hand) ? true : undefined), signal);
