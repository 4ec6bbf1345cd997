import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { managedProcess, type ManagedProcess, type ProcessOptions } from '../../sim/processes.ts';

let folder: string;
const started: ManagedProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kairos-processes-'));
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((one) => one.kill()));
  await rm(folder, { recursive: true, force: true });
});

function shell(script: string, options: Partial<ProcessOptions> = {}): ManagedProcess {
  const logFile = join(folder, 'logs', 'one.log');
  const one = managedProcess({ name: 'one', command: '/bin/sh', args: ['-c', script], logFile, ...options });
  started.push(one);
  return one;
}

/** A zombie is dead: how soon an orphan's is reaped is up to the machine's init. */
function alive(pid: number | undefined): boolean {
  if (pid === undefined) return false;
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return !existsSync('/proc/self/stat');
  }
}

async function eventually(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 60 && !condition(); tries++) await sleep(50);
  expect(condition()).toBe(true);
}

describe('a managed process', () => {
  it('is started once it is ready, and restarted under a new id', async () => {
    const one = shell(`sleep 0.1; : > ${folder}/ready; exec sleep 60`, {
      ready: () => Promise.resolve(existsSync(join(folder, 'ready'))),
    });
    await one.start();
    const first = one.pid;
    expect(alive(first)).toBe(true);
    await one.restart();
    expect(alive(first)).toBe(false);
    expect(one.pid).not.toBe(first);
  });

  it('that ends too early is reported with the end of its log', async () => {
    const one = shell('echo the port is taken; exit 3', { ready: () => Promise.resolve(false) });
    await expect(one.start()).rejects.toThrow(/one: ended before it was ready \(exit code 3\)[^]*the port is taken/);
    expect(one.running).toBe(false);
  });

  it('that never gets ready is killed and reported', async () => {
    const one = shell('exec sleep 60', { ready: () => Promise.resolve(false), readyTimeoutMs: 200 });
    await expect(one.start()).rejects.toThrow('one: not ready after 0.2 s');
    expect(one.running).toBe(false);
  });

  it('that does not exist is reported', async () => {
    await expect(shell('', { command: '/nowhere/one' }).start()).rejects.toThrow('/nowhere/one cannot be started');
  });

  it('that ignores SIGTERM is stopped all the same', async () => {
    const one = shell(`trap '' TERM; : > ${folder}/ready; while :; do sleep 0.1; done`, {
      stopTimeoutMs: 200,
      ready: () => Promise.resolve(existsSync(join(folder, 'ready'))),
    });
    await one.start();
    await one.stop();
    expect(one.running).toBe(false);
  });

  it('takes its children along', async () => {
    const one = shell(`sleep 60 & echo $! > ${folder}/child; wait`);
    await one.start();
    await eventually(() => existsSync(join(folder, 'child')));
    await sleep(50);
    const child = Number(await readFile(join(folder, 'child'), 'utf8'));
    await one.kill();
    await eventually(() => !alive(child));
  });

  it('may be frozen and thawed', async () => {
    const one = shell('exec sleep 60');
    await one.start();
    await one.kill('SIGSTOP');
    expect(one.running).toBe(true);
    await one.kill('SIGCONT');
    await one.stop();
    expect(one.running).toBe(false);
  });
});

describe('when the program that started it ends', () => {
  const program = (ending: string): string => `
    import { existsSync } from 'node:fs';
    import { managedProcess } from '${join(import.meta.dirname, '../../sim/processes.ts')}';
    const one = managedProcess({ name: 'one', command: '/bin/sh', args: ['-c', 'sleep 60 & echo $! > ${folder}/child; exec sleep 60'], logFile: '${folder}/one.log' });
    await one.start();
    while (!existsSync('${folder}/child')) await new Promise((resolve) => setTimeout(resolve, 20));
    console.log(one.pid);
    ${ending}`;

  it.each([
    ['by running out of work', '', undefined],
    ['by exit', 'process.exit(0)', undefined],
    ['by an uncaught error', 'throw new Error()', undefined],
    ['by SIGINT', 'setInterval(() => {}, 1000)', 'SIGINT'],
    ['by SIGTERM', 'setInterval(() => {}, 1000)', 'SIGTERM'],
    ['by SIGKILL', 'setInterval(() => {}, 1000)', 'SIGKILL'],
  ] as const)('%s, the process and its children end', async (_, ending, signal) => {
    const parent = spawn(process.execPath, ['--input-type=module-typescript', '-e', program(ending)], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = once(parent, 'exit');
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    if (signal !== undefined) parent.kill(signal);
    await ended;
    const child = Number(await readFile(join(folder, 'child'), 'utf8'));
    expect(child).toBeGreaterThan(0);
    await eventually(() => !alive(pid) && !alive(child));
  });
});
