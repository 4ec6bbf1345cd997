import { setTimeout as sleep } from 'node:timers/promises';
import { PAUSE_ANNOTATION } from '../../../api/names.ts';
import { GOOD, NEW, NEWER, versionIn } from './images.ts';
import { notOn, promise } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { WORKERS, workers } from './workers.ts';

const NAME = 'hadron';
/** Longer than a node takes from its start to its cordon: one that is started meanwhile would be seen. */
const WATCHED_MS = 8_000;

/** Paused with a node past its point of no return; resumed; then another image is asked for in the middle. */
export const pauseResumeRetarget: Scenario = {
  name: 'pause-resume-retarget',
  summary: 'paused and resumed half-way, then edited to another image: every node ends on the last one asked for',
  controlPlane: 1,
  workers: 5,
  images: GOOD,
  async play(theatre) {
    const { cluster, observer } = theatre.stand;
    const all = workers(5);
    const written = () => cluster.recordings().filter(({ upgradeRuns }) => upgradeRuns.length > 0);
    const inHand = () => [...observer.nodes.values()].filter(({ owner }) => owner !== undefined);
    theatre.apply({
      name: NAME,
      spec: {
        image: NEW,
        nodeSelector: WORKERS,
        strategy: { maxUnavailable: 1, soak: '1s', waves: [{ name: 'workers' }] },
      },
    });

    await theatre.until('a node is written', () => written().length === 1 || undefined);
    theatre.annotate(NAME, PAUSE_ANNOTATION, 'disk alarm in rack 4');
    await theatre.until('the rollout is paused', () => theatre.upgrade(NAME)?.status?.phase === 'Paused' || undefined);
    await theatre.until('no node is in hand', () => inHand().length === 0 || undefined);
    const before = written().length;
    await sleep(WATCHED_MS, undefined, { signal: theatre.signal });
    const startedInPause = written()
      .map(({ node }) => node)
      .slice(before);
    theatre.annotate(NAME, PAUSE_ANNOTATION, null);

    await theatre.until('the next node is written', () => written().length === before + 1 || undefined);
    theatre.say('In the middle of it, another image is asked for.');
    theatre.edit(NAME, { image: NEWER });
    const end = await theatre.ended(NAME, { generation: 2 });
    const twice = cluster.recordings().filter(({ upgradeRuns }) => upgradeRuns.length > 1);
    return [
      promise('paused, no node was started', ...startedInPause),
      promise('the last rollout is Completed', end.phase !== 'Completed' && `${end.phase}: ${end.message ?? ''}`),
      promise(`every worker runs ${versionIn(NEWER)}`, ...notOn(theatre, all, versionIn(NEWER))),
      promise(
        'nodes that had got the first image were taken to their verdict, then upgraded to the other; no other node got the first',
        twice.length !== before + 1 && `${twice.length} nodes were written twice, ${before + 1} had begun`,
      ),
    ];
  },
};
