import { Context, asyncLocalStorage, type Info } from '@temporalio/activity';
import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { markNode, type MarkAnswer } from '../../activities/mark.ts';
import type { NodeInHand } from '../../api/messages.ts';
import { OWNER_ANNOTATION } from '../../api/names.ts';
import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { HAND } from './step-world.ts';

interface Condition {
  type: string;
  status: string;
}

/** A Node that the API server has, a report that the watch has, and the Lease of another tool. */
class World {
  version = 1;
  owner: string | undefined;
  conditions: Condition[] = [{ type: 'Ready', status: 'True' }];
  unschedulable = false;
  bootID = 'boot-1';
  reportedFrom = 'boot-1';
  leaseHolder: string | undefined;
  readonly requests: string[] = [];

  readonly #client = {
    request: async ({ verb, path, body }: { verb: string; path: string; body?: never }) => {
      await Promise.resolve();
      this.requests.push(`${verb} ${path.includes('/leases') ? 'lease' : 'node'}`);
      return path.includes('/leases') ? this.#lease(verb, body) : this.#node(verb, body);
    },
  };
  readonly view = {
    ref: HAND.cluster,
    client: this.#client as unknown as KubeClient,
    nodes: {
      values: () => [],
      waitFor: async (_name: string, decide: (node: object) => unknown) =>
        decide({ uid: 'uid-1', resourceVersion: String(this.version), owner: this.owner, ownerOrder: 1 }),
    },
    outages: { values: () => [] },
    kairosNodes: { values: () => [], get: () => ({ status: { bootID: this.reportedFrom } }) },
    leases: { namespace: 'medik8s-leases', byName: { get: () => undefined } },
  } as unknown as ClusterView;

  async mark(hand: NodeInHand = HAND): Promise<MarkAnswer> {
    const info = { attempt: 1, scheduledTimestampMs: Date.now(), heartbeatTimeoutMs: 10_000 } as Info;
    const none = undefined as never;
    const never = new Promise<never>(() => undefined);
    const context = new Context(info, never, new AbortController().signal, () => undefined, none, none, none, none);
    return await asyncLocalStorage.run(context, () => markNode(this.view, hand));
  }

  #node(verb: string, body?: { metadata: { annotations: Record<string, string | null> } }) {
    if (verb === 'merge-patch') {
      this.version += 1;
      this.owner = body?.metadata.annotations[OWNER_ANNOTATION] ?? undefined;
    }
    const annotations = this.owner === undefined ? {} : { [OWNER_ANNOTATION]: this.owner };
    return {
      metadata: { name: 'n-1', uid: 'uid-1', resourceVersion: String(this.version), annotations },
      spec: { unschedulable: this.unschedulable },
      status: { conditions: this.conditions, nodeInfo: { bootID: this.bootID } },
    };
  }

  #lease(verb: string, body?: { spec: { holderIdentity: string } }) {
    if (verb === 'create') {
      this.leaseHolder = body?.spec.holderIdentity;
      return {};
    }
    if (this.leaseHolder === undefined)
      throw new KubeError('none', { verb, path: '/', reason: 'NotFound', retryable: false });
    const renewTime = new Date().toISOString();
    return {
      metadata: { name: 'node-n-1', uid: 'l', resourceVersion: '1' },
      spec: { holderIdentity: this.leaseHolder, renewTime, leaseDurationSeconds: 600 },
    };
  }
}

let world: World;

beforeEach(() => {
  world = new World();
});

describe('a node is marked', () => {
  it('and its Lease taken after the mark', async () => {
    expect(await world.mark()).toEqual({ outcome: 'Marked' });
    expect(world).toMatchObject({ owner: HAND.workflowID, leaseHolder: 'kairos-operator' });
    expect(world.requests).toEqual(['get node', 'merge-patch node', 'get lease', 'create lease']);
  });

  it.each<[string, (world: World) => void, RegExp]>([
    ['is not Ready any more', (now) => (now.conditions = [{ type: 'Ready', status: 'Unknown' }]), /is not Ready/],
    [
      'has come under pressure',
      (now) => now.conditions.push({ type: 'PIDPressure', status: 'True' }),
      /has PIDPressure/,
    ],
    [
      'was cordoned by somebody',
      (now) => (now.unschedulable = true),
      /cordoned by somebody else: kubectl uncordon n-1/,
    ],
    ['was taken by another', (now) => (now.owner = 'node/kairos-c/other'), /is out already: node\/kairos-c\/other/],
    ['has rebooted by itself', (now) => (now.bootID = now.reportedFrom = 'boot-2'), /has just rebooted by itself/],
    ['reports from an earlier boot', (now) => (now.reportedFrom = 'boot-0'), /has not reported from this boot/],
  ])('not where it %s since its gates were open', async (_, change, words) => {
    change(world);
    const before = world.owner;
    expect(await world.mark()).toMatchObject({ outcome: 'Full', reason: expect.stringMatching(words) });
    expect(world.owner).toBe(before);
    expect(world.leaseHolder).toBeUndefined();
  });

  it('not where its window has closed since its gates were open', async () => {
    const nextYear = new Date(Date.now() + 180 * 24 * 3_600_000);
    const cron = `0 0 ${nextYear.getUTCDate()} ${nextYear.getUTCMonth() + 1} *`;
    const spec = { ...HAND.spec, windows: [{ cron, durationMs: 60_000, timeZone: 'UTC' }] };
    const closed = { outcome: 'Full', reason: expect.stringMatching(/^window closed until \d{4}-/) };
    expect(await world.mark({ ...HAND, spec })).toMatchObject(closed);
    expect(world.requests).toEqual(['get node']);
  });

  it('not where a health gate has closed since', async () => {
    const nodes = { selector: { matchLabels: { pool: 'none' } } };
    const spec = { ...HAND.spec, healthGates: [{ name: 'pool', intervalMs: 1000, nodes }] };
    expect(await world.mark({ ...HAND, spec })).toMatchObject({
      outcome: 'Full',
      reason: expect.stringContaining('health gate pool: no node has the labels of its selector'),
    });
    expect(world.owner).toBeUndefined();
  });

  it('not for long where another tool was quicker: the mark is taken back', async () => {
    world.leaseHolder = 'node-maintenance';
    expect(await world.mark()).toMatchObject({
      outcome: 'Full',
      reason: expect.stringContaining('in the hand of node-maintenance'),
    });
    expect(world.owner).toBeUndefined();
    expect(world.requests.filter((request) => request === 'merge-patch node').length).toBe(2);
    expect(world.leaseHolder).toBe('node-maintenance');
  });

  it('although it does not report, where it is held for just that and taken up again', async () => {
    world.owner = 'held:Unverified';
    world.reportedFrom = 'boot-0';
    expect(await world.mark({ ...HAND, takesOver: 'held:Unverified' })).toEqual({ outcome: 'Marked' });
  });
});
