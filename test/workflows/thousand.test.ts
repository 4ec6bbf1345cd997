import { Context } from '@temporalio/activity';
import { describe, expect, it, jest } from '@jest/globals';
import type { Plan } from '../../api/plan-messages.ts';
import { SEGMENT_NODES, composeWaves } from '../../policy/waves.ts';
import { startDriver } from './driver/driver.ts';
import { nodeID, nodes } from './driver/inputs.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(60_000);

const LONG = new Set(['prePullImage', 'drainNode', 'writeImage', 'rebootNode', 'verifyNode', 'soakNode']);

/**
 * A wave of so many nodes, of which a twentieth may be out at once. Each of the long steps takes a minute and a bit, on
 * every node another bit: nodes that run in step would share their wave's tasks, and cost less.
 */
async function waveOf(count: number) {
  const world = await startDriver({
    before: ({ activity, node = 'w-0' }) =>
      LONG.has(activity) ? Context.current().sleep(60_000 + 10 * Number(node.slice(2))) : undefined,
  });
  const members = nodes(count);
  const budget = count / 20;
  const wave = world.wave({ nodes: members, place: { group: 'worker', budget }, spec: { prePullAhead: budget } });
  const begun = world.now;
  const result = await wave.result();
  const ofNodes = members.map((node) => world.workflow(nodeID(node)));
  const figures = {
    events: wave.history.length / count,
    activations: wave.activations / count,
    eventsOfNode: Math.max(...ofNodes.map((node) => node.history.length)),
    hours: (world.now - begun) / 3_600_000,
  };
  await world.close();
  return { result, figures, ends: world.script.ends().length };
}

describe('a wave of 1,000 nodes, 50 at once', () => {
  it('ends, and costs no more events for a node than a wave of 100', async () => {
    const small = await waveOf(100);
    const large = await waveOf(1_000);
    expect(large.result).toMatchObject({ verdicts: { Succeeded: 1_000 }, failed: [], untouched: 0 });
    expect(large.ends).toBe(1_000);
    expect(large.figures.eventsOfNode).toBe(small.figures.eventsOfNode);
    expect(large.figures.events).toBeLessThanOrEqual(small.figures.events);
    expect(large.figures.activations).toBeLessThanOrEqual(small.figures.activations);
    // A server ends a workflow whose history is longer.
    expect(large.figures.events * 1_000).toBeLessThan(51_200);
    process.stdout.write(
      `100 nodes: ${JSON.stringify(small.figures)}\n1,000 nodes: ${JSON.stringify(large.figures)}\n`,
    );
  });
});

describe('a wave that goes on in parts', () => {
  it('costs a part so little for a node that one of the largest has no history that is too long', async () => {
    const world = await startDriver({
      before: ({ activity, node = 'w-0' }) =>
        LONG.has(activity) ? Context.current().sleep(60_000 + 10 * Number(node.slice(2))) : undefined,
    });
    const wave = world.wave({
      nodes: nodes(250),
      place: { group: 'worker', budget: 20 },
      spec: { prePullAhead: 20 },
      wave: { segment: 100 },
    });
    expect(await wave.result()).toMatchObject({ verdicts: { Succeeded: 250 }, failed: [], untouched: 0 });
    const parts = world.engine.runs.filter(({ identity }) => identity.type === 'wave');
    expect(parts.map(({ id }) => id.split('/').at(-1))).toEqual(['workers', 'workers.part-2', 'workers.part-3']);
    const events = parts.map(({ history }, part) => history.length / (part < 2 ? 100 : 50));
    process.stdout.write(`events for a node in parts: ${events.join(', ')}\n`);
    for (const ofNode of events) expect(ofNode * SEGMENT_NODES).toBeLessThan(40_000);
  });

  it('has an input and a plan that are not too large for 10,000 nodes with long names', () => {
    const workers = Array.from({ length: 10_000 }, (_, index) => ({
      name: `ip-10-0-${index}.eu-central-1.compute.internal`.padEnd(63, 'x'),
      uid: `${String(index).padStart(8, '0')}-0000-4000-8000-000000000000`,
      labels: {},
    }));
    const spec = { maxUnavailable: '5%', stopOnFailure: true };
    const waves = composeWaves({ controlPlane: [], workers }, spec);
    expect(waves.map(({ nodes: of, segment }) => [of.length, segment])).toEqual([
      [1, undefined],
      [9_999, SEGMENT_NODES],
    ]);
    const plan: Plan = { controlPlane: [], workers: [], leftAlone: [], maxUnavailable: 500, waves };
    // A server refuses what has more than 2 MB.
    expect(JSON.stringify(plan).length).toBeLessThan(1_500_000);
  });
});
