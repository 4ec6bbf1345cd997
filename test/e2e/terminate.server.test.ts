import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { nodeWorkflowID, waveWorkflowID } from '../../api/messages.ts';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

const IN_ORDER = { strategy: { prePull: { ahead: 1 } } };

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 3 });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const nodeID = (node: string) => nodeWorkflowID(stage.ref, { name: node, uid: stage.node(node).uid });
const terminate = (id: string) =>
  stage.temporalCLI('workflow', 'terminate', '--workflow-id', id, '--reason', 'a test of what is left behind');
const retry = (name: string) =>
  stage.kubectl('annotate', '-n', 'kairos-system', 'nodeopupgrade', name, '--overwrite', 'kairos.io/retry=again');

async function isHeld(node: string): Promise<void> {
  const message = () => stage.kairosNode(node).status.message ?? '';
  await stage.until(`the drain of ${node} is held`, message, (text) => text.includes(`held-on-${node}`));
}

async function isWriting(node: string): Promise<void> {
  await stage.until(
    `${node} is written to`,
    () => stage.recording(node).upgradeRuns,
    (runs) => runs.at(-1)?.exitCode === -1,
  );
}

function expectInService(...nodes: string[]): void {
  for (const name of nodes) {
    expect(stage.node(name)).toMatchObject({ ready: true, unschedulable: false });
    expect(stage.node(name).owner).toBeUndefined();
    expect(stage.kairosNode(name).status.inHand).toBeUndefined();
  }
}

describe('a workflow that is terminated before the image of its node was touched', () => {
  let letGo: () => Promise<void>;
  beforeAll(async () => {
    letGo = await stage.holdDrain('worker-1');
  }, 30_000);

  it('of a node: the node goes back to service, the others go on, and the rollout names it', async () => {
    await stage.upgrade('node-early', NEW, ['worker-1', 'worker-2'], IN_ORDER);
    await isHeld('worker-1');
    await terminate(nodeID('worker-1'));

    const status = await stage.ended('node-early');
    expect(status.rollout).toMatchObject({
      phase: 'Failed',
      verdicts: { Cancelled: 1, Succeeded: 1 },
      failed: [{ name: 'worker-1', verdict: 'Cancelled' }],
    });
    expectInService('worker-1', 'worker-2');
    expect(stage.recording('worker-1').upgradeRuns).toEqual([]);
    await stage.cleanedUp();
  }, 90_000);

  it('of a rollout: the node goes back to service, and a retry takes it up again', async () => {
    await stage.upgrade('rollout-early', NEW, ['worker-1']);
    await isHeld('worker-1');
    await terminate(stage.rolloutID('rollout-early'));

    const status = await stage.ended('rollout-early');
    expect(status.rollout).toMatchObject({ phase: 'Failed', attempt: 1 });
    expect(status.message).toMatch(/^Terminated: .*kubectl annotate -n kairos-system nodeopupgrade rollout-early/);
    expect(status.history).toEqual([
      expect.objectContaining({
        attempt: 1,
        phase: 'Failed',
        message: expect.stringMatching(/^Terminated: /),
        endedBy: expect.objectContaining({ by: 'temporal', who: expect.any(String) }),
      }),
    ]);
    await stage.until(
      'it is back',
      () => stage.node('worker-1'),
      (node) => !node.unschedulable && node.owner === undefined,
    );
    expect(stage.recording('worker-1').upgradeRuns).toEqual([]);

    await letGo();
    await retry('rollout-early');
    await stage.until(
      'attempt 2 begins',
      () => stage.status('rollout-early')?.rollout?.attempt,
      (n) => n === 2,
    );
    expect((await stage.ended('rollout-early')).rollout).toMatchObject({
      phase: 'Completed',
      attempt: 2,
      retry: 'again',
      verdicts: { Succeeded: 1 },
    });
    expectInService('worker-1');
    await stage.cleanedUp();
  }, 120_000);
});

describe('a workflow that is terminated while the image of its node is written', () => {
  it('of a node: the node is taken to its verdict, and nothing is written twice', async () => {
    const before = stage.recording('worker-1').upgradeRuns.length;
    await stage.upgrade('node-late', NEWER, ['worker-1', 'worker-2'], IN_ORDER);
    await isWriting('worker-1');
    await terminate(nodeID('worker-1'));

    expect((await stage.ended('node-late')).rollout).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 2 } });
    expectInService('worker-1', 'worker-2');
    expect(stage.recording('worker-1').upgradeRuns).toHaveLength(before + 1);
    expect(stage.kairosNode('worker-1').status.observedVersion).toBe(versionIn(NEWER));
    await stage.cleanedUp();
  }, 90_000);

  it('of a wave: its nodes are taken to their verdicts, and the rollout stops and says so', async () => {
    await stage.upgrade('wave-late', NEW, ['worker-1', 'worker-2'], IN_ORDER);
    await isWriting('worker-1');
    const { generation = 1, attempt = 1 } = stage.status('wave-late')?.rollout ?? {};
    const request = {
      kind: 'NodeOpUpgrade',
      namespace: 'kairos-system',
      name: 'wave-late',
      uid: '',
      generation,
      attempt,
    } as const;
    await terminate(waveWorkflowID(stage.rolloutID('wave-late'), request, 'workers'));

    const { rollout } = await stage.ended('wave-late');
    expect(rollout).toMatchObject({ phase: 'Failed', verdicts: { Succeeded: 1 } });
    expect(rollout?.message).toContain('wave workers did not end by itself');
    expectInService('worker-1', 'worker-2');
    expect(stage.kairosNode('worker-1').status.observedVersion).toBe(versionIn(NEW));
    expect(stage.kairosNode('worker-2').status.observedVersion).toBe(versionIn(NEWER));
  }, 90_000);

  it('of a rollout, its wave and its node at once: the watcher takes the node to its verdict', async () => {
    const before = stage.recording('worker-1').upgradeRuns.length;
    await stage.upgrade('all-late', NEWER, ['worker-1']);
    await isWriting('worker-1');
    const request = {
      kind: 'NodeOpUpgrade',
      namespace: 'kairos-system',
      name: '',
      uid: '',
      generation: 1,
      attempt: 1,
    } as const;
    await terminate(stage.rolloutID('all-late'));
    await terminate(waveWorkflowID(stage.rolloutID('all-late'), request, 'workers'));
    await terminate(nodeID('worker-1'));

    expect((await stage.ended('all-late')).rollout).toMatchObject({ phase: 'Failed' });
    await stage.until(
      'the node is recovered',
      () => stage.kairosNode('worker-1').status,
      (status) => status.lastAttempt?.image === NEWER && status.lastAttempt.verdict === 'Succeeded',
      90_000,
    );
    await stage.until(
      'it is back',
      () => stage.node('worker-1'),
      (node) => !node.unschedulable && node.owner === undefined,
    );
    expect(stage.recording('worker-1').upgradeRuns).toHaveLength(before + 1);
    await stage.cleanedUp();
  }, 120_000);
});
