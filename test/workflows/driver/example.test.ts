import { Context } from '@temporalio/activity';
import { describe, expect, it } from '@jest/globals';
import { startDriver } from './driver.ts';
import { nodeID, nodes } from './inputs.ts';

const plan = { controlPlane: nodes(1, 'cp'), workers: nodes(3), leftAlone: [], maxUnavailable: 2 };

describe('how to drive the workflows', () => {
  it('says what the steps answer, and looks at what was called', async () => {
    const world = await startDriver({
      answers: {
        planRollout: () => plan,
        drainNode: ({ node }) =>
          node.name === 'w-2' ? { outcome: 'Failed', message: 'held by a budget' } : { outcome: 'Drained' },
      },
    });
    const rollout = world.rollout({ spec: { stopOnFailure: false } });
    expect(await rollout.result()).toMatchObject({ phase: 'Failed', verdicts: { Succeeded: 3, Failed: 1 } });
    expect(world.script.ends()).toContain('w-2 Failed');
    expect(world.script.steps('w-2')).toEqual(['checkGates', 'markNode', 'cordonNode', 'drainNode', 'endNode']);
  });

  it('lets steps take time, and lets time pass', async () => {
    const world = await startDriver({
      answers: { planRollout: () => plan },
      before: ({ activity }) => (activity === 'drainNode' ? Context.current().sleep('2h') : undefined),
    });
    const rollout = world.rollout();
    await world.advance('119m');
    expect(world.script.nodes('writeImage')).toEqual([]);
    await world.advance('1m');
    expect(world.script.nodes('writeImage')).toEqual(['cp-1']);
    const begun = world.now;
    await rollout.result();
    // Three workers, two at once: two more drains, one after the other.
    expect((world.now - begun) / 3_600_000).toBe(4);
  });

  it('sends messages at a moment of its choice', async () => {
    const world = await startDriver({ answers: { planRollout: () => plan } });
    const rollout = world.rollout();
    await world.until('the control plane is done', () => world.script.ends().length === 1);
    world.signal(rollout, 'pause', { reason: 'weekend' });
    await world.advance('3 days');
    expect(rollout.status).toBe('Running');
    expect(await world.query(rollout, 'state')).toMatchObject({ paused: { reason: 'weekend' } });
    world.signal(rollout, 'resume', {});
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
  });

  it('cancels and terminates whatever runs', async () => {
    const world = await startDriver({
      answers: { planRollout: () => plan },
      before: ({ activity }) => (activity === 'drainNode' ? Context.current().sleep('2h') : undefined),
    });
    const rollout = world.rollout();
    await world.advance('1h');
    const [first] = plan.controlPlane;
    if (first === undefined) throw new Error('the plan has a control plane');
    world.cancel(world.workflow(nodeID(first)));
    await rollout.result();
    expect(world.script.ends()).toEqual(['cp-1 Cancelled']);
    expect(world.workflow(nodeID(first)).status).toBe('Canceled');
  });
});
