import { Connection } from '@temporalio/client';
import { UNINSTALL_LEASE } from '../api/names.ts';
import { watchKairosNodes } from '../kube/kairos-nodes.ts';
import { LeaseHolder } from '../kube/lease-holder.ts';
import { watchNodeOpUpgrades } from '../kube/node-op-upgrades.ts';
import { watchNodes } from '../kube/nodes.ts';
import { identifyCluster, openCluster } from '../process/api-server.ts';
import { waitForAccess } from '../process/cluster-access.ts';
import { observedClient } from '../process/observed-client.ts';
import { runProgram, type Program } from '../process/program.ts';
import { waitFor } from '../process/surroundings.ts';
import { explainTemporal } from '../process/temporal-trouble.ts';
import { connectToTemporal, readTemporalSettings } from '../process/temporal.ts';
import { Closings } from './closings.ts';
import { readDefaults } from './defaults.ts';
import { Engine } from './engine.ts';
import { registerUpgradeMetrics } from './metrics.ts';
import { WATCHER_MANIFEST, WATCHER_RIGHTS } from './rights.ts';
import { checkForStrangers, checkForWorkers, holdClusterName, tellWhoWrites } from './start-up.ts';
import { runWatcher } from './watcher.ts';

/** How long a connection is kept whose credentials were renewed. */
const FORMER_MS = 30_000;

/** Sees drift and starts or ends rollouts, until it is told to stop. */
async function main(program: Program): Promise<void> {
  const { settings, log, readiness, signal, stop } = program;
  const defaults = readDefaults(settings.defaultsFile);
  const temporal = readTemporalSettings();
  const client = observedClient(openCluster(), program.metrics, program.contact);
  const [{ cluster, namespaces }, link] = await Promise.all([
    waitForAccess(client, { rights: WATCHER_RIGHTS, manifest: WATCHER_MANIFEST }, program, stop).then(
      async (namespaces) => {
        const cluster = await identifyCluster(client, settings.clusterName, program);
        await holdClusterName(client, cluster, program);
        return { cluster, namespaces };
      },
    ),
    connectToTemporal(
      temporal,
      ({ connectionOptions }) => Promise.resolve(Connection.lazy(connectionOptions)),
      program,
    ),
  ]);
  const engine = new Engine(link.connection, temporal.namespace, cluster, (error) =>
    // The SDK wraps what gRPC said.
    explainTemporal((error as Error).cause ?? error, link.settings),
  );
  link.onReplaced((fresh, former) => {
    engine.useConnection(fresh);
    // Calls have a shorter deadline; what waits for a workflow to close looks again.
    setTimeout(() => void former.close(), FORMER_MS).unref();
  });
  const attributes = await waitFor(
    'search attributes',
    () => engine.addSearchAttributes(),
    (error) => (error as Error).message,
    program,
  );
  if (!attributes)
    log.warn('Temporal does not take our search attributes: lists by attribute do not work, everything else does');

  const upgrades = watchNodeOpUpgrades(client, namespaces, log);
  const kairosNodes = watchKairosNodes(client, log);
  const nodes = watchNodes(client, log);
  registerUpgradeMetrics(program.metrics.registry, { upgrades, kairosNodes, nodes });
  void Promise.all([upgrades, kairosNodes, nodes].map((reflector) => reflector.synced(signal))).then(
    () => readiness.has('watcher'),
    () => undefined,
  );
  void tellWhoWrites(client, program);
  checkForWorkers(() => link.connection, temporal.namespace, cluster, program);
  checkForStrangers(nodes, cluster, program);
  try {
    const own = settings.namespace;
    const closings = new Closings(engine);
    const context = {
      client,
      cluster,
      namespace: own,
      namespaces,
      engine,
      closings,
      uninstall: new LeaseHolder(client, own, UNINSTALL_LEASE),
      defaults,
      log,
      upgrades,
      kairosNodes,
      nodes,
    };
    await runWatcher(context, settings.identity, signal);
  } finally {
    for (const reflector of [upgrades, kairosNodes, nodes]) reflector.stop();
    await link.connection.close();
    await client.close();
  }
}

await runProgram('watcher', main);
