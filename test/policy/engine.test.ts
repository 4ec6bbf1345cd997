import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { ROLLOUT_PHASES } from '../../api/schemas/rollout-phase.ts';
import type { NodeOpUpgrade, RolloutStatus } from '../../api/types.ts';
import { type EngineDecision, type EngineState, decideEngine, isFinal } from '../../policy/engine.ts';
import { memo, NOT_FOUND, NOTHING, status, upgrade } from './engine-states.ts';

const deleted = { deletionTimestamp: '2026-03-01T10:00:00Z' };
const ended = (phase: 'Failed' | 'Cancelled', about: object = { attempt: 1 }) => ({
  action: 'recordEnd',
  phase,
  message: expect.any(String),
  ...about,
});
const asks = (annotations: Record<string, string>) => ({ annotations });
const RETRY = asks({ 'kairos.io/retry': 'two' });
const pausedBy = (by: 'kubectl' | 'temporal', reason: string): RolloutStatus => ({
  ...status('Paused', 2),
  paused: { by, reason, since: '2026-03-01T10:00:00Z' },
});

describe('the watcher, about a NodeOpUpgrade', () => {
  it.each<[string, NodeOpUpgrade | undefined, EngineState, object]>([
    ['that is new starts it', upgrade(), NOT_FOUND, { action: 'start', attempt: 1 }],
    ['that runs leaves it alone', upgrade(status('Running', 2)), { state: 'Open', memo: memo() }, NOTHING],
    ['that was just started leaves it alone', upgrade(), { state: 'Open', memo: memo() }, NOTHING],
    [
      'that was edited while it runs cancels it first',
      upgrade(status('Running', 1)),
      { state: 'Open', memo: memo({ generation: 1 }) },
      { action: 'cancel', reason: 'its NodeOpUpgrade was edited', edited: true },
    ],
    [
      'that was edited after its end starts the next attempt',
      upgrade(status('Completed', 1, 3)),
      { state: 'Completed', memo: memo({ generation: 1, attempt: 3 }) },
      { action: 'start', attempt: 4 },
    ],
    [
      'that was edited after its end, which Temporal has forgotten, starts the next attempt',
      upgrade(status('Failed', 1, 3)),
      NOT_FOUND,
      { action: 'start', attempt: 4 },
    ],
    [
      'that was edited before its status was written starts the attempt after the one in the memo',
      upgrade(),
      { state: 'Canceled', memo: memo({ generation: 1, attempt: 5 }) },
      { action: 'start', attempt: 6 },
    ],
    [
      'that was deleted cancels its workflow',
      undefined,
      { state: 'Open', memo: memo() },
      { action: 'cancel', reason: 'its NodeOpUpgrade was deleted' },
    ],
    [
      'that is being deleted cancels its workflow',
      upgrade(status('Running', 2), deleted),
      { state: 'Open', memo: memo() },
      { action: 'cancel', reason: 'its NodeOpUpgrade was deleted' },
    ],
    ['that is being deleted and never ran does nothing', upgrade(undefined, deleted), NOT_FOUND, NOTHING],
    ['that is gone, as its workflow, does nothing', undefined, { state: 'Completed', memo: memo() }, NOTHING],
    [
      'that was deleted and made again cancels the old one first',
      upgrade(undefined, { uid: 'uid-2', generation: 1 }),
      { state: 'Open', memo: memo({ generation: 1 }) },
      { action: 'cancel', reason: 'its NodeOpUpgrade was deleted and made again' },
    ],
    [
      'that was made again after the old one ended starts, with attempts of its own',
      upgrade(undefined, { uid: 'uid-2', generation: 1 }),
      { state: 'Failed', memo: memo({ generation: 1, attempt: 7 }) },
      { action: 'start', attempt: 1 },
    ],
    ['whose dry run has ended waits for a person', upgrade(status('Planned', 2)), NOT_FOUND, NOTHING],
    [
      'whose dry run has ended is carried out when its spec is edited',
      upgrade(status('Planned', 1)),
      { state: 'Completed', memo: memo({ generation: 1 }) },
      { action: 'start', attempt: 2 },
    ],
    [
      'whose dry run has ended plans again on request',
      upgrade(status('Planned', 2), { annotations: { 'kairos.io/retry': 'again' } }),
      { state: 'Completed', memo: memo() },
      { action: 'start', attempt: 2, retry: 'again' },
    ],
    ['that is done stays done', upgrade(status('Completed', 2)), { state: 'Completed', memo: memo() }, NOTHING],
    ['that is done stays done when Temporal has forgotten it', upgrade(status('Completed', 2)), NOT_FOUND, NOTHING],
    [
      'whose workflow is lost with the database starts the same attempt again',
      upgrade(status('Running', 2, 4)),
      NOT_FOUND,
      { action: 'start', attempt: 4 },
    ],
    [
      'whose workflow was terminated says so',
      upgrade(status('Running', 2)),
      { state: 'Terminated', memo: memo() },
      ended('Failed'),
    ],
    [
      'whose workflow timed out says so',
      upgrade(status('Running', 2)),
      { state: 'TimedOut', memo: memo() },
      ended('Failed'),
    ],
    ['whose workflow failed says so', upgrade(), { state: 'Failed', memo: memo() }, ended('Failed')],
    [
      'whose workflow was cancelled says so',
      upgrade(status('Running', 2)),
      { state: 'Canceled', memo: memo() },
      ended('Cancelled'),
    ],
    [
      'whose end was recorded is not touched again',
      upgrade(status('Failed', 2)),
      { state: 'Terminated', memo: memo() },
      NOTHING,
    ],
    [
      'whose workflow has written its end, of which a backup knows nothing, is ended so that it can be retried',
      upgrade(status('Running', 2)),
      { state: 'Completed', memo: memo() },
      ended('Failed'),
    ],
    [
      'whose id is taken by a workflow that nobody knows cancels that first',
      upgrade(),
      { state: 'Open' },
      { action: 'cancel', reason: expect.any(String) },
    ],
    [
      'that failed and is to be retried starts the next attempt',
      upgrade(status('Failed', 2, 3), RETRY),
      { state: 'Completed', memo: memo({ attempt: 3 }) },
      { action: 'start', attempt: 4, retry: 'two' },
    ],
    [
      'that failed and is to be retried, and whose workflow Temporal has forgotten, starts the next attempt',
      upgrade(status('Failed', 2, 3), RETRY),
      NOT_FOUND,
      { action: 'start', attempt: 4, retry: 'two' },
    ],
    [
      'that was retried with this value already leaves it alone',
      upgrade({ ...status('Failed', 2, 4), retry: 'two' }, RETRY),
      { state: 'Completed', memo: memo({ attempt: 4, retry: 'two' }) },
      NOTHING,
    ],
    [
      'that runs and is to be retried waits for the end of the present attempt',
      upgrade(status('Running', 2), RETRY),
      { state: 'Open', memo: memo() },
      NOTHING,
    ],
    [
      'whose retry was terminated before it said anything says so, and is not retried again',
      upgrade(status('Failed', 2, 3), RETRY),
      { state: 'Terminated', memo: memo({ attempt: 4, retry: 'two' }) },
      ended('Failed', { attempt: 4, retry: 'two' }),
    ],
    [
      'that was terminated and then is to be retried: the end first',
      upgrade(status('Running', 2, 3), RETRY),
      { state: 'Terminated', memo: memo({ attempt: 3 }) },
      ended('Failed', { attempt: 3 }),
    ],
    [
      'that was lost with the database of Temporal starts the same attempt again',
      upgrade(status('Running', 2, 3)),
      NOT_FOUND,
      { action: 'start', attempt: 3 },
    ],
    [
      'that gets the annotation pause pauses it',
      upgrade(status('Running', 2), asks({ 'kairos.io/pause': 'lunch' })),
      { state: 'Open', memo: memo() },
      { action: 'pause', reason: 'lunch' },
    ],
    [
      'that gets the annotation pause without a reason pauses it, too',
      upgrade(status('Running', 2), asks({ 'kairos.io/pause': '' })),
      { state: 'Open', memo: memo() },
      { action: 'pause', reason: 'no reason given' },
    ],
    [
      'whose annotation says false is not paused',
      upgrade(status('Running', 2), asks({ 'kairos.io/pause': 'false' })),
      { state: 'Open', memo: memo() },
      NOTHING,
    ],
    [
      'that is paused for this reason leaves it alone',
      upgrade(pausedBy('kubectl', 'lunch'), asks({ 'kairos.io/pause': 'lunch' })),
      { state: 'Open', memo: memo() },
      NOTHING,
    ],
    [
      'that is paused for another reason says the new one',
      upgrade(pausedBy('kubectl', 'lunch'), asks({ 'kairos.io/pause': 'dinner' })),
      { state: 'Open', memo: memo() },
      { action: 'pause', reason: 'dinner' },
    ],
    [
      'that loses the annotation pause resumes it',
      upgrade(pausedBy('kubectl', 'lunch')),
      { state: 'Open', memo: memo() },
      { action: 'resume' },
    ],
    [
      'that was paused through Temporal is left to Temporal',
      upgrade(pausedBy('temporal', 'lunch')),
      { state: 'Open', memo: memo() },
      NOTHING,
    ],
    [
      'that is being cancelled is not paused any more',
      upgrade(status('Cancelling', 2), asks({ 'kairos.io/pause': 'lunch' })),
      { state: 'Open', memo: memo() },
      NOTHING,
    ],
  ])('%s', (_, resource, engine, expected) => {
    expect(decideEngine(resource, engine)).toEqual(expected);
  });

  it('whose nodes are to be tried again starts the next attempt, and only after the end of this one', () => {
    const again = (resource: NodeOpUpgrade, engine: EngineState) => decideEngine(resource, engine, [], true);
    const closed: EngineState = { state: 'Completed', memo: memo({ attempt: 3 }) };
    const starts = { action: 'start', attempt: 4, again: true };
    expect(again(upgrade(status('Failed', 2, 3)), closed)).toEqual(starts);
    expect(again(upgrade(status('Failed', 2, 3)), NOT_FOUND)).toEqual(starts);
    expect(again(upgrade(status('Running', 2, 3)), { state: 'Open', memo: memo({ attempt: 3 }) })).toEqual(NOTHING);
  });

  it('names how the workflow ended, and what to do', () => {
    expect(decideEngine(upgrade(), { state: 'TimedOut', memo: memo() })).toMatchObject({
      message: expect.stringMatching(
        /^TimedOut: .*Temporal UI.*kubectl annotate -n fleet nodeopupgrade v4 --overwrite kairos\.io\/retry=/,
      ),
    });
  });
});

const small = fc.integer({ min: 1, max: 4 });
const anyStatus = fc.option(fc.tuple(fc.constantFrom(...ROLLOUT_PHASES), small, small), { nil: undefined });
const anyAnnotations = fc.dictionary(fc.constantFrom('kairos.io/pause', 'kairos.io/retry'), fc.constantFrom('1', '2'));
const anyUpgrade = fc.option(
  fc
    .tuple(anyStatus, small, fc.constantFrom('uid-1', 'uid-2'), fc.boolean(), anyAnnotations)
    .map(([rollout, generation, uid, deleting, annotations]) =>
      upgrade(rollout && status(...rollout), { uid, generation, annotations, ...(deleting ? deleted : {}) }),
    ),
  { nil: undefined },
);
const anyEngine: fc.Arbitrary<EngineState> = fc.oneof(
  fc.constant(NOT_FOUND),
  fc.record({
    state: fc.constantFrom('Open', 'Completed', 'Failed', 'Canceled', 'Terminated', 'TimedOut'),
    memo: fc.record({ uid: fc.constantFrom('uid-1', 'uid-2'), generation: small, attempt: small }),
  }),
);
const always = (holds: (resource: NodeOpUpgrade | undefined, engine: EngineState, decision: EngineDecision) => void) =>
  fc.assert(
    fc.property(anyUpgrade, anyEngine, (resource, engine) => holds(resource, engine, decideEngine(resource, engine))),
    { numRuns: 3000 },
  );

describe('whatever the resource and Temporal say, the watcher', () => {
  it('never starts while a workflow is open, and cancels nothing else', () => {
    always((_, engine, decision) => {
      if (engine.state === 'Open') expect(['nothing', 'cancel', 'pause', 'resume']).toContain(decision.action);
      else expect(['nothing', 'start', 'recordEnd']).toContain(decision.action);
    });
  });

  it('never starts for a resource that is gone or going', () => {
    always((resource, _, decision) => {
      if (resource?.metadata.deletionTimestamp !== undefined || resource === undefined) {
        expect(['nothing', 'cancel']).toContain(decision.action);
      }
    });
  });

  it('never restarts and never rewrites a generation that has ended, unless it is asked to retry', () => {
    always((resource, engine, decision) => {
      const rollout = resource?.status?.rollout;
      if (resource?.metadata.annotations?.['kairos.io/retry'] !== undefined) return;
      if (rollout?.generation !== resource?.metadata.generation || !isFinal(rollout?.phase)) return;
      if (engine.state !== 'Open') expect(decision.action).toBe('nothing');
    });
  });

  it('never starts the same generation again that a closed workflow was for, unless it is asked to retry', () => {
    always((resource, engine, decision) => {
      if (resource?.metadata.annotations?.['kairos.io/retry'] !== undefined) return;
      if (engine.state === 'NotFound' || engine.memo?.uid !== resource?.metadata.uid) return;
      if (engine.memo?.generation === resource?.metadata.generation) expect(decision.action).not.toBe('start');
    });
  });

  it('counts attempts upwards', () => {
    always((resource, engine, decision) => {
      if (decision.action !== 'start') return;
      const rollout = resource?.status?.rollout;
      expect(decision.attempt).toBeGreaterThanOrEqual(rollout?.attempt ?? 1);
      if (rollout !== undefined && rollout.generation !== resource?.metadata.generation) {
        expect(decision.attempt).toBeGreaterThan(rollout.attempt);
      }
      if (engine.state !== 'NotFound' && engine.memo?.uid === resource?.metadata.uid) {
        expect(decision.attempt).toBeGreaterThan(engine.memo?.attempt ?? 0);
      }
    });
  });
});
