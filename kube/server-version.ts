import type { KubeClient } from './client.ts';

/** The version of the API server that answers, such as `v1.33.9+k3s1`. Everybody may ask for it. */
export async function readServerVersion(client: KubeClient): Promise<string> {
  const { gitVersion } = await client.request<{ gitVersion: string }>({ verb: 'get', path: '/version' });
  return gitVersion;
}
