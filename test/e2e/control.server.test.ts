import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { RolloutPhase, RolloutStatus } from '../../api/types.ts';
import { RUN_BY, documentedShell, type Command, type DocumentedShell } from '../docs/commands.ts';
import { NEW, NEWER, startStage, type Stage } from './stage.ts';

/** The names that the documents use. */
const NAME = 'hadron-v4.0.3';
const NODE = 'worker-1';
const REASON = 'disk alarm in rack 4';
/** The image is pulled on one node after the other, so they go by their names. */
const IN_ORDER = { strategy: { prePull: { ahead: 1 } } };

let stage: Stage;
let shell: DocumentedShell;
let letGo: () => Promise<void>;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 2 });
  shell = await documentedShell(stage);
  letGo = await stage.holdDrain(NODE);
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const run = (...commands: Command[]) => shell.run(...commands);
const rollout = (): RolloutStatus | undefined => stage.status(NAME)?.rollout;
const attempt = () => rollout()?.attempt ?? 0;

/** As it says, in the attempt that is under way, and in both places. */
const untilPhase = (phase: RolloutPhase) =>
  stage.until(
    phase,
    () => stage.status(NAME),
    (status) => status?.rollout?.phase === phase && status.phase === phase,
  );

async function untilEnded(number: number): Promise<RolloutStatus | undefined> {
  const isOver = (now: RolloutStatus | undefined) =>
    now?.attempt === number && ['Completed', 'Failed', 'Cancelled'].includes(now.phase);
  return stage.until(`attempt ${number} ends`, rollout, isOver);
}

/** Its drain waits for a pod: in hand, and its image not touched. */
async function untilHeld(): Promise<void> {
  const isHeld = (text: string | undefined) => text?.includes(`held-on-${NODE}`) === true;
  await stage.until(`the drain of ${NODE} is held`, () => stage.kairosNode(NODE).status.message, isHeld);
  expect(stage.node(NODE)).toMatchObject({ unschedulable: true, owner: expect.stringMatching(/^node\//) });
}

async function untilBackInService(): Promise<void> {
  await stage.until(
    `${NODE} is back`,
    () => stage.node(NODE),
    (node) => node.owner === undefined && !node.unschedulable && node.ready,
  );
  await stage.until(
    `${NODE} is in nobody's hand`,
    () => stage.kairosNode(NODE),
    ({ status }) => status.inHand === undefined,
  );
  expect(stage.kairosNode(NODE).spec).toEqual({});
  expect(stage.recording(NODE).upgradeRuns).toEqual([]);
}

const engineSays = async () => (await stage.temporal.workflow.getHandle(stage.rolloutID(NAME)).describe()).status.name;
const untilClosed = (as: string) => stage.until(`it closes as ${as}`, engineSays, (state) => state === as);

/** A rollout whose first node waits in its drain. */
async function heldInDrain(): Promise<void> {
  const phase = rollout()?.phase;
  if (stage.status(NAME) === undefined) await stage.upgrade(NAME, NEW, [NODE, 'worker-2'], IN_ORDER);
  else if (phase === 'Completed' || phase === 'Failed' || phase === 'Cancelled') {
    const before = attempt();
    await run('kubectl retry');
    await stage.until('the next attempt', attempt, (now) => now === before + 1);
  }
  await untilHeld();
}

describe('what the documents show to look at a rollout', () => {
  beforeEach(heldInDrain, 60_000);

  it('lists it with its counts, under its short names too, and with more when asked wide', async () => {
    await untilPhase('Running');
    const seen = await run('kubectl look');
    expect(seen).toMatch(new RegExp(String.raw`nodeopupgrade\S*/${NAME} .*Running .*0/2`));
    expect(seen).toMatch(new RegExp(`kairosnode.*/${NODE} .*Drain`));
    const wide = await stage.kubectl('get', '-n', 'kairos-system', 'nou,kn', '-o', 'wide');
    const columns = (table: string) => table.split('\n')[0]?.trim().split(/\s+/).length ?? 0;
    expect(columns(wide)).toBeGreaterThan(columns(seen));
    const inFlight = () => stage.status(NAME)?.inFlight?.map(({ name, step }) => ({ name, step }));
    expect(await stage.until('it is in flight', inFlight, (nodes) => nodes?.[0]?.step === 'Drain')).toEqual([
      { name: NODE, step: 'Drain' },
    ]);
  });

  it('names the workflows of the rollout, of its wave and of its node', async () => {
    const named = await run('id of the rollout', 'id of the wave', 'id of the node', 'query');
    expect(JSON.parse(/\[(?<state>.*)\]/s.exec(named)?.groups?.['state'] ?? named.slice(named.indexOf('{')))).toEqual({
      phase: 'Running',
      wave: 'workers',
      verdicts: {},
    });
    await stage.until(
      'the list shows it',
      () => run('list'),
      (list) => list.includes(stage.rolloutID(NAME)),
    );
  });
});

describe('a rollout whose node is before the point of no return', () => {
  beforeEach(heldInDrain, 60_000);

  const by = () => rollout()?.paused;

  it('is paused and resumed by an update, which answers when it is done', async () => {
    expect(await run('update pause')).toContain('paused: nodes in hand are finished');
    await untilPhase('Paused');
    expect(by()).toEqual({ by: 'temporal', reason: REASON, since: expect.any(String) });
    expect(stage.status(NAME)?.message).toContain(REASON);
    expect(await run('update resume')).toContain('resumed');
    await untilPhase('Running');
    expect(by()).toBeUndefined();
  });

  it('is paused and resumed by a signal', async () => {
    await run('signal pause');
    await untilPhase('Paused');
    expect(by()).toMatchObject({ by: 'temporal', reason: REASON });
    await run('signal resume');
    await untilPhase('Running');
  });

  it('is paused by its annotation, and resumed by taking that away and by nothing else', async () => {
    await run('kubectl pause');
    await untilPhase('Paused');
    expect(by()).toMatchObject({ by: 'kubectl', reason: REASON });
    await expect(run('update resume')).rejects.toThrow(
      `is paused by an annotation: kubectl annotate -n kairos-system nodeopupgrade ${NAME} kairos.io/pause-`,
    );
    await expect(run('update pause')).rejects.toThrow(`is paused already, by an annotation: ${REASON}`);
    // Messages are taken in their order: the query's answer comes after the signal.
    await run('signal resume');
    expect(await run('query')).toMatch(/"paused"/);
    await run('kubectl resume');
    await untilPhase('Running');
    expect(stage.node(NODE).unschedulable).toBe(true);
  });

  it('is not paused by an annotation that says false', async () => {
    const say = (text: string) =>
      stage.kubectl('annotate', '-n', 'kairos-system', 'nodeopupgrade', NAME, '--overwrite', `kairos.io/pause=${text}`);
    await say('now');
    await untilPhase('Paused');
    await say('false');
    await untilPhase('Running');
    await run('kubectl resume');
  });

  it('goes on with the others when that node is cancelled, and ends as Failed, naming it', async () => {
    await run('cancel of the node');
    await untilBackInService();
    expect(await untilEnded(attempt())).toMatchObject({
      phase: 'Failed',
      verdicts: { Cancelled: 1, Succeeded: 1 },
      failed: [{ name: NODE, verdict: 'Cancelled' }],
    });
    expect(stage.kairosNode(NODE).status.lastAttempt).toMatchObject({ verdict: 'Cancelled' });
    expect(stage.recording('worker-2').upgradeRuns).toHaveLength(1);
  }, 60_000);

  it('takes up at a retry what is not on the target, and leaves the rest alone', async () => {
    expect(rollout()?.attempt).toBeGreaterThan(1);
    expect(rollout()?.retry).toMatch(/^\d+$/);
    await run('terminate of the node');
    expect(await untilEnded(attempt())).toMatchObject({
      phase: 'Failed',
      verdicts: { Cancelled: 1, AlreadyOnTarget: 1 },
      message: expect.stringContaining(`${NODE} (Cancelled)`),
    });
    await untilBackInService();
    expect(stage.recording('worker-2').upgradeRuns).toHaveLength(1);
  });

  it('ends as Failed and names the wave that is cancelled', async () => {
    await run('cancel of the wave');
    expect(await untilEnded(attempt())).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining('wave workers was cancelled by itself'),
    });
    await untilBackInService();
    expect(stage.kairosNode(NODE).status.lastAttempt).toMatchObject({ verdict: 'Cancelled' });
  });

  it('ends as Failed and names the wave that is terminated, when none of its nodes is in hand', async () => {
    await run('terminate of the wave');
    expect(await untilEnded(attempt())).toMatchObject({
      phase: 'Failed',
      verdicts: { Cancelled: 1 },
      message: expect.stringContaining('wave workers did not end by itself'),
    });
    await untilBackInService();
  });

  it('ends as Cancelled when it is cancelled', async () => {
    await run('cancel of the rollout');
    expect(await untilEnded(attempt())).toMatchObject({ phase: 'Cancelled', verdicts: { Cancelled: 1 } });
    await untilBackInService();
    await untilClosed('CANCELLED');
    await expect(run('update pause')).rejects.toThrow(/already completed/);
  });

  it('is Failed: Terminated when it is terminated, and its node is given back', async () => {
    await run('terminate of the rollout');
    expect(await untilEnded(attempt())).toMatchObject({
      phase: 'Failed',
      message: expect.stringMatching(/^Terminated: .*kairos\.io\/retry/),
    });
    await untilBackInService();
    expect(stage.recording('worker-2').upgradeRuns).toHaveLength(1);
    expect(stage.kairosNode(NODE).status.lastAttempt).toMatchObject({ verdict: 'Cancelled' });
  });

  it('is cancelled by an edit, and starts anew with the new spec', async () => {
    const before = attempt();
    const generation = await stage.editImage(NAME, NEWER);
    await stage.until('the next attempt', attempt, (now) => now === before + 1);
    expect(rollout()).toMatchObject({ generation, image: NEWER });
    // The record says who edited it: the field manager of this test.
    expect(stage.status(NAME)?.history?.[0]).toMatchObject({
      attempt: before,
      phase: 'Cancelled',
      message: expect.stringMatching(/^cancelled by kubectl \(.+\): its NodeOpUpgrade was edited; /),
      endedBy: { by: 'kubectl', who: expect.any(String) },
    });
    await untilHeld();
    expect(stage.kairosNode(NODE).status.inHand).toMatchObject({ image: NEWER });
    expect(stage.recording(NODE).upgradeRuns).toEqual([]);
    expect(stage.recording('worker-2').upgradeRuns).toHaveLength(1);
  });

  it.each(['kubectl delete, without waiting', 'kubectl delete'] as const)('is cancelled by %s', async (command) => {
    await run(command);
    await untilClosed('CANCELLED');
    await untilBackInService();
    expect(stage.status(NAME)).toBeUndefined();
  });
});

describe('a rollout whose node is past the point of no return', () => {
  const runs = () => stage.recording(NODE).upgradeRuns;
  const untilWriting = () => stage.until('its image is written', runs, (all) => all.at(-1)?.exitCode === -1);
  const untilIs = (image: string) =>
    stage.until(
      'its verdict',
      () => stage.kairosNode(NODE).status.lastAttempt,
      (last) => last?.verdict === 'Succeeded' && last.image === image,
    );

  it('goes on when that node is cancelled, as if nothing had happened', async () => {
    await heldInDrain();
    await letGo();
    await untilWriting();
    await run('cancel of the node');
    expect(await untilEnded(attempt())).toMatchObject({
      phase: 'Completed',
      verdicts: { Succeeded: 1, AlreadyOnTarget: 1 },
    });
    expect(runs()).toHaveLength(1);
    await run('kubectl delete');
  }, 60_000);

  it('takes that node to its verdict when it is edited, and starts anew after that', async () => {
    await stage.upgrade(NAME, NEWER, [NODE, 'worker-2'], IN_ORDER);
    await untilWriting();
    const generation = await stage.editImage(NAME, NEW);
    await stage.until('Cancelling', rollout, (now) => now?.phase === 'Cancelling');
    await expect(run('update pause')).rejects.toThrow('is Cancelling: there is nothing to pause or resume');
    await untilIs(NEWER);
    expect(await stage.until('the next attempt', rollout, (now) => now?.attempt === 2)).toMatchObject({ generation });
  }, 60_000);

  it('takes that node to its verdict when its wave is cancelled, touches no other, and names the wave', async () => {
    await stage.until('the attempt after the edit', rollout, (now) => now?.attempt === 2);
    await stage.until('its image is written', runs, (all) => all.length === 3);
    await run('cancel of the wave');
    expect(await untilEnded(2)).toMatchObject({
      phase: 'Failed',
      verdicts: { Succeeded: 1 },
      message: expect.stringContaining('wave workers was cancelled by itself'),
    });
    await untilIs(NEW);
    expect(stage.recording('worker-2').upgradeRuns).toHaveLength(1);
    await stage.cleanedUp();
  }, 60_000);
});

it('every command that is to be run here was run', () => {
  expect([...shell.ran].sort()).toEqual([...(RUN_BY['test/e2e/control.server.test.ts'] ?? [])].sort());
});
