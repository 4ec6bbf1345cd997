import { cpSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

const NODES = ['cp-1', 'worker-1', 'worker-2', 'worker-3'];

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 3 });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const databaseFiles = () => readdirSync(stage.folder).filter((name) => name.startsWith('temporal.db'));

function dropDatabase(): void {
  for (const name of databaseFiles()) rmSync(path.join(stage.folder, name));
}

const runs = (node: string) => stage.recording(node).upgradeRuns;
const writing = (node: string) => runs(node).at(-1)?.exitCode === -1;

async function expectAllUpgradedOnce(name: string, image: string, before: Record<string, number>): Promise<void> {
  const status = await stage.ended(name);
  expect({ phase: status.phase, message: status.message }).toMatchObject({ phase: 'Completed' });
  for (const node of NODES) {
    expect(stage.node(node)).toMatchObject({ ready: true, unschedulable: false });
    expect(stage.node(node).owner).toBeUndefined();
    const { observedVersion, bootState } = stage.kairosNode(node).status;
    expect({ node, observedVersion, bootState }).toEqual({
      node,
      observedVersion: versionIn(image),
      bootState: 'active',
    });
    expect({ node, runs: runs(node).length }).toEqual({ node, runs: (before[node] ?? 0) + 1 });
  }
  const together = stage.outages.map((out) => out.filter(({ controlPlane }) => !controlPlane).length);
  expect(Math.max(...together)).toBeLessThanOrEqual(2);
  await stage.cleanedUp();
}

const counts = () => Object.fromEntries(NODES.map((node) => [node, runs(node).length]));

/** Starts an upgrade of all nodes; resolves when the control plane is written to, with what was written before. */
async function begin(name: string, image: string): Promise<Record<string, number>> {
  const before = counts();
  await stage.upgrade(name, image, undefined, { strategy: { maxUnavailable: 2 } });
  await stage.until(
    'the control plane is written to',
    () => writing('cp-1'),
    (now) => now,
    60_000,
  );
  return before;
}

describe('Temporal', () => {
  it('whose database is lost while two nodes are in hand starts empty, and the rollout completes as it was approved', async () => {
    const before = counts();
    const waves = [{ name: 'workers', approval: true }];
    await stage.upgrade('lost', NEW, undefined, { strategy: { maxUnavailable: 2, waves } });
    const rollout = () => stage.status('lost')?.rollout;
    await stage.until('it waits for approval', rollout, (now) => now?.approval?.wave === 'workers', 60_000);
    const command = /kubectl (annotate .*) kairos.io\/approve="(\w+)"$/.exec(rollout()?.message ?? '') ?? [];
    const needed = () => stage.status('lost')?.conditions?.find(({ type }) => type === 'ApprovalNeeded');
    await stage.until('a condition says so', needed, (said) => said?.status === 'True');
    expect(NODES.slice(1).flatMap(runs)).toEqual([]);
    const [, annotate = '', wave = ''] = command;
    const approve = `kairos.io/approve=${wave}: dashboards are green`;
    await stage.kubectl(...annotate.split(' '), '--field-manager=ana', approve);
    const approval = { wave: 'workers', by: 'kubectl', who: 'ana', reason: 'dashboards are green' };
    const approvals = await stage.until('it is approved', rollout, (now) => now?.approvals !== undefined);
    expect(approvals?.approvals).toMatchObject([approval]);
    await stage.until(
      'a worker is written to',
      () => NODES.slice(1).some(writing),
      (now) => now,
      60_000,
    );
    await stage.temporalServer.process.kill('SIGKILL');
    dropDatabase();
    await stage.temporalServer.process.start();
    await expectAllUpgradedOnce('lost', NEW, before);
    // It was not waited for once more, and the condition is gone.
    expect(rollout()?.approvals).toMatchObject([approval]);
    expect(rollout()).not.toHaveProperty('approval');
    expect(needed()).toBeUndefined();
  }, 180_000);

  it('whose database is restored from an older copy, mid-rollout, goes on with what is true', async () => {
    const copy = path.join(stage.folder, 'copy-of-the-database');
    const before = await begin('restored', NEWER);
    // As a volume snapshot does: the files of one moment.
    await stage.temporalServer.process.kill('SIGSTOP');
    for (const name of databaseFiles()) cpSync(path.join(stage.folder, name), path.join(copy, name));
    await stage.temporalServer.process.kill('SIGCONT');
    await stage.until(
      'a worker is written to',
      () => NODES.slice(1).some(writing),
      (now) => now,
      60_000,
    );
    await stage.temporalServer.process.kill('SIGKILL');
    dropDatabase();
    for (const name of readdirSync(copy)) cpSync(path.join(copy, name), path.join(stage.folder, name));
    await stage.temporalServer.process.start();
    await expectAllUpgradedOnce('restored', NEWER, before);
  }, 240_000);

  it('that is away is named in a condition, and nothing is lost', async () => {
    const before = await begin('away', NEW);
    await stage.temporalServer.process.kill('SIGKILL');
    const condition = () => stage.status('away')?.conditions?.find(({ type }) => type === 'EngineReachable');
    const said = await stage.until('its absence is said', condition, (now) => now?.status === 'False', 40_000);
    expect(said?.message).toMatch(/Temporal at .* does not answer.*nothing new is started/);
    await stage.temporalServer.process.start();
    await stage.until('its return is said', condition, (now) => now?.status === 'True', 40_000);
    await expectAllUpgradedOnce('away', NEW, before);
  }, 180_000);
});
