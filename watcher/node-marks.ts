import { nodeWorkflowID } from '../api/messages.ts';
import { MANAGED_LABEL } from '../api/names.ts';
import { isReason } from '../kube/errors.ts';
import { patchKairosNodeStatus, setKairosNodeOwner, type KairosNodeView } from '../kube/kairos-nodes.ts';
import { writeNode, type NodeView } from '../kube/nodes.ts';
import type { WatcherContext } from './context.ts';

/**
 * Ties a KairosNode to its Node, so that it goes with it, and labels the Node as managed. The agent cannot: it does
 * not know the Node's UID, and may not write Nodes. A person's `kairos.io/managed=false` is respected.
 */
export async function adoptNode(context: WatcherContext, name: string): Promise<void> {
  const { client, nodes, kairosNodes, log } = context;
  const node = nodes.get(name);
  const kairosNode = kairosNodes.get(name);
  if (node === undefined || kairosNode === undefined) return;
  try {
    if (isOfEarlierNode(context, kairosNode, node)) await patchKairosNodeStatus(client, name, NOTHING_DONE);
    if (kairosNode.ownerUID !== node.uid) await setKairosNodeOwner(client, name, { nodeUID: node.uid });
    if (node.labels[MANAGED_LABEL] === undefined) await writeNode(client, name, { managed: 'true' });
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
    log.debug({ node: name }, 'node went away');
  }
}

const NOTHING_DONE = {
  upgradeState: null,
  step: null,
  stepSince: null,
  message: null,
  rollout: null,
  workflowID: null,
  inHand: null,
  lastAttempt: null,
  conditions: null,
};

/**
 * Whether a KairosNode tells of a node that was deleted, and made again under its name before the garbage collector came
 * for it: what was done to that one says nothing about this one, unless this one is in hand already.
 */
const isOfEarlierNode = ({ cluster }: WatcherContext, { ownerUID, status }: KairosNodeView, node: NodeView): boolean =>
  ownerUID !== undefined && ownerUID !== node.uid && status.workflowID !== nodeWorkflowID(cluster, node);
