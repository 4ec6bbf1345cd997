import type { KubeClient } from '../kube/client.ts';
import { readServerVersion } from '../kube/server-version.ts';
import type { OutNode } from '../policy/budget.ts';
import { closedQuorum, type ClosedGate } from '../policy/gates.ts';
import { datastoreOf, quorumLost, type Datastore } from '../policy/quorum.ts';
import type { ClusterView } from './cluster-view.ts';

/** An API server of another version is one that was upgraded: that takes longer. */
const ASK_AGAIN_MS = 60_000;

/**
 * The Quorum gate, closed or undefined: asked before a control-plane node is taken, and again once it is marked.
 * @param out nodes that are out; none: by the health of the members alone
 * @param order of its own mark
 */
export function closedByQuorum(
  view: ClusterView,
  node: string,
  out: Iterable<OutNode>,
  order?: number,
): ClosedGate | undefined {
  if (view.nodes.get(node)?.controlPlane !== true) return undefined;
  const lost = quorumLost(readDatastore(view), node, out, order);
  return lost === undefined ? undefined : closedQuorum(lost);
}

/** Where the cluster keeps its state, as the watches show it now. */
export function readDatastore(view: ClusterView): Datastore {
  const controlPlane = [...view.nodes.values()].filter((node) => node.controlPlane);
  return datastoreOf(controlPlane, [...view.etcdPods.values()]);
}

const answers = new WeakMap<KubeClient, { version: string; atMs: number }>();

/**
 * The versions by which a skew is judged: those of the kubelets of the control-plane nodes. Where none of them is a
 * node, as with k0s or a hosted control plane, that of the API server itself, asked at most once a minute.
 */
export async function controlPlaneVersions(view: ClusterView): Promise<string[]> {
  const members = [...view.nodes.values()].filter((node) => node.controlPlane);
  if (members.length > 0) return members.map((node) => node.kubeletVersion);
  const known = answers.get(view.client);
  if (known !== undefined && Date.now() - known.atMs < ASK_AGAIN_MS) return [known.version];
  const version = await readServerVersion(view.client);
  answers.set(view.client, { version, atMs: Date.now() });
  return [version];
}
