import { MANAGED_LABEL } from '../api/names.ts';
import { isReason } from '../kube/errors.ts';
import { setKairosNodeOwner } from '../kube/kairos-nodes.ts';
import { writeNode } from '../kube/nodes.ts';
import type { WatcherContext } from './context.ts';

/**
 * Ties a KairosNode to its Node, so that it goes with it, and labels the Node as managed. The agent cannot: it does
 * not know the Node's UID, and may not write Nodes. A person's `kairos.io/managed=false` is respected.
 */
export async function adoptNode({ client, nodes, kairosNodes, log }: WatcherContext, name: string): Promise<void> {
  const node = nodes.get(name);
  const kairosNode = kairosNodes.get(name);
  if (node === undefined || kairosNode === undefined) return;
  try {
    if (kairosNode.ownerUID !== node.uid) await setKairosNodeOwner(client, name, { nodeUID: node.uid });
    if (node.labels[MANAGED_LABEL] === undefined) await writeNode(client, name, { managed: 'true' });
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
    log.debug({ node: name }, 'node went away');
  }
}
