import type { Logger } from 'pino';
import { insist } from '../kube/insist.ts';
import { pause } from '../kube/pause.ts';
import type { Readiness } from './readiness.ts';

/** Who is told when something is missing. */
export interface Watchdogs {
  readonly log: Logger;
  readonly readiness: Readiness;
  readonly signal: AbortSignal;
}

/** A reason that has not changed is repeated in the log only after this time. */
const REPEAT_MS = 60_000;

/**
 * Gets what the process cannot start without, however long it takes; meanwhile the log and `/readyz` say what is missing,
 * since when, and what to do. `explain` turns a failure into that sentence.
 * Rejects only with the signal's reason.
 */
export async function waitFor<T>(
  part: string,
  attempt: () => Promise<T>,
  explain: (error: unknown) => string | Promise<string>,
  { log, readiness, signal }: Watchdogs,
): Promise<T> {
  let toldAtMs = -Infinity;
  const result = await insist(
    attempt,
    async (error, since) => {
      const reason = await explain(error);
      if (reason !== readiness.reason(part) || Date.now() - toldAtMs > REPEAT_MS) {
        log.warn({ missing: part, reason, since: since.toISOString() }, 'cannot start yet, trying again');
        toldAtMs = Date.now();
      }
      readiness.lacks(part, reason, since);
    },
    signal,
  );
  const missingMs = readiness.has(part);
  if (missingMs !== undefined) log.info({ part, afterMs: missingMs }, 'there now');
  return result;
}

export interface Check {
  readonly part: string;
  readonly everyMs: number;
  /** Undefined when all is well, else what is wrong and what to do. */
  readonly ask: () => Promise<string | undefined>;
  /** Whether the process counts as not ready meanwhile. Default true. */
  readonly essential?: boolean;
}

/** Asks again and again until the signal is aborted, and tells when the answer changes. Never rejects. */
export async function keepChecking(check: Check, { log, readiness, signal }: Watchdogs): Promise<void> {
  const { part, everyMs, ask, essential = true } = check;
  let told: string | undefined;
  let sinceMs = 0;
  for (;;) {
    await pause(everyMs, signal);
    if (signal.aborted) return;
    const reason = await ask().catch((error: unknown) => (error as Error).message);
    if (signal.aborted) return;
    if (reason === undefined) {
      if (told !== undefined) log.info({ part, afterMs: Date.now() - sinceMs }, 'there again');
      readiness.has(part);
    } else {
      if (told === undefined) sinceMs = Date.now();
      if (reason !== told)
        log.warn({ missing: part, reason, since: new Date(sinceMs).toISOString() }, 'missing, going on');
      if (essential) readiness.lacks(part, reason);
    }
    told = reason;
  }
}
