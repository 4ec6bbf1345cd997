import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { NodeOpUpgradeSpec, RolloutStatus } from '../../api/types.ts';
import { RUN_BY, documentedShell, type DocumentedShell } from '../docs/commands.ts';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

/** Nodes that are held count against the budget: each of them leaves room for the others. */
const ROOM = { maxUnavailable: 6 };
const FAILS = 'no space left on device';

let stage: Stage;
let shell: DocumentedShell;

/** What is done to each node and its rollout; all at the same time, since most of it is waiting. */
const STORIES = { retried, edited, neverRebooted, lost, byHand, terminated };
const told: Partial<Record<keyof typeof STORIES, Promise<void>>> = {};

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 6 });
  shell = await documentedShell(stage);
  for (const [name, story] of Object.entries(STORIES)) {
    const ended = story();
    ended.catch(() => undefined);
    told[name as keyof typeof STORIES] = ended;
  }
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const rollout = (name: string) => stage.status(name)?.rollout;
const start = (name: string, node: string, strategy: NonNullable<NodeOpUpgradeSpec['strategy']> = {}) =>
  stage.upgrade(name, NEW, [node], { strategy: { ...ROOM, ...strategy } });
const retry = (name: string, value = 'again') =>
  stage.kubectl('annotate', '-n', 'kairos-system', 'nodeopupgrade', name, '--overwrite', `kairos.io/retry=${value}`);

async function attemptEnds(name: string, attempt: number): Promise<RolloutStatus | undefined> {
  const isOver = (now: RolloutStatus | undefined) => now?.attempt === attempt && now.finishedAt !== undefined;
  return stage.until(`attempt ${attempt} of ${name} ends`, () => rollout(name), isOver, 70_000);
}

async function untilHeld(node: string, verdict: string): Promise<void> {
  const { owner, unschedulable } = await stage.until(
    `${node} is held`,
    () => stage.node(node),
    (now) => now.owner === `held:${verdict}`,
  );
  expect({ owner, unschedulable }).toEqual({ owner: `held:${verdict}`, unschedulable: true });
}

/** The image was written in these of its boots (counted from 0), once in each, with these ends. */
function expectWrites(node: string, ...writes: [boot: number, exitCode: number][]): void {
  const { boots, upgradeRuns } = stage.recording(node);
  const bootOf = (bootID: string) => boots.findIndex((boot) => boot.bootID === bootID);
  expect(upgradeRuns.map(({ bootID, exitCode }) => [bootOf(bootID), exitCode])).toEqual(writes);
}

function expectInService(node: string, image: string): void {
  expect(stage.node(node)).toMatchObject({ ready: true, unschedulable: false });
  expect(stage.node(node).owner).toBeUndefined();
  expect(stage.kairosNode(node).status).toMatchObject({ observedVersion: versionIn(image), bootState: 'active' });
}

/** Its upgrade fails in the boot that it still is in, and then could go well. */
async function failsToWrite(name: string, node: string): Promise<void> {
  const { faults } = stage.cluster.machine(node);
  faults.upgradeFails = FAILS;
  await start(name, node);
  expect(await attemptEnds(name, 1)).toMatchObject({ phase: 'Failed', verdicts: { UpgradeFailed: 1 } });
  await untilHeld(node, 'UpgradeFailed');
  delete faults.upgradeFails;
}

async function retried(): Promise<void> {
  await failsToWrite('retried', 'worker-2');
  await retry('retried');
  expect(await attemptEnds('retried', 2)).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 1 } });
  expectWrites('worker-2', [0, 1], [1, 0]);
  expect(stage.recording('worker-2').boots).toHaveLength(3);
  expectInService('worker-2', NEW);
}

async function edited(): Promise<void> {
  await failsToWrite('edited', 'worker-3');
  const generation = await stage.editImage('edited', NEWER);
  expect(await attemptEnds('edited', 2)).toMatchObject({
    generation,
    phase: 'Completed',
    verdicts: { Succeeded: 1 },
  });
  expectWrites('worker-3', [0, 1], [1, 0]);
  expect(stage.recording('worker-3').boots).toHaveLength(3);
  expectInService('worker-3', NEWER);
}

async function neverRebooted(): Promise<void> {
  const { faults } = stage.cluster.machine('worker-4');
  faults.reboot = 'ignored';
  await start('never-rebooted', 'worker-4', { reboot: { timeout: '14s' } });
  expect(await attemptEnds('never-rebooted', 1)).toMatchObject({ phase: 'Failed', verdicts: { NeverRebooted: 1 } });
  await untilHeld('worker-4', 'NeverRebooted');
  delete faults.reboot;
  await retry('never-rebooted');
  expect(await attemptEnds('never-rebooted', 2)).toMatchObject({
    phase: 'Completed',
    verdicts: { AlreadyOnTarget: 1 },
  });
  expectWrites('worker-4', [0, 0]);
  expect(stage.recording('worker-4').boots).toHaveLength(2);
  expectInService('worker-4', NEW);
}

async function lost(): Promise<void> {
  stage.cluster.holdDown('worker-5', { at: 'power-off' });
  await start('lost', 'worker-5', { reboot: { timeout: '8s' } });
  expect(await attemptEnds('lost', 1)).toMatchObject({ phase: 'Failed', verdicts: { Lost: 1 } });
  await untilHeld('worker-5', 'Lost');
  const before = (await stage.ended('lost')).rollout;
  stage.cluster.release('worker-5');
  const { conditions } = await stage.until(
    'its verdict is corrected',
    () => stage.kairosNode('worker-5').status,
    ({ lastAttempt }) => lastAttempt?.verdict === 'Succeeded',
    80_000,
  );
  expect(conditions).toEqual([
    expect.objectContaining({
      type: 'VerdictCorrected',
      status: 'True',
      reason: 'Succeeded',
      message: expect.stringMatching(/^was Lost at /),
    }),
  ]);
  expectWrites('worker-5', [0, 0]);
  expectInService('worker-5', NEW);
  const { rollout: after, ...status } = await stage.until(
    'the NodeOpUpgrade learns it',
    () => stage.status('lost') ?? {},
    (now) => now.conditions?.some(({ type }) => type === 'VerdictsCorrected') === true,
  );
  const failed = before?.failed?.map((one) => ({ ...one, correctedTo: 'Succeeded' }));
  expect(after).toEqual({ ...before, failed });
  expect(status).toMatchObject({ phase: 'Failed', nodes: { done: 1, failed: 0, summary: '1/1' } });
  expect(status.conditions?.find(({ type }) => type === 'VerdictsCorrected')).toMatchObject({
    status: 'True',
    reason: 'LateEvidence',
    message: 'evidence came late: worker-5 was Lost, is Succeeded; see kubectl get kairosnodes',
  });
}

/** Its rollout is terminated while its image is written, and says so at once; the node goes on. */
async function terminated(): Promise<void> {
  const node = 'worker-6';
  await start('terminated', node);
  await stage.until(
    'its image is written',
    () => stage.recording(node).upgradeRuns,
    (runs) => runs.at(-1)?.exitCode === -1,
    70_000,
  );
  const why = ['--reason', 'a test of what becomes of its node'];
  await stage.temporalCLI('workflow', 'terminate', '--workflow-id', stage.rolloutID('terminated'), ...why);
  expect((await stage.ended('terminated')).message).toMatch(/^Terminated: /);
  expect(stage.kairosNode(node).status.inHand).toBeDefined();
  await stage.until(
    'its verdict',
    () => stage.kairosNode(node).status,
    ({ inHand, lastAttempt }) => inHand === undefined && lastAttempt?.verdict === 'Succeeded',
  );
  expectWrites(node, [0, 0]);
  expectInService(node, NEW);
}

/** A pod that no eviction moves, on a node that is cordoned already. */
async function holdDrainOfHeld(node: string): Promise<void> {
  const name = 'keeps-its-place';
  const create = (collection: string, body: object) => stage.client.request({ verb: 'create', path: collection, body });
  const [metadata, selector] = [{ name }, { matchLabels: { app: name } }];
  await create('/apis/policy/v1/namespaces/default/poddisruptionbudgets', {
    metadata,
    spec: { maxUnavailable: 0, selector },
  });
  const spec = { containers: [{ name: 'app', image: 'example.com/app:1' }], nodeSelector: hostname(node) };
  const template = { metadata: { labels: { app: name } }, spec: { ...spec, tolerations: [{ operator: 'Exists' }] } };
  const deployment = '/apis/apps/v1/namespaces/default/deployments';
  await create(deployment, { metadata, spec: { replicas: 1, selector, template } });
  await stage.until(
    `pod ${name} runs`,
    () => stage.client.request<{ status?: { readyReplicas?: number } }>({ verb: 'get', path: `${deployment}/${name}` }),
    ({ status }) => status?.readyReplicas === 1,
  );
}
const hostname = (node: string) => ({ 'kubernetes.io/hostname': node });

async function byHand(): Promise<void> {
  const node = 'worker-1';
  const kairosNode = () => stage.kairosNode(node);
  await failsToWrite('by-hand', node);
  // A reboot by somebody else: nothing was touched in this boot, so a retry drains at once.
  stage.cluster.machine(node).reboot();
  await stage.until(
    'its agent reports from its second boot',
    () => kairosNode().status.bootID === stage.recording(node).boots[1]?.bootID && stage.node(node).ready,
    Boolean,
  );
  await untilHeld(node, 'UpgradeFailed');
  await holdDrainOfHeld(node);
  await retry('by-hand');
  const isHeld = (text: string | undefined) => text?.includes('keeps-its-place') === true;
  await stage.until('its drain is held', () => kairosNode().status.message, isHeld);
  expect(stage.node(node).owner).toMatch(/^node\//);
  await stage.temporalCLI('workflow', 'cancel', '--workflow-id', stage.rolloutID('by-hand'));
  expect(await attemptEnds('by-hand', 2)).toMatchObject({ phase: 'Cancelled', verdicts: { Cancelled: 1 } });
  await untilHeld(node, 'UpgradeFailed');
  expect(kairosNode().spec).toEqual({});
  expectWrites(node, [0, 1]);

  await shell.run('kubectl free', 'kubectl uncordon');
  await stage.until(
    'it is back in service',
    () => stage.node(node),
    (now) => now.owner === undefined && !now.unschedulable,
  );
  await retryOfKairosNode();
}

/** What a person asks of a node by editing its KairosNode is tried once, and again for each new value of the annotation. */
async function retryOfKairosNode(): Promise<void> {
  await stage.client.request({
    verb: 'apply',
    path: '/apis/kairos.io/v1alpha1/kairosnodes/worker-1',
    body: {
      apiVersion: 'kairos.io/v1alpha1',
      kind: 'KairosNode',
      metadata: { name: 'worker-1' },
      // Refused before the node is touched, so this is quick.
      spec: { image: NEW, version: versionIn(NEWER) },
    },
    fieldManager: 'a-person',
  });
  const last = () => stage.kairosNode('worker-1').status.lastAttempt;
  const first = await stage.until('it is refused', last, (now) => now?.verdict === 'Failed');
  expect(first?.message).toMatch(/^TargetMismatch/);
  expect(first?.retry).toBeUndefined();
  await shell.run('kubectl retry of a KairosNode');
  const second = await stage.until('it is refused again', last, (now) => now?.retry !== undefined);
  expect(second).toMatchObject({ verdict: 'Failed', retry: expect.stringMatching(/^\d+$/) });
  expect(Date.parse(second?.finishedAt ?? '')).toBeGreaterThan(Date.parse(first?.finishedAt ?? ''));
}

describe('a node that is held,', () => {
  it.each<[string, keyof typeof STORIES]>([
    ['since its image could not be written, is rebooted before a retry writes again', 'retried'],
    ['since its image could not be written, is rebooted before a mended image is written', 'edited'],
    ['since it never rebooted, is rebooted by a retry, and found on the target', 'neverRebooted'],
    ['since it was lost, goes back to service when it comes back, and its verdict is corrected', 'lost'],
    ['or is written to when its rollout is terminated, is taken to its verdict', 'terminated'],
    ['goes back to being held when its retry is cancelled, and to service by hand', 'byHand'],
  ])(
    '%s',
    async (_, story) => {
      await told[story];
    },
    120_000,
  );

  it('is all that is out at the end: nothing of these stories is left', async () => {
    await Promise.allSettled(Object.values(told));
    const out = [...stage.observer.nodes.values()].filter(
      ({ unschedulable, owner }) => unschedulable || owner !== undefined,
    );
    expect(out.map(({ name, owner }) => [name, owner])).toEqual([]);
    expect([...shell.ran].sort()).toEqual([...(RUN_BY['test/e2e/held.server.test.ts'] ?? [])].sort());
    await stage.cleanedUp();
  });
});
