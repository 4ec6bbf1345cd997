import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { planChaos } from '../../sim/chaos.ts';
import { killedTooRarely, startChaos } from '../../sim/chaos-run.ts';
import { checkInvariants } from '../../sim/invariants.ts';
import { readNodes } from '../../sim/read-nodes.ts';
import { NEW, startStage, versionIn, type Stage } from './stage.ts';

const SEED = 3;
/** What the upgrade of these nodes takes at least, one after the other. */
const UNDISTURBED_MS = 15_000;

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 2, outliveApiServer: true });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

describe('a rollout during which worker, watcher, Temporal, API server and agents are killed', () => {
  it('completes, with every promise kept', async () => {
    const { cluster, product, temporalServer, observer } = stage;
    await observer.synced();
    const plan = planChaos({ seed: SEED, durationMs: UNDISTURBED_MS, nodes: cluster.nodes() });
    const told: string[] = [];
    await stage.upgrade('chaos', NEW);
    const chaos = startChaos(plan, { cluster, product, temporal: temporalServer }, (part, what) =>
      told.push(`${part} ${what}`),
    );
    try {
      const status = await stage.ended('chaos');
      await chaos.finish();
      expect({ told, message: status.rollout?.message, phase: status.phase }).toMatchObject({ phase: 'Completed' });
      expect(status).toMatchObject({ nodes: { summary: '3/3', inFlight: 0, failed: 0 } });
    } finally {
      chaos.stop();
    }

    expect(killedTooRarely(chaos.kills)).toEqual([]);
    expect(chaos.ended).toEqual([]);
    const { moments, breaches } = observer;
    const recordings = cluster.recordings();
    const now = await readNodes(stage.client);
    const evidence = { target: versionIn(NEW), maxUnavailable: 1, moments, breaches, recordings, ...now };
    expect(checkInvariants(evidence).filter(({ broken }) => broken.length > 0)).toEqual([]);
    await stage.cleanedUp();
  }, 180_000);
});
