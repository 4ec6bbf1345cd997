import type { ClusterRef } from '../api/messages.ts';
import type { KubeClient } from './client.ts';
import type { RawObject } from './raw-object.ts';

/**
 * Who this cluster is: the UID of its kube-system namespace, which two clusters of one display name do not share, and an
 * id for people and for workflow ids: the display name cut to 24 characters, and 8 hex digits of the UID.
 */
export async function readClusterIdentity(client: KubeClient, displayName: string): Promise<ClusterRef> {
  const { metadata } = await client.request<RawObject>({ verb: 'get', path: '/api/v1/namespaces/kube-system' });
  const display =
    displayName
      .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
      .replaceAll(/^-+|-+$/g, '')
      .slice(0, 24) || 'cluster';
  return { uid: metadata.uid, id: `${display}-${metadata.uid.replaceAll('-', '').slice(0, 8)}` };
}
