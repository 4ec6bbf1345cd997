import { Context } from '@temporalio/activity';
import { describe, expect, it } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, rootCause } from '@temporalio/common';
import type { PlanAnswer } from '../../api/messages.ts';
import type { Plan, PlanReport } from '../../api/plan-messages.ts';
import { startDriver, type DriverOptions } from './driver/driver.ts';
import { nodes, rolloutInput } from './driver/inputs.ts';

const REPORT: PlanReport = {
  plannedAt: '2026-03-01T10:00:00.000Z',
  image: 'quay.io/kairos/hadron:v4.0.3',
  version: 'v4.0.3',
  versionFrom: 'read on cp-1',
  total: 3,
  waves: [{ name: 'workers', group: 'worker', nodes: 3, maxUnavailable: 1 }],
  nodes: [],
  leftAlone: [],
  leftAloneCount: 0,
  risks: [{ effect: 'Loses', reason: 'EmptyDirData', count: 2, message: 'data goes' }],
  riskCount: 1,
};
const PLAN: Plan = {
  controlPlane: nodes(1, 'cp'),
  workers: nodes(2),
  leftAlone: [],
  maxUnavailable: 1,
  report: REPORT,
};

describe('a dry run', () => {
  it('ends as Planned, with nothing done but planning, and says how to carry it out', async () => {
    const world = await startDriver({ answers: { planRollout: () => PLAN } });
    const rollout = world.rollout({ spec: { dryRun: true } });
    expect(await rollout.result()).toMatchObject({ phase: 'Planned', verdicts: {} });
    const asked = [...new Set(world.script.calls.map(({ activity }) => activity))];
    expect(asked).toEqual(['confirmRequest', 'reportRollout', 'planRollout']);
    const last = world.script.inputs('reportRollout').at(-1);
    expect(last).toMatchObject({ final: true, status: { phase: 'Planned', total: 3, verdicts: {}, failed: [] } });
    expect(last?.status.message).toMatch(
      /^Nothing was touched: .*kubectl patch -n \S+ nodeopupgrade \S+ --type merge -p '{"spec":{"dryRun":false}}'\. 3 nodes in 1 wave to v4\.0\.3/,
    );
  });

  it('of no node fails, and says why', async () => {
    const none: Plan = { ...PLAN, controlPlane: [], workers: [] };
    const world = await startDriver({ answers: { planRollout: () => none } });
    const rollout = world.rollout({ spec: { dryRun: true } });
    expect(await rollout.result()).toMatchObject({ phase: 'Failed', message: expect.stringContaining('nodeSelector') });
  });

  it('that is cancelled while it plans ends as Cancelled', async () => {
    const planning = Promise.withResolvers<Plan>();
    const world = await startDriver({ answers: { planRollout: () => planning.promise } });
    const rollout = world.rollout({ spec: { dryRun: true } });
    await world.until('it plans', () => world.script.inputs('planRollout').length === 1);
    world.cancel(rollout);
    planning.resolve(PLAN);
    await expect(rollout.result()).rejects.toThrow(WorkflowFailedError);
    expect(world.script.inputs('reportRollout').at(-1)).toMatchObject({ final: true, status: { phase: 'Cancelled' } });
  });
});

describe('the plan of a rollout', () => {
  it('is answered by a query: null before it was made, the whole report from then on', async () => {
    const planning = Promise.withResolvers<Plan>();
    const world = await startDriver({ answers: { planRollout: () => planning.promise } });
    const rollout = world.rollout();
    await world.until('it plans', () => world.script.inputs('planRollout').length === 1);
    expect(await world.query(rollout, 'plan')).toBeNull();
    planning.resolve(PLAN);
    await world.until('a node is in hand', () => world.script.nodes('markNode').length === 1);
    expect(await world.query(rollout, 'plan')).toEqual(REPORT);
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
  });
});

describe('a plan that a person asks for', () => {
  const begin = async (answers: DriverOptions['answers']) => {
    const world = await startDriver({ answers: answers ?? {} });
    const { input } = rolloutInput({ spec: { dryRun: true } });
    const plan = world.start<PlanAnswer>('plan', 'plan/test/default/request', { ...input, asked: 'now' });
    return { world, plan };
  };

  it('is made by one step, which is told what was asked, and its pods are removed', async () => {
    const removing = Promise.withResolvers<undefined>();
    const { world, plan } = await begin({ planRollout: () => PLAN, removePulls: () => removing.promise });
    await world.until('it is made', () => world.script.inputs('removePulls').length === 1);
    expect(await world.query(plan, 'plan')).toEqual(REPORT);
    removing.resolve(undefined);
    expect(await plan.result()).toEqual({
      message: expect.stringMatching(/^status\.plan is of 2026-03-01T10:00:00\.000Z: 3 nodes in 1 wave to v4\.0\.3/),
    });
    expect(world.script.calls.map(({ activity }) => activity)).toEqual(['planRollout', 'removePulls']);
    const told = { rolloutID: 'plan/test/default/request', asked: 'now', spec: { dryRun: true } };
    expect(world.script.inputs('planRollout')).toMatchObject([told]);
  });

  it('that cannot be had fails with the reason, and its pods are removed none the less', async () => {
    const refuse = () => {
      throw ApplicationFailure.nonRetryable('the window never opens', 'WrongWindow');
    };
    const { world, plan } = await begin({ planRollout: refuse });
    const error: unknown = await plan.result().catch((reason: unknown) => reason);
    expect(rootCause((error as WorkflowFailedError).cause)).toBe('the window never opens');
    expect(world.script.inputs('removePulls')).toHaveLength(1);
  });

  it('that is cancelled removes its pods, and says nothing', async () => {
    const { world, plan } = await begin({ planRollout: () => Context.current().cancelled });
    await world.until('it plans', () => world.script.inputs('planRollout').length === 1);
    world.cancel(plan);
    await expect(plan.result()).rejects.toThrow(WorkflowFailedError);
    expect(world.script.inputs('removePulls')).toHaveLength(1);
    expect(world.script.inputs('reportRollout')).toEqual([]);
  });
});
