import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KubeClient } from '../kube/client.ts';
import { applyFolder } from './apply.ts';
import type { ControlPlane } from './control-plane.ts';
import { managedProcess, type ManagedProcess } from './processes.ts';
import type { TemporalServer } from './temporal-server.ts';

/** The operator's processes, as a cluster would run them: each with its own ServiceAccount and no other rights. */
export interface Product {
  readonly watcher: ManagedProcess;
  readonly worker: ManagedProcess;
  stop(): Promise<void>;
}

export interface ProductOptions {
  readonly folder: string;
  readonly client: KubeClient;
  readonly controlPlane: ControlPlane;
  readonly temporal: TemporalServer;
  readonly clusterName: string;
  /** Defaults of spec.strategy of this installation, as the watcher reads them from its file. Default: none. */
  readonly strategyDefaults?: object;
  /** Whether the Leases on nodes are shared with other tools. Default: no. */
  readonly nodeLeases?: boolean;
}

const NAMESPACE = 'kairos-system';
/** As deploy/node-leases names it. */
const NODE_LEASE_NAMESPACE = 'medik8s-leases';
const TOKEN_SECONDS = 3600;
const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Applies the operator's manifests and starts watcher and worker. Resolves when both have been started, not when they are ready. */
export async function startProduct(options: ProductOptions): Promise<Product> {
  const parts = ['operator', 'policies', ...(options.nodeLeases === true ? ['node-leases'] : [])];
  for (const part of parts) await applyFolder(options.client, path.join(ROOT, 'deploy', part));
  const [watcher, worker] = await Promise.all([describe(options, 'watcher'), describe(options, 'worker')]);
  await Promise.all([watcher.process.start(), worker.process.start()]);
  return {
    watcher: watcher.process,
    worker: worker.process,
    async stop() {
      for (const { renewal } of [watcher, worker]) clearInterval(renewal);
      await Promise.all([watcher.process.stop(), worker.process.stop()]);
    },
  };
}

async function describe(options: ProductOptions, name: 'watcher' | 'worker') {
  const { folder, controlPlane, temporal } = options;
  const tokenFile = path.join(folder, 'tokens', `kairos-${name}`);
  await writeToken(options.client, `kairos-${name}`, tokenFile);
  const renew = () => writeToken(options.client, `kairos-${name}`, tokenFile).catch(() => undefined);
  const defaultsFile = path.join(folder, 'strategy-defaults.yaml');
  if (options.strategyDefaults !== undefined) writeFileSync(defaultsFile, JSON.stringify(options.strategyDefaults));
  const renewal = setInterval(() => void renew(), TOKEN_SECONDS * 500);
  renewal.unref();
  const process_ = managedProcess({
    name,
    command: process.execPath,
    args: ['--no-warnings', path.join(ROOT, name, 'main.ts')],
    cwd: ROOT,
    env: {
      KUBECONFIG: controlPlane.kubeconfigFor({ name: `kairos-${name}`, tokenFile }),
      KAIROS_CLUSTER_NAME: options.clusterName,
      KAIROS_NAMESPACE: NAMESPACE,
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_NAMESPACE: 'default',
      POD_NAME: `${name}-0`,
      ...(options.strategyDefaults === undefined ? {} : { KAIROS_DEFAULTS_FILE: defaultsFile }),
      ...(options.nodeLeases === true ? { KAIROS_NODE_LEASE_NAMESPACE: NODE_LEASE_NAMESPACE } : {}),
    },
    logFile: path.join(folder, 'logs', `${name}.log`),
    stopTimeoutMs: 30_000,
  });
  return { process: process_, renewal };
}

async function writeToken(client: KubeClient, account: string, file: string): Promise<void> {
  const answer = await client.request<{ status: { token: string } }>({
    verb: 'create',
    path: `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${account}/token`,
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: TOKEN_SECONDS } },
  });
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.new`, answer.status.token, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
