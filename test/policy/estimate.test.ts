import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { type Measured, type TimedWave, estimate, measuredMs, percentile, steadyTime } from '../../policy/estimate.ts';

const MINUTE = 60_000;
const worker = (minutes: number): Measured => ({ controlPlane: false, ms: minutes * MINUTE });
const server = (minutes: number): Measured => ({ controlPlane: true, ms: minutes * MINUTE });
const workers = (nodes: number, maxUnavailable: number, more: Partial<TimedWave> = {}): TimedWave => ({
  group: 'worker',
  nodes,
  maxUnavailable,
  ...more,
});

describe('what a past upgrade tells', () => {
  const last = {
    rollout: 'r',
    specGeneration: 1,
    image: 'i',
    verdict: 'Succeeded',
    startedAt: '2026-03-01T10:00:00Z',
    finishedAt: '2026-03-01T10:04:30Z',
  } as const;

  it('is how long the node was out', () => expect(measuredMs(last)).toBe(270_000));
  it('is nothing where it did not go well', () => {
    expect(measuredMs({ ...last, verdict: 'RolledBack' })).toBeUndefined();
    expect(measuredMs(undefined)).toBeUndefined();
    const { startedAt: _, ...never } = last;
    expect(measuredMs(never)).toBeUndefined();
  });
  it('is nothing where a clock went back', () =>
    expect(measuredMs({ ...last, finishedAt: '2026-03-01T09:00:00Z' })).toBeUndefined());
});

describe('an estimate', () => {
  it.each([
    ['one node', [workers(1, 1)], 4, 9],
    ['one after the other', [workers(5, 1)], 20, 45],
    ['three at once', [workers(5, 3)], 8, 18],
    ['more places than nodes', [workers(2, 10)], 4, 9],
    ['waves one after the other, with their soak', [workers(1, 1, { soakMs: 30 * MINUTE }), workers(4, 2)], 42, 57],
    ['no nodes', [], 0, 0],
  ])('of %s', (_, waves, typical, long) => {
    const measured = [3, 4, 4, 5, 9].map(worker);
    expect(estimate(waves, measured)).toEqual({ typicalMs: typical * MINUTE, longMs: long * MINUTE, upgrades: 5 });
  });

  it('is none without anything measured', () => expect(estimate([workers(1, 1)], [])).toBeUndefined());

  it('takes control-plane nodes by what was measured of such', () => {
    const waves: TimedWave[] = [{ group: 'control-plane', nodes: 3, maxUnavailable: 1 }, workers(3, 1)];
    expect(estimate(waves, [server(10), worker(2)])?.typicalMs).toBe(36 * MINUTE);
    expect(estimate(waves, [worker(2)])?.typicalMs).toBe(12 * MINUTE);
  });

  it.each([
    ['the one in hand is half through', 5, 4, [2], 2],
    ['it takes longer than usual', 5, 4, [60], 0.4],
    ['one waits behind it', 5, 3, [2], 6],
    ['none is in hand, two wait', 5, 3, [], 8],
  ])('of a wave in which %s', (_, nodes, ended, ages, minutes) => {
    const begun = { ended, inHand: ages.map((age) => ({ ageMs: age * MINUTE })) };
    expect(estimate([workers(nodes, 1)], [worker(4)], begun)?.typicalMs).toBe(minutes * MINUTE);
  });

  const measured = fc.array(fc.record({ controlPlane: fc.boolean(), ms: fc.integer({ min: 1, max: 9_000_000 }) }), {
    minLength: 1,
    maxLength: 20,
  });
  const wave = fc.record({
    group: fc.constantFrom('control-plane' as const, 'worker' as const),
    nodes: fc.integer({ min: 1, max: 2000 }),
    maxUnavailable: fc.integer({ min: 1, max: 50 }),
  });

  it('is never longer with another place, never shorter with another node, and its spread is one', () => {
    fc.assert(
      fc.property(wave, measured, (one, past) => {
        const now = estimate([one], past);
        const roomier = estimate([{ ...one, maxUnavailable: one.maxUnavailable + 1 }], past);
        const larger = estimate([{ ...one, nodes: one.nodes + 1 }], past);
        if (now === undefined || roomier === undefined || larger === undefined) throw new Error('no estimate');
        expect(now.longMs).toBeGreaterThanOrEqual(now.typicalMs);
        expect(roomier.typicalMs).toBeLessThanOrEqual(now.typicalMs);
        expect(larger.typicalMs).toBeGreaterThanOrEqual(now.typicalMs);
      }),
    );
  });

  it('never says that nothing is left while a node is', () => {
    const ages = fc.array(fc.integer({ min: 0, max: 90_000_000 }), { maxLength: 5 });
    fc.assert(
      fc.property(wave, measured, ages, fc.nat(3000), (one, past, inHand, ended) => {
        const begun = { ended, inHand: inHand.map((ageMs) => ({ ageMs })) };
        const left = one.nodes - ended > 0 || inHand.length > 0;
        const ms = estimate([one], past, begun)?.typicalMs ?? Number.NaN;
        expect(left ? ms > 0 : ms === 0).toBe(true);
      }),
    );
  });
});

it('a percentile is a number that was measured', () => {
  expect(percentile([1, 2, 3, 4], 0.5)).toBe(2);
  expect(percentile([1, 2, 3, 4], 0.9)).toBe(4);
  expect(percentile([7], 0.1)).toBe(7);
});

describe('a time that is shown', () => {
  const now = Date.parse('2026-03-01T10:00:00Z');
  const due = (minutes: number) => now + minutes * MINUTE;

  it.each([
    [1.02, '2026-03-01T10:01:05.000Z'],
    [25.4, '2026-03-01T10:26:00.000Z'],
    [300.1, '2026-03-01T15:05:00.000Z'],
    [3000.1, '2026-03-03T12:15:00.000Z'],
  ])('in %d minutes is %s', (minutes, shown) => expect(steadyTime(due(minutes), now, undefined)).toBe(shown));

  it('stays while what is due moves less than it is rounded to, and not beyond', () => {
    const shown = steadyTime(due(25.4), now, undefined);
    expect(steadyTime(due(26.9), now, shown)).toBe(shown);
    expect(steadyTime(due(27.1), now, shown)).toBe('2026-03-01T10:28:00.000Z');
  });

  it('never lies in the past', () => {
    const late = now + 26 * MINUTE;
    expect(Date.parse(steadyTime(late + 500, late, steadyTime(due(25.4), now, undefined)))).toBeGreaterThan(late);
  });

  it('is written a bounded number of times where what is due creeps away', () => {
    let shown: string | undefined;
    let writes = 0;
    // A node that hangs for an hour: its end is always a tenth of the usual away.
    for (let at = now; at < now + 60 * MINUTE; at += 1000) {
      const next = steadyTime(at + 30_000, at, shown, at - now);
      if (next !== shown) writes += 1;
      shown = next;
    }
    expect(writes).toBeLessThanOrEqual(200);
  });
});
