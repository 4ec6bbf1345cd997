import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { Verdict } from '../../api/types.ts';
import { countsAsFailed, exceededBudget, resolveFailures, waveFailures } from '../../policy/failure-budget.ts';

describe('a failure budget', () => {
  it.each([
    [0, 50, 0],
    [3, 2, 3],
    ['0%', 50, 0],
    ['10%', 9, 0],
    ['10%', 10, 1],
    ['10%', 19, 1],
    ['100%', 7, 7],
  ])('of %s of %i nodes is %i', (maxFailed, nodes, expected) => {
    expect(resolveFailures(maxFailed, nodes)).toBe(expected);
  });

  it.each([
    ['nothing said', { stopOnFailure: true }, undefined, 0],
    ['no limit by the older form', { stopOnFailure: false }, undefined, undefined],
    ['only the rollout has one', { stopOnFailure: true, maxFailed: 2 }, undefined, undefined],
    ['the wave has its own', { stopOnFailure: true }, 4, 4],
    ['both have one', { stopOnFailure: true, maxFailed: 2 }, '50%', 5],
    ['only this wave has a limit', { stopOnFailure: false }, 1, 1],
  ])('of a wave of ten, %s', (_, strategy, ofWave, expected) => {
    expect(waveFailures(strategy, ofWave, 10)).toBe(expected);
  });

  it('is exceeded by one more than it allows, and the message says whose', () => {
    expect(exceededBudget({ wave: 1, rollout: 5 }, { wave: 1, rollout: 5 })).toBeUndefined();
    expect(exceededBudget({ wave: 1, rollout: 5 }, { wave: 2, rollout: 2 })).toBe(
      '2 nodes have failed, and the failure budget of this wave (maxFailed) allows 1',
    );
    expect(exceededBudget({ rollout: 0 }, { wave: 0, rollout: 1 })).toBe(
      '1 node has failed, and the failure budget of the rollout (maxFailed) allows 0',
    );
    expect(exceededBudget({}, { wave: 999, rollout: 999 })).toBeUndefined();
  });

  it('once exceeded stays exceeded, whatever else fails', () => {
    const limit = fc.option(fc.nat({ max: 20 }), { nil: undefined });
    const property = fc.property(
      limit,
      limit,
      fc.nat({ max: 20 }),
      fc.nat({ max: 20 }),
      fc.nat({ max: 20 }),
      (w, r, a, b, more) => {
        const limits = { ...(w === undefined ? {} : { wave: w }), ...(r === undefined ? {} : { rollout: r }) };
        const before = exceededBudget(limits, { wave: a, rollout: a + b });
        const after = exceededBudget(limits, { wave: a + more, rollout: a + b + more });
        if (before !== undefined) expect(after).toBeDefined();
        if (after === undefined) expect(a + more).toBeLessThanOrEqual(w ?? Infinity);
      },
    );
    fc.assert(property);
  });
});

describe('counted against it', () => {
  const counted = (verdict: Verdict, tolerated?: true) =>
    countsAsFailed({ verdict, ...(tolerated === undefined ? {} : { tolerated }) });

  it.each(['RolledBack', 'Lost', 'Failed', 'Skipped', 'Unhealthy'] as const)('is %s', (verdict) => {
    expect(counted(verdict)).toBe(true);
  });

  it.each(['Succeeded', 'AlreadyOnTarget', 'Cancelled'] as const)('is not %s', (verdict) => {
    expect(counted(verdict)).toBe(false);
  });

  it('is no node that the strategy skips', () => {
    expect(counted('Skipped', true)).toBe(false);
  });
});
