import { Context } from '@temporalio/activity';
import type { RolloutContext } from '../api/messages.ts';
import type { WindowSpec } from '../api/rollout-spec.ts';
import type { ClosedGate } from '../policy/gates.ts';
import { isOpen, openMs } from '../policy/windows.ts';
import { type ClusterView, untilSeen } from './cluster-view.ts';
import { DeadlinePassed, firstOf, pause, waitInActivity } from './waiting.ts';
import { measuredNow } from './window-gate.ts';

/** How often what is waited for is looked at where no watch tells: Leases that run out, windows, and what is shown of it. */
const LOOK_MS = 1000;
/** How often while a window is closed, which may be for days; it is looked at the moment it opens. */
const CLOSED_LOOK_MS = 30_000;

/** `supersededBy`: the NodeOpUpgrade, as namespace/name, that the node is left to. */
export type PlaceAnswer = { open: true } | { open: false; reason: string; supersededBy?: string };

/** What is waited for: a gate, or something else that has a reason. */
export type Shut = Pick<ClosedGate, 'reason' | 'opensAtMs' | 'deadline'>;

/**
 * Waits until nothing is closed: woken by the watches, and looking by itself once a second, after `look`. It ends at
 * the deadline of the gate that is closed then, for which only the time counts in which the windows of the rollout let a
 * node be started. Attempts after a crash do not start that anew, but where a health gate has a deadline of its own:
 * what was waited for before the crash is not known.
 */
export async function waitUntilOpen(
  view: ClusterView,
  context: RolloutContext,
  closed: () => Shut | undefined,
  say: (reason: string) => string,
  look: () => Promise<void> | void = () => undefined,
): Promise<PlaceAnswer> {
  const patience = new Patience(view, context);
  const reason = () => closed()?.reason;
  try {
    await waitInActivity(undefined, (signal) => untilOpen(view, { closed, look, patience }, signal), reason);
    return { open: true };
  } catch (error) {
    if (!(error instanceof DeadlinePassed)) throw error;
    return { open: false, reason: say(reason() ?? 'it opened too late') };
  }
}

/** What counts towards the deadline of all gates. */
const ALL_GATES = '';

/** Counts for how long something has been waited for that could have been begun. */
class Patience {
  readonly #limitMs: number;
  readonly #windows: readonly WindowSpec[];
  readonly #waitedMs = new Map<string, number>();
  #atMs = Date.now();

  constructor(view: ClusterView, { spec, rolloutID }: RolloutContext) {
    const { windows = [], healthGates = [], gateTimeoutMs } = spec;
    this.#limitMs = gateTimeoutMs;
    this.#windows = windows;
    if (healthGates.some(({ timeoutMs }) => timeoutMs !== undefined)) return;
    const needMs = windows.length === 0 ? 0 : (measuredNow(view, rolloutID)?.ms ?? 0);
    this.#waitedMs.set(ALL_GATES, openMs(windows, Context.current().info.scheduledTimestampMs, this.#atMs, needMs));
  }

  /** How long it may still be waited for this. The time since the last call counts while a window is open. */
  leftMs({ opensAtMs, deadline = { of: ALL_GATES, ms: this.#limitMs } }: Shut): number {
    const nowMs = Date.now();
    const sinceMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    if (opensAtMs !== undefined || !isOpen(this.#windows, nowMs)) return Infinity;
    const waitedMs = (this.#waitedMs.get(deadline.of) ?? 0) + sinceMs;
    this.#waitedMs.set(deadline.of, waitedMs);
    return deadline.ms - waitedMs;
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
