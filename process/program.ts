import { pino, type Logger } from 'pino';
import { readSettings, type Settings } from '../api/schemas/settings.ts';
import { ApiContact } from './api-contact.ts';
import { serveHealth } from './health.ts';
import { Metrics } from './metrics.ts';
import { Readiness } from './readiness.ts';

/** What a program of the operator starts with. */
export interface Program {
  readonly settings: Settings;
  readonly log: Logger;
  readonly readiness: Readiness;
  readonly metrics: Metrics;
  /** What the requests of this process tell of its API server. */
  readonly contact: ApiContact;
  /** Aborted by SIGINT, SIGTERM and `stop`. */
  readonly signal: AbortSignal;
  /** Ends the program as a signal would, to be started anew. */
  readonly stop: (reason: string) => void;
}

/**
 * Runs a program until it ends or is told to stop, and ends the process: with 0 when it was told to, with 1 and a last
 * line in the log that says why otherwise, so that the kubelet starts it again.
 */
export async function runProgram(name: string, main: (program: Program) => Promise<void>): Promise<never> {
  const log = pino({ name, level: levelFrom(process.env['LOG_LEVEL']) });
  const die = (error: unknown): never => {
    log.fatal({ error: error instanceof Error ? error.message : String(error) }, `${name} ends`);
    process.exit(1);
  };
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error) => {
      log.error({ error: error instanceof Error ? error.stack : String(error) }, event);
      die(error);
    });
  }
  const stopping = new AbortController();
  const stop = (reason: string) => stopping.abort(new Error(reason));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop(`stopped by ${signal}`));
  const { signal } = stopping;
  try {
    const settings = readSettings(process.env, process.pid);
    const readiness = new Readiness();
    readiness.lacks(name, 'it is starting');
    const metrics = new Metrics(readiness);
    metrics.collectProcess();
    if (settings.healthPort !== undefined) await serveHealth(settings.healthPort, readiness, metrics.registry);
    await main({ settings, log, readiness, metrics, contact: new ApiContact(), signal, stop });
  } catch (error) {
    if (!signal.aborted) die(error);
  }
  log.info({ reason: (signal.reason as Error | undefined)?.message }, `${name} has stopped`);
  process.exit(0);
}

/** A wrong level is named with all that is wrong; until then there must be a log to name it in. */
function levelFrom(text: string | undefined): string {
  return text !== undefined && text in pino.levels.values ? text : 'info';
}
