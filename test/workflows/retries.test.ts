import { describe, expect, it, jest } from '@jest/globals';
import { nodes } from './driver/inputs.ts';
import {
  ALL,
  ONE,
  TWO,
  THREE,
  FOUR,
  wave,
  planOf,
  CANARY,
  TOGETHER,
  begin,
  calledFor,
  lastStatus,
  refused,
} from './control-rig.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(60_000);

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

  it('of the control plane is tried before workers that are named with it, as a node of the control plane', async () => {
    const [CP1 = ONE, CP2 = ONE] = nodes(2, 'cp');
    const plan = planOf([
      wave('control-plane', [CP1, CP2], { group: 'control-plane' }),
      wave('workers', [ONE, TWO], { budget: 2 }),
    ]);
    const { world, rollout } = await begin({ ...FAILS, plan, slow: { drainNode: [TWO.name, '1h'] } });
    await world.update(rollout, 'skip', { node: 'cp-2' });
    await world.until('the first worker has failed', () => world.script.ends().includes('w-1 RolledBack'));
    await world.advance('1s');
    await world.update(rollout, 'retry', { node: 'w-1,cp-2' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 4 } });
    const again = world.script.inputs('checkGates').filter(({ request }) => request.try !== undefined);
    expect(again.map(({ node, place }) => `${node.name} ${place.group}`)).toEqual(['cp-2 control-plane', 'w-1 worker']);
  });

  it('and was left out before is left out again when it is not tried after all', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('the first drains', calledFor(world, 'drainNode', ONE));
    for (const what of ['skip', 'retry', 'skip']) {
      await world.update(rollout, what, { node: 'w-2' });
      await world.advance('1s');
    }
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 2, Skipped: 1 } });
    expect(lastStatus(world)).toMatchObject({ failed: [], skipped: [{ name: 'w-2' }] });
  });

  it('counts as failed again when it is not tried after all, and stops its wave where that is too many', async () => {
    const { world, rollout } = await begin({
      plan: planOf([wave('workers', ALL, { budget: 2, maxFailed: 1 })]),
      ends: { 'w-1': 'RolledBack', 'w-2': 'RolledBack' },
      slow: { drainNode: ['w-2', '1m'], writeImage: ['w-3', '1h'] },
      spec: { prePullAhead: 1 },
    });
    await world.until('the first has failed', () => world.script.ends().includes('w-1 RolledBack'));
    await world.advance('1s');
    await world.update(rollout, 'retry', { node: 'w-1' });
    await world.until('the second, too', () => world.script.ends().includes('w-2 RolledBack'));
    await world.advance('1s');
    await world.update(rollout, 'skip', { node: 'w-1' });
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: expect.stringMatching(/^stopped: 2 nodes have failed, and the failure budget of this wave/),
    });
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

describe('more failed nodes than the status names', () => {
  it('are known all the same: each may be tried again, and all of them', async () => {
    const many = nodes(110);
    const { world, rollout } = await begin({
      plan: planOf([
        wave('canary', many, { budget: 50 }),
        wave('rest', [{ name: 'last', uid: 'uid-last' }], { approval: true }),
      ]),
      ends: Object.fromEntries(many.map(({ name }) => [name, 'RolledBack'])),
    });
    await world.advance('1h');
    expect(await world.update(rollout, 'retry', { node: 'w-110' })).toBe(
      'node w-110 is tried again before any further wave',
    );
    await world.advance('1h');
    expect(await world.update(rollout, 'retry', {})).toContain('and 89 more');
    await world.advance('1h');
    await world.update(rollout, 'approve', { wave: 'rest' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 111 } });
  });
});
