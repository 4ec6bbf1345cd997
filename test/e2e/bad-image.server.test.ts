import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { checkFallback, checkInvariants, type Evidence, type Invariant } from '../../sim/invariants.ts';
import { readNodes } from '../../sim/read-nodes.ts';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 2 });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

async function evidence(target: string): Promise<Evidence> {
  const { moments, breaches } = stage.observer;
  const recordings = stage.cluster.recordings();
  return { target, maxUnavailable: 2, moments, breaches, recordings, ...(await readNodes(stage.client)) };
}

const broken = (invariants: Invariant[]) => invariants.filter(({ broken }) => broken.length > 0);

describe('an image that does not boot', () => {
  const nodes = ['worker-1', 'worker-2'];

  it('costs the first node its fallback, stops the rollout, and touches no other', async () => {
    const from = stage.kairosNode('cp-1').status.observedVersion ?? '';
    stage.cluster.makeImageBad(NEW);
    await stage.upgrade('bad', NEW, undefined, { strategy: { maxUnavailable: 2 } });
    const status = await stage.ended('bad');

    expect(status).toMatchObject({ phase: 'Failed', rollout: { verdicts: { RolledBack: 1 } }, nodes: { failed: 1 } });
    expect(status.rollout?.message).toMatch(/cp-1 .*RolledBack/);
    expect(broken(checkFallback({ ...(await evidence(versionIn(NEW))), fallen: 'cp-1', from }))).toEqual([]);
    for (const name of nodes) expect(stage.recording(name)).toMatchObject({ upgradeRuns: [], outages: [] });
  }, 90_000);

  it('is mended under another tag: an edit upgrades every node, the fallen one from its passive image included', async () => {
    expect(stage.cluster.machine('cp-1').slot).toBe('passive');
    const generation = await stage.editImage('bad', NEWER);
    const status = await stage.ended('bad', generation);

    expect(status).toMatchObject({ phase: 'Completed', nodes: { summary: '3/3', failed: 0 } });
    const now = await evidence(versionIn(NEWER));
    expect(broken(checkInvariants({ ...now, writes: { 'cp-1': 2 } }))).toEqual([]);
    expect(stage.cluster.machine('cp-1').slot).toBe('active');
    await stage.cleanedUp();
  }, 120_000);
});
