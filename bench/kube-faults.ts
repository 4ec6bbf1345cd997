import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Rig, startRig } from '../test/kube/fault-rig.ts';
import { Storm, catchUpMs, outage } from '../test/kube/fault-storm.ts';
import { type Watchers, watchersOf } from '../test/kube/fault-watchers.ts';

// The room kube/ under many faults of network and API server. FAULTS=10000 says how many, SEED= which: it is printed.
// Ends with exit code 1 when something was done twice, went backwards, came late, was left behind or did not catch up.

const faults = Number(process.env['FAULTS'] ?? 10_000);
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9));
const HEAP_GROWTH_BYTES = 8 * 1024 * 1024;
/** The pool of calls keeps what was needed at once; the storms have some twenty writers. */
const MORE_SOCKETS = 30;

interface Measured {
  heapBytes: number;
  connections: number;
  resources: number;
  listeners: number;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

async function measure(rig: Rig): Promise<Measured> {
  for (let tries = 0; tries < 100 && rig.calls.open > 0; tries++) await sleep(20);
  for (let times = 0; times < 3; times++) {
    await sleep(200);
    collectGarbage();
  }
  return {
    heapBytes: process.memoryUsage().heapUsed,
    connections: rig.proxy.connections,
    resources: process.getActiveResourcesInfo().length,
    listeners: rig.calls.listeners,
  };
}

const megabytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
const shown = (m: Measured) =>
  `heap ${megabytes(m.heapBytes)}, ${m.connections} connections, ${m.resources} active resources, ${m.listeners} listeners`;

async function run(rig: Rig, watchers: Watchers): Promise<string[]> {
  const storm = async (name: string, until: number) => {
    const one = new Storm(rig, name);
    const startedAt = performance.now();
    await one.start();
    const told = () =>
      console.log(
        `  ${rig.faults.total} faults, ${rig.calls.calls} calls, ${megabytes(process.memoryUsage().heapUsed)}`,
      );
    await one.until(until, 600_000 + until * 300, told);
    await one.end();
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    const caughtUpMs = await catchUpMs(watchers, 10_000);
    console.log(
      `${name}: ${seconds} s, caught up ${caughtUpMs} ms after the last fault, ${one.leaseChanges} times a lease was taken`,
    );
  };
  await storm('warm-up', Math.ceil(faults / 10));
  const before = await measure(rig);
  await storm('storm', faults);
  const after = await measure(rig);
  console.log(`faults by kind, of ${rig.faults.total}:`, rig.faults.counts());
  console.log(`calls: ${rig.calls.calls}, the longest ${Math.round(rig.calls.longestMs)} ms`);
  console.log(`before: ${shown(before)}\nafter:  ${shown(after)}`);
  for (const kind of ['unreachable', 'frozen'] as const) {
    const { noticedMs, caughtUpMs } = await outage(rig, watchers, kind);
    console.log(`API server ${kind}: noticed after ${noticedMs} ms, caught up ${caughtUpMs} ms after its return`);
  }
  const grown = [
    after.heapBytes - before.heapBytes > HEAP_GROWTH_BYTES && 'memory grew',
    after.connections - before.connections > MORE_SOCKETS && 'connections were left open',
    after.resources - before.resources > 2 * MORE_SOCKETS && 'sockets or timers were left behind',
    after.listeners > 0 && 'listeners were left behind',
  ];
  return [...rig.problems, ...grown.filter((problem) => problem !== false)];
}

const folder = mkdtempSync(join(tmpdir(), 'kube-faults-'));
console.log(`${faults} faults, SEED=${seed}`);
const warnings: string[] = [];
process.on('warning', ({ name, message }) => warnings.push(`${name}: ${message}`));
const rig = await startRig(folder, seed);
const watchers = watchersOf(rig, 4);
try {
  await watchers.synced();
  const problems = [...(await run(rig, watchers)), ...warnings];
  for (const problem of problems.slice(0, 30)) console.log(`PROBLEM ${problem}`);
  console.log(problems.length === 0 ? 'nothing is broken' : `${problems.length} problems, SEED=${seed}`);
  process.exitCode = problems.length === 0 ? 0 : 1;
} finally {
  watchers.stop();
  await rig.stop();
  rmSync(folder, { recursive: true, force: true });
}
