import { NODE_LEASE_HOLDER } from '../api/names.ts';
import { isReason } from '../kube/errors.ts';
import { releaseNodeLease } from '../kube/node-leases.ts';
import { readNode, writeNode } from '../kube/nodes.ts';
import { heldFor } from '../policy/recovery.ts';
import { mayBeCordoned, type NodeFacts } from '../policy/uninstall.ts';
import type { WatcherContext } from '../watcher/context.ts';

/**
 * Puts a node back to service in the worker's place: the mark goes, and with it the cordon where that may be ours. Only
 * as it was seen: a node that has changed meanwhile is left to the next look. The Lease by which other tools keep off it
 * goes with the mark.
 */
export async function giveBack(
  { client, log }: WatcherContext,
  facts: NodeFacts,
  nodeLeaseNamespace?: string,
): Promise<void> {
  try {
    const node = await readNode(client, facts.name);
    if (node.owner === undefined || node.owner !== facts.owner || node.bootID !== facts.bootID) return;
    const cordoned = node.unschedulable && (heldFor(node.owner) !== undefined || mayBeCordoned(facts.status));
    await writeNode(client, node.name, {
      owner: null,
      ...(cordoned ? { unschedulable: null } : {}),
      resourceVersion: node.resourceVersion,
    });
    log.warn({ node: node.name, was: node.owner }, 'put back to service');
    if (nodeLeaseNamespace !== undefined) await releaseLease({ client, log }, nodeLeaseNamespace, node.name);
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict')) throw error;
  }
}

/** Never rejects: a Lease that stays runs out by itself. */
async function releaseLease({ client, log }: Pick<WatcherContext, 'client' | 'log'>, namespace: string, node: string) {
  try {
    await releaseNodeLease(client, namespace, node, NODE_LEASE_HOLDER);
  } catch (error) {
    log.warn({ node, namespace, reason: (error as Error).message }, 'its Lease stays until it runs out');
  }
}
