import type { HealthGateSpec } from '../api/rollout-spec.ts';
import { isReason } from '../kube/errors.ts';
import { findResource, readObjects, type ObjectsWanted } from '../kube/objects.ts';
import { queryOf, unwellFields, unwellSamples, unwellWorkloads, type Workload } from '../policy/health.ts';
import type { ClusterView } from './cluster-view.ts';
import { queryPrometheus } from './prometheus.ts';

/** One question; less than what a short activity has. */
const ASK_MS = 5_000;

/**
 * Why a gate is closed that asks a server, asked now; undefined where it is open. What cannot be asked is closed. Never
 * rejects.
 */
export async function askHealth(view: ClusterView, gate: HealthGateSpec): Promise<string | undefined> {
  const signal = AbortSignal.timeout(ASK_MS);
  const { workloads, field, prometheus } = gate;
  try {
    if (workloads !== undefined) {
      const wanted = { ...workloads, apiVersion: 'apps/v1' };
      return unwellWorkloads(workloads, (await read(view, wanted, signal)) as unknown as Workload[]);
    }
    if (field !== undefined) return unwellFields(field, await read(view, field, signal));
    if (prometheus !== undefined) return unwellSamples(prometheus, await ask(view, prometheus, signal));
    return undefined;
  } catch (error) {
    if (signal.aborted) return `no answer within ${ASK_MS / 1000}s: ${said(error)}`;
    return `it cannot be asked: ${said(error)}`;
  }
}

const ask = (
  { prometheusServers = [] }: ClusterView,
  gate: NonNullable<HealthGateSpec['prometheus']>,
  signal: AbortSignal,
) => queryPrometheus({ url: gate.url, query: queryOf(gate) }, prometheusServers, signal);

const said = (error: unknown) => (error instanceof Error ? error.message : String(error));

async function read(view: ClusterView, wanted: ObjectsWanted, signal: AbortSignal) {
  try {
    return await readObjects(view.client, wanted, signal);
  } catch (error) {
    if (!isReason(error, 'Forbidden')) throw error;
    throw await whatToGrant(view, wanted, error);
  }
}

/** The worker reads only what it was given: says what to give it, in the values of the chart. */
async function whatToGrant(view: ClusterView, wanted: ObjectsWanted, refused: unknown): Promise<Error> {
  const { group, plural } = await findResource(view.client, wanted);
  return new Error(
    `the worker may not read ${plural}${group === '' ? '' : `.${group}`}: add {apiGroups: ["${group}"], resources: [${plural}]} to worker.mayRead in the values of the chart, or bind a Role with get and list of them to the ServiceAccount kairos-worker`,
    { cause: refused },
  );
}
