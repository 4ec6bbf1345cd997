import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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
  controlPlane = await startControlPlane({ folder });
  temporal = await startTemporal({ folder: path.join(folder, 'temporal') });
  await kubectl('create', 'namespace', NAMESPACE);
  for (const name of ['worker', 'watcher']) await kubectl('create', 'serviceaccount', `kairos-${name}`, '-n', NAMESPACE);
  for (const part of ['crds', 'operator']) await kubectl('apply', '--server-side', '-f', path.join(DEPLOY, part));
}, 120_000);
afterAll(async () => {
  await stopPrograms();
  await temporal?.stop();
  await controlPlane?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

it('the built programs carry an upgrade through, from a folder that holds nothing but them', async () => {
  expect(readdirSync(app).filter((name) => name === 'node_modules' || name === 'package.json')).toEqual([]);
  expect(existsSync(path.join(folder, '../node_modules'))).toBe(false);
  const programs = await Promise.all([startBuilt('worker'), startBuilt('watcher')]);
  await Promise.all(programs.map((program) => program.ready(60_000)));
  const file = path.join(folder, 'upgrade.yaml');
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(
    file,
    JSON.stringify({
      apiVersion: 'operator.kairos.io/v1alpha1',
      kind: 'NodeOpUpgrade',
      metadata: { name: 'built', namespace: NAMESPACE },
      spec: { image: 'registry.example/kairos:v2' },
    }),
  );
  await kubectl('apply', '-f', file);
  await sleep(15000);
  console.log(await kubectl('get', 'nodeopupgrade', '-n', NAMESPACE, 'built', '-o', 'yaml'), await run(await resolveTool('temporal'), ['workflow', 'list', '--address', temporal.address]));
  for (const program of programs) console.log(program.lines());
}, 120_000);
