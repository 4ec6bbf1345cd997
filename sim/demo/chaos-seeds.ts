import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { wholeNumber } from './options.ts';

/**
 * Runs `CHAOS=1 make demo` with many seeds, one after the other: SEEDS of them (default 20), from SEED on (default 1),
 * on NODES nodes (default 6). A row for each; the folder of a run that failed is kept. Exit code 1 when one failed.
 */

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
const FOLDER = path.resolve(process.argv[2] ?? fileURLToPath(new URL('../../build/chaos', import.meta.url)));
const COLUMNS = ['seed', 'exit', 'phase', 'seconds', 'worker', 'watcher', 'temporal', 'api-server', 'etcd', 'agent'];
const WIDTH = 10;

const stopping = new AbortController();

interface Run {
  /** The words of the result line; empty when the demo did not come so far. */
  readonly words: Readonly<Record<string, string>>;
  readonly exitCode: number;
  /** Broken invariants, or the last words of a demo that failed otherwise. */
  readonly remarks: string;
}

/** One demo in a process of its own; its output goes to `<folder>.log`. */
async function run(seed: number, nodes: number, folder: string): Promise<Run> {
  const log = `${folder}.log`;
  const output = createWriteStream(log);
  // A group of its own: Ctrl-C reaches it by our hand only, once.
  const child = spawn(process.execPath, ['--no-warnings', MAIN, folder], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, CHAOS: '1', SEED: String(seed), NODES: String(nodes), KEEP: '', BAD_IMAGE: '' },
  });
  const stop = (): void => void child.kill('SIGTERM');
  stopping.signal.addEventListener('abort', stop, { once: true });
  child.stdout.pipe(output, { end: false });
  child.stderr.pipe(output, { end: false });
  const exitCode = await new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? 137)));
  stopping.signal.removeEventListener('abort', stop);
  await new Promise<void>((resolve) => output.end(resolve));
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
  const result = lines.findLast((line) => line.startsWith('result ')) ?? '';
  const words = Object.fromEntries(result.split(' ').map((word) => word.split('=') as [string, string]));
  const told = lines.filter((line) => /^(BROKEN|FAILED|ended by itself)/.test(line));
  const remarks = result === '' ? (lines.at(-1) ?? '') : told.join(' | ');
  return { words, exitCode, remarks };
}

async function main(): Promise<number> {
  const nodes = wholeNumber(process.env, 'NODES', 1, 1000, '6') ?? 6;
  const count = wholeNumber(process.env, 'SEEDS', 1, 1000, '20') ?? 20;
  const first = wholeNumber(process.env, 'SEED', 0, 2 ** 32 - 1 - count, '1') ?? 1;
  mkdirSync(FOLDER, { recursive: true });
  const row = (cells: readonly string[]) =>
    console.log(
      cells
        .map((cell) => cell.padEnd(WIDTH))
        .join(' ')
        .trimEnd(),
    );
  row(COLUMNS);
  const failed: number[] = [];
  for (let seed = first; seed < first + count && !stopping.signal.aborted; seed++) {
    const folder = path.join(FOLDER, `seed-${seed}`);
    const { words, exitCode, remarks } = await run(seed, nodes, folder);
    if (stopping.signal.aborted) break;
    const known: Record<string, string> = { ...words, seed: String(seed), exit: String(exitCode) };
    row([...COLUMNS.map((column) => known[column] ?? ''), remarks]);
    if (exitCode === 0) for (const file of [folder, `${folder}.log`]) rmSync(file, { recursive: true, force: true });
    else failed.push(seed);
  }
  if (stopping.signal.aborted) return 130;
  const where = path.relative(process.cwd(), FOLDER);
  console.log(
    failed.length === 0
      ? `all ${count} runs on ${nodes} nodes kept every promise`
      : `failed with ${failed.map((seed) => `SEED=${seed}`).join(' ')}; what they left is in ${where}/seed-*`,
  );
  return failed.length === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort());
try {
  process.exitCode = await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
