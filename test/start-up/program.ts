import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../sim/ports.ts';
import { managedProcess, type ManagedProcess, type ProcessExit } from '../../sim/processes.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** One line of a program's log. */
export interface Line {
  level: number;
  msg: string;
  missing?: string;
  reason?: string;
  since?: string;
  error?: string;
  [field: string]: unknown;
}

/** Watcher or worker as a process of its own, and what it says. */
export interface RunningProgram {
  readonly process: ManagedProcess;
  /** How it ended; waits for it. */
  readonly ended: Promise<ProcessExit | undefined>;
  lines(): Line[];
  /** The first line that fits, waiting for it; throws with the whole log when it does not come. */
  line(fits: (line: Line) => boolean, withinMs?: number): Promise<Line>;
  /** Waits until it says that this is missing; the reason that it gives. */
  missing(part: string, reason?: RegExp): Promise<string>;
  /** Status and text of /readyz or /healthz. */
  health(path: string): Promise<{ code: number; text: string }>;
  /** Waits until /readyz is 200. */
  ready(withinMs?: number): Promise<void>;
}

/** A kubeconfig of one cluster and one user. */
export const kubeconfigText = ({ server, ca, token }: { server: string; ca: string; token: string }): string => `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "${server}", certificate-authority: "${ca}"}}]
users: [{name: u, user: {token: "${token}"}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`;

const running: ManagedProcess[] = [];

/**
 * Starts a program in this environment; nothing of ours is inherited that could lead it to another cluster.
 * @param file what to run, where that is not the sources
 */
export async function startProgram(
  folder: string,
  name: 'worker' | 'watcher',
  env: Record<string, string>,
  file = path.join(ROOT, name, 'main.ts'),
): Promise<RunningProgram> {
  const port = await freePort();
  const logFile = path.join(folder, 'logs', `${name}-${port}.log`);
  const process_ = managedProcess({
    name: `${name}-${port}`,
    command: process.execPath,
    args: ['--no-warnings', file],
    cwd: path.dirname(file),
    env: { KUBECONFIG: '', HOME: folder, HEALTH_PORT: String(port), POD_NAME: `${name}-${port}`, ...env },
    logFile,
    stopTimeoutMs: 30_000,
  });
  running.push(process_);
  await process_.start();
  const ended = process_.ended();
  const text = () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
  const lines = () =>
    text()
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Line);
  const line: RunningProgram['line'] = async (fits, withinMs = 20_000) => {
    for (const giveUpAtMs = Date.now() + withinMs; ; await sleep(50)) {
      const found = lines().find(fits);
      if (found !== undefined) return found;
      if (Date.now() > giveUpAtMs) throw new Error(`${name} did not say it within ${withinMs} ms:\n${text()}`);
    }
  };
  const health: RunningProgram['health'] = async (path) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`);
    return { code: answer.status, text: await answer.text() };
  };
  return {
    process: process_,
    ended,
    lines,
    line,
    health,
    async missing(part, reason = /./) {
      const found = await line((one) => one.missing === part && reason.test(one.reason ?? ''));
      return found.reason ?? '';
    },
    async ready(withinMs = 30_000) {
      for (const giveUpAtMs = Date.now() + withinMs; ; await sleep(100)) {
        const answer = await health('/readyz').catch(() => undefined);
        if (answer?.code === 200) return;
        if (Date.now() > giveUpAtMs) throw new Error(`${name} is not ready: ${answer?.text}\n${text()}`);
      }
    },
  };
}

/** Ends every program that is left. */
export async function stopPrograms(): Promise<void> {
  await Promise.all(running.splice(0).map((one) => one.stop()));
}
