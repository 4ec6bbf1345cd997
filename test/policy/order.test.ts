import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { byName, orderNodes, type OrderedNode } from '../../policy/order.ts';
import { compareVersions } from '../../policy/release.ts';

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

describe('versions', () => {
  const inOrder = [
    'abc1234',
    'v3.2.4',
    'v4.0.2-rc1-k3sv1.33.9+k3s1',
    'v4.0.2',
    'v4.0.2-k3sv1.32.10+k3s1',
    'v4.0.2-k3sv1.33.9+k3s1',
    'v4.0.2-k3sv1.33.10+k3s1',
    'v4.0.2-36-g24ca209-k3sv1.33.9+k3s1',
    'v4.0.10-k3sv1.33.9+k3s1',
  ];

  it('are ordered with the oldest first: numbers as numbers, candidates before and builds after their release', () => {
    expect(inOrder.toReversed().sort(compareVersions)).toEqual(inOrder);
    expect(compareVersions(undefined, 'v4.0.2')).toBeGreaterThan(0);
    expect(compareVersions(undefined, undefined)).toBe(0);
  });

  it('are the same however the distribution is written', () => {
    expect(compareVersions('v4.0.2-k3sv1.33.9+k3s1', 'v4.0.2-v1.33.9-k3s1')).toBe(0);
  });

  it('have one order, whatever they are', () => {
    const part = fc.constantFrom(...inOrder, 'v4.0.2-v1.33.9-k3s1', 'v', '', 'main', 'v4');
    const version = fc.oneof(part, fc.option(fc.stringMatching(/^v?[0-2.rc+-]{0,9}$/), { nil: undefined }));
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a))).toBe(0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the nodes of a rollout', () => {
  const turn = (...nodes: OrderedNode[]) => orderNodes(nodes).workers.map(({ name }) => name);
  const worker = (name: string, zone?: string, version?: string, host?: boolean): OrderedNode => ({
    name,
    controlPlane: false,
    ...(zone !== undefined && { zone }),
    ...(version !== undefined && { version }),
    ...(host !== undefined && { host }),
  });

  it('are the control plane and the workers, each by name where nothing else tells them apart', () => {
    const node = (name: string, controlPlane: boolean) => ({ name, controlPlane, uid: `uid-${name}` });
    const given = [node('w-10', false), node('cp-2', true), node('w-9', false), node('cp-1', true)];
    const copy = [...given];
    expect(orderNodes(given)).toEqual({
      controlPlane: [node('cp-1', true), node('cp-2', true)],
      workers: [node('w-9', false), node('w-10', false)],
    });
    expect(given).toEqual(copy);
  });

  it('go zone by zone, the zone with the oldest node first, in a zone the oldest first', () => {
    expect(
      turn(
        worker('w-1', 'a', 'v4.0.2'),
        worker('w-2', 'b', 'v4.0.2'),
        worker('w-3', 'b', 'v3.9.0'),
        worker('w-4', 'a', 'v4.0.1'),
        worker('w-5', undefined, 'v4.0.10'),
        worker('w-6', 'b'),
      ),
    ).toEqual(['w-3', 'w-2', 'w-6', 'w-4', 'w-1', 'w-5']);
  });

  it('end with those that carry the operator, whatever their zone and version', () => {
    expect(turn(worker('w-1', 'a', 'v1', true), worker('w-2', 'b', 'v2'), worker('w-3', 'a', 'v3'))).toEqual([
      'w-3',
      'w-2',
      'w-1',
    ]);
  });

  it('have one order: each of them once, zones together, hosts last, and nothing depends on how they came', () => {
    const node = fc.record({
      name: fc.integer({ min: 1, max: 40 }).map((n) => `n-${n}`),
      controlPlane: fc.boolean(),
      zone: fc.constantFrom('', 'a', 'b', 'c'),
      version: fc.constantFrom('v1.0.0', 'v1.0.1', 'v1.1.0-rc1', 'main', ''),
      host: fc.boolean(),
    });
    const fleet = fc.uniqueArray(node, { selector: ({ name }) => name, maxLength: 30 });
    fc.assert(
      fc.property(fleet, fc.gen(), (nodes, gen) => {
        const groups = orderNodes(nodes);
        const all = [...groups.controlPlane, ...groups.workers];
        expect(new Set(all)).toEqual(new Set(nodes));
        expect(all.length).toBe(nodes.length);
        expect(groups.controlPlane.every(({ controlPlane }) => controlPlane)).toBe(true);
        const shuffled = gen(() => fc.shuffledSubarray(nodes, { minLength: nodes.length }));
        expect(orderNodes(shuffled)).toEqual(groups);
        for (const group of [groups.controlPlane, groups.workers]) {
          const hosts = group.map(({ host }) => host);
          expect(hosts.toSorted((a, b) => Number(a) - Number(b))).toEqual(hosts);
          const zones = group.filter(({ host }) => !host).map(({ zone }) => zone);
          const blocks = zones.filter((zone, n) => zone !== zones[n - 1]);
          expect(new Set(blocks).size).toBe(blocks.length);
        }
      }),
    );
  });
});
