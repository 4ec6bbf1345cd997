import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { freePort } from '../../sim/ports.ts';
import { startTemporal, type TemporalServer } from '../../sim/temporal-server.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { kubeconfigText, startProgram, stopPrograms, type Line, type RunningProgram } from './program.ts';

const run = promisify(execFile);
const NAMESPACE = 'kairos-system';
const DEPLOY = path.join(import.meta.dirname, '../../deploy');

let folder: string;
let controlPlane: ControlPlane;
let temporal: TemporalServer | undefined;
let temporalPort: number;

/** Runs kubectl as a person with all rights would; `{}` in the arguments stands for nothing. */
async function kubectl(...args: string[]): Promise<string> {
  const { stdout } = await run(await resolveTool('kubectl'), [
    '--kubeconfig',
    controlPlane.adminKubeconfig,
    `--cache-dir=${folder}/kubectl`,
    ...args,
  ]);
  return stdout;
}

function temporary(name: string, text: string): string {
  const file = path.join(folder, 'manifests', name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

/** A kubeconfig with the operator's own account, whose rights are those of the manifests. */
async function accountOf(program: 'worker' | 'watcher'): Promise<string> {
  const token = (await kubectl('create', 'token', `kairos-${program}`, '-n', NAMESPACE)).trim();
  return controlPlane.kubeconfigFor({ name: `kairos-${program}`, token });
}

const address = () => `127.0.0.1:${temporalPort}`;

async function start(program: 'worker' | 'watcher', env: Record<string, string> = {}): Promise<RunningProgram> {
  const KUBECONFIG = env['KUBECONFIG'] ?? (await accountOf(program));
  return await startProgram(folder, program, { TEMPORAL_ADDRESS: address(), ...env, KUBECONFIG });
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-start-up-'));
  temporalPort = await freePort();
  controlPlane = await startControlPlane({ folder });
  await kubectl('create', 'namespace', NAMESPACE);
  for (const program of ['worker', 'watcher'])
    await kubectl('create', 'serviceaccount', `kairos-${program}`, '-n', NAMESPACE);
}, 90_000);
afterEach(stopPrograms, 60_000);
afterAll(async () => {
  await stopPrograms();
  await temporal?.stop();
  await controlPlane?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

describe('on a cluster where nothing has been installed', () => {
  it('worker and watcher name all that is missing, and go on as it comes', async () => {
    const programs = await Promise.all([start('worker'), start('watcher')]);
    for (const program of programs) {
      expect(await program.missing('Temporal')).toMatch(
        new RegExp(
          `^Temporal at ${address()} does not answer: nobody listens there: check that Temporal runs .*TEMPORAL_ADDRESS`,
        ),
      );
      expect(await program.missing('custom resource definitions')).toMatch(
        /kairosnodes\.kairos\.io is not installed.*nodeopupgrades\.operator\.kairos\.io is not installed: kubectl apply --server-side -f deploy\/crds/,
      );
      expect(await program.missing('rights')).toMatch(
        /^ServiceAccount kairos-system\/kairos-(worker|watcher) may not get namespaces "kube-system" in the cluster; get, list, watch, patch nodes in the cluster; .*: apply deploy\/operator\/\1-rbac\.yaml/,
      );
      const { code, text } = await program.health('/readyz');
      expect(code).toBe(503);
      expect(text.split('\n')[0]).toBe('not ready');
      for (const part of ['Temporal', 'rights', 'custom resource definitions'])
        expect(text).toMatch(new RegExp(`^${part}, since 2\\d{3}-`, 'm'));
      expect((await program.health('/healthz')).code).toBe(200);
    }
    await kubectl('apply', '--server-side', '-f', path.join(DEPLOY, 'crds'));
    await kubectl('apply', '--server-side', '--force-conflicts', '-f', path.join(DEPLOY, 'operator'));
    temporal = await startTemporal({ folder: path.join(folder, 'temporal'), port: temporalPort });
    await Promise.all(programs.map((program) => program.ready(45_000)));
    for (const program of programs) {
      expect(program.process.running).toBe(true);
      expect(
        program
          .lines()
          .filter(({ msg }) => msg === 'there now')
          .map(({ part }) => part),
      ).toEqual(expect.arrayContaining(['Temporal', 'rights', 'custom resource definitions']));
      expect(program.lines().filter(({ level }) => level > 40)).toEqual([]);
    }
  }, 120_000);
});

describe('a manifest that is older than the program', () => {
  it('is named with the right that it does not give', async () => {
    const manifest = readFileSync(path.join(DEPLOY, 'operator', 'worker-rbac.yaml'), 'utf8');
    const older = manifest.replace('verbs: [get, list, watch, patch]', 'verbs: [get, list, watch]');
    expect(older).not.toBe(manifest);
    await kubectl('apply', '--server-side', '-f', temporary('worker-rbac.yaml', older));
    const worker = await start('worker');
    expect(await worker.missing('rights')).toBe(
      'ServiceAccount kairos-system/kairos-worker may not patch nodes in the cluster: apply deploy/operator/worker-rbac.yaml, of the version that this program has',
    );
    expect(worker.lines().some(({ msg }) => msg === 'worker runs')).toBe(false);
    await kubectl('apply', '--server-side', '-f', path.join(DEPLOY, 'operator', 'worker-rbac.yaml'));
    await worker.ready();
  }, 60_000);

  it('is named with the field that the API server would drop', async () => {
    const file = 'kairos.io_kairosnodes.yaml';
    const crd = readFileSync(path.join(DEPLOY, 'crds', file), 'utf8');
    const older = crd.replace(/^( +)stepSince:\n(\1 +.*\n)+/m, '');
    expect(older).not.toBe(crd);
    await kubectl('apply', '--server-side', '-f', temporary(file, older));
    const watcher = await start('watcher');
    expect(await watcher.missing('custom resource definitions', /older/)).toMatch(
      /^the CustomResourceDefinition kairosnodes\.kairos\.io is older than this program: it lacks status\.stepSince: kubectl apply --server-side -f deploy\/crds/,
    );
    await kubectl('apply', '--server-side', '-f', path.join(DEPLOY, 'crds'));
    await watcher.ready();
  }, 60_000);
});

describe('Temporal', () => {
  it('that has not our namespace is named with the command that makes it, which then is enough', async () => {
    const programs = await Promise.all(
      (['worker', 'watcher'] as const).map((name) => start(name, { TEMPORAL_NAMESPACE: 'fleet' })),
    );
    const reasons = await Promise.all(programs.map((program) => program.missing('Temporal')));
    for (const reason of reasons)
      expect(reason).toContain(`Temporal at ${address()} has no namespace fleet: create it`);
    const [, command = ''] = /"temporal ([^"]+)"/.exec(reasons[0] ?? '') ?? [];
    await run(await resolveTool('temporal'), command.split(' '));
    await Promise.all(programs.map((program) => program.ready(45_000)));
  }, 90_000);

  it('that speaks plain text where TLS is set is named so', async () => {
    const programs = await Promise.all(
      (['worker', 'watcher'] as const).map((name) => start(name, { TEMPORAL_TLS: 'true' })),
    );
    for (const program of programs) {
      expect(await program.missing('Temporal')).toContain(
        `Temporal at ${address()} does not answer: it speaks plain text, and we speak TLS: leave TEMPORAL_TLS`,
      );
    }
  }, 60_000);

  it('that speaks TLS where it is not set is named so', async () => {
    // The API server stands in: a port that speaks TLS, and HTTP/2 below it.
    const { host } = new URL(controlPlane.url);
    const plain = await start('worker', { TEMPORAL_ADDRESS: host });
    expect(await plain.missing('Temporal')).toContain('it speaks TLS, and we do not: set TEMPORAL_TLS=true');
    const untrusting = await start('watcher', { TEMPORAL_ADDRESS: host, TEMPORAL_TLS: 'true' });
    expect(await untrusting.missing('Temporal')).toMatch(
      /its certificate is not trusted .*TEMPORAL_TLS_SERVER_CA_CERT_PATH/,
    );
  }, 60_000);
});

describe('the API server', () => {
  const kubeconfig = (name: string, { server = controlPlane.url, ca = controlPlane.caFile, token = 'expired' }) =>
    temporary(name, kubeconfigText({ server, ca, token }));

  it('that cannot be reached, does not know us or is not trusted is named with the next step', async () => {
    const closed = `https://127.0.0.1:${await freePort()}`;
    const strangers = path.join(folder, 'strangers.crt');
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=strangers', '-days', '1'];
    await run('openssl', [...request, '-keyout', '/dev/null', '-out', strangers]);
    const at = `the API server ${controlPlane.url}`;
    const cases: [file: string, expected: string | RegExp][] = [
      [
        kubeconfig('closed', { server: closed }),
        `the API server ${closed} cannot be reached (ECONNREFUSED): nobody answers there; check that it runs`,
      ],
      [kubeconfig('expired', {}), `${at} does not know us (401): the token or client certificate has expired`],
      [kubeconfig('untrusted', { ca: strangers }), `${at} shows a certificate that is not trusted (`],
      [
        kubeconfig('no-ca', { ca: '/nowhere/ca.crt' }),
        `the credentials for ${at} cannot be read (ENOENT: /nowhere/ca.crt)`,
      ],
      [kubeconfig('plain', { server: `https://${address()}` }), 'does not speak TLS on that port'],
    ];
    await Promise.all(
      cases.map(async ([KUBECONFIG, expected]) => {
        const watcher = await start('watcher', { KUBECONFIG });
        expect(await watcher.missing('API server')).toContain(expected);
        await watcher.process.kill('SIGTERM');
        // Told to stop while it waits is no failure.
        expect(watcher.lines().at(-1)).toMatchObject({ level: 30, msg: 'watcher has stopped' });
      }),
    );
  }, 90_000);

  it.each([
    ['is not there', () => '/nowhere/kubeconfig', /KUBECONFIG=\/nowhere\/kubeconfig cannot be used: ENOENT/],
    ['is no YAML', () => temporary('broken', 'a: ['), /KUBECONFIG=.*broken cannot be used: /],
    [
      'has no context',
      () => temporary('empty', 'kind: Config'),
      /kubeconfig .*empty: the current context "" names no cluster/,
    ],
  ])(
    'is not looked for with a kubeconfig that %s: the last line says so',
    async (_, file, expected) => {
      const worker = await start('worker', { KUBECONFIG: file() });
      expect(await worker.ended).toEqual({ code: 1, signal: null });
      expect(worker.lines().at(-1)).toMatchObject({ msg: 'worker ends', error: expect.stringMatching(expected) });
    },
    20_000,
  );
});

describe('an environment that cannot be used', () => {
  it('ends a program at once, with a last line that says all of it', async () => {
    const wrong = await start('worker', { LOG_LEVEL: 'loud', TEMPORAL_TLS: 'maybe', KAIROS_NAMESPACE: 'Kairos' });
    const noFile = await start('watcher', { TEMPORAL_PROFILE: 'nowhere' });
    expect(await wrong.ended).toEqual({ code: 1, signal: null });
    expect(await noFile.ended).toEqual({ code: 1, signal: null });
    expect(wrong.lines().at(-1)?.error).toMatch(
      /^wrong environment: KAIROS_NAMESPACE=Kairos: .*; LOG_LEVEL=loud: one of trace, .*; TEMPORAL_TLS=maybe: true or false$/,
    );
    expect(noFile.lines().at(-1)?.error).toMatch(
      /^wrong environment: TEMPORAL_\* cannot be used \(Profile 'nowhere' not found/,
    );
  }, 20_000);

  it('is also a file that it names and that cannot be used: the last line says which, where and why', async () => {
    const file = path.join(folder, 'wrong.yaml');
    writeFileSync(file, '- { url: "https://a", drain: { timout: 5m } }');
    const defaults = path.join(folder, 'wrong-defaults.yaml');
    writeFileSync(defaults, 'drain: { timout: 5m }');
    const [watcher, worker] = await Promise.all([
      start('watcher', { KAIROS_DEFAULTS_FILE: defaults }),
      start('worker', { KAIROS_PROMETHEUS_FILE: file }),
    ]);
    for (const program of [watcher, worker]) expect(await program.ended).toEqual({ code: 1, signal: null });
    expect(watcher.lines().at(-1)?.error).toMatch(
      /^defaults of spec\.strategy, .*wrong-defaults\.yaml: drain\.timout: there is no such field: write one of timeout, /,
    );
    expect(worker.lines().at(-1)?.error).toMatch(/^Prometheus servers, .*wrong\.yaml: 0: .*drain/);
  }, 20_000);

  it('is also a health port that is taken', async () => {
    const { port } = new URL(controlPlane.url);
    const worker = await start('worker', { HEALTH_PORT: port });
    expect(await worker.ended).toEqual({ code: 1, signal: null });
    expect(worker.lines().at(-1)?.error).toBe(
      `HEALTH_PORT=${port}: the port is taken by another process; stop that one, or set another port`,
    );
  }, 20_000);

  it('is not a further namespace without rights: that one is left out, by name', async () => {
    const watcher = await start('watcher', { KAIROS_NAMESPACES: 'shops' });
    await watcher.ready();
    expect((await watcher.line(({ msg }) => msg === 'namespace left out')).reason).toMatch(
      /^NodeOpUpgrades in the namespace shops are not carried out: ServiceAccount kairos-system\/kairos-watcher may not get, list, watch nodeopupgrades\.operator\.kairos\.io in the namespace shops; .*: apply the Role and RoleBinding of deploy\/operator\/watcher-rbac\.yaml there, or take it out of KAIROS_NAMESPACES$/,
    );
    expect(watcher.lines().find(({ msg }) => msg === 'watcher runs')).toBeDefined();
  }, 40_000);
});

describe('a second operator', () => {
  it('of the same name works beside the first, and both say who writes the status', async () => {
    const programs = [await start('watcher'), await start('watcher'), await start('worker'), await start('worker')];
    await Promise.all(programs.map((program) => program.ready()));
    const watchers = programs.slice(0, 2);
    const names = new Set(watchers.map(({ process }) => process.name));
    // A watcher of the test before may still be named at first.
    const isOne = ({ msg, holder }: Line) => msg.endsWith('watcher writes the status') && names.has(String(holder));
    const said = await Promise.all(watchers.map((watcher) => watcher.line(isOne, 40_000)));
    expect(new Set(said.map(({ holder }) => holder)).size).toBe(1);
    expect(said.map(({ msg }) => msg).toSorted()).toEqual([
      'another watcher writes the status',
      'this watcher writes the status',
    ]);
  }, 90_000);

  it('that calls the cluster otherwise waits, and names the name in use', async () => {
    const first = await start('watcher');
    await first.ready();
    const second = await start('watcher', { KAIROS_CLUSTER_NAME: 'edge-7' });
    expect(await second.missing('name of the cluster')).toMatch(
      /^this cluster is called kairos-[0-9a-f]{8} by another operator in the namespace kairos-system, and edge-7-[0-9a-f]{8} by this one; .* Set KAIROS_CLUSTER_NAME to "kairos"/,
    );
    expect((await second.health('/readyz')).code).toBe(503);
    expect(await kubectl('get', 'leases', '-n', NAMESPACE)).toMatch(/kairos-cluster-name +kairos-[0-9a-f]{8}/);
  }, 60_000);
});

describe('a Temporal namespace', () => {
  const operator = async (...args: string[]) =>
    run(await resolveTool('temporal'), ['operator', 'namespace', ...args, '--address', address()]);

  it('without a worker is named by the watcher; and one that is deleted is waited for, by the same process', async () => {
    for (const name of ['lonely', 'short-lived']) await operator('create', '--namespace', name);
    const [watcher, worker] = await Promise.all([
      start('watcher', { TEMPORAL_NAMESPACE: 'lonely' }),
      start('worker', { TEMPORAL_NAMESPACE: 'short-lived' }),
    ]);
    await Promise.all([watcher.ready(), worker.ready()]);
    await operator('delete', '--namespace', 'short-lived', '--yes');
    await worker.missing('Temporal', /has no namespace short-lived: create it with/);
    await operator('create', '--namespace', 'short-lived');
    expect(await watcher.missing('worker')).toMatch(
      /^no worker takes tasks from kairos-kairos-[0-9a-f]{8} in Temporal's namespace lonely: rollouts do not go on\..*KAIROS_CLUSTER_NAME/,
    );
    expect((await watcher.health('/readyz')).code).toBe(200);
    await worker.ready(60_000);
    expect(worker.process.running).toBe(true);
  }, 120_000);
});

describe('what goes while they run', () => {
  it('is waited for: neither ends, and both are ready again', async () => {
    const programs = await Promise.all([start('worker'), start('watcher')]);
    await Promise.all(programs.map((program) => program.ready()));
    await temporal?.process.kill('SIGKILL');
    const killedAtMs = Date.now();
    for (const program of programs) {
      expect(await program.missing('Temporal')).toMatch(/nobody listens there.*nodes in hand stay as they are$/);
      expect(await program.health('/readyz')).toMatchObject({
        code: 503,
        text: expect.stringContaining('Temporal, since'),
      });
    }
    // Meanwhile the API server goes, too; longer than any retry of the SDK lasts.
    const { 'kube-apiserver': apiServer } = controlPlane.processes;
    await apiServer.kill('SIGKILL');
    for (const program of programs) await program.missing('API server', /cannot be reached/);
    await programs[0]?.line(() => Date.now() - killedAtMs > 32_000, 40_000);
    await apiServer.start();
    await temporal?.process.start();
    await Promise.all(programs.map((program) => program.ready(60_000)));
    for (const program of programs) {
      expect(program.process.running).toBe(true);
      expect(program.lines().filter(({ msg }) => msg.includes('runs'))).toHaveLength(1);
      // A worker polls dozens of times at once: that each fails again and again is said once.
      expect(program.lines().length).toBeLessThan(100);
    }
  }, 150_000);
});
