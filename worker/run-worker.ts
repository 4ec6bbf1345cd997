import { DefaultLogger, Runtime, Worker, type NativeConnection, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import { pause } from '../kube/pause.ts';
import { waitFor, type Watchdogs } from '../process/surroundings.ts';
import { WORKFLOW_BUNDLE } from './bundle-path.ts';
import type { TemporalPresence } from './temporal-presence.ts';

/** Nodes in hand at once that one worker can wait for; each waits in an activity slot. */
const ACTIVITY_SLOTS = 500;
/** How long calls in progress may go on; waits are handed to another worker at once. */
const SHUTDOWN_MS = 20_000;
/** Between a worker that failed and the next: what fails at once must not be repeated in a tight loop. */
const RESTART_PAUSE_MS = 1_000;
/** Of the SDK's core; it reports every retry of each of its dozens of polls while Temporal is away, which we say once. */
const RETRY_REPORTS = 'temporalio_client::retry';

/** Sends what the SDK says to our log. Once in a process. */
export function installRuntime(log: Logger): void {
  const levels: Record<string, 'error' | 'warn' | 'info'> = { ERROR: 'error', WARN: 'warn' };
  Runtime.install({
    logger: new DefaultLogger('WARN', ({ level, message, meta }) => {
      const isRetry = (meta as { target?: unknown } | undefined)?.target === RETRY_REPORTS;
      log[isRetry ? 'debug' : (levels[level] ?? 'info')]({ ...meta }, message);
    }),
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
    // The signals are ours: a worker that the SDK stopped would look like one that lost its connection.
    shutdownSignals: [],
  });
}

type Work = Pick<WorkerOptions, 'taskQueue' | 'identity' | 'activities'> & {
  namespace: string;
  /** The connection to work with now; asked for each worker. Whoever asks uses no former one any more. */
  connect: () => Promise<NativeConnection>;
};

/** Takes tasks until the signal is aborted. Rejects only with what stopping itself meets. */
export function runWorker(
  { connect, ...work }: Work,
  presence: Pick<TemporalPresence, 'broken'>,
  watchdogs: Watchdogs,
): Promise<void> {
  const create = async () =>
    Worker.create({
      ...work,
      connection: await connect(),
      workflowBundle: { codePath: WORKFLOW_BUNDLE },
      maxConcurrentActivityTaskExecutions: ACTIVITY_SLOTS,
      maxConcurrentWorkflowTaskExecutions: 8,
      stickyQueueScheduleToStartTimeout: '1s',
      shutdownGraceTime: 500,
      shutdownForceTime: SHUTDOWN_MS,
    });
  return keepRunning(create, () => presence.broken(), watchdogs);
}

/**
 * One worker after the other, as Temporal lets them start. After a break of the connection the next one knows nothing
 * of what this one remembers: the server may have come back with an older database. And what the SDK takes for the end
 * of a worker is the end of that one only, not of the process.
 */
export async function keepRunning(
  create: () => Promise<Pick<Worker, 'run' | 'shutdown' | 'getState'>>,
  broken: () => Promise<void>,
  watchdogs: Watchdogs,
): Promise<void> {
  const { log, readiness, signal } = watchdogs;
  /** The SDK's text holds a dump of the gRPC status; what stands before it says it. */
  const explain = (error: unknown) => (error as Error).message.split(': Status {')[0] ?? '';
  while (!signal.aborted) {
    const worker = await waitFor('Temporal worker', create, explain, watchdogs);
    const stop = () => {
      if (worker.getState() === 'RUNNING') worker.shutdown();
    };
    signal.addEventListener('abort', stop);
    void broken().then(stop);
    try {
      await worker.run();
      if (!signal.aborted)
        log.warn(
          'the connection to Temporal broke, or was made anew: another worker is started, with nothing remembered',
        );
    } catch (error) {
      if (signal.aborted) throw error;
      const reason = explain(error);
      readiness.lacks('Temporal worker', reason);
      log.error({ reason }, 'the Temporal worker failed: another one is started');
      await pause(RESTART_PAUSE_MS, signal);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }
}
