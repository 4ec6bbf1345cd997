import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { runAgent, type AgentState } from '../../agent/agent.ts';
import type { KairosNode } from '../../api/types.ts';
import { connectToCluster, type KubeClient } from '../../kube/client.ts';
import { isReason } from '../../kube/errors.ts';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { eventually, HADRON, makeMachine, type TestMachine } from './machine.ts';

const CRD_FOLDER = new URL('../../deploy/crds/', import.meta.url).pathname;
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const KAIROS_NODES = '/apis/kairos.io/v1alpha1/kairosnodes';
const NAMESPACE = 'kairos-agent';
const SERVICE_ACCOUNTS = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts`;
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const NODE = 'machine-1';

/** The whole path against a real API server: its CRD, its RBAC, a token bound to a pod. */
describe('the agent and a real API server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'agent-server-'));
  const tokenFile = join(folder, 'agent.token');
  const stopping = new AbortController();
  let controlPlane: ControlPlane;
  let admin: KubeClient;
  let machine: TestMachine;
  let running: Promise<void>;
  let state: AgentState | undefined;
  const warnings: string[] = [];

  beforeAll(async () => {
    controlPlane = await startControlPlane({ folder });
    admin = connectToCluster({ kubeconfig: controlPlane.adminKubeconfig });
    await installCrds();
    await allowAgent();
    await writeToken();
    machine = makeMachine(HADRON);
    running = runAgent(
      {
        nodeName: NODE,
        hostRoot: machine.root,
        apiServer: {
          host: '127.0.0.1',
          port: Number(new URL(controlPlane.url).port),
          caFile: controlPlane.caFile,
          tokenFile,
          deadlineMs: 5000,
        },
        reportIntervalMs: 3_600_000,
        checkIntervalMs: 500,
        pollIntervalMs: 100,
        version: '0.1.0',
        log: {
          info: () => {},
          warn: (_, fields) => warnings.push(JSON.stringify(fields)),
        },
        onState: (now) => (state = now),
      },
      stopping.signal,
    );
  }, 120_000);

  afterAll(async () => {
    stopping.abort();
    await running;
    await admin?.close();
    await controlPlane?.stop();
    machine?.remove();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  const create = (path: string, body: unknown) =>
    admin.request<{ metadata: { uid: string } }>({ verb: 'create', path, body });

  async function installCrds(): Promise<void> {
    for (const file of readdirSync(CRD_FOLDER)) await create(CRDS, parse(readFileSync(join(CRD_FOLDER, file), 'utf8')));
    await eventually(
      () =>
        admin.request({ verb: 'list', path: KAIROS_NODES }).then(
          () => true,
          () => false,
        ),
      20_000,
    );
  }

  async function allowAgent(): Promise<void> {
    await create('/api/v1/namespaces', { metadata: { name: NAMESPACE } });
    await create(SERVICE_ACCOUNTS, { metadata: { name: 'agent' } });
    const apiGroups = ['kairos.io'];
    await create(`${RBAC}/clusterroles`, {
      metadata: { name: 'agent' },
      rules: [
        { apiGroups, resources: ['kairosnodes'], verbs: ['create', 'get'] },
        { apiGroups, resources: ['kairosnodes/status'], verbs: ['get', 'patch', 'update'] },
      ],
    });
    await create(`${RBAC}/clusterrolebindings`, {
      metadata: { name: 'agent' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'agent' },
      subjects: [{ kind: 'ServiceAccount', name: 'agent', namespace: NAMESPACE }],
    });
    await create('/api/v1/nodes', { metadata: { name: NODE } });
    await create(`/api/v1/namespaces/${NAMESPACE}/pods`, {
      metadata: { name: 'agent-1' },
      spec: { nodeName: NODE, serviceAccountName: 'agent', containers: [{ name: 'agent', image: 'agent' }] },
    });
  }

  /** As the kubelet does for a projected volume. */
  async function writeToken(): Promise<void> {
    const pod = await admin.request<{ metadata: { uid: string } }>({
      verb: 'get',
      path: `/api/v1/namespaces/${NAMESPACE}/pods/agent-1`,
    });
    const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name: 'agent-1', uid: pod.metadata.uid };
    const { status } = await admin.request<{ status: { token: string } }>({
      verb: 'create',
      path: `${SERVICE_ACCOUNTS}/agent/token`,
      body: { spec: { expirationSeconds: 600, boundObjectRef } },
    });
    writeFileSync(tokenFile, status.token);
  }

  async function read(): Promise<KairosNode | undefined> {
    try {
      return await admin.request<KairosNode>({ verb: 'get', path: `${KAIROS_NODES}/${NODE}` });
    } catch (error) {
      if (isReason(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  const reportOf = (bootID: string, timeoutMs?: number) =>
    eventually(async () => {
      const node = await read();
      return node?.status?.bootID === bootID && node;
    }, timeoutMs);

  let current = '';
  const boot = (bootID: string) => {
    current = bootID;
    machine.write({ 'proc/sys/kernel/random/boot_id': `${bootID}\n` });
  };

  it('reports what the machine runs, in an object of bare name', async () => {
    machine.write({ 'etc/kairos-operator/target': '{"image":"registry/hadron:v2","digest":"sha256:1"}' });
    boot('boot-1');
    await reportOf('boot-1');
    const node = await eventually(async () => {
      const now = await read();
      return now?.status?.stamp && now;
    });
    expect(node.status).toEqual({
      observedVersion: 'v4.0.3-k3sv1.33.9+k3s1',
      release: expect.objectContaining({ KAIROS_FAMILY: 'hadron', ID: 'hadron' }),
      bootID: 'boot-1',
      bootState: 'active',
      stamp: { image: 'registry/hadron:v2', digest: 'sha256:1' },
      agentVersion: '0.1.0',
      reportedAt: expect.any(String),
    });
    expect(node.spec).toBeUndefined();
    expect(node.metadata).not.toHaveProperty('labels');
    expect(node.metadata).not.toHaveProperty('ownerReferences');
    expect(state).toBe('reported');
  }, 20_000);

  it('leaves the fields of the operator alone, and takes back its own', async () => {
    const written = {
      upgradeState: 'InProgress',
      step: 'Drain',
      message: 'held by PodDisruptionBudget db/pg',
    } as const;
    const path = `${KAIROS_NODES}/${NODE}/status`;
    await admin.request({ verb: 'merge-patch', path, body: { status: written }, fieldManager: 'kairos-operator' });
    rmSync(join(machine.root, 'etc/kairos-operator'), { recursive: true });
    boot('boot-2');
    const { status } = await eventually(async () => {
      const now = await reportOf('boot-2');
      return now.status?.stamp === undefined && now;
    });
    expect(status).toMatchObject(written);
  }, 20_000);

  it('reports all that a resource may hold, and nothing that the API server would refuse', async () => {
    const wide = 'ü'.repeat(1100);
    const lines = Array.from({ length: 28 }, (_, n) => `KAIROS_X${n}="${wide}"`);
    machine.write({
      'etc/kairos-release': ['KAIROS_VERSION=v4.0.3', 'KAIROS_a.b/c=x', '__proto__=x', ...lines].join('\n'),
      'etc/kairos-operator/target': JSON.stringify({
        digest: 'd'.repeat(300),
        image: 'i'.repeat(1000),
        rollout: 'r'.repeat(1001),
        sourceBootID: 7,
      }),
    });
    boot('b'.repeat(64));
    const { status } = await reportOf('b'.repeat(64));
    expect(Object.keys(status?.release ?? {}).length).toBeGreaterThan(20);
    expect(status?.release?.['KAIROS_X1']).toHaveLength(1024);
    expect(status?.stamp).toEqual({ digest: 'd'.repeat(300), image: 'i'.repeat(1000) });
    expect(warnings.at(-1)).toContain('beyond 1024 characters');
    machine.write(HADRON);
    rmSync(join(machine.root, 'etc/kairos-operator'), { recursive: true });
    boot('boot-2');
    expect((await reportOf('boot-2')).status?.observedVersion).toBe('v4.0.3-k3sv1.33.9+k3s1');
  }, 20_000);

  it('creates its KairosNode again after it was deleted', async () => {
    const before = await read();
    await admin.request({ verb: 'delete', path: `${KAIROS_NODES}/${NODE}` });
    const after = await reportOf(current);
    expect(after.metadata.uid).not.toBe(before?.metadata.uid);
  }, 20_000);

  it('reports to the KairosNode that somebody else made in its place', async () => {
    await admin.request({ verb: 'delete', path: `${KAIROS_NODES}/${NODE}` });
    await create(KAIROS_NODES, {
      apiVersion: 'kairos.io/v1alpha1',
      kind: 'KairosNode',
      metadata: { name: NODE, labels: { made: 'by-hand' } },
    }).catch((error: unknown) => {
      // its agent was faster
      if (!isReason(error, 'AlreadyExists')) throw error;
    });
    await reportOf(current);
  }, 20_000);

  it('has a KairosNode of its own again after its Node was deleted and came back', async () => {
    const { metadata } = await admin.request<{ metadata: { uid: string } }>({
      verb: 'get',
      path: `/api/v1/nodes/${NODE}`,
    });
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: NODE, uid: metadata.uid }];
    const path = `${KAIROS_NODES}/${NODE}`;
    await admin.request({ verb: 'merge-patch', path, body: { metadata: { ownerReferences } }, fieldManager: 'test' });
    const before = await read();
    await admin.request({ verb: 'delete', path: `/api/v1/nodes/${NODE}` });
    await create('/api/v1/nodes', { metadata: { name: NODE } });
    // the garbage collector takes the old one away, in its own time
    const after = await eventually(async () => {
      const now = await read();
      return now?.status?.bootID === current && now.metadata.uid !== before?.metadata.uid && now;
    }, 60_000);
    expect(after.metadata).not.toHaveProperty('ownerReferences');
  }, 90_000);

  it('survives a restart of the API server', async () => {
    const server = controlPlane.processes['kube-apiserver'];
    await server.kill();
    boot('boot-3');
    await eventually(() => state === 'retrying');
    await server.start();
    await reportOf('boot-3', 60_000);
    await eventually(() => state === 'reported');
  }, 120_000);

  it('outlasts an API server that takes requests and answers none', async () => {
    const server = controlPlane.processes['kube-apiserver'];
    await server.kill('SIGSTOP');
    boot('boot-4');
    await eventually(() => state === 'retrying', 30_000);
    expect(warnings.some((warning) => warning.includes('within 5000 ms'))).toBe(true);
    await server.kill('SIGCONT');
    await reportOf('boot-4', 60_000);
  }, 120_000);

  it('takes up a renewed token when its old one is void', async () => {
    // a token is bound to the UID of its pod
    const pod = `/api/v1/namespaces/${NAMESPACE}/pods/agent-1`;
    await admin.request({ verb: 'delete', path: pod, query: { gracePeriodSeconds: 0 } });
    // the API server remembers for some seconds that the old one was good: there must be something to report until then
    let boots = 0;
    await eventually(() => {
      boots += 1;
      boot(`void-${boots}`);
      return warnings.some((warning) => warning.includes('the token is not accepted'));
    }, 60_000);
    await create(`/api/v1/namespaces/${NAMESPACE}/pods`, {
      metadata: { name: 'agent-1' },
      spec: { nodeName: NODE, serviceAccountName: 'agent', containers: [{ name: 'agent', image: 'agent' }] },
    });
    await writeToken();
    boot('boot-5');
    await reportOf('boot-5', 60_000);
  }, 120_000);
});
