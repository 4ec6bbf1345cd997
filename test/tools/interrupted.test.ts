import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { cachedPath } from '../../tools/go-build.ts';
import { PINNED } from '../../tools/pinned.ts';
import { progressOn } from '../../tools/progress.ts';
import { findTool, type ResolveOptions } from '../../tools/resolve.ts';

const RESOLVE = join(import.meta.dirname, '../../tools/resolve.ts');
const wanted = PINNED.kwok.version;
let folder: string;
let started: ChildProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kairos-interrupted-'));
});
afterEach(async () => {
  for (const child of started) child.kill('SIGKILL');
  started = [];
  await rm(folder, { recursive: true, force: true });
});

const options = (env: Record<string, string> = {}) =>
  ({
    env: { PATH: join(folder, 'go'), XDG_CACHE_HOME: join(folder, 'cache'), HOME: folder, ...env },
    progress: progressOn({ isTTY: false, write: () => true }),
  }) satisfies ResolveOptions;

/** Stands in for go: says where it is by files, and waits there until a file lets it go on. */
async function go(body: string): Promise<void> {
  const file = join(folder, 'go', 'go');
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\nPATH=/usr/bin:/bin\n[ "$1" = version ] && exit 0\n${body}\n`);
  await chmod(file, 0o755);
}

/** Stops at one point of its work, until a file is there. */
const slowGo = (stopAt: string) =>
  go(`
    while [ "$1" != -o ]; do shift; done
    echo $$ >> ${folder}/pids
    point() { [ $1 = ${stopAt} ] || return 0; : > ${folder}/at-$1; while [ ! -e ${folder}/go-on ]; do sleep 0.05; done; }
    : > "$GOTMPDIR/scratch"; point compile
    printf '#!/bin/sh\\n' > "$2"; chmod 755 "$2"; point link
    printf 'echo kwok version v${wanted}\\n' >> "$2"; point done`);

/** The command line program, which builds kwok. */
function resolveInProcess(): ChildProcess {
  const child = spawn(process.execPath, ['--no-warnings', RESOLVE, 'kwok'], {
    env: options().env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  return child;
}

async function reached(point: string): Promise<void> {
  for (let tries = 0; tries < 400 && !existsSync(join(folder, `at-${point}`)); tries++) await sleep(25);
  expect(existsSync(join(folder, `at-${point}`))).toBe(true);
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !existsSync('/proc/self/stat') || !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function compilersEnd(): Promise<void> {
  const pids = readFileSync(join(folder, 'pids'), 'utf8').trim().split('\n').map(Number);
  expect(pids.length).toBeGreaterThan(0);
  for (let tries = 0; tries < 100 && pids.some(runs); tries++) await sleep(50);
  expect(pids.filter(runs)).toEqual([]);
}

const inCache = async () => readdir(dirname(await cachedPath('kwok', options())));

/** What a person does next: the same command again, this time until it ends. */
async function again(): Promise<string> {
  await writeFile(join(folder, 'go-on'), '');
  return await findTool('kwok', options());
}

describe('a build that is ended', () => {
  it.each(
    ['compile', 'link', 'done'].flatMap((point) =>
      (['SIGINT', 'SIGTERM', 'SIGKILL'] as const).map((signal) => [signal, point] as const),
    ),
  )('by %s at "%s" leaves no compiler, and the next one is whole', async (signal, point) => {
    await slowGo(point);
    const child = resolveInProcess();
    await reached(point);
    child.kill(signal);
    const [, endedBy] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    expect(endedBy).toBe(signal);
    await compilersEnd();
    // Nobody can clean up after SIGKILL but the next build.
    if (signal !== 'SIGKILL') expect(await inCache()).toEqual([]);
    expect(await inCache()).not.toContain('kwok');
    const binary = await again();
    expect(readFileSync(binary, 'utf8')).toContain(wanted);
    expect(await inCache()).toEqual(['kwok']);
  });

  it('while another process waits for it is taken over by that one', async () => {
    await slowGo('link');
    const first = resolveInProcess();
    await reached('link');
    const second = resolveInProcess();
    const words: string[] = [];
    second.stderr?.setEncoding('utf8').on('data', (text: string) => words.push(text));
    for (let tries = 0; tries < 200 && !words.join('').includes('waiting for process'); tries++) await sleep(25);
    expect(words.join('')).toContain(`kwok: waiting for process ${first.pid}, which is building it`);
    first.kill('SIGKILL');
    await writeFile(join(folder, 'go-on'), '');
    const [code] = (await once(second, 'exit')) as [number | null];
    expect(code).toBe(0);
    expect(await inCache()).toEqual(['kwok']);
  });
});

describe('a build that fails', () => {
  it.each([
    [
      'go: go.mod requires go >= 1.26 (running go 1.22.1; GOTOOLCHAIN=local)',
      /The Go on PATH is too old\. Install Go 1\.26/,
    ],
    ['go: download go1.26 for linux/amd64: toolchain not available', /The Go on PATH is too old/],
    [
      'go: sigs.k8s.io/kwok@v0.8.0: Get "https://modules.example/": dial tcp: lookup modules.example: no such host',
      /modules could not be downloaded: check the network, or set GOPROXY .*KWOK_PATH to a binary of kwok 0\.8/,
    ],
    ['go: module lookup disabled by GOPROXY=off', /modules could not be downloaded/],
    ['link: write /x/kwok: no space left on device', /The disk is full: .*XDG_CACHE_HOME/],
    ['k8s.io/api: compile: signal: killed', /ran out of memory: .*GOFLAGS=-p=1/],
  ])('because of "%s" says what to do, and leaves no half file', async (words, expected) => {
    await go(
      `while [ "$1" != -o ]; do shift; done; : > "$GOTMPDIR/scratch"; echo half > "$2"; echo '${words}' >&2; exit 1`,
    );
    const building = findTool('kwok', options());
    await expect(building).rejects.toThrow(expected);
    await expect(building).rejects.toThrow(words);
    expect(await inCache()).toEqual([]);
  });

  it('because go itself does not run says so', async () => {
    await go('');
    await writeFile(join(folder, 'go', 'go'), '#!/bin/sh\necho broken >&2; exit 3\n');
    await expect(findTool('kwok', options())).rejects.toThrow(
      /kwok 0\.8\.0 is neither installed nor cached, and go does not run \([^]*broken[^]*\)\.\nInstall Go/,
    );
  });

  it('because the cache folder cannot be made names it and the variable', async () => {
    await go('exit 1');
    await writeFile(join(folder, 'file'), '');
    await expect(findTool('kwok', options({ XDG_CACHE_HOME: join(folder, 'file') }))).rejects.toThrow(
      /kwok: the cache folder \/.*\/file\/kairos-operator\/.* cannot be used \(ENOTDIR.*\)\.\nMake it writable, or set XDG_CACHE_HOME/,
    );
  });
});
