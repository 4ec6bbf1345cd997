import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { resolveTool } from '../tools/resolve.ts';
import { prepareCredentials, writeKubeconfig, type Credentials, type KubeconfigOptions } from './credentials.ts';
import { freePort } from './ports.ts';
import { statusOf } from './probe.ts';
import { managedProcess, type ManagedProcess } from './processes.ts';

export interface ControlPlaneOptions {
  /** Holds data, keys, kubeconfigs and logs. A folder used before is taken up again, on other ports. Absolute path. */
  readonly folder: string;
  /** Whether requests of service accounts outside kube-system are recorded, leases excepted. */
  readonly auditLog?: boolean;
  /** Silence after which a node is marked NotReady. Default 4000; the nodes' leases must be renewed more often. */
  readonly nodeMonitorGraceMs?: number;
}

type ControlPlaneProcess = 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler';

export interface ControlPlane {
  /** Of the API server: https on 127.0.0.1. */
  readonly url: string;
  /** The API server's certificate, which is its own authority. */
  readonly caFile: string;
  /** Of a user in system:masters. */
  readonly adminKubeconfig: string;
  /** Of kwok, also in system:masters, so that its requests can be told from the admin's. */
  readonly kwokKubeconfig: string;
  /** Writes a kubeconfig for this API server and returns its path. */
  kubeconfigFor(options: KubeconfigOptions): string;
  readonly processes: Readonly<Record<ControlPlaneProcess, ManagedProcess>>;
  /** JSON lines of audit.k8s.io/v1 events, where asked for. */
  readonly auditLog?: string;
  /** Stops all four; the folder stays. */
  stop(): Promise<void>;
}

/**
 * Starts a real control plane on free ports of 127.0.0.1: etcd, API server with RBAC and admission, controller manager,
 * scheduler. Resolves when pods can be created. Throws ProcessError when a part does not come up, and then leaves none.
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { folder } = options;
  mkdirSync(folder, { recursive: true });
  const credentials = prepareCredentials(folder);
  const auditLog = options.auditLog === true ? join(folder, 'logs', 'audit.log') : undefined;

  const etcd = await describeEtcd(folder);
  const apiServer = await describeApiServer(folder, etcd.url, credentials, auditLog);
  const server = { url: apiServer.url, caFile: apiServer.caFile };
  const controllerManager = await describeControllerManager(folder, server, credentials, options.nodeMonitorGraceMs);
  const scheduler = await describeScheduler(folder, server, credentials);

  const processes = {
    etcd: etcd.process,
    'kube-apiserver': apiServer.process,
    'kube-controller-manager': controllerManager,
    'kube-scheduler': scheduler,
  };
  // Clients before servers, or they spend their last seconds on complaints.
  const stop = async (): Promise<void> => {
    await Promise.all([controllerManager.stop(), scheduler.stop()]);
    await apiServer.process.stop();
    await etcd.process.stop();
  };

  try {
    await etcd.process.start();
    await apiServer.process.start();
    await Promise.all([controllerManager.start(), scheduler.start()]);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ...server,
    adminKubeconfig: writeKubeconfig(folder, server, { name: 'admin', token: credentials.tokens.admin }),
    kwokKubeconfig: writeKubeconfig(folder, server, { name: 'kwok', token: credentials.tokens.kwok }),
    kubeconfigFor: (asked) => writeKubeconfig(folder, server, asked),
    processes,
    ...(auditLog === undefined ? {} : { auditLog }),
    stop,
  };
}

async function describeEtcd(folder: string): Promise<{ url: string; process: ManagedProcess }> {
  const url = `http://127.0.0.1:${await freePort()}`;
  const peerUrl = `http://127.0.0.1:${await freePort()}`;
  return {
    url,
    process: managedProcess({
      name: 'etcd',
      command: await resolveTool('etcd'),
      args: [
        `--data-dir=${join(folder, 'etcd')}`,
        `--listen-client-urls=${url}`,
        `--advertise-client-urls=${url}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=default=${peerUrl}`,
        // What a killed process wrote is safe in the page cache; only a power loss of this machine would lose it.
        '--unsafe-no-fsync',
        '--quota-backend-bytes=4294967296',
        '--log-level=warn',
      ],
      logFile: join(folder, 'logs', 'etcd.log'),
      ready: async (signal) => (await fetch(`${url}/health`, { signal })).ok,
    }),
  };
}

async function describeApiServer(
  folder: string,
  etcdUrl: string,
  credentials: Credentials,
  auditLog: string | undefined,
): Promise<{ url: string; caFile: string; process: ManagedProcess }> {
  const port = await freePort();
  const url = `https://127.0.0.1:${port}`;
  const pki = join(folder, 'pki');
  // Generated by the server at its first start, for 127.0.0.1; kept at later ones.
  const caFile = join(pki, 'apiserver.crt');
  const args = [
    `--etcd-servers=${etcdUrl}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--secure-port=${port}`,
    `--cert-dir=${pki}`,
    // A loopback address is refused as an endpoint of the kubernetes Service.
    '--endpoint-reconciler-type=none',
    '--service-cluster-ip-range=10.96.0.0/16',
    `--token-auth-file=${credentials.tokenFile}`,
    '--authorization-mode=RBAC',
    '--allow-privileged=true',
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${credentials.serviceAccountKeyFile}`,
    `--service-account-signing-key-file=${credentials.serviceAccountKeyFile}`,
    '--max-requests-inflight=2000',
    '--max-mutating-requests-inflight=1000',
    '--profiling=false',
    ...(auditLog === undefined ? [] : auditFlags(folder, auditLog)),
  ];
  const readyz = async (signal: AbortSignal): Promise<boolean> => {
    const ca = readFileSync(caFile, 'utf8');
    return (await statusOf({ url: `${url}/readyz`, ca, token: credentials.tokens.admin, signal })) === 200;
  };
  const logFile = join(folder, 'logs', 'kube-apiserver.log');
  const command = await resolveTool('kube-apiserver');
  return { url, caFile, process: managedProcess({ name: 'kube-apiserver', command, args, logFile, ready: readyz }) };
}

async function describeControllerManager(
  folder: string,
  server: { url: string; caFile: string },
  credentials: Credentials,
  nodeMonitorGraceMs = 4000,
): Promise<ManagedProcess> {
  const name = 'kube-controller-manager';
  const port = await freePort();
  const kubeconfig = writeKubeconfig(folder, server, { name, token: credentials.tokens[name] });
  return managedProcess({
    name,
    command: await resolveTool(name),
    args: [
      ...clientFlags(kubeconfig, port),
      '--use-service-account-credentials=true',
      `--service-account-private-key-file=${credentials.serviceAccountKeyFile}`,
      `--root-ca-file=${server.caFile}`,
      '--node-monitor-period=1s',
      `--node-monitor-grace-period=${nodeMonitorGraceMs}ms`,
    ],
    logFile: join(folder, 'logs', `${name}.log`),
    // Healthy alone is too early: before its controllers made this account, admission refuses every pod.
    ready: async (signal) => {
      const url = `${server.url}/api/v1/namespaces/default/serviceaccounts/default`;
      const ca = readFileSync(server.caFile, 'utf8');
      const healthy = (await statusOf({ url: `https://127.0.0.1:${port}/healthz`, signal })) === 200;
      return healthy && (await statusOf({ url, ca, token: credentials.tokens.admin, signal })) === 200;
    },
  });
}

async function describeScheduler(
  folder: string,
  server: { url: string; caFile: string },
  credentials: Credentials,
): Promise<ManagedProcess> {
  const name = 'kube-scheduler';
  const port = await freePort();
  const kubeconfig = writeKubeconfig(folder, server, { name, token: credentials.tokens[name] });
  return managedProcess({
    name,
    command: await resolveTool(name),
    args: clientFlags(kubeconfig, port),
    logFile: join(folder, 'logs', `${name}.log`),
    ready: async (signal) => (await statusOf({ url: `https://127.0.0.1:${port}/healthz`, signal })) === 200,
  });
}

/** Of controller manager and scheduler: one instance each, and never what a measurement waits for. */
function clientFlags(kubeconfig: string, port: number): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
    '--leader-elect=false',
    '--kube-api-qps=1000',
    '--kube-api-burst=2000',
    '--profiling=false',
  ];
}

/** Audit rules know neither prefixes of names nor of groups: the cluster's own parts are left out instead. */
function auditFlags(folder: string, auditLog: string): string[] {
  const policy = {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived'],
    omitManagedFields: true,
    rules: [
      { level: 'None', resources: [{ group: 'coordination.k8s.io', resources: ['leases'] }] },
      { level: 'None', userGroups: ['system:serviceaccounts:kube-system'] },
      { level: 'Metadata', userGroups: ['system:serviceaccounts'] },
      { level: 'None' },
    ],
  };
  const policyFile = join(folder, 'audit-policy.yaml');
  writeFileSync(policyFile, stringify(policy));
  return [`--audit-policy-file=${policyFile}`, `--audit-log-path=${auditLog}`, '--audit-log-maxsize=10000'];
}
