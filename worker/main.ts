import { access } from 'node:fs/promises';
import { NativeConnection } from '@temporalio/worker';
import { createActivities } from '../activities/index.ts';
import { openClusterView } from '../activities/cluster-view.ts';
import { taskQueue } from '../api/messages.ts';
import { identifyCluster, openCluster } from '../process/api-server.ts';
import { waitForAccess } from '../process/cluster-access.ts';
import { observedClient } from '../process/observed-client.ts';
import { runProgram, type Program } from '../process/program.ts';
import { readPrometheusServers } from '../process/prometheus-servers.ts';
import { connectToTemporal, readTemporalSettings } from '../process/temporal.ts';
import { WORKFLOW_BUNDLE } from './bundle-path.ts';
import { keepRemovingLeftovers } from './leftovers.ts';
import { observedActivities } from './metrics.ts';
import { workerNeeds } from './rights.ts';
import { installRuntime, runWorker } from './run-worker.ts';
import { watchTemporal } from './temporal-presence.ts';

/** Runs the workflows and the steps of this cluster until it is told to stop. */
async function main(program: Program): Promise<void> {
  const { settings, log, readiness, signal, stop } = program;
  await access(WORKFLOW_BUNDLE).catch(() => {
    throw new Error(`${WORKFLOW_BUNDLE} is missing: run make build`);
  });
  const prometheusServers = readPrometheusServers(settings.prometheusFile);
  const temporal = readTemporalSettings();
  const client = observedClient(openCluster(), program.metrics, program.contact);
  installRuntime(log);
  const [{ cluster, namespaces }, link] = await Promise.all([
    waitForAccess(client, workerNeeds(settings), program, stop).then(async (namespaces) => ({
      namespaces,
      cluster: await identifyCluster(client, settings.clusterName, program),
    })),
    connectToTemporal(temporal, ({ connectionOptions }) => NativeConnection.connect(connectionOptions), program),
  ]);
  const presence = watchTemporal(link.settings.connectionOptions);
  const former: NativeConnection[] = [];
  link.onApiKey((apiKey) => presence.setApiKey(apiKey));
  link.onReplaced((_, before) => {
    former.push(before);
    presence.reopen(link.settings.connectionOptions);
  });
  const connect = async () => {
    for (const connection of former.splice(0)) await connection.close();
    return link.connection;
  };
  const view = await openClusterView(client, cluster, { ...settings, namespaces, prometheusServers }, signal, log);
  const queue = taskQueue(cluster);
  const { namespace, address } = temporal;
  log.info({ cluster: cluster.id, taskQueue: queue, temporal: address, namespace, namespaces }, 'worker runs');
  readiness.has('worker');
  void keepRemovingLeftovers(view, () => link.connection, namespace, program);
  try {
    await runWorker(
      {
        connect,
        namespace,
        taskQueue: queue,
        identity: settings.identity,
        activities: observedActivities(createActivities(view), program.metrics.registry),
      },
      presence,
      program,
    );
  } finally {
    view.stop();
    await presence.close();
    for (const connection of [...former, link.connection]) await connection.close();
    await client.close();
  }
}

await runProgram('worker', main);
