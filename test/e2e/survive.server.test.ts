import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 2, workerNodes: 3 });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

function expectServing(nodes: string[], image: string): void {
  for (const name of nodes) {
    expect(stage.node(name)).toMatchObject({ ready: true, unschedulable: false });
    expect(stage.node(name).owner).toBeUndefined();
    const { observedVersion, lastAttempt } = stage.kairosNode(name).status;
    expect({ name, observedVersion, verdict: lastAttempt?.verdict }).toEqual({
      name,
      observedVersion: versionIn(image),
      verdict: 'Succeeded',
    });
  }
}

describe('two rollouts at once, each with a control-plane node and workers of its own', () => {
  it('both complete, and never are two control-plane nodes out', async () => {
    const own = { left: ['cp-1', 'worker-1'], right: ['cp-2', 'worker-2', 'worker-3'] };
    await Promise.all(Object.entries(own).map(([name, nodes]) => stage.upgrade(name, NEW, nodes)));
    const ends = await Promise.all(Object.keys(own).map((name) => stage.ended(name)));

    expect(ends.map(({ phase, nodes }) => [phase, nodes?.summary])).toEqual([
      ['Completed', '2/2'],
      ['Completed', '3/3'],
    ]);
    expectServing(stage.cluster.nodes(), NEW);
    const together = (isControlPlane: boolean) =>
      stage.outages.map((out) =>
        out.filter(({ controlPlane }) => controlPlane === isControlPlane).map(({ name }) => name),
      );
    expect(new Set(together(true).flat())).toEqual(new Set(['cp-1', 'cp-2']));
    expect(together(true).filter((names) => names.length > 1)).toEqual([]);
    // maxUnavailable is 1 for both: the nodes of the other rollout count against it.
    expect(together(false).filter((names) => names.length > 1)).toEqual([]);
    expect(stage.cluster.recordings().map(({ upgradeRuns }) => upgradeRuns.length)).toEqual([1, 1, 1, 1, 1]);
  }, 180_000);
});

describe('a worker of the operator that is killed while the image of a node is written', () => {
  it('goes on where it was when it is back, and writes no image twice', async () => {
    const nodes = ['worker-1', 'worker-2'];
    await stage.upgrade('killed', NEWER, nodes);
    const written = () => nodes.flatMap((name) => stage.recording(name).upgradeRuns.slice(1));
    await stage.until('an image is written', written, (runs) => runs.some(({ exitCode }) => exitCode === -1));
    await stage.product.worker.kill('SIGKILL');
    expect(stage.product.worker.running).toBe(false);
    await stage.until('the writing ends meanwhile', written, (runs) => runs.every(({ exitCode }) => exitCode === 0));
    await stage.product.worker.start();

    expect(await stage.ended('killed')).toMatchObject({ phase: 'Completed', nodes: { summary: '2/2' } });
    expectServing(nodes, NEWER);
    expect(written()).toMatchObject([{ exitCode: 0 }, { exitCode: 0 }]);
    for (const name of nodes) expect(stage.recording(name).boots).toHaveLength(3);
    await stage.cleanedUp();
  }, 180_000);
});
