import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { NodeOpUpgradeStatus } from '../../api/types.ts';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

const PERSON = 'a-person';
/** Whose image is there first goes first: pulled one after the other, the nodes go by their names. */
const IN_ORDER = { strategy: { prePull: { ahead: 1 } } };

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 4 });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

/** Resolves when the drain of the node says which budget holds it. */
async function isHeld(node: string): Promise<void> {
  const message = () => stage.kairosNode(node).status.message ?? '';
  await stage.until(`the drain of ${node} is held`, message, (text) =>
    text.includes(`held by PodDisruptionBudget held-on-${node}`),
  );
  expect(stage.node(node).unschedulable).toBe(true);
  expect(stage.kairosNode(node).spec).toMatchObject({ image: NEW, version: versionIn(NEW) });
}

/** As if nothing had been asked of it: back in service, nothing written, nothing wanted, nothing left. */
async function expectUntouched(node: string): Promise<void> {
  expect(stage.node(node)).toMatchObject({ unschedulable: false, ready: true });
  expect(stage.node(node).owner).toBeUndefined();
  expect(stage.kairosNode(node).spec).toEqual({});
  expect(stage.kairosNode(node).status).toMatchObject({ upgradeState: 'Idle', lastAttempt: { verdict: 'Cancelled' } });
  expect(stage.recording(node)).toMatchObject({ upgradeRuns: [], outages: [] });
  await stage.cleanedUp();
}

const cancelByCLI = (name: string) => stage.temporalCLI('workflow', 'cancel', '--workflow-id', stage.rolloutID(name));

const engineSays = async (name: string) => {
  const { status } = await stage.temporal.workflow.getHandle(stage.rolloutID(name)).describe();
  return status.name;
};

const finals = ({ phase, rollout, nodes }: NodeOpUpgradeStatus) => ({
  phase,
  rollout: rollout?.phase,
  verdicts: rollout?.verdicts,
  failed: nodes?.failed,
});

describe('a rollout that is stopped before the image of a node was touched', () => {
  let letGo: () => Promise<void>;
  beforeAll(async () => {
    letGo = await stage.holdDrain('worker-1');
  }, 30_000);
  afterAll(async () => {
    await letGo?.();
  });

  it('puts the node back that it was draining, when its workflow is cancelled', async () => {
    await stage.upgrade('cancelled', NEW, ['worker-1', 'worker-2'], IN_ORDER);
    await isHeld('worker-1');
    await cancelByCLI('cancelled');

    expect(finals(await stage.ended('cancelled'))).toEqual({
      phase: 'Cancelled',
      rollout: 'Cancelled',
      verdicts: { Cancelled: 1 },
      failed: 0,
    });
    await stage.until(
      'its workflow closes',
      () => engineSays('cancelled'),
      (state) => state === 'CANCELLED',
    );
    await expectUntouched('worker-1');
    expect(stage.recording('worker-2').upgradeRuns).toEqual([]);
    expect(stage.touched).toEqual(['worker-1']);
  }, 90_000);

  it('puts the node back that it was draining, when its NodeOpUpgrade is deleted', async () => {
    await stage.upgrade('deleted', NEW, ['worker-1', 'worker-2'], IN_ORDER);
    await isHeld('worker-1');
    await stage.deleteUpgrade('deleted');

    await stage.until(
      'its workflow closes',
      () => engineSays('deleted'),
      (state) => state === 'CANCELLED',
    );
    await expectUntouched('worker-1');
    expect(stage.recording('worker-2').upgradeRuns).toEqual([]);
  }, 90_000);
});

describe('a rollout that is cancelled while the image of a node is written', () => {
  it('takes that node to its verdict, touches no other, and leaves nothing cordoned', async () => {
    stage.forgetTouched();
    await stage.upgrade('late', NEW, ['worker-1', 'worker-2', 'worker-3'], IN_ORDER);
    const writing = () => stage.cluster.recordings().find(({ upgradeRuns }) => upgradeRuns.length > 0)?.node;
    const node = (await stage.until('an image is written', writing, (name) => name !== undefined)) ?? '';
    await cancelByCLI('late');

    expect(finals(await stage.ended('late'))).toEqual({
      phase: 'Cancelled',
      rollout: 'Cancelled',
      verdicts: { Succeeded: 1 },
      failed: 0,
    });
    expect(stage.kairosNode(node).status).toMatchObject({
      upgradeState: 'Completed',
      observedVersion: versionIn(NEW),
      lastAttempt: { verdict: 'Succeeded' },
    });
    expect(stage.recording(node)).toMatchObject({ upgradeRuns: [{ exitCode: 0 }], boots: [{}, { slot: 'active' }] });
    expect(stage.touched).toEqual([node]);
    for (const { name, unschedulable, owner } of stage.observer.nodes.values()) {
      expect({ name, unschedulable, owner }).toEqual({ name, unschedulable: false, owner: undefined });
    }
    await stage.cleanedUp();
  }, 120_000);
});

describe('KairosNodes that a person edits', () => {
  const edit = (name: string, spec: object) =>
    stage.client.request({
      verb: 'apply',
      path: `/apis/kairos.io/v1alpha1/kairosnodes/${name}`,
      body: { apiVersion: 'kairos.io/v1alpha1', kind: 'KairosNode', metadata: { name }, spec },
      fieldManager: PERSON,
    });
  const attemptOf = (name: string) => stage.kairosNode(name).status.lastAttempt;
  const driftRollouts = async () => {
    const query = `WorkflowType = 'rollout' AND WorkflowId STARTS_WITH 'rollout/${stage.ref.id}/_drift/'`;
    const runs = [];
    for await (const { runId, status } of stage.temporal.workflow.list({ query })) runs.push({ runId, status });
    return runs;
  };

  it('upgrades only that node, refuses a version that the image does not have, and tries neither again', async () => {
    stage.forgetTouched();
    await edit('worker-4', { image: NEWER });
    await edit('worker-3', { image: NEW, version: versionIn(NEWER) });
    await stage.until(
      'worker-3 is refused',
      () => attemptOf('worker-3'),
      (attempt) => attempt?.verdict === 'Failed',
    );
    await stage.until(
      'worker-4 is upgraded',
      () => attemptOf('worker-4'),
      (attempt) => attempt?.verdict === 'Succeeded',
    );

    expect(attemptOf('worker-3')?.message).toMatch(/^TargetMismatch: .* asks for version .*v4\.0\.4/);
    expect(stage.kairosNode('worker-3').spec).toEqual({ image: NEW, version: versionIn(NEWER) });
    expect(stage.kairosNode('worker-4').status.observedVersion).toBe(versionIn(NEWER));
    expect(stage.kairosNode('worker-4').spec).toEqual({ image: NEWER });
    expect(stage.recording('worker-4').upgradeRuns).toHaveLength(1);
    const closed = (runs: { status: { name: string } }[]) => runs.every(({ status }) => status.name !== 'RUNNING');
    const before = await stage.until('both rollouts close', driftRollouts, (runs) => runs.length > 0 && closed(runs));
    // An edit settles for 10 s before a rollout starts: a second one would show by then.
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(await driftRollouts()).toEqual(before);
    expect(before).toHaveLength(2);
    expect(stage.touched).toEqual(['worker-4']);
    await stage.cleanedUp();
  }, 120_000);
});
