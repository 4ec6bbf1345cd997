import type { KubeClient, KubeRequest } from '../kube/client.ts';
import { isReason } from '../kube/errors.ts';
import { pause } from '../kube/pause.ts';

const ASK_AGAIN_MS = 200;

/**
 * The client for those who must not miss much: a read that finds no API server is asked again until one answers, or
 * its signal is aborted. What watches through it goes on as soon as the API server is back, where the back-off of a
 * reflector grows to half a minute.
 */
export function patientClient(client: KubeClient): KubeClient {
  async function request<T>(call: KubeRequest): Promise<T> {
    const { verb, signal } = call;
    const isRead = verb === 'get' || verb === 'list';
    for (;;) {
      try {
        return await client.request<T>(call);
      } catch (error) {
        if (!isRead || signal === undefined || !isReason(error, 'Unreachable', 'Timeout')) throw error;
        await pause(ASK_AGAIN_MS, signal);
      }
    }
  }
  return { ...client, request };
}
