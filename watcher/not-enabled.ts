import { API_VERSION, OPERATOR_FIELD_MANAGER, OPERATOR_GROUP } from '../api/names.ts';
import type { Condition, NodeOpUpgrade } from '../api/types.ts';
import { mayI } from '../kube/access-review.ts';
import { isReason } from '../kube/errors.ts';
import { listAll } from '../kube/list.ts';
import { patchNodeOpUpgradeStatus } from '../kube/node-op-upgrades.ts';
import { pause } from '../kube/pause.ts';
import { isFinal } from '../policy/engine.ts';
import type { WatcherContext } from './context.ts';

const LOOK_EVERY_MS = 60_000;
/** Where that is not allowed, which is so by default. */
const REFUSED_LOOK_MS = 10 * 60_000;
const ALL = `/apis/${OPERATOR_GROUP}/${API_VERSION}/nodeopupgrades`;
const LIST_ALL = { verb: 'list', group: OPERATOR_GROUP, resource: 'nodeopupgrades' };
const TYPE = 'NamespaceNotEnabled';

/**
 * Tells NodeOpUpgrades in namespaces that the operator does not serve that nobody carries them out, as long as the Lease
 * is held. It takes a right that the operator's own manifests do not give: to list NodeOpUpgrades in all namespaces and
 * to write their status. Without it nothing is said, as nothing is seen.
 */
export async function tellNotEnabled(context: WatcherContext, held: AbortSignal): Promise<void> {
  const { client, namespaces, log } = context;
  while (!held.aborted) {
    try {
      // Asked for, not tried: a refusal would be taken for a right that was lost.
      if (!(await mayI(client, LIST_ALL))) {
        await pause(REFUSED_LOOK_MS, held);
        continue;
      }
      const elsewhere: NodeOpUpgrade[] = [];
      await listAll(
        client,
        ALL,
        {},
        (object) => {
          if (!namespaces.includes(object.metadata.namespace ?? '')) elsewhere.push(object as unknown as NodeOpUpgrade);
        },
        held,
      );
      for (const upgrade of elsewhere) await tell(context, upgrade);
    } catch (error) {
      if (held.aborted) return;
      const why = (error as Error).message;
      log.debug({ error: why }, 'NodeOpUpgrades of other namespaces are not seen');
    }
    await pause(LOOK_EVERY_MS, held);
  }
}

async function tell({ client, namespaces }: WatcherContext, { metadata, status }: NodeOpUpgrade): Promise<void> {
  const known = status?.conditions ?? [];
  const { namespace = '', name, uid = '', generation = 0 } = metadata;
  // What was carried out while the namespace was served keeps its end.
  if (status?.rollout?.generation === generation && isFinal(status.rollout.phase)) return;
  const message = notEnabledMessage(namespace, namespaces);
  const before = known.find(({ type }) => type === TYPE);
  if (before?.status === 'True' && before.message === message && before.observedGeneration === generation) return;
  const condition: Condition = {
    type: TYPE,
    status: 'True',
    reason: 'NotServed',
    message,
    observedGeneration: generation,
    lastTransitionTime: before?.status === 'True' ? before.lastTransitionTime : new Date().toISOString(),
  };
  try {
    // The list is replaced as a whole: what it said before stays.
    const conditions = [...known.filter(({ type }) => type !== TYPE), condition];
    await patchNodeOpUpgradeStatus(
      client,
      namespace,
      name,
      {
        metadata: { uid },
        status: { conditions, ...(status?.phase === undefined ? { phase: 'Pending', message } : {}) },
      },
      OPERATOR_FIELD_MANAGER,
    );
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict')) throw error;
  }
}

/** What a person reads who made a NodeOpUpgrade where nobody looks. */
const notEnabledMessage = (namespace: string, served: readonly string[]) =>
  `nobody carries this out: the operator serves NodeOpUpgrades in ${served.join(', ')}. Make it there, or add ${namespace} to KAIROS_NAMESPACES of watcher and worker and apply their Roles of deploy/operator in it`;
