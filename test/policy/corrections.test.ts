import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { VERDICTS } from '../../api/schemas/kairos-node.ts';
import type { KairosNodeStatus, NodeOpUpgrade, RolloutStatus, Verdict } from '../../api/types.ts';
import { correctedCounts, correctionsOf, correctionsText, noteCorrections } from '../../policy/corrections.ts';

const UPGRADE: NodeOpUpgrade = {
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'u', generation: 2 },
  spec: { image: 'i' },
};
const ended = (failed: RolloutStatus['failed']): RolloutStatus => ({
  workflowID: 'rollout/x',
  generation: 2,
  attempt: 1,
  phase: 'Failed',
  ...(failed === undefined ? {} : { failed }),
});
const last = (verdict: Verdict, attempt = 1): KairosNodeStatus['lastAttempt'] => ({
  rollout: 'rollout/x',
  request: { kind: 'NodeOpUpgrade', namespace: 'fleet', name: 'v4', uid: 'u', generation: 2, attempt },
  specGeneration: 1,
  image: 'i',
  verdict,
  finishedAt: '2026-03-01T10:00:00Z',
});
const LOST = { name: 'a', verdict: 'Lost' } as const;

describe('a verdict of a rollout', () => {
  it.each<[string, NonNullable<RolloutStatus['failed']>[number], KairosNodeStatus['lastAttempt'], Verdict | undefined]>(
    [
      ['stands as long as its KairosNode says the same', LOST, last('Lost'), undefined],
      ['is corrected by its KairosNode', LOST, last('Succeeded'), 'Succeeded'],
      ['is not corrected by another attempt', LOST, last('Succeeded', 2), undefined],
      ['is not corrected by nothing', LOST, undefined, undefined],
      [
        'stays corrected when the KairosNode has forgotten it',
        { ...LOST, correctedTo: 'Succeeded' },
        last('Lost', 2),
        'Succeeded',
      ],
      ['may be corrected again', { ...LOST, correctedTo: 'Unverified' }, last('Succeeded'), 'Succeeded'],
      ['may turn out right after all', { ...LOST, correctedTo: 'Unverified' }, last('Lost'), undefined],
    ],
  )('%s', (_, failed, attempt, now) => {
    const corrections = correctionsOf(UPGRADE, ended([failed]), () => attempt);
    expect(corrections).toEqual(now === undefined ? [] : [{ name: 'a', was: 'Lost', now }]);
  });

  it('is none without a rollout', () => {
    expect(correctionsOf(UPGRADE, undefined, () => last('Succeeded'))).toEqual([]);
  });
});

it('names the first ten in a sentence', () => {
  const many = Array.from({ length: 12 }, (_, n) => ({ name: `n-${n}`, was: 'Lost', now: 'Succeeded' }) as const);
  expect(correctionsText(many)).toMatch(/^n-0 was Lost, is Succeeded; .*n-9 was Lost, is Succeeded, and 2 more$/);
});

const someFailed = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd'),
    verdict: fc.constantFrom(...VERDICTS),
    correctedTo: fc.constantFrom(undefined, ...VERDICTS),
  }),
  { selector: ({ name }) => name },
);
const someLast = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom(...VERDICTS));

describe('for any verdicts', () => {
  it('what was noted once is not to be noted again', () => {
    fc.assert(
      fc.property(someFailed, someLast, (failed, verdicts) => {
        const given = failed.map(({ correctedTo, ...node }) => ({ ...node, ...(correctedTo && { correctedTo }) }));
        const lastOf = (name: string) => {
          const verdict = verdicts[name];
          return verdict === undefined ? undefined : last(verdict);
        };
        const rollout = ended(given);
        const noted = noteCorrections(rollout, correctionsOf(UPGRADE, rollout, lastOf));
        if (noted === undefined) return;
        const again = ended(noted);
        expect(noteCorrections(again, correctionsOf(UPGRADE, again, lastOf))).toBeUndefined();
      }),
    );
  });

  it('no node is lost from the counts, or counted twice', () => {
    fc.assert(
      fc.property(someFailed, someLast, (failed, verdicts) => {
        const counts: Record<string, number> = { Succeeded: 3 };
        for (const { verdict } of failed) counts[verdict] = (counts[verdict] ?? 0) + 1;
        const plain = failed.map(({ name, verdict }) => ({ name, verdict }));
        const corrections = correctionsOf(UPGRADE, ended(plain), (name) => last(verdicts[name] ?? 'Lost'));
        const sum = (of: Record<string, number>) => Object.values(of).reduce((all, n) => all + n, 0);
        const corrected = correctedCounts(counts, corrections);
        expect(sum(corrected)).toBe(sum(counts));
        expect(Object.values(corrected).every((n) => n >= 0)).toBe(true);
      }),
    );
  });
});
