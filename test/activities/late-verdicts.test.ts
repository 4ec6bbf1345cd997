import { describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { readLateVerdicts } from '../../activities/late-verdicts.ts';
import type { KairosNodeStatus, Verdict } from '../../api/types.ts';
import { HAND } from './step-world.ts';

const { cluster, rolloutID, request, spec } = HAND;
const context = { cluster, rolloutID, request, spec };

function read(verdict: Verdict, attempt = request.attempt) {
  const lastAttempt: KairosNodeStatus['lastAttempt'] = {
    rollout: rolloutID,
    request: { ...request, attempt },
    specGeneration: 1,
    image: 'i',
    verdict,
    message: 'x'.repeat(4000),
    finishedAt: '2026-03-01T10:00:00Z',
  };
  const kairosNodes = { get: (name: string) => (name === 'n-1' ? { status: { lastAttempt } } : undefined) };
  const view = { ref: cluster, kairosNodes } as unknown as ClusterView;
  return readLateVerdicts(view, {
    context,
    nodes: [
      { name: 'n-1', verdict: 'Lost' },
      { name: 'gone', verdict: 'Lost' },
    ],
  });
}

describe('what came late of a verdict', () => {
  it.each<[string, Verdict, boolean]>([
    ['is that the node runs the target', 'Succeeded', false],
    ['is that it fell back', 'RolledBack', true],
  ])('%s', (_, verdict, failure) => {
    expect(read(verdict)).toEqual([{ name: 'n-1', verdict, message: 'x'.repeat(1000), failure }]);
  });

  it('is nothing where it stands, or another attempt followed, or the node is gone', () => {
    expect(read('Lost')).toEqual([]);
    expect(read('Succeeded', 2)).toEqual([]);
  });
});
