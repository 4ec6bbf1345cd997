import { isReason } from '../kube/errors.ts';
import { readNode, writeNode } from '../kube/nodes.ts';
import { heldFor } from '../policy/recovery.ts';
import { mayBeCordoned, type NodeFacts } from '../policy/uninstall.ts';
import type { WatcherContext } from '../watcher/context.ts';

/**
 * Puts a node back to service in the worker's place: the mark goes, and with it the cordon where that may be ours. Only
 * as it was seen: a node that has changed meanwhile is left to the next look.
 */
export async function giveBack({ client, log }: WatcherContext, facts: NodeFacts): Promise<void> {
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
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict')) throw error;
  }
}
