import type { NodeInHand } from '../api/messages.ts';
import type { KairosNodeStatus, Step } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { type KairosNodeStatusChange, patchKairosNodeStatus } from '../kube/kairos-nodes.ts';
import { tryOf } from '../policy/recovery.ts';
import { type ClusterView, sameNode } from './cluster-view.ts';

/** What it takes to finish the upgrade of a node from evidence alone, should its workflow be lost. */
export function inHandOf({
  rolloutID,
  request,
  target,
  bootID,
  startedAt,
  from,
  recoveredAt,
  notReadyBefore,
  steps,
  drain,
}: NodeInHand) {
  return {
    rollout: rolloutID,
    request: tryOf(request),
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
    ...(drain === undefined ? {} : { drain }),
  };
}

/** What keeps the drain, as the KairosNode shows it. */
export type Blockers = Pick<KairosNodeStatusChange, 'blockers' | 'blockedPods'>;

export const NO_BLOCKERS = { blockers: null, blockedPods: null } satisfies Blockers;

/** A drain that was killed could not take its blockers back: the next step does. Its next attempt takes them up. */
const leftBlockers = (now: KairosNodeStatus | undefined, step: Step): Blockers =>
  // A drain that ended well leaves them to the write that follows, which the watch may not have shown yet.
  step === 'Upgrade' || (now?.blockers !== undefined && step !== 'Drain') ? NO_BLOCKERS : {};

/** Whether what a KairosNode says is of this attempt, in this workflow. */
export function isOfHand(now: KairosNodeStatus | undefined, hand: NodeInHand): now is KairosNodeStatus {
  return (
    now?.workflowID === hand.workflowID &&
    now.upgradeState === 'InProgress' &&
    now.inHand?.startedAt === hand.startedAt &&
    now.inHand.recoveredAt === hand.recoveredAt
  );
}

const isAtStep = (now: KairosNodeStatus | undefined, hand: NodeInHand, step: Step): now is KairosNodeStatus =>
  isOfHand(now, hand) && now.step === step;

/**
 * What a KairosNode is told of a step, for writes that tell more than that. `now`: what it says so far. The time at
 * which the step began stays where it is in it already.
 */
export function stepChange(
  now: KairosNodeStatus | undefined,
  hand: NodeInHand,
  step: Step,
  message: string,
  blockers?: Blockers,
): KairosNodeStatusChange {
  return {
    upgradeState: 'InProgress',
    step,
    message,
    rollout: hand.rolloutID,
    workflowID: hand.workflowID,
    inHand: inHandOf(hand),
    ...(isAtStep(now, hand, step) ? {} : { stepSince: new Date().toISOString() }),
    ...(blockers ?? leftBlockers(now, step)),
  };
}

/**
 * Writes to the KairosNode which step its node is in: one write a step, by the activity that does the step. Repeating
 * it keeps the time at which the step began. A KairosNode that is gone (deleted, or not made yet) stops no upgrade, and
 * that of another node of this name says nothing about this one.
 */
export async function showStep(
  view: ClusterView,
  hand: NodeInHand,
  step: Step,
  message: string,
  blockers?: Blockers,
): Promise<void> {
  if (sameNode(view, hand.node) === undefined) return;
  const now = view.kairosNodes.get(hand.node.name)?.status;
  const told = isAtStep(now, hand, step) && now.inHand?.drain?.message === hand.drain?.message;
  if (told && now.message === message && blockers === undefined) return;
  try {
    await patchKairosNodeStatus(view.client, hand.node.name, stepChange(now, hand, step, message, blockers));
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
  }
}
