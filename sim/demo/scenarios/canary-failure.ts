import { promise } from './invariants.ts';
import { BAD, NEW } from './images.ts';
import type { Scenario } from './scenario.ts';
import { WORKERS, named } from './workers.ts';

/** Six workers, an image that does not boot: the canary pays for it with two reboots, and nobody else. */
export const canaryFailure: Scenario = {
  name: 'canary-failure',
  summary: 'an image that does not boot meets one canary; no other node is touched',
  controlPlane: 1,
  workers: 6,
  images: BAD,
  async play(theatre) {
    theatre.say('The image does not boot. The first worker is the canary.');
    theatre.apply({
      name: 'hadron-v4.0.3',
      spec: { image: NEW, nodeSelector: WORKERS, strategy: { maxUnavailable: 3, soak: '2s' } },
    });
    const end = await theatre.ended('hadron-v4.0.3');
    const recordings = theatre.stand.cluster.recordings();
    const [fallen, ...others] = recordings.filter(({ boots }) => boots.length > 1).map(({ node }) => node);
    const written = recordings.filter(({ upgradeRuns }) => upgradeRuns.length > 0).map(({ node }) => node);
    const status = fallen === undefined ? undefined : theatre.kairosNode(fallen).status;
    return [
      promise('the rollout ended as Failed, and says why', end.phase !== 'Failed' && `it ended as ${end.phase}`),
      promise(
        'it names the node that fell back',
        fallen === undefined ? 'no node fell back' : end.message?.includes(fallen) !== true && (end.message ?? ''),
      ),
      promise(
        'the canary serves again on what it ran before, from its passive image',
        status?.lastAttempt?.verdict !== 'RolledBack' && `its verdict is ${status?.lastAttempt?.verdict ?? 'none'}`,
        status?.bootState !== 'passive' && `it runs from ${status?.bootState ?? 'nowhere'}`,
      ),
      promise('no other node was rebooted or written', ...others, ...named(written, fallen)),
    ];
  },
};
