import { Context } from '@temporalio/activity';
import { describe, expect, it, jest } from '@jest/globals';
import * as fc from 'fast-check';
import type { NodeRef, WaveInput } from '../../api/messages.ts';
import { startDriver, type DriverOptions } from './driver/driver.ts';
import { nodes, waveID } from './driver/inputs.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(180_000);

const MINUTE_MS = 60_000;

interface Size {
  members: NodeRef[];
  segment: number;
  budget: number;
  failures?: WaveInput['failures'];
}

/** A wave in parts, in which each node is out for as long as `minutes` says; watched is how many are out at once. */
async function partsOf(
  { members, segment, budget, failures }: Size,
  minutes: (node: string) => number,
  answers: DriverOptions['answers'] = {},
) {
  const out = new Set<string>();
  const seen = { most: 0, order: [] as string[] };
  const world = await startDriver({
    before: async ({ activity, node = '' }) => {
      if (activity === 'markNode') {
        out.add(node);
        seen.order.push(node);
        seen.most = Math.max(seen.most, out.size);
      }
      if (activity === 'rebootNode') await Context.current().sleep(minutes(node) * MINUTE_MS);
      if (activity === 'endNode') out.delete(node);
    },
    ...(answers === undefined ? {} : { answers }),
  });
  const wave = world.wave({
    nodes: members,
    place: { group: 'worker', budget },
    spec: { prePullAhead: budget },
    wave: { segment, ...(failures === undefined ? {} : { failures }) },
  });
  const parts = () => world.engine.runs.filter(({ identity }) => identity.type === 'wave');
  return { world, wave, seen, out, parts };
}

describe('a wave that is too large for one workflow', () => {
  it('goes on in others, without a barrier, in its order, and never with more nodes out than it may', async () => {
    const members = nodes(25);
    // The fourth holds its place for long: it holds up nobody else.
    const { wave, seen, parts, world } = await partsOf({ members, segment: 10, budget: 4 }, (node) =>
      node === 'w-4' ? 600 : 10,
    );
    const begun = world.now;
    await world.until('all others have ended', () => world.script.ends().length === 24);
    // Three places for 24 nodes of ten minutes each, the first three beside the one that takes long.
    expect((world.now - begun) / MINUTE_MS).toBeLessThanOrEqual(80);
    expect(await wave.result()).toMatchObject({
      verdicts: { Succeeded: 25 },
      failed: [],
      untouched: 0,
      targets: { amd64: { version: 'v2' } },
    });
    expect(seen.most).toBe(4);
    expect(seen.order).toEqual(members.map(({ name }) => name));
    expect(parts().map(({ id }) => id)).toEqual([
      waveID('workers'),
      waveID('workers.part-2'),
      waveID('workers.part-3'),
    ]);
  });

  it('is paused and resumed as one', async () => {
    const { wave, world, out } = await partsOf({ members: nodes(9), segment: 3, budget: 2 }, () => 10);
    await world.until('the second part has begun', () => world.script.ends().length === 4);
    world.signal(wave, 'pause', { reason: 'lunch' });
    await world.advance('1h');
    const ended = world.script.ends().length;
    expect(out.size).toBe(0);
    await world.advance('2 days');
    expect(world.script.ends()).toHaveLength(ended);
    expect(ended).toBeLessThan(9);
    world.signal(wave, 'resume', {});
    expect(await wave.result()).toMatchObject({ verdicts: { Succeeded: 9 } });
  });

  it('is cancelled as one, and knows what it did', async () => {
    const { wave, world, parts } = await partsOf({ members: nodes(9), segment: 3, budget: 2 }, () => 10);
    await world.until('the second part has begun', () => world.script.ends().length === 4);
    world.cancel(wave);
    const { verdicts, untouched, stopped } = await wave.result();
    expect(stopped).toBe('cancelled');
    expect(Object.values(verdicts).reduce((sum, count) => sum + count, 0) + untouched).toBe(9);
    expect(parts().map(({ status }) => status)).not.toContain('Running');
  });

  it.each([
    ['in the first part, while the second one works', 'w-3', 30],
    ['in the second part, while the first one works', 'w-5', 1],
  ])('stops as one when a node fails %s', async (_, fallen, minutes) => {
    const { wave, world } = await partsOf(
      { members: nodes(12), segment: 4, budget: 3, failures: { wave: 0, before: 0 } },
      (node) => (node === fallen ? minutes : 10),
      {
        verifyNode: ({ node }) => ({
          verdict: node.name === fallen ? 'RolledBack' : 'Succeeded',
          message: 'seen',
          bootID: 'boot-2',
        }),
      },
    );
    const result = await wave.result();
    expect(result).toMatchObject({ stopped: `node ${fallen} ended as RolledBack: seen`, counted: 1 });
    expect(result.failed.map(({ name }) => name)).toEqual([fallen]);
    expect(result.untouched).toBeGreaterThan(0);
    expect(world.engine.openRuns()).toEqual([]);
  });

  it('counts failures over all of its parts', async () => {
    const fallen = new Set(['w-2', 'w-6', 'w-10']);
    const { wave } = await partsOf(
      { members: nodes(12), segment: 4, budget: 1, failures: { rollout: 3, before: 1 } },
      () => 10,
      {
        verifyNode: ({ node }) => ({
          verdict: fallen.has(node.name) ? 'RolledBack' : 'Succeeded',
          message: 'seen',
          bootID: 'boot-2',
        }),
      },
    );
    expect(await wave.result()).toMatchObject({
      verdicts: { RolledBack: 3, Succeeded: 7 },
      counted: 3,
      untouched: 2,
      stopped:
        '4 nodes have failed, and the failure budget of the rollout (maxFailed) allows 3; the last: node w-10 ended as RolledBack: seen',
    });
  });

  it('of which a part is terminated settles its nodes, and stops', async () => {
    const { wave, world } = await partsOf({ members: nodes(9), segment: 3, budget: 2 }, () => 10, {
      settleWave: ({ nodes: left }) => ({ verdicts: { Succeeded: 2 }, failed: [], untouched: left.length - 2 }),
    });
    await world.until('the second part works', () => world.script.nodes('markNode').includes('w-5'));
    world.terminate(world.workflow(waveID('workers.part-2')));
    expect(await wave.result()).toMatchObject({
      verdicts: { Succeeded: 5 },
      untouched: 4,
      stopped: expect.stringContaining('a part of wave workers did not end by itself'),
    });
  });

  it('keeps every node in one count and its budget, whatever its parts and times are', async () => {
    const drawn = fc.record({
      count: fc.integer({ min: 1, max: 14 }),
      segment: fc.integer({ min: 1, max: 6 }),
      budget: fc.integer({ min: 1, max: 5 }),
      minutes: fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 7 }),
      fallen: fc.array(fc.integer({ min: 1, max: 14 }), { maxLength: 4 }),
      allowed: fc.nat({ max: 3 }),
    });
    const property = fc.asyncProperty(drawn, async ({ count, segment, budget, minutes, fallen, allowed }) => {
      const members = nodes(count);
      const number = (node: string) => Number(node.slice(2));
      const size = { members, segment, budget, failures: { wave: allowed, before: 0 } };
      const { wave, world, seen } = await partsOf(size, (node) => minutes[number(node) % minutes.length] ?? 0, {
        verifyNode: ({ node }) => ({
          verdict: fallen.includes(number(node.name)) ? 'RolledBack' : 'Succeeded',
          message: 'seen',
          bootID: 'boot-2',
        }),
      });
      const { verdicts, untouched, stopped, counted = 0 } = await wave.result();
      const ended = Object.values(verdicts).reduce((sum, one) => sum + one, 0);
      expect(ended + untouched).toBe(count);
      expect(ended).toBe(world.script.ends().length);
      expect(seen.most).toBeLessThanOrEqual(budget);
      expect(new Set(seen.order).size).toBe(seen.order.length);
      if (stopped === undefined) expect(untouched).toBe(0);
      else expect(counted).toBeGreaterThan(allowed);
      expect(world.engine.openRuns()).toEqual([]);
      await world.close();
    });
    await fc.assert(property, { numRuns: Number(process.env['RUNS'] ?? 20), seed: Number(process.env['SEED'] ?? 7) });
  });
});
