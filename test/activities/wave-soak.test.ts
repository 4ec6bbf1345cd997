import { Context, asyncLocalStorage, type Info } from '@temporalio/activity';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { soakWave } from '../../activities/wave-soak.ts';
import type { KairosNodeStatus, NodeOpUpgrade } from '../../api/types.ts';
import { KubeError } from '../../kube/errors.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { Reflector } from '../../kube/reflector.ts';
import { HAND, MINUTE, SECOND, elapse } from './step-world.ts';

const SOAK_MS = 5 * MINUTE;

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

const viewOf = (name: string, change: Partial<NodeView> = {}): NodeView => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: '1',
  creationTimestamp: '2026-03-01T10:00:00Z',
  labels: {},
  unschedulable: false,
  ready: true,
  bootID: 'boot-2',
  kubeletVersion: 'v1.33.9',
  architecture: 'amd64',
  controlPlane: false,
  pressures: [],
  ...change,
});

/** The Node as the API server holds it. */
const objectOf = ({ name, uid, labels, ready, bootID }: NodeView) => ({
  metadata: { name, uid, labels, resourceVersion: '1' },
  spec: {},
  status: { nodeInfo: { bootID }, conditions: [{ type: 'Ready', status: ready ? 'True' : 'Unknown' }] },
});

/** Lets a wave of these nodes soak, on a virtual clock. */
class Soaking {
  readonly seen = new Map<string, NodeView>();
  /** What the API server has, where that is something else than the watch has delivered. */
  readonly live = new Map<string, NodeView | undefined>();
  readonly asked: string[] = [];
  readonly statuses = new Map<string, KairosNodeStatus>();
  readonly beats: unknown[] = [];
  /** The NodeOpUpgrades of the cluster. */
  readonly upgrades = new Map<string, NodeOpUpgrade>();
  answer: unknown;
  error: unknown;
  away = false;
  #contactSinceMs = Date.now() - 60 * MINUTE;
  readonly #listeners: Listener[] = [];
  readonly #view: ClusterView;

  constructor(names: string[]) {
    for (const name of names) this.seen.set(name, viewOf(name));
    for (const name of names) this.statuses.set(name, { bootID: 'boot-2' });
    const nodes = {
      get: (name: string) => this.seen.get(name),
      values: () => this.seen.values(),
      onChange: (listener: Listener) => {
        this.#listeners.push(listener);
        return () => void this.#listeners.splice(this.#listeners.indexOf(listener), 1);
      },
      contactMs: () => (this.away ? 0 : Date.now() - this.#contactSinceMs),
    } as unknown as Reflector<NodeView>;
    const kairosNodes = {
      get: (name: string) => ({ name, resourceVersion: '1', status: { ...this.statuses.get(name) } }),
    };
    this.#view = {
      ref: HAND.cluster,
      client: { request: (request: Request) => this.#request(request) },
      nodes,
      kairosNodes,
      upgrades: this.upgrades,
    } as unknown as ClusterView;
  }

  start({ agoMs = 0 } = {}): this {
    const info = { attempt: 1, scheduledTimestampMs: Date.now() - agoMs, heartbeatTimeoutMs: 10 * SECOND } as Info;
    const never = new Promise<never>(() => undefined);
    const none = undefined as never;
    const beat = (details: unknown) => void this.beats.push(details);
    const context = new Context(info, never, new AbortController().signal, beat, none, none, none, none);
    const { cluster, rolloutID, request, spec } = HAND;
    const nodes = [...this.seen.keys()].map((name) => ({ name, uid: `uid-${name}` }));
    const input = { cluster, rolloutID, request, spec, wave: 'canary', nodes, waveSoakMs: SOAK_MS };
    asyncLocalStorage
      .run(context, () => soakWave(this.#view, input))
      .then(
        (answer) => (this.answer = answer),
        (error: unknown) => (this.error = error),
      );
    return this;
  }

  /** What happens to a node, as the watch delivers it. */
  now(name: string, change: Partial<NodeView> | null): void {
    if (change === null) this.seen.delete(name);
    else this.seen.set(name, viewOf(name, change));
    for (const listener of this.#listeners) listener(name, this.seen.get(name));
  }

  leaves(): void {
    this.away = true;
  }

  returns(): void {
    this.away = false;
    this.#contactSinceMs = Date.now();
  }

  async #request({ verb, path, body }: Request): Promise<object> {
    await Promise.resolve();
    if (this.away) throw new KubeError('no route', { verb, path, reason: 'Unreachable', retryable: true });
    const name =
      path
        .replace(/\/status$/, '')
        .split('/')
        .at(-1) ?? '';
    if (path.includes('/kairosnodes/')) {
      const status = { ...this.statuses.get(name), ...body?.status } as Record<string, unknown>;
      for (const [field, value] of Object.entries(status)) if (value === null) delete status[field];
      this.statuses.set(name, status);
      return { metadata: { name, uid: 'k', resourceVersion: '1' }, spec: {}, status };
    }
    this.asked.push(name);
    const found = this.live.has(name) ? this.live.get(name) : this.seen.get(name);
    if (found === undefined) throw new KubeError('gone', { verb, path, reason: 'NotFound', retryable: false });
    return objectOf(found);
  }
}

type Listener = (name: string, node: NodeView | undefined) => void;

interface Request {
  verb: string;
  path: string;
  body?: { status: Record<string, unknown> };
}

const HELD = { open: true };
const names = ['a', 'b', 'c'];

describe('the soak of a wave', () => {
  it('is over when all of its nodes were Ready for that long, and the API server says so, too', async () => {
    const soaking = new Soaking(names).start();
    await elapse(SOAK_MS - SECOND);
    expect(soaking.answer).toBeUndefined();
    expect(soaking.asked).toEqual([]);
    await elapse(2 * SECOND);
    expect(soaking.answer).toEqual(HELD);
    expect(soaking.asked).toEqual(names);
    expect(soaking.beats.at(-1)).toMatch(/^soaks since /);
  });

  it('begins anew when a node is not Ready, shows that, and takes it back', async () => {
    const soaking = new Soaking(names).start();
    await elapse(4 * MINUTE);
    soaking.now('b', { ready: false, notReadySince: '2026-03-01T10:04:00Z' });
    await elapse(2 * MINUTE);
    expect(soaking.statuses.get('b')).toMatchObject({
      step: 'Gate',
      message:
        'waiting at the gate WaveSoak: node b is not Ready since 2026-03-01T10:04:00Z: kubectl describe node b; the soak of wave canary begins anew when it is well',
    });
    soaking.now('b', {});
    await elapse(SOAK_MS - SECOND);
    expect(soaking.answer).toBeUndefined();
    expect(soaking.statuses.get('b')).toEqual({ bootID: 'boot-2', rollout: HAND.rolloutID });
    await elapse(2 * SECOND);
    expect(soaking.answer).toEqual(HELD);
  });

  it('begins anew for a moment, too, that no look would have seen', async () => {
    const soaking = new Soaking(names).start();
    await elapse(4 * MINUTE + 100);
    soaking.now('c', { ready: false });
    soaking.now('c', {});
    await elapse(2 * MINUTE);
    expect(soaking.answer).toBeUndefined();
    await elapse(3 * MINUTE);
    expect(soaking.answer).toEqual(HELD);
  });

  it('begins anew when a node has rebooted, though it was always Ready when it was seen', async () => {
    const soaking = new Soaking(names).start();
    await elapse(3 * MINUTE);
    soaking.now('a', { bootID: 'boot-3' });
    await elapse(3 * MINUTE);
    expect(soaking.answer).toBeUndefined();
    await elapse(5 * MINUTE);
    expect(soaking.answer).toEqual(HELD);
  });

  it('is not over by what a watch says that hangs', async () => {
    const soaking = new Soaking(names).start();
    soaking.live.set('b', viewOf('b', { ready: false }));
    await elapse(SOAK_MS + MINUTE);
    expect(soaking.answer).toBeUndefined();
    soaking.live.clear();
    await elapse(SOAK_MS);
    expect(soaking.answer).toEqual(HELD);
  });

  it('ends at its deadline, and names the node', async () => {
    const soaking = new Soaking(names).start();
    soaking.now('b', { ready: false });
    await elapse(SOAK_MS + 59 * MINUTE);
    expect(soaking.answer).toBeUndefined();
    await elapse(2 * MINUTE);
    expect(soaking.answer).toEqual({
      open: false,
      reason:
        'wave canary did not soak: its nodes were not Ready together for 5m00s within 1h05m; node b is not Ready: kubectl describe node b',
    });
    expect(soaking.statuses.get('b')?.step).toBeUndefined();
  });

  it('of an attempt that comes after the deadline gives the nodes the time of a whole soak', async () => {
    const soaking = new Soaking(names);
    soaking.now('b', { ready: false });
    soaking.start({ agoMs: 5 * 60 * MINUTE });
    await elapse(MINUTE);
    expect(soaking.answer).toBeUndefined();
    soaking.now('b', {});
    await elapse(4 * MINUTE + 4 * SECOND);
    // Its time is over, and it has not stayed Ready for long enough.
    expect(soaking.answer).toMatchObject({ open: false });
  });

  it('begins anew after an outage of the API server, and judges nothing by it', async () => {
    const soaking = new Soaking(names).start({ agoMs: SOAK_MS + 58 * MINUTE });
    await elapse(4 * MINUTE);
    soaking.leaves();
    await elapse(10 * MINUTE);
    expect(soaking.answer).toBeUndefined();
    soaking.returns();
    soaking.now('a', { ready: false });
    await elapse(MINUTE);
    expect(soaking.answer).toBeUndefined();
    soaking.now('a', {});
    await elapse(SOAK_MS - 2 * SECOND);
    expect(soaking.answer).toBeUndefined();
    await elapse(4 * SECOND);
    expect(soaking.answer).toEqual(HELD);
  });

  it('does not look at nodes that failed in this attempt, that were deleted, or are another machine', async () => {
    const soaking = new Soaking([...names, 'd']);
    const lastAttempt = { rollout: 'r', request: HAND.request, verdict: 'Lost', image: 'i', finishedAt: '' } as never;
    soaking.statuses.set('a', { bootID: 'boot-2', lastAttempt });
    soaking.now('a', { ready: false });
    soaking.now('d', { uid: 'another', ready: false });
    soaking.start();
    await elapse(MINUTE);
    soaking.now('b', null);
    await elapse(SOAK_MS);
    expect(soaking.answer).toEqual(HELD);
    expect(soaking.asked).toEqual(['b', 'c']);
  });

  it('does not look at a node that a newer NodeOpUpgrade wants: it is rebooted for another image', async () => {
    const soaking = new Soaking(names).start();
    const { uid, name, namespace } = HAND.request;
    const upgrade = (of: object, image: string, labels: Record<string, string>) =>
      ({
        metadata: { namespace, generation: 1, ...of },
        spec: { image, nodeSelector: { matchLabels: labels } },
      }) as NodeOpUpgrade;
    soaking.upgrades.set('own', upgrade({ uid, name, creationTimestamp: '2026-03-01T10:00:00Z' }, 'v2', {}));
    await elapse(MINUTE);
    soaking.now('b', { ready: false });
    await elapse(MINUTE);
    expect(soaking.statuses.get('b')?.step).toBe('Gate');
    // Nothing is heard of the node when somebody else begins to want it.
    soaking.now('b', { ready: false, labels: { rack: '4' } });
    soaking.upgrades.set(
      'new',
      upgrade({ uid: 'n', name: 'n', creationTimestamp: '2026-03-01T11:00:00Z' }, 'v3', { rack: '4' }),
    );
    await elapse(4 * MINUTE);
    soaking.now('b', { labels: { rack: '4' }, bootID: 'boot-3' });
    await elapse(MINUTE + 5 * SECOND);
    expect(soaking.answer).toEqual(HELD);
    expect(soaking.statuses.get('b')?.step).toBeUndefined();
  });

  it('of no node is over at once', async () => {
    const soaking = new Soaking([]).start();
    await elapse(0);
    expect(soaking.answer).toEqual(HELD);
  });

  it('refuses the work of another cluster', async () => {
    const soaking = new Soaking(names);
    const input = { cluster: { uid: 'another', id: 'x' } } as Parameters<typeof soakWave>[1];
    await expect(soakWave({ ref: HAND.cluster } as unknown as ClusterView, input)).rejects.toThrow('give each cluster');
    expect(soaking.asked).toEqual([]);
  });
});
