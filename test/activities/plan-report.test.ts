import { beforeEach, describe, expect, it } from '@jest/globals';
import type { NodeOpUpgradeSpec } from '../../api/types.ts';
import type { NodeView } from '../../kube/nodes.ts';
import { status } from '../kube/fake-api-server.ts';
import { IMAGE, NEW, PlanWorld } from './plan-world.ts';

const held = {
  code: 429,
  body: status(429, 'TooManyRequests', 'Cannot evict pod', {
    causes: [{ reason: 'DisruptionBudget', message: 'The disruption budget web needs 1 healthy pods and has 1' }],
  }),
};

let world: PlanWorld;
beforeEach(() => {
  world = new PlanWorld().node('cp-1').node('worker-1').node('worker-2').node('worker-3');
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
    const alone = new PlanWorld().node('worker-1').pod('web-1', 'worker-1', 'a');
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
    expect(report).toMatchObject({ total: 4, touched: 3 });
    const both = await world.report({ upgradeRecovery: true });
    expect(both).toMatchObject({ total: 4, touched: 4 });
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
