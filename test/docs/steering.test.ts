import { Context } from '@temporalio/activity';
import { describe, expect, it } from '@jest/globals';
import { nodes, nodeID } from '../workflows/driver/inputs.ts';
import { startDriver } from '../workflows/driver/driver.ts';

const HOUR_MS = 3_600_000;

/** A cluster whose control plane is whole again only at this time, as the barrier sees it. */
async function barrierOpensAfter(ms: number) {
  const world = await startDriver({
    answers: {
      planRollout: () => ({
        controlPlane: nodes(1, 'cp'),
        workers: nodes(1),
        leftAlone: [],
        maxUnavailable: 1,
      }),
      waitForControlPlane: async ({ spec }) => {
        const context = Context.current();
        const deadline = context.info.scheduledTimestampMs + spec.gateTimeoutMs;
        const until = Math.min(deadline, begun + ms);
        await context.sleep(Math.max(0, until - world.now));
        return until < deadline ? { open: true } : { open: false, reason: 'cp-1 is out' };
      },
    },
  });
  const begun = world.now;
  const rollout = world.rollout({ spec: { gateTimeoutMs: HOUR_MS } });
  await world.until('the barrier is waited for', () => world.script.inputs('waitForControlPlane').length === 1);
  return { world, rollout };
}

describe('the barrier between control plane and workers', () => {
  it('fails the rollout at its deadline', async () => {
    const { rollout } = await barrierOpensAfter(2 * HOUR_MS);
    expect(await rollout.result()).toMatchObject({ phase: 'Failed', message: 'cp-1 is out' });
  });

  it('may be closed for longer where there is a pause in that time', async () => {
    const { world, rollout } = await barrierOpensAfter(2 * HOUR_MS);
    world.signal(rollout, 'pause', { reason: 'a disk is replaced' });
    await world.advance('90m');
    expect(rollout.status).toBe('Running');
    world.signal(rollout, 'resume', {});
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 2 } });
  });

  it('has its whole time again after a pause that was over before its deadline', async () => {
    const { world, rollout } = await barrierOpensAfter(2 * HOUR_MS);
    world.signal(rollout, 'pause', {});
    await world.advance('30m');
    world.signal(rollout, 'resume', {});
    await world.advance('45m');
    expect(rollout.status).toBe('Running');
    expect(await rollout.result()).toMatchObject({ phase: 'Failed', message: 'cp-1 is out' });
    expect(world.script.inputs('waitForControlPlane')).toHaveLength(2);
  });
});

describe('a node that is cancelled by itself', () => {
  const [one, two] = [nodes(2)[0], nodes(2)[1]];
  const during = async (step: 'drainNode' | 'writeImage', controlPlane: boolean) => {
    const members = nodes(2);
    const world = await startDriver({
      before: async ({ activity, node }) => {
        if (activity === step && node === one?.name) await Context.current().sleep('1m');
      },
      answers: {
        planRollout: () => ({
          controlPlane: controlPlane ? members : [],
          workers: controlPlane ? [] : members,
          leftAlone: [],
          maxUnavailable: 1,
        }),
      },
    });
    const rollout = world.rollout();
    await world.until(step, () => world.script.nodes(step).includes(one?.name));
    world.cancel(world.workflow(nodeID(one ?? { name: '', uid: '' })));
    return { result: await rollout.result(), second: world.script.steps(two?.name ?? '') };
  };

  it('before the point of no return leaves the others, and is named at the end', async () => {
    const { result, second } = await during('drainNode', false);
    expect(result).toMatchObject({ phase: 'Failed', verdicts: { Cancelled: 1, Succeeded: 1 } });
    expect(result.message).toContain('w-1 (Cancelled)');
    expect(second).toContain('writeImage');
  });

  it('before the point of no return, of the control plane, stops the rollout', async () => {
    const { result, second } = await during('drainNode', true);
    expect(result).toMatchObject({ phase: 'Failed', verdicts: { Cancelled: 1 } });
    expect(result.message).toContain('node w-1 ended as Cancelled');
    expect(second).toEqual([]);
  });

  it.each([false, true])('past it changes nothing (of the control plane: %s)', async (controlPlane) => {
    const { result } = await during('writeImage', controlPlane);
    expect(result).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 2 } });
  });
});
