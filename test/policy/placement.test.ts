import { describe, expect, it } from '@jest/globals';
import { VERDICTS } from '../../api/schemas/kairos-node.ts';
import type { Verdict } from '../../api/types.ts';
import { goesBack, isFailure, keptOutText } from '../../policy/placement.ts';

type Row = [verdict: Verdict, unset: boolean, always: boolean, never: boolean, failure: boolean];

/** Whether the node goes back with `uncordonOnFailure` unset, true and false; whether it is a failure of the rollout. */
const PLACES: Row[] = [
  ['Succeeded', true, true, true, false],
  ['AlreadyOnTarget', true, true, true, false],
  ['Superseded', true, true, true, false],
  ['Cancelled', true, true, true, false],
  ['Skipped', true, true, true, true],
  ['RolledBack', true, true, false, true],
  ['WrongVersion', true, true, false, true],
  ['Failed', true, true, false, true],
  ['UpgradeFailed', false, true, false, true],
  ['NeverRebooted', false, true, false, true],
  ['Unhealthy', false, true, false, true],
  ['Unverified', false, false, false, true],
  ['Lost', false, false, false, true],
];

describe('a node that ended', () => {
  it('has a place for every verdict', () => {
    expect(PLACES.map(([verdict]) => verdict).sort()).toEqual([...VERDICTS].sort());
  });

  it.each(PLACES)('%s goes back to service: unset %s, always %s, never %s', (verdict, unset, always, never) => {
    expect([goesBack(verdict, undefined), goesBack(verdict, true), goesBack(verdict, false)]).toEqual([
      unset,
      always,
      never,
    ]);
  });

  it.each(PLACES)('%s counts as a failure or not', (verdict, _unset, _always, _never, failure) => {
    expect(isFailure(verdict)).toBe(failure);
  });

  it.each(PLACES)(
    '%s says why it is kept out, and how to give it back, where it is',
    (verdict, unset, always, never) => {
      const command = 'kubectl annotate node n-1 kairos.io/upgrade-owner- && kubectl uncordon n-1';
      const texts = [undefined, true, false].map((given) => keptOutText('n-1', verdict, given));
      expect(texts.map((text) => text === undefined)).toEqual([unset, always, never]);
      for (const text of texts) if (text !== undefined) expect(text.endsWith(command)).toBe(true);
      if (unset && !never) expect(texts[2]).toMatch(/^It is kept out of service: spec\.uncordonOnFailure is false\. /);
      // A reason of its own, and not only its name.
      if (!unset) expect(texts[0]).not.toContain(verdict);
    },
  );

  it('that runs the target goes back, although its recovery image was not written', () => {
    const given = [undefined, true, false] as const;
    expect(given.map((asked) => goesBack('UpgradeFailed', asked, true))).toEqual([true, true, false]);
    expect(given.map((asked) => goesBack('Lost', asked, true))).toEqual([false, false, false]);
  });

  it('is only kept out for a failure', () => {
    const kept = VERDICTS.filter((verdict) => [undefined, true, false].some((given) => !goesBack(verdict, given)));
    expect(kept.every(isFailure)).toBe(true);
  });
});
