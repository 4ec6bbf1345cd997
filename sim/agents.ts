import { fork, type ChildProcess } from 'node:child_process';
import { mkdirSync, openSync, closeSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { KubeClient } from '../kube/client.ts';
import { startReflector } from '../kube/reflector.ts';
import type { AgentSettings } from '../agent/options.ts';
import { managedProcess } from './processes.ts';
import { inBackground, untilWritten } from './retry.ts';
import { unwatch, watch } from './watchdog.ts';

export type AgentMode = 'process-per-node' | 'one-process';

export interface AgentsOptions {
  readonly client: KubeClient;
  /** Logs go to `<folder>/logs`. */
  readonly folder: string;
  readonly mode: AgentMode;
  readonly apiServer: { readonly url: string; readonly caFile: string };
  readonly onError: (error: unknown) => void;
}

/** The real agents, each started when its machine has booted and its DaemonSet pod is bound to it. */
export interface Agents {
  /** Runs the agent of a machine until `signal` is aborted, which is the loss of its power. */
  run(node: { name: string; folder: string; root: string }, signal: AbortSignal): void;
  stop(): Promise<void>;
}

interface AgentPod {
  readonly name: string;
  readonly uid: string;
}

interface TokenRequest {
  status: { token: string; expirationTimestamp: string };
}

const NAMESPACE = 'kairos-agent';
const SERVICE_ACCOUNT = 'kairos-agent';
const POD_LABEL = 'app.kubernetes.io/name=kairos-agent';
const TOKEN_SECONDS = 600;
/** Kubelet asks for the next token when this part of its life is over. */
const RENEW_AFTER = 0.8;
/** The machine's files change at a boot only; what an agent would notice later is tested in its own room. */
const POLL_INTERVAL_MS = 10_000;
const REPORT_INTERVAL_MS = 3_600_000;

const HOST_PROGRAM = fileURLToPath(new URL('agent-host.ts', import.meta.url));
const AGENT_PROGRAM = fileURLToPath(new URL('../agent/main.ts', import.meta.url));

export function startAgents(options: AgentsOptions): Agents {
  const { client } = options;
  const server = new URL(options.apiServer.url);
  const host = options.mode === 'one-process' ? startHost(join(options.folder, 'logs')) : undefined;
  // By node: the DaemonSet has one pod on each.
  const pods = startReflector<AgentPod & { deleting: boolean }>(client, {
    path: `/api/v1/namespaces/${NAMESPACE}/pods`,
    query: { labelSelector: POD_LABEL, fieldSelector: 'spec.nodeName!=' },
    key: ({ spec }) => (spec as { nodeName: string }).nodeName,
    project: ({ metadata: { name, uid, deletionTimestamp } }) => ({
      name,
      uid,
      deleting: deletionTimestamp !== undefined,
    }),
  });

  /** As kubelet mounts it: bound to the pod, and with it to the node, whose name the token then carries. */
  async function writeToken(pod: AgentPod, tokenFile: string, signal: AbortSignal): Promise<boolean> {
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        expirationSeconds: TOKEN_SECONDS,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid },
      },
    };
    const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${SERVICE_ACCOUNT}/token`;
    const answer = await untilWritten(
      () => client.request<TokenRequest>({ verb: 'create', path, body, signal }),
      signal,
    );
    if (answer === undefined) return false;
    writeFileSync(`${tokenFile}.new`, answer.status.token, { mode: 0o600 });
    renameSync(`${tokenFile}.new`, tokenFile);
    return true;
  }

  async function serve(node: { name: string; folder: string; root: string }, signal: AbortSignal): Promise<void> {
    const folder = join(node.folder, 'agent');
    mkdirSync(folder, { recursive: true });
    const tokenFile = join(folder, 'token');
    const settings: AgentSettings = {
      nodeName: node.name,
      hostRoot: node.root,
      apiServer: { host: server.hostname, port: Number(server.port), caFile: options.apiServer.caFile, tokenFile },
      reportIntervalMs: REPORT_INTERVAL_MS,
      pollIntervalMs: POLL_INTERVAL_MS,
      version: 'sim',
      healthPort: undefined,
    };
    while (!signal.aborted) {
      const pod = await pods.waitFor(node.name, (pod) => (pod?.deleting === false ? pod : undefined), signal);
      const over = new AbortController();
      const life = AbortSignal.any([signal, over.signal]);
      const changed = pods.waitFor(
        node.name,
        (now) => (now?.uid === pod.uid && !now.deleting ? undefined : true),
        life,
      );
      changed.then(() => over.abort()).catch(() => undefined);
      if (!(await writeToken(pod, tokenFile, signal))) {
        over.abort();
        await sleep(200, undefined, { signal });
        continue;
      }
      if (host === undefined) inBackground(runProcess(settings, options.folder, life), life, options.onError);
      else host.run(settings, life);
      await keepToken(() => writeToken(pod, tokenFile, life), life);
    }
  }

  return {
    run(node, signal) {
      inBackground(serve(node, signal), signal, options.onError);
    },
    async stop() {
      pods.stop();
      await host?.stop();
    },
  };
}

async function keepToken(renew: () => Promise<boolean>, life: AbortSignal): Promise<void> {
  while (!life.aborted) {
    await sleep(TOKEN_SECONDS * 1000 * RENEW_AFTER, undefined, { signal: life }).catch(() => undefined);
    if (!life.aborted) await renew().catch(() => undefined);
  }
}

/** The agent as the DaemonSet's image starts it; started again when it ends, killed when `life` is over. */
async function runProcess(settings: AgentSettings, folder: string, life: AbortSignal): Promise<void> {
  const agent = managedProcess({
    name: `agent-${settings.nodeName}`,
    command: process.execPath,
    args: ['--no-warnings', AGENT_PROGRAM],
    env: {
      NODE_NAME: settings.nodeName,
      HOST_ROOT: settings.hostRoot,
      KUBERNETES_SERVICE_HOST: settings.apiServer.host,
      KUBERNETES_SERVICE_PORT: String(settings.apiServer.port),
      TOKEN_FILE: settings.apiServer.tokenFile,
      CA_FILE: settings.apiServer.caFile,
      REPORT_INTERVAL: `${settings.reportIntervalMs}ms`,
      POLL_INTERVAL: `${settings.pollIntervalMs}ms`,
      AGENT_VERSION: settings.version,
    },
    logFile: join(folder, 'logs', `agent-${settings.nodeName}.log`),
  });
  life.addEventListener('abort', () => void agent.kill('SIGKILL'), { once: true });
  while (!life.aborted) {
    await agent.start();
    await agent.ended();
    await sleep(1000, undefined, { signal: life });
  }
}

/** One process for the agents of all machines: for simulations with hundreds of them. */
function startHost(logs: string) {
  mkdirSync(logs, { recursive: true });
  const log = openSync(join(logs, 'agent-host.log'), 'a');
  const child: ChildProcess = fork(HOST_PROGRAM, [], {
    detached: true,
    execArgv: ['--no-warnings'],
    stdio: ['ignore', log, log, 'ipc'],
  });
  closeSync(log);
  const { pid } = child;
  if (pid !== undefined) watch(pid);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  void ended.then(() => (pid === undefined ? undefined : unwatch(pid)));
  const tell = (message: object): void => {
    if (child.connected) child.send(message);
  };
  return {
    run(settings: AgentSettings, life: AbortSignal): void {
      if (life.aborted) return;
      tell({ start: settings });
      life.addEventListener('abort', () => tell({ stop: settings.nodeName }), { once: true });
    },
    async stop(): Promise<void> {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
