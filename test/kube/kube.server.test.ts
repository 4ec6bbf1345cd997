import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { type KubeClient, connectToCluster } from '../../kube/client.ts';
import { readClusterIdentity } from '../../kube/identity.ts';
import { createJob, deleteJob, readJob } from '../../kube/jobs.ts';
import {
  type KairosNodeView,
  applyKairosNodeSpec,
  patchKairosNodeStatus,
  readKairosNode,
  setKairosNodeOwner,
  watchKairosNodes,
} from '../../kube/kairos-nodes.ts';
import { holdLease } from '../../kube/lease.ts';
import { patchNodeOpUpgradeStatus, watchNodeOpUpgrades } from '../../kube/node-op-upgrades.ts';
import { type NodeView, readNode, watchNodes, writeNode } from '../../kube/nodes.ts';
import { isReason } from '../../kube/errors.ts';
import { createPod, deletePod, evictPod, listPodsOnNode, watchOperatorPods } from '../../kube/pods.ts';
import { type ControlPlane, startControlPlane } from '../../sim/control-plane.ts';
import { until } from './fake-api-server.ts';

const CRDS = 'deploy/crds';
const pod = (name: string, node: string, labels: Record<string, string> = {}) => ({
  metadata: { name, labels },
  spec: { nodeName: node, containers: [{ name: 'c', image: 'i' }] },
});

describe('against a real API server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kube-server-'));
  let controlPlane: ControlPlane;
  let client: KubeClient;
  const followed: { stop(): void }[] = [];
  const following = <T extends { stop(): void }>(reflector: T): T => {
    followed.push(reflector);
    return reflector;
  };

  beforeAll(async () => {
    controlPlane = await startControlPlane({ folder });
    client = connectToCluster({ kubeconfig: controlPlane.adminKubeconfig });
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    const crds = readdirSync(CRDS).flatMap((file) => parseAllDocuments(readFileSync(join(CRDS, file), 'utf8')));
    await Promise.all(crds.map((crd) => client.request({ verb: 'create', path, body: crd.toJS() })));
    for (const name of ['n1', 'n2']) {
      await client.request({ verb: 'create', path: '/api/v1/nodes', body: { metadata: { name } } });
    }
  }, 120_000);

  afterEach(() => {
    for (const reflector of followed.splice(0)) reflector.stop();
  });

  afterAll(async () => {
    await client?.close();
    await controlPlane?.stop();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  it('knows which cluster this is', async () => {
    expect((await readClusterIdentity(client, 'test')).id).toMatch(/^test-[0-9a-f]{8}$/);
  });

  /** On a version that nobody has changed meanwhile: the controllers have a new Node in their hands for a moment. */
  async function markFresh(name: string, owner: string): Promise<{ before: NodeView; marked: NodeView }> {
    const before = await readNode(client, name);
    try {
      return { before, marked: await writeNode(client, name, { owner, resourceVersion: before.resourceVersion }) };
    } catch (error) {
      if (!isReason(error, 'Conflict')) throw error;
      return markFresh(name, owner);
    }
  }

  it('marks, cordons and orders nodes, and refuses a write decided on an old version', async () => {
    const nodes = following(watchNodes(client));
    await nodes.synced();
    const { before, marked } = await markFresh('n1', 'node/a');
    const seen = await nodes.waitFor('n1', (node) => (node?.owner === 'node/a' ? node : undefined));
    expect(seen.ownerOrder).toBe(Number(marked.resourceVersion));
    await writeNode(client, 'n1', { unschedulable: true, managed: 'true' });
    const cordoned = await nodes.waitFor('n1', (node) => (node?.unschedulable ? node : undefined));
    expect(cordoned).toMatchObject({ ownerOrder: seen.ownerOrder, labels: { 'kairos.io/managed': 'true' } });
    const late = writeNode(client, 'n1', { owner: 'node/b', resourceVersion: before.resourceVersion });
    await expect(late).rejects.toMatchObject({ reason: 'Conflict', retryable: false });
    const freed = await writeNode(client, 'n1', { owner: null, unschedulable: null });
    expect(freed).toMatchObject({ unschedulable: false });
    expect(freed.owner).toBeUndefined();
    await expect(readNode(client, 'none')).rejects.toMatchObject({ reason: 'NotFound' });
  });

  it('applies and releases the spec of a KairosNode, never over the hand of a person', async () => {
    const path = '/apis/kairos.io/v1alpha1/kairosnodes';
    const kind = { apiVersion: 'kairos.io/v1alpha1', kind: 'KairosNode' };
    await expect(applyKairosNodeSpec(client, 'n1', { image: 'i:1' })).rejects.toMatchObject({ reason: 'NotFound' });
    await client.request({ verb: 'create', path, body: { ...kind, metadata: { name: 'n1' } } });
    // An object without any tracked field is not tracked: who edits it by hand leaves no name.
    await client.request({ verb: 'create', path, body: { ...kind, metadata: { name: 'n2' }, spec: {} } });
    await client.request({ verb: 'merge-patch', path: `${path}/n2`, body: { spec: { image: 'i:0' } } });
    expect((await readKairosNode(client, 'n2')).specManagers).not.toEqual([]);
    const report = { ...kind, metadata: { name: 'n1' }, status: { observedVersion: 'v1' } };
    await client.request({ verb: 'apply', path: `${path}/n1/status`, body: report, fieldManager: 'kairos-agent' });

    const nodes = following(watchKairosNodes(client));
    const when = (is: (node: KairosNodeView) => boolean) =>
      nodes.waitFor('n1', (node) => (node !== undefined && is(node) ? node : undefined));

    const applied = await applyKairosNodeSpec(client, 'n1', { image: 'i:1' });
    expect(applied).toMatchObject({ spec: { image: 'i:1' }, specManagers: ['kairos-operator'] });
    await when(({ spec }) => spec.image === 'i:1');
    expect((await applyKairosNodeSpec(client, 'n1', {})).spec.image).toBeUndefined();

    const edit = { spec: { image: 'i:2' } };
    await client.request({ verb: 'merge-patch', path: `${path}/n1`, body: edit, fieldManager: 'kubectl-edit' });
    await expect(applyKairosNodeSpec(client, 'n1', { image: 'i:3' })).rejects.toMatchObject({
      reason: 'Conflict',
      causes: [{ field: '.spec.image', message: expect.stringContaining('kubectl-edit') }],
    });
    expect((await readKairosNode(client, 'n1')).specManagers).toEqual(['kubectl-edit']);

    await patchKairosNodeStatus(client, 'n1', { upgradeState: 'InProgress', step: 'Drain', message: 'waits' });
    const patched = await patchKairosNodeStatus(client, 'n1', { step: null });
    expect(patched.status).toEqual({ observedVersion: 'v1', upgradeState: 'InProgress', message: 'waits' });
    const { uid } = await readNode(client, 'n1');
    await setKairosNodeOwner(client, 'n1', { nodeUID: uid });
    await when(({ ownerUID }) => ownerUID === uid);
  });

  it('follows NodeOpUpgrades and writes their status', async () => {
    const path = '/apis/operator.kairos.io/v1alpha1/namespaces/default/nodeopupgrades';
    const body = {
      apiVersion: 'operator.kairos.io/v1alpha1',
      kind: 'NodeOpUpgrade',
      metadata: { name: 'u' },
      spec: { image: 'i:1' },
    };
    const upgrades = following(watchNodeOpUpgrades(client, ['default', 'kube-system']));
    await upgrades.synced();
    await client.request({ verb: 'create', path, body });
    await upgrades.waitFor('default/u', (upgrade) => upgrade);
    await patchNodeOpUpgradeStatus(client, 'default', 'u', { status: { phase: 'Running' } }, 'kairos-operator');
    const phase = await upgrades.waitFor('default/u', (upgrade) => upgrade?.status?.phase);
    expect(phase).toBe('Running');
    const invalid = { ...body, metadata: { name: 'v' }, spec: {} };
    await expect(client.request({ verb: 'create', path, body: invalid })).rejects.toMatchObject({
      reason: 'Invalid',
      causes: expect.arrayContaining([expect.objectContaining({ field: 'spec.image' })]),
    });
  });

  it('creates pods and Jobs once, and deletes only the one that is meant', async () => {
    const pods = following(watchOperatorPods(client, ['default']));
    const ours = pod('step', 'n1', { 'kairos.io/upgrade-step': 'pre-pull' });
    const made = await createPod(client, 'default', ours);
    expect((await createPod(client, 'default', ours)).uid).toBe(made.uid);
    await createPod(client, 'default', pod('other', 'n1'));
    await pods.waitFor('default/step', (item) => item);
    expect(pods.size).toBe(1);
    expect((await listPodsOnNode(client, 'n1')).map(({ name }) => name).toSorted()).toEqual(['other', 'step']);
    const at = { gracePeriodSeconds: 0 };
    await deletePod(client, 'default', 'step', { ...at, uid: '00000000-0000-0000-0000-000000000000' });
    expect(pods.get('default/step')).toBeDefined();
    await deletePod(client, 'default', 'step', { ...at, uid: made.uid });
    await pods.waitFor('default/step', (item) => (item === undefined ? true : undefined));
    await deletePod(client, 'default', 'step');

    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'i' }] } };
    const job = { metadata: { name: 'j' }, spec: { template, suspend: true } };
    const created = await createJob(client, 'default', job);
    expect((await createJob(client, 'default', job)).uid).toBe(created.uid);
    expect(created.ended).toBeUndefined();
    await deleteJob(client, 'default', 'j', { uid: created.uid });
    await expect(readJob(client, 'default', 'j')).rejects.toMatchObject({ reason: 'NotFound' });
  });

  it('evicts, and says which disruption budget holds a pod', async () => {
    const labels = { app: 'db' };
    const { uid } = await createPod(client, 'default', pod('held', 'n2', labels));
    const ready = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    await client.request({
      verb: 'merge-patch',
      path: '/api/v1/namespaces/default/pods/held/status',
      body: { status: ready },
    });
    const budgets = '/apis/policy/v1/namespaces/default/poddisruptionbudgets';
    const budget = { metadata: { name: 'pg' }, spec: { minAvailable: 1, selector: { matchLabels: labels } } };
    await client.request({ verb: 'create', path: budgets, body: budget });
    const held = { namespace: 'default', name: 'held', uid };
    expect(await evictPod(client, held)).toMatchObject({
      outcome: 'Blocked',
      message: expect.stringContaining('pod default/held'),
    });
    expect(await evictPod(client, { ...held, uid: '00000000-0000-0000-0000-000000000000' })).toMatchObject({
      outcome: expect.stringMatching(/Gone|Blocked/),
    });
    await client.request({ verb: 'create', path: budgets, body: { ...budget, metadata: { name: 'second' } } });
    const settled = async () => (await evictPod(client, held)).outcome === 'Refused';
    for (let tries = 0; tries < 50 && !(await settled()); tries++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await evictPod(client, held)).toMatchObject({ outcome: 'Refused' });
    for (const name of ['pg', 'second']) await client.request({ verb: 'delete', path: `${budgets}/${name}` });
    expect(await evictPod(client, { ...held, uid: '00000000-0000-0000-0000-000000000000' })).toEqual({
      outcome: 'Gone',
    });
    expect(await evictPod(client, held, { gracePeriodSeconds: 0 })).toEqual({ outcome: 'Evicted' });
    expect(await evictPod(client, { ...held, name: 'never-was' })).toEqual({ outcome: 'Gone' });
  });

  it('lets one process at a time hold a lease, and the next one soon after', async () => {
    const log: string[] = [];
    const hold = (identity: string) => {
      const stop = new AbortController();
      const ended = holdLease(client, {
        namespace: 'default',
        name: 'l',
        identity,
        durationMs: 1500,
        onHeld: () => log.push(`${identity} holds`),
        onLost: () => log.push(`${identity} lost`),
        signal: stop.signal,
      });
      return { ended, stop: () => stop.abort() };
    };
    const first = hold('a');
    await until(() => log.length === 1);
    const second = hold('b');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(log).toEqual(['a holds']);
    first.stop();
    await first.ended;
    await until(() => log.length === 3);
    expect(log).toEqual(['a holds', 'a lost', 'b holds']);

    // A holder that cannot reach the API server stops before another one may start.
    await controlPlane.processes['kube-apiserver'].kill('SIGSTOP');
    await until(() => log.length === 4);
    expect(log.at(-1)).toBe('b lost');
    await controlPlane.processes['kube-apiserver'].kill('SIGCONT');
    await until(() => log.length === 5, 15_000);
    second.stop();
    await second.ended;
  }, 60_000);

  it('follows on through a restart of the API server', async () => {
    const nodes = following(watchNodes(client));
    await nodes.synced();
    await until(() => nodes.contactMs() > 0 || nodes.size > 0);
    await controlPlane.processes['kube-apiserver'].restart();
    await writeNode(client, 'n2', { owner: 'node/after' });
    const seen = await nodes.waitFor('n2', (node) => (node?.owner === 'node/after' ? node : undefined));
    expect(seen.ownerOrder).toBeGreaterThan(0);
  }, 60_000);
});
