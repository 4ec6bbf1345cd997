import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { unwatch, watch } from '../sim/watchdog.ts';

/** The compiler failed; `words` is what it said. */
export class CompilerError extends Error {
  override readonly name = 'CompilerError';
  readonly words: string;

  constructor(message: string, words: string) {
    super(message);
    this.words = words;
  }
}

/** A signal ended the compilers. To be followed by {@link takeEffect} once everything is tidied up. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.signal = signal;
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const KEPT_WORDS = 64 * 1024;
/** Becomes go only when told to: between its start and its being watched we might be killed, and it would live on. */
const GATE = 'read -r _ && exec "$0" "$@" < /dev/null';

/**
 * Runs go in a process group of its own, which ends when this process ends in any way. A signal that would end this
 * process ends the compilers instead, so that the caller can remove what they left.
 * @throws Interrupted then; CompilerError, with the end of what go wrote on stderr, when go fails
 */
export async function runCompiler(
  args: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv },
): Promise<void> {
  const child = spawn('/bin/sh', ['-c', GATE, 'go', ...args], { ...options, detached: true, stdio: 'pipe' });
  const { pid } = child;
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-KEPT_WORDS)));
  let caught: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    caught ??= signal;
    if (pid !== undefined) endGroup(pid);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  if (pid !== undefined) watch(pid);
  child.stdin.on('error', () => undefined).end('\n');
  child.stdout.resume();
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    if (caught !== undefined) throw new Interrupted(caught);
    const how = signal === null ? `exit code ${code}` : `signal: ${signal}`;
    if (code !== 0) throw new CompilerError(`go ended with ${how}`, words === '' ? how : words);
  } finally {
    if (pid !== undefined) {
      endGroup(pid);
      unwatch(pid);
    }
    for (const name of SIGNALS) process.off(name, onSignal);
  }
}

/** Does what the signal would have done, unless somebody else in this process acts on it. */
export function takeEffect({ signal }: Interrupted): void {
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}
