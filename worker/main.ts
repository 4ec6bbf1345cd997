import { access } from 'node:fs/promises';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { createActivities } from '../activities/index.ts';
import { openClusterView } from '../activities/cluster-view.ts';
import { taskQueue } from '../api/messages.ts';
import { readSettings } from '../api/schemas/settings.ts';
import { connectToCluster } from '../kube/client.ts';
import { readClusterIdentity } from '../kube/identity.ts';
import { WORKFLOW_BUNDLE } from './bundle-path.ts';
import { insist } from '../kube/insist.ts';

/** Nodes in hand at once that one worker can wait for; each waits in an activity slot. */
const ACTIVITY_SLOTS = 500;
/** How long calls in progress may go on; waits are handed to another worker at once. */
const SHUTDOWN_MS = 20_000;

const settings = readSettings(process.env, process.pid);
const log = pino({ name: 'worker', level: settings.logLevel });

/** Runs the workflows and the steps of this cluster until it is told to stop. */
async function main(): Promise<void> {
  await access(WORKFLOW_BUNDLE).catch(() => {
    throw new Error(`${WORKFLOW_BUNDLE} is missing: run npm run build`);
  });
  Runtime.install({
    logger: new DefaultLogger('WARN', ({ level, message, meta }) => log[levelOf(level)]({ ...meta }, message)),
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
  });
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));

  const client = connectToCluster();
  const say = (what: string) => (error: unknown) =>
    log.warn({ error: (error as Error).message }, `${what}: trying again`);
  const cluster = await insist(
    () => readClusterIdentity(client, settings.clusterName),
    say('the API server does not answer'),
    stopping.signal,
  );
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
  const connection = await insist(
    () => NativeConnection.connect(connectionOptions),
    say('Temporal does not answer'),
    stopping.signal,
  );
  const view = await openClusterView(client, cluster, settings.namespaces, stopping.signal);
  const worker = await insist(
    () =>
      Worker.create({
        connection,
        namespace,
        taskQueue: taskQueue(cluster),
        identity: settings.identity,
        workflowBundle: { codePath: WORKFLOW_BUNDLE },
        activities: createActivities(view),
        maxConcurrentActivityTaskExecutions: ACTIVITY_SLOTS,
        maxConcurrentWorkflowTaskExecutions: 8,
        stickyQueueScheduleToStartTimeout: '1s',
        shutdownGraceTime: 500,
        shutdownForceTime: SHUTDOWN_MS,
      }),
    say(`Temporal's namespace ${namespace} is not ready`),
    stopping.signal,
  );
  log.info({ cluster: cluster.id, taskQueue: taskQueue(cluster), namespace }, 'worker runs');
  try {
    await worker.run();
  } finally {
    view.stop();
    await connection.close();
    await client.close();
  }
}

const levelOf = (level: string) => (level === 'ERROR' ? 'error' : level === 'WARN' ? 'warn' : 'info');

try {
  await main();
} catch (error) {
  log.fatal({ error: (error as Error).message }, 'worker ends');
  process.exitCode = 1;
}
