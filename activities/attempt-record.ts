import type { NodeInHand, NodeRef, RolloutContext, Target } from '../api/messages.ts';
import type {
  AttemptEvidence,
  Condition,
  KairosNodeOperatorStatus,
  KairosNodeStatus,
  StepTimes,
  Verdict,
  WriteRecord,
} from '../api/types.ts';
import { defined } from '../kube/defined.ts';
import { isReason } from '../kube/errors.ts';
import { patchKairosNodeStatus } from '../kube/kairos-nodes.ts';
import { sameTry, tryOf } from '../policy/recovery.ts';
import type { ClusterView } from './cluster-view.ts';
import { NO_BLOCKERS } from './step-status.ts';

/** The node is out of our hand, and nothing is said about an attempt. Repeating it changes nothing. */
export async function forgetAttempt(view: ClusterView, hand: NodeInHand, message: string): Promise<void> {
  if (isOfAnother(view, hand.node)) return;
  try {
    const last = view.kairosNodes.get(hand.node.name)?.status.lastAttempt?.verdict;
    const upgradeState = last === undefined ? 'Idle' : stateOf(last);
    const cleared = { upgradeState, step: null, stepSince: null, inHand: null, ...NO_BLOCKERS };
    await patchKairosNodeStatus(view.client, hand.node.name, { ...cleared, message: message.slice(0, 4000) });
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
  }
}

/** Whether the KairosNode of this name belongs to another node than this one, which was deleted and made again. */
function isOfAnother(view: ClusterView, { name, uid }: NodeRef): boolean {
  const owner = view.kairosNodes.get(name)?.ownerUID ?? view.nodes.get(name)?.uid;
  return owner !== undefined && uid !== '' && owner !== uid;
}

/** What is known of an attempt at its end. */
export type Recorded = RolloutContext & {
  node: NodeRef;
  target: Pick<Target, 'image'> & Partial<Target>;
  from?: string;
  startedAt?: string;
  bootID?: string;
  writes?: WriteRecord[];
  notReadyBefore?: string[];
  steps?: StepTimes;
  evidence?: AttemptEvidence | undefined;
};

/**
 * Writes into the KairosNode how an attempt ended, in the place of the one before. `kept` says why its node stays out, and
 * what to type. That of another node of this name is left alone, and so is one that is gone.
 */
export async function recordAttempt(
  view: ClusterView,
  hand: Recorded,
  verdict: Verdict,
  message: string,
  kept?: string,
): Promise<void> {
  if (isOfAnother(view, hand.node)) return;
  const now = view.kairosNodes.get(hand.node.name);
  const before = now?.status.lastAttempt;
  const corrected = correction(before, hand, verdict);
  const attempt: KairosNodeOperatorStatus['lastAttempt'] = {
    rollout: hand.rolloutID,
    request: tryOf(hand.request),
    specGeneration: now?.generation ?? 0,
    image: hand.target.image,
    verdict,
    message: message.slice(0, 4000),
    finishedAt: new Date().toISOString(),
    ...defined({
      version: hand.target.version,
      digest: hand.target.digest,
      from: hand.from,
      startedAt: hand.startedAt,
      bootID: hand.bootID,
      notReadyBefore: hand.notReadyBefore,
      steps: hand.steps,
      evidence: hand.evidence,
      retry: now?.retry,
    }),
    ...(hand.writes === undefined || hand.writes.length === 0 ? {} : { writes: hand.writes }),
  };
  try {
    await patchKairosNodeStatus(view.client, hand.node.name, {
      upgradeState: stateOf(verdict),
      message: `${verdict}: ${message.slice(0, 3500)}${kept === undefined ? '' : `. ${kept}`}`.slice(0, 4000),
      rollout: hand.rolloutID,
      ...(hand.startedAt === undefined ? {} : { step: null, stepSince: null, inHand: null, ...NO_BLOCKERS }),
      lastAttempt: attempt,
      conditions: corrected === undefined ? null : [corrected],
    });
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
  }
}

/** Evidence that came after the end of an attempt changes its verdict, and that is said. */
function correction(before: KairosNodeStatus['lastAttempt'], hand: Recorded, verdict: Verdict): Condition | undefined {
  if (before === undefined || !sameTry(before.request, hand.request) || before.verdict === verdict) return undefined;
  return {
    type: 'VerdictCorrected',
    status: 'True',
    reason: verdict,
    message: `was ${before.verdict} at ${before.finishedAt}: ${before.message ?? ''}`.slice(0, 4000),
    lastTransitionTime: new Date().toISOString(),
  };
}

function stateOf(verdict: Verdict): NonNullable<KairosNodeOperatorStatus['upgradeState']> {
  switch (verdict) {
    case 'Succeeded':
    case 'AlreadyOnTarget':
      return 'Completed';
    case 'RolledBack':
      return 'RolledBack';
    case 'Cancelled':
    case 'Skipped':
    case 'Superseded':
      return 'Idle';
    case 'WrongVersion':
    case 'NeverRebooted':
    case 'Unverified':
    case 'Lost':
    case 'Unhealthy':
    case 'UpgradeFailed':
    case 'Failed':
      return 'Failed';
  }
}
