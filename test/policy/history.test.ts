import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { history as schema } from '../../api/schemas/history.ts';
import { ROLLOUT_PHASES } from '../../api/schemas/rollout-phase.ts';
import type { PastAttempt, RolloutStatus } from '../../api/types.ts';
import { isFinal } from '../../policy/engine.ts';
import { pastAttempt, remember } from '../../policy/history.ts';

const AT = Date.parse('2026-03-01T12:00:00Z');
const rollout = (more: Partial<RolloutStatus> = {}): RolloutStatus => ({
  workflowID: 'rollout/x',
  generation: 2,
  attempt: 1,
  phase: 'Completed',
  message: '3 of 3 nodes run v4.0.3',
  startedAt: '2026-03-01T10:00:00Z',
  finishedAt: '2026-03-01T11:00:00Z',
  ...more,
});

describe('what is remembered of an attempt', () => {
  it('is how it ended', () => {
    const status = rollout({ image: 'i', version: 'v4.0.3', total: 3, verdicts: { Succeeded: 3 }, retry: '17' });
    expect(pastAttempt(status, AT)).toEqual({
      attempt: 1,
      generation: 2,
      phase: 'Completed',
      message: '3 of 3 nodes run v4.0.3',
      image: 'i',
      version: 'v4.0.3',
      retry: '17',
      total: 3,
      verdicts: { Succeeded: 3 },
      startedAt: '2026-03-01T10:00:00Z',
      finishedAt: '2026-03-01T11:00:00Z',
    });
  });

  it('is by whom it was paused when it ended', () => {
    const paused = { by: 'kubectl', reason: 'disk alarm', since: '2026-03-01T10:30:00Z' } as const;
    expect(pastAttempt(rollout({ phase: 'Cancelled', paused }), AT).paused).toBe('kubectl: disk alarm');
  });

  it('is who ended it, and the last five things that people asked of it', () => {
    const asked = {
      by: 'kubectl',
      who: 'kubectl-annotate',
      reason: 'r'.repeat(900),
      at: '2026-03-01T10:30:00Z',
    } as const;
    const requests = ['pause', 'resume', 'skip a', 'skip b', 'skip c', 'abort'].map((what) => ({
      what,
      ...asked,
      accepted: true,
      message: 'done',
    }));
    const past = pastAttempt(rollout({ phase: 'Cancelled', endedBy: asked, requests }), AT);
    const short = { ...asked, reason: 'r'.repeat(280) };
    expect(past.endedBy).toEqual(short);
    expect(past.requests).toEqual(
      ['resume', 'skip a', 'skip b', 'skip c', 'abort'].map((what) => ({ what, ...short, accepted: true })),
    );
  });

  it('is, of one whose end nobody knows, that it is not known', () => {
    const { finishedAt: _, ...running } = rollout({ phase: 'Running', message: 'wave workers' });
    expect(pastAttempt(running, AT)).toMatchObject({
      phase: 'Failed',
      message: expect.stringMatching(/^its end is not known: it was Running when .* \(wave workers\)$/),
      finishedAt: '2026-03-01T12:00:00.000Z',
    });
  });
});

const anyRollout: fc.Arbitrary<RolloutStatus> = fc
  .record({
    attempt: fc.integer({ min: 1, max: 25 }),
    phase: fc.constantFrom(...ROLLOUT_PHASES),
    message: fc.string({ maxLength: 4000 }),
    failed: fc.nat(100),
    requests: fc.nat(20),
  })
  .map(({ failed, requests, ...more }) =>
    rollout({
      ...more,
      requests: Array.from({ length: requests }, () => ({
        what: `skip ${'w'.repeat(300)}`,
        by: 'temporal' as const,
        who: 'a'.repeat(200),
        reason: 'r'.repeat(900),
        at: '2026-03-01T10:30:00Z',
        accepted: false,
        message: 'm'.repeat(900),
      })),
      failed: Array.from({ length: failed }, (_, n) => ({
        name: `worker-${n}`,
        verdict: 'Lost' as const,
        message: 'm'.repeat(1024),
      })),
    }),
  );

it('the history is bounded, newest first, each attempt once, with ends only, and the same when written twice', () => {
  fc.assert(
    fc.property(fc.array(anyRollout, { maxLength: 40 }), (rollouts) => {
      let history: PastAttempt[] = [];
      for (const one of rollouts) {
        const past = pastAttempt(one, AT);
        history = remember(history, past);
        expect(remember(history, past)).toEqual(history);
      }
      expect(schema.safeParse(history).error).toBeUndefined();
      const attempts = history.map(({ attempt }) => attempt);
      expect(attempts).toEqual([...new Set(attempts)].sort((a, b) => b - a));
      expect(history.every(({ phase }) => isFinal(phase))).toBe(true);
      const newest = [...new Set(rollouts.map(({ attempt }) => attempt))].sort((a, b) => b - a).slice(0, 10);
      expect(attempts.length).toBe(newest.length);
      expect(JSON.stringify(history).length).toBeLessThan(90_000);
    }),
  );
});
