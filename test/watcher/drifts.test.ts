import { describe, expect, it, jest } from '@jest/globals';
import pino from 'pino';
import type { KubeRequest } from '../../kube/client.ts';
import type { KairosNodeView } from '../../kube/kairos-nodes.ts';
import { driftKey } from '../../policy/drift.ts';
import type { EngineState } from '../../policy/engine.ts';
import type { WatcherContext } from '../../watcher/context.ts';
import { reconcileDrift } from '../../watcher/drifts.ts';

const IMAGE = 'quay.io/kairos/hadron:v4.0.3';
const edited = (name: string, retry?: string): KairosNodeView => ({
  name,
  uid: `uid-${name}`,
  generation: 4,
  resourceVersion: '1',
  spec: { image: IMAGE },
  specManagers: ['kubectl-edit'],
  status: {},
  ...(retry === undefined ? {} : { retry }),
});

/** What the watcher does about two edited nodes; the answer names the nodes that it settles, and those that it starts. */
async function look(engine: EngineState, onPatch: (nodes: Map<string, KairosNodeView>) => void = () => undefined) {
  jest.useFakeTimers();
  const nodes = new Map([edited('w-1'), edited('w-2', 'again')].map((node) => [node.name, node]));
  const settled: string[] = [];
  const started: string[][] = [];
  const watched: string[] = [];
  const context = {
    cluster: { uid: 'c0ffee00', id: 'kairos-c0ffee00' },
    namespace: 'kairos-system',
    defaults: {},
    log: pino({ level: 'silent' }),
    kairosNodes: nodes,
    nodes: new Map(),
    client: {
      request: ({ path, body }: KubeRequest) => {
        const { lastAttempt } = (body as { status: { lastAttempt: { verdict: string; retry?: string } } }).status;
        settled.push(`${path.split('/').at(-2)} ${lastAttempt.verdict} ${lastAttempt.retry ?? '-'}`);
        onPatch(nodes);
        return Promise.resolve({ metadata: { name: '', uid: '', resourceVersion: '' } });
      },
    },
    engine: {
      searchAttributes: true,
      describe: () => Promise.resolve(engine),
      start: (_id: string, { spec }: { spec: { nodeNames: string[] } }) => {
        started.push(spec.nodeNames);
        return Promise.resolve();
      },
    },
    uninstall: { now: () => Promise.resolve(undefined) },
    closings: { watch: (id: string) => void watched.push(id) },
  };
  const looked = reconcileDrift(
    context as unknown as WatcherContext,
    IMAGE,
    () => undefined,
    new AbortController().signal,
  );
  await jest.advanceTimersByTimeAsync(9_999);
  const early = started.length;
  await jest.advanceTimersByTimeAsync(1);
  await looked;
  jest.useRealTimers();
  return { settled, started, watched: watched.length, early };
}

const keys = Object.fromEntries([edited('w-1'), edited('w-2', 'again')].map((node) => [node.name, driftKey(node)]));
const memo = (nodes: Record<string, string>) => ({ uid: '', generation: 0, attempt: 1, nodes });

describe('KairosNodes that were edited by hand', () => {
  it.each<EngineState>([{ state: 'NotFound' }, { state: 'Completed', memo: memo({ 'w-1': '3/' }) }])(
    'go into one rollout, ten seconds later: $state',
    async (engine) => {
      expect(await look(engine)).toEqual({ settled: [], started: [['w-1', 'w-2']], watched: 1, early: 0 });
    },
  );

  it('wait for the rollout that is open', async () => {
    expect(await look({ state: 'Open' })).toEqual({ settled: [], started: [], watched: 1, early: 0 });
  });

  it.each(['Terminated', 'Failed', 'TimedOut', 'Canceled'] as const)(
    'are settled where their rollout was %s, and not tried again',
    async (state) => {
      const { settled, started } = await look({ state, memo: memo(keys) });
      expect(settled).toEqual(['w-1 Cancelled -', 'w-2 Cancelled again']);
      expect(started).toEqual([]);
    },
  );

  it('are tried where that rollout was for an earlier edit of them', async () => {
    const { settled, started } = await look({ state: 'Terminated', memo: memo({ ...keys, 'w-2': '4/before' }) });
    expect({ settled, started }).toEqual({ settled: ['w-1 Cancelled -'], started: [['w-2']] });
  });

  it('are not tried again because a report of their agent came before their end was seen', async () => {
    const reported = (nodes: Map<string, KairosNodeView>) =>
      nodes.set('w-1', { ...edited('w-1'), resourceVersion: '2' });
    const { started } = await look({ state: 'Terminated', memo: memo(keys) }, reported);
    expect(started).toEqual([]);
  });
});
