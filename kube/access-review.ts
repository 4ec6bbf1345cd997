import type { KubeClient } from './client.ts';

/** One thing that an account may do. Without a namespace: everywhere in the cluster. */
export interface Access {
  verb: string;
  /** '' is the core group. */
  group: string;
  /** `pods`, or with its subresource `pods/eviction`. */
  resource: string;
  /** Only the object of this name. */
  name?: string;
  namespace?: string;
}

/** Asks the API server, with all of its authorizers, whether the account in use may do this. */
export async function mayI(client: KubeClient, { verb, group, resource, name, namespace }: Access): Promise<boolean> {
  const [plural, subresource] = resource.split('/');
  const resourceAttributes = {
    verb,
    group,
    resource: plural,
    ...(subresource === undefined ? {} : { subresource }),
    ...(name === undefined ? {} : { name }),
    ...(namespace === undefined ? {} : { namespace }),
  };
  return isAllowed(client, { resourceAttributes });
}

/** The same of a path that is no resource, such as `/readyz`. */
export const mayGet = (client: KubeClient, path: string): Promise<boolean> =>
  isAllowed(client, { nonResourceAttributes: { path, verb: 'get' } });

async function isAllowed(client: KubeClient, spec: object): Promise<boolean> {
  const { status } = await client.request<{ status: { allowed: boolean } }>({
    verb: 'create',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec },
  });
  return status.allowed;
}

/** The account in use, in words for messages: `ServiceAccount kairos-system/kairos-worker`, or `user admin`. */
export async function whoAmI(client: KubeClient): Promise<string> {
  const review = client.request<{ status: { userInfo: { username?: string } } }>({
    verb: 'create',
    path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
  });
  const username = await review.then(
    ({ status }) => status.userInfo.username,
    () => undefined,
  );
  if (username === undefined) return 'the account in use';
  const [, namespace, name] = /^system:serviceaccount:([^:]+):(.+)$/.exec(username) ?? [];
  return name === undefined ? `user ${username}` : `ServiceAccount ${namespace}/${name}`;
}
