import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { BOOT_STATES } from '../../api/schemas/kairos-node.ts';
import type { KairosNodeAgentStatus, Verdict } from '../../api/types.ts';
import type { PodReading } from '../../policy/node-evidence.ts';
import { type Evidence, judge, judgeByPod, judgeGone, judgeOverdue } from '../../policy/verdict.ts';

const OLD = { KAIROS_VERSION: 'v4.0.2' };
const NEW = { KAIROS_VERSION: 'v4.0.3' };
const STAMP = { image: 'i', sourceBootID: 'boot-1' };

const evidence = (report: KairosNodeAgentStatus | undefined, more: Partial<Evidence> = {}): Evidence => ({
  sourceBootID: 'boot-1',
  target: { version: 'v4.0.3' },
  node: { name: 'n-1', bootID: 'boot-2', ready: true },
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
    [
      'active, on the old version',
      report({ release: OLD }),
      'WrongVersion',
      /node n-1 runs v4\.0\.2, wanted v4\.0\.3 from its active image/,
    ],
    [
      'unknown slot, on the old version',
      report({ release: OLD, bootState: 'unknown' }),
      'WrongVersion',
      /from which slot is not known/,
    ],
    [
      'unknown slot, with the stamp of another upgrade',
      report({ bootState: 'unknown', stamp: { sourceBootID: 'boot-0' } }),
      'WrongVersion',
      /boot-0/,
    ],
    ['a stamp that does not say whose it is', report({ stamp: {} }), 'WrongVersion', /\(boot unknown\)/],
    [
      'active, with the stamp of another upgrade',
      report({ stamp: { sourceBootID: 'boot-0' } }),
      'WrongVersion',
      /boot-0/,
    ],
    ['active, with an unreadable release', report({ release: {} }), 'WrongVersion', /an unknown version/],
    [
      'passive, on the old version',
      report({ bootState: 'passive', release: OLD }),
      'RolledBack',
      /node n-1 fell back to its passive image and runs v4\.0\.2; find out on its console why/,
    ],
    [
      'passive, with a version that looks alike',
      report({ bootState: 'passive' }),
      'RolledBack',
      /node n-1 fell back to its passive image and runs v4\.0\.3, the version that was wanted, but from the image/,
    ],
    ['passive, even with the stamp', report({ bootState: 'passive', stamp: STAMP }), 'RolledBack', /passive/],
    ['recovery', report({ bootState: 'recovery' }), 'RolledBack', /recovery/],
    ['a live medium', report({ bootState: 'livecd', stamp: STAMP }), 'WrongVersion', /remove it/],
  ])('%s', (_, seen, verdict, message) => {
    expect(judge(evidence(seen))).toEqual({ verdict, message: expect.stringMatching(message) });
  });

  it.each<[string, KairosNodeAgentStatus, string | undefined, Verdict, RegExp]>([
    ['on trial', { loaderEntry: 'active+2-1.conf' }, 'v4.0.3', 'Succeeded', /on trial as a new one: active\+2-1\.conf/],
    [
      'that ran another version before',
      { loaderEntry: 'active.conf' },
      'v4.0.2',
      'Succeeded',
      /ran v4\.0\.2 before; .* is not proven/,
    ],
    [
      'that ran the same version before',
      { loaderEntry: 'active.conf' },
      'v4.0.3',
      'Unverified',
      /new image or the old one/,
    ],
    ['of which is not known what it ran before', {}, undefined, 'Unverified', /nothing tells whether/],
    ['that fell back', { bootState: 'passive', loaderEntry: 'passive.conf' }, 'v4.0.3', 'RolledBack', /passive/],
    ['whose slot is not known', { bootState: 'unknown' }, 'v4.0.2', 'Unverified', /neither its boot state/],
  ])('of a machine with trusted boot %s', (_, seen, from, verdict, message) => {
    const more = from === undefined ? {} : { from };
    expect(judge(evidence(report({ trustedBoot: true, ...seen }), more))).toEqual({
      verdict,
      message: expect.stringMatching(message),
    });
  });

  it('names the node and the next step in every verdict that is no success', () => {
    for (const bootState of BOOT_STATES)
      for (const release of [OLD, NEW])
        for (const stamp of [undefined, { sourceBootID: 'boot-0' }]) {
          const seen = report({ bootState, release, ...(stamp === undefined ? {} : { stamp }) });
          const judged = judge(evidence(seen));
          if (judged?.verdict === 'Succeeded') continue;
          expect(judged?.message).toMatch(/node n-1 .*(: |; |before )(look|find|remove|compare|see) /);
        }
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
const anyReading: fc.Arbitrary<PodReading> = fc.record(
  { report: anyReport, seen: fc.constantFrom('was refused', 'did not start') },
  { requiredKeys: ['seen'] },
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
      fc.property(anyEvidence, anyReading, fc.constantFrom('at once', 'late', 'by pod'), (told, reading, when) => {
        const judged =
          when === 'by pod'
            ? judgeByPod(told, '30m', reading)
            : when === 'late'
              ? judgeOverdue(told, '30m')
              : judge(told);
        if (judged?.verdict !== 'Succeeded') return;
        const byPod = when === 'by pod' && judge(told) === undefined;
        const { report: from } = byPod ? reading : told;
        const seen = { ...told, ...(from === undefined ? {} : { report: from }) };
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

  it('gives one of the verdicts of a new boot, or one of those of silence, and never both kinds', () => {
    fc.assert(
      fc.property(anyEvidence, fc.boolean(), (seen, forced) => {
        const { bootID, ready } = seen.node;
        const fresh = bootID !== '' && bootID !== seen.sourceBootID && ready && seen.report?.bootID === bootID;
        const now = judge(seen);
        expect(now !== undefined).toBe(fresh);
        const late = judgeOverdue(seen, '30m', { forced });
        if (fresh) expect(['Succeeded', 'RolledBack', 'WrongVersion', 'Unverified']).toContain(now?.verdict);
        else if (!ready) expect(late.verdict).toBe('Lost');
        else expect(late.verdict).toBe(bootID === seen.sourceBootID ? 'NeverRebooted' : 'Unverified');
      }),
      MANY,
    );
  });

  it('a pod is only believed where the agent is silent, and about the boot that the Node is in', () => {
    fc.assert(
      fc.property(anyEvidence, anyReading, (seen, reading) => {
        const judged = judgeByPod(seen, '30m', reading);
        const without = judgeOverdue(seen, '30m');
        if (judge(seen) !== undefined || without.verdict !== 'Unverified') expect(judged).toEqual(without);
        else if (reading.report?.bootID !== seen.node.bootID) expect(judged.verdict).toBe('Unverified');
        else if (seen.node.bootID !== '')
          expect(judged.verdict).toBe(judge({ ...seen, report: reading.report })?.verdict);
      }),
      MANY,
    );
  });
});

describe('a node that only a pod can speak for', () => {
  const read = (bootReport: KairosNodeAgentStatus | undefined, seen = 'ended with 1'): PodReading =>
    bootReport === undefined ? { seen } : { report: bootReport, seen };
  const silent = evidence(report({ bootID: 'boot-1' }));

  it.each<[string, PodReading, Verdict, RegExp]>([
    [
      'the stamp',
      read(report({ stamp: STAMP })),
      'Succeeded',
      /stamp of this upgrade; read by a pod on node n-1, since/,
    ],
    ['a fallback', read(report({ bootState: 'passive', release: OLD })), 'RolledBack', /read by a pod/],
    ['nothing', read(undefined), 'Unverified', /last reported from boot boot-1 .*; a pod .* there ended with 1$/],
    ['another boot', read(report({ bootID: 'boot-9' }), 'read boot boot-9'), 'Unverified', /there read boot boot-9$/],
  ])('which read %s', (_, reading, verdict, message) => {
    expect(judgeByPod(silent, '30m', reading)).toEqual({ verdict, message: expect.stringMatching(message) });
  });
});

describe('a node that is gone', () => {
  it.each([
    ['was deleted', undefined, /node n-1 was deleted during its upgrade/],
    ['was made again', 'uid-2', /node n-1 was deleted and made again \(UID uid-2 is another node\)/],
  ])('because it %s is Lost', (_, replacedBy, message) => {
    expect(judgeGone('n-1', replacedBy)).toEqual({ verdict: 'Lost', message: expect.stringMatching(message) });
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
      /not Ready 30m .* is in the new boot boot-2: look at its console/,
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

  it.each([
    [true, /boot-1, in which the image was written, also after a forced reboot was asked for: look at its console/],
    [false, /boot-1, in which the image was written, as far as is known: look at its console/],
  ])('a silent node says whether it was forced: %s', (forced, message) => {
    const seen = evidence(undefined, { node: { name: 'n-1', bootID: 'boot-1', ready: false } });
    expect(judgeOverdue(seen, '30m', { forced }).message).toMatch(message);
  });
});
