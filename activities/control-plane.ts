import type { KubeClient } from '../kube/client.ts';
import { readServerVersion } from '../kube/server-version.ts';
import type { ClusterView } from './cluster-view.ts';

/** An API server of another version is one that was upgraded: that takes longer. */
const ASK_AGAIN_MS = 60_000;

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
