import type { KubeClient } from './client.ts';
import { isReason } from './errors.ts';
import type { NewObject, RawObject } from './raw-object.ts';

export interface Preconditions {
  /** Only the object with this UID. */
  uid?: string;
  /** Only as it was in this version. */
  resourceVersion?: string;
}

const CREATE_ATTEMPTS = 3;

/**
 * Creates an object, or reads the one that has its name already. So a call whose answer was lost may be repeated. Where
 * the object goes between the two calls, it is tried again; rejects with `AlreadyExists` when that does not end.
 */
export async function createOrRead(client: KubeClient, collection: string, object: NewObject): Promise<RawObject> {
  const create = () => client.request<RawObject>({ verb: 'create', path: collection, body: object });
  const path = `${collection}/${encodeURIComponent(object.metadata.name)}`;
  for (let attempt = 1; ; attempt++) {
    try {
      return await create();
    } catch (error) {
      if (!isReason(error, 'AlreadyExists') || attempt === CREATE_ATTEMPTS) throw error;
    }
    try {
      return await client.request<RawObject>({ verb: 'get', path });
    } catch (error) {
      if (!isReason(error, 'NotFound')) throw error;
    }
  }
}

/**
 * Deletes an object; that it is gone already, or that another one has its name, is success. Rejects with `Conflict` when
 * the API server said so and the object with this UID is there nevertheless.
 */
export async function deleteObject(
  client: KubeClient,
  path: string,
  options: Preconditions & { gracePeriodSeconds?: number; propagationPolicy?: 'Background' | 'Foreground' },
): Promise<void> {
  const { uid, resourceVersion, ...rest } = options;
  const body = {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    ...rest,
    ...((uid !== undefined || resourceVersion !== undefined) && {
      preconditions: { ...(uid !== undefined && { uid }), ...(resourceVersion !== undefined && { resourceVersion }) },
    }),
  };
  try {
    await client.request({ verb: 'delete', path, body });
  } catch (error) {
    if (isReason(error, 'NotFound')) return;
    // Not every Conflict is about the UID.
    const gone = uid !== undefined && isReason(error, 'Conflict') && (await uidAt(client, path)) !== uid;
    if (!gone) throw error;
  }
}

/** UID of the object that is there now; undefined when there is none. */
export async function uidAt(client: KubeClient, path: string): Promise<string | undefined> {
  try {
    return (await client.request<RawObject>({ verb: 'get', path })).metadata.uid;
  } catch (error) {
    if (isReason(error, 'NotFound')) return undefined;
    throw error;
  }
}
