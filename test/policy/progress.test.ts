import { describe, expect, it } from '@jest/globals';
import type { KairosNodeStatus, NodeOpUpgrade, PlanStatus, RolloutStatus, Verdict } from '../../api/types.ts';
import { nodeOpUpgradeStatus } from '../../api/schemas/node-op-upgrade.ts';
import { type SummarizedNode, summarize } from '../../policy/summary.ts';

const NOW = '2026-03-01T10:30:00Z';
const ENGINE = { reachable: true, message: 'Temporal answers', since: '2026-03-01T09:00:00Z' };
const PLAN: PlanStatus = {
  generation: 2,
  attempt: 1,
  plannedAt: '2026-03-01T10:00:00Z',
  summary: 's',
  image: 'i',
  versionFrom: 'read at the first pull',
  total: 7,
  waves: [
    { name: 'control-plane', group: 'control-plane', nodes: 1, maxUnavailable: 1 },
    { name: 'canary', group: 'worker', nodes: 1, maxUnavailable: 1, soakSeconds: 600 },
    { name: 'workers', group: 'worker', nodes: 5, maxUnavailable: 2 },
  ],
  leftAloneCount: 0,
  riskCount: 0,
  table: 't',
};
const REQUEST = { kind: 'NodeOpUpgrade', namespace: 'fleet', name: 'v4', uid: 'u', generation: 2, attempt: 1 } as const;
const rollout = (more: Partial<RolloutStatus> = {}): RolloutStatus => ({
  workflowID: 'rollout/x',
  generation: 2,
  attempt: 1,
  phase: 'Running',
  wave: 'workers',
  total: 7,
  startedAt: '2026-03-01T10:00:00Z',
  verdicts: { Succeeded: 2 },
  ...more,
});
const upgrade = (status: RolloutStatus | undefined, more: NodeOpUpgrade['status'] = {}): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'u', generation: 2 },
  spec: { image: 'i' },
  status: { plan: PLAN, ...(status === undefined ? {} : { rollout: status }), ...more },
});
const ended = (name: string, verdict: Verdict = 'Succeeded', minutes = 4): SummarizedNode => ({
  name,
  status: {
    upgradeState: 'Completed',
    lastAttempt: {
      rollout: 'rollout/x',
      request: REQUEST,
      specGeneration: 1,
      image: 'i',
      verdict,
      message: 'runs v4.0.3',
      startedAt: `2026-03-01T10:0${9 - minutes}:00Z`,
      finishedAt: '2026-03-01T10:09:00Z',
      steps: ['Drain', 'Reboot', 'Verify'].map((step) => ({ step, startedAt: NOW })) as never,
    },
  },
});
const inHand = (name: string, startedAt: string, more: KairosNodeStatus = {}): SummarizedNode => ({
  name,
  status: {
    upgradeState: 'InProgress',
    step: 'Drain',
    stepSince: startedAt,
    inHand: { rollout: 'rollout/x', request: REQUEST, image: 'i', version: 'v', bootID: 'b', startedAt },
    ...more,
  },
});
const at = (iso: string) => ({ atMs: Date.parse(iso), inTheWay: () => 'nothing' });
const BEGUN = [ended('cp-1'), ended('worker-1'), ended('worker-2'), inHand('worker-3', '2026-03-01T10:28:00Z')];
const status = (nodes = BEGUN, of = upgrade(rollout()), around: object = {}) =>
  summarize(of, nodes, ENGINE, { ...at(NOW), ...around });

describe('the current wave', () => {
  it('is which one, of how many, and how far', () => {
    expect(status().wave).toEqual({
      name: 'workers',
      number: 3,
      of: 3,
      nodes: 5,
      done: 1,
      failed: 0,
      summary: 'workers 1/5 (3 of 3)',
    });
  });

  it('counts the failed ones apart', () => {
    expect(status([...BEGUN, ended('worker-4', 'Lost')]).wave).toMatchObject({ done: 1, failed: 1 });
  });

  it('is done while it soaks, and while the next one waits for approval', () => {
    const soaking = { wave: 'canary', verdicts: { Succeeded: 2 }, verdictsBefore: { Succeeded: 1 } };
    const nodes = [ended('cp-1'), ended('worker-1')];
    expect(status(nodes, upgrade(rollout(soaking))).wave).toMatchObject({ summary: 'canary 1/1 (2 of 3)', done: 1 });
    const failed = { ...soaking, verdicts: { Succeeded: 1, Lost: 1 } };
    const one = [ended('cp-1'), ended('worker-1', 'Lost')];
    expect(status(one, upgrade(rollout(failed))).wave).toMatchObject({ done: 0, failed: 1 });
  });

  it('is of what the rollout carries out, whatever was planned since because a person asked', () => {
    const { waves = [] } = PLAN;
    const [first, second] = waves;
    const anew = { ...PLAN, asked: 'now', waves: [first, second].filter((one) => one !== undefined) };
    expect(status(BEGUN, upgrade(rollout({ waves }), { plan: anew })).wave).toMatchObject({
      number: 3,
      of: 3,
      nodes: 5,
    });
    // One of an earlier version says no waves of its own.
    expect(status(BEGUN, upgrade(rollout(), { plan: anew })).wave).toMatchObject({ summary: 'workers' });
  });

  it('is only its name where the plan is of another attempt', () => {
    const old = upgrade(rollout(), { plan: { ...PLAN, generation: 1 } });
    expect(status(BEGUN, old).wave).toMatchObject({ name: 'workers', summary: 'workers' });
  });

  it.each(['Completed', 'Failed', 'Cancelled', 'Planned', 'Planning'] as const)('is none once %s', (phase) => {
    expect(status(BEGUN, upgrade(rollout({ phase }))).wave).toBeUndefined();
  });
});

describe('the ETA', () => {
  it('is by the upgrades of this attempt: one half through, three that wait, two places', () => {
    // Two of four minutes are left of worker-3; the other place is free at once: two rounds after the later of both.
    expect(status().eta).toEqual({
      at: '2026-03-01T10:40:00.000Z',
      latest: '2026-03-01T10:40:00.000Z',
      from: 'upgrades of this attempt',
    });
  });

  it('has a spread', () => {
    const { at: soon, latest } = status([...BEGUN, ended('worker-4', 'Succeeded', 8)]).eta ?? { at: '', latest: '' };
    expect(Date.parse(latest)).toBeGreaterThan(Date.parse(soon));
  });

  it('is by earlier upgrades of the cluster until this attempt has one', () => {
    const one = [inHand('cp-1', NOW)];
    const first = upgrade(rollout({ wave: 'control-plane', verdicts: {} }));
    expect(status(one, first).eta).toBeUndefined();
    const measuredBefore = () => [{ controlPlane: false, ms: 240_000 }];
    expect(status(one, first, { measuredBefore }).eta).toEqual({
      // cp-1, the canary and its soak of ten minutes, three rounds of the workers.
      at: '2026-03-01T11:00:00.000Z',
      latest: '2026-03-01T11:00:00.000Z',
      from: 'earlier upgrades of this cluster',
    });
  });

  it('counts of a wave that soaks the rest of its soak only', () => {
    const soaking = rollout({
      wave: 'canary',
      verdicts: { Succeeded: 2 },
      verdictsBefore: { Succeeded: 1 },
      soakUntil: '2026-03-01T10:34:00Z',
    });
    // Four minutes, and three rounds of four of the workers.
    expect(status([ended('cp-1'), ended('worker-1')], upgrade(soaking)).eta?.at).toBe('2026-03-01T10:46:00.000Z');
    const late = { ...soaking, soakUntil: '2026-03-01T10:29:00Z' };
    expect(status([ended('cp-1'), ended('worker-1')], upgrade(late)).eta?.at).toBe('2026-03-01T10:42:00.000Z');
  });

  it('counts nothing of the wave behind which one waits for approval', () => {
    const approval = { wave: 'workers', since: '2026-03-01T10:10:00Z' };
    const waiting = rollout({ wave: 'canary', verdicts: { Succeeded: 2 }, verdictsBefore: { Succeeded: 1 }, approval });
    expect(status([ended('cp-1'), ended('worker-1')], upgrade(waiting)).eta?.at).toBe('2026-03-01T10:42:00.000Z');
  });

  it.each([
    ['it is paused', upgrade(rollout({ phase: 'Paused' }))],
    ['it has ended', upgrade(rollout({ phase: 'Failed' }))],
    ['its wave is not of the plan', upgrade(rollout({ wave: 'joined-1' }))],
    ['it was not planned', upgrade(rollout(), { plan: undefined })],
  ])('is absent where %s', (_, of) => expect(status(BEGUN, of).eta).toBeUndefined());

  it('is not written anew with every second', () => {
    const said = new Set<string>();
    let known: NodeOpUpgrade['status'] = {};
    for (let second = 0; second < 120; second += 1) {
      const now = new Date(Date.parse(NOW) + second * 1000).toISOString();
      const { eta } = summarize(upgrade(rollout(), known), BEGUN, ENGINE, at(now));
      known = eta === undefined ? {} : { eta };
      said.add(JSON.stringify(eta));
    }
    expect(said.size).toBeLessThanOrEqual(6);
  });
});

describe('the nodes in the words of the Go operator', () => {
  it('are what became of each', () => {
    const waiting: SummarizedNode = {
      name: 'worker-5',
      status: { step: 'Gate', message: 'waiting at the gate Budget: x' },
    };
    const nodes = [...BEGUN, ended('worker-4', 'RolledBack'), waiting, inHand('worker-6', NOW, { step: 'Reboot' })];
    expect(status(nodes).nodeStatuses).toMatchObject({
      'worker-4': { phase: 'Failed', message: 'RolledBack: runs v4.0.3', rebootStatus: 'completed' },
      'worker-3': { phase: 'Running', rebootStatus: 'not-requested', lastUpdated: '2026-03-01T10:28:00Z' },
      'worker-6': { phase: 'Running', rebootStatus: 'pending' },
      'worker-5': { phase: 'Pending', rebootStatus: 'not-requested' },
      'cp-1': { phase: 'Completed', rebootStatus: 'completed', lastUpdated: '2026-03-01T10:09:00Z' },
    });
  });

  it('are Pending where they were left as they were, by a person or for another NodeOpUpgrade', () => {
    const nodes = [ended('worker-4', 'Skipped'), ended('worker-5', 'Skipped'), ended('worker-6', 'Superseded')];
    const skipped = [{ name: 'worker-4', by: 'kubectl' as const, at: NOW }];
    expect(status(nodes, upgrade(rollout({ skipped }))).nodeStatuses).toMatchObject({
      'worker-4': { phase: 'Pending' },
      'worker-5': { phase: 'Failed' },
      'worker-6': { phase: 'Pending' },
    });
  });

  it('are a hundred, those that failed before all others, and say how many they leave out', () => {
    const nodes = Array.from({ length: 150 }, (_, n) => ended(`worker-${n}`, n > 120 ? 'Lost' : 'Succeeded'));
    const { nodeStatuses = {}, nodeStatusesLeftOut } = status(nodes);
    expect(Object.keys(nodeStatuses)).toHaveLength(100);
    expect(nodeStatusesLeftOut).toBe(50);
    expect(Object.values(nodeStatuses).filter(({ phase }) => phase === 'Failed')).toHaveLength(29);
  });

  it('are none of an earlier attempt', () => {
    expect(status(BEGUN, upgrade(rollout({ attempt: 2 }))).nodeStatuses).toEqual({ 'worker-3': expect.anything() });
  });
});

it('a node in flight says what keeps its drain', () => {
  const blockers = [
    { pod: 'db/pg-0', reason: 'Budget' as const, message: 'held by PodDisruptionBudget pg', since: NOW },
    { pod: 'db/pg-1', reason: 'Budget' as const, message: 'held by PodDisruptionBudget pg', since: NOW },
  ];
  const now = status([inHand('worker-3', NOW, { blockers, blockedPods: 2 })]);
  expect(now.inFlight).toEqual([
    {
      name: 'worker-3',
      step: 'Drain',
      since: NOW,
      blocker: `pod db/pg-0 is held by PodDisruptionBudget pg (since ${NOW})`,
      blockedPods: 2,
    },
  ]);
});

it('all of it is what the schema allows', () => {
  const whole = JSON.parse(JSON.stringify(status([...BEGUN, ended('worker-4', 'Lost')]))) as unknown;
  expect(nodeOpUpgradeStatus.safeParse(whole).error).toBeUndefined();
});
