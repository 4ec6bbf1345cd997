import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { NodePods } from '../../activities/node-pods.ts';
import type { KubeClient, WatchEvent } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { MINUTE, elapse } from './step-world.ts';

const pod = (name: string, version: number) => ({
  metadata: { name, namespace: 'ns', uid: name, resourceVersion: String(version) },
  spec: { nodeName: 'n-1', containers: [] },
  status: { phase: 'Running' },
});

/** What is asked of the API server, and the watches that are open. */
let requests: string[];
let watching: Set<(event: WatchEvent) => void>;
let refused: boolean;
let pods: NodePods;

beforeEach(() => {
  jest.useFakeTimers();
  requests = [];
  watching = new Set();
  refused = false;
  const client = {
    request: async () => {
      await Promise.resolve();
      requests.push('list');
      if (refused) throw new KubeError('no', { verb: 'list', path: '/', reason: 'Forbidden', retryable: false });
      return { metadata: { resourceVersion: '7' }, items: [pod('a', 5)] };
    },
    watch: (
      _path: string,
      query: { resourceVersion: string },
      onEvent: (event: WatchEvent) => void,
      signal: AbortSignal,
    ) => {
      requests.push(`watch from ${query.resourceVersion}`);
      watching.add(onEvent);
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          watching.delete(onEvent);
          reject(signal.reason as Error);
        });
      });
    },
  } as unknown as KubeClient;
  pods = new NodePods(client);
});
afterEach(() => {
  pods.stop();
  jest.useRealTimers();
});

describe('the pods of a node in hand', () => {
  it('are listed once, and then watched from there, for as many steps as there are', async () => {
    expect((await pods.list('n-1')).map(({ name }) => name)).toEqual(['a']);
    for (let step = 0; step < 3; step += 1) {
      const { pods: now, close } = pods.open('n-1');
      await now.synced();
      expect(now.size).toBe(step + 1);
      for (const tell of watching) tell({ type: 'ADDED', object: pod(`of-${step}`, 10 + step) });
      expect(now.size).toBe(step + 2);
      close();
      await elapse(MINUTE);
    }
    expect(requests.filter((request) => request === 'list')).toHaveLength(1);
    expect(requests[1]).toBe('watch from 7');
    expect(watching.size).toBe(1);
  });

  it('are listed anew where nobody did before', async () => {
    const { pods: now, close } = pods.open('n-1');
    await now.synced();
    expect(now.size).toBe(1);
    expect(requests[0]).toBe('list');
    close();
    close();
  });

  it('are listed anew for another mark', async () => {
    await pods.list('n-1');
    await pods.list('n-1');
    await elapse(0);
    expect(requests.filter((request) => request === 'list')).toHaveLength(2);
    expect(watching.size).toBe(1);
  });

  it.each([
    ['when the node is in hand no more', () => Promise.resolve(pods.forget('n-1'))],
    ['after half an hour without a step', () => elapse(31 * MINUTE)],
  ])('are watched no more %s', async (_, end) => {
    await pods.list('n-1');
    expect(watching.size).toBe(1);
    await end();
    expect(watching.size).toBe(0);
  });

  it('are watched as long as a step uses them', async () => {
    const { pods: now, close } = pods.open('n-1');
    await now.synced();
    pods.forget('n-1');
    await elapse(60 * MINUTE);
    expect(watching.size).toBe(1);
    close();
    expect(watching.size).toBe(0);
  });

  it('that may not be listed are an error, and nothing is watched', async () => {
    refused = true;
    await expect(pods.list('n-1')).rejects.toMatchObject({ reason: 'Forbidden' });
    expect(requests).toEqual(['list']);
  });
});
