import { Context } from '@temporalio/activity';
import { describe, expect, it, jest } from '@jest/globals';
import * as fc from 'fast-check';
import { startDriver, type UpgradeWorld } from './driver/driver.ts';
import { nodes } from './driver/inputs.ts';
import type { Answers } from './stubs.ts';

// The first one builds the workflows.
jest.setTimeout(120_000);

/** What was in hand, at each begin of an upgrade: the node that begins, and the others. */
function watched(answers: Answers) {
  const inHand = new Set<string>();
  const begins: { node: string; beside: string[] }[] = [];
  const all: Answers = {
    ...answers,
    cordonNode: ({ node }) => {
      begins.push({ node: node.name, beside: [...inHand] });
      inHand.add(node.name);
      return { notReadyBefore: [] };
    },
    endNode: ({ hand, verdict, message }) => {
      inHand.delete(hand.node.name);
      return { node: hand.node.name, outcome: 'Ended', verdict, message };
    },
  };
  return { all, begins };
}

interface Fleet {
  hosts: (node: string, begun: readonly string[]) => boolean;
  workers?: number;
  budget?: number;
  /** After so many nodes the wave goes on in another workflow. */
  segment?: number;
  answers?: Answers;
}

async function play({ hosts, workers = 5, budget = 2, segment = workers, answers = {} }: Fleet) {
  const members = nodes(workers);
  const wave = { name: 'workers', group: 'worker' as const, nodes: members, budget, segment };
  const plan = { controlPlane: [], workers: members, leftAlone: [], maxUnavailable: budget, waves: [wave] };
  const { all, begins } = watched({
    planRollout: () => plan,
    readHosting: ({ node }) => {
      const begun = begins.map((begin) => begin.node);
      return { pods: hosts(node.name, begun) ? ['kairos-system/kairos-worker-0'] : [] };
    },
    ...answers,
  });
  const world = await startDriver({ answers: all, latency: () => 7 });
  const rollout = world.rollout({ spec: { stopOnFailure: true } });
  return { world, rollout, begins, result: () => rollout.result() };
}

const close = (world: UpgradeWorld) => world.close();

describe('a node that carries the operator', () => {
  it('is upgraded when all others have ended, whatever its place in the order', async () => {
    const { begins, result, world } = await play({ hosts: (node) => node === 'w-1' || node === 'w-3' });
    expect(await result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 5 } });
    expect(begins.map(({ node }) => node)).toEqual(['w-2', 'w-4', 'w-5', 'w-1', 'w-3']);
    expect(begins.slice(3).map(({ beside }) => beside)).toEqual([[], []]);
    await close(world);
  });

  it('is looked for anew before each node: its pods move with every drain', async () => {
    // Pods that are driven off w-2 settle on w-4, which was free of them when the wave was planned.
    const { begins, result, world } = await play({
      budget: 1,
      hosts: (node, begun) => node === (begun.includes('w-2') ? 'w-4' : 'w-5'),
    });
    await result();
    expect(begins.map(({ node }) => node)).toEqual(['w-1', 'w-2', 'w-3', 'w-5', 'w-4']);
    await close(world);
  });

  it('is not started while another node of its wave waits at a gate', async () => {
    let asked = 0;
    const { begins, result, world } = await play({
      hosts: (node) => node === 'w-1',
      workers: 3,
      answers: {
        checkGates: ({ node }) =>
          node.name === 'w-2' && (asked += 1) < 3
            ? { answer: 'Wait', reason: 'not Ready' }
            : { answer: 'Go', bootID: 'boot-1' },
      },
    });
    await result();
    expect(begins.at(-1)).toEqual({ node: 'w-1', beside: [] });
    await close(world);
  });

  it('goes at once where it is the only node, and where all others are hosts, too', async () => {
    const single = await play({ hosts: () => true, workers: 1 });
    expect(await single.result()).toMatchObject({ phase: 'Completed' });
    expect(single.world.script.nodes('readHosting')).toEqual([]);
    const all = await play({ hosts: () => true, workers: 3, budget: 3 });
    expect(await all.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    expect(all.begins.map(({ beside }) => beside)).toEqual([[], [], []]);
    await close(single.world);
    await close(all.world);
  });

  it('is the last of all parts of a large wave, and alone there, too', async () => {
    // Each workflow has two of the nodes. w-1 and w-4 carry it from the beginning, w-5 from when w-2 is drained.
    const { begins, result, world } = await play({
      hosts: (node, begun) => node === 'w-1' || node === 'w-4' || (node === 'w-5' && begun.includes('w-2')),
      workers: 7,
      segment: 2,
      answers: {
        rebootNode: async ({ node }) => {
          await Context.current().sleep(node.name === 'w-2' ? '3h' : '10m');
          return { outcome: 'BootChanged' };
        },
      },
    });
    expect(await result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 7 } });
    const order = begins.map(({ node }) => node);
    expect(order.slice(0, 4)).toEqual(['w-2', 'w-3', 'w-6', 'w-7']);
    expect(order.slice(4).sort()).toEqual(['w-1', 'w-4', 'w-5']);
    expect(begins.slice(4).map(({ beside }) => beside)).toEqual([[], [], []]);
    await close(world);
  });

  it('stays untouched where another one fails before it', async () => {
    const { result, world, begins } = await play({
      budget: 1,
      hosts: (node) => node === 'w-1',
      answers: {
        verifyNode: ({ node }) => ({
          verdict: node.name === 'w-3' ? 'RolledBack' : 'Succeeded',
          message: 'seen',
          bootID: 'boot-2',
        }),
      },
    });
    const { phase, message } = await result();
    expect(phase).toBe('Failed');
    expect(message).toContain('node w-3 ended as RolledBack: seen; 3 nodes were not touched');
    expect(begins.map(({ node }) => node)).toEqual(['w-2', 'w-3']);
    await close(world);
  });

  it('whoever carries it, whatever the budget: each node once, hosts alone, after all that are none', async () => {
    const drawn = fc.record({
      workers: fc.integer({ min: 2, max: 7 }),
      budget: fc.integer({ min: 1, max: 4 }),
      hosts: fc.uniqueArray(fc.integer({ min: 1, max: 7 })),
      segment: fc.integer({ min: 1, max: 7 }),
      pausesAfter: fc.option(fc.nat(60), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(drawn, async ({ workers, budget, hosts, segment, pausesAfter }) => {
        const names = new Set(hosts.map((n) => `w-${n}`));
        const { world, rollout, begins } = await play({ workers, budget, segment, hosts: (node) => names.has(node) });
        if (pausesAfter !== undefined) {
          for (let step = 0; step < pausesAfter && rollout.status === 'Running'; step += 1) await world.step();
          if (rollout.status === 'Running') {
            world.signal(rollout, 'pause', {});
            await world.advance('1 hour');
            if (rollout.status === 'Running') world.signal(rollout, 'resume', {});
          }
        }
        expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: workers } });
        const begun = begins.map(({ node }) => node);
        expect(new Set(begun).size).toBe(workers);
        const firstHost = begins.findIndex(({ node }) => names.has(node));
        if (firstHost >= 0) {
          expect(begun.slice(firstHost).every((node) => names.has(node))).toBe(true);
          expect(begins.slice(firstHost).every(({ beside }) => beside.length === 0)).toBe(true);
        }
        await close(world);
      }),
      { numRuns: 40, seed: 3 },
    );
  });
});
