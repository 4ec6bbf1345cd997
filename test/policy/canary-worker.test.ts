import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { PlannedWave } from '../../api/plan-messages.ts';
import { withCanaryWorkerFirst } from '../../policy/canary-worker.ts';
import { canaryRefusal } from '../../policy/skew.ts';

const ref = (name: string) => ({ name, uid: `uid-${name}` });
const wave = (name: string, group: PlannedWave['group'], nodes: string[], more: Partial<PlannedWave> = {}) => ({
  name,
  group,
  nodes: nodes.map(ref),
  budget: group === 'worker' ? 3 : 1,
  ...more,
});
const controlPlane = wave('control-plane', 'control-plane', ['cp-1', 'cp-2']);

describe('one worker before the control plane', () => {
  it('is the first of the workers, in a wave of its own, none of which may fail', () => {
    const canary = { name: 'worker-canary', group: 'worker', nodes: [ref('w-1')], budget: 1, maxFailed: 0 };
    expect(withCanaryWorkerFirst([controlPlane, wave('workers', 'worker', ['w-1', 'w-2'])])).toEqual([
      canary,
      controlPlane,
      wave('workers', 'worker', ['w-2']),
    ]);
  });

  it('takes the place, and the soak, of a wave of one', () => {
    const waves = [controlPlane, wave('canary', 'worker', ['w-1'], { soakMs: 5 }), wave('rest', 'worker', ['w-2'])];
    expect(withCanaryWorkerFirst(waves)).toEqual([
      expect.objectContaining({ name: 'worker-canary', nodes: [ref('w-1')], soakMs: 5 }),
      controlPlane,
      wave('rest', 'worker', ['w-2']),
    ]);
  });

  it('is not begun without the approval that its wave waits for', () => {
    const approved = wave('first', 'worker', ['w-1', 'w-2'], { approval: true });
    expect(withCanaryWorkerFirst([controlPlane, approved])).toEqual([
      expect.objectContaining({ name: 'worker-canary', nodes: [ref('w-1')], approval: true }),
      controlPlane,
      wave('first', 'worker', ['w-2'], { approval: true }),
    ]);
  });

  it.each<[string, PlannedWave[]]>([
    ['control plane', [wave('workers', 'worker', ['w-1', 'w-2'])]],
    ['worker', [controlPlane]],
    ['node', []],
  ])('changes nothing where there is no %s', (_, waves) => {
    expect(withCanaryWorkerFirst(waves)).toEqual(waves);
  });

  it('keeps each node once, and gives no two waves one name', () => {
    const some = fc.array(
      fc.record({
        name: fc.constantFrom('worker-canary', 'worker-canary-2', 'a', 'b'),
        count: fc.nat(3),
      }),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(some, (drawn) => {
        const unique = drawn.filter(({ name }, n) => drawn.findIndex((other) => other.name === name) === n);
        const names = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}-n${n}`);
        const waves = [controlPlane, ...unique.map(({ name, count }) => wave(name, 'worker', names(name, count)))];
        const made = withCanaryWorkerFirst(waves);
        const all = (of: PlannedWave[]) => of.flatMap(({ nodes }) => nodes.map(({ name }) => name)).sort();
        expect(all(made)).toEqual(all(waves));
        expect(new Set(made.map(({ name }) => name)).size).toBe(made.length);
      }),
    );
  });
});

describe('an image that a worker may not have before the control plane', () => {
  it.each<[string, string[], string | undefined, RegExp | undefined]>([
    ['has a newer minor', ['v1.33.9+k3s1'], 'v1.34.1+k3s1', /1\.34 in the image is not the control plane's 1\.33/],
    ['has an older one', ['v1.33.9+k3s1'], 'v1.32.1+k3s1', /canaryWorkerFirst out$/],
    ['is not that of all of the control plane', ['v1.33.9', 'v1.32.1'], 'v1.33.10', /1\.32/],
    ['has the same minor, and may', ['v1.33.9', 'v1.33.1'], 'v1.33.10', undefined],
    ['has no Kubernetes, and may', ['v1.33.9'], undefined, undefined],
  ])('%s', (_, running, image, words) => {
    if (words === undefined) expect(canaryRefusal(running, image)).toBeUndefined();
    else expect(canaryRefusal(running, image)).toMatch(words);
  });
});
