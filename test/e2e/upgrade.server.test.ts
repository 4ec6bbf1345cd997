import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MANAGED_LABEL } from '../../api/names.ts';
import { checkInvariants } from '../../sim/invariants.ts';
import { NEW, startStage, versionIn, type Stage } from './stage.ts';

const NODES = ['cp-1', 'worker-1', 'worker-2', 'worker-3'];

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 3 });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

describe('a cluster of one control-plane node and three workers', () => {
  it('is upgraded, two workers at once, with every promise kept', async () => {
    await stage.upgrade('all', NEW, undefined, { strategy: { maxUnavailable: 2 } });
    const status = await stage.ended('all');

    expect(status).toMatchObject({ phase: 'Completed', nodes: { summary: '4/4', inFlight: 0, failed: 0 } });
    expect(status.rollout?.verdicts).toEqual({ Succeeded: 4 });
    const { observer, cluster, kairosNodes } = stage;
    const invariants = checkInvariants({
      target: versionIn(NEW),
      maxUnavailable: 2,
      moments: observer.moments,
      breaches: observer.breaches,
      nodes: [...observer.nodes.values()],
      kairosNodes: [...kairosNodes.values()],
      recordings: cluster.recordings(),
    });
    expect(invariants.filter(({ broken }) => broken.length > 0)).toEqual([]);
    expect(observer.moments.some(({ workers }) => workers.length === 2)).toBe(true);
  }, 120_000);

  it('leaves no pod and no Job of ours behind', async () => {
    await stage.cleanedUp();
  });

  it('ties every KairosNode to its Node, and labels the Node as managed', () => {
    for (const name of NODES) {
      expect(stage.kairosNode(name).ownerUID).toBe(stage.node(name).uid);
      expect(stage.node(name).labels[MANAGED_LABEL]).toBe('true');
    }
  });

  it('is not touched by a second NodeOpUpgrade to the image that it runs', async () => {
    const before = stage.cluster.recordings();
    stage.forgetTouched();
    await stage.upgrade('again', NEW, undefined, { strategy: { maxUnavailable: 2 } });
    const status = await stage.ended('again');

    expect(status).toMatchObject({ phase: 'Completed', nodes: { summary: '4/4', inFlight: 0, failed: 0 } });
    expect(status.rollout?.verdicts).toEqual({ AlreadyOnTarget: 4 });
    expect(stage.cluster.recordings()).toEqual(before);
    expect(stage.touched).toEqual([]);
    await stage.cleanedUp();
  }, 120_000);
});
