import type { NodeInHand } from '../api/messages.ts';
import { createPod, deletePod } from '../kube/pods.ts';
import { formatDuration } from '../policy/duration.ts';
import { type Judgement, judge, judgeOverdue, type Evidence } from '../policy/verdict.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { rebootPod } from './manifests.ts';
import { showStep } from './step-status.ts';
import { DeadlinePassed, waitInActivity } from './waiting.ts';

export type RebootAnswer = { outcome: 'BootChanged' } | { outcome: 'NeverRebooted' };

/** How often a reboot that did not come is asked for, within the time that a node may take to come back. */
const TRIES = 3;

/**
 * Asks for the reboot by a small pod that reboots only in the boot that it was made for, so it may be made again as
 * often as one likes. How that pod ends says nothing: only a new boot id on the Node does.
 */
export async function rebootNode(view: ClusterView, hand: NodeInHand): Promise<RebootAnswer> {
  assertCluster(view, hand.cluster);
  await showStep(view, hand, 'Reboot', `rebooting into ${hand.target.version}`);
  const pod = rebootPod(hand);
  const { namespace, name } = pod.metadata;
  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    if (sameNode(view, hand.node)?.bootID !== hand.bootID) return { outcome: 'BootChanged' };
    await createPod(view.client, namespace, pod);
    try {
      await waitInActivity(hand.spec.rebootTimeoutMs / TRIES, (signal) => waitForNewBoot(view, hand, signal), attempt);
      return { outcome: 'BootChanged' };
    } catch (error) {
      if (!(error instanceof DeadlinePassed)) throw error;
      await deletePod(view.client, namespace, name, { gracePeriodSeconds: 0 });
    }
  }
  return { outcome: 'NeverRebooted' };
}

const waitForNewBoot = (view: ClusterView, hand: NodeInHand, signal: AbortSignal) =>
  view.nodes.waitFor(
    hand.node.name,
    (node) => (node === undefined || (node.uid === hand.node.uid && node.bootID === hand.bootID) ? undefined : true),
    signal,
  );

/**
 * Waits for the evidence from the new boot: the Node Ready with a new boot id, and its agent's report from that boot.
 * At the deadline says what is known.
 */
export async function verifyNode(view: ClusterView, hand: NodeInHand): Promise<Judgement & { bootID: string }> {
  assertCluster(view, hand.cluster);
  await showStep(
    view,
    hand,
    'Verify',
    'waiting for the node to be Ready and for its agent to report from the new boot',
  );
  const { name } = hand.node;
  try {
    return await waitInActivity(hand.spec.rebootTimeoutMs, async (signal) => {
      const ended = new AbortController();
      const either = AbortSignal.any([signal, ended.signal]);
      const decide = () => verdictNow(view, hand);
      const waits = [view.nodes.waitFor(name, decide, either), view.kairosNodes.waitFor(name, decide, either)];
      try {
        return await Promise.race(waits);
      } finally {
        ended.abort(new Error('answered'));
        await Promise.allSettled(waits);
      }
    });
  } catch (error) {
    if (!(error instanceof DeadlinePassed)) throw error;
    const evidence = evidenceNow(view, hand);
    return { ...judgeOverdue(evidence, formatDuration(hand.spec.rebootTimeoutMs)), bootID: evidence.node.bootID };
  }
}

function evidenceNow(view: ClusterView, hand: NodeInHand): Evidence {
  const node = sameNode(view, hand.node);
  const report = view.kairosNodes.get(hand.node.name)?.status;
  return {
    sourceBootID: hand.bootID,
    target: hand.target,
    node: { bootID: node?.bootID ?? '', ready: node?.ready ?? false },
    ...(report === undefined ? {} : { report }),
  };
}

function verdictNow(view: ClusterView, hand: NodeInHand): (Judgement & { bootID: string }) | undefined {
  if (sameNode(view, hand.node) === undefined) {
    return {
      verdict: 'Lost',
      message: `node ${hand.node.name} was deleted, or replaced by another one, during its upgrade`,
      bootID: '',
    };
  }
  const evidence = evidenceNow(view, hand);
  const judged = judge(evidence);
  return judged === undefined ? undefined : { ...judged, bootID: evidence.node.bootID };
}
