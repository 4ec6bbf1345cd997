import type { KubeClient } from './client.ts';
import { isReason } from './errors.ts';
import { listAll } from './list.ts';
import type { RawObject } from './raw-object.ts';
import { startReflector } from './reflector.ts';

/** A volume that is attached to a node. */
export interface Attachment {
  /** Of the VolumeAttachment. */
  name: string;
  /** Of the PersistentVolume. */
  volume: string;
}

const ATTACHMENTS = '/apis/storage.k8s.io/v1/volumeattachments';

/** The PersistentVolume that a claim is bound to; undefined when it is bound to none, or is gone. */
export async function readVolumeOfClaim(
  client: KubeClient,
  namespace: string,
  claim: string,
): Promise<string | undefined> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/persistentvolumeclaims/${encodeURIComponent(claim)}`;
  try {
    const { spec } = await client.request<RawObject>({ verb: 'get', path });
    return (spec as { volumeName?: string } | undefined)?.volumeName;
  } catch (error) {
    if (isReason(error, 'NotFound')) return undefined;
    throw error;
  }
}

/**
 * The claims, by `namespace/name`, whose volume is a directory or a disk of one machine: the pods that use them can run
 * nowhere else.
 */
export async function listLocalClaims(client: KubeClient, signal?: AbortSignal): Promise<Set<string>> {
  const claims = new Set<string>();
  const take = ({ spec }: RawObject) => {
    const { local, hostPath, claimRef } = (spec ?? {}) as {
      local?: unknown;
      hostPath?: unknown;
      claimRef?: { namespace?: string; name?: string };
    };
    if ((local !== undefined || hostPath !== undefined) && claimRef?.name !== undefined)
      claims.add(`${claimRef.namespace ?? ''}/${claimRef.name}`);
  };
  await listAll(client, '/api/v1/persistentvolumes', {}, take, signal);
  return claims;
}

/** The volumes that are attached to a node now. The API server cannot select them by node: all are read, in pages. */
export async function listAttachments(client: KubeClient, node: string, signal?: AbortSignal): Promise<Attachment[]> {
  const found: Attachment[] = [];
  const take = ({ metadata: { name }, spec }: RawObject) => {
    const { nodeName, source } = (spec ?? {}) as {
      nodeName?: string;
      source?: { persistentVolumeName?: string };
    };
    const volume = source?.persistentVolumeName;
    if (nodeName === node && volume !== undefined) found.push({ name, volume });
  };
  await listAll(client, ATTACHMENTS, {}, take, signal);
  return found;
}

/** Resolves when the VolumeAttachment of this name is gone; rejects with the signal's reason. */
export async function untilDetached(client: KubeClient, name: string, signal: AbortSignal): Promise<void> {
  const watch = startReflector(client, {
    path: ATTACHMENTS,
    query: { fieldSelector: `metadata.name=${name}` },
    project: ({ metadata }) => metadata.uid,
  });
  try {
    await watch.waitFor(name, (uid) => (uid === undefined ? true : undefined), signal);
  } finally {
    watch.stop();
  }
}
