import { pause } from './pause.ts';

/**
 * Repeats `attempt` until it succeeds, after 0.5 s doubling to 15 s; each failure is told to `onFailure`, with the time
 * since when it has failed. Rejects only with the signal's reason: for what a process cannot start without, but which
 * may come later.
 */
export async function insist<T>(
  attempt: () => Promise<T>,
  onFailure: (error: unknown, since: Date) => void | Promise<void>,
  signal: AbortSignal,
): Promise<T> {
  const since = new Date();
  for (let delayMs = 500; ; delayMs = Math.min(15_000, delayMs * 2)) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      await onFailure(error, since);
      await pause(delayMs * (0.75 + Math.random() / 2), signal);
    }
  }
}
