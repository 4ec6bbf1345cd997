import { Connection } from '@temporalio/client';
import { UNINSTALL_LEASE } from '../api/names.ts';
import { readClusterIdentity } from '../kube/identity.ts';
import { watchKairosNodes } from '../kube/kairos-nodes.ts';
import { LeaseHolder } from '../kube/lease-holder.ts';
import { watchNodeOpUpgrades } from '../kube/node-op-upgrades.ts';
import { watchNodes } from '../kube/nodes.ts';
import { watchOperatorPods } from '../kube/pods.ts';
import { formatDuration } from '../policy/duration.ts';
import { explainApiServer, openCluster, reachApiServer } from '../process/api-server.ts';
import { plainLog } from '../process/plain-log.ts';
import { Readiness } from '../process/readiness.ts';
import { enabledNamespaces, requireRights } from '../process/rights.ts';
import { waitFor, type Watchdogs } from '../process/surroundings.ts';
import { explainTemporal } from '../process/temporal-trouble.ts';
import { readTemporalSettings } from '../process/temporal.ts';
import { Closings } from '../watcher/closings.ts';
import { Engine } from '../watcher/engine.ts';
import { UNINSTALL_MANIFEST, UNINSTALL_RIGHTS } from './rights.ts';
import { readUninstallSettings, type UninstallSettings } from './settings.ts';
import { RefusedError, uninstall } from './uninstall.ts';

/**
 * Runs before the operator is deleted, and ends with 0 when it may be. Otherwise with 1, and says what stands against
 * it: nothing is left to chance that a person would find cordoned, or half-way through an upgrade, a week later.
 */
async function main(settings: UninstallSettings, watchdogs: Watchdogs): Promise<string[]> {
  const { log, signal } = watchdogs;
  const temporal = readTemporalSettings();
  const client = openCluster();
  const [own = settings.namespace, ...further] = settings.namespaces;
  await reachApiServer(client, watchdogs);
  const require = () => requireRights(client, UNINSTALL_RIGHTS, own, UNINSTALL_MANIFEST);
  await waitFor('rights', require, explainApiServer, watchdogs);
  const look = () => enabledNamespaces(client, UNINSTALL_RIGHTS, further, UNINSTALL_MANIFEST);
  const { enabled, leftOut } = await waitFor('rights', look, explainApiServer, watchdogs);
  for (const reason of leftOut) log.warn({ reason }, 'namespace left out');
  const identify = () => readClusterIdentity(client, settings.clusterName);
  const cluster = await waitFor('API server', identify, explainApiServer, watchdogs);

  const namespaces = [own, ...enabled];
  const connection = Connection.lazy(temporal.connectionOptions);
  const engine = new Engine(connection, temporal.namespace, cluster, (error) =>
    explainTemporal((error as Error).cause ?? error, temporal),
  );
  const parts = {
    nodes: watchNodes(client, log),
    kairosNodes: watchKairosNodes(client, log),
    upgrades: watchNodeOpUpgrades(client, namespaces, log),
  };
  const pods = watchOperatorPods(client, namespaces, log);
  const context = {
    ...parts,
    client,
    cluster,
    namespace: own,
    namespaces,
    engine,
    closings: new Closings(engine),
    uninstall: new LeaseHolder(client, own, UNINSTALL_LEASE),
    // It begins no upgrade, and finishes those that are begun.
    defaults: {},
    log,
  };
  watchdogs.readiness.lacks('lists', 'nodes, KairosNodes, NodeOpUpgrades and pods are being read');
  await Promise.all([...Object.values(parts), pods].map((reflector) => reflector.synced(signal)));
  watchdogs.readiness.has('lists');
  return await uninstall({ context, pods, settings, connection, temporalNamespace: temporal.namespace, signal });
}

const log = plainLog(process.env['LOG_LEVEL'] === 'debug' ? 'debug' : 'info');
const readiness = new Readiness();
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
try {
  const settings = readUninstallSettings(process.env, process.pid);
  const tooLate = setTimeout(
    () => stopping.abort(new Error(`not done within ${formatDuration(settings.timeoutMs)}`)),
    settings.timeoutMs,
  );
  const remarks = await main(settings, { log, readiness, signal: stopping.signal });
  clearTimeout(tooLate);
  for (const reason of remarks) log.warn({ reason }, 'note');
  log.info('no rollout is open and no node is out: the operator may be deleted');
  process.exit(0);
} catch (error) {
  const { message } = error as Error;
  const missing = readiness.ready ? '' : `\n${readiness.text()}`;
  const next =
    error instanceof RefusedError
      ? ''
      : '\nhelm uninstall --no-hooks deletes the operator without this look: nodes that are in hand then stay cordoned';
  log.fatal(`refused, the operator stays:\n${message}${missing}${next}`);
  process.exit(1);
}
