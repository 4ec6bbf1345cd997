import { ApplicationFailure } from '@temporalio/common';
import type { RolloutContext } from '../api/messages.ts';
import type { PlanRisk } from '../api/plan-messages.ts';
import type { NodeView } from '../kube/nodes.ts';
import { risk } from '../policy/plan-risks.ts';
import type { KnownTarget } from '../policy/plan-target.ts';
import type { ClusterView } from './cluster-view.ts';
import { prePullImage } from './pre-pull.ts';
import { closedForPulls } from './window-gate.ts';

/**
 * Brings the image to the first Ready node of each architecture, and reads it there: that disrupts nothing, and is what
 * the first step of their upgrade would do. A pull that fails is a risk of the plan, not an error.
 */
export async function pullForPlan(
  view: ClusterView,
  context: RolloutContext,
  nodes: readonly NodeView[],
): Promise<{ targets: KnownTarget[]; risks: PlanRisk[] }> {
  const targets: KnownTarget[] = [];
  const risks: PlanRisk[] = [];
  const byArchitecture = Map.groupBy(nodes, ({ architecture }) => architecture);
  await Promise.all(
    [...byArchitecture].map(async ([architecture, alike]) => {
      const ready = alike.filter((one) => one.ready);
      // The end of a node that is in hand removes all pods of ours from it.
      const node = ready.find(({ owner }) => owner === undefined) ?? ready[0];
      if (node === undefined) {
        const text = `no node of the architecture ${architecture} is Ready: the image was pulled on none of them`;
        risks.push(risk('Notes', 'NotTried', alike.length, text));
        return;
      }
      const closed = closedForPulls(context.spec);
      if (closed !== undefined) {
        const text = `the image was not pulled: ${closed.reason}, and strategy.prePull.when is WindowOpen`;
        risks.push(risk('Notes', 'NotTried', alike.length, text));
        return;
      }
      try {
        const { name, uid } = node;
        const target = await prePullImage(view, { ...context, node: { name, uid } });
        if ('message' in target) risks.push(risk('Notes', 'NotTried', 1, target.message));
        else targets.push({ architecture, version: target.version, fields: target.fields, from: `read on ${name}` });
      } catch (error) {
        if (!(error instanceof ApplicationFailure) || error.nonRetryable !== true) throw error;
        risks.push(risk('Refuses', 'PullFailed', alike.length, error.message));
      }
    }),
  );
  return { targets, risks };
}
