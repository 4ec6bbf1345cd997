import { GOOD, NEW, versionIn } from './images.ts';
import { notOn, promise } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { WORKERS, workers } from './workers.ts';

const NAME = 'hadron-v4.0.3';
const BROKEN = ['worker-2', 'worker-4', 'worker-5'] as const;
const MAX_FAILED = 1;

/** Three machines on which the write fails, one allowed: the rollout ends after the second, and nothing new is started. */
export const failureBudget: Scenario = {
  name: 'failure-budget',
  summary: 'one failure is allowed: the second one stops the rollout, nodes in hand are finished',
  controlPlane: 1,
  workers: 8,
  images: GOOD,
  async play(theatre) {
    const { cluster } = theatre.stand;
    for (const name of BROKEN) cluster.machine(name).faults.upgradeFails = 'No space left on device';
    theatre.say(`The disks of ${BROKEN.join(', ')} are full: an image cannot be written there.`);
    theatre.apply({
      name: NAME,
      spec: {
        image: NEW,
        nodeSelector: WORKERS,
        strategy: { maxUnavailable: 3, maxFailed: MAX_FAILED, soak: '1s', waves: [{ name: 'workers' }] },
      },
    });
    const end = await theatre.ended(NAME);
    const failed = (end.failed ?? []).map(({ name }) => name);
    const tried = cluster.recordings().filter(({ upgradeRuns }) => upgradeRuns.length > 0);
    const good = tried.filter(({ node }) => !failed.includes(node)).map(({ node }) => node);
    const untouched = workers(8).filter((name) => !tried.some(({ node }) => node === name));
    const secondAtMs = tried
      .filter(({ node }) => failed.includes(node))
      .map(({ node }) => Date.parse(theatre.kairosNode(node).status.lastAttempt?.finishedAt ?? ''))
      .sort((a, b) => a - b)[MAX_FAILED];
    const late = tried.filter(({ node }) => {
      const { startedAt } = theatre.kairosNode(node).status.lastAttempt ?? {};
      return secondAtMs !== undefined && startedAt !== undefined && Date.parse(startedAt) > secondAtMs + 1000;
    });
    return [
      promise('the rollout ended as Failed', end.phase !== 'Failed' && `it ended as ${end.phase}`),
      promise(
        'more nodes failed than are allowed, and each is named',
        failed.length <= MAX_FAILED && `${failed.length} failed`,
        ...failed.map((name) => end.message?.includes(name) !== true && name),
      ),
      promise('no node was started after that', ...late.map(({ node }) => node)),
      promise('nodes were left untouched', untouched.length === 0 && 'none was left'),
      promise('nodes in hand were finished', ...notOn(theatre, good, versionIn(NEW))),
    ];
  },
  heldBack: BROKEN,
};
