import { Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { pino } from 'pino';
import { readSettings } from '../api/schemas/settings.ts';
import { connectToCluster } from '../kube/client.ts';
import { readClusterIdentity } from '../kube/identity.ts';
import { insist } from '../kube/insist.ts';
import { watchKairosNodes } from '../kube/kairos-nodes.ts';
import { watchNodeOpUpgrades } from '../kube/node-op-upgrades.ts';
import { watchNodes } from '../kube/nodes.ts';
import { Engine } from './engine.ts';
import { runWatcher } from './watcher.ts';

const settings = readSettings(process.env, process.pid);
const log = pino({ name: 'watcher', level: settings.logLevel });

async function main(): Promise<void> {
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
  const { signal } = stopping;
  const client = connectToCluster();
  const say = (what: string) => (error: unknown) =>
    log.warn({ error: (error as Error).message }, `${what}: trying again`);
  const cluster = await insist(
    () => readClusterIdentity(client, settings.clusterName),
    say('the API server does not answer'),
    signal,
  );
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
  const connection = Connection.lazy(connectionOptions);
  const engine = new Engine(connection, namespace, cluster);
  const known = await insist(() => engine.addSearchAttributes(), say('Temporal does not answer'), signal);
  if (!known)
    log.warn('Temporal does not take our search attributes: lists by attribute do not work, everything else does');

  const upgrades = watchNodeOpUpgrades(client, settings.namespaces);
  const kairosNodes = watchKairosNodes(client);
  const nodes = watchNodes(client);
  try {
    const { namespace: own, namespaces } = settings;
    await runWatcher(
      { client, cluster, namespace: own, namespaces, engine, log, upgrades, kairosNodes, nodes },
      settings.identity,
      signal,
    );
  } finally {
    for (const reflector of [upgrades, kairosNodes, nodes]) reflector.stop();
    await connection.close();
    await client.close();
  }
}

try {
  await main();
} catch (error) {
  if (!(error as Error).message.startsWith('stopped by')) {
    log.fatal({ error: (error as Error).message }, 'watcher ends');
    process.exitCode = 1;
  }
}
