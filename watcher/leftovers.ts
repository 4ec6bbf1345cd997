import { nodeWorkflowID, type NodeUpgradeInput, type RolloutRequest } from '../api/messages.ts';
import type { KairosNodeStatus } from '../api/types.ts';
import type { KairosNodeView } from '../kube/kairos-nodes.ts';
import { readNode, type NodeView } from '../kube/nodes.ts';
import { endWasCutOff, lateVerdict } from '../policy/recovery.ts';
import { timingFor } from '../policy/strategy.ts';
import type { WatcherContext } from './context.ts';
import { specOf } from './spec.ts';

/**
 * Looks after a node that nobody looks after any more: its owner mark names a workflow that is closed or unknown to
 * Temporal (terminated, or lost with its database), or it is held for want of evidence that has come since. Starts the
 * node's workflow to finish it; that is idempotent by the workflow's id.
 */
export async function recoverLeftover(context: WatcherContext, name: string): Promise<void> {
  const { client, cluster, engine, nodes, log } = context;
  const seen = nodes.get(name);
  if (seen === undefined || !mayBeLeft(context, seen)) return;
  const workflowID = nodeWorkflowID(cluster, seen);
  if ((await engine.describe(workflowID)).state === 'Open') return;
  // The workflow may have taken its mark back and closed between the watch and the answer.
  const node = await readNode(client, name);
  if (node.uid !== seen.uid || node.owner !== seen.owner) return;
  const late = lateVerdictOf(context, node);
  const why = late === undefined ? 'its workflow is gone' : `${node.owner}, but now it looks ${late}`;
  log.warn({ node: name, workflow: workflowID, why }, 'recovering node');
  const input = recoverInput(context, node, context.kairosNodes.get(name));
  await engine.startNode(workflowID, input, `${name}: ${why}`);
}

/**
 * Whether a node carries a mark that may have outlived its workflow, or its reason; or none, but its KairosNode says that
 * it is in hand: what is between the two writes of an end. Asks nobody.
 */
export const mayBeLeft = (context: WatcherContext, node: NodeView): boolean =>
  node.owner === nodeWorkflowID(context.cluster, node) ||
  endWasCutOff(node, context.kairosNodes.get(node.name)?.status ?? {}) ||
  lateVerdictOf(context, node) !== undefined;

const lateVerdictOf = ({ kairosNodes }: WatcherContext, node: NodeView) =>
  lateVerdict(node.owner, node, kairosNodes.get(node.name)?.status ?? {});

/** What is known of the attempt from the KairosNode, and of its options from the NodeOpUpgrade where that still is there. */
function recoverInput(
  context: WatcherContext,
  { name, uid, controlPlane }: NodeView,
  kairos: KairosNodeView | undefined,
): NodeUpgradeInput {
  const { cluster, engine, nodes, upgrades, namespace } = context;
  const left = kairos?.status.inHand ?? lastAttempt(kairos?.status);
  const request: RolloutRequest = left?.request ?? {
    kind: 'KairosNode',
    namespace,
    name: 'recovery',
    uid: '',
    generation: 0,
    attempt: 0,
  };
  const image = left?.image ?? kairos?.spec.image ?? '';
  const resource = upgrades.get(`${request.namespace}/${request.name}`);
  const spec = resource?.metadata.uid === request.uid ? resource.spec : { image };
  return {
    cluster,
    rolloutID: left?.rollout ?? '',
    request,
    spec: { ...specOf(context, spec), image },
    timing: timingFor(nodes.size, engine.searchAttributes),
    node: { name, uid },
    // Only its place among the control plane matters: it is out already.
    place: { group: controlPlane ? 'control-plane' : 'worker', budget: nodes.size },
    target: { image, pinned: image, architecture: '', version: left?.version ?? '', fields: {} },
    recover: true,
  };
}

function lastAttempt(status: KairosNodeStatus | undefined) {
  const last = status?.lastAttempt;
  return last?.request === undefined ? undefined : { ...last, request: last.request };
}
