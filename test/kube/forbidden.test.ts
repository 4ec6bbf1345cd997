import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type KubeClient, connectToCluster } from '../../kube/client.ts';
import type { KubeError } from '../../kube/errors.ts';
import { FakeApiServer, answer, status } from './fake-api-server.ts';

const FORBIDDEN = status(403, 'Forbidden', 'nodes "a" is forbidden: User cannot get resource "nodes"');

describe('a call that is forbidden', () => {
  let server: FakeApiServer;
  let client: KubeClient;
  beforeEach(async () => {
    server = await new FakeApiServer().start();
    client = connectToCluster({ kubeconfig: server.kubeconfig });
  });
  afterEach(async () => {
    await client.close();
    await server.stop();
    server.remove();
  });
  const get = () => client.request<unknown>({ verb: 'get', path: '/api/v1/nodes/a' });
  const paths = () => server.seen.map(({ url }) => url.pathname);

  it('by an API server that is ready is forbidden, when it says so twice', async () => {
    server.fault = ({ url }, response) => {
      if (url.pathname === '/readyz') answer(response, 200, 'ok');
      else answer(response, 403, FORBIDDEN);
      return true;
    };
    await expect(get()).rejects.toMatchObject({ reason: 'Forbidden', retryable: false, code: 403 });
    expect(paths()).toEqual(['/api/v1/nodes/a', '/readyz', '/api/v1/nodes/a']);
  });

  it.each([403, 500, 503])('by one that starts, and answers %i about itself, may be repeated', async (code) => {
    server.fault = ({ url }, response) => {
      if (url.pathname === '/readyz') answer(response, code, status(code, 'Unready', 'not ready'));
      else answer(response, 403, FORBIDDEN);
      return true;
    };
    const error = await get().then(
      () => undefined,
      (why: unknown) => why as KubeError,
    );
    expect(error).toMatchObject({ reason: 'ServiceUnavailable', retryable: true });
    expect(error?.message).toMatch(/User cannot get resource "nodes".*the API server is not ready/);
  });

  it('by one that was just about to be ready succeeds', async () => {
    let refused = 0;
    server.fault = ({ url }, response) => {
      if (url.pathname === '/readyz') answer(response, 200, 'ok');
      else if (refused++ === 0) answer(response, 403, FORBIDDEN);
      else answer(response, 200, { metadata: { name: 'a' } });
      return true;
    };
    expect(await get()).toEqual({ metadata: { name: 'a' } });
  });
});
