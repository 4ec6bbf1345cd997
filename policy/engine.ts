import { PAUSE_ANNOTATION, RETRY_ANNOTATION } from '../api/names.ts';
import type { RolloutMemo } from '../api/messages.ts';
import type { NodeOpUpgrade, RolloutPhase, RolloutStatus } from '../api/types.ts';

/** How Temporal describes the workflow of a rollout. */
export type EngineState =
  | { state: 'NotFound' }
  | {
      state: 'Open' | 'Completed' | 'Failed' | 'Canceled' | 'Terminated' | 'TimedOut';
      memo?: RolloutMemo;
      startedAtMs?: number;
    };

export type EngineDecision =
  | { action: 'nothing' }
  /**
   * `nodeNames`: only these of the nodes that it selects, which joined later. `again`: people want failed nodes tried
   * again, and the rollout to go on.
   */
  | { action: 'start'; attempt: number; retry?: string; nodeNames?: string[]; again?: true }
  /** `edited`: for an edit of the spec, not for a deletion. */
  | { action: 'cancel'; reason: string; edited?: true }
  | { action: 'pause'; reason: string }
  | { action: 'resume' }
  | { action: 'recordEnd'; phase: 'Failed' | 'Cancelled'; message: string; attempt: number; retry?: string };

/** Whether an attempt in this phase has ended. `Planned` is the end of a dry run: no node was upgraded, none was touched. */
export const isFinal = (phase: RolloutPhase | undefined) =>
  phase === 'Completed' || phase === 'Failed' || phase === 'Cancelled' || phase === 'Planned';

/**
 * What the watcher does about a NodeOpUpgrade, by what the resource says and how Temporal describes its workflow
 * (never by a list of workflows, which lags). What is done is said by the resource's status and generation: Temporal
 * forgets after its retention, and may lose its database.
 * @param joined nodes that joined after its last attempt began, and that it is to upgrade, too
 * @param again whether people want nodes of the attempt that has ended tried again
 */
export function decideEngine(
  resource: NodeOpUpgrade | undefined,
  engine: EngineState,
  joined: readonly string[] = [],
  again = false,
): EngineDecision {
  const wanted = resource?.metadata.deletionTimestamp === undefined ? resource : undefined;
  if (wanted === undefined) {
    return engine.state === 'Open'
      ? { action: 'cancel', reason: 'its NodeOpUpgrade was deleted' }
      : { action: 'nothing' };
  }
  if (engine.state === 'Open') return openWorkflow(engine.memo, wanted);
  const memo = engine.state !== 'NotFound' && engine.memo?.uid === wanted.metadata.uid ? engine.memo : undefined;
  const status = wanted.status?.rollout;
  const ended = status?.generation === wanted.metadata.generation && isFinal(status?.phase);
  return ended ? afterEnd(wanted, status, engine, memo, { joined, again }) : beforeEnd(wanted, status, engine, memo);
}

const asks = (retry: string | undefined) => (retry === undefined ? {} : { retry });
/** As much of the annotation as the status holds. */
const retryOf = ({ metadata }: NodeOpUpgrade) => metadata.annotations?.[RETRY_ANNOTATION]?.slice(0, LONGEST_RETRY);

/** The attempt of this generation has ended: a new value of the annotation opens the next one, or nodes that joined. */
function afterEnd(
  wanted: NodeOpUpgrade,
  status: RolloutStatus,
  engine: EngineState,
  memo: RolloutMemo | undefined,
  { joined, again }: { joined: readonly string[]; again: boolean },
): EngineDecision {
  const retry = retryOf(wanted);
  const attempt = Math.max(status.attempt, memo?.attempt ?? 0) + 1;
  if (retry === undefined || retry === status.retry)
    return again ? { action: 'start', attempt, again, ...asks(retry) } : forJoined(wanted, status, memo, joined);
  // The workflow that answered this value is closed, and said nothing.
  const answered = memo?.generation === status.generation && memo.retry === retry && memo.attempt > status.attempt;
  if (answered) return closedWorkflow(engine, wanted);
  return { action: 'start', attempt, ...asks(retry) };
}

/** An attempt for nodes that joined later, and for those only. The annotation that was answered stays answered. */
function forJoined(
  wanted: NodeOpUpgrade,
  status: RolloutStatus,
  memo: RolloutMemo | undefined,
  joined: readonly string[],
): EngineDecision {
  // One that has begun since is closed, and said nothing: it is a person's to look at.
  const begun = memo?.generation === status.generation && memo.attempt > status.attempt;
  if (joined.length === 0 || begun) return { action: 'nothing' };
  return { action: 'start', attempt: status.attempt + 1, nodeNames: [...joined], ...asks(retryOf(wanted)) };
}

/** Nothing says that this generation has ended: its workflow was never started, was lost, or could not say so. */
function beforeEnd(
  wanted: NodeOpUpgrade,
  status: RolloutStatus | undefined,
  engine: EngineState,
  memo: RolloutMemo | undefined,
): EngineDecision {
  const generation = wanted.metadata.generation ?? 0;
  if (memo?.generation === generation) return closedWorkflow(engine, wanted);
  const attempt = nextAttempt(status, generation);
  return {
    action: 'start',
    attempt: memo === undefined ? attempt : Math.max(attempt, memo.attempt + 1),
    ...asks(retryOf(wanted)),
  };
}

/** A new generation opens the next attempt; the same one, without an end, is still the one that is open. */
function nextAttempt(status: RolloutStatus | undefined, generation: number): number {
  if (status === undefined) return 1;
  return status.generation === generation ? status.attempt : status.attempt + 1;
}

function closedWorkflow(engine: EngineState, { metadata }: NodeOpUpgrade): EngineDecision {
  const memo = engine.state === 'NotFound' ? undefined : engine.memo;
  const about = { attempt: memo?.attempt ?? 1, ...(memo?.retry === undefined ? {} : { retry: memo.retry }) };
  switch (engine.state) {
    case 'NotFound':
    case 'Open':
      return { action: 'nothing' };
    case 'Completed': {
      const message = `Completed: its workflow has closed, and the resource does not say how it ended: was it restored from a backup? See the workflow in the Temporal UI. Start again with kubectl annotate -n ${metadata.namespace} nodeopupgrade ${metadata.name} --overwrite ${RETRY_ANNOTATION}="$(date +%s)"`;
      return { action: 'recordEnd', phase: 'Failed', message, ...about };
    }
    case 'Canceled':
      return { action: 'recordEnd', phase: 'Cancelled', message: 'its workflow was cancelled', ...about };
    case 'Failed':
    case 'Terminated':
    case 'TimedOut': {
      const message = `${engine.state}: its workflow did not end by itself: look at it in the Temporal UI; nodes in hand are put in order. Start again with kubectl annotate -n ${metadata.namespace} nodeopupgrade ${metadata.name} --overwrite ${RETRY_ANNOTATION}="$(date +%s)"`;
      return { action: 'recordEnd', phase: 'Failed', message, ...about };
    }
  }
}

function openWorkflow(memo: RolloutMemo | undefined, { metadata, status }: NodeOpUpgrade): EngineDecision {
  const { uid = '', generation = 0, annotations = {} } = metadata;
  if (memo?.uid !== uid) return { action: 'cancel', reason: 'its NodeOpUpgrade was deleted and made again' };
  if (memo.generation !== generation) return { action: 'cancel', reason: 'its NodeOpUpgrade was edited', edited: true };
  const rollout = status?.rollout;
  if (rollout?.phase === 'Cancelling') return { action: 'nothing' };
  const paused = rollout?.generation === generation ? rollout.paused : undefined;
  const reason = pauseReason(annotations);
  if (reason !== undefined)
    return paused?.by === 'kubectl' && paused.reason === reason ? { action: 'nothing' } : { action: 'pause', reason };
  return paused?.by === 'kubectl' ? { action: 'resume' } : { action: 'nothing' };
}

/** Characters of a retry's value that are told apart. */
const LONGEST_RETRY = 250;

/** Characters of a reason that a rollout keeps. */
const LONGEST_REASON = 900;

/** Why a NodeOpUpgrade is to be paused, by its annotation, or undefined. `false` means what it says. */
export function pauseReason(annotations: Readonly<Record<string, string>>): string | undefined {
  const text = annotations[PAUSE_ANNOTATION]?.trim();
  if (text === undefined || text === 'false') return undefined;
  return text === '' ? 'no reason given' : text.slice(0, LONGEST_REASON);
}
