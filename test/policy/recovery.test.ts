import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { STEPS } from '../../api/schemas/kairos-node.ts';
import type { KairosNodeStatus, Step, Verdict } from '../../api/types.ts';
import {
  endWasCutOff,
  heldFor,
  lateVerdict,
  rebootsFirst,
  resumeFrom,
  sameAttempt,
  sameTry,
  verifiesFirst,
} from '../../policy/recovery.ts';

const BEFORE_THE_POINT: ReadonlySet<Step> = new Set(['PrePull', 'Gate', 'Mark', 'Cordon', 'Drain'] as const);

describe('an upgrade without a workflow', () => {
  it.each<[string, Parameters<typeof resumeFrom>[0], object]>([
    ['of which nothing is known is given back', { bootID: 'b1', writtenIn: [] }, { resume: 'giveBack' }],
    [
      'that was draining is given back',
      { bootID: 'b1', writtenIn: [], inHand: { bootID: 'b1' }, step: 'Drain' },
      { resume: 'giveBack' },
    ],
    [
      'that was draining, but has a Job already, goes on at the writing',
      { bootID: 'b1', writtenIn: ['b1'], inHand: { bootID: 'b1' }, step: 'Drain' },
      { resume: 'write', bootID: 'b1' },
    ],
    [
      'that was writing goes on at the writing, also without its Job',
      { bootID: 'b1', writtenIn: [], inHand: { bootID: 'b1' }, step: 'Upgrade' },
      { resume: 'write', bootID: 'b1' },
    ],
    [
      'that has rebooted is judged by the boot that wrote',
      { bootID: 'b2', writtenIn: ['b1'], inHand: { bootID: 'b1' }, step: 'Verify' },
      { resume: 'write', bootID: 'b1' },
    ],
    [
      'that was writing the recovery image goes on there',
      { bootID: 'b2', writtenIn: ['b1'], inHand: { bootID: 'b2' }, step: 'Recovery' },
      { resume: 'recovery', bootID: 'b2' },
    ],
    [
      'whose KairosNode is gone is known by its Job',
      { bootID: 'b1', writtenIn: ['b1'] },
      { resume: 'write', bootID: 'b1' },
    ],
    [
      'whose KairosNode is gone, and that has rebooted, is known by the pod of the earlier boot',
      { bootID: 'b2', writtenIn: ['b1'] },
      { resume: 'write', bootID: 'b1' },
    ],
  ])('%s', (_, evidence, expected) => {
    expect(resumeFrom(evidence)).toEqual(expected);
  });

  it('is given back only where nothing says that an image was touched', () => {
    const boot = fc.constantFrom('b1', 'b2', 'b3');
    fc.assert(
      fc.property(
        boot,
        fc.uniqueArray(boot),
        fc.option(boot, { nil: undefined }),
        fc.option(fc.constantFrom(...STEPS), { nil: undefined }),
        (bootID, writtenIn, taken, step) => {
          const inHand = taken === undefined ? {} : { inHand: { bootID: taken } };
          const found = resumeFrom({ bootID, writtenIn, ...inHand, ...(step === undefined ? {} : { step }) });
          const untouched =
            writtenIn.length === 0 && (taken === undefined || step === undefined || BEFORE_THE_POINT.has(step));
          expect(found.resume === 'giveBack').toBe(untouched);
          // Never writes in a boot for which neither a Job nor the KairosNode speaks.
          if (found.resume !== 'giveBack') expect([...writtenIn, taken]).toContain(found.bootID);
        },
      ),
    );
  });
});

describe('a node that is held', () => {
  it.each([
    ['held:Lost', 'Lost'],
    ['node/cluster/uid', undefined],
    [undefined, undefined],
  ])('by %s', (owner, verdict) => {
    expect(heldFor(owner)).toBe(verdict);
  });

  it.each<[Verdict, string | undefined, boolean]>([
    ['UpgradeFailed', 'b1', true],
    ['NeverRebooted', 'b1', true],
    ['Unverified', 'b1', true],
    ['UpgradeFailed', 'b0', false],
    ['UpgradeFailed', undefined, false],
    ['Failed', 'b1', false],
    ['RolledBack', 'b1', false],
  ])('after %s in boot %s reboots before it is written to in boot b1: %s', (verdict, bootID, expected) => {
    expect(rebootsFirst({ verdict, ...(bootID === undefined ? {} : { bootID }) }, 'b1')).toBe(expected);
  });

  const last = (verdict: Verdict, version = 'v4.0.3') => ({ verdict, bootID: 'b1', version });
  const runs = (version: string, bootID = 'b2') => ({ bootID, release: { KAIROS_VERSION: version } });
  const there = { bootID: 'b2', ready: true };
  const wanted = { version: 'v4.0.3', force: false };

  it.each<[string, Parameters<typeof verifiesFirst>, boolean]>([
    ['whose pods did not work', [last('Unhealthy'), there, runs('v4.0.3'), wanted], true],
    ['that could not be verified', [last('Unverified'), there, runs('v4.0.3'), wanted], true],
    ['that was lost and is back', [last('Lost'), there, runs('v4.0.3'), wanted], true],
    ['that is not Ready', [last('Lost'), { ...there, ready: false }, runs('v4.0.3'), wanted], false],
    ['whose agent is silent', [last('Unverified'), there, runs('v4.0.3', 'b1'), wanted], false],
    ['that fell back', [last('RolledBack'), there, runs('v4.0.3'), wanted], false],
    ['that runs something else', [last('Unhealthy'), there, runs('v4.0.2'), wanted], false],
    [
      'for which a mended image is there',
      [last('Unhealthy'), there, runs('v4.0.3'), { ...wanted, version: 'v5' }],
      false,
    ],
    ['of another attempt at another version', [last('Unhealthy', 'v5'), there, runs('v4.0.3'), wanted], false],
    [
      'that still is in the boot that wrote',
      [last('NeverRebooted'), { ...there, bootID: 'b1' }, runs('v4.0.3', 'b1'), wanted],
      false,
    ],
    ['that is to be written anew', [last('Unhealthy'), there, runs('v4.0.3'), { ...wanted, force: true }], false],
    ['of which nothing is known', [undefined, there, runs('v4.0.3'), wanted], false],
  ])('a retry verifies a held node, instead of writing to it: one %s', (_, given, expected) => {
    expect(verifiesFirst(...given)).toBe(expected);
  });

  const status = (verdict: Verdict, report: Partial<KairosNodeStatus> = {}): KairosNodeStatus => ({
    lastAttempt: {
      rollout: 'r',
      specGeneration: 1,
      image: 'i',
      version: 'v4.0.3',
      bootID: 'b1',
      verdict,
      finishedAt: '2026-03-01T10:00:00Z',
    },
    bootID: 'b2',
    bootState: 'active',
    release: { KAIROS_VERSION: 'v4.0.3' },
    ...report,
  });
  const BACK = { bootID: 'b2', ready: true };

  it.each<[string, string, { bootID: string; ready: boolean }, KairosNodeStatus, Verdict | undefined]>([
    ['Lost that came back on the target', 'held:Lost', BACK, status('Lost'), 'Succeeded'],
    ['Lost that came back on its old image', 'held:Lost', BACK, status('Lost', { bootState: 'passive' }), 'RolledBack'],
    ['Lost that still is away', 'held:Lost', { bootID: 'b2', ready: false }, status('Lost'), undefined],
    ['Unverified whose agent reported at last', 'held:Unverified', BACK, status('Unverified'), 'Succeeded'],
    [
      'Unverified whose agent is still silent',
      'held:Unverified',
      BACK,
      status('Unverified', { bootID: 'b1' }),
      undefined,
    ],
    ['NeverRebooted that rebooted at last', 'held:NeverRebooted', BACK, status('NeverRebooted'), 'Succeeded'],
    ['UpgradeFailed, which no report mends', 'held:UpgradeFailed', BACK, status('UpgradeFailed'), undefined],
    ['held for another verdict than its last one', 'held:Lost', BACK, status('Unverified'), undefined],
    ['in a workflow’s hand', 'node/c/u', BACK, status('Lost'), undefined],
  ])('late evidence about a node %s', (_, owner, node, given, verdict) => {
    expect(lateVerdict(owner, node, given)).toBe(verdict);
  });
});

it('an attempt is the same only with the same resource, spec and number', () => {
  const one = { uid: 'u', name: 'n', generation: 1, attempt: 1 };
  expect(sameAttempt(one, { ...one })).toBe(true);
  expect(sameAttempt(undefined, one)).toBe(false);
  for (const other of [{ uid: 'x' }, { name: 'x' }, { generation: 2 }, { attempt: 2 }])
    expect(sameAttempt(one, { ...one, ...other })).toBe(false);
});

it('a try is the same only with the same attempt and number', () => {
  const one = { uid: 'u', name: 'n', generation: 1, attempt: 1 };
  expect(sameTry(one, { ...one })).toBe(true);
  expect(sameTry({ ...one, try: 2 }, { ...one, try: 2 })).toBe(true);
  expect(sameTry(undefined, one)).toBe(false);
  expect(sameTry(one, { ...one, try: 1 })).toBe(false);
  expect(sameTry({ ...one, try: 2 }, { ...one, try: 1 })).toBe(false);
  expect(sameTry({ ...one, try: 2 }, { ...one, attempt: 2, try: 2 })).toBe(false);
});

describe('the end of an upgrade', () => {
  const inHand = {
    rollout: 'r',
    request: { kind: 'NodeOpUpgrade', namespace: 'n', name: 'u', uid: 'u', generation: 1, attempt: 1 },
    image: 'i',
    version: 'v',
    bootID: 'b1',
    startedAt: '2026-03-01T10:00:00Z',
  } as const;

  it.each<[string, { owner?: string; bootID: string }, KairosNodeStatus, boolean]>([
    ['of a node that has rebooted and carries no mark was cut off', { bootID: 'b2' }, { inHand, step: 'Soak' }, true],
    ['of a node that was draining and carries no mark was cut off', { bootID: 'b1' }, { inHand, step: 'Drain' }, true],
    [
      'is not at issue where a person freed a node that was written to',
      { bootID: 'b1' },
      { inHand, step: 'Reboot' },
      false,
    ],
    ['nor where its recovery image was being written', { bootID: 'b1' }, { inHand, step: 'Recovery' }, false],
    [
      'has not come where the node carries a mark',
      { owner: 'node/c/u', bootID: 'b2' },
      { inHand, step: 'Soak' },
      false,
    ],
    ['is complete where it was recorded', { bootID: 'b2' }, {}, false],
  ])('%s', (_, node, status, expected) => {
    expect(endWasCutOff(node, status)).toBe(expected);
  });
});
