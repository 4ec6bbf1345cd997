import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { wholeNumber } from './options.ts';
import { runDemoApart } from './run-apart.ts';

/**
 * Runs `CHAOS=1 make demo` with many seeds, one after the other: SEEDS of them (default 20), from SEED on (default 1),
 * on NODES nodes (default 6). A row for each; the folder of a run that failed is kept. Exit code 1 when one failed.
 */

const FOLDER = path.resolve(process.argv[2] ?? fileURLToPath(new URL('../../build/chaos', import.meta.url)));
const COLUMNS = ['seed', 'exit', 'phase', 'seconds', 'worker', 'watcher', 'temporal', 'api-server', 'etcd', 'agent'];
const WIDTH = 10;

const stopping = new AbortController();

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
    const { words, exitCode, remarks } = await runDemoApart(
      { CHAOS: '1', SEED: String(seed), NODES: String(nodes) },
      folder,
      stopping.signal,
    );
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
