import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import type { NodeResult } from '../../api/messages.ts';
import { IMAGE, nodes, startRig, until, type Rig } from './rig.ts';
import { Gate, targetOf, type Answers } from './stubs.ts';
import { mostAtOnce, mostInHand } from './windows.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(20_000);

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
}, 60_000);

afterAll(async () => {
  await rig?.stop();
}, 30_000);

const budget = (places: number) => ({ group: 'worker', budget: places }) as const;
/** The image of one node cannot be written. */
const failing = (name: string): Answers => ({
  writeImage: ({ hand }) =>
    hand.node.name === name ? { outcome: 'Failed', message: 'no space left' } : { outcome: 'Written' },
});
const ended = (node: string, verdict: NodeResult['verdict']) => `${node} ${verdict}`;

describe('the window of a wave', () => {
  it('uses every place and never one more; a slow node holds nobody up', async () => {
    const slow = new Gate();
    const { handle, script } = await rig.startWave({
      nodes: nodes(9),
      place: budget(3),
      spec: { prePullAhead: 2 },
      answers: {
        drainNode: async ({ node }) => {
          if (node.name === 'w-1') await slow.wait();
          return { outcome: 'Drained' };
        },
      },
    });
    await until('the eight others have ended', () => script.ends().length === 8);
    expect(script.ends()).not.toContain(ended('w-1', 'Succeeded'));
    slow.open();
    expect(await handle.result()).toMatchObject({ verdicts: { Succeeded: 9 }, failed: [], untouched: 0 });
    expect(await mostInHand(handle)).toBe(3);
    expect(await mostAtOnce(handle, 'prePullImage')).toBe(2);
  });

  it('has all places in hand at once while every node is slow', async () => {
    const slow = new Gate();
    const { handle, script } = await rig.startWave({
      nodes: nodes(5),
      place: budget(3),
      answers: { drainNode: () => slow.wait().then(() => ({ outcome: 'Drained' })) },
    });
    await until('three drain', () => script.nodes('drainNode').length === 3);
    // Images are pulled for two more, ahead of their places, and no node beyond the budget is asked for.
    await until('all images are pulled', () => script.nodes('prePullImage').length === 5);
    expect(script.nodes('checkGates')).toHaveLength(3);
    slow.open();
    await handle.result();
    expect(await mostInHand(handle)).toBe(3);
  });

  it('pulls no further ahead than it was told while no place is free', async () => {
    const slow = new Gate();
    const { handle, script } = await rig.startWave({
      nodes: nodes(6),
      place: budget(1),
      spec: { prePullAhead: 1 },
      answers: { drainNode: () => slow.wait().then(() => ({ outcome: 'Drained' })) },
    });
    await until('one drains and one is pulled ahead', () => script.nodes('prePullImage').length === 2);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(script.nodes('prePullImage')).toEqual(['w-1', 'w-2']);
    slow.open();
    expect(await handle.result()).toMatchObject({ verdicts: { Succeeded: 6 } });
    expect(await mostAtOnce(handle, 'prePullImage')).toBe(1);
    expect(script.nodes('endNode')).toEqual(['w-1', 'w-2', 'w-3', 'w-4', 'w-5', 'w-6']);
  });
});

describe('a node that its drain skipped', () => {
  const skipping: Answers = {
    drainNode: ({ node }) =>
      node.name === 'w-1' ? { outcome: 'Skipped', message: 'held by PodDisruptionBudget pg' } : { outcome: 'Drained' },
  };

  it('does not stop the others, and is among those that did not reach the target', async () => {
    const { handle } = await rig.startWave({ nodes: nodes(3), place: budget(1), answers: skipping });
    expect(await handle.result()).toMatchObject({
      verdicts: { Skipped: 1, Succeeded: 2 },
      failed: [{ name: 'w-1', verdict: 'Skipped' }],
      untouched: 0,
    });
  });

  it('of the control plane does', async () => {
    const { handle } = await rig.startWave({
      nodes: nodes(2),
      place: { group: 'control-plane', budget: 1 },
      answers: skipping,
    });
    const result = await handle.result();
    expect(result).toMatchObject({ verdicts: { Skipped: 1 }, untouched: 1 });
    expect(result.stopped).toMatch(/^node w-1 ended as Skipped/);
  });
});

describe('a node that cannot start yet', () => {
  it('waits once for its place and is tried again after the others', async () => {
    const asked: string[] = [];
    const { handle, script } = await rig.startWave({
      nodes: nodes(3),
      spec: { prePullAhead: 3 },
      answers: {
        checkGates: ({ node }) => {
          asked.push(node.name);
          return asked.length === 1
            ? { answer: 'Wait', reason: `node ${node.name} is not Ready` }
            : { answer: 'Go', bootID: 'boot-1' };
        },
        // All images are there before the node comes back, so that there is a queue with an end.
        waitForPlace: async () => {
          await until('the others are pulled', () => script.nodes('prePullImage').length === 3);
          await new Promise((resolve) => setTimeout(resolve, 200));
          return { open: true };
        },
      },
    });
    expect(await handle.result()).toMatchObject({ verdicts: { Succeeded: 3 } });
    const [late] = asked;
    expect(asked.slice(0, 3).sort()).toEqual(['w-1', 'w-2', 'w-3']);
    expect(asked.slice(3)).toEqual([late]);
    expect(script.inputs('waitForPlace')).toMatchObject([
      { node: { name: late }, place: { budget: 1 }, reason: `node ${late} is not Ready` },
    ]);
    expect(script.nodes('prePullImage')).toHaveLength(3);
  });

  it('ends as Skipped when its place did not come in time', async () => {
    const { handle, script } = await rig.startWave({
      nodes: nodes(2),
      spec: { stopOnFailure: false },
      answers: {
        checkGates: ({ node }) =>
          node.name === 'w-1' ? { answer: 'Wait', reason: 'cordoned' } : { answer: 'Go', bootID: 'boot-1' },
        waitForPlace: () => ({ open: false, reason: 'waited for its place in vain: cordoned' }),
      },
    });
    expect(await handle.result()).toMatchObject({
      verdicts: { Skipped: 1, Succeeded: 1 },
      failed: [{ name: 'w-1', verdict: 'Skipped', message: 'waited for its place in vain: cordoned' }],
    });
    expect(script.ends()).toEqual([ended('w-2', 'Succeeded')]);
  });

  it('waits while another rollout has it in hand, and goes on when that has ended', async () => {
    const [shared] = nodes(1);
    if (shared === undefined) throw new Error('one node was asked for');
    const held = new Gate();
    const other = await rig.startNode({
      nodes: [shared],
      answers: { drainNode: () => held.wait().then(() => ({ outcome: 'Drained' })) },
    });
    const { handle, script } = await rig.startWave({
      nodes: [shared],
      answers: {
        waitForPlace: async () => {
          held.open();
          await other.handle.result();
          return { open: true };
        },
      },
    });
    expect(await handle.result()).toMatchObject({ verdicts: { Succeeded: 1 } });
    expect(script.inputs('waitForPlace')).toMatchObject([{ reason: 'another rollout has node w-1 in hand' }]);
  });
});

describe('a failure', () => {
  it('stops the wave: nodes in hand are finished, no other is started', async () => {
    const slow = new Gate();
    const { handle, script } = await rig.startWave({
      nodes: nodes(6),
      place: budget(2),
      spec: { stopOnFailure: true, prePullAhead: 1 },
      answers: {
        ...failing('w-1'),
        drainNode: async ({ node }) => {
          if (node.name === 'w-2') await slow.wait();
          return { outcome: 'Drained' };
        },
      },
    });
    await until('w-1 failed, w-2 drains', () => script.ends().length === 1 && script.nodes('drainNode').length === 2);
    await new Promise((resolve) => setTimeout(resolve, 300));
    slow.open();
    expect(await handle.result()).toMatchObject({
      verdicts: { UpgradeFailed: 1, Succeeded: 1 },
      failed: [{ name: 'w-1', verdict: 'UpgradeFailed', message: 'no space left' }],
      untouched: 4,
      stopped: 'node w-1 ended as UpgradeFailed: no space left',
    });
    expect(script.nodes('checkGates')).toEqual(['w-1', 'w-2']);
  });

  it('does not stop a wave that was told to go on', async () => {
    const { handle } = await rig.startWave({
      nodes: nodes(4),
      place: budget(2),
      spec: { stopOnFailure: false },
      answers: failing('w-1'),
    });
    const result = await handle.result();
    expect(result).toMatchObject({ verdicts: { UpgradeFailed: 1, Succeeded: 3 }, untouched: 0 });
    expect(result.stopped).toBeUndefined();
  });

  it('of a control-plane node stops the wave whatever it was told', async () => {
    const { handle, script } = await rig.startWave({
      nodes: nodes(3, 'cp'),
      place: { group: 'control-plane', budget: 1 },
      spec: { stopOnFailure: false },
      answers: failing('cp-1'),
    });
    expect(await handle.result()).toMatchObject({ verdicts: { UpgradeFailed: 1 }, untouched: 2 });
    expect(script.nodes('checkGates')).toEqual(['cp-1']);
  });

  it('does not leave the wave waiting for the place of a node that will not be started any more', async () => {
    const never = new Gate();
    const { handle, script } = await rig.startWave({
      nodes: nodes(2),
      place: budget(2),
      spec: { stopOnFailure: true },
      answers: {
        checkGates: ({ node }) =>
          node.name === 'w-1' ? { answer: 'Wait', reason: 'cordoned' } : { answer: 'Go', bootID: 'boot-1' },
        waitForPlace: () => never.wait().then(() => ({ open: true })),
        writeImage: async () => {
          await until('w-1 waits', () => script.nodes('waitForPlace').length === 1);
          return { outcome: 'Failed', message: 'no space left' };
        },
      },
    });
    expect(await handle.result()).toMatchObject({ verdicts: { UpgradeFailed: 1 }, untouched: 1 });
  });

  it('ends the pulls that nobody needs any more', async () => {
    const never = new Gate();
    const { handle, script } = await rig.startWave({
      nodes: nodes(3),
      spec: { stopOnFailure: true },
      answers: {
        prePullImage: async ({ node, spec }) => {
          if (node.name !== 'w-1') await never.wait();
          return targetOf(spec.image);
        },
        writeImage: async () => {
          await until('the others pull', () => script.nodes('prePullImage').length === 3);
          return { outcome: 'Failed', message: 'no space left' };
        },
      },
    });
    expect(await handle.result()).toMatchObject({ verdicts: { UpgradeFailed: 1 }, untouched: 2 });
  });

  it.each([{ kind: 'NodeOpUpgrade' as const }, { kind: 'KairosNode' as const }])(
    'of a pre-pull is the failure of its node, and told there ($kind)',
    async ({ kind }) => {
      const { handle, script } = await rig.startWave({
        kind,
        nodes: nodes(2),
        spec: { stopOnFailure: false },
        answers: {
          prePullImage: ({ node, spec }) => {
            if (node.name === 'w-1') throw ApplicationFailure.nonRetryable('image not found', 'Invalid');
            return targetOf(spec.image);
          },
        },
      });
      expect(await handle.result()).toMatchObject({
        verdicts: { Failed: 1, Succeeded: 1 },
        failed: [{ name: 'w-1', verdict: 'Failed', message: 'image not found' }],
      });
      expect(script.nodes('checkGates')).toEqual(['w-2']);
      expect(script.nodes('settleNode')).toEqual(['w-1']);
    },
  );

  it('is what a tag that moved means: no node gets the other image', async () => {
    const { handle, script } = await rig.startWave({
      nodes: nodes(3),
      spec: { prePullAhead: 1, stopOnFailure: false },
      answers: {
        prePullImage: ({ node }) => ({ ...targetOf(IMAGE), digest: node.name === 'w-1' ? 'sha256:1' : 'sha256:2' }),
      },
    });
    const result = await handle.result();
    expect(result).toMatchObject({ verdicts: { Succeeded: 1 }, untouched: 2 });
    expect(result.stopped).toContain('changed during the rollout: it was v2 (sha256:1) and now is v2 (sha256:2)');
    expect(script.nodes('checkGates')).toEqual(['w-1']);
  });

  it('is not what an old copy on a node means: the registry is asked once more', async () => {
    const { handle, script } = await rig.startWave({
      nodes: nodes(3),
      spec: { prePullAhead: 1 },
      answers: {
        prePullImage: ({ node, again }) => ({
          ...targetOf(IMAGE),
          digest: node.name === 'w-2' && again !== true ? 'sha256:2' : 'sha256:1',
        }),
      },
    });
    expect(await handle.result()).toMatchObject({ verdicts: { Succeeded: 3 }, untouched: 0 });
    expect(script.nodes('prePullImage')).toEqual(['w-1', 'w-2', 'w-2', 'w-3']);
  });

  it('that no node of the group may have stops the wave before any is touched', async () => {
    const refused =
      "Kubernetes 1.34 in the image is newer than the control plane's 1.33: upgrade the control plane first";
    const { handle, script } = await rig.startWave({
      nodes: nodes(3),
      spec: { stopOnFailure: false },
      answers: { prePullImage: () => ({ ...targetOf(IMAGE), refused }) },
    });
    expect(await handle.result()).toMatchObject({ verdicts: {}, failed: [], untouched: 3, stopped: refused });
    expect(script.nodes('checkGates')).toEqual([]);
    expect(script.nodes('settleNode')).toEqual([]);
  });
});
