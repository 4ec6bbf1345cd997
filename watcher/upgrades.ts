import { ROLLOUT_FIELD_MANAGER } from '../api/names.ts';
import type { RolloutInput } from '../api/messages.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { rolloutId } from '../kube/names.ts';
import { patchNodeOpUpgradeStatus, readNodeOpUpgrade } from '../kube/node-op-upgrades.ts';
import { decideEngine } from '../policy/engine.ts';
import { resolveSpec, timingFor } from '../policy/strategy.ts';
import type { WatcherContext } from './context.ts';

/**
 * Brings one NodeOpUpgrade and its rollout together, by what both say now. Repeating it changes nothing. `again` is
 * called when a cancelled rollout has closed, so that what replaces it can start.
 */
export async function reconcileUpgrade(context: WatcherContext, key: string, again: () => void): Promise<void> {
  const { engine, cluster, client, log } = context;
  const [namespace = '', name = ''] = key.split('/');
  const workflowID = rolloutId(cluster.id, namespace, name);
  const resource = await readLive(context, namespace, name);
  const described = await engine.describe(workflowID);
  const decision = decideEngine(resource, described);
  switch (decision.action) {
    case 'nothing':
      return;
    case 'start': {
      if (resource === undefined) return;
      log.info({ upgrade: key, workflow: workflowID, attempt: decision.attempt }, 'starting rollout');
      await engine.start(
        workflowID,
        rolloutInput(context, resource, decision.attempt),
        `${key} → ${resource.spec.image}`,
      );
      return;
    }
    case 'cancel':
      log.info({ upgrade: key, workflow: workflowID, reason: decision.reason }, 'cancelling rollout');
      await engine.cancel(workflowID);
      engine.closed(workflowID).then(again, again);
      return;
    case 'recordEnd': {
      const about = resource?.status?.rollout;
      const { uid = '', generation = 1 } = resource?.metadata ?? {};
      const rollout = {
        workflowID,
        generation,
        attempt: about?.generation === generation ? about.attempt : 1,
        phase: decision.phase,
        message: decision.message,
        finishedAt: new Date().toISOString(),
      };
      await patchNodeOpUpgradeStatus(
        client,
        namespace,
        name,
        { metadata: { uid }, status: { rollout } },
        ROLLOUT_FIELD_MANAGER,
      );
    }
  }
}

/** Decided on a live read: the watch may be behind, and a start cannot be taken back. */
async function readLive(
  { client }: WatcherContext,
  namespace: string,
  name: string,
): Promise<NodeOpUpgrade | undefined> {
  try {
    return await readNodeOpUpgrade(client, namespace, name);
  } catch (error) {
    if (isReason(error, 'NotFound')) return undefined;
    throw error;
  }
}

function rolloutInput(
  { cluster, engine, nodes }: WatcherContext,
  resource: NodeOpUpgrade,
  attempt: number,
): RolloutInput {
  const { namespace = '', name, uid = '', generation = 1 } = resource.metadata;
  return {
    cluster,
    request: { kind: 'NodeOpUpgrade', namespace, name, uid, generation, attempt },
    spec: resolveSpec(resource.spec),
    timing: timingFor(nodes.size, engine.searchAttributes),
  };
}
