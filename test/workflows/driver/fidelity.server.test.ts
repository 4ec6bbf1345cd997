import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { nodes, startRig, until, type Rig } from '../rig.ts';
import { Gate, type Answers } from '../stubs.ts';
import { startDriver } from './driver.ts';
import { nodeID, waveID } from './inputs.ts';
import type { Handle } from './world.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(30_000);

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
}, 60_000);

afterAll(async () => {
  await rig?.stop();
}, 30_000);

/** How many workflow tasks there are depends on what comes together; everything else does not. */
const counted = (events: Iterable<string>) => {
  const counts: Record<string, number> = {};
  for (const event of events) if (!event.startsWith('WORKFLOW_TASK')) counts[event] = (counts[event] ?? 0) + 1;
  return counts;
};

async function ofServer(handle: WorkflowHandle): Promise<Record<string, number>> {
  const { events } = await handle.fetchHistory();
  const name = (event: object) =>
    Object.entries(event).find(([key, value]) => key.endsWith('EventAttributes') && value != null)?.[0] ?? '';
  const upper = (camel: string) =>
    camel
      .replace(/EventAttributes$/, '')
      .replace(/[A-Z]/g, '_$&')
      .toUpperCase();
  return counted((events ?? []).map((event) => upper(name(event))));
}

const ofDriver = (handle: Handle) => counted(handle.history);

const twiceUnreachable = (): Answers => {
  let tried = 0;
  return {
    cordonNode: () => {
      tried += 1;
      if (tried <= 2) throw ApplicationFailure.retryable('connection refused', 'Unreachable');
      return { notReadyBefore: [] };
    },
  };
};

describe('the driver writes the events that a server writes', () => {
  it.each([
    { what: 'all goes well', spec: { upgradeRecovery: true }, answers: () => ({}) },
    { what: 'a step is repeated', spec: {}, answers: twiceUnreachable },
    {
      what: 'a step fails for good',
      spec: {},
      answers: (): Answers => ({
        drainNode: () => {
          throw ApplicationFailure.nonRetryable('not allowed', 'Forbidden');
        },
      }),
    },
  ])('for a node where $what', async ({ spec, answers }) => {
    const { handle } = await rig.startNode({ spec, answers: answers() });
    const world = await startDriver({ answers: answers() });
    const node = world.node({ spec });
    expect(await node.result()).toEqual(await handle.result());
    expect(ofDriver(node)).toEqual(await ofServer(handle));
  });

  it('for a node that is cancelled while it drains', async () => {
    const { handle, script } = await rig.startNode({
      answers: { drainNode: () => new Gate().wait().then(() => ({ outcome: 'Drained' })) },
    });
    await until('it drains', () => script.nodes('drainNode').length === 1);
    await handle.cancel();
    await handle.result().catch(() => undefined);

    const world = await startDriver({
      answers: { drainNode: () => new Gate().wait().then(() => ({ outcome: 'Drained' })) },
    });
    const node = world.node();
    await world.settle();
    world.cancel(node);
    await node.result().catch(() => undefined);
    expect(world.script.steps('w-1')).toEqual(script.steps('w-1'));
    expect(ofDriver(node)).toEqual(await ofServer(handle));
  });

  it('for a rollout and its wave, paused and resumed, of which one node was terminated', async () => {
    const workers = nodes(2);
    const [first] = workers;
    if (first === undefined) throw new Error('two nodes were asked for');
    const spec = { prePullAhead: 1, stopOnFailure: false };
    // The workflow that finishes what was left finds nothing: w-1 counts as cancelled.
    const answers: Answers = {
      planRollout: () => ({ controlPlane: [], workers, leftAlone: [], maxUnavailable: 1 }),
      checkGates: ({ recover }) =>
        recover === true ? { answer: 'Wait', reason: 'nothing is left' } : { answer: 'Go', bootID: 'boot-1' },
      drainNode: ({ node }) =>
        node.name === 'w-1' ? new Gate().wait().then(() => ({ outcome: 'Drained' })) : { outcome: 'Drained' },
    };
    const { handle, script, ...started } = await rig.startRollout({ spec, answers });
    await until('w-1 drains', () => script.nodes('drainNode').length === 1);
    await handle.signal('pause', { reason: 'lunch' });
    await until('it is paused', () => script.inputs('reportRollout').some(({ status }) => status.paused !== undefined));
    await rig.nodeOf(first).terminate('test');
    await until('w-1 is recovered', () => script.nodes('checkGates').length === 2);
    await handle.signal('resume', {});

    const world = await startDriver({ answers });
    const rollout = world.rollout({ spec });
    await world.settle();
    world.signal(rollout, 'pause', { reason: 'lunch' });
    await world.settle();
    world.terminate(world.workflow(nodeID(first)));
    await world.settle();
    world.signal(rollout, 'resume', {});

    expect(await rollout.result()).toEqual(await handle.result());
    expect(ofDriver(rollout)).toEqual(await ofServer(handle));
    expect(ofDriver(world.workflow(waveID('workers')))).toEqual(await ofServer(rig.waveOf(started, 'workers')));
  });
});
