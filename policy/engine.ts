import type { RolloutMemo } from '../api/messages.ts';
import type { NodeOpUpgrade, RolloutPhase } from '../api/types.ts';

/** How Temporal describes the workflow of a rollout. */
export type EngineState =
  | { state: 'NotFound' }
  | { state: 'Open' | 'Completed' | 'Failed' | 'Canceled' | 'Terminated' | 'TimedOut'; memo?: RolloutMemo };

export type EngineDecision =
  | { action: 'nothing' }
  | { action: 'start'; attempt: number }
  | { action: 'cancel'; reason: string }
  | { action: 'recordEnd'; phase: 'Failed' | 'Cancelled'; message: string };

export const isFinal = (phase: RolloutPhase | undefined) => phase === 'Completed' || phase === 'Failed' || phase === 'Cancelled';

/**
 * What the watcher does about a NodeOpUpgrade, by what the resource says and how Temporal describes its workflow
 * (never by a list of workflows, which lags). What is done is said by the resource's status and generation: Temporal
 * forgets after its retention.
 */
export function decideEngine(resource: NodeOpUpgrade | undefined, engine: EngineState): EngineDecision {
  const wanted = resource?.metadata.deletionTimestamp === undefined ? resource : undefined;
  if (wanted === undefined) {
    return engine.state === 'Open' ? { action: 'cancel', reason: 'its NodeOpUpgrade was deleted' } : { action: 'nothing' };
  }
  const { uid = '', generation = 0 } = wanted.metadata;
  const status = wanted.status?.rollout;
  const about = status?.generation === generation;
  const attempt = status === undefined ? 1 : about ? status.attempt : status.attempt + 1;

  if (engine.state === 'Open') return openWorkflow(engine.memo, uid, generation);
  if (about && isFinal(status?.phase)) return { action: 'nothing' };
  if (engine.state === 'NotFound') return { action: 'start', attempt };
  const same = engine.memo?.uid === uid && engine.memo.generation === generation;
  if (!same) return { action: 'start', attempt: Math.max(attempt, engine.memo?.uid === uid ? engine.memo.attempt + 1 : 1) };
  switch (engine.state) {
    case 'Completed':
      return { action: 'nothing' };
    case 'Canceled':
      return { action: 'recordEnd', phase: 'Cancelled', message: 'its workflow was cancelled' };
    case 'Failed':
    case 'Terminated':
    case 'TimedOut':
      return { action: 'recordEnd', phase: 'Failed', message: `${engine.state}: its workflow did not end by itself; look at it in the Temporal UI, then edit the spec to start again` };
  }
}

function openWorkflow(memo: RolloutMemo | undefined, uid: string, generation: number): EngineDecision {
  if (memo?.uid === uid && memo.generation === generation) return { action: 'nothing' };
  const reason = memo?.uid === uid ? 'its NodeOpUpgrade was edited' : 'its NodeOpUpgrade was deleted and made again';
  return { action: 'cancel', reason };
}
