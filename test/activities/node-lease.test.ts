import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { closedLease, giveLeaseBack, keepingLease, takeNodeLease } from '../../activities/node-lease.ts';
import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import type { NodeLeaseView } from '../../kube/node-leases.ts';
import { HAND, MINUTE, SECOND, elapse } from './step-world.ts';

const NODE = { name: 'N-1', uid: 'uid-1' };
const NOW = new Date('2026-03-01T10:00:00Z');

interface Spec {
  holderIdentity: string;
  leaseDurationSeconds: number;
  acquireTime: string;
  renewTime: string;
  leaseTransitions: number;
}
interface Stored {
  metadata: { name: string; uid: string; resourceVersion: string; ownerReferences?: unknown };
  spec: Spec;
}

/** An API server with the Leases of one namespace, and a watch that shows what was delivered. */
class Leases {
  lease: Stored | undefined;
  readonly requests: string[] = [];
  fails: string | undefined;
  /** What another tool does between a read and a write. */
  between: () => void = () => undefined;
  readonly seen = new Map<string, NodeLeaseView>();
  readonly view = {
    client: { request: (request: never) => this.#answer(request) } as unknown as KubeClient,
    leases: { namespace: 'medik8s-leases', byName: { get: (name: string) => this.seen.get(name) } },
  } as unknown as ClusterView;
  #version = 1;

  put(spec: Partial<Spec>): void {
    const time = new Date().toISOString().replace('Z', '000Z');
    const all = { holderIdentity: 'node-maintenance', leaseDurationSeconds: 600, acquireTime: time, renewTime: time };
    const metadata = { name: 'node-n-1', uid: 'l', resourceVersion: String(++this.#version) };
    this.lease = { metadata, spec: { ...all, leaseTransitions: 0, ...spec } };
  }

  deliver(): void {
    const { metadata, spec } = this.lease ?? {};
    if (metadata === undefined || spec === undefined) return;
    this.seen.set(metadata.name, {
      ...metadata,
      holder: spec.holderIdentity,
      durationSeconds: spec.leaseDurationSeconds,
      acquireTime: spec.acquireTime,
      renewTime: spec.renewTime,
      transitions: spec.leaseTransitions,
      seenAtMs: Date.now(),
      live: false,
    });
  }

  async #answer({ verb, body }: { verb: string; body?: Stored & { preconditions?: object } }): Promise<unknown> {
    await Promise.resolve();
    this.requests.push(verb);
    if (this.fails !== undefined) throw failure(this.fails);
    if (verb !== 'get') {
      this.between();
      this.between = () => undefined;
    }
    if (verb === 'create') {
      if (this.lease !== undefined) throw failure('AlreadyExists');
      const metadata = { ...body?.metadata, uid: 'l', resourceVersion: String(++this.#version) };
      this.lease = { metadata, spec: body?.spec } as Stored;
      return this.lease;
    }
    if (this.lease === undefined) throw failure('NotFound');
    const { resourceVersion } = this.lease.metadata;
    const wanted = verb === 'delete' ? body?.preconditions : body?.metadata;
    if (verb !== 'get' && (wanted as { resourceVersion?: string }).resourceVersion !== resourceVersion)
      throw failure('Conflict');
    if (verb === 'delete') this.lease = undefined;
    if (verb === 'merge-patch') this.put({ ...this.lease?.spec, ...body?.spec });
    return this.lease;
  }
}

const failure = (reason: string) =>
  new KubeError(`the API server says ${reason}`, { verb: 'x', path: '/', reason, retryable: false });

let leases: Leases;

beforeEach(() => {
  jest.useFakeTimers({ now: NOW });
  leases = new Leases();
});
afterEach(() => {
  jest.useRealTimers();
});

describe('the Lease on a node', () => {
  it('is made as the other tools make it', async () => {
    expect(await takeNodeLease(leases.view, NODE)).toBeUndefined();
    expect(leases.lease).toMatchObject({
      metadata: { name: 'node-n-1', ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'N-1', uid: 'uid-1' }] },
      spec: {
        holderIdentity: 'kairos-operator',
        leaseDurationSeconds: 3600,
        acquireTime: '2026-03-01T10:00:00.000000Z',
        renewTime: '2026-03-01T10:00:00.000000Z',
        leaseTransitions: 0,
      },
    });
  });

  it('is not taken from a holder that is alive, who is named', async () => {
    leases.put({});
    expect(await takeNodeLease(leases.view, NODE)).toMatchObject({
      gate: 'Lease',
      reason: expect.stringContaining('node N-1 is in the hand of node-maintenance since 2026-03-01T10:00:00.000000Z'),
    });
    expect(leases.requests).toEqual(['get']);
    leases.deliver();
    expect(closedLease(leases.view, 'N-1')).toMatchObject({ gate: 'Lease' });
  });

  it('is taken over when it has run out, and says so', async () => {
    leases.put({ renewTime: '2026-03-01T09:49:00.000000Z', leaseTransitions: 2 });
    leases.deliver();
    expect(closedLease(leases.view, 'N-1')).toBeUndefined();
    expect(await takeNodeLease(leases.view, NODE)).toBeUndefined();
    expect(leases.lease?.spec).toMatchObject({ holderIdentity: 'kairos-operator', leaseTransitions: 3 });
  });

  it('goes to the other tool that was quicker', async () => {
    leases.between = () => leases.put({});
    expect(await takeNodeLease(leases.view, NODE)).toMatchObject({ gate: 'Lease' });
    expect(leases.requests).toEqual(['get', 'create', 'get']);
  });

  it('that is ours is found again, by another worker, too', async () => {
    const acquireTime = '2026-03-01T09:00:00.000000Z';
    leases.put({ holderIdentity: 'kairos-operator', acquireTime, renewTime: acquireTime });
    leases.deliver();
    expect(closedLease(leases.view, 'N-1')).toBeUndefined();
    expect(await takeNodeLease(leases.view, NODE)).toBeUndefined();
    expect(leases.lease?.spec).toMatchObject({ acquireTime, renewTime: '2026-03-01T10:00:00.000000Z' });
  });

  it.each(['Forbidden', 'NotFound'])(
    'that cannot be taken (%s) keeps the node waiting, and says what to do',
    async (reason) => {
      leases.fails = reason;
      const closed = await takeNodeLease(leases.view, NODE);
      expect(closed?.reason).toMatch(/its Lease cannot be taken .*namespace medik8s-leases.*deploy\/node-leases/);
    },
  );

  it('is given back by whoever holds it, and by nobody else', async () => {
    leases.put({});
    await giveLeaseBack(leases.view, NODE);
    expect(leases.lease).toBeDefined();
    leases.put({ holderIdentity: 'kairos-operator' });
    await giveLeaseBack(leases.view, NODE);
    expect(leases.lease).toBeUndefined();
    await giveLeaseBack(leases.view, NODE);
  });

  it('that was taken anew meanwhile stays', async () => {
    leases.put({ holderIdentity: 'kairos-operator' });
    leases.between = () => leases.put({ holderIdentity: 'kairos-operator' });
    await giveLeaseBack(leases.view, NODE);
    expect(leases.lease).toBeDefined();
  });

  it('stays where it may not be deleted any more: no node waits for that', async () => {
    leases.put({ holderIdentity: 'kairos-operator' });
    leases.fails = 'Forbidden';
    await expect(giveLeaseBack(leases.view, NODE)).resolves.toBeUndefined();
  });
});

describe('while a step of a node goes on', () => {
  const hand = { ...HAND, node: NODE };
  const writes = () => leases.requests.filter((verb) => verb !== 'get').length;

  async function stepOf(ms: number): Promise<void> {
    const step = keepingLease(leases.view, hand, () => new Promise<void>((resolve) => setTimeout(resolve, ms)));
    for (let passed = 0; passed < ms; passed += 30 * SECOND) {
      await elapse(30 * SECOND);
      leases.deliver();
    }
    await step;
  }

  it('its Lease is renewed every twenty minutes, with one write', async () => {
    await takeNodeLease(leases.view, NODE);
    leases.deliver();
    await stepOf(59 * MINUTE);
    expect(writes()).toBe(1 + 2);
    const renewed = Date.parse(leases.lease?.spec.renewTime ?? '');
    expect(Date.now() - renewed).toBeLessThanOrEqual(20 * MINUTE);
  });

  it('one that is gone is made again, and one of another tool is left to it', async () => {
    await stepOf(MINUTE);
    expect(leases.lease?.spec.holderIdentity).toBe('kairos-operator');
    leases.put({ leaseDurationSeconds: 36_000 });
    leases.deliver();
    await stepOf(50 * MINUTE);
    expect(leases.lease?.spec.holderIdentity).toBe('node-maintenance');
  });

  it('no more is asked once it has ended', async () => {
    await stepOf(MINUTE);
    const before = leases.requests.length;
    await elapse(120 * MINUTE);
    expect(leases.requests.length).toBe(before);
  });

  it('an API server that refuses does not end the step', async () => {
    leases.fails = 'Forbidden';
    await stepOf(5 * MINUTE);
  });
});

it('no request is made where no Leases are shared', async () => {
  const view = { client: leases.view.client } as unknown as ClusterView;
  expect(closedLease(view, 'N-1')).toBeUndefined();
  expect(await takeNodeLease(view, NODE)).toBeUndefined();
  await giveLeaseBack(view, NODE);
  await keepingLease(view, HAND, () => Promise.resolve());
  expect(leases.requests).toEqual([]);
});
