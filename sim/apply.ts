import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseAllDocuments } from 'yaml';
import type { KubeClient } from '../kube/client.ts';
import type { RawObject } from '../kube/raw-object.ts';

/** Kinds that manifests of this project hold, by the path of their collection; `*` is the namespace. */
const COLLECTIONS: Readonly<Record<string, string>> = {
  Namespace: '/api/v1/namespaces',
  ServiceAccount: '/api/v1/namespaces/*/serviceaccounts',
  Service: '/api/v1/namespaces/*/services',
  ConfigMap: '/api/v1/namespaces/*/configmaps',
  DaemonSet: '/apis/apps/v1/namespaces/*/daemonsets',
  Deployment: '/apis/apps/v1/namespaces/*/deployments',
  Role: '/apis/rbac.authorization.k8s.io/v1/namespaces/*/roles',
  RoleBinding: '/apis/rbac.authorization.k8s.io/v1/namespaces/*/rolebindings',
  ClusterRole: '/apis/rbac.authorization.k8s.io/v1/clusterroles',
  ClusterRoleBinding: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
  PodDisruptionBudget: '/apis/policy/v1/namespaces/*/poddisruptionbudgets',
  CustomResourceDefinition: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
  ValidatingAdmissionPolicy: '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies',
  ValidatingAdmissionPolicyBinding: '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings',
};
const FIELD_MANAGER = 'kairos-sim';
const ESTABLISHED_WITHIN_MS = 10_000;

/** Applies every manifest of a folder, namespaces first, and waits until its resource definitions are served. */
export async function applyFolder(client: KubeClient, folder: string): Promise<void> {
  const files = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
  const objects = files.flatMap((name) => readManifests(join(folder, name)));
  for (const object of objects.toSorted((a, b) => rank(a) - rank(b))) await applyObject(client, object);
  const definitions = objects.filter(({ kind }) => kind === 'CustomResourceDefinition');
  await Promise.all(definitions.map((definition) => established(client, definition)));
}

/** Applies one object by server-side apply. Throws for a kind that this project has no manifests of. */
async function applyObject(client: KubeClient, object: RawObject): Promise<void> {
  const request = { verb: 'apply', path: pathOf(object), body: object, fieldManager: FIELD_MANAGER } as const;
  await client.request({ ...request, query: { force: true } });
}

function readManifests(file: string): RawObject[] {
  return parseAllDocuments(readFileSync(file, 'utf8'))
    .map((document) => document.toJS() as RawObject | null)
    .filter((object) => object !== null);
}

function pathOf({ kind = '', metadata }: RawObject): string {
  const collection = COLLECTIONS[kind];
  if (collection === undefined)
    throw new Error(`${kind} ${metadata.name}: add the kind to COLLECTIONS in sim/apply.ts`);
  return `${collection.replace('*', metadata.namespace ?? 'default')}/${metadata.name}`;
}

function rank({ kind }: RawObject): number {
  return kind === 'Namespace' ? 0 : 1;
}

async function established(client: KubeClient, definition: RawObject): Promise<void> {
  const giveUpAtMs = Date.now() + ESTABLISHED_WITHIN_MS;
  while (Date.now() < giveUpAtMs) {
    const { status } = await client.request<{ status?: { conditions?: { type: string; status: string }[] } }>({
      verb: 'get',
      path: pathOf(definition),
    });
    if (status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True')) return;
    await sleep(50);
  }
  throw new Error(
    `${definition.metadata.name}: not established after ${ESTABLISHED_WITHIN_MS / 1000} s; look at its status`,
  );
}
