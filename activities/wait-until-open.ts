import type { RolloutContext } from '../api/messages.ts';
import type { ClosedGate } from '../policy/gates.ts';
import { type ClusterView, untilSeen } from './cluster-view.ts';
import { Patience } from './patience.ts';
import { DeadlinePassed, firstOf, pause, waitInActivity } from './waiting.ts';

/** How often what is waited for is looked at where no watch tells: Leases that run out, windows, and what is shown of it. */
const LOOK_MS = 1000;
/** How often while a window is closed, which may be for days; it is looked at the moment it opens. */
const CLOSED_LOOK_MS = 30_000;

/**
 * `remark`: what a person should know of how it opened. `supersededBy`: the NodeOpUpgrade, as namespace/name, that the
 * node is left to. `stop`: why nothing else of the wave is to be started either.
 */
export type PlaceAnswer =
  { open: true; remark?: string } | { open: false; reason: string; supersededBy?: string; stop?: string };

/** What is waited for: a gate, or something else that has a reason. */
export type Shut = Pick<ClosedGate, 'reason' | 'opensAtMs' | 'endsByItself' | 'deadline'>;

/**
 * Waits until nothing is closed: woken by the watches, and looking by itself once a second, after `look`. It ends at
 * the deadline of the gate that is closed then, for which only the time counts in which the windows of the rollout let a
 * node be started. Attempts after a crash do not start that anew: what was waited goes with each heartbeat.
 */
export async function waitUntilOpen<Closed extends Shut>(
  view: ClusterView,
  context: RolloutContext,
  closed: () => Closed | undefined,
  say: (reason: string, last: Closed | undefined) => Omit<Extract<PlaceAnswer, { open: false }>, 'open'>,
  look: () => Promise<void> | void = () => undefined,
): Promise<PlaceAnswer> {
  const patience = new Patience(view, context);
  const says = () => ({ waitsFor: closed()?.reason, ...patience.memory() });
  try {
    await waitInActivity(undefined, (signal) => untilOpen(view, { closed, look, patience }, signal), says);
    return { open: true };
  } catch (error) {
    if (!(error instanceof DeadlinePassed)) throw error;
    const last = closed();
    return { open: false, ...say(last?.reason ?? 'it opened too late', last) };
  }
}

/** Until the next look; the first one comes soon, for what is shown of it. */
const untilLookMs = ({ opensAtMs }: Shut, looked: number): number =>
  opensAtMs === undefined || looked === 0 ? LOOK_MS : Math.min(CLOSED_LOOK_MS, Math.max(1, opensAtMs - Date.now()));

interface Wait {
  closed: () => Shut | undefined;
  look: () => Promise<void> | void;
  patience: Patience;
}

/** Resolves once nothing is closed: at each change that the watches deliver, and after each look. */
async function untilOpen(view: ClusterView, { closed, look, patience }: Wait, signal: AbortSignal): Promise<void> {
  const allOpen = () => (closed() === undefined ? true : undefined);
  for (let shut = closed(), looked = 0; shut !== undefined; shut = closed(), looked++) {
    const leftMs = patience.leftMs(shut);
    if (leftMs <= 0) throw new DeadlinePassed(shut.deadline?.ms ?? 0);
    const lookMs = Math.min(leftMs, untilLookMs(shut, looked));
    await firstOf<unknown>(
      signal,
      (either) => untilSeen(view, allOpen, either),
      (either) => pause(lookMs, either),
    );
    if (allOpen() === undefined) await look();
  }
}
