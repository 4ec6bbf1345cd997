import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { startTemporal, type TemporalServer } from '../../sim/temporal-server.ts';
import { layContext } from '../../tools/images/context.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { startProgram, stopPrograms, type RunningProgram } from '../start-up/program.ts';

const run = promisify(execFile);
const NAMESPACE = 'kairos-system';
const DEPLOY = path.join(import.meta.dirname, '../../deploy');

const folder = mkdtempSync(path.join(tmpdir(), 'kairos-programs-'));
const app = path.join(folder, 'app');
let controlPlane: ControlPlane;
let temporal: TemporalServer;
/** The programs write nothing into their folder, which is read-only in a pod. */
let laid: string[];

async function kubectl(...args: string[]): Promise<string> {
  const options = ['--kubeconfig', controlPlane.adminKubeconfig, `--cache-dir=${folder}/kubectl`];
  return (await run(await resolveTool('kubectl'), [...options, ...args])).stdout;
}

async function startBuilt(name: 'worker' | 'watcher'): Promise<RunningProgram> {
  const token = (await kubectl('create', 'token', `kairos-${name}`, '-n', NAMESPACE)).trim();
  const KUBECONFIG = controlPlane.kubeconfigFor({ name: `kairos-${name}`, token });
  const env = { TEMPORAL_ADDRESS: temporal.address, KUBECONFIG };
  return await startProgram(folder, name, env, path.join(app, `${name}.mjs`));
}

beforeAll(async () => {
  const context = await layContext('operator');
  const architecture = process.arch === 'x64' ? 'amd64' : 'arm64';
  for (const part of ['common', architecture]) await cp(path.join(context, part), app, { recursive: true });
  laid = readdirSync(app).sort();
  controlPlane = await startControlPlane({ folder });
  temporal = await startTemporal({ folder: path.join(folder, 'temporal') });
  await kubectl('create', 'namespace', NAMESPACE);
  for (const name of ['worker', 'watcher'])
    await kubectl('create', 'serviceaccount', `kairos-${name}`, '-n', NAMESPACE);
  for (const part of ['crds', 'operator']) await kubectl('apply', '--server-side', '-f', path.join(DEPLOY, part));
}, 120_000);
afterAll(async () => {
  await stopPrograms();
  await temporal?.stop();
  await controlPlane?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

it('the built programs carry out a rollout, from a folder that holds nothing but them', async () => {
  const [worker, watcher] = await Promise.all([startBuilt('worker'), startBuilt('watcher')]);
  await Promise.all([worker.ready(60_000), watcher.ready(60_000)]);
  const upgrade = {
    apiVersion: 'operator.kairos.io/v1alpha1',
    kind: 'NodeOpUpgrade',
    metadata: { name: 'built', namespace: NAMESPACE },
    spec: { image: 'registry.example/kairos:v2' },
  };
  const file = path.join(folder, 'upgrade.json');
  writeFileSync(file, JSON.stringify(upgrade));
  await kubectl('apply', '-f', file);
  await kubectl('wait', '-n', NAMESPACE, 'nodeopupgrade/built', '--for=condition=Ended', '--timeout=60s');
  // The workflow planned, by an activity that asked the cluster, and wrote how it ended; the watcher showed it.
  const status = await kubectl('get', '-n', NAMESPACE, 'nodeopupgrade/built', '-o', 'jsonpath={.status.message}');
  expect(status).toBe('no node matches spec.nodeSelector: compare it with kubectl get nodes --show-labels');
  for (const program of [worker, watcher]) expect(program.lines().filter(({ level }) => level > 40)).toEqual([]);
  await Promise.all([worker.process.kill('SIGTERM'), watcher.process.kill('SIGTERM')]);
  for (const program of [worker, watcher]) expect(program.lines().at(-1)?.msg).toMatch(/has stopped$/);
  expect(readdirSync(app).sort()).toEqual(laid);
}, 150_000);
