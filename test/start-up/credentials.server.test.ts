import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Connection } from '@temporalio/client';
import { connectToCluster, type KubeClient } from '../../kube/client.ts';
import { readClusterIdentity } from '../../kube/identity.ts';
import { timingFor } from '../../policy/strategy.ts';
import { askWorker } from '../../process/ask-worker.ts';
import { applyFolder } from '../../sim/apply.ts';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { startTemporal, type TemporalServer } from '../../sim/temporal-server.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { startProgram, stopPrograms, type RunningProgram } from './program.ts';
import { MountedSecret, makeAuthority, openTemporalDoor, type Authority, type TemporalDoor } from './temporal-door.ts';

const run = promisify(execFile);
const DEPLOY = path.join(import.meta.dirname, '../../deploy');
const TAKEN_UP_MS = 90_000;

let folder: string;
let controlPlane: ControlPlane;
let temporal: TemporalServer;
let client: KubeClient;
let connection: Connection;
let first: Authority;
let second: Authority;
let door: TemporalDoor;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-credentials-'));
  [controlPlane, temporal] = await Promise.all([
    startControlPlane({ folder }),
    startTemporal({ folder: path.join(folder, 'temporal') }),
  ]);
  client = connectToCluster({ kubeconfig: controlPlane.adminKubeconfig });
  for (const part of ['crds', 'operator']) await applyFolder(client, path.join(DEPLOY, part));
  connection = await Connection.connect({ address: temporal.address });
  [first, second] = await Promise.all([makeAuthority(folder, 'first'), makeAuthority(folder, 'second')]);
  door = await openTemporalDoor(temporal.address, first);
}, 180_000);
afterEach(stopPrograms, 60_000);
afterAll(async () => {
  await stopPrograms();
  await door?.close();
  await connection?.close();
  await client?.close();
  await temporal?.stop();
  await controlPlane?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function start(program: 'worker' | 'watcher', env: Record<string, string>): Promise<RunningProgram> {
  const kubectl = await resolveTool('kubectl');
  const account = ['create', 'token', `kairos-${program}`, '-n', 'kairos-system'];
  const { stdout } = await run(kubectl, ['--kubeconfig', controlPlane.adminKubeconfig, ...account]);
  const KUBECONFIG = controlPlane.kubeconfigFor({ name: `kairos-${program}`, token: stdout.trim() });
  return await startProgram(folder, program, { TEMPORAL_ADDRESS: door.address, KUBECONFIG, ...env });
}

const startBoth = (env: Record<string, string>) => Promise.all([start('watcher', env), start('worker', env)]);

/** Through Temporal itself, past the door: whether the worker behind it takes tasks. */
async function workerAnswers(): Promise<void> {
  const cluster = await readClusterIdentity(client, 'kairos');
  await askWorker(connection, 'default', { cluster, timing: timingFor(1, false) }, 60_000);
}

const filesOf = ({ ca, client }: Authority, more: Record<string, string> = {}) => ({
  'ca.crt': readFileSync(ca, 'utf8'),
  'tls.crt': readFileSync(client.cert, 'utf8'),
  'tls.key': readFileSync(client.key, 'utf8'),
  ...more,
});
const environment = (secret: MountedSecret) => ({
  TEMPORAL_TLS_SERVER_CA_CERT_PATH: secret.at('ca.crt'),
  TEMPORAL_TLS_CLIENT_CERT_PATH: secret.at('tls.crt'),
  TEMPORAL_TLS_CLIENT_KEY_PATH: secret.at('tls.key'),
});
const tookUp = (programs: RunningProgram[], words: RegExp) =>
  Promise.all(programs.map((program) => program.line(({ msg }) => words.test(msg), TAKEN_UP_MS)));

describe('credentials for Temporal that are renewed while watcher and worker run', () => {
  it('are taken up: another authority, server and client certificate, without a restart', async () => {
    door.serve(first);
    const secret = new MountedSecret(path.join(folder, 'mutual'), filesOf(first));
    const programs = await startBoth(environment(secret));
    await Promise.all(programs.map((program) => program.ready(90_000)));
    await workerAnswers();

    door.serve(second);
    await Promise.all(programs.map((program) => program.missing('Temporal', /not trusted/)));
    secret.write(filesOf(second));
    await tookUp(programs, /^took up changed credentials for Temporal: connected anew$/);
    await Promise.all(programs.map((program) => program.ready(90_000)));
    await workerAnswers();
    for (const program of programs) {
      expect(program.process.running).toBe(true);
      const { text } = await program.health('/metrics');
      expect(text).toMatch(/^kairos_temporal_connected 1$/m);
      expect(text).toMatch(/^kairos_watch_silence_seconds{resource="nodes"} \d/m);
      expect(text).toMatch(/^process_resident_memory_bytes \d+/m);
    }
    expect(door.letIn()).toBeGreaterThan(0);
  }, 400_000);

  it('are not taken up before they work, and break nothing meanwhile', async () => {
    door.serve(first);
    const secret = new MountedSecret(path.join(folder, 'early'), filesOf(first));
    const programs = await startBoth(environment(secret));
    await Promise.all(programs.map((program) => program.ready(90_000)));
    // A key that does not belong to its certificate, then a pair that the server does not trust yet.
    secret.write({ ...filesOf(first), 'tls.key': filesOf(second)['tls.key'] });
    const refusal = ({ msg, reason }: { msg: string; reason?: string }, words: RegExp) =>
      msg === 'changed credentials for Temporal are not taken up yet' && words.test(reason ?? '');
    await Promise.all(
      programs.map((program) => program.line((line) => refusal(line, /key values mismatch/), TAKEN_UP_MS)),
    );
    secret.write({ ...filesOf(second), 'ca.crt': filesOf(first)['ca.crt'] });
    await Promise.all(
      programs.map((program) => program.line((line) => refusal(line, /does not answer|certificate/), TAKEN_UP_MS)),
    );
    await workerAnswers();
    for (const program of programs) expect((await program.health('/readyz')).code).toBe(200);
    secret.write(filesOf(second));
    door.serve(second);
    await tookUp(programs, /^took up changed credentials for Temporal: connected anew$/);
    await Promise.all(programs.map((program) => program.ready(90_000)));
    await workerAnswers();
  }, 500_000);

  it('are taken up: an API key in a file, on the connection that is there', async () => {
    door.serve(first);
    door.require('key-1');
    const secret = new MountedSecret(path.join(folder, 'keyed'), filesOf(first, { 'api-key': 'key-1\n' }));
    const env = { ...environment(secret), TEMPORAL_API_KEY_FILE: secret.at('api-key') };
    const programs = await startBoth(env);
    await Promise.all(programs.map((program) => program.ready(90_000)));
    await workerAnswers();

    door.require('key-2');
    await Promise.all(programs.map((program) => program.missing('Temporal', /does not know us/)));
    secret.write(filesOf(first, { 'api-key': 'key-2\n' }));
    await tookUp(programs, /^took up another API key for Temporal$/);
    await Promise.all(programs.map((program) => program.ready(90_000)));
    await workerAnswers();
    door.require(undefined);
  }, 400_000);

  it('are refused where two keys are set, or the file is empty', async () => {
    const secret = new MountedSecret(path.join(folder, 'two'), { 'api-key': ' \n' });
    const TEMPORAL_API_KEY_FILE = secret.at('api-key');
    const both = await start('worker', { TEMPORAL_API_KEY_FILE, TEMPORAL_API_KEY: 'k' });
    const empty = await start('watcher', { TEMPORAL_API_KEY_FILE });
    expect(await both.ended).toMatchObject({ code: 1 });
    expect(both.lines().at(-1)?.error).toMatch(/TEMPORAL_API_KEY_FILE: TEMPORAL_API_KEY is set, too/);
    expect(await empty.ended).toMatchObject({ code: 1 });
    expect(empty.lines().at(-1)?.error).toMatch(/TEMPORAL_API_KEY_FILE=.*\/api-key is empty/);
  }, 60_000);
});
