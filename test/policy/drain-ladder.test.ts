import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { DrainSpec } from '../../api/rollout-spec.ts';
import { type LeftPod, decideRung } from '../../policy/drain-ladder.ts';

const DRAIN: DrainSpec = { force: false, volumeDetachMs: 0, onTimeout: 'Fail', overridableBudgets: [] };
const HELD: LeftPod = { namespace: 'db', name: 'pg-0', ready: true, state: 'Held', budgets: ['pg'] };
const SICK: LeftPod = { ...HELD, name: 'pg-1', ready: false };
const GOING: LeftPod = { ...HELD, name: 'pg-2', state: 'Terminating', budgets: [] };
const PG = { namespace: 'db', name: 'pg' };

describe('at the deadline of a drain', () => {
  it.each<[string, LeftPod[], Partial<DrainSpec>, object]>([
    ['the node is given back, by default', [HELD], {}, { rung: 'Fail' }],
    ['it is skipped', [HELD], { onTimeout: 'Skip' }, { rung: 'Skip' }],
    ['what is held is deleted', [HELD, GOING], { onTimeout: 'Delete' }, { rung: 'Delete', pods: [HELD] }],
    ['what is on its way is only waited for', [GOING], { onTimeout: 'Delete' }, { rung: 'Delete', pods: [] }],
    ['only what is not Ready is deleted', [SICK], { onTimeout: 'DeleteUnhealthy' }, { rung: 'Delete', pods: [SICK] }],
    [
      'nothing is, where a Ready pod would stay',
      [SICK, HELD],
      { onTimeout: 'DeleteUnhealthy' },
      { rung: 'Fail', why: expect.stringMatching(/^pod db\/pg-0 is Ready, .*: nothing was deleted$/) },
    ],
    [
      'a listed budget is gone past',
      [HELD],
      { onTimeout: 'Delete', overridableBudgets: [PG] },
      { rung: 'Delete', pods: [HELD] },
    ],
    [
      'one of that name in another namespace is not',
      [HELD],
      { onTimeout: 'Delete', overridableBudgets: [{ ...PG, namespace: 'shop' }] },
      {
        rung: 'Fail',
        why: expect.stringMatching(/PodDisruptionBudget pg is not among strategy\.drain\.overridableBudgets/),
      },
    ],
    [
      'nor is one that is not known, where some are listed',
      [{ ...HELD, budgets: [] }],
      { onTimeout: 'Delete', overridableBudgets: [PG] },
      { rung: 'Fail', why: expect.stringContaining('what holds it is not among') },
    ],
    [
      'all budgets of a pod must be listed',
      [{ ...HELD, budgets: ['pg', 'other'] }],
      { onTimeout: 'Delete', overridableBudgets: [PG] },
      { rung: 'Fail', why: expect.any(String) },
    ],
  ])('%s', (_, left, drain, expected) => {
    expect(decideRung(left, { ...DRAIN, ...drain })).toEqual(expected);
  });

  it('all that is held is deleted or nothing, and never what is not', () => {
    const pod = fc.record<LeftPod>({
      namespace: fc.constantFrom('db', 'shop'),
      name: fc.string({ minLength: 1, maxLength: 5 }),
      ready: fc.boolean(),
      state: fc.constantFrom('Held', 'Terminating'),
      budgets: fc.subarray(['pg', 'web']),
    });
    const drain = fc.record({
      onTimeout: fc.constantFrom<DrainSpec['onTimeout']>('Fail', 'Skip', 'Delete', 'DeleteUnhealthy'),
      overridableBudgets: fc.subarray([PG, { namespace: 'shop', name: 'web' }]),
    });
    fc.assert(
      fc.property(fc.array(pod), drain, (left, given) => {
        const rung = decideRung(left, { ...DRAIN, ...given });
        if (rung.rung !== 'Delete') return;
        expect(given.onTimeout).toMatch(/^Delete/);
        expect(rung.pods).toEqual(left.filter(({ state }) => state === 'Held'));
        if (given.onTimeout === 'DeleteUnhealthy') expect(rung.pods.some(({ ready }) => ready)).toBe(false);
      }),
    );
  });
});
