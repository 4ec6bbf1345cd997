import type { NodeRef, RolloutContext } from '../api/messages.ts';
import type { JoinedNodes } from '../api/plan-messages.ts';
import { isLeftToUpgrade } from '../policy/joined.ts';
import { orderNodes } from '../policy/order.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';
import { selectNodes, turnOf } from './selection.ts';
import { readSuperseded } from './superseded.ts';

/** Nodes of each group that one look brings into the rollout; the next look finds the others. */
const MOST = 500;

/**
 * The nodes that the request selects, by labels, and that are left to upgrade now that all others are done: with what
 * the plan knew left out by its caller, those that joined since. In the order of a plan.
 */
export function findJoined(view: ClusterView, input: RolloutContext & { version: string }): JoinedNodes {
  assertCluster(view, input.cluster);
  const { nodeNames: _names, ...spec } = input.spec;
  const left = selectNodes(view, spec).filter(
    (node) =>
      isLeftToUpgrade(
        { bootID: node.bootID, status: view.kairosNodes.get(node.name)?.status },
        input.request,
        input.version,
      ) && readSuperseded(view, input, node) === undefined,
  );
  const { controlPlane, workers } = orderNodes(left.map((node) => ({ ...node, ...turnOf(view, node) })));
  const refs = (nodes: readonly NodeRef[]) => nodes.slice(0, MOST).map(({ name, uid }) => ({ name, uid }));
  return { controlPlane: refs(controlPlane), workers: refs(workers) };
}
