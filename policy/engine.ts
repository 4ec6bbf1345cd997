import type { RolloutMemo } from '../api/messages.ts';
import type { NodeOpUpgrade, RolloutPhase, RolloutStatus } from '../api/types.ts';

/** How Temporal describes the workflow of a rollout. */
export type EngineState =
  | { state: 'NotFound' }
  | { state: 'Open' | 'Completed' | 'Failed' | 'Canceled' | 'Terminated' | 'TimedOut'; memo?: RolloutMemo };

export type EngineDecision =
  | { action: 'nothing' }
  | { action: 'start'; attempt: number }
  | { action: 'cancel'; reason: string }
  | { action: 'recordEnd'; phase: 'Failed' | 'Cancelled'; message: string };

export const isFinal = (phase: RolloutPhase | undefined) =>
  phase === 'Completed' || phase === 'Failed' || phase === 'Cancelled';

/**
 * What the watcher does about a NodeOpUpgrade, by what the resource says and how Temporal describes its workflow
 * (never by a list of workflows, which lags). What is done is said by the resource's status and generation: Temporal
 * forgets after its retention.
 */
export function decideEngine(resource: NodeOpUpgrade | undefined, engine: EngineState): EngineDecision {
  const wanted = resource?.metadata.deletionTimestamp === undefined ? resource : undefined;
  if (wanted === undefined) {
    return engine.state === 'Open'
      ? { action: 'cancel', reason: 'its NodeOpUpgrade was deleted' }
      : { action: 'nothing' };
  }
  const { uid = '', generation = 0 } = wanted.metadata;
  if (engine.state === 'Open') return openWorkflow(engine.memo, uid, generation);
  const status = wanted.status?.rollout;
  const about = status?.generation === generation;
  if (about && isFinal(status?.phase)) return { action: 'nothing' };
  const attempt = nextAttempt(status, generation);
  if (engine.state === 'NotFound') return { action: 'start', attempt };
  if (engine.memo?.uid !== uid) return { action: 'start', attempt };
  if (engine.memo.generation !== generation)
    return { action: 'start', attempt: Math.max(attempt, engine.memo.attempt + 1) };
  return closedWorkflow(engine.state);
}

/** A new generation opens the next attempt; the same one, without an end, is still the one that is open. */
function nextAttempt(status: RolloutStatus | undefined, generation: number): number {
  if (status === undefined) return 1;
  return status.generation === generation ? status.attempt : status.attempt + 1;
}

function closedWorkflow(state: 'Completed' | 'Failed' | 'Canceled' | 'Terminated' | 'TimedOut'): EngineDecision {
  switch (state) {
    case 'Completed':
      return { action: 'nothing' };
    case 'Canceled':
      return { action: 'recordEnd', phase: 'Cancelled', message: 'its workflow was cancelled' };
    case 'Failed':
    case 'Terminated':
    case 'TimedOut': {
      const message = `${state}: its workflow did not end by itself; look at it in the Temporal UI, then edit the spec to start again`;
      return { action: 'recordEnd', phase: 'Failed', message };
    }
  }
}

function openWorkflow(memo: RolloutMemo | undefined, uid: string, generation: number): EngineDecision {
  if (memo?.uid === uid && memo.generation === generation) return { action: 'nothing' };
  const reason = memo?.uid === uid ? 'its NodeOpUpgrade was edited' : 'its NodeOpUpgrade was deleted and made again';
  return { action: 'cancel', reason };
}
