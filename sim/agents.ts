import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from '../kube/client.ts';
import { startReflector } from '../kube/reflector.ts';
import type { AgentSettings } from '../agent/options.ts';
import { agentProcesses, sharedAgentProcess } from './agent-processes.ts';
import { KUBELET_WATCH, inBackground, untilWritten } from './retry.ts';

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
  /**
   * SIGKILL to the process that runs the agent of this node (where all share one: to all); it is started again after
   * `downMs`. False when none runs.
   */
  kill(node: string, downMs: number): boolean;
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

export function startAgents(options: AgentsOptions): Agents {
  const { client } = options;
  const server = new URL(options.apiServer.url);
  const logs = join(options.folder, 'logs');
  const processes = options.mode === 'one-process' ? sharedAgentProcess(logs) : agentProcesses(logs, options.onError);
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
    timings: KUBELET_WATCH,
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
      processes.run(settings, life);
      await keepToken(() => writeToken(pod, tokenFile, life), life);
    }
  }

  return {
    run(node, signal) {
      inBackground(serve(node, signal), signal, options.onError);
    },
    kill: (node, downMs) => processes.kill(node, downMs),
    async stop() {
      pods.stop();
      await processes.stop();
    },
  };
}

async function keepToken(renew: () => Promise<boolean>, life: AbortSignal): Promise<void> {
  while (!life.aborted) {
    await sleep(TOKEN_SECONDS * 1000 * RENEW_AFTER, undefined, { signal: life }).catch(() => undefined);
    if (!life.aborted) await renew().catch(() => undefined);
  }
}
