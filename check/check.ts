import type { Connection } from '@temporalio/client';
import type { ClusterRef } from '../api/messages.ts';
import type { KubeClient } from '../kube/client.ts';
import { readClusterIdentity } from '../kube/identity.ts';
import { pause } from '../kube/pause.ts';
import { timingFor } from '../policy/strategy.ts';
import { explainApiServer } from '../process/api-server.ts';
import { askWorker, NoWorkerError } from '../process/ask-worker.ts';
import { requireResources } from '../process/resources.ts';
import { requireRights } from '../process/rights.ts';
import { explainTemporal } from '../process/temporal-trouble.ts';
import type { TemporalSettings } from '../process/temporal.ts';
import { CHECK_MANIFEST, CHECK_RIGHTS } from './rights.ts';
import type { CheckSettings } from './settings.ts';

const DEFINITIONS = 'custom resource definitions';
const AGAIN_MS = 1_000;
const CALL_MS = 5_000;
/** How long one question to a worker may take, which also runs into a worker that is just starting. */
const WORKER_MS = 15_000;

/** What of an installation was asked, and how it answered. */
export interface Answer {
  readonly part: string;
  readonly works: boolean;
  /** What was seen; where it does not work, why, and what to do. */
  readonly text: string;
}

export interface Checked {
  readonly settings: CheckSettings;
  readonly client: KubeClient;
  readonly temporal: TemporalSettings;
  readonly connection: Connection;
}

/** Asks every part until it answers, or the time is over; what hangs on another part that is missing is said so. */
export async function check({ settings, client, temporal, connection }: Checked): Promise<Answer[]> {
  const deadlineMs = performance.now() + settings.timeoutMs;
  const ask = (part: string, attempt: () => Promise<string>, explain: (error: unknown) => string | Promise<string>) =>
    keepAsking(part, attempt, explain, deadlineMs);

  let cluster: ClusterRef | undefined;
  const apiServer = async () => {
    const { gitVersion } = await client.request<{ gitVersion: string }>({ verb: 'get', path: '/version' });
    await requireRights(client, CHECK_RIGHTS, settings.namespace, CHECK_MANIFEST);
    cluster = await readClusterIdentity(client, settings.clusterName);
    return `answers as ${cluster.id}, Kubernetes ${gitVersion}`;
  };
  const definitions = async () =>
    (await requireResources(client)) ?? 'are installed, and have all fields of this version';
  const namespace = async () => {
    const { workflowService } = connection;
    await connection.withDeadline(Date.now() + CALL_MS, () =>
      workflowService.describeNamespace({ namespace: temporal.namespace }),
    );
    return `answers at ${temporal.address}, namespace ${temporal.namespace}`;
  };
  const worker = async (id: ClusterRef) => {
    const input = { cluster: id, timing: timingFor(1, false) };
    const { nodes, kairosNodes, lacks } = await askWorker(connection, temporal.namespace, input, WORKER_MS);
    const but = lacks === undefined ? '' : `; but ${lacks}`;
    return `answers on kairos-${id.id}, and sees ${nodes} nodes, ${kairosNodes} of them with a KairosNode${but}`;
  };

  const answers = await Promise.all([
    ask('API server', apiServer, explainApiServer),
    ask(DEFINITIONS, definitions, explainApiServer),
    ask('Temporal', namespace, (error) => explainTemporal(error, temporal)),
  ]);
  const id = cluster;
  const missing = answers.filter(({ part, works }) => !works && part !== DEFINITIONS).map(({ part }) => part);
  if (id === undefined || missing.length > 0) {
    const text = `not asked: it is reached through ${missing.join(' and ')}; mend that first, then run this again`;
    return [...answers, { part: 'worker', works: false, text }];
  }
  const explain = (error: unknown) =>
    error instanceof NoWorkerError ? error.message : explainTemporal((error as Error).cause ?? error, temporal);
  return [...answers, await ask('worker', () => worker(id), explain)];
}

async function keepAsking(
  part: string,
  attempt: () => Promise<string>,
  explain: (error: unknown) => string | Promise<string>,
  deadlineMs: number,
): Promise<Answer> {
  for (;;) {
    try {
      return { part, works: true, text: await attempt() };
    } catch (error) {
      if (performance.now() >= deadlineMs) return { part, works: false, text: await explain(error) };
    }
    await pause(AGAIN_MS, new AbortController().signal);
  }
}
