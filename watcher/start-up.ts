import type { Connection } from '@temporalio/client';
import { taskQueue, type ClusterRef } from '../api/messages.ts';
import type { KubeClient } from '../kube/client.ts';
import { pause } from '../kube/pause.ts';
import type { NodeView } from '../kube/nodes.ts';
import type { Reflector } from '../kube/reflector.ts';
import { explainApiServer } from '../process/api-server.ts';
import type { Program } from '../process/program.ts';
import { keepChecking, waitFor } from '../process/surroundings.ts';
import { ClusterName, OtherNameError } from './cluster-name.ts';

type DescribeRequest = Parameters<Connection['workflowService']['describeTaskQueue']>[0];

const NAME_EVERY_MS = 15_000;
const HOLDER_EVERY_MS = 5_000;
const LOOK_EVERY_MS = 15_000;
const CALL_MS = 5_000;
/** temporal.api.enums.v1.TaskQueueType: workflow tasks, activity tasks. */
const QUEUE_KINDS = [1, 2] as unknown as NonNullable<DescribeRequest['taskQueueType']>[];

/** Waits until no operator uses another name for this cluster, then keeps ours. Rejects only with the signal's reason. */
export async function holdClusterName(client: KubeClient, cluster: ClusterRef, program: Program): Promise<void> {
  const { settings, log, stop } = program;
  const name = new ClusterName(client, settings.namespace, cluster.id);
  const former = await waitFor('name of the cluster', () => name.hold(), explainApiServer, program);
  if (former !== undefined) {
    log.warn(
      { former, now: cluster.id },
      'the cluster has another name now: rollouts that are open under the former one go on without status, and are not cancelled with their NodeOpUpgrade',
    );
  }
  const renew = async () => {
    try {
      await name.hold();
    } catch (error) {
      // We were away for long, and the name was taken: waiting for it is what a start does.
      if (error instanceof OtherNameError) stop(error.message);
      // That the API server does not answer is told elsewhere.
    }
    return undefined;
  };
  void keepChecking({ part: 'name of the cluster', everyMs: NAME_EVERY_MS, ask: renew }, program);
}

/** Tells in the log which watcher writes the status, at each change. Never rejects. */
export async function tellWhoWrites(client: KubeClient, { settings, log, signal }: Program): Promise<void> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(settings.namespace)}/leases/kairos-watcher`;
  const holderNow = async () => {
    const lease = await client.request<{ spec?: { holderIdentity?: string | null } }>({ verb: 'get', path, signal });
    return lease.spec?.holderIdentity ?? undefined;
  };
  for (let told: string | undefined; !signal.aborted; await pause(HOLDER_EVERY_MS, signal)) {
    // Not there yet, or the API server is away, which is told elsewhere.
    const holder = await holderNow().catch(() => undefined);
    if (holder === undefined || holder === told) continue;
    told = holder;
    const words = holder === settings.identity ? 'this watcher writes the status' : 'another watcher writes the status';
    log.info({ holder, lease: `${settings.namespace}/kairos-watcher` }, words);
  }
}

/** Why nothing would happen although all is well here: nobody takes the tasks of this cluster, from where we look. */
export function checkForWorkers(
  connectionNow: () => Connection,
  namespace: string,
  cluster: ClusterRef,
  program: Program,
): void {
  const queue = taskQueue(cluster);
  const ask = async () => {
    const connection = connectionNow();
    const pollers = await Promise.all(
      QUEUE_KINDS.map((taskQueueType) =>
        connection.withDeadline(Date.now() + CALL_MS, () =>
          connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType }),
        ),
      ),
    ).catch(() => undefined);
    // That Temporal does not answer is told elsewhere.
    if (pollers === undefined || pollers.every((kind) => (kind.pollers ?? []).length > 0)) return undefined;
    return `no worker takes tasks from ${queue} in Temporal's namespace ${namespace}: rollouts do not go on. Check that the worker runs, is ready, and has the KAIROS_CLUSTER_NAME, TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE of the watcher`;
  };
  void keepChecking({ part: 'worker', everyMs: LOOK_EVERY_MS, ask, essential: false }, program);
}

/** Nodes in the hand of an operator that calls this cluster by another name, wherever that operator runs. */
export function checkForStrangers(nodes: Reflector<NodeView>, cluster: ClusterRef, program: Program): void {
  const ask = () => {
    const strange = [...nodes.values()].filter(
      ({ owner }) => owner?.startsWith('node/') === true && !owner.startsWith(`node/${cluster.id}/`),
    );
    const [first] = strange;
    return Promise.resolve(
      first === undefined
        ? undefined
        : `${strange.length} nodes, such as ${first.name}, are in the hand of an operator that calls this cluster otherwise (${first.owner}), not ${cluster.id}: if it still runs, stop it or this one; if not, free the nodes by hand`,
    );
  };
  void keepChecking({ part: 'nodes', everyMs: LOOK_EVERY_MS, ask, essential: false }, program);
}
