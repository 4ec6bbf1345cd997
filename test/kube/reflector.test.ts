import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { OWNER_ANNOTATION } from '../../api/names.ts';
import { type KubeClient, connectToCluster } from '../../kube/client.ts';
import { type NodeView, watchNodes } from '../../kube/nodes.ts';
import { type Reflector, startReflector } from '../../kube/reflector.ts';
import { FakeApiServer, answer, status, until } from './fake-api-server.ts';

const timings = { retryInitialMs: 10, retryMaximumMs: 50, silenceMs: 2000 };

describe('a reflector', () => {
  let server: FakeApiServer;
  let client: KubeClient;
  let reflector: Reflector<string>;
  const start = async (more: object = {}) => {
    reflector = startReflector<string>(client, {
      path: '/api/v1/nodes',
      project: ({ metadata }) => metadata.resourceVersion,
      timings: { ...timings, ...more },
    });
    await reflector.synced();
  };
  beforeEach(async () => {
    server = await new FakeApiServer().start();
    client = connectToCluster({ kubeconfig: server.kubeconfig });
  });
  afterEach(async () => {
    reflector.stop();
    await client.close();
    await server.stop();
    server.remove();
  });

  it('reads all pages of a list, then follows changes', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) server.set(name);
    server.pageSize = 2;
    await start();
    expect(reflector.size).toBe(5);
    expect(server.count('list')).toBe(3);
    await until(() => server.watches.size === 1);
    server.set('a');
    server.delete('b');
    await reflector.waitFor('b', (item) => (item === undefined ? true : undefined));
    expect(reflector.get('a')).toBe('106');
    expect(reflector.size).toBe(4);
    expect(reflector.contactMs()).toBeGreaterThan(0);
  });

  it('goes on where it was when a watch ends', async () => {
    server.set('a');
    await start();
    await until(() => server.watches.size === 1);
    server.endWatches();
    server.set('b');
    await reflector.waitFor('b', (item) => item);
    expect([...reflector.values()]).toEqual(['101', '102']);
    expect(server.seen.at(-1)?.url.searchParams.get('resourceVersion')).toBe('101');
  });

  it('lists anew when its place in the history is gone, and notices what was deleted meanwhile', async () => {
    server.set('a');
    server.set('b');
    await start();
    await until(() => server.watches.size === 1);
    const changes: string[] = [];
    reflector.onChange((key, now) => changes.push(`${key}=${now}`));
    server.watches.clear();
    server.delete('a');
    server.set('c');
    server.compact();
    server.watches.forEach((watch) => watch.end());
    await server.stop();
    await server.start();
    await reflector.waitFor('c', (item) => item);
    expect(changes.toSorted()).toEqual(['a=undefined', 'c=104']);
  });

  it('outlives refused lists and watches, floods and nonsense', async () => {
    const answers: [number, unknown][] = [
      [500, 'oops'],
      [403, status(403, 'Forbidden', 'not yet')],
      [429, status(429, 'TooManyRequests', 'slow')],
      [200, 'no json'],
      [404, '404 page not found'],
    ];
    server.fault = (_, response) => {
      const next = answers.shift();
      if (next !== undefined) answer(response, ...next);
      return next !== undefined;
    };
    server.set('a');
    await start();
    answers.push([500, 'oops'], [200, 'no json'], [410, status(410, 'Expired', 'old')]);
    server.endWatches();
    await until(() => answers.length === 0 && server.watches.size === 1);
    server.set('b');
    await reflector.waitFor('b', (item) => item);
  });

  it('opens a silent watch anew without losing its place', async () => {
    server.set('a');
    await start({ silenceMs: 50 });
    await until(() => server.count('watch') >= 3);
    expect(server.count('list')).toBe(1);
    server.set('b');
    await reflector.waitFor('b', (item) => item);
  });

  it('does not count a time without a word as contact', async () => {
    server.set('a');
    await start({ silenceMs: 200 });
    await until(() => server.watches.size === 1);
    server.set('a');
    await until(() => reflector.contactMs() > 0);
    await until(() => reflector.contactMs() === 0);
    expect(server.count('list')).toBe(1);
  });

  it('has no contact while the API server is away, and regains it', async () => {
    server.set('a');
    await start();
    await until(() => server.watches.size === 1);
    await server.stop();
    await until(() => reflector.contactMs() === 0);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await server.start();
    server.set('b');
    await reflector.waitFor('b', (item) => item);
    server.set('b');
    await until(() => reflector.contactMs() > 0);
  });

  it('is in contact again as soon as it watches again, though nothing changes', async () => {
    server.set('a');
    await start();
    await until(() => server.watches.size === 1);
    await server.stop();
    await until(() => reflector.contactMs() === 0);
    await server.start();
    await until(() => server.watches.size === 1 && reflector.contactMs() > 0);
    expect(server.count('list')).toBe(1);
    expect(server.seen.at(-1)?.url.searchParams.get('resourceVersion')).toBe('101');
  });

  it('lists anew when the API server comes back with an older history', async () => {
    server.set('a');
    server.set('b');
    await start();
    await server.stop();
    server.version = 50;
    server.objects.clear();
    server.compact();
    server.set('old');
    await server.start();
    await reflector.waitFor('old', (item) => item);
    expect([...reflector.values()]).toEqual(['51']);
  });

  it('does not go back when a list is an old one', async () => {
    server.set('a');
    server.set('b');
    const old = { metadata: { resourceVersion: '102' }, items: [...server.objects.values()] };
    await start();
    await until(() => server.watches.size === 1);
    server.set('a');
    server.delete('b');
    await reflector.waitFor('b', (item) => (item === undefined ? true : undefined));
    const changes: string[] = [];
    reflector.onChange((key, now) => changes.push(`${key}=${now}`));
    let given = 0;
    server.fault = ({ url }, response) => {
      if (url.searchParams.get('limit') !== '500' || ++given > 3) return false;
      answer(response, 200, old);
      return true;
    };
    server.endWatches({ type: 'ERROR', object: status(410, 'Expired', 'too old resource version') });
    await until(() => given > 3 && server.watches.size === 1);
    server.set('c');
    await reflector.waitFor('c', (item) => item);
    expect(changes).toEqual(['c=105']);
  });

  it('does not take an old answer for the proof that its place is still known', async () => {
    server.set('a');
    await start();
    await until(() => server.watches.size === 1);
    let asked = 0;
    server.fault = ({ url }, response) => {
      if (url.searchParams.get('limit') !== '1' || ++asked > 2) return false;
      answer(response, 200, { metadata: { resourceVersion: '5' }, items: [] });
      return true;
    };
    server.endWatches();
    await until(() => asked > 2 && server.watches.size === 1);
    expect(server.count('list')).toBe(1);
  });

  it('passes over events that it was told before, also of what is gone', async () => {
    server.set('a');
    await start();
    await until(() => server.watches.size === 1);
    const changes: string[] = [];
    reflector.onChange((key, now) => changes.push(`${key}=${now}`));
    const first = structuredClone(server.objects.get('a'));
    server.set('a');
    server.sendRaw({ type: 'MODIFIED', object: first });
    server.sendRaw({ type: 'DELETED', object: first });
    server.delete('a');
    server.sendRaw({ type: 'ADDED', object: first });
    server.set('b');
    await reflector.waitFor('b', (item) => item);
    expect(changes).toEqual(['a=102', 'a=undefined', 'b=104']);
  });

  it.each([[{}], [{ type: 'MODIFIED' }], [{ type: 'MODIFIED', object: { metadata: { name: 'a' } } }]])(
    'lists anew after the event %j',
    async (event) => {
      server.set('a');
      await start();
      await until(() => server.watches.size === 1);
      server.endWatches(event);
      await until(() => server.count('list') === 2 && server.watches.size === 1);
    },
  );

  it.each([
    ['of another version', (page: number) => (page === 1 ? '100' : '90'), () => 'next'],
    ['that point to themselves', () => '100', (page: number) => (page < 20 ? 'same' : '')],
  ])('starts a list again that consists of pages %s', async (_, version, next) => {
    server.set('a');
    let page = 0;
    server.fault = ({ url }, response) => {
      if (!url.searchParams.has('continue') && page > 0) return false;
      page++;
      const metadata = { resourceVersion: version(page), continue: next(page) };
      answer(response, 200, { metadata, items: [{ metadata: { name: `x${page}`, uid: 'x', resourceVersion: '1' } }] });
      return true;
    };
    await start();
    expect([...reflector.values()]).toEqual(['101']);
    expect(page).toBe(2);
  });

  it('does not ask in a tight loop when every watch ends at once', async () => {
    server.set('a');
    server.fault = ({ url }, response) => url.searchParams.has('watch') && (response.end(), true);
    await start({ retryMaximumMs: 200 });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(server.count('watch')).toBeLessThan(20);
    expect(server.count('watch')).toBeGreaterThan(3);
  });

  it('ends every wait when it is stopped or its signal is aborted', async () => {
    await start();
    const never = () => undefined;
    const abort = new AbortController();
    const aborted = reflector.waitFor('x', never, abort.signal);
    const stopped = reflector.waitFor(undefined, never);
    const throws = reflector.waitFor('x', () => {
      throw new Error('cannot decide');
    });
    await expect(throws).rejects.toThrow('cannot decide');
    abort.abort(new Error('cancelled'));
    await expect(aborted).rejects.toThrow('cancelled');
    reflector.stop();
    await expect(stopped).rejects.toThrow('was stopped');
  });
});

describe('the order of owners', () => {
  let nodes: Reflector<NodeView>;
  let server: FakeApiServer;
  let client: KubeClient;
  beforeEach(async () => {
    server = await new FakeApiServer().start();
    client = connectToCluster({ kubeconfig: server.kubeconfig });
  });
  afterEach(async () => {
    nodes.stop();
    await client.close();
    await server.stop();
    server.remove();
  });

  it('is the version of the event that first carried the owner, and 0 for what a list brought', async () => {
    const owned = (name: string, owner?: string, uid?: string) =>
      server.set(name, owner === undefined ? {} : { [OWNER_ANNOTATION]: owner }, uid);
    owned('a', 'one');
    owned('b');
    nodes = watchNodes(client);
    const order = (name: string) => nodes.get(name)?.ownerOrder;
    const seen = (name: string) =>
      nodes.waitFor(name, (node) => (node?.resourceVersion === String(server.version) ? node : undefined));
    await nodes.synced();
    await until(() => server.watches.size === 1);
    expect(order('a')).toBe(0);
    expect(order('b')).toBeUndefined();
    owned('b', 'two');
    await seen('b');
    expect(order('b')).toBe(103);
    owned('b', 'two');
    await seen('b');
    expect(order('b')).toBe(103);
    owned('a', 'three');
    await seen('a');
    expect(order('a')).toBe(105);
    owned('b', 'two', 'another machine');
    await seen('b');
    expect(order('b')).toBe(106);
    owned('c', 'four');
    owned('a');
    await seen('a');
    expect([order('a'), order('c')]).toEqual([undefined, 107]);

    // Between the last event and a list, the same owner may have gone and come back: only what is unchanged keeps its order.
    owned('c', 'four');
    server.watches.forEach((watch) => watch.destroy());
    server.watches.clear();
    owned('d', 'five');
    owned('c', 'four');
    server.compact();
    await seen('c');
    expect([order('b'), order('c'), order('d')]).toEqual([106, 0, 0]);
  });

  it('is 0 for all when the API server comes back with an older history', async () => {
    const uid = 'uid-a';
    server.set('a', {}, uid);
    nodes = watchNodes(client, undefined, timings);
    await nodes.synced();
    await until(() => server.watches.size === 1);
    server.set('a', { [OWNER_ANNOTATION]: 'one' }, uid);
    await nodes.waitFor('a', (node) => (node?.ownerOrder === 102 ? true : undefined));
    server.set('b');
    await nodes.waitFor('b', (node) => node);
    await server.stop();
    server.version = 101;
    server.objects.clear();
    server.compact();
    // The same UID and version, with a mark that was set in the other history.
    server.set('a', { [OWNER_ANNOTATION]: 'one', other: 'yes' }, uid);
    await server.start();
    await nodes.waitFor('b', (node) => (node === undefined ? true : undefined));
    expect(nodes.get('a')).toMatchObject({ owner: 'one', ownerOrder: 0, resourceVersion: '102' });
  });
});
