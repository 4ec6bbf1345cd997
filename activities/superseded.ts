import type { RolloutContext } from '../api/messages.ts';
import type { NodeView } from '../kube/nodes.ts';
import { supersededBy, type Winner } from '../policy/superseded.ts';
import type { ClusterView } from './cluster-view.ts';

/**
 * The NodeOpUpgrade that a node is left to, or undefined. Decided by the resources alone: it holds whatever the number of
 * workers, and after the loss of Temporal's database. KairosNodes that were edited by hand are no rivals: the field that
 * a person holds refuses whoever wants another image.
 */
export function readSuperseded(view: ClusterView, input: RolloutContext, node: NodeView): Winner | undefined {
  const { request, spec } = input;
  if (request.kind !== 'NodeOpUpgrade' || !spec.upgradeActive) return undefined;
  return supersededBy(request, node, view.upgrades.values());
}
