import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { STEP_LABEL } from '../../api/names.ts';
import type { NodeOpUpgradeStatus, Step } from '../../api/types.ts';
import { writeNode } from '../../kube/nodes.ts';
import { NEW, startStage, type Stage } from './stage.ts';

const ROOM = 20;

let stage: Stage;

/** Each node goes while its upgrade is at another step; the second one of a rollout is to be upgraded all the same. */
const STORIES = { waiting, draining, writing, soaking, replaced };
const told: Partial<Record<keyof typeof STORIES, Promise<void>>> = {};

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 7 });
  for (const [name, story] of Object.entries(STORIES)) {
    const ended = story();
    ended.catch(() => undefined);
    told[name as keyof typeof STORIES] = ended;
  }
}, 90_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const start = (name: string, nodes: string[], soak = '1s') =>
  stage.upgrade(name, NEW, nodes, { strategy: { maxUnavailable: ROOM, soak, reboot: { timeout: '40s' } } });

const untilStep = (node: string, step: Step, message = '') =>
  stage.until(
    `${node} is at ${step}`,
    () => stage.kairosNode(node).status,
    (now) => now.step === step && now.message?.includes(message) === true,
    80_000,
  );

/** The node does not count, and the other one is upgraded. */
function expectLeftOut(status: NodeOpUpgradeStatus, node: string, other: string): void {
  expect(status).toMatchObject({
    phase: 'Completed',
    message: expect.stringMatching(new RegExp(`^1 of 1 nodes run .*; gone before their turn: ${node}$`)),
    nodes: { done: 1, failed: 0, total: 1 },
    rollout: { total: 1, verdicts: { Succeeded: 1 }, failed: [] },
  });
  expect(stage.node(other)).toMatchObject({ unschedulable: false });
}

function expectLost(status: NodeOpUpgradeStatus, node: string, message: RegExp): void {
  expect(status).toMatchObject({ phase: 'Failed', rollout: { verdicts: { Lost: 1 } } });
  expect(status.rollout?.failed).toEqual([{ name: node, verdict: 'Lost', message: expect.stringMatching(message) }]);
}

async function waiting(): Promise<void> {
  await writeNode(stage.client, 'worker-1', { unschedulable: true });
  await start('waiting', ['worker-1', 'worker-2']);
  await stage.until(
    'its neighbour is done',
    () => stage.node('worker-2'),
    () => stage.recording('worker-2').boots.length > 1,
    80_000,
  );
  await stage.cluster.removeNode('worker-1');
  expectLeftOut(await stage.ended('waiting'), 'worker-1', 'worker-2');
}

async function draining(): Promise<void> {
  await stage.holdDrain('worker-3');
  await start('draining', ['worker-3', 'worker-4']);
  await untilStep('worker-3', 'Drain', 'held by PodDisruptionBudget');
  await stage.cluster.removeNode('worker-3');
  expectLeftOut(await stage.ended('draining'), 'worker-3', 'worker-4');
}

async function writing(): Promise<void> {
  await start('writing', ['worker-5']);
  await stage.until(
    'its image is written',
    () => stage.recording('worker-5').upgradeRuns,
    (runs) => runs.at(-1)?.exitCode === -1,
    80_000,
  );
  await stage.cluster.removeNode('worker-5');
  expectLost(
    await stage.ended('writing'),
    'worker-5',
    /node worker-5 was deleted during its upgrade: look at the machine/,
  );
}

async function soaking(): Promise<void> {
  await start('soaking', ['worker-6'], '10m');
  await untilStep('worker-6', 'Soak');
  await stage.cluster.removeNode('worker-6');
  const message = /node worker-6 ran .*, but was deleted before it was back in service: look at the machine/;
  expectLost(await stage.ended('soaking'), 'worker-6', message);
}

async function replaced(): Promise<void> {
  stage.cluster.holdDown('worker-7', { at: 'power-off' });
  await start('replaced', ['worker-7']);
  await stage.until(
    'it is off',
    () => stage.cluster.machine('worker-7').power,
    (power) => power === 'off',
    80_000,
  );
  const before = stage.node('worker-7').uid;
  await stage.cluster.removeNode('worker-7');
  await stage.cluster.addNode({ name: 'worker-7' });
  expectLost(await stage.ended('replaced'), 'worker-7', /node worker-7 was deleted .*during its upgrade/);
  await stage.until(
    'the agent of the new node reports, and nothing of the old one is said of it',
    () => stage.kairosNodes.get('worker-7')?.status ?? {},
    ({ bootID, upgradeState, inHand, lastAttempt }) =>
      bootID !== undefined &&
      bootID === stage.node('worker-7').bootID &&
      [upgradeState, inHand, lastAttempt].every((left) => left === undefined),
  );
  const now = stage.node('worker-7');
  expect(now.uid).not.toBe(before);
  expect({ owner: now.owner, unschedulable: now.unschedulable }).toEqual({ owner: undefined, unschedulable: false });
}

it.each<[string, keyof typeof STORIES]>([
  ['waits for its place is left out, named, and stops nobody', 'waiting'],
  ['is drained is left out, named, and stops nobody', 'draining'],
  ['is written to is Lost', 'writing'],
  ['soaks is Lost', 'soaking'],
  ['reboots, and is made again, is Lost, and the new one is left alone', 'replaced'],
])(
  'a node that is deleted while it %s',
  async (_, story) => {
    await told[story];
  },
  120_000,
);

it('leaves no pod and no Job of ours', async () => {
  await Promise.allSettled(Object.values(told));
  const left = async () => {
    const query = { labelSelector: STEP_LABEL };
    const names = (path: string) =>
      stage.client
        .request<{ items: { metadata: { name: string } }[] }>({ verb: 'list', path, query })
        .then(({ items }) => items.map(({ metadata }) => metadata.name));
    return [...(await names('/api/v1/pods')), ...(await names('/apis/batch/v1/jobs'))];
  };
  // A pod whose Node is gone, and which nobody ends any more, is collected by Kubernetes after about a minute.
  await stage.until('pods and Jobs are gone', left, (names) => names.length === 0, 100_000);
}, 120_000);
