import type { KubeClient } from './client.ts';

/** Shorter than other calls: an API server that takes longer to say that it is ready, is not. */
const DEADLINE_MS = 4_000;

/**
 * Why the API server that answers is not ready to serve, or undefined. By its `/readyz`, of which its etcd is a part and
 * which every account may ask (ClusterRole system:public-info-viewer). Behind an address of several API servers it is
 * one of them that answers. Rejects with the signal's reason.
 */
export async function readServerTrouble(client: KubeClient, signal: AbortSignal): Promise<string | undefined> {
  try {
    await client.request({ verb: 'get', path: '/readyz', plain: true, deadlineMs: DEADLINE_MS, signal });
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return (error as Error).message.slice(0, 500);
  }
}
