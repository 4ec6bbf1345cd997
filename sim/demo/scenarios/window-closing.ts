import { GOOD, NEW, versionIn } from './images.ts';
import { notOn, promise } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { WORKERS, workers } from './workers.ts';

const NAME = 'hadron-v4.0.3';
const OPEN_SECONDS = 45;
const MINUTE_MS = 60_000;
/** A node that was let in when the window was open is cordoned shortly afterwards. */
const LET_IN_MS = 3_000;

/** A window that is open for three quarters of every minute: it closes with nodes left, and they wait for the next one. */
export const windowClosing: Scenario = {
  name: 'window-closing',
  summary: 'a maintenance window closes half-way: nodes in hand are finished, the others wait for the next one',
  controlPlane: 1,
  workers: 5,
  images: GOOD,
  async play(theatre) {
    const all = workers(5);
    theatre.say(`The window is open in the first ${OPEN_SECONDS} seconds of each minute.`);
    theatre.apply({
      name: NAME,
      spec: {
        image: NEW,
        nodeSelector: WORKERS,
        strategy: {
          maxUnavailable: 1,
          soak: '1s',
          waves: [{ name: 'workers' }],
          windows: [{ cron: '* * * * *', duration: `${OPEN_SECONDS}s`, timeZone: 'UTC' }],
        },
      },
    });
    const next = await theatre.until(
      'it waits for the next window',
      () => theatre.upgrade(NAME)?.status?.rollout?.nextWindow,
    );
    theatre.say(`The next window opens at ${next}.`);
    const end = await theatre.ended(NAME, { withinMs: 6 * MINUTE_MS });
    const starts = all.map((name) => ({ name, at: theatre.kairosNode(name).status.lastAttempt?.startedAt ?? '' }));
    const outside = starts.filter(({ at }) => Date.parse(at) % MINUTE_MS > OPEN_SECONDS * 1000 + LET_IN_MS);
    const minutes = new Set(starts.map(({ at }) => Math.floor(Date.parse(at) / MINUTE_MS)));
    return [
      promise('the rollout is Completed', end.phase !== 'Completed' && `${end.phase}: ${end.message ?? ''}`),
      promise(`every worker runs ${versionIn(NEW)}`, ...notOn(theatre, all, versionIn(NEW))),
      promise('no node was started while the window was closed', ...outside.map(({ name, at }) => `${name} at ${at}`)),
      promise('it took more than one window', minutes.size < 2 && 'one was enough: nothing is proven'),
    ];
  },
};
