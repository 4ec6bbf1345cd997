import { STEP_LABEL } from '../api/names.ts';
import type { NodeInHand } from '../api/messages.ts';
import { type PodView, evictPod, watchPodsOnNode } from '../kube/pods.ts';
import type { Reflector } from '../kube/reflector.ts';
import { decideDrain } from '../policy/drain.ts';
import { formatDuration } from '../policy/duration.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { NodeGone, whileThere } from './node-there.ts';
import { showStep } from './step-status.ts';
import { DeadlinePassed, pause, waitInActivity } from './waiting.ts';

export type DrainAnswer = { outcome: 'Drained' } | { outcome: 'BootChanged' } | { outcome: 'Failed'; message: string };

class DrainRefused extends Error {}

const EVICTIONS_AT_ONCE = 20;

/**
 * Moves the node's pods off through the eviction API and waits until they are gone by UID. Disruption budgets are
 * honoured; what holds a pod is written to the KairosNode. At the deadline the node is given back.
 *
 * One list of the node's pods, then a watch; repeating it evicts what is left. Where no other node could take a pod,
 * nothing is evicted: the pods would only wait for this node.
 */
export async function drainNode(view: ClusterView, hand: NodeInHand): Promise<DrainAnswer> {
  assertCluster(view, hand.cluster);
  const elsewhere = [...view.nodes.values()].some(
    (node) => node.name !== hand.node.name && node.ready && !node.unschedulable,
  );
  if (!elsewhere) return { outcome: 'Drained' };
  await showStep(view, hand, 'Drain', 'moving its pods to other nodes');
  const pods = watchPodsOnNode(view.client, hand.node.name);
  const blockers = new Map<string, string>();
  try {
    return await waitInActivity(hand.spec.drainTimeoutMs, (signal) =>
      whileThere(view, hand.node, signal, (either) => evictAll(view, hand, pods, blockers, either)),
    );
  } catch (error) {
    // The gates find out what became of it.
    if (error instanceof NodeGone) return { outcome: 'BootChanged' };
    if (error instanceof DrainRefused) return { outcome: 'Failed', message: error.message };
    if (!(error instanceof DeadlinePassed)) throw error;
    const held = [...blockers.values()].slice(0, 5).join('; ');
    return {
      outcome: 'Failed',
      message: `drain did not end within ${formatDuration(hand.spec.drainTimeoutMs)}: ${held || 'pods are still terminating'}`,
    };
  } finally {
    pods.stop();
  }
}

async function evictAll(
  view: ClusterView,
  hand: NodeInHand,
  pods: Reflector<PodView>,
  blockers: Map<string, string>,
  signal: AbortSignal,
): Promise<DrainAnswer> {
  await pods.synced(signal);
  for (;;) {
    if (sameNode(view, hand.node)?.bootID !== hand.bootID) return { outcome: 'BootChanged' };
    const leaving: PodView[] = [];
    for (const pod of pods.values()) {
      const decision = decideDrain(pod, { deleteEmptyDirData: hand.spec.deleteEmptyDirData, stepLabel: STEP_LABEL });
      if (decision.action === 'refuse') throw new DrainRefused(decision.reason);
      if (decision.action === 'evict') leaving.push(pod);
    }
    if (leaving.length === 0) return { outcome: 'Drained' };
    const report = (pod: PodView, text: string | undefined) => showBlocker(view, hand, blockers, pod, text);
    await inParallel(leaving, EVICTIONS_AT_ONCE, (pod) => evictUntilGone(view, pods, pod, report, signal));
  }
}

/** Evicts one pod and waits until it is gone; asks again, politely, while a budget holds it. */
async function evictUntilGone(
  view: ClusterView,
  pods: Reflector<PodView>,
  pod: PodView,
  report: (pod: PodView, text: string | undefined) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const key = `${pod.namespace}/${pod.name}`;
  const gone = (now: PodView | undefined) => (now?.uid === pod.uid ? undefined : true);
  for (;;) {
    if (gone(pods.get(key)) === true) return;
    const answer =
      pods.get(key)?.deleting === true ? ({ outcome: 'Evicted' } as const) : await evictPod(view.client, pod);
    switch (answer.outcome) {
      case 'Evicted':
        await report(pod, undefined);
        await pods.waitFor(key, gone, signal);
        return;
      case 'Gone':
        return;
      case 'Refused':
        throw new DrainRefused(answer.message);
      case 'Blocked':
        await report(
          pod,
          `pod ${key} is held by ${answer.budgets.length === 0 ? answer.message : `PodDisruptionBudget ${answer.budgets.join(', ')}`}`,
        );
        await pause(Math.min(answer.retryAfterMs, 5_000) * (0.75 + Math.random() / 2), signal);
    }
  }
}

async function showBlocker(
  view: ClusterView,
  hand: NodeInHand,
  blockers: Map<string, string>,
  pod: PodView,
  text: string | undefined,
): Promise<void> {
  if (blockers.get(pod.uid) === text) return;
  if (text === undefined) blockers.delete(pod.uid);
  else blockers.set(pod.uid, text);
  const first = [...blockers.values()][0];
  await showStep(
    view,
    hand,
    'Drain',
    first === undefined ? 'moving its pods to other nodes' : `${first}; asking again`,
  );
}

async function inParallel<T>(items: readonly T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const lanes = Array.from({ length: Math.min(limit, queue.length) }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  });
  await Promise.all(lanes);
}
