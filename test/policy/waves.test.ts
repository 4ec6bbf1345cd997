import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { WaveSpec } from '../../api/rollout-spec.ts';
import { resolveBudget } from '../../policy/budget.ts';
import { SEGMENT_NODES, composeWaves, planWaves, rolloutFailures, type PlannedNode } from '../../policy/waves.ts';

const workers = (count: number, labels: (index: number) => Record<string, string> = () => ({})): PlannedNode[] =>
  Array.from({ length: count }, (_, index) => ({
    name: `w-${index + 1}`,
    uid: `u-${index + 1}`,
    labels: labels(index),
  }));

const STRATEGY = { maxUnavailable: 1, stopOnFailure: true };
/** What of a wave a table shows: name, nodes, and what else it says. */
const told = (waves: ReturnType<typeof planWaves>) =>
  waves.map(({ name, nodes, budget, soakMs, maxFailed }) => ({
    name,
    nodes: nodes.map((node) => node.name).join(' '),
    budget,
    ...(soakMs === undefined ? {} : { soakMs }),
    ...(maxFailed === undefined ? {} : { maxFailed }),
  }));

describe('without waves', () => {
  it('one worker goes first, soaks, and may not fail; the others follow', () => {
    expect(told(planWaves(workers(4), { ...STRATEGY, maxUnavailable: 3, canarySoakMs: 60_000 }))).toEqual([
      { name: 'canary', nodes: 'w-1', budget: 3, soakMs: 60_000, maxFailed: 0 },
      { name: 'workers', nodes: 'w-2 w-3 w-4', budget: 3, maxFailed: 0 },
    ]);
  });

  it('the canary soaks for five minutes where nothing else is known', () => {
    expect(planWaves(workers(2), STRATEGY)[0]?.soakMs).toBe(300_000);
  });

  it('one worker is a wave of its own, without a canary', () => {
    expect(told(planWaves(workers(1), STRATEGY))).toEqual([{ name: 'workers', nodes: 'w-1', budget: 1, maxFailed: 0 }]);
  });

  it('no worker is no wave', () => {
    expect(planWaves([], STRATEGY)).toEqual([]);
  });

  it('a failure budget of the rollout is not for the canary', () => {
    expect(told(planWaves(workers(20), { ...STRATEGY, maxFailed: '10%' })).map(({ maxFailed }) => maxFailed)).toEqual([
      0,
      undefined,
    ]);
  });

  it('stopOnFailure: false means no limit, of the canary neither', () => {
    const waves = planWaves(workers(5), { ...STRATEGY, stopOnFailure: false });
    expect(waves.map(({ maxFailed }) => maxFailed)).toEqual([undefined, undefined]);
  });

  it('a share of the nodes that may be out is of all workers, the canary included', () => {
    const waves = planWaves(workers(100), { ...STRATEGY, maxUnavailable: '25%' });
    expect(waves.map(({ budget }) => budget)).toEqual([25, 25]);
  });
});

describe('with waves', () => {
  const planWith = (count: number, waves: WaveSpec[], more: object = {}) =>
    told(planWaves(workers(count), { ...STRATEGY, waves, ...more })).map(({ name, nodes, ...rest }) => ({
      name,
      nodes: nodes === '' ? 0 : nodes.split(' ').length,
      ...rest,
    }));

  it('a share is of all workers, rounded down, and at least one; what is left comes last', () => {
    const waves = [
      { name: 'first', nodes: 1 },
      { name: 'tenth', nodes: '10%' },
      { name: 'half', nodes: '50%', maxUnavailable: '20%' },
    ];
    expect(planWith(39, waves, { maxFailed: 2 })).toEqual([
      { name: 'first', nodes: 1, budget: 1 },
      { name: 'tenth', nodes: 3, budget: 1 },
      { name: 'half', nodes: 19, budget: 3 },
      { name: 'workers', nodes: 16, budget: 1 },
    ]);
    expect(planWith(4, [{ name: 'tenth', nodes: '10%' }])).toMatchObject([{ nodes: 1 }, { nodes: 3 }]);
  });

  it('a wave that asks for more than there are gets what there is, and the empty ones behind it are left out', () => {
    expect(
      planWith(3, [
        { name: 'big', nodes: 10 },
        { name: 'none', nodes: 5 },
      ]),
    ).toMatchObject([{ name: 'big', nodes: 3 }]);
  });

  it('a wave that says nothing takes all that are left, under the name that it has', () => {
    expect(planWith(3, [{ name: 'one', nodes: 1 }, { name: 'rest' }])).toMatchObject([
      { name: 'one', nodes: 1 },
      { name: 'rest', nodes: 2 },
    ]);
    expect(planWith(3, [{ name: 'workers' }])).toMatchObject([{ name: 'workers', nodes: 3 }]);
  });

  it('a selector takes those that match, in their order, with nodes at most so many', () => {
    const zoned = workers(6, (index) => ({ zone: index % 2 === 0 ? 'a' : 'b' }));
    const nodeSelector = { matchLabels: { zone: 'b' } };
    const waves = [
      { name: 'b-first', nodeSelector, nodes: 1 },
      { name: 'b-rest', nodeSelector },
    ];
    expect(told(planWaves(zoned, { ...STRATEGY, waves }))).toMatchObject([
      { name: 'b-first', nodes: 'w-2' },
      { name: 'b-rest', nodes: 'w-4 w-6' },
      { name: 'workers', nodes: 'w-1 w-3 w-5' },
    ]);
  });

  it('its own failure budget is a share of its nodes, rounded down', () => {
    const waves = [
      { name: 'canary', nodes: 1, maxFailed: '50%' },
      { name: 'rest', maxFailed: '10%', soakMs: 0 },
    ];
    expect(planWith(40, waves)).toEqual([
      { name: 'canary', nodes: 1, budget: 1, maxFailed: 0 },
      { name: 'rest', nodes: 39, budget: 1, maxFailed: 3 },
    ]);
  });

  it('what is asked of a wave reaches the plan', () => {
    const waves: WaveSpec[] = [{ name: 'one', nodes: 1, soakMs: 7_000, approval: true }];
    expect(planWaves(workers(2), { ...STRATEGY, waves })[0]).toMatchObject({ soakMs: 7_000, approval: true });
  });
});

describe('a plan', () => {
  it('has the control plane first, one at a time, without a failure budget of its own', () => {
    const controlPlane = [{ name: 'cp-1', uid: 'c-1' }];
    const waves = composeWaves({ controlPlane, workers: workers(1) }, { ...STRATEGY, maxUnavailable: 9 });
    expect(waves[0]).toEqual({ name: 'control-plane', group: 'control-plane', nodes: controlPlane, budget: 1 });
    expect(waves.map(({ name }) => name)).toEqual(['control-plane', 'workers']);
    expect(composeWaves({ controlPlane: [], workers: [] }, STRATEGY)).toEqual([]);
  });

  it.each([
    [undefined, undefined],
    [0, 0],
    [3, 3],
    ['10%', 1],
    ['1%', 0],
    ['100%', 13],
  ])('with maxFailed %s of 3 + 10 nodes may lose %s', (maxFailed, expected) => {
    const groups = { controlPlane: workers(3), workers: workers(10) };
    expect(rolloutFailures(maxFailed === undefined ? {} : { maxFailed }, groups)).toBe(expected);
  });
});

describe('any strategy', () => {
  const share = (least: number) => fc.integer({ min: least, max: 100 }).map((percent) => `${percent}%`);
  const count = (least: number) => fc.oneof(fc.integer({ min: least, max: 30 }), share(least));
  const maybe = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: undefined });
  const waveSpec = fc.record(
    {
      nodes: count(1),
      nodeSelector: fc.constantFrom({ matchLabels: { zone: 'a' } }, { matchLabels: { zone: 'b' } }),
      maxUnavailable: count(1),
      maxFailed: count(0),
      soakMs: fc.integer({ min: 0, max: 3_600_000 }),
    },
    { requiredKeys: [] },
  );
  const strategy = fc.record(
    {
      waves: maybe(fc.array(waveSpec, { minLength: 1, maxLength: 8 })),
      maxUnavailable: count(1),
      maxFailed: maybe(count(0)),
      stopOnFailure: fc.boolean(),
    },
    { requiredKeys: ['maxUnavailable', 'stopOnFailure'] },
  );
  const size = fc.oneof(fc.nat({ max: 60 }), fc.constantFrom(SEGMENT_NODES, SEGMENT_NODES + 1));

  it('puts every worker into exactly one wave, keeps their order, leaves no wave empty', () => {
    const property = fc.property(strategy, size, (drawn, total) => {
      const all = workers(total, (index) => ({ zone: 'abc'.charAt(index % 3) }));
      const named = drawn.waves?.map((wave, index) => ({ name: `wave-${index}`, ...wave }));
      const { waves: _unnamed, ...rest } = drawn;
      const given = { ...rest, ...(named === undefined ? {} : { waves: named as WaveSpec[] }) };
      const planned = planWaves(all, given as Parameters<typeof planWaves>[1]);
      const index = new Map(all.map(({ name }, at) => [name, at]));

      expect(planned.flatMap(({ nodes }) => nodes.map(({ name }) => name)).sort()).toEqual(
        all.map(({ name }) => name).sort(),
      );
      expect(new Set(planned.map(({ name }) => name)).size).toBe(planned.length);
      for (const { name, nodes, budget, maxFailed, segment } of planned) {
        expect(nodes.length).toBeGreaterThan(0);
        const places = nodes.map((node) => index.get(node.name) ?? -1);
        expect(places).toEqual([...places].sort((a, b) => a - b));
        const asked = named?.find((wave) => wave.name === name);
        const most =
          asked?.maxUnavailable === undefined
            ? resolveBudget(drawn.maxUnavailable, total)
            : resolveBudget(asked.maxUnavailable, nodes.length);
        expect(budget).toBeGreaterThanOrEqual(1);
        expect(budget).toBeLessThanOrEqual(most);
        if (asked?.nodes !== undefined) expect(nodes.length).toBeLessThanOrEqual(resolveBudget(asked.nodes, total));
        expect(maxFailed ?? 0).toBeGreaterThanOrEqual(0);
        expect(segment).toBe(nodes.length > SEGMENT_NODES ? SEGMENT_NODES : undefined);
      }
    });
    fc.assert(property, { numRuns: 300 });
  });
});
