import { describe, expect, it } from '@jest/globals';
import type { RolloutMemo } from '../../api/messages.ts';
import type { NodeOpUpgrade, RolloutPhase, RolloutStatus } from '../../api/types.ts';
import { type EngineDecision, type EngineState, decideEngine } from '../../policy/engine.ts';

const status = (phase: RolloutPhase, generation: number, attempt = 1): RolloutStatus => ({
  workflowID: 'rollout/x',
  generation,
  attempt,
  phase,
});
const upgrade = (rollout?: RolloutStatus, metadata: Partial<NodeOpUpgrade['metadata']> = {}): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'uid-1', generation: 2, ...metadata },
  spec: { image: 'quay.io/kairos/hadron:v4.0.3' },
  ...(rollout === undefined ? {} : { status: { rollout } }),
});
const memo = (more: Partial<RolloutMemo> = {}): RolloutMemo => ({ uid: 'uid-1', generation: 2, attempt: 1, ...more });
const NOT_FOUND: EngineState = { state: 'NotFound' };
const NOTHING: EngineDecision = { action: 'nothing' };
const RETRY = { annotations: { 'kairos.io/retry': 'two' } };

describe('nodes that joined after a rollout', () => {
  const done = status('Completed', 2, 3);
  const closed: EngineState = { state: 'Completed', memo: memo({ attempt: 3 }) };
  const start = { action: 'start', attempt: 4, nodeNames: ['n-1', 'n-2'] };
  it.each<[string, NodeOpUpgrade | undefined, EngineState, object]>([
    ['open the next attempt, for them only', upgrade(done), closed, start],
    ['open it also where Temporal has forgotten the last one', upgrade(done), NOT_FOUND, start],
    [
      'leave an annotation answered that was',
      upgrade({ ...done, retry: 'two' }, RETRY),
      closed,
      { ...start, retry: 'two' },
    ],
    [
      'give way to one that was not: all nodes are tried',
      upgrade(done, RETRY),
      closed,
      { action: 'start', attempt: 4, retry: 'two' },
    ],
    [
      'wait while a rollout runs',
      upgrade(status('Running', 2, 3)),
      { state: 'Open', memo: memo({ attempt: 3 }) },
      NOTHING,
    ],
    [
      'do not start it again where the attempt that they opened has closed and said nothing',
      upgrade(done),
      { state: 'Terminated', memo: memo({ attempt: 4 }) },
      NOTHING,
    ],
    ['are nobody’s where the resource is gone', undefined, closed, NOTHING],
  ])('%s', (_, resource, engine, expected) => {
    expect(decideEngine(resource, engine, ['n-1', 'n-2'])).toEqual(expected);
  });
});
