import { Context } from '@temporalio/activity';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import { describe, expect, it, jest } from '@jest/globals';
import type { ControlState } from '../../api/control-messages.ts';
import type { Plan, PlannedWave } from '../../api/plan-messages.ts';
import type { RolloutSpec } from '../../api/rollout-spec.ts';
import type { Verdict } from '../../api/types.ts';
import type { Call } from './stubs.ts';
import { startDriver, type DriverOptions, type UpgradeWorld } from './driver/driver.ts';
import { nodes, rolloutInput, waveID, waveInput } from './driver/inputs.ts';
import { atEveryMoment, stage } from './driver/moments.ts';
import type { Handle } from './driver/world.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(60_000);

const ALL = nodes(4);
const [ONE = { name: '', uid: '' }, TWO = ONE, THREE = ONE, FOUR = ONE] = ALL;
const wave = (name: string, members: PlannedWave['nodes'], more: Partial<PlannedWave> = {}): PlannedWave => ({
  name,
  group: 'worker',
  nodes: members,
  budget: 1,
  ...more,
});
const planOf = (waves: PlannedWave[]): Plan => ({
  controlPlane: [],
  workers: waves.flatMap((one) => one.nodes),
  leftAlone: [],
  maxUnavailable: 1,
  waves,
});
const CANARY = planOf([wave('canary', [ONE]), wave('rest', [TWO, THREE], { approval: true })]);
const TOGETHER = planOf([wave('workers', [ONE, TWO, THREE])]);

interface Options extends Omit<DriverOptions, 'before'> {
  plan?: Plan;
  /** How long a step of a node takes. */
  slow?: Partial<Record<Call['activity'], [node: string, time: '3s' | '1m' | '1h']>>;
  /** How nodes end in their first try, if not well. */
  ends?: Record<string, Verdict>;
  spec?: Partial<RolloutSpec>;
  control?: ControlState;
}

async function begin({ plan = TOGETHER, slow = {}, ends = {}, spec, control, answers, ...options }: Options) {
  const world = await startDriver({
    ...options,
    before: async ({ activity, node }) => {
      const [name, time] = slow[activity] ?? [];
      if (time !== undefined && name === node) await Context.current().sleep(time);
    },
    answers: {
      planRollout: () => plan,
      verifyNode: ({ node, request }) => {
        const verdict = request.try === undefined ? (ends[node.name] ?? 'Succeeded') : 'Succeeded';
        return { verdict, message: `it looks ${verdict}`, bootID: 'boot-2' };
      },
      ...answers,
    },
  });
  const { id, input } = rolloutInput({ spec: { stopOnFailure: false, ...spec } });
  const rollout: Handle = world.start('rollout', id, { ...input, ...(control && { control }) });
  return { world, rollout };
}

const calledFor = (world: UpgradeWorld, activity: Call['activity'], node: { name: string }) => () =>
  world.script.nodes(activity).includes(node.name);
/** Whether the last thing that a wave did was to have the workflow of a node started. */
const startsNode = (history: readonly string[]) => history.includes('START_CHILD_WORKFLOW_EXECUTION_INITIATED');
const lastStatus = (world: UpgradeWorld) => world.script.inputs('reportRollout').at(-1)?.status;

/** What a person is told who is refused. */
async function refused(asking: Promise<unknown>): Promise<string> {
  const error = await asking.then(
    (answer) => new Error(`accepted: ${String(answer)}`),
    (reason: unknown) => reason as Error,
  );
  if (!(error instanceof WorkflowUpdateFailedError)) throw error;
  return error.cause?.message ?? '';
}

describe('a wave that needs approval', () => {
  const untilItWaits = (world: UpgradeWorld) =>
    world.until('it waits', () => lastStatus(world)?.approval?.wave === 'rest');

  it('waits for days, says what to type, and starts when it is approved; that is noted', async () => {
    const { world, rollout } = await begin({ plan: CANARY });
    await world.advance('40 days');
    expect(rollout.status).toBe('Running');
    expect(lastStatus(world)).toMatchObject({
      phase: 'Running',
      approval: { wave: 'rest', since: expect.any(String) },
      message: expect.stringContaining('nodeopupgrade request --overwrite kairos.io/approve="rest"'),
    });
    expect(calledFor(world, 'checkGates', TWO)()).toBe(false);
    expect(await world.update(rollout, 'approve', { wave: 'rest', who: 'ana', reason: 'dashboards are green' })).toBe(
      'wave rest is approved',
    );
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    expect(lastStatus(world)?.approvals).toEqual([
      { wave: 'rest', by: 'temporal', who: 'ana', reason: 'dashboards are green', at: expect.any(String) },
    ]);
    expect(lastStatus(world)?.approval).toBeUndefined();
  });

  it('may be approved ahead of its turn, also while it is planned', async () => {
    const { world, rollout } = await begin({ plan: CANARY });
    const answer = world.update(rollout, 'approve', { wave: 'rest' });
    expect(await answer).toBe('wave rest is approved: it does not wait when its turn comes');
    expect(await world.update(rollout, 'approve', { wave: 'rest' })).toContain('is approved since');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
    expect(lastStatus(world)?.approvals).toHaveLength(1);
  });

  it('is approved by a signal, too, and not by one that names another wave', async () => {
    const { world, rollout } = await begin({ plan: CANARY });
    await untilItWaits(world);
    world.signal(rollout, 'approve', { wave: 'best' });
    await world.advance('1 day');
    expect(rollout.status).toBe('Running');
    world.signal(rollout, 'approve', { wave: 'rest' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
    expect(lastStatus(world)?.requests?.map(({ what, accepted }) => [what, accepted])).toEqual([
      ['approve best', false],
      ['approve rest', true],
    ]);
  });

  it.each([
    [{ wave: 'best' }, 'there is no wave best: approval is needed by rest'],
    [{ wave: 'canary' }, 'wave canary needs no approval, it starts in its turn: approval is needed by rest'],
    [{}, 'name the wave, as in {"wave": "rest"}: approval is needed by rest'],
    [{ wave: 7 }, 'name the wave, as in {"wave": "rest"}: approval is needed by rest'],
    ['rest', 'name the wave, as in {"wave": "rest"}: approval is needed by rest'],
  ])('is not approved by %j', async (message, words) => {
    const { world, rollout } = await begin({ plan: CANARY });
    await untilItWaits(world);
    expect(await refused(world.update(rollout, 'approve', message))).toBe(words);
    world.cancel(rollout);
    await expect(rollout.result()).rejects.toThrow('Canceled');
  });

  it('can be paused, cancelled and aborted while it waits', async () => {
    const { world, rollout } = await begin({ plan: CANARY });
    await untilItWaits(world);
    await world.update(rollout, 'pause', { reason: 'lunch' });
    expect(lastStatus(world)).toMatchObject({ phase: 'Paused', message: expect.stringContaining('lunch') });
    await world.update(rollout, 'resume', {});
    expect(lastStatus(world)).toMatchObject({ phase: 'Running', message: expect.stringContaining('approves it') });
    await world.update(rollout, 'abort', { reason: 'not on a Friday', who: 'ana' });
    expect(await rollout.result()).toMatchObject({
      phase: 'Cancelled',
      message: expect.stringContaining('aborted by temporal (ana): not on a Friday'),
    });
    expect(lastStatus(world)?.endedBy).toMatchObject({ by: 'temporal', who: 'ana', reason: 'not on a Friday' });
  });

  it('comes after nodes that are to be tried again', async () => {
    const { world, rollout } = await begin({ plan: CANARY, ends: { [ONE.name]: 'RolledBack' } });
    await untilItWaits(world);
    expect(await world.update(rollout, 'retry', {})).toContain(`tried again before any further wave: ${ONE.name}`);
    await world.until('the node is tried again', () => world.script.ends().length === 2);
    await world.advance('1h');
    expect(lastStatus(world)).toMatchObject({ approval: { wave: 'rest' }, verdicts: { Succeeded: 1 }, failed: [] });
    await world.update(rollout, 'approve', { wave: 'rest' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
  });
});

describe('a node that is left out', () => {
  const SKIPPED = { phase: 'Completed', verdicts: { Skipped: 1, Succeeded: 2 } };

  it('before its wave begins, is not touched, and is no failure', async () => {
    const { world, rollout } = await begin({ plan: CANARY, slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('the first drains', calledFor(world, 'drainNode', ONE));
    const words = await world.update(rollout, 'skip', { node: TWO.name, reason: 'its disk is replaced', who: 'ana' });
    expect(words).toBe('node w-2 is left out: it is not touched when wave rest begins');
    await world.update(rollout, 'approve', { wave: 'rest' });
    const result = await rollout.result();
    expect(result).toMatchObject(SKIPPED);
    expect(result).toMatchObject({ message: expect.stringContaining('2 of 3 nodes run v2; left out: w-2') });
    expect(world.script.steps(TWO.name)).toEqual(['settleNode']);
    expect(world.script.inputs('settleNode')[0]).toMatchObject({
      verdict: 'Skipped',
      message: 'left out of the rollout by temporal (ana): its disk is replaced',
    });
    expect(lastStatus(world)?.skipped).toMatchObject([{ name: 'w-2', by: 'temporal', who: 'ana' }]);
  });

  it('in the wave that runs, before its turn, is not touched', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('the first drains', calledFor(world, 'drainNode', ONE));
    expect(await world.update(rollout, 'skip', { node: THREE.name })).toBe('node w-3 is left out: it was not touched');
    expect(await rollout.result()).toMatchObject(SKIPPED);
    expect(world.script.steps(THREE.name)).toEqual(['settleNode']);
  });

  it('while its image is pulled, is not touched', async () => {
    const { world, rollout } = await begin({ slow: { prePullImage: [TWO.name, '1h'] } });
    await world.until('it is pulled', calledFor(world, 'prePullImage', TWO));
    await world.advance('1m');
    expect(await world.update(rollout, 'skip', { node: TWO.name })).toContain('is left out');
    expect(await rollout.result()).toMatchObject(SKIPPED);
    expect(world.script.steps(TWO.name)).toEqual(['settleNode']);
  });

  it('while it waits at a gate, waits no longer', async () => {
    const { world, rollout } = await begin({
      answers: {
        planRollout: () => TOGETHER,
        checkGates: ({ node }) =>
          node.name === ONE.name ? { answer: 'Wait', reason: 'not Ready' } : { answer: 'Go', bootID: 'boot-1' },
        waitForPlace: async () => {
          await Context.current().sleep('30 days');
          return { open: true };
        },
      },
    });
    await world.until('it waits', calledFor(world, 'waitForPlace', ONE));
    expect(await world.update(rollout, 'skip', { node: ONE.name })).toContain('is left out');
    const begun = world.now;
    expect(await rollout.result()).toMatchObject(SKIPPED);
    expect(world.now - begun).toBeLessThan(3_600_000);
  });

  it('while its workflow is being started, is not touched', async () => {
    const { world, rollout } = await begin({ latency: (kind) => (kind === 'child' ? 5_000 : 0) });
    const wave = () => world.workflow(waveID('workers')).history;
    await world.until('the workflow of the first is being started', () =>
      world.engine.runs.some(({ id }) => id === waveID('workers')) ? startsNode(wave()) : false,
    );
    expect(await world.update(rollout, 'skip', { node: 'w-1' })).toBe('node w-1 is left out: it was not touched');
    expect(await rollout.result()).toMatchObject(SKIPPED);
    expect(world.script.steps('w-1')).toEqual(['checkGates', 'settleNode']);
  });

  it('while it is drained, goes back to service', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('it drains', calledFor(world, 'drainNode', ONE));
    expect(await world.update(rollout, 'skip', { node: 'w-1', reason: 'busy' })).toBe(
      'node w-1 is left out, and back in service',
    );
    expect(world.script.inputs('endNode')[0]).toMatchObject({
      verdict: 'Skipped',
      message: 'left out of the rollout by temporal: busy; back in service',
    });
    expect(await rollout.result()).toMatchObject(SKIPPED);
  });

  it.each(['writeImage', 'rebootNode', 'verifyNode', 'soakNode'] as const)(
    'is refused from the point of no return on, as in %s, at once',
    async (step) => {
      const { world, rollout } = await begin({ slow: { [step]: [ONE.name, '1h'] } });
      await world.until(step, calledFor(world, step, ONE));
      const asked = world.now;
      expect(await refused(world.update(rollout, 'skip', { node: ONE.name }))).toBe(
        'node w-1 is past the point of no return (its image is being written): it is taken to its verdict',
      );
      expect(world.now - asked).toBeLessThan(60_000);
      expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    },
  );

  it.each([
    [{ node: 'w-9' }, 'node w-9 is not part of this rollout: its nodes are w-1, w-2, w-3'],
    [{ node: 'w-1' }, 'node w-1 has ended as Succeeded: runs v2'],
    [{ node: 'w-2,w-9' }, 'node w-9 is not part of this rollout: its nodes are w-1, w-2, w-3'],
    [{}, 'name the nodes, as in {"node": "w-1"}: w-1, w-2, w-3'],
    [{ node: 3 }, 'name the nodes, as in {"node": "w-1"}: w-1, w-2, w-3'],
  ])('is refused where it cannot be: %j', async (message, words) => {
    const { world, rollout } = await begin({
      slow: { drainNode: [TWO.name, '1h'] },
      answers: { verifyNode: () => ({ verdict: 'Succeeded', message: 'runs v2', bootID: 'boot-2' }) },
    });
    await world.until('the second drains', calledFor(world, 'drainNode', TWO));
    expect(await refused(world.update(rollout, 'skip', message))).toBe(words);
    expect(await rollout.result()).toMatchObject({ verdicts: { Succeeded: 3 } });
  });

  it('is answered, and the rollout ends, where its wave cannot be started', async () => {
    const { world, rollout } = await begin({ latency: (kind) => (kind === 'child' ? 5_000 : 0) });
    // Somebody has the id of the wave.
    world.start('wave', waveID('workers'), { ...waveInput({ nodes: [FOUR] }).input, paused: 'for good' });
    await world.until('the wave is being started', () => startsNode(rollout.history));
    expect(await refused(world.update(rollout, 'skip', { node: 'w-1' }))).toContain(
      'is Failed: there is nothing to skip',
    );
    await expect(rollout.result()).rejects.toThrow('Workflow execution Failed');
    expect(lastStatus(world)).toMatchObject({ phase: 'Failed' });
  });

  it('of a wave that is over is refused', async () => {
    const { world, rollout } = await begin({ plan: CANARY });
    await world.advance('1h');
    expect(await refused(world.update(rollout, 'skip', { node: 'w-1' }))).toBe(
      'node w-1 has ended: wave canary is over',
    );
    world.signal(rollout, 'approve', { wave: 'rest' });
    await rollout.result();
  });

  it('may be several nodes at once', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('the first drains', calledFor(world, 'drainNode', ONE));
    await world.update(rollout, 'skip', { node: 'w-2, w-3' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Skipped: 2, Succeeded: 1 } });
  });

  it('is one of a hundred at most, and with one too many none is', async () => {
    const many = nodes(150);
    const { world, rollout } = await begin({
      plan: planOf([wave('canary', [{ name: 'first', uid: 'uid-first' }]), wave('rest', many, { approval: true })]),
    });
    await world.advance('1h');
    const skip = (from: number, to: number) =>
      world.update(rollout, 'skip', {
        node: many
          .slice(from, to)
          .map(({ name }) => name)
          .join(','),
      });
    expect(await refused(skip(0, 101))).toBe('name at most 100 nodes at once: these are 101, and nothing was done');
    await skip(0, 60);
    expect(await refused(skip(60, 101))).toMatch(
      /^at most 100 nodes can be left out by name, and 60 are already: none of these 41 is left out; .*spec.nodeSelector/,
    );
    await skip(50, 100);
    expect(await world.update(rollout, 'skip', { node: 'w-7' })).toContain('is left out already');
    await world.update(rollout, 'approve', { wave: 'rest' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Skipped: 100, Succeeded: 51 } });
    expect(lastStatus(world)?.skipped).toHaveLength(100);
  });

  it('says first of several which of them is not', async () => {
    const { world, rollout } = await begin({ slow: { writeImage: [ONE.name, '1h'] } });
    await world.until('it is written', calledFor(world, 'writeImage', ONE));
    expect(await refused(world.update(rollout, 'skip', { node: 'w-3,w-1' }))).toMatch(
      /^node w-1 is past the point of no return.*; node w-3 is left out: it was not touched$/,
    );
    expect(await rollout.result()).toMatchObject(SKIPPED);
  });

  it('at any moment is either left out or upgraded, and the answer says which', async () => {
    const told: boolean[] = [];
    await atEveryMoment(
      (world) => world.rollout(),
      async ({ world, workflow, model }) => {
        const answer = await world.update(workflow, 'skip', { node: 'w-1' }).then(
          () => true,
          (error: unknown) => (error instanceof WorkflowUpdateFailedError ? false : String(error)),
        );
        const result = await workflow.result();
        await world.advance('1m');
        expect(model.problems).toEqual([]);
        expect(model.out()).toEqual([]);
        if (typeof answer === 'boolean') told.push(answer);
        else expect(answer).toContain('closed before it answered');
        const left = answer === true;
        if (typeof answer === 'boolean')
          expect(result).toMatchObject({ phase: 'Completed', verdicts: left ? { Skipped: 1 } : { Succeeded: 1 } });
        if (left) expect(model.node('w-1').writes).toBe(0);
      },
    );
    expect(told).toContain(true);
    expect(told).toContain(false);
  });
});

describe('a node that is tried again', () => {
  const FAILS = { ends: { [ONE.name]: 'RolledBack' as const } };

  it('in the wave that runs, comes after that wave, as another try', async () => {
    const { world, rollout } = await begin({ ...FAILS, slow: { drainNode: [TWO.name, '1h'] } });
    await world.until('the second drains', calledFor(world, 'drainNode', TWO));
    expect(await world.update(rollout, 'retry', { node: 'w-1' })).toBe('tried again after wave workers: w-1');
    expect(await world.update(rollout, 'retry', { node: 'w-1' })).toBe('to be tried again already: w-1');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    expect(world.script.ends()).toEqual(['w-1 RolledBack', 'w-2 Succeeded', 'w-3 Succeeded', 'w-1 Succeeded']);
    const tries = world.script.inputs('checkGates').map(({ node, request }) => [node.name, request.try]);
    expect(tries.at(-1)).toEqual(['w-1', 1]);
    expect(lastStatus(world)).toMatchObject({ failed: [], total: 3 });
  });

  it('may fail again, and is counted once', async () => {
    const { world, rollout } = await begin({
      slow: { drainNode: [TWO.name, '1h'] },
      answers: {
        verifyNode: ({ node }) => ({
          verdict: node.name === 'w-1' ? 'RolledBack' : 'Succeeded',
          message: 'as it is',
          bootID: 'boot-2',
        }),
      },
    });
    await world.until('the second drains', calledFor(world, 'drainNode', TWO));
    await world.update(rollout, 'retry', {});
    expect(await rollout.result()).toMatchObject({ phase: 'Failed', verdicts: { Succeeded: 2, RolledBack: 1 } });
    expect(lastStatus(world)?.failed?.map(({ name }) => name)).toEqual(['w-1']);
  });

  it('and was none that the failure budget counts changes nothing of what that allows', async () => {
    const { world, rollout } = await begin({
      plan: { ...planOf([wave('canary', [ONE]), wave('rest', [TWO, THREE, FOUR], { approval: true })]), maxFailed: 1 },
      spec: { stopOnFailure: true, maxFailed: 1 },
      answers: {
        drainNode: ({ node }) =>
          node.name === 'w-1' ? { outcome: 'Skipped', message: 'a budget holds it' } : { outcome: 'Drained' },
        verifyNode: () => ({ verdict: 'RolledBack', message: 'it fell back', bootID: 'boot-2' }),
      },
    });
    await world.advance('1h');
    await world.update(rollout, 'retry', { node: 'w-1' });
    await world.advance('1h');
    await world.update(rollout, 'approve', { wave: 'rest' });
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      verdicts: { Skipped: 1, RolledBack: 2 },
      message: expect.stringMatching(/^stopped: 2 nodes have failed, and the failure budget of the rollout/),
    });
  });

  it('may be one that was left out', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('the first drains', calledFor(world, 'drainNode', ONE));
    await world.update(rollout, 'skip', { node: 'w-2' });
    await world.advance('1s');
    expect(await world.update(rollout, 'retry', { node: 'w-2' })).toBe('tried again after wave workers: w-2');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    expect(lastStatus(world)?.skipped).toBeUndefined();
  });

  it.each([
    ['in the wave that runs', TOGETHER],
    ['after its wave', CANARY],
  ])('may stay as it is after all, %s', async (_when, plan) => {
    const { world, rollout } = await begin({ ...FAILS, plan, slow: { drainNode: [TWO.name, '1h'] } });
    if (plan === CANARY) await world.update(rollout, 'approve', { wave: 'rest' });
    await world.until('the second drains', calledFor(world, 'drainNode', TWO));
    await world.update(rollout, 'retry', { node: 'w-1' });
    expect(await world.update(rollout, 'skip', { node: 'w-1' })).toBe('node w-1 is not tried again');
    expect(await rollout.result()).toMatchObject({ phase: 'Failed', verdicts: { Succeeded: 2, RolledBack: 1 } });
    expect(lastStatus(world)?.skipped).toBeUndefined();
  });

  it.each([
    [{ node: 'w-2' }, 'node w-2 has not ended: it is upgraded in its turn'],
    [{ node: 'w-9' }, 'node w-9 is not part of this rollout: its nodes are w-1, w-2, w-3'],
    [{ node: '' }, 'name the nodes, as in {"node": "w-1"}: w-1, w-2, w-3'],
  ])('is refused where it cannot be: %j', async (message, words) => {
    const { world, rollout } = await begin({ slow: { drainNode: [TWO.name, '1h'] } });
    await world.until('the second drains', calledFor(world, 'drainNode', TWO));
    expect(await refused(world.update(rollout, 'retry', message))).toBe(words);
    expect(await refused(world.update(rollout, 'retry', {}))).toBe('no node of wave workers has failed so far');
    await rollout.result();
  });

  it('is refused where it is past the point of no return, too', async () => {
    const { world, rollout } = await begin({ slow: { writeImage: [ONE.name, '1h'] } });
    await world.until('it is written', calledFor(world, 'writeImage', ONE));
    expect(await refused(world.update(rollout, 'retry', { node: 'w-1' }))).toBe(
      'node w-1 has not ended: it is upgraded in its turn',
    );
    await rollout.result();
  });

  it('is refused where the wave has stopped, with what that means', async () => {
    const { world, rollout } = await begin({
      ...FAILS,
      plan: planOf([wave('workers', ALL, { budget: 2 })]),
      spec: { stopOnFailure: true },
      slow: { writeImage: [TWO.name, '1h'] },
    });
    await world.until('the first has ended', () => world.script.ends().length === 1);
    await world.advance('1m');
    expect(await refused(world.update(rollout, 'retry', { node: 'w-1' }))).toMatch(
      /^wave workers has stopped \(node w-1 ended as RolledBack.*\): the attempt ends when its nodes in hand have ended; the next one tries again, .*: kubectl annotate -n default nodeopupgrade request --overwrite kairos.io\/retry-node="w-1"$/,
    );
    // The watcher keeps it for that one.
    await expect(world.update(rollout, 'retry', { node: 'w-1', by: 'kubectl' })).rejects.toMatchObject({
      cause: { type: 'NextAttempt' },
    });
    expect(await rollout.result()).toMatchObject({ phase: 'Failed', verdicts: { RolledBack: 1, Succeeded: 1 } });
  });
});

describe('more failed nodes than are known by name', () => {
  it('are counted all the same: with the first of them tried again, a rollout has not completed', async () => {
    const many = nodes(110);
    const { world, rollout } = await begin({
      plan: planOf([
        wave('canary', many, { budget: 50 }),
        wave('rest', [{ name: 'last', uid: 'uid-last' }], { approval: true }),
      ]),
      ends: Object.fromEntries(many.map(({ name }) => [name, 'RolledBack'])),
    });
    await world.advance('1h');
    expect(await refused(world.update(rollout, 'retry', { node: 'w-110' }))).toContain(
      'not among the 100 failed nodes that are known by name',
    );
    expect(await world.update(rollout, 'retry', {})).toContain('and 80 more');
    await world.advance('1h');
    await world.update(rollout, 'approve', { wave: 'rest' });
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      verdicts: { Succeeded: 101, RolledBack: 10 },
      message: expect.stringContaining('10 of 111 nodes did not reach the target'),
    });
  });
});

describe('a rollout that is aborted', () => {
  it('gives back what it can, takes the rest to its verdict, and says by whom and why', async () => {
    const { world, rollout } = await begin({
      plan: planOf([wave('workers', ALL, { budget: 2 })]),
      slow: { writeImage: [ONE.name, '1h'], drainNode: [TWO.name, '1h'] },
    });
    await world.until(
      'both are in hand',
      () => calledFor(world, 'writeImage', ONE)() && calledFor(world, 'drainNode', TWO)(),
    );
    await world.update(rollout, 'abort', { reason: 'customers complain', by: 'kubectl' });
    expect(lastStatus(world)).toMatchObject({
      phase: 'Cancelling',
      message: expect.stringContaining('aborted by kubectl: customers complain'),
    });
    expect(await refused(world.update(rollout, 'abort', {}))).toContain('is Cancelling: there is nothing to abort');
    expect(await refused(world.update(rollout, 'skip', { node: 'w-3' }))).toContain('there is nothing to skip');
    expect(await rollout.result()).toMatchObject({
      phase: 'Cancelled',
      verdicts: { Succeeded: 1, Cancelled: 1 },
      message: expect.stringMatching(/^aborted by kubectl: customers complain; /),
    });
    expect(world.script.ends().sort()).toEqual(['w-1 Succeeded', 'w-2 Cancelled']);
    expect(world.script.steps(THREE.name)).toEqual([]);
  });

  it('at any moment ends as Cancelled, or as it had ended, with nothing left cordoned', async () => {
    await atEveryMoment(
      (world) => world.rollout(),
      async ({ world, workflow, model }) => {
        world.signal(workflow, 'abort', { reason: 'enough' });
        const result = await workflow.result();
        await world.advance('1m');
        expect(model.problems).toEqual([]);
        expect(model.out()).toEqual([]);
        const last = world.script.inputs('reportRollout').at(-1);
        expect(last).toMatchObject({ final: true, status: { phase: (result as { phase: string }).phase } });
        expect(['Cancelled', 'Completed']).toContain((result as { phase: string }).phase);
      },
      () => stage({ workers: nodes(2) }),
    );
  });
});

describe('who asked', () => {
  it('for a pause, and for its end, is shown while it lasts and in what was asked', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('the first drains', calledFor(world, 'drainNode', ONE));
    await world.update(rollout, 'pause', { reason: 'lunch', who: 'ana' });
    expect(lastStatus(world)).toMatchObject({
      paused: { by: 'temporal', who: 'ana', reason: 'lunch' },
      message: expect.stringMatching(/^paused by temporal \(ana\): lunch; /),
    });
    world.signal(rollout, 'pause', { reason: 'lunch', who: 'ana' });
    await world.update(rollout, 'resume', { who: 'ben' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
    expect(lastStatus(world)?.requests).toMatchObject([
      { what: 'pause', by: 'temporal', who: 'ana', reason: 'lunch', accepted: true },
      { what: 'resume', by: 'temporal', who: 'ben', accepted: true },
    ]);
    expect(lastStatus(world)).not.toHaveProperty('endedBy');
  });

  it('to end it is kept, with the reason, of a cancel that the watcher explains', async () => {
    const { world, rollout } = await begin({ slow: { writeImage: [ONE.name, '1h'] } });
    await world.until('it is written', calledFor(world, 'writeImage', ONE));
    const why = { by: 'kubectl', who: 'argocd-controller', reason: 'its NodeOpUpgrade was edited' };
    world.signal(rollout, 'whyCancelled', why);
    world.cancel(rollout);
    await world.advance('1m');
    const said = 'cancelled by kubectl (argocd-controller): its NodeOpUpgrade was edited; ';
    expect(lastStatus(world)).toMatchObject({ phase: 'Cancelling', message: expect.stringContaining(said) });
    await expect(rollout.result()).rejects.toThrow('Canceled');
    expect(lastStatus(world)).toMatchObject({
      phase: 'Cancelled',
      message: `${said}nodes that were not touched stay as they are`,
      endedBy: { ...why, at: expect.any(String) },
    });
  });

  it('to end it is Temporal, of a cancel that nobody explains', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('it drains', calledFor(world, 'drainNode', ONE));
    world.cancel(rollout);
    await expect(rollout.result()).rejects.toThrow('Canceled');
    expect(lastStatus(world)).toMatchObject({ endedBy: { by: 'temporal', at: expect.any(String) } });
    expect(lastStatus(world)?.message).toBe('cancelled: nodes that were not touched stay as they are');
  });
});

describe('a pause', () => {
  it('takes back a node that is marked and not cordoned, and starts it again after it', async () => {
    const { world, rollout } = await begin({ slow: { markNode: [ONE.name, '1m'] } });
    await world.until('it is marked', calledFor(world, 'markNode', ONE));
    world.signal(rollout, 'pause', {});
    await world.advance('1 day');
    expect(world.script.steps(ONE.name)).toEqual(['checkGates', 'markNode', 'endNode']);
    expect(world.script.inputs('endNode')[0]).toMatchObject({ unrecorded: true });
    expect(calledFor(world, 'checkGates', TWO)()).toBe(false);
    world.signal(rollout, 'resume', {});
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    expect(world.script.steps(ONE.name).filter((step) => step === 'cordonNode')).toHaveLength(1);
  });

  it('takes back a node whose gates are being asked', async () => {
    const { world, rollout } = await begin({ slow: { checkGates: [ONE.name, '3s'] } });
    await world.until('its gates are asked', calledFor(world, 'checkGates', ONE));
    world.signal(rollout, 'pause', {});
    await world.advance('1 day');
    expect(world.script.steps(ONE.name)).not.toContain('cordonNode');
    world.signal(rollout, 'resume', {});
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
  });

  it('never holds a node that is cordoned', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1m'] } });
    await world.until('it drains', calledFor(world, 'drainNode', ONE));
    world.signal(rollout, 'pause', {});
    await world.advance('1 day');
    expect(world.script.ends()).toEqual(['w-1 Succeeded']);
    world.signal(rollout, 'resume', {});
    await rollout.result();
  });
});

describe('a rollout that continues an earlier run', () => {
  it('keeps its pause, its approvals, who is left out, who is tried again, and what was answered', async () => {
    const asked = { by: 'kubectl' as const, at: '2026-11-26T02:00:00Z' };
    const { world, rollout } = await begin({
      plan: CANARY,
      control: {
        paused: { by: 'kubectl', reason: 'lunch', since: '2026-11-26T02:00:00Z' },
        approvals: [{ wave: 'rest', ...asked }],
        skips: { 'w-2': asked },
        skipped: [{ name: 'w-4', ...asked }],
        retries: [],
        tries: 3,
        ended: { 'w-4': { node: FOUR, group: 'worker', budget: 1 } },
        waves: {},
        answered: { 'update-1': { accepted: true, message: 'said before' } },
        requests: [],
      },
    });
    await world.advance('1 day');
    expect(lastStatus(world)).toMatchObject({ phase: 'Paused', paused: { reason: 'lunch' } });
    expect(await world.update(rollout, 'approve', { wave: 'nonsense' })).toBe('said before');
    expect(await world.update(rollout, 'retry', { node: 'w-4' })).toBe(
      'node w-4 is tried again before any further wave',
    );
    await world.update(rollout, 'resume', { by: 'kubectl' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Skipped: 1, Succeeded: 3 } });
    expect(world.script.inputs('checkGates').find(({ node }) => node.name === 'w-4')?.request).toMatchObject({
      try: 4,
    });
  });
});
