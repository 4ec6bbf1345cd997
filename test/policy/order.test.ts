import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { byName, orderNodes } from '../../policy/order.ts';

const sorted = (...names: string[]) =>
  names
    .map((name) => ({ name }))
    .sort(byName)
    .map(({ name }) => name);

describe('names', () => {
  it.each([
    ['numbers as numbers', ['worker-10', 'worker-2', 'worker-1'], ['worker-1', 'worker-2', 'worker-10']],
    ['numbers inside a name', ['n2.zone10', 'n2.zone9', 'n1.zone11'], ['n1.zone11', 'n2.zone9', 'n2.zone10']],
    ['leading zeros, which differ in nothing else', ['w-1', 'w-01', 'w-001'], ['w-001', 'w-01', 'w-1']],
  ])('are ordered with %s', (_, names, expected) => {
    expect(sorted(...names)).toEqual(expected);
    expect(sorted(...names.toReversed())).toEqual(expected);
  });

  it('have one order, whatever order they come in', () => {
    const name = fc.stringMatching(/^[a-c0-2.-]{1,6}$/).map((text) => ({ name: text }));
    fc.assert(
      fc.property(name, name, name, (a, b, c) => {
        expect(byName(a, a)).toBe(0);
        expect(Math.sign(byName(a, b)) + Math.sign(byName(b, a))).toBe(0);
        expect(byName(a, b) === 0).toBe(a.name === b.name);
        if (byName(a, b) < 0 && byName(b, c) < 0) expect(byName(a, c)).toBeLessThan(0);
      }),
    );
  });
});

describe('the nodes of a rollout', () => {
  it('are the control plane and the workers, each by name, and the list given is left as it is', () => {
    const node = (name: string, controlPlane: boolean) => ({ name, controlPlane, uid: `uid-${name}` });
    const given = [node('w-10', false), node('cp-2', true), node('w-9', false), node('cp-1', true)];
    const copy = [...given];
    expect(orderNodes(given)).toEqual({
      controlPlane: [node('cp-1', true), node('cp-2', true)],
      workers: [node('w-9', false), node('w-10', false)],
    });
    expect(given).toEqual(copy);
  });
});
