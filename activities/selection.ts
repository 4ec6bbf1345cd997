import type { RolloutContext } from '../api/messages.ts';
import { MANAGED_LABEL } from '../api/names.ts';
import type { NodeView } from '../kube/nodes.ts';
import type { OrderedNode } from '../policy/order.ts';
import { versionOf } from '../policy/release.ts';
import { matches } from '../policy/selector.ts';
import type { ClusterView } from './cluster-view.ts';
import { hostedOn } from './hosting.ts';

/** The nodes that a spec selects, by labels, and by name where it says names. */
export function selectNodes(
  view: ClusterView,
  spec: Pick<RolloutContext['spec'], 'nodeNames' | 'nodeSelector'>,
): NodeView[] {
  const names = spec.nodeNames === undefined ? undefined : new Set(spec.nodeNames);
  return [...view.nodes.values()].filter(
    (node) =>
      node.labels[MANAGED_LABEL] !== 'false' &&
      (names === undefined || names.has(node.name)) &&
      matches(spec.nodeSelector, node.labels),
  );
}

/** What decides, beside its name, when the turn of a node is. Its host pods may move: each wave looks again. */
export function turnOf(
  view: ClusterView,
  { name, labels }: Pick<NodeView, 'name' | 'labels'>,
): Pick<OrderedNode, 'zone' | 'version' | 'host'> {
  const release = view.kairosNodes.get(name)?.status.release;
  const version = release === undefined ? undefined : versionOf(release);
  const zone = labels['topology.kubernetes.io/zone'];
  return {
    host: hostedOn(view, name).length > 0,
    ...(version !== undefined && { version }),
    ...(zone !== undefined && { zone }),
  };
}
