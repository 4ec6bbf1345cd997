import type { LabelSelector } from '../api/types.ts';
import type { KubeClient } from './client.ts';
import { KubeError, isReason } from './errors.ts';
import { listAll } from './list.ts';
import type { RawObject } from './raw-object.ts';

/** What is read: one object by its name, or those with these labels. */
export interface ObjectsWanted {
  apiVersion: string;
  kind: string;
  /** Left out for what has none. */
  namespace?: string | undefined;
  name?: string | undefined;
  selector?: LabelSelector | undefined;
}

/** A resource as the API server serves it. */
export interface ServedResource {
  group: string;
  plural: string;
  namespaced: boolean;
}

/** A kind that is served under another name is one whose definition was made anew: that takes longer. */
const KNOWN_MS = 10 * 60_000;

const known = new WeakMap<KubeClient, Map<string, { resource: ServedResource; atMs: number }>>();

/**
 * Objects of any kind, as they are now; an object that is not there is none.
 * @throws KubeError `NotServed` for a kind that the API server does not have, `Forbidden` where they may not be read,
 *   `Invalid` where the namespace is missing or is one too many
 */
export async function readObjects(
  client: KubeClient,
  wanted: ObjectsWanted,
  signal?: AbortSignal,
): Promise<RawObject[]> {
  const { apiVersion, name, namespace, selector } = wanted;
  const { plural, namespaced } = await findResource(client, wanted, signal);
  if (namespaced !== (namespace !== undefined)) throw wrongNamespace(wanted, namespaced);
  const place = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  const path = `${rootOf(apiVersion)}${place}/${plural}`;
  const passed = signal === undefined ? {} : { signal };
  if (name === undefined) {
    const found: RawObject[] = [];
    await listAll(client, path, { labelSelector: selectorText(selector) }, (object) => found.push(object), signal);
    return found;
  }
  try {
    return [await client.request<RawObject>({ verb: 'get', path: `${path}/${encodeURIComponent(name)}`, ...passed })];
  } catch (error) {
    if (isReason(error, 'NotFound')) return [];
    throw error;
  }
}

/** How a kind is served. @throws KubeError `NotServed` */
export async function findResource(
  client: KubeClient,
  { apiVersion, kind }: Pick<ObjectsWanted, 'apiVersion' | 'kind'>,
  signal?: AbortSignal,
): Promise<ServedResource> {
  const byKind = known.get(client) ?? new Map<string, { resource: ServedResource; atMs: number }>();
  known.set(client, byKind);
  const key = `${apiVersion}/${kind}`;
  const before = byKind.get(key);
  if (before !== undefined && Date.now() - before.atMs < KNOWN_MS) return before.resource;
  const path = rootOf(apiVersion);
  const passed = signal === undefined ? {} : { signal };
  const { resources } = await client.request<{ resources: { name: string; kind: string; namespaced: boolean }[] }>({
    verb: 'get',
    path,
    ...passed,
  });
  const found = resources.find((resource) => resource.kind === kind && !resource.name.includes('/'));
  if (found === undefined)
    throw new KubeError(`the API server serves no ${kind} of ${apiVersion}: see kubectl api-resources`, {
      verb: 'get',
      path,
      reason: 'NotServed',
      retryable: true,
    });
  const [group = ''] = apiVersion.includes('/') ? apiVersion.split('/') : [''];
  const resource = { group, plural: found.name, namespaced: found.namespaced };
  byKind.set(key, { resource, atMs: Date.now() });
  return resource;
}

const rootOf = (apiVersion: string) => (apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`);

function wrongNamespace({ apiVersion, kind }: ObjectsWanted, namespaced: boolean): KubeError {
  const words = namespaced ? 'is in namespaces: write which' : 'is in no namespace: leave it out';
  return new KubeError(`${kind} of ${apiVersion} ${words}`, {
    verb: 'get',
    path: rootOf(apiVersion),
    reason: 'Invalid',
    retryable: false,
  });
}

/** A label selector as the API server takes it in a query. */
export function selectorText({ matchLabels = {}, matchExpressions = [] }: LabelSelector = {}): string {
  const equal = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const others = matchExpressions.map(({ key, operator, values = [] }) => {
    switch (operator) {
      case 'In':
        return `${key} in (${values.join(',')})`;
      case 'NotIn':
        return `${key} notin (${values.join(',')})`;
      case 'Exists':
        return key;
      case 'DoesNotExist':
        return `!${key}`;
    }
  });
  return [...equal, ...others].join(',');
}
