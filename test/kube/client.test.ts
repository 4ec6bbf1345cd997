import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type KubeClient, connectToCluster } from '../../kube/client.ts';
import { KubeError, isReason } from '../../kube/errors.ts';
import { FakeApiServer, answer, status, until } from './fake-api-server.ts';

const FORBIDDEN = status(403, 'Forbidden', 'nodes "a" is forbidden: User cannot get resource "nodes"');

describe('the client', () => {
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
  const get = (more: object = {}) => client.request<unknown>({ verb: 'get', path: '/api/v1/nodes/a', ...more });
  const failure = (promise: Promise<unknown>) =>
    promise.then(
      () => {
        throw new Error('it succeeded');
      },
      (error: unknown) => error as KubeError,
    );

  it('keeps one connection for calls that follow each other', async () => {
    for (let call = 0; call < 20; call++) await get();
    expect(server.seen).toHaveLength(20);
    expect(server.connections).toBe(1);
  });

  it('sends each verb with its method and content type, and no undefined query', async () => {
    server.fault = (_, response) => (answer(response, 200, {}), true);
    await client.request({
      verb: 'merge-patch',
      path: '/x',
      body: { a: 1 },
      fieldManager: 'me',
      query: { q: undefined },
    });
    await client.request({ verb: 'apply', path: '/x', body: {}, fieldManager: 'me' });
    await client.request({ verb: 'create', path: '/x', body: {} });
    await client.request({ verb: 'replace', path: '/x', body: {} });
    await client.request({ verb: 'delete', path: '/x' });
    expect(server.seen.map(({ method, headers, url }) => [method, headers['content-type'], url.search])).toEqual([
      ['PATCH', 'application/merge-patch+json', '?fieldManager=me'],
      ['PATCH', 'application/apply-patch+yaml', '?fieldManager=me'],
      ['POST', 'application/json', ''],
      ['PUT', 'application/json', ''],
      ['DELETE', undefined, ''],
    ]);
  });

  it('sends the body of a DELETE, and leaves the connection fit for the next call', async () => {
    const body = { preconditions: { uid: 'u' } };
    await client.request({ verb: 'delete', path: '/x', body });
    await get();
    expect(server.seen.map((seen) => [seen.method, seen.body])).toEqual([
      ['DELETE', body],
      ['GET', undefined],
    ]);
    expect(server.connections).toBe(1);
  });

  it('gives up at the deadline, also in the middle of an answer', async () => {
    server.fault = (_, response) => (response.writeHead(200), response.write('{"a":'), true);
    const started = Date.now();
    const error = await failure(get({ deadlineMs: 100 }));
    expect(error).toMatchObject({ reason: 'Timeout', retryable: true });
    expect(Date.now() - started).toBeLessThan(1000);
  });

  it('rejects with the reason of an aborted signal', async () => {
    server.fault = () => true;
    const abort = new AbortController();
    const call = failure(get({ signal: abort.signal }));
    setTimeout(() => abort.abort(new Error('cancelled')), 20);
    expect((await call).message).toBe('cancelled');
  });

  it('says that the API server is away, and works again when it is back', async () => {
    await get();
    await server.stop();
    expect(await failure(get())).toMatchObject({ reason: 'Unreachable', retryable: true });
    await server.start();
    await get();
  });

  it('repeats a read on a kept connection that the other side has closed, but never a write', async () => {
    await get();
    let broken = 0;
    server.fault = ({ method }, response) => {
      if (method === 'GET' && broken > 0) return false;
      broken++;
      response.socket?.destroy();
      return true;
    };
    await get();
    expect(broken).toBe(1);
    expect(isReason(await failure(client.request({ verb: 'create', path: '/x', body: {} })), 'Unreachable')).toBe(true);
    expect(broken).toBe(2);
  });

  it('reads a rotated token after a 401', async () => {
    await get();
    writeFileSync(join(server.folder, 'token'), 'second\n');
    server.fault = ({ headers }, response) => {
      if (headers.authorization === 'Bearer second') return false;
      answer(response, 401, status(401, 'Unauthorized', 'Unauthorized'));
      return true;
    };
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await get();
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer first',
      'Bearer first',
      'Bearer second',
    ]);
  });

  it('repeats a call after a 401 within the deadline of the first', async () => {
    await get();
    writeFileSync(join(server.folder, 'token'), 'second\n');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    server.fault = ({ headers }, response) => {
      if (headers.authorization !== 'Bearer second')
        setTimeout(() => answer(response, 401, status(401, 'Unauthorized', 'Unauthorized')), 600);
      return true;
    };
    const started = performance.now();
    expect(await failure(get({ deadlineMs: 800 }))).toMatchObject({ reason: 'Timeout' });
    expect(server.seen.at(-1)?.headers.authorization).toBe('Bearer second');
    expect(performance.now() - started).toBeLessThan(1200);
  });

  it('keeps to the 401 when there are no newer credentials to be read', async () => {
    await get();
    rmSync(join(server.folder, 'kubeconfig'));
    await new Promise((resolve) => setTimeout(resolve, 1100));
    server.fault = (_, response) => (answer(response, 401, status(401, 'Unauthorized', 'Unauthorized')), true);
    expect(await failure(get())).toMatchObject({ name: 'KubeError', reason: 'Unauthorized', retryable: true });
  });

  it('has a connection for a call, however many watches are open', async () => {
    const abort = new AbortController();
    const query = { resourceVersion: '100' };
    const watches = Array.from({ length: 80 }, () => failure(client.watch('/x', query, () => {}, abort.signal)));
    await until(() => server.watches.size === 80);
    await get({ deadlineMs: 2000 });
    abort.abort(new Error('enough'));
    for (const ended of await Promise.all(watches)) expect(ended.message).toBe('enough');
    await until(() => server.watches.size === 0);
  });

  it('opens no watch whose signal was aborted while it was answered', async () => {
    const abort = new AbortController();
    const opened = () => abort.abort(new Error('too late'));
    const watch = client.watch('/x', { resourceVersion: '100' }, () => {}, abort.signal, opened);
    expect((await failure(watch)).message).toBe('too late');
    await until(() => server.watches.size === 0);
  });

  it('loses one call, not one for each idle connection, to a machine that is gone without a word', async () => {
    await Promise.all(Array.from({ length: 5 }, () => get()));
    expect(server.connections).toBe(5);
    server.fault = () => server.connections === 5;
    expect(await failure(get({ deadlineMs: 200 }))).toMatchObject({ reason: 'Timeout' });
    await get({ deadlineMs: 2000 });
    expect(server.connections).toBe(6);
  });

  it.each([
    [302, ''],
    [200, '<html>log in first</html>'],
  ])('does not take the %i of something else on the way for an answer', async (code, body) => {
    server.fault = (_, response) => (answer(response, code, body, { location: 'http://login' }), true);
    expect(await failure(get())).toMatchObject({ reason: 'Unreachable', retryable: true });
  });

  it.each([
    [404, status(404, 'NotFound', 'nodes "a" not found'), { reason: 'NotFound', retryable: false }],
    [404, '404 page not found\n', { reason: 'NotServed', retryable: true }],
    [409, status(409, 'Conflict', 'changed'), { reason: 'Conflict', retryable: false }],
    [
      429,
      status(429, 'TooManyRequests', 'slow down'),
      { reason: 'TooManyRequests', retryable: true, retryAfterMs: 3000 },
    ],
    [500, 'oops', { reason: 'InternalError', retryable: true }],
  ])('reads the error %i %j', async (code, body, expected) => {
    server.fault = (_, response) => (answer(response, code, body, code === 429 ? { 'retry-after': '3' } : {}), true);
    const error = await failure(get());
    expect(error).toBeInstanceOf(KubeError);
    expect(error).toMatchObject({ code, verb: 'get', path: '/api/v1/nodes/a', ...expected });
  });

  it('says what to do when there is no cluster to talk to', () => {
    const { KUBECONFIG, HOME, KUBERNETES_SERVICE_HOST } = process.env;
    process.env['HOME'] = server.folder;
    delete process.env['KUBECONFIG'];
    delete process.env['KUBERNETES_SERVICE_HOST'];
    try {
      expect(() => connectToCluster()).toThrow(/name a kubeconfig file in KUBECONFIG/);
    } finally {
      for (const [key, value] of Object.entries({ KUBECONFIG, HOME, KUBERNETES_SERVICE_HOST })) {
        if (value === undefined) delete process.env[key];
        else process.env[key] = value;
      }
    }
  });

  it('takes a 403 of an API server that is ready for its word, when it says so twice', async () => {
    server.fault = ({ url }, response) => {
      if (url.pathname === '/readyz') answer(response, 200, 'ok');
      else answer(response, 403, FORBIDDEN);
      return true;
    };
    await expect(get()).rejects.toMatchObject({ reason: 'Forbidden', retryable: false, code: 403 });
    expect(server.seen.map(({ url }) => url.pathname)).toEqual(['/api/v1/nodes/a', '/readyz', '/api/v1/nodes/a']);
  });

  it.each([403, 500, 503])(
    'may repeat what was forbidden by one that starts, and answers %i about itself',
    async (code) => {
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
    },
  );

  it('takes a 403 for its word where it may not ask whether the API server is ready, and that grants other things', async () => {
    server.fault = ({ url }, response) => {
      if (url.pathname.endsWith('/selfsubjectaccessreviews')) answer(response, 201, { status: { allowed: false } });
      else answer(response, 403, FORBIDDEN);
      return true;
    };
    await expect(get()).rejects.toMatchObject({ reason: 'Forbidden', retryable: false, code: 403 });
  });

  it('succeeds where it was forbidden by one that was just about to be ready', async () => {
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
