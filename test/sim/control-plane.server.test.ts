import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { startTemporal } from '../../sim/temporal-server.ts';
import { resolveTool } from '../../tools/resolve.ts';

let folder: string;
let cluster: ControlPlane;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kairos-control-plane-'));
  cluster = await startControlPlane({ folder, auditLog: true });
}, 120_000);

afterAll(async () => {
  await cluster?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function kubectl(kubeconfig: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(await resolveTool('kubectl'), [`--kubeconfig=${kubeconfig}`, ...args]);
  return stdout.trim();
}
const admin = (...args: string[]): Promise<string> => kubectl(cluster.adminKubeconfig, ...args);

describe('the simulated control plane', () => {
  it('is the pinned version and listens on the loopback address', async () => {
    expect(cluster.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    expect(JSON.parse(await admin('version', '-o', 'json')).serverVersion.gitVersion).toMatch(/^v1\.36\./);
  });

  it('admits pods as soon as it is started', async () => {
    expect(await admin('run', 'one', '--image=busybox')).toBe('pod/one created');
  });

  it('gives service accounts no more than RBAC does, and records what they ask', async () => {
    await admin('create', 'namespace', 'kairos-system');
    await admin('create', 'serviceaccount', 'worker', '-n', 'kairos-system');
    const token = await admin('create', 'token', 'worker', '-n', 'kairos-system');
    const worker = cluster.kubeconfigFor({ name: 'worker', token });
    await expect(kubectl(worker, 'get', 'nodes')).rejects.toThrow('cannot list resource "nodes"');

    const lines = (await readFile(cluster.auditLog ?? '', 'utf8')).trim().split('\n');
    const events = lines.map((line) => JSON.parse(line));
    expect(events.map((event) => event.objectRef.resource)).toContain('nodes');
    expect(new Set(events.map((event) => event.user.username))).toEqual(
      new Set(['system:serviceaccount:kairos-system:worker']),
    );
  });

  it('marks a silent node NotReady within the grace period', async () => {
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'silent' } };
    const ready = [{ type: 'Ready', status: 'True', lastHeartbeatTime: new Date().toISOString() }];
    await admin('create', '-f', await written('node.json', node));
    await admin(
      'patch',
      'node',
      'silent',
      '--subresource=status',
      '--type=merge',
      '-p',
      JSON.stringify({ status: { conditions: ready } }),
    );
    await admin('wait', '--for=condition=Ready=Unknown', 'node/silent', '--timeout=15s');
  }, 20_000);

  it.each(['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const)(
    'keeps its address and its data when %s is killed and started again',
    async (name) => {
      const before = await admin('get', 'namespace', 'kube-system', '-o', 'jsonpath={.metadata.uid}');
      await cluster.processes[name].kill('SIGKILL');
      expect(cluster.processes[name].running).toBe(false);
      await cluster.processes[name].start();
      expect(await admin('get', 'namespace', 'kube-system', '-o', 'jsonpath={.metadata.uid}')).toBe(before);
    },
    30_000,
  );
});

it('the Temporal server keeps its address when it is killed and started again', async () => {
  const temporal = await startTemporal({ folder: join(folder, 'temporal') });
  const cli = async (...args: string[]): Promise<string> => {
    const command = await resolveTool('temporal');
    return (await promisify(execFile)(command, [...args, '--address', temporal.address])).stdout;
  };
  try {
    await cli('workflow', 'start', '--type', 'Any', '--task-queue', 'none', '--workflow-id', 'kept');
    await temporal.process.restart();
    expect(await cli('workflow', 'describe', '--workflow-id', 'kept')).toContain('kept');
    expect((await fetch(temporal.uiUrl)).status).toBe(200);
  } finally {
    await temporal.stop();
  }
}, 30_000);

async function written(name: string, object: object): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, JSON.stringify(object));
  return file;
}
