import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import type { NodeOpUpgrade, RolloutStatus } from '../../api/types.ts';
import type { EngineState } from '../../policy/engine.ts';
import { answerPlanRequest, wantsPlan } from '../../watcher/plans.ts';
import type { UpdateAnswer } from '../../watcher/engine.ts';
import { UPGRADE_ID, notFound, watcher } from './table-rig.ts';

const VALUE = 'before the night';
const PLAN_ID = 'plan/kairos-c0ffee00/fleet/v4';
type Requests = NonNullable<NonNullable<NodeOpUpgrade['status']>['requests']>;

const upgrade = (
  rollout: Partial<RolloutStatus> = {},
  { value = VALUE, requests = {} }: { value?: string; requests?: Requests } = {},
): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'u', generation: 2, annotations: { 'kairos.io/plan': value } },
  spec: { image: 'quay.io/kairos/hadron:v4.0.3' },
  status: { rollout: { workflowID: UPGRADE_ID, generation: 2, attempt: 3, phase: 'Running', ...rollout }, requests },
});
/** As the memo of its workflow names a request. */
const asked = ({ value = VALUE, number = 1, generation = 2, uid = 'u' } = {}) =>
  `${uid}/${generation}/${number}/${createHash('sha256').update(value).digest('hex').slice(0, 16)}`;
const plan = (
  state: Exclude<EngineState['state'], 'NotFound'>,
  which = asked(),
  startedAtMs = Date.now(),
): EngineState => ({
  state,
  startedAtMs,
  memo: { uid: 'u', generation: 2, attempt: 3, asked: which },
});
const NOT_FOUND: EngineState = { state: 'NotFound' };

/** What the watcher did, and what it wrote into `status.requests.plan`. */
async function look(resource: NodeOpUpgrade | undefined, engine: EngineState, answered?: UpdateAnswer) {
  const written: unknown[] = [];
  const { context, done } = watcher(
    engine,
    (request) => {
      if (resource === undefined) return notFound(request);
      const body = request.body as { status: { requests: { plan: unknown } } } | undefined;
      if (request.verb === 'merge-patch') written.push(body?.status.requests.plan);
      return resource;
    },
    answered,
  );
  await answerPlanRequest(context, 'fleet/v4', () => undefined);
  return { done, written };
}

const started = (attempt: number) => [
  `start ${PLAN_ID} for attempt ${attempt}, asked ${VALUE}, as u/2/1/…`,
  'looks again',
];

describe('a plan that is asked for by annotation', () => {
  it.each([
    ['Running', 3],
    ['Paused', 3],
    ['Cancelling', 3],
    ['Completed', 4],
    ['Failed', 4],
    ['Cancelled', 4],
    ['Planned', 4],
  ] as const)('of a resource that is %s is started, as of attempt %d', async (phase, attempt) => {
    const resource = upgrade({ phase });
    expect(wantsPlan(resource)).toBe(true);
    for (const engine of [NOT_FOUND, plan('Completed', asked({ number: 0 })), plan('Failed', asked({ uid: 'former' }))])
      expect(await look(resource, engine)).toEqual({ done: started(attempt), written: [] });
  });

  it.each([
    ['that plans itself', { phase: 'Planning' }],
    ['that has not begun', { phase: 'Pending' }],
    ['whose spec was edited, so that the next attempt comes', { phase: 'Completed', generation: 1 }],
  ] as const)('of a resource %s is left for later', async (_, rollout) => {
    const resource = upgrade(rollout);
    expect(wantsPlan(resource)).toBe(false);
    expect(await look(resource, NOT_FOUND)).toEqual({ done: [], written: [] });
  });

  it('is waited for while it is made, and said to wait when that takes long', async () => {
    expect(await look(upgrade(), plan('Open'))).toEqual({ done: ['looks again'], written: [] });
    const long = plan('Open', asked(), Date.now() - 60_000);
    const { done, written } = await look(upgrade(), long);
    expect(done).toEqual(['looks again']);
    expect(written).toMatchObject([{ value: VALUE, number: 1, attempt: 3, accepted: null }]);
    const waits = { value: VALUE, attempt: 3, number: 1, at: '2026-03-01T10:00:00Z' };
    expect((await look(upgrade({}, { requests: { plan: waits } }), long)).written).toEqual([]);
  });

  it.each(['Completed', 'Failed', 'Terminated', 'TimedOut', 'Canceled'] as const)(
    'is answered by its workflow when that is %s',
    async (state) => {
      const answer = { accepted: state === 'Completed', message: 'status.plan is of now' };
      const { done, written } = await look(upgrade(), plan(state), answer);
      expect(done).toEqual([]);
      expect(written).toEqual([{ value: VALUE, attempt: 3, number: 1, at: expect.any(String), gone: null, ...answer }]);
    },
  );

  it('is answered once', async () => {
    const answered = {
      value: VALUE,
      attempt: 1,
      number: 1,
      at: '2026-03-01T10:00:00Z',
      accepted: false,
      message: 'no',
    };
    const known = upgrade({}, { requests: { plan: answered } });
    expect(wantsPlan(known)).toBe(false);
    expect(await look(known, plan('Completed'))).toEqual({ done: [], written: [] });
    const gone = upgrade({}, { requests: { plan: { ...answered, gone: true } } });
    expect((await look(gone, plan('Completed'))).done[0]).toContain('as u/2/2/…');
  });

  it.each([
    ['another value', asked({ value: 'earlier' })],
    ['an earlier spec', asked({ generation: 1 })],
    ['another resource of its name', asked({ uid: 'former' })],
  ])('cancels one that is still made for %s, and comes after it', async (_, which) => {
    const long = plan('Open', which, 0);
    expect(await look(upgrade(), long)).toEqual({ done: ['looks again', 'cancel'], written: [] });
  });

  it('is cancelled where its resource is gone, or goes', async () => {
    expect(await look(undefined, plan('Open'))).toEqual({ done: ['cancel'], written: [] });
    const going = upgrade();
    going.metadata.deletionTimestamp = '2026-03-01T10:00:00Z';
    expect(await look(going, plan('Open'))).toEqual({ done: ['cancel'], written: [] });
  });

  it('with too long a value is refused without a plan', async () => {
    const { done, written } = await look(upgrade({}, { value: 'x'.repeat(5_000) }), NOT_FOUND);
    expect(done).toEqual([]);
    expect(written).toMatchObject([{ accepted: false, message: expect.stringContaining('longer than 4000') }]);
  });
});
