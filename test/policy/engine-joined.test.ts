import { describe, expect, it } from '@jest/globals';
import type { NodeOpUpgrade } from '../../api/types.ts';
import { type EngineState, decideEngine } from '../../policy/engine.ts';
import { memo, NOT_FOUND, NOTHING, status, upgrade } from './engine-states.ts';

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
