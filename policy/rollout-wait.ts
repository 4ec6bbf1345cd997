import type { ClosedGate } from './gates.ts';
import { timeText } from './window-gate.ts';

/** What a whole rollout waits for, and not only one of its nodes. */
export interface RolloutWait {
  reason: string;
  /** RFC 3339. */
  nextWindow?: string;
}

/** What stands between what a rollout does and what it waits for. */
const BETWEEN = '; waiting: ';
/** Characters of `status.rollout.message`. */
const LONGEST = 4000;

/** A gate as a wait of the whole rollout, or undefined where it is one of a single node. */
export function rolloutWait(closed: ClosedGate | undefined): RolloutWait | undefined {
  if (closed === undefined || (closed.gate !== 'Window' && closed.gate !== 'Health')) return undefined;
  const { reason, opensAtMs } = closed;
  return { reason, ...(opensAtMs === undefined ? {} : { nextWindow: timeText(opensAtMs) }) };
}

/** What such a message says that the whole rollout waits for; undefined: nothing. */
export const waitIn = (message: string): string | undefined => message.split(BETWEEN)[1];

/** The message of a rollout with what it waits for, in the place of what it waited for before. */
export function withWait(message: string, reason: string | undefined): string {
  const [before = ''] = message.split(BETWEEN);
  if (reason === undefined) return before;
  return `${before.slice(0, Math.max(0, LONGEST - BETWEEN.length - reason.length))}${BETWEEN}${reason}`.slice(
    0,
    LONGEST,
  );
}
