import { setTimeout as sleep } from 'node:timers/promises';
import { KubeError, isReason } from '../kube/errors.ts';

const RETRY_MS = 300;

/** A kubelet that waits half a minute for an API server which is back would be the simulator's own slowness. */
export const KUBELET_WATCH = { retryMaximumMs: 1000 } as const;

/**
 * Repeats a write until the API server has taken it, as kubelet does: it may itself be down. An object that is gone
 * ends it with undefined. Rejects with `signal.reason` on abort, and with what is not worth repeating.
 */
export async function untilWritten<T>(write: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await write();
    } catch (error) {
      signal.throwIfAborted();
      if (isReason(error, 'NotFound')) return undefined;
      if (!(error instanceof KubeError) || !(error.retryable || error.reason === 'Conflict')) throw error;
      await sleep(error.retryAfterMs ?? RETRY_MS, undefined, { signal });
    }
  }
}

/** For what is done in the background until a signal says that it is of no use any more: an abort is no failure. */
export function inBackground(work: Promise<unknown>, signal: AbortSignal, onError: (error: unknown) => void): void {
  work.catch((error: unknown) => {
    if (!signal.aborted) onError(error);
  });
}
