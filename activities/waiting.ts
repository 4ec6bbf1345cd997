import { Context } from '@temporalio/activity';
import { formatDuration } from '../policy/duration.ts';

/** Timers hold at most 2^31-1 ms. */
const LONGEST_TIMER_MS = 2_000_000_000;

/** Thrown inside a wait when its own deadline has passed; never leaves an activity. */
export class DeadlinePassed extends Error {
  readonly waited: string;

  constructor(afterMs: number) {
    super(`deadline of ${formatDuration(afterMs)} passed`);
    this.name = 'DeadlinePassed';
    this.waited = formatDuration(afterMs);
  }
}

/**
 * Runs a wait inside an activity: heartbeats while it lasts, ends it when the workflow cancels, when the worker shuts
 * down, or when its deadline has passed. The deadline counts from when the activity was first scheduled, so attempts
 * after a crash do not start it anew.
 *
 * `says` is what it waits for: it goes with each heartbeat, where `temporal workflow describe` and the UI show it, and
 * where the next attempt finds it.
 * @throws DeadlinePassed when the deadline passed; the signal's reason when cancelled
 */
export async function waitInActivity<T>(
  deadlineMs: number | undefined,
  wait: (signal: AbortSignal) => Promise<T>,
  says: () => unknown = () => undefined,
): Promise<T> {
  const context = Context.current();
  const beat = setInterval(
    () => context.heartbeat(says()),
    Math.max(200, (context.info.heartbeatTimeoutMs ?? 10_000) / 4),
  );
  const deadline = new AbortController();
  const left = deadlineMs === undefined ? undefined : context.info.scheduledTimestampMs + deadlineMs - Date.now();
  // A deadline beyond that is as good as none for one attempt.
  const timer =
    left === undefined || left > LONGEST_TIMER_MS
      ? undefined
      : setTimeout(() => deadline.abort(new DeadlinePassed(deadlineMs ?? 0)), Math.max(0, left));
  try {
    return await wait(AbortSignal.any([context.cancellationSignal, deadline.signal]));
  } catch (error) {
    // The cancellation itself is what the engine must see, not an abort of some call underneath.
    if (context.cancellationSignal.aborted) await context.cancelled;
    if (deadline.signal.aborted) throw deadline.signal.reason;
    throw error;
  } finally {
    clearInterval(beat);
    clearTimeout(timer);
  }
}

/**
 * The answer of the wait that ends first. The signal of the others is aborted then, and they are over when this resolves.
 * Rejects with what the first one to end throws, and with the reason of `signal`.
 */
export async function firstOf<T>(signal: AbortSignal, ...waits: ((signal: AbortSignal) => Promise<T>)[]): Promise<T> {
  const answered = new AbortController();
  const either = AbortSignal.any([signal, answered.signal]);
  const running = waits.map((wait) => wait(either));
  try {
    return await Promise.race(running);
  } finally {
    answered.abort(new Error('answered'));
    await Promise.allSettled(running);
  }
}

/**
 * The answer of a part of a wait, or undefined when `atMs` came first; the part is then over, too. Rejects with what it
 * throws, and with the signal's reason.
 */
export async function beforeDeadline<T>(
  atMs: number,
  signal: AbortSignal,
  part: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  const deadline = new AbortController();
  const timer = setTimeout(
    () => deadline.abort(new Error('deadline')),
    Math.min(LONGEST_TIMER_MS, Math.max(0, atMs - Date.now())),
  );
  try {
    return await part(AbortSignal.any([signal, deadline.signal]));
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.signal.aborted) return undefined;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves after a while, or rejects with the signal's reason. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, ms);
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', abort, { once: true });
  });
}
