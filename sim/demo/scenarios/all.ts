import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runDemoApart } from '../run-apart.ts';
import { SCENARIOS } from './index.ts';

/**
 * Plays all scenarios, one after the other, each in a process of its own; a row for each. The folder of one that failed
 * is kept. Exit code 1 when one failed.
 */

const FOLDER = fileURLToPath(new URL('../../../build/scenarios', import.meta.url));
const NAME_WIDTH = Math.max(...SCENARIOS.map(({ name }) => name.length));

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort());

async function main(): Promise<number> {
  mkdirSync(FOLDER, { recursive: true });
  const failed: string[] = [];
  for (const { name } of SCENARIOS) {
    const folder = path.join(FOLDER, name);
    const { words, exitCode, remarks } = await runDemoApart({ SCENARIO: name }, folder, stopping.signal);
    if (stopping.signal.aborted) return 130;
    const seconds = words['seconds'] === undefined ? '' : `${words['seconds']} s`;
    console.log(
      `${exitCode === 0 ? 'held  ' : 'FAILED'}  ${name.padEnd(NAME_WIDTH)} ${seconds.padStart(6)}  ${remarks}`,
    );
    if (exitCode === 0) for (const file of [folder, `${folder}.log`]) rmSync(file, { recursive: true, force: true });
    else failed.push(name);
  }
  const where = path.relative(process.cwd(), FOLDER);
  console.log(
    failed.length === 0
      ? `all ${SCENARIOS.length} scenarios kept every promise`
      : `failed: ${failed.join(', ')}; what they left is in ${where}`,
  );
  return failed.length === 0 ? 0 : 1;
}

process.exitCode = await main();
