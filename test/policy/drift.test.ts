import { describe, expect, it } from '@jest/globals';
import { VERDICTS } from '../../api/schemas/kairos-node.ts';
import type { KairosNodeStatus } from '../../api/types.ts';
import { type DeclaredNode, handMadeDrift } from '../../policy/drift.ts';

const IMAGE = 'quay.io/kairos/hadron:v4.0.3';
const RUNS = {
  KAIROS_VERSION: 'v4.0.3',
  KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1',
  KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
};

const edited = (more: Partial<DeclaredNode> = {}): DeclaredNode => ({
  generation: 4,
  spec: { image: IMAGE },
  specManagers: ['kubectl-edit'],
  status: {},
  ...more,
});
const attempt = (more: Partial<NonNullable<KairosNodeStatus['lastAttempt']>> = {}): KairosNodeStatus => ({
  lastAttempt: {
    rollout: 'rollout/x',
    specGeneration: 4,
    image: IMAGE,
    verdict: 'RolledBack',
    finishedAt: '2026-03-01T10:00:00Z',
    ...more,
  },
});

describe('a drift made by hand', () => {
  it.each<[string, DeclaredNode]>([
    ['a person named an image', edited()],
    [
      'a person changed one field of what the operator stamped',
      edited({ specManagers: ['kairos-operator', 'kubectl'] }),
    ],
    [
      'the version that was asked for is another one',
      edited({ spec: { image: IMAGE, version: 'v4.1.0-k3sv1.34.1+k3s1' }, status: { release: RUNS } }),
    ],
    ['the version that runs is not known', edited({ spec: { image: IMAGE, version: 'v4.0.3' } })],
    ['the spec was edited after the last attempt', edited({ generation: 5, status: attempt() })],
    [
      'the annotation has another value than the one that was answered',
      edited({ retry: 'two', status: attempt({ retry: 'one' }) }),
    ],
    ['the annotation was set after the last attempt', edited({ retry: 'one', status: attempt() })],
    [
      'the last attempt was about another image',
      edited({ status: attempt({ image: 'quay.io/kairos/hadron:v4.0.2' }) }),
    ],
  ])('is there when %s', (_, node) => {
    expect(handMadeDrift(node)).toBe(IMAGE);
  });

  it.each<[string, DeclaredNode]>([
    ['no image is asked for', edited({ spec: {} })],
    ['the operator stamped it', edited({ specManagers: ['kairos-operator'] })],
    ['nobody holds the spec', edited({ specManagers: [] })],
    [
      'the node runs the version that is asked for, however it is written',
      edited({ spec: { image: IMAGE, version: 'v4.0.3-k3s-v1.33.9-k3s1' }, status: { release: RUNS } }),
    ],
  ])('is not there when %s', (_, node) => {
    expect(handMadeDrift(node)).toBeUndefined();
  });

  it.each<[string, DeclaredNode]>([
    ['answered', edited({ retry: 'one', status: attempt({ retry: 'one' }) })],
    ['answered and taken away', edited({ status: attempt({ retry: 'one' }) })],
  ])('is settled where the annotation was %s', (_, node) => {
    expect(handMadeDrift(node)).toBeUndefined();
  });

  it.each(VERDICTS)('is settled by an attempt that ended %s', (verdict) => {
    expect(handMadeDrift(edited({ status: attempt({ verdict }) }))).toBeUndefined();
  });
});
