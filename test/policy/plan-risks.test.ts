import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  type PlannedPod,
  type TriedEviction,
  evictedOf,
  podRisks,
  refusalsByNode,
  sortRisks,
  worthTrying,
} from '../../policy/plan-risks.ts';
import { drainOf } from '../../policy/drain.ts';
import { resolveSpec } from '../../policy/strategy.ts';
import type { NodeOpUpgradeSpec } from '../../api/types.ts';

const AT = Date.parse('2026-03-01T10:00:00Z');

const options = (spec: Partial<NodeOpUpgradeSpec> = {}) => {
  const resolved = resolveSpec({ image: 'quay.io/kairos/hadron:v4.0.3', ...spec });
  return { ...drainOf(resolved), timeoutMs: resolved.drainTimeoutMs };
};
const pod = (name: string, more: Partial<PlannedPod> = {}): PlannedPod => ({
  namespace: 'shop',
  name,
  uid: `uid-of-${name}`,
  node: 'worker-1',
  labels: {},
  phase: 'Running',
  deleting: false,
  mirror: false,
  ready: true,
  hasEmptyDir: false,
  claims: [],
  ownerKind: 'ReplicaSet',
  ownerUID: 'web',
  owner: 'ReplicaSet web-1',
  ...more,
});
const bare = (name: string, more: Partial<PlannedPod> = {}): PlannedPod => {
  const { ownerKind: _kind, ownerUID: _uid, owner: _owner, ...rest } = pod(name, more);
  return rest;
};

const risks = (
  pods: PlannedPod[],
  {
    tried = [],
    spec = {},
    replicas = { web: 2 },
    local = [],
  }: {
    tried?: TriedEviction[];
    spec?: Partial<NodeOpUpgradeSpec>;
    replicas?: Record<string, number>;
    local?: string[];
  } = {},
) =>
  podRisks(
    { pods, replicas: new Map(Object.entries(replicas)), localClaims: new Set(local) },
    tried,
    options(spec),
    AT,
  ).map(({ effect, reason, count, message }) => ({ what: `${effect} ${reason} ${count}`, message }));

describe('the risks of the pods of a plan', () => {
  it('are none where two pods of one controller can move', () => {
    expect(risks([pod('a'), pod('b', { node: 'worker-2' })])).toEqual([]);
  });

  it.each([
    ['of a DaemonSet', pod('a', { ownerKind: 'DaemonSet', hasEmptyDir: true })],
    ['static', bare('a', { mirror: true })],
    ['that has ended', bare('a', { phase: 'Succeeded' })],
    ['of the operator', pod('a', { labels: { 'app.kubernetes.io/part-of': 'kairos-operator' }, hasEmptyDir: true })],
  ])('are none of a pod %s, which stays', (_, one) => expect(risks([one], { replicas: {} })).toEqual([]));

  it('name a pod without a controller as what refuses its node, once', () => {
    const found = risks([bare('lone'), bare('other', { node: 'worker-2' })]);
    expect(found.map(({ what }) => what)).toEqual(['Refuses NodeRefused 1', 'Refuses NodeRefused 1']);
    expect(found[0]?.message).toMatch(/^worker-1 would end as Failed, untouched: .*shop\/lone.*drain\.force/);
  });

  it('name it as what goes for good where the drain is forced', () => {
    const [found] = risks([bare('lone')], { spec: { strategy: { drain: { force: true } } } });
    expect(found?.what).toBe('Loses UnmanagedPods 1');
  });

  it('name emptyDir data as what goes, or as what refuses, as the strategy has it', () => {
    const one = pod('a', { hasEmptyDir: true });
    expect(risks([one]).map(({ what }) => what)).toEqual(['Loses EmptyDirData 1']);
    const spec = { strategy: { drain: { deleteEmptyDirData: false } } };
    expect(risks([one], { spec }).map(({ what }) => what)).toEqual(['Refuses NodeRefused 1']);
  });

  it('name single pods, and those that no other node can run', () => {
    const found = risks([pod('db-0', { claims: ['shop/data', 'shop/net'] }), pod('b', { claims: ['shop/net'] })], {
      replicas: { web: 1 },
      local: ['shop/data'],
    });
    expect(found.map(({ what }) => what)).toEqual(['Interrupts LocalVolumes 1', 'Interrupts SingleReplica 1']);
    expect(found[0]?.message).toContain('shop/db-0 on worker-1');
  });

  it('count every pod of a controller whose one pod was held, and say what the budget says', () => {
    const pods = [pod('a'), pod('b', { node: 'worker-2' }), pod('c', { ready: false })];
    const state = { disruptionsAllowed: 0, currentHealthy: 2, desiredHealthy: 2 };
    const held = { pod: pods[0] as PlannedPod, budget: 'shop/web', state, refused: false, message: 'held' };
    const [now] = risks(pods, { tried: [held] });
    expect(now?.what).toBe('Waits BudgetBlocks 2');
    expect(now?.message).toMatch(
      /PodDisruptionBudget shop\/web allows no disruption now \(2 healthy, 2 needed\).*shop\/a on worker-1, shop\/b on worker-2; its drain waits for at most 15m00s, then strategy.drain.onTimeout: Fail/,
    );
    const never = { ...held, state: { ...state, expectedPods: 2 } };
    expect(risks(pods, { tried: [never] })[0]?.message).toContain('never allows a disruption');
  });

  it('say what the API server will never evict', () => {
    const one = pod('a');
    const [found] = risks([one], { tried: [{ pod: one, refused: true, message: 'held by two budgets' }] });
    expect(found).toEqual({ what: 'Refuses EvictionRefused 1', message: 'held by two budgets (shop/a on worker-1)' });
  });

  it('are bounded: the eleventh node that is refused is counted with the others', () => {
    const found = risks(Array.from({ length: 500 }, (_, n) => bare(`p-${n}`, { node: `worker-${n}` })));
    expect(found).toHaveLength(11);
    expect(found.at(-1)?.what).toBe('Refuses NodeRefused 490');
    for (const { message } of found) expect(message.length).toBeLessThanOrEqual(1000);
  });
});

const anyPod = fc
  .record({
    name: fc.uuid(),
    node: fc.constantFrom('worker-1', 'worker-2', 'worker-3'),
    owner: fc.constantFrom('web', 'db', undefined),
    ready: fc.boolean(),
    deleting: fc.boolean(),
    hasEmptyDir: fc.boolean(),
  })
  .map(({ name, owner, ...more }) =>
    owner === undefined ? bare(name, more) : pod(name, { ...more, ownerUID: owner, owner }),
  );

it('an eviction is tried of every controller of which a pod would be evicted, and of nothing that stays', () => {
  fc.assert(
    fc.property(fc.array(anyPod, { maxLength: 30 }), fc.boolean(), (pods, force) => {
      const evicted = evictedOf(pods, options({ strategy: { drain: { force } } }), AT);
      const tried = worthTrying(evicted);
      const key = ({ ownerUID, uid }: PlannedPod) => ownerUID ?? uid;
      const going = evicted.filter(({ deleting }) => !deleting);
      expect(new Set(tried.map(key))).toEqual(new Set(going.map(key)));
      expect(tried.length).toBeLessThanOrEqual(2 * new Set(going.map(key)).size);
      for (const one of tried) expect(evicted).toContain(one);
    }),
  );
});

it('a node is refused by the plan exactly where a drain would refuse one of its pods', () => {
  fc.assert(
    fc.property(fc.array(anyPod, { maxLength: 30 }), (pods) => {
      const refused = new Set(refusalsByNode(pods, options(), AT).keys());
      const lone = pods.filter(({ ownerKind, deleting }) => ownerKind === undefined && !deleting);
      expect(refused).toEqual(new Set(lone.map(({ node }) => node)));
    }),
  );
});

it('the worst risks come first', () => {
  const of = (effect: 'Notes' | 'Waits' | 'Refuses') =>
    ({ effect, reason: 'NotTried', count: 1, message: effect }) as const;
  expect(sortRisks([of('Notes'), of('Waits'), of('Refuses')]).map(({ effect }) => effect)).toEqual([
    'Refuses',
    'Waits',
    'Notes',
  ]);
});
