import { describe, expect, it } from '@jest/globals';
import type { KairosNodeStatus } from '../../api/types.ts';
import { rolloutWait, withWait } from '../../policy/rollout-wait.ts';
import { closedByWindow, measuredTime } from '../../policy/window-gate.ts';

const NIGHTLY = [{ cron: '0 22 * * *', durationMs: 2 * 3_600_000, timeZone: 'UTC' }];
const at = (time: string) => Date.parse(time);

/** An attempt that took so many minutes. */
const took = (minutes: number, rollout = 'rollout/c/ns/now', more: object = {}) =>
  ({
    rollout,
    specGeneration: 1,
    image: 'i',
    verdict: 'Succeeded',
    startedAt: '2026-03-01T10:00:00Z',
    finishedAt: new Date(at('2026-03-01T10:00:00Z') + minutes * 60_000).toISOString(),
    ...more,
  }) satisfies KairosNodeStatus['lastAttempt'];

describe('the time that a node needs', () => {
  const minutes = (attempts: Parameters<typeof measuredTime>[0]) => {
    const measured = measuredTime(attempts, 'rollout/c/ns/now');
    return measured && [measured.ms / 60_000, measured.nodes, measured.of];
  };
  it.each<[string, Parameters<typeof measuredTime>[0], unknown]>([
    ['is not known before one has ended', [undefined, undefined], undefined],
    ['is what the longest of few took', [took(4), took(9), took(6)], [9, 3, 'this rollout']],
    [
      'leaves out the one in ten that was held up',
      [...Array.from({ length: 9 }, (_, n) => took(n + 1)), took(240)],
      [9, 10, 'this rollout'],
    ],
    [
      'is that of this rollout, however long others took',
      [took(4), took(90, 'rollout/c/ns/before')],
      [4, 1, 'this rollout'],
    ],
    [
      'is that of earlier rollouts before any of this one has ended',
      [took(90, 'rollout/c/ns/before')],
      [90, 1, 'earlier rollouts'],
    ],
    ['is not told by a node that failed', [took(4, undefined, { verdict: 'RolledBack' })], undefined],
    [
      'nor by one that was not taken out',
      [took(4, undefined, { startedAt: undefined, verdict: 'AlreadyOnTarget' })],
      undefined,
    ],
    ['nor by clocks that went backwards', [took(-4)], undefined],
  ])('%s', (_, attempts, expected) => {
    expect(minutes(attempts)).toEqual(expected);
  });
});

describe('the gate Window', () => {
  const measured = { ms: 45 * 60_000, nodes: 7, of: 'this rollout' } as const;
  it.each<[string, string, typeof measured | undefined, object | undefined]>([
    ['is open in a window', '2026-03-02T22:30Z', measured, undefined],
    ['is open to its end where nothing has been measured', '2026-03-02T23:59Z', undefined, undefined],
    [
      'says until when it is closed',
      '2026-03-02T12:00Z',
      undefined,
      { gate: 'Window', reason: 'window closed until 2026-03-02T22:00:00Z', opensAtMs: at('2026-03-02T22:00Z') },
    ],
    [
      'says what a node needs where a window is open, and too short by now',
      '2026-03-02T23:30Z',
      measured,
      {
        gate: 'Window',
        reason:
          'window closed until 2026-03-03T22:00:00Z: it is open until 2026-03-03T00:00:00Z, but a node takes 45m00s, by the 7 of this rollout that are measured',
        opensAtMs: at('2026-03-03T22:00Z'),
      },
    ],
  ])('%s', (_, now, known, closed) => {
    expect(closedByWindow(NIGHTLY, at(now), known)).toEqual(closed);
  });

  it('does not open by itself where no window is long enough, and says how long they are', () => {
    const closed = closedByWindow(NIGHTLY, at('2026-03-02T22:30Z'), { ...measured, ms: 3 * 3_600_000 });
    expect(closed).not.toHaveProperty('opensAtMs');
    expect(closed?.reason).toBe(
      'window too short: a node takes 3h00m, by the 7 of this rollout that are measured, and the longest of those to come is open for 2h00m: lengthen strategy.windows',
    );
  });

  it('is open without windows', () => {
    expect(closedByWindow(undefined, 0, measured)).toBeUndefined();
  });
});

describe('what a whole rollout waits for', () => {
  it('is a window or what is not well, and not what one node waits for', () => {
    expect(rolloutWait({ gate: 'Window', reason: 'r', opensAtMs: at('2026-03-02T22:00Z') })).toEqual({
      reason: 'r',
      nextWindow: '2026-03-02T22:00:00Z',
    });
    expect(rolloutWait({ gate: 'Health', reason: 'r' })).toEqual({ reason: 'r' });
    expect(rolloutWait({ gate: 'Cordon', reason: 'r' })).toBeUndefined();
    expect(rolloutWait(undefined)).toBeUndefined();
  });

  it('stands behind what it does, once, and goes again', () => {
    const waits = withWait('wave workers: 3 nodes', 'window closed until then');
    expect(waits).toBe('wave workers: 3 nodes; waiting: window closed until then');
    expect(withWait(waits, 'health gate db: 1 of 3')).toBe('wave workers: 3 nodes; waiting: health gate db: 1 of 3');
    expect(withWait(waits, undefined)).toBe('wave workers: 3 nodes');
    expect(withWait('x'.repeat(4000), 'window closed')).toHaveLength(4000);
    expect(withWait('x'.repeat(4000), 'window closed')).toMatch(/; waiting: window closed$/);
  });
});
