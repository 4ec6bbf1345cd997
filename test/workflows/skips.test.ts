import { Context } from '@temporalio/activity';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import { describe, expect, it, jest } from '@jest/globals';
import { nodes, waveID, waveInput } from './driver/inputs.ts';
import { atEveryMoment } from './driver/moments.ts';
import {
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
  startsChild,
  lastStatus,
  refused,
} from './control-rig.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(60_000);

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

  it('while its workflow is being started, is given back as soon as that can hear it', async () => {
    const { world, rollout } = await begin({
      latency: (kind) => (kind === 'child' ? 5_000 : 0),
      slow: { drainNode: [ONE.name, '1m'] },
    });
    const wave = () => world.workflow(waveID('workers')).history;
    await world.until('the workflow of the first is being started', () =>
      world.engine.runs.some(({ id }) => id === waveID('workers')) ? startsChild(wave()) : false,
    );
    expect(await world.update(rollout, 'skip', { node: 'w-1' })).toBe('node w-1 is left out, and back in service');
    expect(await rollout.result()).toMatchObject(SKIPPED);
    expect(world.script.steps('w-1')).not.toContain('writeImage');
    // A signal to a workflow that is not there yet would be lost.
    const told = wave().indexOf('SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED');
    expect(told).toBeGreaterThan(wave().indexOf('CHILD_WORKFLOW_EXECUTION_STARTED'));
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
    await world.until('the wave is being started', () => startsChild(rollout.history));
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
