import { Context } from '@temporalio/activity';
import type { RolloutContext } from '../api/messages.ts';
import type { WindowSpec } from '../api/rollout-spec.ts';
import type { ClosedGate } from '../policy/gates.ts';
import { isOpen, openMs } from '../policy/windows.ts';
import type { ClusterView } from './cluster-view.ts';
import { measuredNow } from './window-gate.ts';

/** What counts towards the deadline of all gates; a health gate with a deadline of its own counts under its name. */
const ALL_GATES = '';

/** What goes with each heartbeat: the next attempt, after a crash or the end of a long one, goes on with it. */
interface Memory {
  waitedMs: Record<string, number>;
  /** Up to when that is counted. */
  atMs: number;
  /** What was waited for then; absent while that did not count. */
  of?: string;
}

/** Counts for how long something has been waited for that could have been begun. */
export class Patience {
  readonly #limitMs: number;
  readonly #windows: readonly WindowSpec[];
  readonly #waitedMs = new Map<string, number>();
  #atMs = Date.now();
  #of: string | undefined;

  constructor(view: ClusterView, { spec, rolloutID }: RolloutContext) {
    const { windows = [], healthGates = [], gateTimeoutMs } = spec;
    this.#limitMs = gateTimeoutMs;
    this.#windows = windows;
    const { heartbeatDetails, scheduledTimestampMs } = Context.current().info;
    const needMs = windows.length === 0 ? 0 : (measuredNow(view, rolloutID)?.ms ?? 0);
    const openSince = (fromMs: number) => openMs(windows, fromMs, this.#atMs, needMs);
    if (isMemory(heartbeatDetails)) {
      const { waitedMs, atMs, of } = heartbeatDetails;
      for (const [gate, ms] of Object.entries(waitedMs)) this.#waitedMs.set(gate, ms);
      if (of !== undefined) this.#waitedMs.set(of, (this.#waitedMs.get(of) ?? 0) + openSince(atMs));
    } else if (healthGates.every(({ timeoutMs }) => timeoutMs === undefined))
      // The first attempt, or one of which nothing was heard: all of it was waited for the same.
      this.#waitedMs.set(ALL_GATES, openSince(scheduledTimestampMs));
  }

  /** How long it may still be waited for this. The time since the last call counts while a window is open. */
  leftMs({
    opensAtMs,
    endsByItself,
    deadline = { of: ALL_GATES, ms: this.#limitMs },
  }: Pick<ClosedGate, 'opensAtMs' | 'endsByItself' | 'deadline'>): number {
    const nowMs = Date.now();
    const sinceMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#of = undefined;
    if (opensAtMs !== undefined || endsByItself === true || !isOpen(this.#windows, nowMs)) return Infinity;
    this.#of = deadline.of;
    const waitedMs = (this.#waitedMs.get(deadline.of) ?? 0) + sinceMs;
    this.#waitedMs.set(deadline.of, waitedMs);
    return deadline.ms - waitedMs;
  }

  memory(): Memory {
    return {
      waitedMs: Object.fromEntries(this.#waitedMs),
      atMs: this.#atMs,
      ...(this.#of === undefined ? {} : { of: this.#of }),
    };
  }
}

/** Earlier versions told in a heartbeat only what was waited for. */
const isMemory = (details: unknown): details is Memory =>
  typeof details === 'object' && details !== null && 'waitedMs' in details && 'atMs' in details;
