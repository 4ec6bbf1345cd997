import { API_VERSION, OPERATOR_GROUP } from '../api/names.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import type { KubeClient } from './client.ts';
import type { RawMetadata } from './raw-object.ts';
import { type Reflector, type ReflectorLog, startReflector } from './reflector.ts';
import { writersOf, type Writers } from './writers.ts';

const BASE = `/apis/${OPERATOR_GROUP}/${API_VERSION}`;
const PLURAL = 'nodeopupgrades';

/** The NodeOpUpgrades of these namespaces, or of all, by `namespace/name`. */
export function watchNodeOpUpgrades(
  client: KubeClient,
  namespaces?: readonly string[],
  log?: ReflectorLog,
): Reflector<NodeOpUpgrade> {
  const path = namespaces?.map((namespace) => `${BASE}/namespaces/${namespace}/${PLURAL}`) ?? `${BASE}/${PLURAL}`;
  return startReflector<NodeOpUpgrade>(client, {
    path,
    project: (object) => withoutManagedFields(object as unknown as NodeOpUpgrade),
    ...(log && { log }),
  });
}

/** Rejects with `NotFound` when there is none. */
export async function readNodeOpUpgrade(client: KubeClient, namespace: string, name: string): Promise<NodeOpUpgrade> {
  return withoutManagedFields(await client.request<NodeOpUpgrade>({ verb: 'get', path: pathOf(namespace, name) }));
}

/** As `readNodeOpUpgrade`, with who wrote it. */
export async function readWithWriters(
  client: KubeClient,
  namespace: string,
  name: string,
): Promise<{ upgrade: NodeOpUpgrade; writers: Writers }> {
  const found = await client.request<NodeOpUpgrade>({ verb: 'get', path: pathOf(namespace, name) });
  const writers = writersOf(found.metadata as Pick<RawMetadata, 'managedFields'>);
  return { upgrade: withoutManagedFields(found), writers };
}

/**
 * Merge patch on the status: `{ status: { … } }`, where `null` clears a field and lists are replaced as a whole; with
 * `metadata.uid` or `metadata.resourceVersion` in the body another object of that name, or version, is a Conflict.
 */
export async function patchNodeOpUpgradeStatus(
  client: KubeClient,
  namespace: string,
  name: string,
  body: { metadata?: { uid?: string; resourceVersion?: string }; status: Record<string, unknown> },
  fieldManager: string,
): Promise<NodeOpUpgrade> {
  const path = `${pathOf(namespace, name)}/status`;
  return withoutManagedFields(await client.request<NodeOpUpgrade>({ verb: 'merge-patch', path, body, fieldManager }));
}

const pathOf = (namespace: string, name: string) =>
  `${BASE}/namespaces/${encodeURIComponent(namespace)}/${PLURAL}/${encodeURIComponent(name)}`;

/** The bookkeeping of field managers is often larger than the object. */
function withoutManagedFields(object: NodeOpUpgrade): NodeOpUpgrade {
  const { managedFields: _, ...metadata } = object.metadata as NodeOpUpgrade['metadata'] & { managedFields?: unknown };
  return { ...object, metadata };
}
