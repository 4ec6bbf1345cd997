import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { reportPlan } from '../../activities/plan-report.ts';
import type { PlanContext, RolloutContext } from '../../api/messages.ts';
import type { Plan } from '../../api/plan-messages.ts';
import type { KairosNodeStatus, NodeOpUpgrade, NodeOpUpgradeSpec } from '../../api/types.ts';
import type { KairosNodeView } from '../../kube/kairos-nodes.ts';
import { errorFromAnswer } from '../../kube/errors.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { OutNode } from '../../policy/budget.ts';
import { resolveSpec } from '../../policy/strategy.ts';
import { status } from '../kube/fake-api-server.ts';

const IMAGE = 'quay.io/kairos/hadron:v4.0.3';
const OLD = {
  KAIROS_VERSION: 'v4.0.2',
  KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1',
  KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
};
const NEW = { ...OLD, KAIROS_VERSION: 'v4.0.3' };
const signal = new AbortController().signal;

interface Request {
  verb: string;
  path: string;
  body?: { deleteOptions?: { dryRun?: string[] }; status?: { plan?: Record<string, unknown> } };
}

/** An API server of a few answers, and the watches of a worker. */
class World {
  readonly requests: Request[] = [];
  pods: object[] = [];
  volumes: object[] = [];
  evictionOf: (pod: string) => { code: number; body: unknown } | undefined = () => undefined;
  refuses: (path: string) => { code: number; body: unknown } | undefined = () => undefined;
  readonly nodes = new Map<string, NodeView>();
  readonly kairosNodes = new Map<string, KairosNodeView>();
  readonly upgrades = new Map<string, NodeOpUpgrade>();
  /** Nodes that are out, by name. */
  readonly outages = new Map<string, OutNode>();

  node(name: string, more: Partial<NodeView> = {}, report: KairosNodeStatus = {}): this {
    const controlPlane = name.startsWith('cp');
    const known = { uid: `uid-${name}`, bootID: 'b', ready: true, unschedulable: false, labels: {}, pressures: [] };
    const machine = { architecture: 'amd64', kubeletVersion: 'v1.33.9+k3s1', controlPlane };
    this.nodes.set(name, { name, ...known, ...machine, ...more } as NodeView);
    const status = { bootID: 'b', bootState: 'active' as const, release: OLD, ...report };
    this.kairosNodes.set(name, { name, spec: {}, status } as unknown as KairosNodeView);
    return this;
  }

  pod(name: string, nodeName: string, owner: string, more: object = {}): this {
    const ownerReferences = [{ kind: 'ReplicaSet', name: owner, uid: owner, controller: true }];
    const metadata = { name, namespace: 'shop', uid: name, ...(owner === '' ? {} : { ownerReferences }) };
    const conditions = [{ type: 'Ready', status: 'True' }];
    this.pods.push({ metadata, spec: { nodeName, ...more }, status: { phase: 'Running', conditions } });
    return this;
  }

  report(spec: Partial<NodeOpUpgradeSpec> = {}, nodes = [...this.nodes.values()], context: Partial<PlanContext> = {}) {
    const client = { request: (request: Request) => this.#answer(request) };
    const { kairosNodes, outages, upgrades } = this;
    const empty = new Map<string, never>();
    const parts = { client, nodes: this.nodes, kairosNodes, pods: empty, outages, etcdPods: empty, upgrades };
    const view = parts as unknown as ClusterView;
    const of = (controlPlane: boolean) =>
      nodes.filter((node) => node.controlPlane === controlPlane).map(({ name, uid }) => ({ name, uid }));
    const plan: Plan = { controlPlane: of(true), workers: of(false), leftAlone: [], maxUnavailable: 1 };
    return reportPlan(view, { ...contextOf(spec), ...context }, plan, signal);
  }

  get evictions(): string[] {
    return this.requests
      .filter(({ path }) => path.endsWith('/eviction'))
      .map(({ path }) => path.split('/').at(-2) ?? '');
  }

  async #answer(request: Request): Promise<unknown> {
    await Promise.resolve();
    const { verb, path } = request;
    this.requests.push(request);
    const refused = path.endsWith('/eviction') ? this.evictionOf(path.split('/').at(-2) ?? '') : this.refuses(path);
    if (refused !== undefined) throw errorFromAnswer({ verb, path }, refused);
    const list = (items: object[]) => ({ metadata: { resourceVersion: '1' }, items });
    if (path === '/api/v1/pods') return list(this.pods);
    if (path === '/api/v1/persistentvolumes') return list(this.volumes);
    if (path === '/version') return { gitVersion: 'v1.33.9+k3s1' };
    if (path.includes('poddisruptionbudgets'))
      return { status: { disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 } };
    return { metadata: {} };
  }
}

const contextOf = (spec: Partial<NodeOpUpgradeSpec>): RolloutContext => ({
  cluster: { uid: 'c', id: 'kairos-c' },
  rolloutID: 'rollout/kairos-c/ns/v4',
  request: { kind: 'NodeOpUpgrade', namespace: 'ns', name: 'v4', uid: 'u', generation: 1, attempt: 1 },
  spec: resolveSpec({ image: IMAGE, ...spec }),
});
const held = {
  code: 429,
  body: status(429, 'TooManyRequests', 'Cannot evict pod', {
    causes: [{ reason: 'DisruptionBudget', message: 'The disruption budget web needs 1 healthy pods and has 1' }],
  }),
};

let world: World;
beforeEach(() => {
  world = new World().node('cp-1').node('worker-1').node('worker-2').node('worker-3');
});
const reasons = async (spec?: Partial<NodeOpUpgradeSpec>, nodes?: NodeView[]) =>
  (await world.report(spec, nodes)).risks.map(({ reason }) => reason).filter((reason) => reason !== 'ControlPlane');

describe('what a plan says of the control plane', () => {
  const said = async () =>
    (await world.report()).risks.filter(({ reason }) => reason === 'ControlPlane').map(({ message }) => message);
  const etcd = { labels: { 'node-role.kubernetes.io/etcd': 'true' } };

  it('is that its only node takes the API server along', async () => {
    expect(await said()).toEqual(['cp-1 is the only control-plane node: there is no API server while it reboots']);
  });

  it('is which members of etcd are missed where it has two', async () => {
    world.node('cp-1', etcd).node('cp-2', etcd);
    expect(await said()).toEqual([expect.stringMatching(/^etcd has two members, cp-1 and cp-2: /)]);
  });

  it('is nothing where the majority holds, and what keeps the rollout waiting where it does not', async () => {
    world.node('cp-1', etcd).node('cp-2', etcd).node('cp-3', etcd);
    expect(await said()).toEqual([]);
    world.node('cp-3', { ...etcd, ready: false });
    expect(await said()).toEqual([expect.stringMatching(/^as it is now, .*etcd would lose its majority.*cp-3/)]);
  });
});

describe('the evictions that a plan tries', () => {
  it('are one of each controller, and none of them is carried out', async () => {
    for (let n = 0; n < 40; n += 1) world.pod(`web-${n}`, `worker-${1 + (n % 3)}`, `set-${n % 4}`);
    await world.report();
    expect(world.evictions).toHaveLength(4);
    const tried = world.requests.filter(({ path }) => path.endsWith('/eviction'));
    for (const { body } of tried) expect(body?.deleteOptions?.dryRun).toEqual(['All']);
  });

  it('are of planned nodes only', async () => {
    world.pod('web-1', 'worker-1', 'a').pod('web-2', 'worker-2', 'b');
    await world.report({}, [world.nodes.get('worker-2') as NodeView]);
    expect(world.evictions).toEqual(['web-2']);
  });

  it('tell the budget that holds them', async () => {
    world.pod('web-1', 'worker-1', 'a').pod('web-2', 'worker-2', 'a');
    world.evictionOf = () => held;
    const { risks } = await world.report();
    const risk = risks.find(({ reason }) => reason === 'BudgetBlocks');
    expect(risk).toMatchObject({ effect: 'Waits', count: 2 });
    expect(risk?.message).toMatch(/PodDisruptionBudget shop\/web never allows a disruption/);
  });

  it('do not hold the plan where a webhook does not answer, which it says', async () => {
    world.pod('web-1', 'worker-1', 'a').pod('web-2', 'worker-2', 'a');
    world.evictionOf = () => ({ code: 500, body: status(500, 'InternalError', 'failed calling webhook') });
    const { risks } = await world.report();
    expect(risks).toContainEqual(
      expect.objectContaining({
        reason: 'NotTried',
        message: expect.stringMatching(/1 of 1 evictions got no answer.*shop\/web-1.*webhook/),
      }),
    );
  });

  it('are a thousand at most, and the rest is said', async () => {
    for (let n = 0; n < 1_100; n += 1) world.pod(`web-${n}`, 'worker-1', `set-${n}`);
    expect(await reasons()).toContain('NotTried');
    expect(world.evictions).toHaveLength(1_000);
  });

  it('are none of nodes that will not be drained', async () => {
    world.pod('web-1', 'worker-1', 'a');
    expect(await reasons({ upgradeActive: false, upgradeRecovery: true })).toEqual([]);
    expect(world.evictions).toEqual([]);
    // One node alone: its pods go down with it.
    const alone = new World().node('worker-1').pod('web-1', 'worker-1', 'a');
    expect((await alone.report()).risks.map(({ reason }) => reason)).toEqual(['NowhereToGo']);
    expect(alone.evictions).toEqual([]);
  });
});

describe('a plan', () => {
  it('counts the pods of a controller in the whole cluster, also on nodes that it leaves alone', async () => {
    world.pod('web-1', 'worker-1', 'a').pod('web-2', 'worker-3', 'a').pod('db-0', 'worker-1', 'b');
    const { risks } = await world.report({}, [world.nodes.get('worker-1') as NodeView]);
    expect(risks.map(({ reason, count }) => `${reason} ${count}`)).toEqual(['SingleReplica 1']);
    expect(risks[0]?.message).toContain('shop/db-0 (ReplicaSet b) on worker-1');
  });

  it('names pods with a volume of their node only', async () => {
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data-0' } }];
    world.pod('db-0', 'worker-1', 'a', { volumes }).pod('db-1', 'worker-2', 'a');
    const claimRef = { namespace: 'shop', name: 'data-0' };
    world.volumes = [{ metadata: { name: 'pv' }, spec: { local: { path: '/x' }, claimRef } }];
    expect(await reasons()).toEqual(['LocalVolumes']);
    world.volumes = [{ metadata: { name: 'pv' }, spec: { csi: {}, claimRef } }];
    expect(await reasons()).toEqual([]);
  });

  it('is made again where the API server did not answer, and goes on where it refused', async () => {
    world.refuses = (path) =>
      path === '/api/v1/pods' ? { code: 503, body: status(503, 'ServiceUnavailable', '') } : undefined;
    await expect(world.report()).rejects.toMatchObject({ retryable: true });
    world.refuses = (path) =>
      path.endsWith('persistentvolumes') ? { code: 403, body: status(403, 'Forbidden', 'no right') } : undefined;
    world.pod('web-1', 'worker-1', 'a').pod('web-2', 'worker-2', 'a');
    expect(await reasons()).toEqual(['NotTried']);
  });

  it('names gates that are closed now, but not the image and the budget, which come with the turn of a node', async () => {
    world.node('worker-2', { ready: false, notReadySince: '2026-03-01T09:00:00Z' });
    world.node('worker-3', { unschedulable: true });
    const { risks, nodes } = await world.report();
    expect(risks.filter(({ reason }) => reason === 'GateClosed').map(({ message }) => message)).toEqual([
      expect.stringMatching(/^worker-2 would wait, as it is now: node worker-2 is not Ready since/),
      expect.stringMatching(/^worker-3 would wait, as it is now: node worker-3 is cordoned by somebody else/),
    ]);
    expect(nodes.map(({ name, note }) => `${name}${note === undefined ? '' : ' waits'}`)).toEqual([
      'cp-1',
      'worker-1',
      'worker-2 waits',
      'worker-3 waits',
    ]);
  });

  it('says once, of all nodes, that no window is open or a health gate is closed', async () => {
    const windows = [{ cron: '0 3 1 1 *', duration: '1m', timeZone: 'UTC' }];
    world.node('worker-3', { ready: false });
    const healthGates = [{ name: 'racks', nodes: { matchLabels: {} } }] as never;
    const { risks } = await world.report({ strategy: { windows, healthGates } });
    expect(risks.filter(({ reason }) => reason === 'GateClosed').map(({ count, message }) => [count, message])).toEqual(
      [
        [4, expect.stringMatching(/^every node would wait, as it is now: .*window/)],
        [4, expect.stringMatching(/^every node would wait, as it is now: health gate racks: /)],
        [1, expect.stringMatching(/^worker-3 would wait, as it is now: node worker-3 is not Ready/)],
      ],
    );
  });

  it('says that strangers take the budget, but not nodes that it may start itself', async () => {
    const taken = async () =>
      (await world.report()).risks.filter(({ reason }) => reason === 'BudgetTaken').map(({ message }) => message);
    const out = (name: string) => world.outages.set(name, { name, controlPlane: false, marked: false, order: 0 });
    // Held since an earlier attempt: this one takes it over.
    world.node('worker-1', { owner: 'held:UpgradeFailed', unschedulable: true });
    out('worker-1');
    expect(await taken()).toEqual([]);
    out('other-9');
    expect(await taken()).toEqual([
      expect.stringMatching(/^wave workers: out already are other-9, and 1 may be out at once: none of its nodes/),
    ]);
  });

  it('leaves out what another NodeOpUpgrade wants, and says which', async () => {
    const of = (name: string, creationTimestamp: string, image: string, labels = {}) =>
      world.upgrades.set(`ns/${name}`, {
        apiVersion: 'operator.kairos.io/v1alpha1',
        kind: 'NodeOpUpgrade',
        metadata: { namespace: 'ns', name, uid: name === 'v4' ? 'u' : name, generation: 1, creationTimestamp },
        spec: { image, nodeSelector: { matchLabels: labels } },
      });
    of('v4', '2026-03-01T10:00:00Z', IMAGE);
    of('newer', '2026-03-01T11:00:00Z', 'quay.io/kairos/hadron:v4.0.4', { rack: 'a' });
    world.node('worker-2', { labels: { rack: 'a' } }).pod('web-1', 'worker-2', 'a');
    const { risks, nodes } = await world.report();
    const why = 'NodeOpUpgrade ns/newer, which was created later, wants quay.io/kairos/hadron:v4.0.4 there';
    expect(risks.filter(({ reason }) => reason !== 'ControlPlane')).toEqual([
      { effect: 'Notes', reason: 'Superseded', count: 1, message: `worker-2 would not be touched: ${why}` },
    ]);
    expect(nodes.find(({ name }) => name === 'worker-2')?.note).toBe(`not touched: ${why}`.slice(0, 200));
    expect(world.evictions).toEqual([]);
  });

  it('refuses what the trusted boot of a node forbids', async () => {
    world.node('worker-1', {}, { trustedBoot: true, bootState: 'passive' });
    const [risk] = (await world.report()).risks;
    expect(risk).toMatchObject({ effect: 'Refuses', reason: 'NodeRefused', count: 1 });
    expect(risk?.message).toMatch(
      /^worker-1 would end as Failed, untouched: it has trusted boot and runs from its passive/,
    );
  });

  it('of a rollout that runs says what it has in hand and what has ended, and tries no drain of these', async () => {
    const request = {
      kind: 'NodeOpUpgrade',
      namespace: 'ns',
      name: 'v4',
      uid: 'u',
      generation: 1,
      attempt: 1,
    } as const;
    const rollout = 'rollout/kairos-c/ns/v4';
    const inHand = { rollout, request, image: IMAGE, version: 'v', bootID: 'b', startedAt: '2026-03-01T10:00:00Z' };
    world.node('worker-1', { owner: 'node/x', unschedulable: true }, { inHand, step: 'Drain' });
    world.outages.set('worker-1', { name: 'worker-1', controlPlane: false, marked: true, order: 1 });
    const [image, finishedAt] = [IMAGE, '2026-03-01T10:00:00Z'];
    const lastAttempt = { rollout, request, specGeneration: 1, image, verdict: 'RolledBack' as const, finishedAt };
    world.node('worker-2', {}, { lastAttempt }).pod('web-1', 'worker-1', 'a').pod('web-2', 'worker-2', 'b');
    const asked = { rolloutID: 'plan/kairos-c/ns/v4', asked: 'now' };
    const { nodes, risks } = await world.report({}, undefined, asked);
    expect(nodes.map(({ name, note = '' }) => `${name}: ${note}`)).toEqual([
      'cp-1: ',
      'worker-1: in hand: Drain',
      'worker-2: ended in this attempt: RolledBack',
      'worker-3: ',
    ]);
    expect(risks.map(({ reason }) => reason)).toEqual(['ControlPlane']);
    expect(world.evictions).toEqual([]);
    const { body } = world.requests.find(({ verb }) => verb === 'merge-patch') ?? {};
    expect(body?.status?.plan).toMatchObject({ asked: 'now', attempt: 1 });
  });

  it('takes the version from a node that was upgraded to the image, and leaves that one alone', async () => {
    const [startedAt, finishedAt] = ['2026-03-01T10:00:00Z', '2026-03-01T10:05:00Z'];
    const lastAttempt = {
      rollout: 'r',
      specGeneration: 1,
      image: IMAGE,
      verdict: 'Succeeded' as const,
      startedAt,
      finishedAt,
    };
    world.node('worker-1', {}, { release: NEW, lastAttempt: { ...lastAttempt, version: 'v4.0.3-k3sv1.33.9+k3s1' } });
    const report = await world.report();
    expect(report).toMatchObject({
      version: 'v4.0.3-k3sv1.33.9+k3s1',
      versionFrom: `as worker-1 got it at ${finishedAt}`,
    });
    expect(report.nodes.find(({ name }) => name === 'worker-1')).toMatchObject({
      note: 'runs it already: not touched',
    });
    expect(report.duration).toEqual({ typicalMs: 900_000, longMs: 900_000, upgrades: 1 });
    const both = await world.report({ upgradeRecovery: true });
    expect(both.nodes.find(({ name }) => name === 'worker-1')?.note).toMatch(/only its recovery system is written/);
  });

  it('says that the rollout would be refused as a whole where workers would become newer than the control plane', async () => {
    const newer = { ...NEW, KAIROS_SOFTWARE_VERSION: 'v1.34.1+k3s1' };
    const version = 'v4.0.3-k3sv1.34.1+k3s1';
    const last = { rollout: 'r', specGeneration: 1, image: IMAGE, version, finishedAt: '2026-03-01T10:05:00Z' };
    world.node('worker-3', {}, { release: newer, lastAttempt: { ...last, verdict: 'Succeeded' } });
    const workers = ['worker-1', 'worker-2'].map((name) => world.nodes.get(name) as NodeView);
    const report = await world.report({}, workers);
    expect(report.refused).toContain('newer than the control plane');
    expect(report.risks[0]).toMatchObject({ effect: 'Refuses', reason: 'RolloutRefused', count: 2 });
    expect(world.evictions).toEqual([]);
  });

  it('is written into its resource, with nothing left of a plan that was made before', async () => {
    await world.report();
    const { body, path } = world.requests.find(({ verb }) => verb === 'merge-patch') ?? {};
    expect(path).toMatch(/\/namespaces\/ns\/nodeopupgrades\/v4\/status$/);
    expect(body).toMatchObject({ metadata: { uid: 'u' }, status: { plan: { attempt: 1, total: 4, refused: null } } });
    expect(body?.status?.plan).toMatchObject({
      version: null,
      asked: null,
      duration: null,
      table: expect.stringMatching(/^Plan of/),
    });
  });

  it('of a resource that is gone is answered all the same', async () => {
    world.refuses = (path) =>
      path.endsWith('/status') ? { code: 404, body: status(404, 'NotFound', 'gone') } : undefined;
    expect(await world.report()).toMatchObject({ total: 4 });
  });
});
