import type { KubeClient } from '../kube/client.ts';
import { watchKairosNodes, type KairosNodeView } from '../kube/kairos-nodes.ts';
import { watchNodes, type NodeView } from '../kube/nodes.ts';

/** As the API server has them now: a watch may be behind, the longer the API server was away the more. */
export async function readNodes(client: KubeClient): Promise<{ nodes: NodeView[]; kairosNodes: KairosNodeView[] }> {
  const [nodes, kairosNodes] = [watchNodes(client), watchKairosNodes(client)];
  try {
    await Promise.all([nodes.synced(), kairosNodes.synced()]);
    return { nodes: [...nodes.values()], kairosNodes: [...kairosNodes.values()] };
  } finally {
    nodes.stop();
    kairosNodes.stop();
  }
}
