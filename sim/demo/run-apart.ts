import { spawn } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** What may be asked of a demo: what was not asked of this one is not taken from the environment either. */
const NOTHING_ASKED = { CHAOS: '', SEED: '', NODES: '', KEEP: '', BAD_IMAGE: '', SCENARIO: '' };

/** How a demo ended that ran in a process of its own. */
export interface ApartRun {
  /** The words of the result line; empty when the demo did not come so far. */
  readonly words: Readonly<Record<string, string>>;
  readonly exitCode: number;
  /** Broken invariants, or the last words of a demo that failed otherwise. */
  readonly remarks: string;
}

/** One demo in a process of its own, asked for by these variables; its output goes to `<folder>.log`. */
export async function runDemoApart(
  asked: Readonly<Record<string, string>>,
  folder: string,
  signal: AbortSignal,
): Promise<ApartRun> {
  const log = `${folder}.log`;
  const output = createWriteStream(log);
  // A group of its own: Ctrl-C reaches it by our hand only, once.
  const child = spawn(process.execPath, ['--no-warnings', MAIN, folder], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...NOTHING_ASKED, ...asked },
  });
  const stop = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  child.stdout.pipe(output, { end: false });
  child.stderr.pipe(output, { end: false });
  const exitCode = await new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? 137)));
  signal.removeEventListener('abort', stop);
  await new Promise<void>((resolve) => output.end(resolve));
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
  const result = lines.findLast((line) => line.startsWith('result ')) ?? '';
  const words = Object.fromEntries(result.split(' ').map((word) => word.split('=') as [string, string]));
  const told = lines.filter((line) => /^(BROKEN|FAILED|ended by itself)/.test(line));
  const remarks = result === '' ? (lines.at(-1) ?? '') : told.join(' | ');
  return { words, exitCode, remarks };
}
