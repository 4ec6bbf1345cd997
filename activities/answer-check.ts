import type { CheckAnswer, CheckInput } from '../api/messages.ts';
import { readinessRefused } from '../kube/server-readiness.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';

/** Says what this worker sees, after one live read that shows whether it reaches the API server. Reads only. */
export async function answerCheck(view: ClusterView, { cluster }: CheckInput): Promise<CheckAnswer> {
  assertCluster(view, cluster);
  await view.client.request({ verb: 'get', path: '/version' });
  const lacks = await readinessRefused(view.client);
  return { nodes: view.nodes.size, kairosNodes: view.kairosNodes.size, ...(lacks === undefined ? {} : { lacks }) };
}
