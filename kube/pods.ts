import { STEP_LABEL } from '../api/names.ts';
import type { KubeClient } from './client.ts';
import { createOrRead, deleteObject, type Preconditions } from './create.ts';
import { listAll } from './list.ts';
import { type PodView, podView } from './pod-view.ts';
import type { NewObject, RawObject } from './raw-object.ts';
import type { Listed } from './reflector-parts.ts';
import { type Reflector, type ReflectorLog, startReflector } from './reflector.ts';

export type { ContainerView, PodView } from './pod-view.ts';
export { type Eviction, evictPod, tryEviction } from './eviction.ts';

/**
 * The pods that the operator made, by `namespace/name`, in these namespaces or in all. A namespace that is being deleted
 * is served no more, and may hold a pod that writes.
 */
export function watchOperatorPods(
  client: KubeClient,
  where: readonly string[] | 'everywhere',
  log?: ReflectorLog,
): Reflector<PodView> {
  return startReflector<PodView>(client, {
    path: where === 'everywhere' ? '/api/v1/pods' : where.map((namespace) => podsPath(namespace)),
    query: { labelSelector: STEP_LABEL },
    project: podView,
    ...(log && { log }),
  });
}

/** All pods on one node, of every namespace, as the API server has them now. */
export async function listPodsOnNode(client: KubeClient, node: string, signal?: AbortSignal): Promise<PodView[]> {
  const pods: PodView[] = [];
  await listAll(client, '/api/v1/pods', onNode(node), (object) => pods.push(podView(object)), signal);
  return pods;
}

/**
 * Gives every pod of the cluster that has not ended to `take`, page by page: none of them is kept. Rejects as `listAll`
 * does.
 */
export async function readAllPods(
  client: KubeClient,
  take: (pod: PodView) => void,
  signal?: AbortSignal,
): Promise<void> {
  const query = { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' };
  await listAll(client, '/api/v1/pods', query, (object) => take(podView(object)), signal);
}

/** The same list, for a watch to go on from. */
export async function listForWatch(client: KubeClient, node: string): Promise<Listed> {
  const objects: RawObject[] = [];
  const version = await listAll(client, '/api/v1/pods', onNode(node), (object) => objects.push(object));
  return { objects, version };
}

/**
 * All pods on one node, by `namespace/name`; from a list that was made a moment ago, where there is one. It holds a
 * connection until stopped.
 */
export function watchPodsOnNode(client: KubeClient, node: string, listed?: Listed): Reflector<PodView> {
  return startReflector<PodView>(client, {
    path: '/api/v1/pods',
    query: onNode(node),
    project: podView,
    ...(listed && { listed }),
  });
}

/** Idempotent by name: a pod that is there already is returned as it is (it may be on its way out: `deleting`). */
export async function createPod(client: KubeClient, namespace: string, pod: NewObject): Promise<PodView> {
  const body = { apiVersion: 'v1', kind: 'Pod', ...pod };
  return podView(await createOrRead(client, podsPath(namespace), body));
}

/** A pod that is gone, or another one with that name when `uid` is given, is success. */
export async function deletePod(
  client: KubeClient,
  namespace: string,
  name: string,
  options: Preconditions & { gracePeriodSeconds?: number } = {},
): Promise<void> {
  await deleteObject(client, podPath(namespace, name), options);
}

const onNode = (node: string) => ({ fieldSelector: `spec.nodeName=${node}` });
const podsPath = (namespace: string) => `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
const podPath = (namespace: string, name: string) => `${podsPath(namespace)}/${encodeURIComponent(name)}`;
