import { Context } from '@temporalio/activity';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import { describe, expect, it, jest } from '@jest/globals';
import type { Plan, PlannedWave } from '../../api/plan-messages.ts';
import type { RolloutSpec } from '../../api/rollout-spec.ts';
import { ClusterModel } from './driver/cluster-model.ts';
import { startDriver, type DriverOptions, type UpgradeWorld } from './driver/driver.ts';
import { nodes, waveID } from './driver/inputs.ts';
import { atEveryMoment } from './driver/moments.ts';
import type { Call } from './stubs.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(120_000);

const MEMBERS = nodes(6);

/** Six nodes, of which each workflow takes two: `workers`, `workers.part-2`, `workers.part-3`. */
const planOf = (more: Partial<PlannedWave> = {}): Plan => {
  const wave: PlannedWave = { name: 'workers', group: 'worker', nodes: MEMBERS, budget: 1, segment: 2, ...more };
  return { controlPlane: [], workers: MEMBERS, leftAlone: [], maxUnavailable: wave.budget, waves: [wave] };
};

interface Story {
  wave?: Partial<PlannedWave>;
  spec?: Partial<RolloutSpec>;
  /** How long a step of a node takes in its first try. */
  slow?: [step: Call['activity'], node: string, time: '1m' | '1h' | '20h'][];
  /** Nodes that fall back in their first try. */
  fallen?: string[];
  answers?: DriverOptions['answers'];
}

async function begin({ wave, spec, slow = [], fallen = [], answers }: Story) {
  const world = await startDriver({
    before: async ({ activity, node, input }) => {
      const { request, hand } = input as { request?: { try?: number }; hand?: { request: { try?: number } } };
      if ((hand?.request ?? request)?.try !== undefined) return;
      const [, , time] = slow.find(([step, name]) => step === activity && name === node) ?? [];
      if (time !== undefined) await Context.current().sleep(time);
    },
    answers: {
      planRollout: () => planOf(wave),
      verifyNode: ({ node, request }) => {
        const verdict = request.try === undefined && fallen.includes(node.name) ? 'RolledBack' : 'Succeeded';
        return { verdict, message: `it looks ${verdict}`, bootID: 'boot-2' };
      },
      ...answers,
    },
  });
  const rollout = world.rollout({ spec: { stopOnFailure: false, ...spec } });
  const until = (step: Call['activity'], node: string) =>
    world.until(`${step} of ${node}`, () => world.script.nodes(step).includes(node));
  return { world, rollout, until, ask: (what: string, node?: string) => world.update(rollout, what, { node }) };
}

const lastStatus = (world: UpgradeWorld) => world.script.inputs('reportRollout').at(-1)?.status;
const HOUR_MS = 3_600_000;

/** What a person is told who is refused. */
async function refused(asking: Promise<unknown>): Promise<string> {
  const error = await asking.then(
    (answer) => new Error(`accepted: ${String(answer)}`),
    (reason: unknown) => reason as Error,
  );
  if (!(error instanceof WorkflowUpdateFailedError)) throw error;
  return error.cause?.message ?? '';
}

describe('a node of a later part of a large wave', () => {
  // The third part is begun when the second one has nothing left to pull.
  const AHEAD = { spec: { prePullAhead: 1 } };
  const LATER = 'node w-6 is left out: it is not touched when its turn comes';

  it('is left out before its part has begun, over as many parts as there are between', async () => {
    const { world, rollout, until, ask } = await begin({ ...AHEAD, slow: [['drainNode', 'w-1', '1h']] });
    await until('drainNode', 'w-1');
    expect(await ask('skip', 'w-6')).toBe(LATER);
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Skipped: 1, Succeeded: 5 } });
    expect(world.script.steps('w-6')).toEqual(['settleNode']);
    expect(lastStatus(world)?.skipped).toMatchObject([{ name: 'w-6' }]);
  });

  it('is taken back in, as long as its part has not begun, and left out once more', async () => {
    const { world, rollout, until, ask } = await begin({ ...AHEAD, slow: [['drainNode', 'w-1', '1h']] });
    await until('drainNode', 'w-1');
    expect(await refused(ask('retry', 'w-6'))).toBe('node w-6 has not ended: it is upgraded in its turn');
    await ask('skip', 'w-6');
    expect(await ask('retry', 'w-6')).toBe('node w-6 is not left out any more: it is upgraded in its turn');
    expect(await ask('skip', 'w-6')).toBe(LATER);
    await ask('skip', 'w-5');
    await ask('retry', 'w-5');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Skipped: 1, Succeeded: 5 } });
    expect(world.script.steps('w-6')).toEqual(['settleNode']);
  });

  it('is tried again after the wave where its part has left it out by then', async () => {
    const { world, rollout, until, ask } = await begin({
      slow: [
        ['drainNode', 'w-1', '1h'],
        ['drainNode', 'w-3', '1h'],
      ],
    });
    await until('drainNode', 'w-1');
    await ask('skip', 'w-4');
    await until('drainNode', 'w-3');
    expect(await ask('retry', 'w-4')).toBe('tried again after wave workers: w-4');
    expect(await ask('skip', 'w-4')).toBe('node w-4 is not tried again');
    expect(await ask('skip', 'w-4')).toContain('node w-4 is left out already');
    await ask('retry', 'w-4');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 6 } });
    expect(world.script.ends().at(-1)).toBe('w-4 Succeeded');
    expect(lastStatus(world)?.skipped).toBeUndefined();
  });

  it('is left out while its part works: before its turn, in hand, and not past its point of no return', async () => {
    const { world, rollout, until, ask } = await begin({
      slow: [
        ['drainNode', 'w-3', '1h'],
        ['writeImage', 'w-5', '1h'],
      ],
    });
    await until('drainNode', 'w-3');
    expect(await ask('skip', 'w-4')).toBe('node w-4 is left out: it was not touched');
    expect(await ask('skip', 'w-3')).toBe('node w-3 is left out, and back in service');
    await until('writeImage', 'w-5');
    expect(await refused(ask('skip', 'w-5'))).toContain('node w-5 is past the point of no return');
    expect(await refused(ask('skip', 'w-1'))).toBe('node w-1 has ended as Succeeded: it looks Succeeded');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Skipped: 2, Succeeded: 4 } });
    expect(world.script.ends()).toContain('w-3 Skipped');
  });

  it('is answered for at once when its part is over, while another one still works', async () => {
    const { world, rollout, until, ask } = await begin({
      wave: { budget: 2 },
      slow: [['writeImage', 'w-1', '20h']],
      fallen: ['w-4'],
    });
    await until('writeImage', 'w-1');
    await world.advance('2h');
    const begun = world.now;
    expect(world.workflow(waveID('workers.part-3')).status).toBe('Completed');
    expect(await refused(ask('skip', 'w-3'))).toBe('node w-3 has ended: its part of wave workers is over');
    expect(await refused(ask('retry', 'w-3'))).toBe('node w-3 has ended: its part of wave workers is over');
    expect(await refused(ask('skip', 'w-4'))).toBe('node w-4 has ended as RolledBack: it looks RolledBack');
    expect(await ask('retry', 'w-4')).toBe('tried again after wave workers: w-4');
    expect(world.now - begun).toBeLessThan(HOUR_MS);
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 6 } });
  });

  it('at any moment is either left out or upgraded, and the answer says which', async () => {
    const told = { left: 0, taken: 0 };
    const set = async () => {
      const model = new ClusterModel(planOf({ nodes: MEMBERS.slice(0, 4), segment: 1, budget: 2 }), [], [3_000]);
      const world = await startDriver({ answers: model.answers, before: model.before, latency: () => 100 });
      return { model, world };
    };
    await atEveryMoment(
      (world) => world.rollout(),
      async ({ world, workflow, model, moment }) => {
        // What happens in a tenth of a second is told apart by other moments of other nodes.
        if (moment % 7 > 0) return world.abandon();
        const answer = await world.update(workflow, 'skip', { node: 'w-3' }).then(
          () => true,
          (error: unknown) => (error instanceof WorkflowUpdateFailedError ? false : undefined),
        );
        expect(await workflow.result()).toMatchObject({
          phase: 'Completed',
          ...(answer === undefined ? {} : { verdicts: answer ? { Skipped: 1, Succeeded: 3 } : { Succeeded: 4 } }),
        });
        await world.advance('1m');
        expect({ problems: model.problems, out: model.out() }).toEqual({ problems: [], out: [] });
        if (answer === true) expect(model.node('w-3').writes).toBe(0);
        if (answer !== undefined) told[answer ? 'left' : 'taken'] += 1;
      },
      set,
    );
    expect(told.left).toBeGreaterThan(3);
    expect(told.taken).toBeGreaterThan(3);
  });
});

describe('all failed nodes of a large wave', () => {
  it('are tried again, of whatever part they are: one that works, and one that is over', async () => {
    const { world, rollout, until, ask } = await begin({
      slow: [['writeImage', 'w-6', '1h']],
      fallen: ['w-1', 'w-3', 'w-4'],
    });
    await until('writeImage', 'w-6');
    expect(await ask('retry')).toBe('tried again after wave workers: w-1');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 6 } });
    expect(world.script.ends().slice(-3)).toEqual(['w-1 Succeeded', 'w-3 Succeeded', 'w-4 Succeeded']);
  });

  it('are those of the parts behind where this one has none, and none where nowhere is one', async () => {
    const { rollout, until, ask } = await begin({
      slow: [
        ['writeImage', 'w-4', '1h'],
        ['writeImage', 'w-6', '1h'],
      ],
      fallen: ['w-5'],
    });
    await until('writeImage', 'w-4');
    expect(await refused(ask('retry'))).toBe('no node of wave workers has failed so far');
    await until('writeImage', 'w-6');
    expect(await ask('retry')).toBe('tried again after wave workers: w-5');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 6 } });
  });

  it('are all of them, also where there are more than a message names', async () => {
    const members = nodes(130);
    const { world, rollout, ask } = await begin({
      wave: { nodes: members, segment: 70, budget: 50 },
      spec: { prePullAhead: 50 },
      fallen: members.map(({ name }) => name),
      slow: [['verifyNode', 'w-130', '20h']],
    });
    await world.until('all but one have ended', () => world.script.ends().length === 129);
    await ask('retry', 'w-125');
    await world.until('the wave is over', () => lastStatus(world)?.wave === 'retry.1');
    const { failed = [], ...rest } = lastStatus(world) ?? {};
    expect(rest).toMatchObject({ total: 130, verdicts: { RolledBack: 129 } });
    expect(failed).toHaveLength(100);
    await ask('retry');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 130 } });
  });
});

describe('the failure budget of a large wave', () => {
  it('counts what a part had that is over: nothing is started beyond it in the part that is not', async () => {
    const { world, rollout } = await begin({
      wave: { budget: 3, maxFailed: 1, segment: 4 },
      fallen: ['w-1', 'w-6'],
      slow: [['verifyNode', 'w-1', '20h']],
      answers: {
        checkGates: ({ node }) =>
          node.name === 'w-2' && !world.script.ends().includes('w-1 RolledBack')
            ? { answer: 'Wait', reason: 'not Ready' }
            : { answer: 'Go', bootID: 'boot-1' },
        waitForPlace: async () => {
          await Context.current().sleep('7h');
          return { open: true };
        },
      },
    });
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: expect.stringMatching(
        /^stopped: 2 nodes have failed.* allows 1; the last: node w-1 .*1 node was not touched$/,
      ),
    });
    expect(world.script.nodes('markNode')).not.toContain('w-2');
  });
});

describe('a large wave of which the rollout is aborted', () => {
  it('gives back what it can in every part, and says what was not touched', async () => {
    const { world, rollout, until } = await begin({
      wave: { budget: 3 },
      slow: [
        ['writeImage', 'w-1', '1h'],
        ['drainNode', 'w-2', '1h'],
        ['drainNode', 'w-3', '1h'],
      ],
    });
    await until('writeImage', 'w-1');
    await until('drainNode', 'w-3');
    await world.update(rollout, 'abort', { reason: 'enough' });
    expect(await rollout.result()).toMatchObject({
      phase: 'Cancelled',
      verdicts: { Succeeded: 1, Cancelled: 2 },
    });
    expect(world.script.ends().sort()).toEqual(['w-1 Succeeded', 'w-2 Cancelled', 'w-3 Cancelled']);
    expect(world.engine.openRuns()).toEqual([]);
  });
});
