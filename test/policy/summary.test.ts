import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { VERDICTS } from '../../api/schemas/kairos-node.ts';
import { nodeOpUpgradeStatus } from '../../api/schemas/node-op-upgrade.ts';
import { ROLLOUT_PHASES } from '../../api/schemas/rollout-phase.ts';
import type { KairosNodeStatus, NodeOpUpgrade, RolloutStatus, Verdict } from '../../api/types.ts';
import { isFinal } from '../../policy/engine.ts';
import { type SummarizedNode, summarize as summarizeAt } from '../../policy/summary.ts';

const ENGINE = { reachable: true, message: 'Temporal answers', since: '2026-03-01T09:00:00Z' };
const AROUND = { atMs: Date.parse('2026-03-01T10:00:30Z'), inTheWay: () => 'nothing' };
const AWAY = { reachable: false, message: 'Temporal does not answer', since: '2026-03-01T09:30:00Z' };

const summarize = (upgrade: NodeOpUpgrade, nodes: SummarizedNode[], engine: typeof ENGINE) =>
  summarizeAt(upgrade, nodes, engine, AROUND);
const rollout = (more: Partial<RolloutStatus> = {}): RolloutStatus => ({
  workflowID: 'rollout/x',
  generation: 2,
  attempt: 1,
  phase: 'Running',
  message: 'upgrading the workers',
  total: 10,
  startedAt: '2026-03-01T10:00:00Z',
  ...more,
});
const upgrade = (status?: RolloutStatus): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'u', generation: 2 },
  spec: { image: 'quay.io/kairos/hadron:v4.0.3' },
  ...(status === undefined ? {} : { status: { rollout: status } }),
});
const REQUEST = { kind: 'NodeOpUpgrade', namespace: 'fleet', name: 'v4', uid: 'u', generation: 2, attempt: 1 } as const;
const ended = (name: string, verdict: Verdict, more: Partial<typeof REQUEST> | object = {}): SummarizedNode => ({
  name,
  status: {
    upgradeState: verdict === 'Succeeded' ? 'Completed' : 'Failed',
    lastAttempt: {
      rollout: 'rollout/x',
      request: { ...REQUEST, ...more },
      specGeneration: 1,
      image: 'i',
      verdict,
      finishedAt: '2026-03-01T10:05:00Z',
    },
  },
});
const inHand = (name: string, more: KairosNodeStatus = {}): SummarizedNode => ({
  name,
  status: { upgradeState: 'InProgress', ...more },
});

describe('the status of an upgrade', () => {
  it('waits for its rollout at first', () => {
    const status = summarize(upgrade(), [], ENGINE);
    expect(status).toMatchObject({
      phase: 'Pending',
      message: 'waiting for its rollout to start',
      observedGeneration: 2,
      nodes: { total: 0, done: 0, inFlight: 0, failed: 0, summary: '0/0' },
      inFlight: [],
    });
  });

  it('says that Temporal is away, since when, and what that means', () => {
    const status = summarize(upgrade(), [], AWAY);
    expect(status.message).toBe('Temporal does not answer');
    expect(status.conditions).toContainEqual({
      type: 'EngineReachable',
      status: 'False',
      reason: 'Unreachable',
      message: 'Temporal does not answer',
      observedGeneration: 2,
      lastTransitionTime: '2026-03-01T09:30:00Z',
    });
  });

  it('keeps the words of the rollout while Temporal is away', () => {
    expect(summarize(upgrade(rollout()), [], AWAY)).toMatchObject({
      phase: 'Running',
      message: 'upgrading the workers',
    });
  });

  it('of an edited spec says that the attempt for the earlier one is being cancelled', () => {
    const old = rollout({ generation: 1, phase: 'Running' });
    const status = summarize(upgrade(old), [inHand('a')], ENGINE);
    expect(status).toMatchObject({
      phase: 'Cancelling',
      message: expect.stringContaining('1 nodes are still in hand'),
    });
    const condition = (type: string) => status.conditions?.find((one) => one.type === type);
    expect(condition('Progressing')).toMatchObject({ status: 'True', reason: 'Cancelling' });
    expect(condition('Ended')).toMatchObject({ status: 'False' });
  });

  it('is not that of an earlier spec', () => {
    const old = rollout({ generation: 1, phase: 'Completed', verdicts: { Succeeded: 10 } });
    expect(summarize(upgrade(old), [], ENGINE)).toMatchObject({ phase: 'Pending', nodes: { total: 0, done: 0 } });
  });

  it('counts what the nodes say before the rollout has written it', () => {
    const nodes = [ended('a', 'Succeeded'), ended('b', 'AlreadyOnTarget'), ended('c', 'RolledBack'), inHand('d')];
    expect(summarize(upgrade(rollout()), nodes, ENGINE).nodes).toEqual({
      total: 10,
      done: 2,
      inFlight: 1,
      failed: 1,
      summary: '2/10',
    });
  });

  it('counts what the rollout has written where the nodes have gone', () => {
    const verdicts = { Succeeded: 4, AlreadyOnTarget: 2, Lost: 1, Skipped: 1, Cancelled: 2 };
    const nodes = summarize(upgrade(rollout({ verdicts })), [ended('a', 'Succeeded')], ENGINE).nodes;
    expect(nodes).toMatchObject({ done: 6, failed: 2, summary: '6/10' });
  });

  describe('with verdicts that evidence corrected which came late', () => {
    const lost = { name: 'a', verdict: 'Lost', message: 'is not Ready' } as const;
    const over = (more: Partial<RolloutStatus> = {}) =>
      rollout({
        phase: 'Failed',
        message: 'stopped',
        total: 3,
        verdicts: { Succeeded: 1, Lost: 1 },
        failed: [lost],
        ...more,
      });

    it('counts what the nodes turned out to be, names them, and keeps its phase', () => {
      const status = summarize(upgrade(over()), [ended('a', 'Succeeded'), ended('b', 'Succeeded')], ENGINE);
      expect(status).toMatchObject({ phase: 'Failed', nodes: { done: 2, failed: 0, summary: '2/3' } });
      expect(status.conditions).toContainEqual(
        expect.objectContaining({
          type: 'VerdictsCorrected',
          status: 'True',
          reason: 'LateEvidence',
          message: 'evidence came late: a was Lost, is Succeeded; see kubectl get kairosnodes',
        }),
      );
      expect(nodeOpUpgradeStatus.safeParse(status).error).toBeUndefined();
    });

    it('says so, too, when the node has gone on to another attempt since it was noted', () => {
      const noted = over({ failed: [{ ...lost, correctedTo: 'RolledBack' }] });
      const status = summarize(upgrade(noted), [ended('a', 'Succeeded', { attempt: 2 })], ENGINE);
      expect(status.nodes).toMatchObject({ done: 1, failed: 1 });
      expect(status.conditions).toContainEqual(
        expect.objectContaining({ type: 'VerdictsCorrected', message: expect.stringMatching(/is RolledBack/) }),
      );
    });

    it('has no such condition as long as every verdict stands', () => {
      const { conditions = [] } = summarize(upgrade(over()), [ended('a', 'Lost')], ENGINE);
      expect(conditions.map(({ type }) => type)).not.toContain('VerdictsCorrected');
    });
  });

  it.each([
    [
      'a node in hand, whatever its last attempt',
      inHand(
        'a',
        ended('a', 'Succeeded').status.lastAttempt && { lastAttempt: ended('a', 'Succeeded').status.lastAttempt },
      ),
    ],
    ['a node that ended in an earlier attempt', ended('a', 'Succeeded', { attempt: 0 })],
    ['a node that ended for an earlier spec', ended('a', 'Succeeded', { generation: 1 })],
    ['a node that ended for an earlier resource of that name', ended('a', 'Succeeded', { uid: 'other' })],
    ['a node that was cancelled', ended('a', 'Cancelled')],
    ['a node that was never tried', { name: 'a', status: {} }],
  ] as [string, SummarizedNode][])('does not count %s as ended', (_, node) => {
    expect(summarize(upgrade(rollout()), [node], ENGINE).nodes).toMatchObject({ done: 0, failed: 0 });
  });

  it('names the nodes in hand as people order them, with what they wait for', () => {
    const since = '2026-03-01T10:04:00Z';
    const nodes = [
      inHand('w-10'),
      inHand('w-9', { step: 'Drain', stepSince: since, message: 'held by PodDisruptionBudget pg' }),
    ];
    expect(summarize(upgrade(rollout()), nodes, ENGINE).inFlight).toEqual([
      { name: 'w-9', step: 'Drain', since, message: 'held by PodDisruptionBudget pg' },
      { name: 'w-10' },
    ]);
  });

  it('names those that wait at a gate behind them, and does not count them: they are in service', () => {
    const since = '2026-03-01T10:04:00Z';
    const message = 'waiting at the gate Cordon: node w-1 is cordoned';
    const waiting = { name: 'w-1', status: { upgradeState: 'Idle', step: 'Gate', stepSince: since, message } } as const;
    const summary = summarize(upgrade(rollout()), [waiting, inHand('w-2')], ENGINE);
    expect(summary.inFlight).toEqual([{ name: 'w-2' }, { name: 'w-1', step: 'Gate', since, message }]);
    expect(summary.nodes).toMatchObject({ inFlight: 1, done: 0, failed: 0 });
  });

  it('of a large rollout stays within what the resource holds', () => {
    const nodes = Array.from({ length: 300 }, (_, n) => inHand(`w-${n}`, { message: 'x'.repeat(4000) }));
    const status = summarize(upgrade(rollout({ total: 300 })), nodes, ENGINE);
    expect(status.nodes).toMatchObject({ inFlight: 300 });
    expect(status.inFlight).toHaveLength(100);
    expect(nodeOpUpgradeStatus.safeParse(status).error).toBeUndefined();
  });
});

describe('the phase of an attempt that has ended', () => {
  const anyNode = fc.oneof(
    fc.tuple(fc.nat(20), fc.constantFrom(...VERDICTS)).map(([n, verdict]) => ended(`w-${n}`, verdict)),
    fc.nat(20).map((n) => inHand(`w-${n}`)),
    fc.nat(20).map((n) => ended(`w-${n}`, 'Succeeded', { attempt: 7 })),
  );
  const nodes = fc.uniqueArray(anyNode, { maxLength: 15, selector: ({ name }) => name });
  const phase = fc.constantFrom(...ROLLOUT_PHASES);

  it('is what its rollout wrote, whatever the nodes say by now, and nothing is said to be under way', () => {
    fc.assert(
      fc.property(phase.filter(isFinal), nodes, fc.boolean(), (final, seen, reachable) => {
        const status = summarize(upgrade(rollout({ phase: final, wave: 'workers' })), seen, { ...ENGINE, reachable });
        expect(status).toMatchObject({ phase: final, wave: undefined, eta: undefined });
        const said = (type: string) => status.conditions?.find((one) => one.type === type)?.status;
        expect(said('Ended')).toBe('True');
        expect(said('Progressing')).toBe('False');
        expect(said('Completed')).toBe(final === 'Completed' ? 'True' : 'False');
      }),
    );
  });

  it('is never Completed by the nodes alone: only the rollout knows which were planned', () => {
    fc.assert(
      fc.property(
        phase.filter((one) => one !== 'Completed'),
        nodes,
        fc.nat(20),
        (now, seen, total) => {
          const { phase: shown, conditions } = summarize(upgrade(rollout({ phase: now, total })), seen, ENGINE);
          expect(shown).toBe(now);
          expect(conditions?.find(({ type }) => type === 'Completed')?.status).toBe('False');
        },
      ),
    );
  });

  it('has conditions as the Kubernetes API conventions want them: a reason in CamelCase, each type once', () => {
    fc.assert(
      fc.property(phase, nodes, (now, seen) => {
        const { conditions = [] } = summarize(upgrade(rollout({ phase: now })), seen, ENGINE);
        for (const { type, reason, observedGeneration } of conditions) {
          expect(type).toMatch(/^[A-Z][A-Za-z]+$/);
          expect(reason).toMatch(/^[A-Z][A-Za-z]+$/);
          expect(observedGeneration).toBe(2);
        }
        expect(new Set(conditions.map(({ type }) => type)).size).toBe(conditions.length);
      }),
    );
  });
});
