import type { FailedNode, RolloutContext } from '../api/messages.ts';
import { isFailure } from '../policy/placement.ts';
import { sameAttempt } from '../policy/recovery.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';

export type LateVerdict = FailedNode & { failure: boolean };

/**
 * What the KairosNodes of nodes that ended badly say by now, where that is another verdict for the same attempt: evidence
 * may have come while their rollout went on. It only reads.
 */
export function readLateVerdicts(
  view: ClusterView,
  { context, nodes }: { context: RolloutContext; nodes: Pick<FailedNode, 'name' | 'verdict'>[] },
): LateVerdict[] {
  assertCluster(view, context.cluster);
  return nodes.flatMap(({ name, verdict: was }) => {
    const last = view.kairosNodes.get(name)?.status.lastAttempt;
    if (last === undefined || last.verdict === was || !sameAttempt(last.request, context.request)) return [];
    const { verdict, message = '' } = last;
    return [{ name, verdict, message: message.slice(0, 1000), failure: isFailure(verdict) }];
  });
}
