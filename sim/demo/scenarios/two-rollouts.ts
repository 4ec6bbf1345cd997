import { GOOD, NEW, NEWER, versionIn } from './images.ts';
import { mostOut, notOn, promise } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { these } from './workers.ts';

const [FIRST, SECOND] = ['rack-a', 'rack-b'] as const;
const SHARED = 'worker-3';

/** Two NodeOpUpgrades at once, with nodes of their own and one that both want: the newer one gets it. */
export const twoRollouts: Scenario = {
  name: 'two-rollouts',
  summary: 'two rollouts at once, one node wanted by both: the newer one gets it, and one budget holds for both',
  controlPlane: 2,
  workers: 5,
  images: GOOD,
  async play(theatre) {
    const strategy = { maxUnavailable: 2, soak: '2s', waves: [{ name: 'workers' }] };
    theatre.apply({
      name: FIRST,
      spec: { image: NEW, nodeSelector: these('cp-1', 'worker-1', 'worker-2', SHARED), strategy },
    });
    await theatre.until(
      'the first rollout runs',
      () => theatre.upgrade(FIRST)?.status?.rollout?.phase === 'Running' || undefined,
    );
    theatre.apply({
      name: SECOND,
      spec: { image: NEWER, nodeSelector: these('cp-2', SHARED, 'worker-4', 'worker-5'), strategy },
    });
    const [first, second] = await Promise.all([theatre.ended(FIRST), theatre.ended(SECOND)]);
    const { observer } = theatre.stand;
    const most = mostOut(observer.moments);
    return [
      promise(
        'both rollouts are Completed',
        ...[first, second].map((end) => end.phase !== 'Completed' && `${end.phase}: ${end.message ?? ''}`),
      ),
      promise(
        `what only ${FIRST} wants runs ${versionIn(NEW)}`,
        ...notOn(theatre, ['cp-1', 'worker-1', 'worker-2'], versionIn(NEW)),
      ),
      promise(
        `what ${SECOND} wants runs ${versionIn(NEWER)}, ${SHARED} too`,
        ...notOn(theatre, ['cp-2', SHARED, 'worker-4', 'worker-5'], versionIn(NEWER)),
      ),
      promise(
        `${SHARED} was written once, for the newer one`,
        theatre.recording(SHARED).upgradeRuns.length !== 1 && `${theatre.recording(SHARED).upgradeRuns.length} times`,
      ),
      promise('never more than 2 workers out, over both', most > 2 && `${most} were out`),
    ];
  },
};
