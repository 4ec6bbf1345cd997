import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { BOOT_STATES } from '../../api/schemas/kairos-node.ts';
import type { KairosNodeAgentStatus, Verdict } from '../../api/types.ts';
import { type Evidence, judge, judgeOverdue } from '../../policy/verdict.ts';

const OLD = { KAIROS_VERSION: 'v4.0.2' };
const NEW = { KAIROS_VERSION: 'v4.0.3' };
const STAMP = { image: 'i', sourceBootID: 'boot-1' };

const evidence = (report: KairosNodeAgentStatus | undefined, more: Partial<Evidence> = {}): Evidence => ({
  sourceBootID: 'boot-1',
  target: { version: 'v4.0.3' },
  node: { bootID: 'boot-2', ready: true },
  ...(report === undefined ? {} : { report }),
  ...more,
});
const report = (more: KairosNodeAgentStatus = {}): KairosNodeAgentStatus => ({
  bootID: 'boot-2',
  bootState: 'active',
  release: NEW,
  ...more,
});

describe('the evidence from the new boot', () => {
  it.each<[string, KairosNodeAgentStatus, Verdict, RegExp]>([
    ['active, on the target, with the stamp', report({ stamp: STAMP }), 'Succeeded', /proven by the stamp/],
    ['active, on the target, without a stamp', report(), 'Succeeded', /from its active image/],
    [
      'unknown slot, on the target, with the stamp',
      report({ bootState: 'unknown', stamp: STAMP }),
      'Succeeded',
      /stamp/,
    ],
    ['unknown slot, on the target, without a stamp', report({ bootState: 'unknown' }), 'Unverified', /neither/],
    ['active, on the old version', report({ release: OLD }), 'WrongVersion', /runs v4\.0\.2, wanted v4\.0\.3/],
    [
      'active, with the stamp of another upgrade',
      report({ stamp: { sourceBootID: 'boot-0' } }),
      'WrongVersion',
      /boot-0/,
    ],
    ['active, with an unreadable release', report({ release: {} }), 'WrongVersion', /an unknown version/],
    ['passive, on the old version', report({ bootState: 'passive', release: OLD }), 'RolledBack', /passive/],
    ['passive, with a version that looks alike', report({ bootState: 'passive' }), 'RolledBack', /passive/],
    ['passive, even with the stamp', report({ bootState: 'passive', stamp: STAMP }), 'RolledBack', /passive/],
    ['recovery', report({ bootState: 'recovery' }), 'RolledBack', /recovery/],
    ['a live medium', report({ bootState: 'livecd', stamp: STAMP }), 'WrongVersion', /remove it/],
  ])('%s', (_, seen, verdict, message) => {
    expect(judge(evidence(seen))).toEqual({ verdict, message: expect.stringMatching(message) });
  });

  it('accepts a version in another spelling', () => {
    const release = { ...NEW, KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1', KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s' };
    const target = { version: 'v4.0.3-k3s-v1.33.9-k3s1' };
    expect(judge(evidence(report({ release }), { target }))?.verdict).toBe('Succeeded');
  });

  it.each<[string, Evidence]>([
    [
      'while the node is in the boot that wrote the image',
      evidence(report({ bootID: 'boot-1' }), { node: { bootID: 'boot-1', ready: true } }),
    ],
    ['while the node is not Ready', evidence(report(), { node: { bootID: 'boot-2', ready: false } })],
    ['while its agent has not reported', evidence(undefined)],
    ['while the report is from the boot before', evidence(report({ bootID: 'boot-1' }))],
    ['while the report does not say from which boot it is', evidence({ bootState: 'active', release: NEW })],
    [
      'while neither side knows its boot',
      evidence({ bootState: 'active', release: NEW }, { node: { bootID: '', ready: true } }),
    ],
  ])('is not enough %s', (_, seen) => {
    expect(judge(seen)).toBeUndefined();
  });
});

const bootID = fc.constantFrom('', 'boot-1', 'boot-2', 'boot-3');
const anyReport = fc.record<KairosNodeAgentStatus>(
  {
    bootID,
    bootState: fc.constantFrom(...BOOT_STATES),
    release: fc.constantFrom(OLD, NEW, {}),
    stamp: fc.record({ sourceBootID: bootID }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
);
const anyEvidence: fc.Arbitrary<Evidence> = fc.record(
  {
    sourceBootID: fc.constantFrom('boot-1', 'boot-2'),
    target: fc.constant({ version: 'v4.0.3' }),
    node: fc.record({ bootID, ready: fc.boolean() }),
    report: anyReport,
  },
  { requiredKeys: ['sourceBootID', 'target', 'node'] },
);
const MANY = { numRuns: 2000 };

describe('whatever the evidence', () => {
  it('a success is proven: new boot, Ready, reported from that boot, not a fallback, on the target', () => {
    fc.assert(
      fc.property(anyEvidence, fc.boolean(), (seen, overdue) => {
        const judged = overdue ? judgeOverdue(seen, '30m') : judge(seen);
        if (judged?.verdict !== 'Succeeded') return;
        expect(seen.node.ready).toBe(true);
        expect(seen.node.bootID).not.toBe(seen.sourceBootID);
        expect(seen.report?.bootID).toBe(seen.node.bootID);
        expect(['active', 'unknown', undefined]).toContain(seen.report?.bootState);
        expect(seen.report?.release).toEqual(NEW);
        expect([undefined, seen.sourceBootID]).toContain(
          seen.report?.stamp && (seen.report.stamp.sourceBootID ?? 'none'),
        );
      }),
      MANY,
    );
  });

  it('a fallback is never anything else than rolled back', () => {
    fc.assert(
      fc.property(anyEvidence, (seen) => {
        const judged = judge(seen);
        if (judged === undefined) return;
        const fellBack = seen.report?.bootState === 'passive' || seen.report?.bootState === 'recovery';
        expect(judged.verdict === 'RolledBack').toBe(fellBack);
      }),
      MANY,
    );
  });

  it('a deadline always ends in a verdict, and in the same one that the evidence gives where there is enough', () => {
    fc.assert(
      fc.property(anyEvidence, (seen) => {
        const overdue = judgeOverdue(seen, '30m');
        expect(overdue.message).not.toBe('');
        const judged = judge(seen);
        if (judged !== undefined) expect(overdue).toEqual(judged);
        else expect(['NeverRebooted', 'Lost', 'Unverified']).toContain(overdue.verdict);
      }),
      MANY,
    );
  });
});

describe('at the deadline', () => {
  it.each<[string, Evidence, Verdict, RegExp]>([
    [
      'a node in the same boot, Ready',
      evidence(undefined, { node: { bootID: 'boot-1', ready: true } }),
      'NeverRebooted',
      /within 30m/,
    ],
    [
      'a node in the same boot, not Ready',
      evidence(undefined, { node: { bootID: 'boot-1', ready: false } }),
      'Lost',
      /console/,
    ],
    [
      'a node in a new boot, not Ready',
      evidence(report(), { node: { bootID: 'boot-2', ready: false } }),
      'Lost',
      /not Ready 30m/,
    ],
    ['a Ready node without a report', evidence(undefined), 'Unverified', /has not reported/],
    [
      'a Ready node with an old report',
      evidence(report({ bootID: 'boot-1' })),
      'Unverified',
      /last reported from boot boot-1/,
    ],
    ['a report that came at the last moment', evidence(report({ stamp: STAMP })), 'Succeeded', /stamp/],
  ])('%s', (_, seen, verdict, message) => {
    expect(judgeOverdue(seen, '30m')).toEqual({ verdict, message: expect.stringMatching(message) });
  });
});
