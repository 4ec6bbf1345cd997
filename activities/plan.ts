import type { Plan, RolloutContext } from '../api/messages.ts';
import { MANAGED_LABEL } from '../api/names.ts';
import type { NodeView } from '../kube/nodes.ts';
import { resolveBudget } from '../policy/budget.ts';
import { orderNodes } from '../policy/order.ts';
import { matches } from '../policy/selector.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';
import { DeadlinePassed, waitInActivity } from './waiting.ts';

/** How long a plan waits for the agents of Ready nodes: right after an install they have not reported yet. */
const AGENTS_REPORT_WITHIN_MS = 60_000;

/**
 * Which nodes the rollout upgrades, in which order. Taken once: nodes that join later are not part of it. Waits until
 * the agent of every selected Ready node has reported from the present boot; nodes that stay silent are named.
 */
export async function planRollout(view: ClusterView, context: RolloutContext): Promise<Plan> {
  assertCluster(view, context.cluster);
  const silent = () =>
    selected(view, context).filter(
      (node) => node.ready && view.kairosNodes.get(node.name)?.status.bootID !== node.bootID,
    );
  try {
    await waitInActivity(AGENTS_REPORT_WITHIN_MS, (signal) =>
      view.kairosNodes.waitFor(undefined, () => (silent().length === 0 ? true : undefined), signal),
    );
  } catch (error) {
    if (!(error instanceof DeadlinePassed)) throw error;
  }
  const all = selected(view, context);
  const known = all.filter((node) => view.kairosNodes.get(node.name) !== undefined);
  const { controlPlane, workers } = orderNodes(known);
  const ref = ({ name, uid }: NodeView) => ({ name, uid });
  return {
    controlPlane: controlPlane.map(ref),
    workers: workers.map(ref),
    leftAlone: all
      .filter((node) => !known.includes(node))
      .map((node) => ({ name: node.name, reason: 'NoReport: it does not run Kairos, or its agent has not reported' })),
    maxUnavailable: resolveBudget(context.spec.maxUnavailable, workers.length),
  };
}

function selected(view: ClusterView, { spec }: RolloutContext): NodeView[] {
  const names = spec.nodeNames === undefined ? undefined : new Set(spec.nodeNames);
  return [...view.nodes.values()].filter(
    (node) =>
      node.labels[MANAGED_LABEL] !== 'false' &&
      (names === undefined || names.has(node.name)) &&
      matches(spec.nodeSelector, node.labels),
  );
}
