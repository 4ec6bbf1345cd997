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
        },
        reportIntervalMs: 1000,
        pollIntervalMs: 100,
        version: '0.1.0',
        log: { info: () => {}, warn: (_, fields) => warnings.push(JSON.stringify(fields)) },
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

  const boot = (bootID: string) => machine.write({ 'proc/sys/kernel/random/boot_id': `${bootID}\n` });

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
    expect(warnings).toEqual([]);
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

  it('creates its KairosNode again after it was deleted', async () => {
    const before = await read();
    await admin.request({ verb: 'delete', path: `${KAIROS_NODES}/${NODE}` });
    const after = await reportOf('boot-2');
    expect(after.metadata.uid).not.toBe(before?.metadata.uid);
  }, 20_000);

  it('survives a restart of the API server', async () => {
    const server = controlPlane.processes['kube-apiserver'];
    await server.kill();
    await eventually(() => state === 'retrying');
    boot('boot-3');
    await server.start();
    await reportOf('boot-3', 60_000);
    await eventually(() => state === 'reported');
  }, 120_000);

  it('takes up a renewed token when its old one is void', async () => {
    // a token is bound to the UID of its pod
    const pod = `/api/v1/namespaces/${NAMESPACE}/pods/agent-1`;
    await admin.request({ verb: 'delete', path: pod, query: { gracePeriodSeconds: 0 } });
    await eventually(() => state === 'retrying', 30_000);
    expect(warnings.at(-1)).toContain('the token is not accepted');
    await create(`/api/v1/namespaces/${NAMESPACE}/pods`, {
      metadata: { name: 'agent-1' },
      spec: { nodeName: NODE, serviceAccountName: 'agent', containers: [{ name: 'agent', image: 'agent' }] },
    });
    await writeToken();
    boot('boot-4');
    await reportOf('boot-4', 60_000);
  }, 120_000);
});
