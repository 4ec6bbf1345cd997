import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { startOperatorProgram } from './operator-program.ts';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

let stage: Stage;
const HELD = 'worker-4';

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 4 });
}, 90_000);
afterAll(async () => {
  await stage?.stop();
}, 60_000);

const uninstall = async (env: Record<string, string> = {}) => {
  const program = await startOperatorProgram(stage, 'uninstall', env);
  return await program.ended;
};

const out = () =>
  [...stage.observer.nodes.values()]
    .filter(({ unschedulable, owner }) => unschedulable || owner !== undefined)
    .map(({ name, owner, unschedulable }) => ({ name, owner, unschedulable }));

const phaseOf = (name: string) => stage.status(name)?.rollout?.phase;
const drainHeld = (node: string) =>
  stage.until(
    `the drain of ${node} is held`,
    () => stage.kairosNode(node).status.message ?? '',
    (text) => text.includes(`held by PodDisruptionBudget held-on-${node}`),
  );

/** As helm does: the operator is gone when its hook has let it go. Here it stays, so the watcher must be let to start again. */
async function forgetUninstall(): Promise<void> {
  const path = '/apis/coordination.k8s.io/v1/namespaces/kairos-system/leases/kairos-uninstall';
  await stage.client.request({ verb: 'delete', path }).catch(() => undefined);
}

describe('an uninstall', () => {
  beforeEach(forgetUninstall);

  it('of an idle operator is allowed', async () => {
    const { code, text } = await uninstall();
    expect(text).toBe('no rollout is open and no node is out: the operator may be deleted\n');
    expect(code).toBe(0);
  }, 60_000);

  it('while it is at work keeps the watcher from starting a rollout; refused or gone, that starts', async () => {
    const letGo = await stage.holdDrain('worker-1');
    await stage.upgrade('before', NEW, ['worker-1']);
    await drainHeld('worker-1');
    const program = await startOperatorProgram(stage, 'uninstall');
    await stage.until(
      'it cancels',
      () => program.text(),
      (text) => text.includes('cancelled'),
    );
    await stage.upgrade('late', NEW, ['worker-2']);
    expect(await program.ended).toMatchObject({ code: 0 });
    expect(stage.status('late')?.rollout).toBeUndefined();
    expect(out()).toEqual([]);
    await letGo();
    await forgetUninstall();
    expect((await stage.ended('late')).phase).toBe('Completed');
  }, 120_000);

  it('cancels a rollout that drains, waits, and leaves nothing cordoned', async () => {
    const letGo = await stage.holdDrain('worker-1');
    await stage.upgrade('draining', NEW, ['worker-1', 'worker-3']);
    await drainHeld('worker-1');
    const { code, text } = await uninstall();
    await letGo();
    expect(text).toMatch(
      /^cancelled: rollout rollout\/e2e-[0-9a-f]{8}\/kairos-system\/draining\n(waiting: .*\n)*no rollout is open and no node is out: the operator may be deleted\n$/,
    );
    expect(code).toBe(0);
    expect(out()).toEqual([]);
    expect(phaseOf('draining')).toBe('Cancelled');
    expect(stage.recording('worker-1').upgradeRuns).toEqual([]);
    await stage.cleanedUp();
  }, 90_000);

  it('is refused past the point of no return, changes nothing, and names the node and what to do', async () => {
    stage.cluster.holdDown('worker-1', { at: 'power-off' });
    await stage.upgrade('rebooting', NEW, ['worker-1']);
    await stage.until(
      'it reboots',
      () => stage.kairosNode('worker-1').status.step,
      (step) => step === 'Reboot' || step === 'Verify',
      70_000,
    );
    const { code, text } = await uninstall();
    stage.cluster.release('worker-1');
    expect(text).toMatch(
      /^refused, the operator stays:\nnode worker-1 is past the point of no return \(step (Reboot|Verify) since .*Wait for that: kubectl get kairosnode worker-1 --watch; .*kubectl annotate -n kairos-system nodeopupgrade rebooting .*helm uninstall --no-hooks/,
    );
    expect(text).toMatch(/nothing was changed\n$/);
    expect(code).toBe(1);
    expect(await stage.ended('rebooting')).toMatchObject({ phase: 'Completed' });
  }, 120_000);

  it('waits for a node that goes past the point of no return meanwhile, and sees it to its verdict', async () => {
    const program = await startOperatorProgram(stage, 'uninstall', { UNINSTALL_TIMEOUT: '2m' });
    const lease = () => stage.kubectl('get', 'lease', 'kairos-uninstall', '-n', 'kairos-system', '--ignore-not-found');
    await stage.until('it has begun', lease, (text) => text !== '');
    await leaveBehind('worker-3', 'Upgrade');
    const { code, text } = await program.ended;
    // The watcher may have taken it up already.
    expect(text).toMatch(/^waiting: node worker-3 is in hand \(step Upgrade(, left behind| since .*)\)\n/);
    expect(text).toMatch(/the operator may be deleted\n$/);
    expect(code).toBe(0);
    expect(out()).toEqual([]);
    expect(stage.kairosNode('worker-3').status.lastAttempt).toMatchObject({ verdict: 'Succeeded' });
  }, 150_000);
});

/** As a node looks whose workflow was lost at this step. */
async function leaveBehind(node: string, step: 'Upgrade' | 'Drain'): Promise<void> {
  const { uid, bootID } = stage.node(node);
  const request = {
    kind: 'NodeOpUpgrade',
    namespace: 'kairos-system',
    name: 'lost',
    uid: '',
    generation: 1,
    attempt: 1,
  };
  const inHand = {
    rollout: stage.rolloutID('lost'),
    request,
    image: NEW,
    version: versionIn(NEW),
    bootID,
    startedAt: new Date().toISOString(),
  };
  const body = { status: { upgradeState: 'InProgress', step, message: 'left behind', inHand } };
  const path = `/apis/kairos.io/v1alpha1/kairosnodes/${node}/status`;
  await stage.client.request({ verb: 'merge-patch', path, body });
  await stage.kubectl('annotate', 'node', node, `kairos.io/upgrade-owner=node/${stage.ref.id}/${uid}`);
  await stage.kubectl('cordon', node);
}

describe('a node that is held', () => {
  beforeEach(forgetUninstall);

  it('is named, with what to do, and given back only where that is asked for', async () => {
    const { faults } = stage.cluster.machine(HELD);
    faults.upgradeFails = 'no space left on device';
    await stage.upgrade('failing', NEW, [HELD]);
    expect(await stage.ended('failing')).toMatchObject({ phase: 'Failed' });
    await stage.until('it is held', out, (nodes) => nodes[0]?.owner === 'held:UpgradeFailed');
    const refused = await uninstall();
    expect(refused.code).toBe(1);
    expect(refused.text).toMatch(
      /node worker-4 is kept out \(held:UpgradeFailed: .*kubectl annotate node worker-4 kairos\.io\/upgrade-owner- && kubectl uncordon worker-4\. .*UNINSTALL_HELD_NODES=give-back.*\nnothing was changed\n$/,
    );
    expect(out()).toEqual([{ name: HELD, owner: 'held:UpgradeFailed', unschedulable: true }]);
    const given = await uninstall({ UNINSTALL_HELD_NODES: 'give-back' });
    expect(given.text).toMatch(/put back to service: node worker-4, was held:UpgradeFailed\n/);
    expect(given.code).toBe(0);
    await stage.until('it is back', out, (nodes) => nodes.length === 0);
  }, 120_000);
});

describe('without a worker, an uninstall', () => {
  beforeEach(forgetUninstall);

  it('puts back the nodes that are untouched, and names the rollout that stays open in Temporal', async () => {
    const before = stage.recording('worker-3').upgradeRuns.length;
    const letGo = await stage.holdDrain('worker-3');
    await stage.upgrade('unworked', NEWER, ['worker-3']);
    await drainHeld('worker-3');
    await stage.product.worker.stop();
    const { code, text } = await uninstall({ UNINSTALL_TIMEOUT: '3m' });
    await letGo();
    expect(text).toMatch(
      /waiting: no worker answers on kairos-e2e-[0-9a-f]{8} .* within 15 s: check that the worker runs/,
    );
    expect(text).toMatch(/put back to service: node worker-3, was node\/e2e-/);
    expect(text).toMatch(
      /note: no worker answers .* open in Temporal, were asked to cancel, .*\/kairos-system\/unworked\n/,
    );
    expect(code).toBe(0);
    await stage.until('nothing is out', out, (nodes) => nodes.length === 0);
    await stage.product.worker.start();
    expect((await stage.ended('unworked')).phase).toBe('Cancelled');
    expect(stage.kairosNode('worker-3').status.inHand).toBeUndefined();
    expect(stage.recording('worker-3').upgradeRuns).toHaveLength(before);
  }, 300_000);
});

describe('without Temporal, an uninstall', () => {
  beforeEach(forgetUninstall);

  it('goes on where no node is in hand, and puts back those that are untouched', async () => {
    const letGo = await stage.holdDrain('worker-2');
    await stage.upgrade('abandoned', NEWER, ['worker-2']);
    await drainHeld('worker-2');
    await stage.product.worker.stop();
    await stage.temporalServer.stop();
    const { code, text } = await uninstall({ UNINSTALL_TIMEOUT: '2m' });
    await letGo();
    expect(text).toMatch(/waiting: Temporal at 127\.0\.0\.1:\d+ does not answer: nobody listens there/);
    expect(text).toMatch(/put back to service: node worker-2, was node\/e2e-/);
    expect(text).toMatch(/note: Temporal .* no node is in hand, so this goes on without it/);
    expect(code).toBe(0);
    await stage.until('nothing is out', out, (nodes) => nodes.length === 0);
  }, 240_000);
});
