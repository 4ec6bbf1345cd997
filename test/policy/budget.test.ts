import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { Place } from '../../api/messages.ts';
import { type OutNode, resolveBudget, whoIsInTheWay } from '../../policy/budget.ts';

const CONTROL_PLANE: Place = { group: 'control-plane', budget: 1 };
const workers = (budget: number): Place => ({ group: 'worker', budget });

const out = (name: string, more: Partial<OutNode> = {}): OutNode => ({
  name,
  controlPlane: name.startsWith('cp'),
  marked: true,
  order: 0,
  ...more,
});
const nodeNamed = (name: string) => ({ name, controlPlane: name.startsWith('cp') });
const down = (name: string): OutNode => out(name, { marked: false });

describe('a budget', () => {
  it.each<[string, number | string, number, number]>([
    ['a number is taken as it stands', 3, 10, 3],
    ['a number may be larger than the group: it also counts nodes that are out for other reasons', 5, 3, 5],
    ['a fraction is rounded down', 2.9, 10, 2],
    ['zero is one: a rollout that may touch nothing never ends', 0, 10, 1],
    ['a percentage is rounded down', '25%', 7, 1],
    ['a percentage of many', '25%', 100, 25],
    ['a percentage of few is at least one', '10%', 3, 1],
    ['a hundred percent', '100%', 7, 7],
    ['a percentage of nothing is one', '50%', 0, 1],
    ['what is no percentage is one', 'many', 10, 1],
  ])('%s', (_, given, nodes, expected) => {
    expect(resolveBudget(given, nodes)).toBe(expected);
  });

  it('in percent lies between one and all nodes, and never shrinks as the group grows', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 5000 }), (percent, nodes) => {
        const budget = resolveBudget(`${percent}%`, nodes);
        expect(Number.isInteger(budget)).toBe(true);
        expect(budget).toBeGreaterThanOrEqual(1);
        expect(budget).toBeLessThanOrEqual(nodes);
        expect(resolveBudget(`${percent}%`, nodes + 1)).toBeGreaterThanOrEqual(budget);
      }),
    );
  });
});

describe('who is in the way', () => {
  it.each<[string, Place, string, OutNode[], number | undefined, string[] | undefined]>([
    ['nobody, when nothing is out', workers(1), 'w-1', [], undefined, undefined],
    ['never the node itself', workers(1), 'w-1', [out('w-1', { order: 7 })], 7, undefined],
    ['all that are out, by name', workers(2), 'w-1', [out('w-3'), out('w-2')], undefined, ['w-2', 'w-3']],
    ['nobody while the budget has room', workers(3), 'w-1', [out('w-3'), out('w-2')], undefined, undefined],
    ['a node that went down later than the mark', workers(1), 'w-1', [{ ...down('w-2'), order: 12 }], 9, ['w-2']],
    ['a node that is down, though nobody marked it', workers(1), 'w-1', [down('w-2')], 9, ['w-2']],
    ['a mark from before', workers(1), 'w-1', [out('w-2', { order: 8 })], 9, ['w-2']],
    ['not a mark that came later', workers(1), 'w-1', [out('w-2', { order: 10 })], 9, undefined],
    ['a later mark, while only asking', workers(1), 'w-1', [out('w-2', { order: 10 })], undefined, ['w-2']],
    ['a mark that is older than the watch', workers(1), 'w-1', [out('w-2', { order: 0 })], 9, ['w-2']],
    [
      'every mark, when the own one is older than the watch: who was first is not known',
      workers(1),
      'w-1',
      [out('w-2', { order: 10 })],
      0,
      ['w-2'],
    ],
    ['a control-plane node, for a worker', workers(1), 'w-1', [out('cp-1')], undefined, ['cp-1']],
    ['no worker, for a control-plane node', CONTROL_PLANE, 'cp-1', [out('w-1'), down('w-2')], undefined, undefined],
    ['a control-plane node that is down, for another', CONTROL_PLANE, 'cp-1', [down('cp-2')], 5, ['cp-2']],
    [
      'another control-plane node, for one that was planned as a worker and has got its role since',
      workers(3),
      'cp-1',
      [out('w-1'), out('cp-2')],
      undefined,
      ['cp-2'],
    ],
    ['all of them, for such a one, where the budget is taken', workers(1), 'cp-1', [out('w-1')], undefined, ['w-1']],
    ['nobody, for such a one, while the budget has room', workers(2), 'cp-1', [out('w-1')], undefined, undefined],
    [
      'one control-plane node, whatever budget is asked for',
      { group: 'control-plane', budget: 3 },
      'cp-1',
      [out('cp-2')],
      undefined,
      ['cp-2'],
    ],
  ])('%s', (_, ...[place, node, others, order, expected]) => {
    expect(whoIsInTheWay(place, nodeNamed(node), others, order)).toEqual(expected);
  });
});

/**
 * Several markers write their marks in any order and ask in any order, each at a moment when the watch has delivered at
 * least its own mark. Answers who was let through.
 */
function race(place: (name: string) => Place, marks: string[], asks: number[], before: OutNode[]): string[] {
  const orders = new Map(marks.map((name, n) => [name, 100 + n]));
  const asked = marks.map((name, n) => ({ name, seen: n + Math.min(asks[n] ?? 0, marks.length - 1 - n) }));
  return asked
    .filter(({ name, seen }) => {
      const delivered = marks.slice(0, seen + 1).map((other) => out(other, { order: orders.get(other) ?? 0 }));
      return whoIsInTheWay(place(name), nodeNamed(name), [...before, ...delivered], orders.get(name)) === undefined;
    })
    .map(({ name }) => name);
}

describe('marking first and counting after', () => {
  const workersInAnyOrder = fc
    .uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 30 })
    .map((numbers) => numbers.map((n) => `w-${n}`));
  const delays = fc.array(fc.nat(30), { minLength: 30, maxLength: 30 });

  it('never lets out more than the budget, and always as many as it allows', () => {
    fc.assert(
      fc.property(workersInAnyOrder, delays, fc.integer({ min: 1, max: 8 }), fc.nat(8), (marks, asks, budget, lost) => {
        const before = Array.from({ length: lost }, (_, n) => down(`lost-${n}`));
        const through = race(() => workers(budget), marks, asks, before);
        expect(through).toEqual(marks.slice(0, Math.max(0, budget - lost)));
      }),
    );
  });

  it('lets out one control-plane node at most, and none while one is held or down', () => {
    const both = fc.shuffledSubarray(['cp-1', 'cp-2', 'cp-3', 'cp-4', 'cp-5', 'w-1', 'w-2'], { minLength: 1 });
    const earlier = fc.constantFrom<OutNode[]>([], [out('cp-9')], [down('cp-9')]);
    fc.assert(
      fc.property(both, delays, earlier, (marks, asks, before) => {
        const place = (name: string) => (name.startsWith('cp') ? CONTROL_PLANE : workers(9));
        const through = race(place, marks, asks, before).filter((name) => name.startsWith('cp'));
        const first = marks.filter((name) => name.startsWith('cp')).slice(0, 1);
        expect(through).toEqual(before.length === 0 ? first : []);
      }),
    );
  });

  it('after a restart, where marks have no order any more, rather lets nobody go than one too many', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 12 }), (budget, count) => {
        const marked = Array.from({ length: count }, (_, n) => out(`w-${n}`));
        const through = marked.filter(
          ({ name }) => whoIsInTheWay(workers(budget), nodeNamed(name), marked, 0) === undefined,
        );
        expect(through.length).toBe(count <= budget ? count : 0);
      }),
    );
  });
});
