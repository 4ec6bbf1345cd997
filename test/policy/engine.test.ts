import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { RolloutMemo } from '../../api/messages.ts';
import { ROLLOUT_PHASES } from '../../api/schemas/node-op-upgrade.ts';
import type { NodeOpUpgrade, RolloutPhase, RolloutStatus } from '../../api/types.ts';
import { type EngineDecision, type EngineState, decideEngine, isFinal } from '../../policy/engine.ts';

const status = (phase: RolloutPhase, generation: number, attempt = 1): RolloutStatus => ({
  workflowID: 'rollout/x',
  generation,
  attempt,
  phase,
});
const upgrade = (rollout?: RolloutStatus, metadata: Partial<NodeOpUpgrade['metadata']> = {}): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'uid-1', generation: 2, ...metadata },
  spec: { image: 'quay.io/kairos/hadron:v4.0.3' },
  ...(rollout === undefined ? {} : { status: { rollout } }),
});
const memo = (more: Partial<RolloutMemo> = {}): RolloutMemo => ({ uid: 'uid-1', generation: 2, attempt: 1, ...more });
const NOT_FOUND: EngineState = { state: 'NotFound' };
const NOTHING: EngineDecision = { action: 'nothing' };
const deleted = { deletionTimestamp: '2026-03-01T10:00:00Z' };
const ended = (phase: 'Failed' | 'Cancelled') => ({ action: 'recordEnd', phase, message: expect.any(String) });

describe('the watcher, about a NodeOpUpgrade', () => {
  it.each<[string, NodeOpUpgrade | undefined, EngineState, object]>([
    ['that is new starts it', upgrade(), NOT_FOUND, { action: 'start', attempt: 1 }],
    ['that runs leaves it alone', upgrade(status('Running', 2)), { state: 'Open', memo: memo() }, NOTHING],
    ['that was just started leaves it alone', upgrade(), { state: 'Open', memo: memo() }, NOTHING],
    [
      'that was edited while it runs cancels it first',
      upgrade(status('Running', 1)),
      { state: 'Open', memo: memo({ generation: 1 }) },
      { action: 'cancel', reason: 'its NodeOpUpgrade was edited' },
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
      'whose workflow has ended and is about to say so waits',
      upgrade(status('Running', 2)),
      { state: 'Completed', memo: memo() },
      NOTHING,
    ],
    [
      'whose id is taken by a workflow that nobody knows cancels that first',
      upgrade(),
      { state: 'Open' },
      { action: 'cancel', reason: expect.any(String) },
    ],
  ])('%s', (_, resource, engine, expected) => {
    expect(decideEngine(resource, engine)).toEqual(expected);
  });

  it('names how the workflow ended, and what to do', () => {
    expect(decideEngine(upgrade(), { state: 'TimedOut', memo: memo() })).toMatchObject({
      message: expect.stringMatching(/^TimedOut: .*Temporal UI.*edit the spec/),
    });
  });
});

const small = fc.integer({ min: 1, max: 4 });
const anyStatus = fc.option(fc.tuple(fc.constantFrom(...ROLLOUT_PHASES), small, small), { nil: undefined });
const anyUpgrade = fc.option(
  fc
    .tuple(anyStatus, small, fc.constantFrom('uid-1', 'uid-2'), fc.boolean())
    .map(([rollout, generation, uid, deleting]) =>
      upgrade(rollout && status(...rollout), { uid, generation, ...(deleting ? deleted : {}) }),
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
      if (engine.state === 'Open') expect(['nothing', 'cancel']).toContain(decision.action);
      else expect(decision.action).not.toBe('cancel');
    });
  });

  it('never starts for a resource that is gone or going', () => {
    always((resource, _, decision) => {
      if (resource?.metadata.deletionTimestamp !== undefined || resource === undefined) {
        expect(['nothing', 'cancel']).toContain(decision.action);
      }
    });
  });

  it('never restarts and never rewrites a generation that has ended', () => {
    always((resource, engine, decision) => {
      const rollout = resource?.status?.rollout;
      if (rollout?.generation !== resource?.metadata.generation || !isFinal(rollout?.phase)) return;
      expect(['nothing', 'cancel']).toContain(decision.action);
      if (engine.state !== 'Open') expect(decision.action).toBe('nothing');
    });
  });

  it('never starts the same generation again that a closed workflow was for', () => {
    always((resource, engine, decision) => {
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
