/**
 * Whether the agent's memory stays flat: its built bundle runs as a process of its own, against a machine whose files
 * keep changing and an API server that keeps failing. `POLLS=20000` says how many looks at the machine.
 * Ends with exit code 1 when the memory grew, or when the agent did not report the last state of its machine.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildAgent } from '../agent/build.ts';
import { FakeApiServer, refuse } from '../test/agent/fake-api-server.ts';
import { eventually, HADRON, makeMachine, type TestMachine } from '../test/agent/machine.ts';

const polls = Number(process.env['POLLS'] ?? 20_000);
/** The shortest interval that the agent takes; its waits pass this many times faster. */
const POLL_INTERVAL_MS = 100;
const HASTE = 50;
const SAMPLES = 20;
/** What the live heap of the last third may be above that of the second one: of noise, not of leaks. */
const HEAP_GROWTH_BYTES = 512 * 1024;
const RSS_GROWTH_BYTES = 6 * 1024 * 1024;
/** Half of what the DaemonSet allows its container. */
const ANON_LIMIT_BYTES = 48 * 1024 * 1024;
const DEADLINE_MS = 10_000;

/** What the process itself says when asked. */
interface Sample {
  readonly looks: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
  readonly handles: number;
}

interface Row extends Sample {
  readonly rssBytes: number;
  /** The part of it that is no copy of a file, which alone can exceed a memory limit. */
  readonly anonBytes: number;
}

/** Loaded before the bundle, which stays as it is: counts and shortens its waits, and answers the parent. */
const OBSERVER = `
  import timers from 'node:timers/promises';
  import { syncBuiltinESMExports } from 'node:module';
  const wait = timers.setTimeout;
  let looks = 0;
  timers.setTimeout = (ms, ...rest) => { looks += 1; return wait(ms / ${HASTE}, ...rest); };
  syncBuiltinESMExports();
  process.on('message', () => {
    globalThis.gc();
    const { heapUsed: heapBytes, external: externalBytes } = process.memoryUsage();
    process.send({ looks, heapBytes, externalBytes, handles: process.getActiveResourcesInfo().length });
  });
  process.channel.unref();
`;

function startAgent(bundle: string, machine: TestMachine, api: FakeApiServer): ChildProcess {
  const observer = `data:text/javascript,${encodeURIComponent(OBSERVER)}`;
  return spawn(process.execPath, ['--expose-gc', '--import', observer, bundle], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      NODE_NAME: 'node-1',
      HOST_ROOT: machine.root,
      KUBERNETES_SERVICE_HOST: api.settings.host,
      KUBERNETES_SERVICE_PORT: String(api.settings.port),
      CA_FILE: api.settings.caFile,
      TOKEN_FILE: api.settings.tokenFile,
      POLL_INTERVAL: `${POLL_INTERVAL_MS}ms`,
      CHECK_INTERVAL: '100ms',
      REPORT_INTERVAL: '1s',
    },
  });
}

const FAULTS: readonly ((response: ServerResponse) => void)[] = [
  (response) => refuse(response, 500, 'InternalError'),
  (response) => refuse(response, 401, 'Unauthorized'),
  (response) => refuse(response, 409, 'Conflict'),
  (response) => refuse(response, 429, 'TooManyRequests', { 'retry-after': '1' }),
  (response) => response.socket?.destroy(),
  (response) => {
    response.writeHead(200, { 'content-length': '1000' }).write('{');
    setTimeout(() => response.socket?.destroy(), 5);
  },
  (response) => void response.writeHead(502).end('<html>'.repeat(50_000)),
];

const FILES: readonly ((turn: number) => Record<string, string>)[] = [
  (turn) => ({ 'proc/sys/kernel/random/boot_id': `boot-${turn}\n` }),
  (turn) => ({ 'etc/kairos-release': `${HADRON['etc/kairos-release']}KAIROS_NAME="turn ${turn}"\n` }),
  (turn) => ({ 'etc/kairos-operator/target': `{"sourceBootID":"boot-${turn}"` }),
  (turn) => ({ 'etc/kairos-operator/target': `{"sourceBootID":"boot-${turn}"}` }),
  () => ({ 'etc/kairos-release': `KAIROS_VERSION=v1\n${'x'.repeat(200_000)}` }),
  () => ({ 'etc/kairos-release': '' }),
  (turn) => ({ 'etc/kairos-release': Array.from({ length: 500 }, (_, n) => `KAIROS_X${n}=${turn}`).join('\n') }),
];

/** Every few looks something else is the matter, with the machine and with the API server. */
async function trouble(machine: TestMachine, api: FakeApiServer, signal: AbortSignal): Promise<void> {
  for (let turn = 0; !signal.aborted; turn += 1) {
    machine.write(FILES[turn % FILES.length]?.(turn) ?? {});
    const fault = turn % 3 === 0 ? FAULTS[(turn / 3) % FAULTS.length] : undefined;
    api.fault = fault && ((_request, response) => fault(response));
    api.requests.length = 0;
    if (turn % 25 === 0) api.nodes.clear();
    if (turn % 60 === 30) {
      await api.stop();
      // another certificate, and so another connection
      if (turn % 120 === 30) api.changeCertificate();
      await sleep(30);
      await api.start();
    }
    await sleep(20, undefined, { signal }).catch(() => undefined);
  }
  api.fault = undefined;
}

async function sampleOf(agent: ChildProcess): Promise<Row> {
  // before the collection that the question brings: this is what the kubelet sees
  const status = readFileSync(`/proc/${agent.pid}/status`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) * 1024;
  const [rssBytes, anonBytes] = [field('VmRSS'), field('RssAnon')];
  const answer = once(agent, 'message', { signal: AbortSignal.timeout(DEADLINE_MS) });
  agent.send('how much?');
  const [sample] = (await answer) as [Sample];
  return { ...sample, rssBytes, anonBytes };
}

const mebibytes = (bytes: number) => (bytes / 1024 / 1024).toFixed(2).padStart(8);

function print({ looks, rssBytes, anonBytes, heapBytes, externalBytes, handles }: Row): void {
  const columns = [
    String(looks).padStart(8),
    ...[rssBytes, anonBytes, heapBytes, externalBytes].map(mebibytes),
    String(handles),
  ];
  process.stdout.write(`${columns.join('  ')}\n`);
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

/** By how much the median of the last third is above that of the middle one; the first third is for warming up. */
function growthOf(values: readonly number[]): number {
  const third = Math.floor(values.length / 3);
  return median(values.slice(-third)) - median(values.slice(third, 2 * third));
}

async function measure(agent: ChildProcess): Promise<Row[]> {
  const rows: Row[] = [];
  process.stdout.write('   looks   RSS MiB  anon MiB  heap MiB   ext MiB  handles\n');
  while (rows.length < SAMPLES || (rows.at(-1)?.looks ?? 0) < polls) {
    const due = (polls / SAMPLES) * (rows.length + 1);
    let row = await sampleOf(agent);
    while (row.looks < due) {
      await sleep(250);
      row = await sampleOf(agent);
    }
    rows.push(row);
    print(row);
  }
  return rows;
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'agent-memory-'));
  const { outfile } = await buildAgent(join(folder, 'agent.mjs'));
  const api = await new FakeApiServer().start();
  const machine = makeMachine(HADRON);
  const agent = startAgent(outfile, machine, api);
  const ending = new AbortController();
  const troubling = trouble(machine, api, ending.signal);
  const problems: string[] = [];
  try {
    const rows = await measure(agent);
    const grown = { RSS: growthOf(rows.map((row) => row.rssBytes)), heap: growthOf(rows.map((row) => row.heapBytes)) };
    process.stdout.write(`growth: RSS ${mebibytes(grown.RSS).trim()} MiB, heap ${mebibytes(grown.heap).trim()} MiB\n`);
    if (grown.RSS > RSS_GROWTH_BYTES) problems.push('its resident memory grew');
    if (grown.heap > HEAP_GROWTH_BYTES) problems.push('its heap grew');
    const most = Math.max(...rows.map((row) => row.anonBytes));
    if (most > ANON_LIMIT_BYTES) problems.push(`it held ${mebibytes(most).trim()} MiB of its own`);
    if (median(rows.slice(-5).map((row) => row.handles)) > 10) problems.push('it holds handles open');
    ending.abort();
    await troubling;
    machine.write({ ...HADRON, 'proc/sys/kernel/random/boot_id': 'the-last-boot' });
    const isTold = () => api.nodes.get('node-1')?.['bootID'] === 'the-last-boot';
    await eventually(isTold, DEADLINE_MS).catch(() => problems.push('it did not report the last boot'));
    agent.kill('SIGTERM');
    const [code] = (await once(agent, 'exit')) as [number | null];
    if (code !== 0) problems.push(`it ended with ${code}`);
  } finally {
    ending.abort();
    agent.kill('SIGKILL');
    await troubling;
    await api.remove();
    machine.remove();
    rmSync(folder, { recursive: true, force: true });
  }
  for (const problem of problems) process.stderr.write(`FAILED: ${problem}\n`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

await main();
