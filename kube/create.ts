import type { KubeClient } from './client.ts';
import { isReason } from './errors.ts';
import type { NewObject, RawObject } from './raw-object.ts';

export interface Preconditions {
  /** Only the object with this UID. */
  uid?: string;
}

/**
 * Creates an object, or reads the one that has its name already. So a call whose answer was lost may be repeated. Where
 * the object goes between the two calls, it is tried once more.
 */
export async function createOrRead(client: KubeClient, collection: string, object: NewObject): Promise<RawObject> {
  const create = () => client.request<RawObject>({ verb: 'create', path: collection, body: object });
  const path = `${collection}/${encodeURIComponent(object.metadata.name)}`;
  try {
    return await create();
  } catch (error) {
    if (!isReason(error, 'AlreadyExists')) throw error;
  }
  try {
    return await client.request<RawObject>({ verb: 'get', path });
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
    return await create();
  }
}

/** Deletes an object; that it is gone already, or that another one has its name, is success. */
export async function deleteObject(
  client: KubeClient,
  path: string,
  options: Preconditions & { gracePeriodSeconds?: number; propagationPolicy?: 'Background' | 'Foreground' },
): Promise<void> {
  const { uid, ...rest } = options;
  const body = {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    ...rest,
    ...(uid !== undefined && { preconditions: { uid } }),
  };
  try {
    await client.request({ verb: 'delete', path, body });
  } catch (error) {
    const gone = isReason(error, 'NotFound') || (uid !== undefined && isReason(error, 'Conflict'));
    if (!gone) throw error;
  }
}
