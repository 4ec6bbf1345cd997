import type { RolloutContext } from '../api/messages.ts';
import { readBudget } from '../kube/budgets.ts';
import { KubeError } from '../kube/errors.ts';
import { type PodView, readAllPods, tryEviction } from '../kube/pods.ts';
import { listLocalClaims } from '../kube/volumes.ts';
import { decideDrain, drainOf } from '../policy/drain.ts';
import { type PlannedPod, type PodsOfPlan, type TriedEviction, evictedOf, worthTrying } from '../policy/plan-risks.ts';
import type { ClusterView } from './cluster-view.ts';

/** Evictions that a plan tries at once, and at all: of the controllers beyond that it says that they were not tried. */
const AT_ONCE = 10;
const TRIED = 1_000;

export interface PodFindings extends PodsOfPlan {
  tried: TriedEviction[];
  /** What could not be looked at, and why. */
  notTried: string[];
}

/**
 * What is known of the pods on these nodes, which are to be drained. One paged read of all pods of the cluster: a read for each node
 * would be more requests, and would not tell how many pods a controller has elsewhere. Only pods of planned nodes that
 * a drain would evict or refuse are kept. Then one eviction of each controller is tried, without carrying it out.
 * Rejects where the API server did not decide on the lists, so that the plan is made again.
 */
export async function lookAtPods(
  view: ClusterView,
  context: RolloutContext,
  nodes: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<PodFindings> {
  if (nodes.size === 0) return { pods: [], replicas: new Map(), localClaims: undefined, tried: [], notTried: [] };
  const pods: PlannedPod[] = [];
  const replicas = new Map<string, number>();
  const notTried: string[] = [];
  const options = drainOf(context.spec);
  const atMs = Date.now();
  await readAllPods(
    view.client,
    (pod) => {
      const uid = pod.owner?.uid;
      if (uid !== undefined && !pod.deleting) replicas.set(uid, (replicas.get(uid) ?? 0) + 1);
      if (!nodes.has(pod.nodeName)) return;
      const planned = plannedPod(pod);
      if (decideDrain(planned, options, atMs).action !== 'leave') pods.push(planned);
    },
    signal,
  );
  const localClaims = await listLocalClaims(view.client, signal).catch((error: unknown) => {
    if (!isRefusal(error)) throw error;
    notTried.push(`which volumes are of one node only could not be read: ${error.message}`);
    return undefined;
  });
  const worth = worthTrying(evictedOf(pods, options, atMs));
  if (worth.length > TRIED)
    notTried.push(`the evictions of ${worth.length - TRIED} of ${worth.length} workloads were not tried: too many`);
  const tried = await tryAll(view, worth.slice(0, TRIED), notTried, signal);
  return { pods, replicas, localClaims, tried, notTried };
}

/** The API server has decided, and asking again changes nothing. */
const isRefusal = (error: unknown): error is KubeError => error instanceof KubeError && !error.retryable;

function plannedPod(pod: PodView): PlannedPod {
  const { namespace, name, uid, labels, phase, deleting, deletionTimestamp, mirror, ready, hasEmptyDir, owner } = pod;
  return {
    namespace,
    name,
    uid,
    labels,
    phase,
    deleting,
    mirror,
    ready,
    hasEmptyDir,
    node: pod.nodeName,
    claims: pod.volumesClaims.map((claim) => `${namespace}/${claim}`),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    ...(owner === undefined
      ? {}
      : { ownerKind: owner.kind, ownerUID: owner.uid, owner: `${owner.kind} ${owner.name}` }),
  };
}

/** So many at once. An eviction that got no answer is said to be untried: a plan does not wait for a webhook that is down. */
async function tryAll(
  view: ClusterView,
  pods: readonly PlannedPod[],
  notTried: string[],
  signal: AbortSignal,
): Promise<TriedEviction[]> {
  const found: TriedEviction[] = [];
  const queue = [...pods];
  const failures: string[] = [];
  const one = async () => {
    for (let pod = queue.shift(); pod !== undefined; pod = queue.shift()) {
      signal.throwIfAborted();
      try {
        const answer = await tryOne(view, pod);
        if (answer !== undefined) found.push(answer);
      } catch (error) {
        failures.push(`${pod.namespace}/${pod.name}: ${(error as Error).message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  if (failures.length > 0)
    notTried.push(`${failures.length} of ${pods.length} evictions got no answer, such as that of ${failures[0]}`);
  return found.sort((a, b) => (a.pod.uid < b.pod.uid ? -1 : 1));
}

async function tryOne(view: ClusterView, pod: PlannedPod): Promise<TriedEviction | undefined> {
  const answer = await tryEviction(view.client, pod);
  if (answer.outcome === 'Evicted' || answer.outcome === 'Gone') return undefined;
  if (answer.outcome === 'Refused') return { pod, refused: true, message: answer.message };
  if (answer.namespaceTerminating === true) return undefined;
  const [budget] = answer.budgets;
  if (budget === undefined) return { pod, refused: false, message: answer.message };
  const state = await readBudget(view.client, pod.namespace, budget);
  return {
    pod,
    budget: `${pod.namespace}/${budget}`,
    refused: false,
    message: answer.message,
    ...(state === undefined ? {} : { state }),
  };
}
