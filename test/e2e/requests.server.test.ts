import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Condition, RolloutStatus } from '../../api/types.ts';
import { RUN_BY, documentedShell, type Command, type DocumentedShell } from '../docs/commands.ts';
import { NEW, NEWER, startStage, type Stage } from './stage.ts';

/** The names that the documents use. */
const NAME = 'hadron-v4.0.3';
const NODES = ['worker-1', 'worker-2', 'worker-3'];
const [ONE = '', TWO = '', THREE = ''] = NODES;

let stage: Stage;
let shell: DocumentedShell;
let letGo: () => Promise<void>;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 3 });
  shell = await documentedShell(stage);
  letGo = await stage.holdDrain(ONE);
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const run = (...commands: Command[]) => shell.run(...commands);
const refused = new Set<Command>();
/** Runs a command that must be refused, with these words. */
async function refuses(command: Command, words: string): Promise<void> {
  await expect(run(command)).rejects.toThrow(words);
  refused.add(command);
}
const rollout = (): RolloutStatus | undefined => stage.status(NAME)?.rollout;
const annotate = (text: string) =>
  stage.kubectl('annotate', '-n', 'kairos-system', 'nodeopupgrade', NAME, '--overwrite', text);
const condition = (type: string): Condition | undefined =>
  stage.status(NAME)?.conditions?.find((one) => one.type === type);
/** What the condition says of the last thing that was asked, once it is about this annotation. */
const answerTo = (annotation: string, words: string) =>
  stage.until(
    `an answer to ${annotation}: ${words}`,
    () => condition('LastRequest'),
    (said) => said?.message.startsWith(`${annotation}=`) === true && said.message.includes(words),
  );
const untilPhase = (phase: RolloutStatus['phase'], attempt: number) =>
  stage.until(phase, rollout, (now) => now?.phase === phase && now.attempt === attempt, 60_000);
const untilDrainIsHeld = () =>
  stage.until(
    'its drain is held',
    () => stage.kairosNode(ONE).status,
    ({ step, message }) => step === 'Drain' && message?.includes(`held-on-${ONE}`) === true,
  );
const untilInService = (name: string) =>
  stage.until(
    `${name} is in service`,
    () => stage.node(name),
    ({ owner, unschedulable, ready }) => owner === undefined && !unschedulable && ready,
  );

describe('a rollout whose first node cannot be drained', () => {
  it('is refused an approval that no wave needs, and says so', async () => {
    const strategy = { drain: { timeout: '8s' }, prePull: { ahead: 1 } };
    await stage.upgrade(NAME, NEW, NODES, { stopOnFailure: false, strategy });
    await run('kubectl approve');
    const said = await answerTo('kairos.io/approve', 'there is no wave rest');
    expect(said).toMatchObject({ status: 'False', reason: 'RequestRefused' });
    expect(stage.status(NAME)?.requests?.approve).toMatchObject({
      value: 'rest: dashboards are green',
      attempt: 1,
      number: 1,
      accepted: false,
    });
    await refuses('update approve', 'there is no wave rest: no wave of this rollout needs approval');
  }, 60_000);

  it('tries it again when that is asked, by either way, and once', async () => {
    await annotate('kairos.io/pause=somebody looks');
    await stage.until(
      'it has failed',
      () => stage.kairosNode(ONE).status.lastAttempt?.verdict,
      (last) => last === 'Failed',
    );
    await untilPhase('Paused', 1);
    await run('kubectl retry of a node');
    expect(await answerTo('kairos.io/retry-node', 'tried again after wave')).toMatchObject({ status: 'True' });
    expect(await run('update retry of a node')).toContain('to be tried again already: worker-1');
    await refuses('update retry of all', 'no node of wave');
    await letGo();
  }, 60_000);

  it('leaves a node out that was not started', async () => {
    await run('kubectl skip');
    expect(await answerTo('kairos.io/skip', 'node worker-3 is left out')).toMatchObject({ status: 'True' });
    expect(await run('update skip')).toContain(
      'is left out already, by kubectl (kubectl-annotate): its disk is replaced',
    );
    const last = () => stage.kairosNode(THREE).status.lastAttempt;
    expect(await stage.until('it is settled', last, (ended) => ended !== undefined)).toMatchObject({
      verdict: 'Skipped',
      message: 'left out of the rollout by kubectl (kubectl-annotate): its disk is replaced',
    });
    await annotate('kairos.io/skip=worker-9');
    expect(await answerTo('kairos.io/skip', 'node worker-9 is not part of this rollout')).toMatchObject({
      status: 'False',
    });
  }, 60_000);

  it('is refused to leave a node out whose image is being written', async () => {
    await annotate('kairos.io/pause-');
    const runs = () => stage.recording(TWO).upgradeRuns.length;
    await stage.until('its image is written', runs, (count) => count === 1);
    await annotate(`kairos.io/skip=${TWO}`);
    expect(await answerTo('kairos.io/skip', 'past the point of no return')).toMatchObject({ status: 'False' });
  }, 60_000);

  it('completes without the node that was left out, and with the one that was tried again', async () => {
    expect(await untilPhase('Completed', 1)).toMatchObject({
      verdicts: { Succeeded: 2, Skipped: 1 },
      message: expect.stringContaining('left out: worker-3'),
      skipped: [{ name: THREE, by: 'kubectl', who: 'kubectl-annotate', reason: 'its disk is replaced' }],
      failed: [],
    });
    expect(rollout()?.requests?.map(({ what, accepted }) => [what, accepted])).toEqual([
      ['approve rest', false],
      ['pause', true],
      ['retry worker-1', true],
      ['retry worker-1', true],
      ['retry', false],
      ['skip worker-3', true],
      ['skip worker-3', true],
      ['skip worker-9', false],
      ['resume', true],
      ['skip worker-2', false],
    ]);
    expect(stage.kairosNode(ONE).status.lastAttempt).toMatchObject({ verdict: 'Succeeded', request: { try: 1 } });
    expect(stage.recording(ONE).upgradeRuns).toHaveLength(1);
    expect(stage.recording(THREE).upgradeRuns).toEqual([]);
    await stage.until(
      'its counts',
      () => stage.status(NAME)?.nodes,
      (nodes) => nodes?.failed === 0 && nodes.done === 2,
    );
  }, 90_000);
});

describe('a rollout that has ended', () => {
  it('is asked in vain, and says so', async () => {
    await run('kubectl abort');
    const said = await answerTo('kairos.io/abort', 'attempt 1 has ended as Completed: there is nothing to abort');
    expect(said).toMatchObject({ status: 'False' });
    await refuses('update abort', 'already completed');
  });

  it('starts anew at a retry, whatever was asked of it before', async () => {
    await annotate('kairos.io/retry=one');
    expect(await untilPhase('Completed', 2)).toMatchObject({
      verdicts: { AlreadyOnTarget: 2, Succeeded: 1 },
      retry: 'one',
    });
    expect(rollout()).not.toHaveProperty('requests');
    expect(stage.recording(THREE).upgradeRuns).toHaveLength(1);
    expect(stage.kairosNode(THREE).status.lastAttempt?.request).not.toHaveProperty('try');
  }, 90_000);
});

describe('a rollout with a node in its drain', () => {
  it('leaves a node out that is being drained, and gives it back', async () => {
    letGo = await stage.holdDrain(ONE);
    await stage.editImage(NAME, NEWER);
    await untilDrainIsHeld();
    await annotate(`kairos.io/skip=${ONE}: it is needed tonight`);
    expect(await answerTo('kairos.io/skip', 'is left out, and back in service')).toMatchObject({ status: 'True' });
    await untilInService(ONE);
    expect(stage.kairosNode(ONE).status.lastAttempt).toMatchObject({
      verdict: 'Skipped',
      message: expect.stringContaining('it is needed tonight'),
    });
    expect(stage.recording(ONE).upgradeRuns).toHaveLength(1);
    await annotate('kairos.io/abort=that is enough');
    await stage.until('its end', rollout, (now) => now?.attempt === 3 && now.phase === 'Cancelled', 60_000);
  }, 90_000);

  it('is ended by an abort, which gives the node back, and says who and why', async () => {
    // It was left out of the attempt that has ended; to try it again begins the next one.
    await annotate(`kairos.io/retry-node=${ONE}: nobody needs it any more`);
    await untilDrainIsHeld();
    expect(rollout()).toMatchObject({ attempt: 4 });
    expect(await answerTo('kairos.io/retry-node', 'attempt 4 has begun')).toMatchObject({ status: 'True' });
    await annotate('kairos.io/abort=customers complain loudly');
    expect(await untilPhase('Cancelled', 4)).toMatchObject({
      message: expect.stringMatching(/^aborted by kubectl \(kubectl-annotate\): customers complain loudly; /),
    });
    const ended = { by: 'kubectl', who: 'kubectl-annotate', reason: 'customers complain loudly' };
    expect(rollout()?.endedBy).toMatchObject(ended);
    expect(stage.status(NAME)?.history).toMatchObject([
      { attempt: 4, phase: 'Cancelled', endedBy: ended, requests: [{ what: 'abort', ...ended, accepted: true }] },
      { attempt: 3, phase: 'Cancelled', endedBy: { reason: 'that is enough' } },
      { attempt: 2 },
      { attempt: 1 },
    ]);
    await untilInService(ONE);
    expect(stage.recording(ONE).upgradeRuns).toHaveLength(1);
    await answerTo('kairos.io/abort', 'aborted: nodes before their point of no return go back to service');
    expect(stage.status(NAME)?.requests?.abort).toMatchObject({ attempt: 4, number: 3, accepted: true });
    await letGo();
    await stage.cleanedUp();
  }, 90_000);
});

it('every command that is to be run here was run', () => {
  const named = [...shell.ran, ...refused].filter((command) => !command.startsWith('id of'));
  expect(named.sort()).toEqual([...(RUN_BY['test/e2e/requests.server.test.ts'] ?? [])].sort());
});
