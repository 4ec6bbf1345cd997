import { Context, asyncLocalStorage, type Info } from '@temporalio/activity';
import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { markNode, type MarkAnswer } from '../../activities/mark.ts';
import { NodePods } from '../../activities/node-pods.ts';
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
  /** What the watch has of control-plane nodes. */
  seen: { name: string; controlPlane: true; ready: boolean; labels: object; kubeletVersion: string }[] = [];
  /** What the watch shows of the Node itself. */
  itself: object | undefined;
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
    nodePods: new NodePods(this.#client as unknown as KubeClient),
    nodes: {
      get: () => this.itself ?? this.seen.find(({ name }) => name === 'n-1'),
      values: () => this.seen,
      onChange: () => undefined,
      waitFor: async (_name: string, decide: (node: object) => unknown) =>
        decide({ uid: 'uid-1', resourceVersion: String(this.version), owner: this.owner, ownerOrder: 1 }),
    },
    outages: { values: () => [] },
    etcdPods: { values: () => [] },
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

  #node(verb: string, body?: { metadata: { resourceVersion?: string; annotations: Record<string, string | null> } }) {
    if (verb === 'merge-patch') {
      const { resourceVersion = String(this.version) } = body?.metadata ?? {};
      if (resourceVersion !== String(this.version))
        throw new KubeError('changed', { verb, path: '/', reason: 'Conflict', retryable: false });
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

const SEEN = {
  name: 'n-1',
  uid: 'uid-1',
  ready: true,
  unschedulable: false,
  bootID: 'boot-1',
  pressures: [],
  resourceVersion: '1',
};

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

  it('by what the watch shows, where that is the present version', async () => {
    world.itself = { ...SEEN, resourceVersion: '1' };
    expect(await world.mark()).toEqual({ outcome: 'Marked' });
    expect(world.requests).toEqual(['merge-patch node', 'get lease', 'create lease']);
  });

  it.each([
    ['is behind', { resourceVersion: '0' }, ['merge-patch node', 'get node', 'merge-patch node']],
    ['shows a cordon that is not there', { unschedulable: true }, ['get node', 'merge-patch node']],
    ['shows an earlier mark of ours', { owner: HAND.workflowID }, ['get node', 'merge-patch node']],
  ])('by a fresh read, where the watch %s', async (_, change, requests) => {
    world.itself = { ...SEEN, ...change };
    expect(await world.mark()).toEqual({ outcome: 'Marked' });
    expect(world.requests.slice(0, requests.length)).toEqual(requests);
  });

  it('not by what a watch shows that is behind, where somebody has cordoned it since', async () => {
    world.itself = { ...SEEN, resourceVersion: '0' };
    world.unschedulable = true;
    expect(await world.mark()).toMatchObject({ outcome: 'Full', reason: expect.stringContaining('cordoned') });
    expect(world.owner).toBeUndefined();
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

  it('not for long where etcd would lose its majority: the mark is taken back', async () => {
    const labels = { 'node-role.kubernetes.io/etcd': 'true' };
    world.seen = ['n-1', 'n-2', 'n-3'].map((name) => {
      return { name, controlPlane: true, ready: name !== 'n-2', labels, kubeletVersion: 'v1.33.9+k3s1' };
    });
    expect(await world.mark()).toMatchObject({
      outcome: 'Full',
      reason: expect.stringMatching(/etcd would lose its majority.* n-2 is not Ready: kubectl get nodes/),
    });
    expect(world).toMatchObject({ owner: undefined, leaseHolder: undefined });
    world.seen.forEach((node) => (node.ready = true));
    expect(await world.mark()).toEqual({ outcome: 'Marked' });
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
