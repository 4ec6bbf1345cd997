import type { GateAnswer, NodeUpgradeInput } from '../api/messages.ts';
import { nodeWorkflowID } from '../api/messages.ts';
import type { KairosNodeView } from '../kube/kairos-nodes.ts';
import type { NodeView } from '../kube/nodes.ts';
import { whoIsInTheWay } from '../policy/budget.ts';
import { misfit } from '../policy/fit.ts';
import { sameVersion, versionOf } from '../policy/release.ts';
import { skewRefusal } from '../policy/skew.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';

/**
 * The questions asked right before a node is touched, answered from the watches. `Wait` frees the node's workflow id:
 * waiting is the wave's. `Done` ends the node without touching it.
 */
export function checkGates(view: ClusterView, input: NodeUpgradeInput): GateAnswer {
  assertCluster(view, input.cluster);
  const node = sameNode(view, input.node);
  const name = input.node.name;
  if (node === undefined)
    return { answer: 'Done', verdict: 'Skipped', message: `node ${name} is gone, or another one has its name` };
  const kairos = view.kairosNodes.get(name);
  const release = kairos?.status.release;
  const from = release === undefined ? undefined : versionOf(release);

  const refused = refusal(view, input, node, kairos, from);
  if (refused !== undefined) return refused;
  const closed = closedGate(view, input, node, kairos);
  if (closed !== undefined) return { answer: 'Wait', reason: closed };
  return { answer: 'Go', bootID: node.bootID, ...(from === undefined ? {} : { from }) };
}

function refusal(
  view: ClusterView,
  input: NodeUpgradeInput,
  node: NodeView,
  kairos: KairosNodeView | undefined,
  from: string | undefined,
): GateAnswer | undefined {
  const { spec, target, place } = input;
  const release = kairos?.status.release;
  const wanted = input.request.kind === 'KairosNode' ? kairos?.spec.version : undefined;
  if (wanted !== undefined && !sameVersion(wanted, target.version)) {
    return {
      answer: 'Done',
      verdict: 'Failed',
      message: `TargetMismatch: KairosNode ${node.name} asks for version ${wanted}, but ${target.image} is ${target.version}: mend spec.version or spec.image`,
    };
  }
  if (spec.upgradeActive && !spec.force && from !== undefined && sameVersion(from, target.version)) {
    return { answer: 'Done', verdict: 'AlreadyOnTarget', message: `runs ${from} already: not touched` };
  }
  const fit = release === undefined ? undefined : misfit(release, target.fields);
  if (fit !== undefined) {
    return {
      answer: 'Done',
      verdict: 'Failed',
      message: `image ${target.image} does not fit node ${node.name}: ${fit}; its image was not touched`,
    };
  }
  const controlPlane = [...view.nodes.values()]
    .filter((other) => other.controlPlane)
    .map((other) => other.kubeletVersion);
  const skew = skewRefusal(place.group, controlPlane, node.kubeletVersion, target.fields['KAIROS_SOFTWARE_VERSION']);
  if (skew !== undefined) return { answer: 'Done', verdict: 'Failed', message: `${skew}; the node was not touched` };
  return undefined;
}

function closedGate(
  view: ClusterView,
  input: NodeUpgradeInput,
  node: NodeView,
  kairos: KairosNodeView | undefined,
): string | undefined {
  const ours = node.owner === nodeWorkflowID(input.cluster, input.node);
  const closed = nodeClosed(node, ours);
  if (closed !== undefined) return closed;
  if (kairos?.status.bootID !== node.bootID) return `node ${node.name}: its agent has not reported from this boot`;
  const rivals = whoIsInTheWay(input.place, node.name, view.outages.values());
  return rivals === undefined ? undefined : budgetText(rivals);
}

/** Why a node itself cannot be taken out now, or undefined. */
export function nodeClosed(node: NodeView, ours: boolean): string | undefined {
  if (!node.ready) return `node ${node.name} is not Ready`;
  if (node.owner !== undefined && !ours) return `node ${node.name} is out already: ${node.owner}`;
  if (node.unschedulable && !ours)
    return `node ${node.name} is cordoned by somebody else: kubectl uncordon ${node.name} when it may be upgraded`;
  return node.pressures.length === 0 ? undefined : `node ${node.name} has ${node.pressures.join(', ')}`;
}

export const budgetText = (rivals: string[]) =>
  `budget taken: out are ${rivals.slice(0, 5).join(', ')}${rivals.length > 5 ? ` and ${rivals.length - 5} more` : ''}`;
