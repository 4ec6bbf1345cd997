import type { NodeInHand } from '../api/messages.ts';
import type { Step } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { patchKairosNodeStatus } from '../kube/kairos-nodes.ts';
import { type ClusterView, sameNode } from './cluster-view.ts';

/** What it takes to finish the upgrade of a node from evidence alone, should its workflow be lost. */
function inHandOf({
  rolloutID,
  request,
  target,
  bootID,
  startedAt,
  from,
  recoveredAt,
  notReadyBefore,
  steps,
}: NodeInHand) {
  const { kind, namespace, name, uid, generation, attempt } = request;
  return {
    rollout: rolloutID,
    request: { kind, namespace, name, uid, generation, attempt },
    image: target.image,
    pinned: target.pinned,
    version: target.version,
    bootID,
    startedAt,
    ...(target.digest === undefined ? {} : { digest: target.digest }),
    ...(from === undefined ? {} : { from }),
    ...(recoveredAt === undefined ? {} : { recoveredAt }),
    ...(notReadyBefore === undefined ? {} : { notReadyBefore }),
    ...(steps === undefined ? {} : { steps }),
  };
}

/**
 * Writes to the KairosNode which step its node is in: one write a step, by the activity that does the step. Repeating
 * it keeps the time at which the step began. A KairosNode that is gone (deleted, or not made yet) stops no upgrade, and
 * that of another node of this name says nothing about this one.
 */
export async function showStep(view: ClusterView, hand: NodeInHand, step: Step, message: string): Promise<void> {
  if (sameNode(view, hand.node) === undefined) return;
  const now = view.kairosNodes.get(hand.node.name)?.status;
  const same =
    now?.step === step &&
    now.workflowID === hand.workflowID &&
    now.upgradeState === 'InProgress' &&
    now.inHand?.startedAt === hand.startedAt &&
    now.inHand.recoveredAt === hand.recoveredAt;
  if (same && now.message === message) return;
  try {
    await patchKairosNodeStatus(view.client, hand.node.name, {
      upgradeState: 'InProgress',
      step,
      message,
      rollout: hand.rolloutID,
      workflowID: hand.workflowID,
      inHand: inHandOf(hand),
      ...(same ? {} : { stepSince: new Date().toISOString() }),
    });
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
  }
}
