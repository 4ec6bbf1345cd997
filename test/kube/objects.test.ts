import { describe, expect, it } from '@jest/globals';
import type { KubeClient, KubeRequest } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { readObjects, selectorText } from '../../kube/objects.ts';

/** An API server with these answers, by path; all else is not there. */
function server(answers: Record<string, unknown>) {
  const asked: string[] = [];
  const request = async ({ verb, path, query }: KubeRequest) => {
    await Promise.resolve();
    const labels = query?.['labelSelector'];
    asked.push(`${verb} ${path}${labels === undefined ? '' : `?${String(labels)}`}`);
    if (path in answers) return answers[path];
    throw new KubeError('not there', { verb, path, reason: 'NotFound', retryable: false });
  };
  return { asked, client: { request } as unknown as KubeClient };
}

const APPS = {
  resources: [
    { name: 'deployments', kind: 'Deployment', namespaced: true },
    { name: 'deployments/status', kind: 'Deployment', namespaced: true },
  ],
};
const CORE = { resources: [{ name: 'namespaces', kind: 'Namespace', namespaced: false }] };

describe('objects of any kind', () => {
  it('are found by what the API server says of their kind, which is asked once', async () => {
    const { asked, client } = server({
      '/apis/apps/v1': APPS,
      '/apis/apps/v1/namespaces/db/deployments/pg': { metadata: { name: 'pg' } },
      '/apis/apps/v1/namespaces/db/deployments': {
        metadata: { resourceVersion: '1' },
        items: [{ metadata: { name: 'a' } }],
      },
    });
    const wanted = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'db' };
    expect(await readObjects(client, { ...wanted, name: 'pg' })).toHaveLength(1);
    expect(await readObjects(client, { ...wanted, name: 'other' })).toEqual([]);
    expect(await readObjects(client, { ...wanted, selector: { matchLabels: { app: 'x' } } })).toHaveLength(1);
    expect(asked).toEqual([
      'get /apis/apps/v1',
      'get /apis/apps/v1/namespaces/db/deployments/pg',
      'get /apis/apps/v1/namespaces/db/deployments/other',
      'list /apis/apps/v1/namespaces/db/deployments?app=x',
    ]);
  });

  it('of the core group, without a namespace', async () => {
    const { asked, client } = server({ '/api/v1': CORE, '/api/v1/namespaces/db': { metadata: { name: 'db' } } });
    expect(await readObjects(client, { apiVersion: 'v1', kind: 'Namespace', name: 'db' })).toHaveLength(1);
    expect(asked).toEqual(['get /api/v1', 'get /api/v1/namespaces/db']);
  });

  it.each<[string, object, string]>([
    [
      'a kind that is not served',
      { kind: 'Deploymnet', namespace: 'db' },
      'serves no Deploymnet of apps/v1: see kubectl api-resources',
    ],
    ['a namespace that is missing', { kind: 'Deployment' }, 'Deployment of apps/v1 is in namespaces: write which'],
    [
      'a namespace that is one too many',
      { apiVersion: 'v1', kind: 'Namespace', namespace: 'db' },
      'Namespace of v1 is in no namespace: leave it out',
    ],
  ])('%s is said', async (_, wrong, said) => {
    const { client } = server({ '/apis/apps/v1': APPS, '/api/v1': CORE });
    await expect(
      readObjects(client, { apiVersion: 'apps/v1', kind: 'Deployment', name: 'x', ...wrong }),
    ).rejects.toThrow(said);
  });
});

it('a selector is written as the API server takes it', () => {
  expect(
    selectorText({
      matchLabels: { app: 'x', tier: 'gold' },
      matchExpressions: [
        { key: 'a', operator: 'In', values: ['1', '2'] },
        { key: 'b', operator: 'NotIn', values: ['3'] },
        { key: 'c', operator: 'Exists' },
        { key: 'd', operator: 'DoesNotExist' },
      ],
    }),
  ).toBe('app=x,tier=gold,a in (1,2),b notin (3),c,!d');
  expect(selectorText({})).toBe('');
});
