import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { connectToCluster, type KubeClient } from '../../kube/client.ts';
import { startObserver, type Observer } from '../../sim/observer.ts';
import { FakeApiServer, answer, status, until } from '../kube/fake-api-server.ts';

const version = (resourceVersion: number) => ({ resourceVersion: String(resourceVersion) });
const node = (name: string, at: number, cordoned: boolean) => ({
  metadata: { name, uid: `uid-${name}`, ...version(at) },
  spec: cordoned ? { unschedulable: true } : {},
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
});
const lines = (...events: object[]) => events.map((event) => `${JSON.stringify(event)}\n`).join('');
const modified = (object: object) => ({ type: 'MODIFIED', object });
const isExpired = { type: 'ERROR', object: status(410, 'Expired', 'too old resource version') };

describe('what an observer says about who was out together', () => {
  let server: FakeApiServer;
  let client: KubeClient;
  let observer: Observer;
  let nodes: object[] = [];
  let listedAt: number;
  let watch: ServerResponse | undefined;
  const workers = () => observer.moments.map(({ workers }) => workers);

  beforeEach(async () => {
    watch = undefined;
    listedAt = 100;
    nodes = [node('a', 1, false), node('b', 2, false)];
    server = await new FakeApiServer().start();
    server.fault = ({ url }, response) => {
      const ofNodes = url.pathname === '/api/v1/nodes';
      if (!url.searchParams.has('watch')) {
        answer(response, 200, { metadata: version(listedAt), items: ofNodes ? nodes : [] });
      } else {
        response.writeHead(200).flushHeaders();
        if (ofNodes) watch = response;
      }
      return true;
    };
    client = connectToCluster({ kubeconfig: server.kubeconfig });
    observer = startObserver(client, 'step');
    await observer.synced();
    await until(() => watch !== undefined);
  });
  afterEach(async () => {
    observer.stop();
    await client.close();
    await server.stop();
    server.remove();
  });

  it('is one moment for each change that was watched, however close they came', async () => {
    watch?.write(
      lines(modified(node('a', 101, true)), modified(node('b', 102, true)), modified(node('a', 103, false))),
    );
    await until(() => observer.moments.length === 3);
    expect(workers()).toEqual([['a'], ['a', 'b'], ['b']]);
  });

  it('is what was true at one time, also where a list brings a hand-over that nobody watched', async () => {
    watch?.write(lines(modified(node('b', 101, true))));
    await until(() => observer.moments.length === 1);
    // Node by node: a is out before it is known that b no longer is.
    nodes = [node('a', 202, true), node('b', 201, false)];
    listedAt = 202;
    watch?.end(lines(isExpired));
    await until(() => observer.nodes.get('b')?.unschedulable === false);
    expect(workers()).toEqual([['b'], ['a']]);
  });
});
