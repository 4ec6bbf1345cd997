import * as fc from 'fast-check';
import { describe, expect, it } from '@jest/globals';
import { LEAST_KILLS, PARTS, planChaos } from '../../sim/chaos.ts';

const NODES = ['cp-1', 'worker-1', 'worker-2'];
const plans = fc.record({
  seed: fc.nat({ max: 2 ** 32 - 1 }),
  durationMs: fc.integer({ min: 5000, max: 3_600_000 }),
  nodes: fc.constant(NODES),
});

describe('a plan of kills', () => {
  it('is the same one for the same seed, and another one for another', () => {
    const options = { seed: 7, durationMs: 60_000, nodes: NODES };
    expect(planChaos(options)).toEqual(planChaos({ ...options }));
    expect(planChaos(options)).not.toEqual(planChaos({ ...options, seed: 8 }));
  });

  it('stays what it was, so that a seed that found something finds it again', () => {
    const plan = planChaos({ seed: 7, durationMs: 20_000, nodes: NODES });
    expect(plan.filter(({ part }) => part === 'api-server').slice(0, 2)).toEqual([
      { part: 'api-server', atMs: 5885, downMs: 1054, etcd: true },
      { part: 'api-server', atMs: 13_989, downMs: 1692, etcd: false },
    ]);
  });

  it('kills every part often enough before an undisturbed rollout would end', () => {
    fc.assert(
      fc.property(plans, (options) => {
        const sure = planChaos(options).filter(({ atMs }) => atMs <= options.durationMs * 0.75 + 1);
        for (const part of PARTS)
          expect(sure.filter((kill) => kill.part === part).length).toBeGreaterThanOrEqual(LEAST_KILLS);
      }),
    );
  });

  it('kills every part at least twice a minute, as long as the rollout may take', () => {
    const plan = planChaos({ seed: 1, durationMs: 600_000, nodes: NODES });
    for (const part of PARTS) {
      for (let minute = 0; minute < 15; minute++) {
        const inIt = plan.filter((kill) => kill.part === part && Math.floor(kill.atMs / 60_000) === minute);
        expect(inIt.length).toBeGreaterThanOrEqual(2);
      }
    }
  });

  it('is in the order of time, brings everything back within seconds, and names nodes that are there', () => {
    fc.assert(
      fc.property(plans, (options) => {
        const plan = planChaos(options);
        expect(plan.every(({ atMs }, index) => atMs >= (plan[index - 1]?.atMs ?? 0))).toBe(true);
        expect(plan.every(({ downMs }) => downMs >= 0 && downMs <= 4000)).toBe(true);
        const agents = plan.filter(({ part }) => part === 'agent');
        expect(agents.every(({ node = '' }) => NODES.includes(node))).toBe(true);
      }),
    );
  });

  it('takes etcd along with some API servers, and leaves it with others', () => {
    const plan = planChaos({ seed: 1, durationMs: 600_000, nodes: NODES });
    const fates = plan.filter(({ part }) => part === 'api-server').map(({ etcd }) => etcd);
    expect(new Set(fates)).toEqual(new Set([true, false]));
  });
});
