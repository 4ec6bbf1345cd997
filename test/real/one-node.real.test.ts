import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { IMAGES, startRealStage, VERSIONS, type RealStage } from './stage.ts';

const MINUTE = 60_000;
let stage: RealStage;
const say = (line: string) => process.stderr.write(`${line}\n`);

beforeAll(async () => {
  stage = await startRealStage([{ name: 'node1', role: 'control-plane', temporal: true }], say);
  const onItsDisk = 'hostPath=/usr/local/kairos-temporal,embeddedTemporal.persistence.nodeName=node1';
  const tookMs = await stage.install('--set', `embeddedTemporal.persistence.${onItsDisk}`);
  say(`helm install until ready: ${(tookMs / 1000).toFixed(1)} s`);
}, 15 * MINUTE);

afterAll(async () => {
  await stage?.stop();
}, 2 * MINUTE);

describe('a cluster of one node', () => {
  it(
    'upgrades itself: API server, Temporal, watcher and worker die with its reboot and go on after it',
    async () => {
      await stage.upgrade('self', IMAGES.new, { strategy: { soak: '2s' } });
      const status = await stage.ended('self', 6 * MINUTE);
      expect(status).toMatchObject({ phase: 'Completed', nodes: { summary: '1/1', failed: 0 } });
      expect(status.rollout?.verdicts).toEqual({ Succeeded: 1 });
      const [recording] = stage.recordings();
      expect(recording?.boots.map(({ slot }) => slot)).toEqual(['active', 'active']);
      expect(recording?.upgradeRuns.map(({ exitCode }) => exitCode)).toEqual([0]);
      const node = stage.observer.nodes.get('node1');
      expect(node).toMatchObject({ ready: true, unschedulable: false });
      expect(node?.owner).toBeUndefined();
      expect(stage.kairosNodes.get('node1')?.status).toMatchObject({
        observedVersion: VERSIONS.new,
        bootID: node?.bootID,
        bootState: 'active',
      });
    },
    8 * MINUTE,
  );

  it(
    'falls back for real when the next image does not boot, and says so',
    async () => {
      await stage.upgrade('bad', IMAGES.bad, { strategy: { soak: '2s' } });
      const status = await stage.ended('bad', 6 * MINUTE);
      expect(status).toMatchObject({ phase: 'Failed', rollout: { verdicts: { RolledBack: 1 } } });
      const [recording] = stage.recordings();
      expect(recording?.boots.map(({ slot }) => slot)).toEqual(['active', 'active', 'active', 'passive']);
      expect(stage.kairosNodes.get('node1')?.status).toMatchObject({
        observedVersion: VERSIONS.new,
        bootState: 'passive',
        lastAttempt: { verdict: 'RolledBack' },
      });
      expect(stage.observer.nodes.get('node1')).toMatchObject({ ready: true, unschedulable: false });
    },
    8 * MINUTE,
  );
});
