import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Slot } from '../../sim/grub.ts';
import { writeKubeconfig } from '../../sim/credentials.ts';
import { Faults } from '../kube/faults.ts';
import { FaultyProxy, type Forwarded } from '../kube/faulty-proxy.ts';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

const NAMESPACE = 'kairos-system';
/** A node that another test left out must not keep the others waiting. */
const ALL_AT_ONCE = { strategy: { maxUnavailable: '100%' } };
/** Who may delete a running upgrade; an administrator may not. */
const AS_WORKER = '--as=system:serviceaccount:kairos-system:kairos-worker';

let stage: Stage;
let proxy: FaultyProxy;
/** Told of every write of the worker that the API server took, before the worker is told of it. */
let onWrite: (write: Forwarded) => void = () => undefined;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 6 });
  const { folder } = stage;
  const { url, caFile } = stage.cluster.controlPlane;
  proxy = await FaultyProxy.start({ folder, url, caFile, faults: new Faults(1), onWrite: (write) => onWrite(write) });
  // From its next start on the worker reaches the API server through it.
  const between = /server: (\S+)/.exec(readFileSync(proxy.kubeconfig, 'utf8'))?.[1] ?? '';
  const tokenFile = path.join(folder, 'tokens', 'kairos-worker');
  writeKubeconfig(folder, { url: between, caFile }, { name: 'kairos-worker', tokenFile });
  await stage.product.worker.kill('SIGKILL');
  await stage.product.worker.start();
}, 90_000);

afterAll(async () => {
  await proxy?.stop();
  await stage?.stop();
}, 60_000);

function inSlot(node: string, slot: Slot): string | undefined {
  const file = path.join(stage.cluster.machine(node).disk.slotFolder(slot), 'etc/kairos-release');
  return /^KAIROS_VERSION="(.*)"$/m.exec(readFileSync(file, 'utf8'))?.[1];
}
const runs = (node: string) => stage.recording(node).upgradeRuns;
const lastAttempt = (node: string) => stage.kairosNode(node).status.lastAttempt;
const isWriting = (node: string) =>
  stage.until(
    `${node} is written to`,
    () => runs(node),
    (all) => all.at(-1)?.exitCode === -1,
  );
const writerOn = (node: string) => `kairos.io/upgrade-step=upgrade,kairos.io/node=${node}`;
async function deleteAsWorker(kind: 'job' | 'pod', node: string, ...more: string[]): Promise<void> {
  // The worker may not list Jobs.
  const found = await stage.kubectl('get', kind, '-n', NAMESPACE, '-l', writerOn(node), '-o', 'name');
  await stage.kubectl('delete', found, '-n', NAMESPACE, '--wait=false', AS_WORKER, ...more);
}

/** One run of kairos-agent in each boot that had one, and the old image still in the slot that a bad one falls back to. */
function expectOnce(node: string, slots: { active: string; passive: string }): void {
  const boots = runs(node).map(({ bootID }) => bootID);
  expect(boots).toHaveLength(new Set(boots).size);
  expect({ active: inSlot(node, 'active'), passive: inSlot(node, 'passive') }).toEqual(slots);
}

describe('an image is written once in a boot, and the old one stays to fall back to,', () => {
  it('where the worker dies after the API server took the Job, and before it was told', async () => {
    let jobs = 0;
    onWrite = ({ method, path: where, body, code }) => {
      if (method !== 'POST' || !where.endsWith('/jobs') || !body.includes('worker-1')) return;
      jobs += 1;
      expect(code).toBe(jobs === 1 ? 201 : 409);
      if (jobs === 1) void stage.product.worker.kill('SIGKILL');
    };
    await stage.upgrade('killed', NEW, ['worker-1'], ALL_AT_ONCE);
    await stage.until(
      'the worker is dead',
      () => stage.product.worker.running,
      (running) => !running,
    );
    await isWriting('worker-1');
    await stage.product.worker.start();

    expect(await stage.ended('killed')).toMatchObject({ phase: 'Completed' });
    expect(jobs).toBe(2);
    expect(runs('worker-1')).toHaveLength(1);
    expectOnce('worker-1', { active: 'v4.0.3', passive: 'v4.0.2' });
    onWrite = () => undefined;
  }, 120_000);

  it.each(['job', 'pod'] as const)(
    'where somebody deletes the %s that writes, which goes on to its end',
    async (kind) => {
      const node = kind === 'job' ? 'worker-2' : 'worker-3';
      const name = `deleted-${kind}`;
      await stage.upgrade(name, NEW, [node], ALL_AT_ONCE);
      await isWriting(node);
      await deleteAsWorker(kind, node);

      expect(await stage.ended(name)).toMatchObject({ phase: 'Completed' });
      expect(runs(node)).toMatchObject([{ exitCode: 0 }]);
      expectOnce(node, { active: 'v4.0.3', passive: 'v4.0.2' });
      expect(lastAttempt(node)?.writes).toMatchObject([
        { step: 'upgrade', exitCode: 0, logTail: expect.stringMatching(/Upgrade completed$/) },
      ]);
      await stage.cleanedUp();
    },
    90_000,
  );

  it('where two rollouts want the node at once, and one of them is edited while it writes', async () => {
    const node = 'worker-4';
    await stage.upgrade('left', NEW, [node], ALL_AT_ONCE);
    await stage.upgrade('right', NEW, [node], ALL_AT_ONCE);
    await isWriting(node);
    // Of two that were created in the same second the one whose name comes last is the newer.
    const generation = await stage.editImage('right', NEWER);

    expect(await stage.ended('right', generation)).toMatchObject({ phase: 'Completed' });
    await stage.ended('left');
    await stage.until(
      'nobody has the node in hand',
      () => stage.node(node),
      ({ owner, unschedulable }) => owner === undefined && !unschedulable,
    );
    // Whichever had the node first: each wrote in a boot of its own.
    const boots = stage.recording(node).boots.map(({ bootID }) => bootID);
    expect(runs(node).map(({ bootID }) => boots.indexOf(bootID))).toEqual(runs(node).map((_, index) => index));
    expect(runs(node).length).toBeGreaterThan(1);
    expect(runs(node).every(({ exitCode }) => exitCode === 0)).toBe(true);
    const held = [inSlot(node, 'active') ?? '', inSlot(node, 'passive') ?? ''];
    expect(held.toSorted()).toEqual(['v4.0.3', 'v4.0.4']);
  }, 150_000);

  it('where the machine reboots itself as soon as it is written', async () => {
    stage.cluster.machine('worker-5').faults.rebootsItself = true;
    await stage.upgrade('by-itself', NEW, ['worker-5'], ALL_AT_ONCE);
    expect(await stage.ended('by-itself')).toMatchObject({ phase: 'Completed' });
    expect(runs('worker-5')).toHaveLength(1);
    expect(stage.recording('worker-5').boots).toHaveLength(2);
    expectOnce('worker-5', { active: 'v4.0.3', passive: 'v4.0.2' });
    expect(stage.kairosNode('worker-5').status.observedVersion).toBe(versionIn(NEW));
    expect(lastAttempt('worker-5')?.writes).toMatchObject([{ step: 'upgrade', reason: expect.stringMatching(/./) }]);
  }, 90_000);

  it('where its pod is killed half-way: it is not begun again, and the node is held until it has rebooted', async () => {
    const node = 'worker-6';
    await stage.upgrade('cut-off', NEW, [node], ALL_AT_ONCE);
    await isWriting(node);
    await deleteAsWorker('pod', node, '--grace-period=0', '--force');

    expect((await stage.ended('cut-off')).rollout?.failed).toMatchObject([
      { name: node, verdict: 'UpgradeFailed', message: expect.stringContaining('was killed (exit code 137') },
    ]);
    expect(runs(node)).toMatchObject([{ exitCode: -1 }]);
    expect(stage.node(node).owner).toBe('held:UpgradeFailed');
    // It was killed before any slot was moved.
    expectOnce(node, { active: 'v4.0.2', passive: 'v4.0.2' });
    expect(lastAttempt(node)?.writes).toMatchObject([{ step: 'upgrade', exitCode: 137 }]);
    await stage.cleanedUp();
  }, 150_000);
});
