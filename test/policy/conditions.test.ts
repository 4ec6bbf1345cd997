import { describe, expect, it } from '@jest/globals';
import type { Condition, NodeOpUpgrade, RolloutStatus } from '../../api/types.ts';
import { inTheWay, type NearbyNode } from '../../policy/in-the-way.ts';
import { withWait } from '../../policy/rollout-wait.ts';
import { type SummarizedNode, summarize } from '../../policy/summary.ts';

const ENGINE = { reachable: true, message: 'Temporal answers', since: '2026-03-01T09:00:00Z' };
const AWAY = { reachable: false, message: 'Temporal does not answer', since: '2026-03-01T09:30:00Z' };

const upgrade = (rollout?: Partial<RolloutStatus>, conditions: Condition[] = []): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'u', generation: 2 },
  spec: { image: 'reg/x:v1' },
  status: {
    conditions,
    ...(rollout === undefined
      ? {}
      : {
          rollout: {
            workflowID: 'rollout/x',
            generation: 2,
            attempt: 1,
            phase: 'Running',
            message: 'wave workers',
            total: 3,
            startedAt: '2026-03-01T10:00:00Z',
            ...rollout,
          },
        }),
  },
});
/** Asked to leave a node out after it had been asked to abort. */
const asked = (answer: { accepted?: boolean; message?: string }): NodeOpUpgrade => {
  const one = upgrade({});
  const taken = { value: 'worker-1', attempt: 1, number: 1 };
  const requests = {
    skip: { ...taken, at: '2026-03-01T10:00:05Z', ...answer },
    abort: { ...taken, at: '2026-03-01T10:00:04Z', accepted: true, message: 'done' },
  };
  return { ...one, status: { ...one.status, requests } };
};
const inHand: SummarizedNode = { name: 'a', status: { upgradeState: 'InProgress' } };

/** The conditions at this time, as `status reason`, and the whole of one. */
function conditionsAt(time: string, of: NodeOpUpgrade, nodes: SummarizedNode[] = [], engine = ENGINE) {
  const around = { atMs: Date.parse(`2026-03-01T${time}Z`), inTheWay: () => 'worker-9 is in the way' };
  return summarize(of, nodes, engine, around).conditions ?? [];
}
const short = (conditions: Condition[]) =>
  Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status} ${reason}`]));

describe('the conditions of a NodeOpUpgrade', () => {
  it.each([
    ['not begun', upgrade(), [], { Progressing: 'True Pending', Ended: 'False Pending' }],
    ['planning', upgrade({ phase: 'Planning' }), [], { Progressing: 'True Planning' }],
    ['at work', upgrade({}), [inHand], { Progressing: 'True Running', Paused: 'False NotPaused' }],
    [
      'with a wave that waits for approval',
      upgrade({ approval: { wave: 'rest', since: '2026-03-01T10:00:00Z' }, message: 'kubectl annotate …' }),
      [],
      { Progressing: 'False ApprovalNeeded', ApprovalNeeded: 'True WaveWaits' },
    ],
    [
      'asked for something that was done',
      asked({ accepted: true, message: 'done' }),
      [inHand],
      { LastRequest: 'True RequestAccepted' },
    ],
    [
      'asked for something that was refused',
      asked({ accepted: false, message: 'no' }),
      [inHand],
      { LastRequest: 'False RequestRefused' },
    ],
    ['asked for something, and nobody answers', asked({}), [inHand], { LastRequest: 'Unknown RequestWaits' }],
    [
      'with nodes that people left out, which are no failures',
      upgrade({
        phase: 'Completed',
        verdicts: { Succeeded: 2, Skipped: 1 },
        skipped: [{ name: 'c', by: 'kubectl', at: '2026-03-01T10:00:00Z' }],
      }),
      [],
      { Degraded: 'False NoFailures' },
    ],
    [
      'paused by kubectl',
      upgrade({ phase: 'Paused', paused: { by: 'kubectl', reason: 'x', since: '2026-03-01T10:00:00Z' } }),
      [],
      { Progressing: 'False Paused', Paused: 'True ByAnnotation' },
    ],
    [
      'paused through Temporal, with a node in hand',
      upgrade({ phase: 'Paused', paused: { by: 'temporal', reason: 'x', since: '2026-03-01T10:00:00Z' } }),
      [inHand],
      { Progressing: 'True Paused', Paused: 'True ByTemporal' },
    ],
    [
      'with a failed node',
      upgrade({ verdicts: { Lost: 1, Succeeded: 1 } }),
      [inHand],
      { Progressing: 'True Running', Degraded: 'True NodesFailed', Ended: 'False Running' },
    ],
    [
      'completed',
      upgrade({ phase: 'Completed', verdicts: { Succeeded: 3 } }),
      [],
      {
        Progressing: 'False Completed',
        Completed: 'True Completed',
        Ended: 'True Completed',
        Degraded: 'False NoFailures',
      },
    ],
    [
      'failed without a failed node',
      upgrade({ phase: 'Failed', total: 0 }),
      [],
      { Completed: 'False Failed', Ended: 'True Failed', Degraded: 'True RolloutFailed' },
    ],
    ['cancelled', upgrade({ phase: 'Cancelled' }), [], { Completed: 'False Cancelled', Ended: 'True Cancelled' }],
  ] as [string, NodeOpUpgrade, SummarizedNode[], object][])('that is %s', (_, of, nodes, expected) => {
    expect(short(conditionsAt('10:00:05', of, nodes))).toMatchObject({
      EngineReachable: 'True Connected',
      ...expected,
    });
  });

  it('says that Temporal is away, but not of what has ended', () => {
    expect(short(conditionsAt('10:00:05', upgrade({}), [inHand], AWAY))).toMatchObject({
      EngineReachable: 'False Unreachable',
      Progressing: 'False TemporalUnreachable',
    });
    expect(short(conditionsAt('10:00:05', upgrade({ phase: 'Completed' }), [], AWAY)).Progressing).toBe(
      'False Completed',
    );
  });

  it('says what is in the way when nothing has been in hand for a minute', () => {
    const progress = (time: string, nodes: SummarizedNode[] = []) =>
      conditionsAt(time, upgrade({}), nodes).find(({ type }) => type === 'Progressing');
    expect(progress('10:00:59')).toMatchObject({ status: 'True' });
    expect(progress('10:01:00')).toMatchObject({
      status: 'False',
      reason: 'Waiting',
      message: 'no node is in hand since 2026-03-01T10:00:00Z: worker-9 is in the way',
    });
    expect(progress('10:01:00', [inHand])).toMatchObject({ status: 'True' });
  });

  it('says that it soaks as long as it does, and then what keeps the soak from its end', () => {
    const soaking = upgrade({ message: 'wave canary soaks', soakUntil: '2026-03-01T10:05:00Z' });
    const progress = (time: string) => conditionsAt(time, soaking).find(({ type }) => type === 'Progressing');
    expect(progress('10:05:59')).toMatchObject({ status: 'True', reason: 'Running', message: 'wave canary soaks' });
    expect(progress('10:06:00')).toMatchObject({ status: 'False', reason: 'Waiting' });
  });

  it('says what the whole rollout waits for, where its message does', () => {
    const message = withWait('wave canary has ended: asking the health gates', 'health gate shop: 1 of 3 ready');
    const said = conditionsAt('10:09:00', upgrade({ message })).find(({ type }) => type === 'Progressing');
    expect(said?.message).toBe('no node is in hand since 2026-03-01T10:00:00Z: health gate shop: 1 of 3 ready');
  });

  it('counts that minute from the end of a pause, and from the return of Temporal', () => {
    const paused = { by: 'kubectl', reason: 'x', since: '2026-03-01T10:00:10Z' } as const;
    const during = conditionsAt('10:09:00', upgrade({ phase: 'Paused', paused }));
    const after = conditionsAt('10:10:00', upgrade({}, during));
    expect(short(after).Progressing).toBe('True Running');
    expect(short(conditionsAt('10:10:59', upgrade({}, after))).Progressing).toBe('True Running');
    expect(short(conditionsAt('10:11:00', upgrade({}, after))).Progressing).toBe('False Waiting');
    const away = conditionsAt('10:09:00', upgrade({}), [], AWAY);
    const back = { ...ENGINE, since: '2026-03-01T10:10:00Z' };
    const again = conditionsAt('10:10:01', upgrade({}, away), [], back);
    expect(short(conditionsAt('10:10:59', upgrade({}, again), [], back)).Progressing).toBe('True Running');
  });

  it('says that nobody takes it up when a minute has passed, and keeps saying it', () => {
    const begun = conditionsAt('10:00:00', upgrade());
    const early = conditionsAt('10:00:59', upgrade(undefined, begun));
    expect(short(early).Progressing).toBe('True Pending');
    const late = conditionsAt('10:01:00', upgrade(undefined, early));
    expect(short(late).Progressing).toBe('False NotStarted');
    expect(short(conditionsAt('10:01:01', upgrade(undefined, late))).Progressing).toBe('False NotStarted');
    expect(short(conditionsAt('10:01:02', upgrade({ phase: 'Planning' }, late))).Progressing).toBe('True Planning');
  });

  it('changes the time of a transition with the status only', () => {
    const time = (conditions: Condition[]) => conditions.find(({ type }) => type === 'Progressing')?.lastTransitionTime;
    const first = conditionsAt('10:00:00', upgrade({ phase: 'Planning' }));
    const running = conditionsAt('10:00:10', upgrade({}, first), [inHand]);
    expect(time(running)).toBe('2026-03-01T10:00:00.000Z');
    const done = conditionsAt('10:05:00', upgrade({ phase: 'Completed' }, running));
    expect(time(done)).toBe('2026-03-01T10:05:00.000Z');
  });

  it('is the same from one second to the next', () => {
    const first = conditionsAt('10:00:00', upgrade({}), [inHand]);
    expect(conditionsAt('10:00:01', upgrade({}, first), [inHand])).toEqual(first);
  });
});

describe('what may be in the way', () => {
  const node = (name: string, more: Partial<NearbyNode> = {}): NearbyNode => ({
    name,
    ready: true,
    unschedulable: false,
    ...more,
  });
  const request = {
    kind: 'NodeOpUpgrade',
    namespace: 'fleet',
    name: 'other',
    uid: 'o',
    generation: 1,
    attempt: 1,
  } as const;
  const hand = { rollout: 'r', request, image: 'i', version: 'v', bootID: 'b', startedAt: '2026-03-01T10:00:00Z' };

  it.each([
    ['a node that is not Ready', { ready: false }, 'w (not Ready)'],
    ['a stranger’s cordon', { unschedulable: true }, 'w (cordoned by somebody else: kubectl uncordon w'],
    [
      'a node that is held',
      { owner: 'held:Lost', unschedulable: true },
      'w (held for Lost: see kubectl describe kairosnode w)',
    ],
    [
      'another rollout',
      { owner: 'node/x/1', status: { inHand: hand } },
      'w (in the hand of NodeOpUpgrade fleet/other)',
    ],
    [
      'a node that waits at a gate, with what it waits for',
      {
        status: {
          step: 'Gate',
          stepSince: '2026-03-01T10:00:00Z',
          message: 'waiting at the gate Pressure: node w has',
        },
      },
      'waiting at the gate Pressure: node w has (since 2026-03-01T10:00:00Z)',
    ],
    [
      'a pull that fails',
      { status: { message: 'pulling reg/x:v1: ErrImagePull no' } },
      'w pulling reg/x:v1: ErrImagePull no',
    ],
  ] as [string, Partial<NearbyNode>, string][])('names %s', (_, more, text) => {
    expect(inTheWay('reg/x:v1', [node('v'), node('w', more)])).toContain(text);
  });

  it('names five of many, as people order them', () => {
    const text = inTheWay(
      'reg/x:v1',
      [10, 9, 8, 7, 6, 5, 4].map((n) => node(`w-${n}`, { ready: false })),
    );
    expect(text).toMatch(/w-4 .*w-8 \(not Ready\) and 2 more/);
  });

  it('says so where nothing is', () => {
    expect(inTheWay('reg/x:v1', [node('w')])).toBe('every node is in service; the image may still be being pulled');
  });
});
