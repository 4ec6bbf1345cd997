import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unwatch, watch } from './watchdog.ts';

export interface ProcessOptions {
  /** Shown in errors, and the name of the log file. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Where stdout and stderr are appended. */
  readonly logFile: string;
  /** Asked every 50 ms after a start until it answers true; a rejection counts as not yet. Without it: ready at once. */
  readonly ready?: (signal: AbortSignal) => Promise<boolean>;
  /** How long {@link ManagedProcess.start} waits for `ready`. Default 30000. */
  readonly readyTimeoutMs?: number;
  /** How long {@link ManagedProcess.stop} waits after SIGTERM before SIGKILL. Default 5000. */
  readonly stopTimeoutMs?: number;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * A server in a process group of its own, which is killed when this process ends in any way (see watchdog.ts).
 * It may be killed and started again as often as a test likes: arguments, ports and data stay the same.
 */
export interface ManagedProcess {
  readonly name: string;
  readonly logFile: string;
  /** The process id, also of the group; undefined while it is not running. */
  readonly pid: number | undefined;
  readonly running: boolean;
  /** Starts it and waits until it is ready. Does nothing while it runs. Throws ProcessError with the end of its log. */
  start(): Promise<void>;
  /** Signals the whole group. Resolves when it is gone, or at once for signals that do not end a process (SIGSTOP). */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** SIGKILL, then start. */
  restart(): Promise<void>;
  /** SIGTERM, after a while SIGKILL; resolves when it is gone. Does nothing when it is not running. */
  stop(): Promise<void>;
  /** Resolves when the process that runs now has ended, at once when none runs. */
  ended(): Promise<ProcessExit | undefined>;
}

/** A process that did not become ready. Not retried: the message holds the end of its log. */
class ProcessError extends Error {
  override readonly name = 'ProcessError';
  readonly process: string;
  readonly logFile: string;

  constructor(process: string, reason: string, logFile: string) {
    super(`${process}: ${reason}; its log ${logFile} ends with:\n${tail(logFile)}`);
    this.process = process;
    this.logFile = logFile;
  }
}

const ENDING: ReadonlySet<NodeJS.Signals> = new Set(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGABRT']);

/** Describes a process; nothing runs before {@link ManagedProcess.start}. */
export function managedProcess(options: ProcessOptions): ManagedProcess {
  const { name, logFile } = options;
  let child: ChildProcess | undefined;
  let exit: Promise<ProcessExit> | undefined;

  function spawnChild(): ChildProcess {
    mkdirSync(dirname(logFile), { recursive: true });
    const log = openSync(logFile, 'a');
    const started = spawn(options.command, options.args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    closeSync(log);
    // A program with nothing left to do may end, and takes its servers along.
    started.unref();
    const { pid } = started;
    exit = new Promise((resolve) => {
      const end = (result: ProcessExit): void => {
        if (pid !== undefined) {
          signalGroup(pid, 'SIGKILL'); // what the process left behind in its group
          unwatch(pid);
        }
        if (child === started) child = undefined;
        resolve(result);
      };
      started.once('exit', (code, signal) => end({ code, signal }));
      started.once('error', () => end({ code: null, signal: null }));
    });
    if (pid !== undefined) watch(pid);
    child = started;
    return started;
  }

  async function start(): Promise<void> {
    if (child !== undefined) return;
    const started = spawnChild();
    if (started.pid === undefined) {
      const [error] = (await once(started, 'error')) as [Error];
      throw new ProcessError(name, `${options.command} cannot be started (${error.message})`, logFile);
    }
    if (options.ready === undefined) return;
    const timeoutMs = options.readyTimeoutMs ?? 30_000;
    const outcome = await becomesReady(options.ready, () => child === started, timeoutMs);
    if (outcome === 'ready') return;
    if (outcome === 'late') {
      await kill('SIGKILL');
      throw new ProcessError(name, `not ready after ${timeoutMs / 1000} s`, logFile);
    }
    const { code, signal } = (await exit) ?? { code: null, signal: null };
    throw new ProcessError(name, `ended before it was ready (${signal ?? `exit code ${code}`})`, logFile);
  }

  async function kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (child?.pid === undefined) return;
    signalGroup(child.pid, signal);
    if (ENDING.has(signal)) await gone();
  }

  /** Waits for the exit with the process holding the event loop, or node would leave in the middle of the wait. */
  async function gone(): Promise<ProcessExit | undefined> {
    child?.ref();
    return exit;
  }

  async function stop(): Promise<void> {
    const stopping = child;
    if (stopping?.pid === undefined) return;
    signalGroup(stopping.pid, 'SIGTERM');
    signalGroup(stopping.pid, 'SIGCONT'); // a frozen process does not hear the first
    const cancelled = new AbortController();
    const overdue = sleep(options.stopTimeoutMs ?? 5000, undefined, { signal: cancelled.signal }).catch(
      () => undefined,
    );
    await Promise.race([gone(), overdue]);
    cancelled.abort();
    if (child === stopping) await kill('SIGKILL');
  }

  return {
    name,
    logFile,
    get pid() {
      return child?.pid;
    },
    get running() {
      return child !== undefined;
    },
    start,
    kill,
    async restart() {
      await kill('SIGKILL');
      await start();
    },
    stop,
    ended: () => (child === undefined ? Promise.resolve(undefined) : gone()),
  };
}

async function becomesReady(
  ready: (signal: AbortSignal) => Promise<boolean>,
  running: () => boolean,
  timeoutMs: number,
): Promise<'ready' | 'late' | 'ended'> {
  const giveUp = AbortSignal.timeout(timeoutMs);
  while (running()) {
    if (giveUp.aborted) return 'late';
    const answer = await ready(AbortSignal.any([giveUp, AbortSignal.timeout(2000)])).catch(() => false);
    if (answer && running()) return 'ready';
    await sleep(50);
  }
  return 'ended';
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // The group is gone already; on macOS a group of zombies answers EPERM.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}

function tail(file: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-12).join('\n');
  } catch {
    return '(no log)';
  }
}
